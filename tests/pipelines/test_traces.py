"""What a trace tells of a run of a pipeline: the push, stages, actions, and what they started."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from penstock_waiting import eventually
from pipeline_harness import ACCOUNT, BUILD, REGION, SOURCE, action, stage

from penstock import tracing
from penstock.pipelines import records
from penstock.pipelines.actions.provider import Failed, Revision, Succeeded
from penstock.store.ids import ordered_uuid
from penstock.store.records import journal
from penstock.tracing import Span, Tracer


def told(conn, harness, id, account=ACCOUNT):
    started = Tracer(
        find=lambda _conn, _account, _region, id: Span(key=id, name=id, start=1, end=2) if id == "b:1" else None
    )
    return tracing.find(conn, [*harness.app.tracers, started], account, REGION, id)


async def test_a_run_is_a_tree(any_harness):
    harness = any_harness
    scan = harness.app.store.scan
    pull = lambda asked: Succeeded(outputs=asked.outputs, revision=Revision(id="cafe"))  # noqa: E731
    harness.scripted.answers["pull", "start"] = pull
    harness.scripted.answers["compile", "start"] = Failed(code="JobFailed", message="secret", external_id="b:1")
    await harness.create(SOURCE, BUILD, stage("Live", action("roll-out", "Deploy")), name="shop")
    run = await harness.first("shop")
    assert await harness.ended(run, "shop") == "Failed"
    harness.scripted.answers["compile", "start"] = None
    asked = {"pipelineName": "shop", "stageName": "Build", "pipelineExecutionId": run, "retryMode": "FAILED_ACTIONS"}
    await harness("RetryStageExecution", **asked)
    assert await harness.ended(run, "shop") == "Succeeded"

    root = await scan(told, harness, run)
    assert (root.name, root.failed, root.start <= root.end) == ("run shop", False, True)
    assert {
        "cicd.pipeline.name": "shop",
        "cicd.pipeline.run.id": run,
        "cicd.pipeline.result": "success",
        "vcs.ref.head.revision": "cafe",
    }.items() <= root.attributes.items()
    shown = [
        (one.name, one.failed, [(act.name, act.failed, [x.name for x in act.children]) for act in one.children])
        for one in root.children
    ]
    assert shown == [
        ("stage Source", False, [("action pull", False, [])]),
        ("stage Build", True, [("action compile", True, ["b:1"])]),
        ("stage Build", False, [("action compile", False, [])]),
        ("stage Live", False, [("action roll-out", False, [])]),
    ]
    first, again = root.children[1].children[0], root.children[2].children[0]
    assert (first.attributes["error.type"], first.attributes["cicd.pipeline.task.run.result"]) == (
        "JobFailed",
        "failure",
    )
    assert (again.attributes["cicd.pipeline.task.type"], again.attributes["cicd.pipeline.task.run.result"]) == (
        "build",
        "success",
    )
    keys = [one.key for one, _ in tracing._flat(root, "")]
    assert len(keys) == len(set(keys))
    assert "secret" not in str(tracing.to_otlp(run, root, "1"))
    assert await scan(told, harness, run, "222222222222") is None
    assert await scan(told, harness, str(uuid.uuid4())) is None


async def test_a_run_that_a_push_started_begins_with_it(any_harness):
    harness = any_harness
    store = harness.app.store
    await harness.create(SOURCE, BUILD, name="shop")
    run = await harness.first("shop")
    assert await harness.ended(run, "shop") == "Succeeded"
    root = await store.scan(told, harness, run)
    assert root.name == "run shop"

    def push(conn, made, trigger="PollForSourceChanges"):
        """Let the run have been started by an event with an id of that time."""
        id = uuid.UUID(int=uuid.UUID(ordered_uuid()).int & ((1 << 80) - 1) | made << 80)
        conn.execute(sa.update(journal).where(journal.c.at == root.start).values(cause=str(id)))
        conn.execute(sa.update(records.executions).values(trigger_type=trigger))

    for before in (1_500, 0):
        await store.write(push, root.start - before)
        found = await store.scan(told, harness, run)
        assert (found.name, found.start, found.end, found.children[0].key) == (
            "push",
            root.start - before,
            root.start,
            root.key,
        )
    for before in (-5_000, 90_000_000):  # ids that are of no push of this run
        await store.write(push, root.start - before)
        assert (await store.scan(told, harness, run)).name == "run shop"
    await store.write(push, root.start, "StartPipelineExecution")
    assert (await store.scan(told, harness, run)).name == "run shop"


async def test_which_event_ends_a_run(harness):
    (tracer,) = harness.app.tracers
    seen = []
    harness.app.store.taps.add(lambda event: seen.append((event.payload["state"], tracer.ends[event.type](event)))
                               if event.type in tracer.ends else None)  # fmt: skip
    await harness.create(SOURCE, BUILD, name="shop")
    run = await harness.first("shop")
    assert await harness.ended(run, "shop") == "Succeeded"
    await eventually(lambda: seen == [("STARTED", ""), ("SUCCEEDED", run)])
