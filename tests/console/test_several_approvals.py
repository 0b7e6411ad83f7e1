"""An approval that several people give, in the console."""

from __future__ import annotations

import re

from penstock_console import Answer, Visitor, allow, gate, pipeline, source, user, waits, zipped
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
    again = jonas.get(path)
    assert "1 of 2 approvals. jonas.lind: tried it" in again.text
    assert (
        "You can only reject this: you have approved it already, and 2 different people have to." in again.visible_text
    )
    assert _buttons(again) == {"Rejected"}
    assert "The action has passed" in Visitor(live, "kim").post(path, asked).text
    until(lambda: waits(live, "two", "After"))


def test_whom_the_rule_excludes_is_told_so_instead_of_being_asked(live, world, jonas):
    live.client("s3").put_object(Bucket="releases", Key="few.zip", Body=zipped(index__html="one"))
    rule = {"Approvers": "somebody,user/else"}
    pipeline(live, "few", world, source("few.zip"), gate("Ask", "Release", **rule))
    until(lambda: waits(live, "few", "Ask"))
    shown = jonas.get("pipelines/few/approvals/Ask/Release")
    assert "You cannot decide this: only these may answer it: somebody, user/else." in shown.visible_text
    assert not _buttons(shown)


def test_whoever_started_the_run_may_only_reject_it(live, world, jonas):
    live.client("s3").put_object(Bucket="releases", Key="self.zip", Body=zipped(index__html="one"))
    pipeline(live, "self", world, source("self.zip"), gate("Ask", "Release", AllowSelfApproval="false"))
    until(lambda: waits(live, "self", "Ask"))
    first = waits(live, "self", "Ask")
    path = "pipelines/self/approvals/Ask/Release"
    assert _buttons(jonas.get(path)) == {"Approved", "Rejected"}
    jonas.post(path, {"approval": first, "decision": "Rejected", "summary": "my own turn"})
    jonas.post("pipelines/self/start", {})
    until(lambda: waits(live, "self", "Ask") not in ("", first))
    shown = jonas.get(path)
    assert "You can only reject this: whoever started the run" in shown.visible_text
    assert _buttons(shown) == {"Rejected"}


def _buttons(shown: Answer) -> set[str]:
    return set(re.findall(r'name="decision" value="(\w+)"', shown.text))
