"""PARALLEL pipelines: every run that waits can be seen and decided, each by itself."""

from __future__ import annotations

import html
import re

from penstock_console import gate, pipeline, source, zipped
from penstock_waiting import until


def test_every_waiting_run_is_shown_and_decided_by_itself(live, world, jonas):
    live.client("s3").put_object(Bucket="releases", Key="side.zip", Body=zipped(index__html="one"))
    pipeline(live, "side", world, source("side.zip"), gate("Ask", "Release"), mode="PARALLEL")
    pipelines = live.client("codepipeline")
    for _ in range(2):
        pipelines.start_pipeline_execution(name="side")

    def links():
        page = jonas.get("pipelines/side")
        return [
            html.unescape(one) for one in re.findall(r'href="/console/(pipelines/side/approvals/[^"]+)"', page.text)
        ]

    found = until(lambda: links() if len(links()) == 3 else None)
    page = jonas.get("pipelines/side")
    assert "Runs 1, 2 and 3 wait for a decision in Ask." in page.visible_text
    assert "3 runs inside" in page.visible_text
    assert re.search(r'<section class="stage" data-state="Waiting"[^>]*id="stage-Ask"', page.text)
    assert "Waiting for a decision in Ask" in jonas.get("pipelines").visible_text

    def decide(link, decision):
        asked = jonas.get(link)
        number = re.search(r"Let run (\d+) pass Ask", asked.visible_text)[1]
        token = re.search(r'name="approval" value="([^"]+)"', asked.text)[1]
        action = html.unescape(
            re.search(r'<form method="post" action="/console/([^"]+)"', asked.text[asked.text.index("dec-h") - 200 :])[
                1
            ]
        )
        assert action == link  # a form that is refused comes back to the same run
        jonas.post(action, {"approval": token, "decision": decision, "summary": "looked"})
        return int(number)

    first = decide(found[0], "Approved")
    second = decide(found[1], "Rejected")
    assert (first, second) == (1, 2)

    def statuses():
        listed = pipelines.list_pipeline_executions(pipelineName="side")["pipelineExecutionSummaries"]
        return [one["status"] for one in listed]  # the newest first

    until(lambda: statuses() == ["InProgress", "Failed", "Succeeded"])
    page = jonas.get("pipelines/side")
    assert "Run 3 waits for a decision in Ask." in page.visible_text
    assert "Rejected in Ask by jonas.lind: “looked”" in page.visible_text
    assert links() == [found[2]]
    assert "Approved by jonas.lind: “looked”" in jonas.get(found[0]).visible_text
    # An address of a run that is not there asks for nothing.
    assert "Nothing to decide" in jonas.get("pipelines/side/approvals/Ask/Release?run=none").visible_text
