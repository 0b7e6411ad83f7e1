"""A pipeline's journal: enough to decide everything again, in this release and in later ones; shown by the command."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pipeline_harness import ACCOUNT, ADMIN, BUILD, REGION, SOURCE

from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.events import EVENTS
from penstock.pipelines.history import find_journal
from penstock.pipelines.model import ExecutionStatus, StageStatus
from penstock.pipelines.replay import replayed
from penstock.store import events, journal, records
from penstock.store.events import Event
from penstock.webpages.view import View

GOLDEN = Path(__file__).parent.parent / "golden" / "pipeline-journal.jsonl"
ROLLBACKS = GOLDEN.with_name("pipeline-rollback-journal.jsonl")
CONDITIONS = GOLDEN.with_name("pipeline-conditions-journal.jsonl")


def reread(path):
    """The pipeline after a recorded journal, in which every effect is decided again."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = PipelineAggregate
    again = replayed((kinds.inputs.load(entry["input"]), entry["at"], entry["seed"]) for entry in entries)
    for entry, (_, effects, pipeline) in zip(entries, again, strict=True):
        assert [kinds.effects.dump(effect) for effect in effects] == entry["effects"], entry["sequence"]
        last = pipeline
    return last, sorted(last.executions.values(), key=lambda execution: execution.number)


def test_a_recorded_journal_is_read_for_ever():
    last, runs = reread(GOLDEN)
    assert [(execution.status, execution.attempt) for execution in runs] == [
        (ExecutionStatus.FAILED, 1),  # it was created before there was anything to fetch
        (ExecutionStatus.SUCCEEDED, 1),
        (ExecutionStatus.STOPPED, 2),
        (ExecutionStatus.CANCELLED, 1),
    ]
    assert (last.state.version, last.state.next_number, last.state.executions.keys()) == (2, 5, {runs[-1].id})


def test_a_recorded_journal_of_rollbacks_is_read_for_ever():
    _, runs = reread(ROLLBACKS)
    good = runs[0].id
    assert [(execution.status, execution.target) for execution in runs] == [
        (ExecutionStatus.SUCCEEDED, None),
        (ExecutionStatus.FAILED, None),
        (ExecutionStatus.SUCCEEDED, good),  # by itself
        (ExecutionStatus.SUCCEEDED, good),  # by hand
    ]


def test_a_recorded_journal_of_conditions_is_read_for_ever():
    _, runs = reread(CONDITIONS)
    good = runs[0].id
    assert [(execution.status, execution.stage_status, execution.target) for execution in runs] == [
        (ExecutionStatus.SUCCEEDED, StageStatus.SUCCEEDED, None),
        (ExecutionStatus.FAILED, StageStatus.SUCCEEDED, None),  # skipped a stage, was overridden, failed by its alarm
        (ExecutionStatus.SUCCEEDED, StageStatus.SUCCEEDED, good),
        (ExecutionStatus.FAILED, StageStatus.FAILED, None),
        (ExecutionStatus.STOPPED, StageStatus.STOPPED, good),  # while its entry condition was checked
    ]


def test_the_recorded_journals_have_every_input_and_effect_but_those_of_clocks_and_deletion():
    entries = [json.loads(line) for path in (GOLDEN, ROLLBACKS, CONDITIONS) for line in path.read_text().splitlines()]
    kinds = PipelineAggregate
    never = {"ActionTimedOut", "PipelineDeleted"}
    assert {entry["input"]["type"] for entry in entries} | never >= {kind.__name__ for kind in kinds.inputs.kinds}
    effects = {effect["type"] for entry in entries for effect in entry["effects"]}
    assert effects | never >= {kind.__name__ for kind in kinds.effects.kinds}


def test_no_plan_is_repeated_in_what_was_decided():
    for line in (GOLDEN.read_text() + ROLLBACKS.read_text() + CONDITIONS.read_text()).splitlines():
        for effect in json.loads(line)["effects"]:
            assert not {"plan", "stages", "groups"} & effect.keys()


async def test_events_and_the_journal_name_a_pipeline_alike_and_a_namesake_otherwise(any_harness):
    async def names():
        await any_harness.create()
        await any_harness.ended(await any_harness.first())
        emitted = await any_harness.app.store.scan(events.after, 0)
        written = await any_harness.app.store.scan(lambda conn: conn.execute(records.journal.select()).all())
        found = {event.aggregate for event in emitted if event.type in {type.name for type in EVENTS}}
        assert found == {entry.aggregate for entry in written}
        return found

    before = await names()
    await any_harness("DeletePipeline", name="demo")
    after = await names()
    assert (len(before), len(after), before < after) == (1, 2, True)
    (second,) = after - before
    entries = await any_harness.app.store.read(journal.read, second)
    assert [entry.input["type"] for entry in entries[:2]] == ["PipelineCreated", "StartRequested"]
    assert [(entry.sequence, entry.actor) for entry in entries[:2]] == [(1, ADMIN.arn), (2, ADMIN.arn)]


async def test_the_journal_of_a_deleted_pipeline_is_found_by_name_and_ids(any_harness):
    async def found(id):
        return await any_harness.app.store.read(find_journal, ACCOUNT, REGION, id)

    await any_harness.create()
    run = await any_harness.first()
    await any_harness.ended(run)
    live = [await found(id) for id in ("demo", run)]
    await any_harness("DeletePipeline", name="demo")
    gone = [await found(id) for id in ("demo", run)]
    assert [replace(one, deleted=None) for one in gone] == live
    assert all(one.deleted for one in gone)
    assert await found(live[0].aggregate.removeprefix("pipeline/")) == gone[0]
    await any_harness.create()
    assert (await found("demo")).aggregate != live[0].aggregate
    assert await found(run) == gone[1]


async def test_what_a_provider_answers_is_decided_and_not_written_beside(any_harness):
    await any_harness.create(SOURCE, BUILD)
    run = await any_harness.first()
    await any_harness.ended(run)
    (row,) = await any_harness.app.store.scan(lambda conn: conn.execute(records.journal.select().limit(1)).all())
    entries = await any_harness.app.store.read(journal.read, row.aggregate)
    reports = [entry for entry in entries if entry.input["type"] == "ActionSucceeded"]
    listed = (await any_harness("ListActionExecutions", pipelineName="demo"))["actionExecutionDetails"]
    for entry, action in zip(reports, reversed(listed), strict=True):
        (ended,) = [effect for effect in entry.effects if effect["type"] == "ActionEnded"]
        assert not ended.get("details")  # once is enough
        (output,) = entry.input["details"]["outputs"]
        (answer,) = action["output"]["outputArtifacts"]
        assert (output["name"], output["key"]) == (answer["name"], answer["s3location"]["key"])
        assert entry.cause  # the job that started it


@pytest.mark.parametrize("type", EVENTS, ids=lambda type: type.name)
def test_the_console_knows_a_pipelines_events_by_what_they_say(type):
    view = object.__new__(View)
    view.visitor, view.region = SimpleNamespace(account=ACCOUNT), REGION
    event = {"type": type.name, "account": ACCOUNT, "region": REGION, "aggregate": "pipeline/x", "payload": type.sample}
    concerns = view.of_pipeline("shop")
    assert concerns(Event(**event))
    others = ({"account": "222222222222"}, {"region": "eu-west-1"}, {"type": "s3.object.created"})
    assert [concerns(Event(**event | other)) for other in others] == [False] * 3
    assert not view.of_pipeline("shop-web")(Event(**event))
