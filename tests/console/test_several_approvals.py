"""An approval that several people give, in the console."""

from __future__ import annotations

from penstock_console import Visitor, allow, gate, pipeline, source, user, waits, zipped
from penstock_waiting import until


def test_the_first_of_two_approvals_is_counted(live, world, jonas):
    user(live, "kim", allow("*"))
    live.client("s3").put_object(Bucket="releases", Key="two.zip", Body=zipped(index__html="one"))
    rule = {"RequiredApprovals": "2", "Approvers": "kim,jonas.lind"}
    pipeline(live, "two", world, source("two.zip"), gate("Ask", "Release", **rule), gate("After", "Look"))
    until(lambda: waits(live, "two", "Ask"))
    path = "pipelines/two/approvals/Ask/Release"
    assert "2 approvals from kim, jonas.lind" in jonas.get(path).text
    asked = {"approval": waits(live, "two", "Ask"), "decision": "Approved", "summary": "tried it"}
    assert "Your approval is counted" in jonas.post(path, asked).text
    assert "1 of 2 approvals. jonas.lind: tried it" in jonas.get(path).text
    assert "The action has passed" in Visitor(live, "kim").post(path, asked).text
    until(lambda: waits(live, "two", "After"))
