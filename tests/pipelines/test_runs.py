"""Whole runs through operations, jobs and events, with scripted providers."""

import asyncio
import dataclasses

import pytest
import sqlalchemy as sa
from pipeline_harness import ADMIN, BUILD, SOURCE, action, approval, declared, stage

from penstock.pipelines.actions.manual_approval import ManualApproval
from penstock.pipelines.actions.provider import Failed, Revision, Running, Succeeded, Waiting
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.model import aggregate_name
from penstock.pipelines.records import EXECUTION_STATE, STATE, actions, executions, pipeline
from penstock.pipelines.replay import journalled, replayed
from penstock.store import events, journal, records
from penstock.store.events import Event, emit
from penstock.wire.errors import ServiceError

GATE = stage("Gate", approval())


async def emitted(harness, kind):
    found = await harness.app.store.scan(events.after, 0)
    return [event.payload for event in found if event.type == kind]


async def test_creating_runs_the_pipeline(any_harness):
    harness = any_harness
    made = await harness.create()
    assert made["pipeline"]["version"] == 1
    assert made["pipeline"]["pipelineType"] == "V1"
    run = await harness.first()
    assert await harness.ended(run) == "Succeeded"
    got = await harness("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run)
    assert got["pipelineExecution"]["trigger"] == {"triggerType": "CreatePipeline", "triggerDetail": ADMIN.arn}
    state = await harness("GetPipelineState", name="demo")
    assert [s["latestExecution"]["status"] for s in state["stageStates"]] == ["Succeeded", "Succeeded"]
    listed = await harness("ListActionExecutions", pipelineName="demo")
    assert [d["actionName"] for d in listed["actionExecutionDetails"]] == ["compile", "pull"]
    compiled = listed["actionExecutionDetails"][0]
    assert compiled["input"]["inputArtifacts"][0]["s3location"]["key"].startswith("demo/App/")
    assert compiled["output"]["outputArtifacts"][0]["s3location"]["bucket"] == "artifacts"
    assert harness.identity.assumed[1][1] == "codepipeline.amazonaws.com"


async def test_events_speak_as_eventbridge_does(harness):
    await harness.create()
    run = await harness.first()
    await harness.ended(run)
    complete = await emitted(harness, "codepipeline.execution.state_changed")
    assert [detail["state"] for detail in complete] == ["STARTED", "SUCCEEDED"]
    assert complete[0]["execution-trigger"]["trigger-type"] == "CreatePipeline"
    assert complete[0]["version"] == 1.0
    assert isinstance(complete[0]["pipeline-execution-attempt"], float)
    assert complete[0]["start-time"].endswith("Z")
    stages = await emitted(harness, "codepipeline.stage.state_changed")
    assert [(d["stage"], d["state"]) for d in stages] == [
        ("Source", "STARTED"),
        ("Source", "SUCCEEDED"),
        ("Build", "STARTED"),
        ("Build", "SUCCEEDED"),
    ]
    actions = await emitted(harness, "codepipeline.action.state_changed")
    assert [(d["action"], d["state"]) for d in actions] == [
        ("pull", "STARTED"),
        ("pull", "SUCCEEDED"),
        ("compile", "STARTED"),
        ("compile", "SUCCEEDED"),
    ]
    assert actions[3]["input-artifacts"][0]["name"] == "App"
    assert actions[0]["type"] == {"owner": "AWS", "category": "Source", "provider": "Scripted", "version": "1"}


async def test_a_failure_shows_its_error_and_can_be_retried(harness):
    harness.scripted.answers["compile", "start"] = Failed(
        code="JobFailed", message="Build terminated", external_id="b:1"
    )
    await harness.create()
    run = await harness.first()
    assert await harness.ended(run) == "Failed"
    state = await harness("GetPipelineState", name="demo")
    latest = state["stageStates"][1]["actionStates"][0]["latestExecution"]
    assert latest["errorDetails"] == {"code": "JobFailed", "message": "Build terminated"}
    assert latest["externalExecutionId"] == "b:1"
    del harness.scripted.answers["compile", "start"]
    await harness(
        "RetryStageExecution",
        pipelineName="demo",
        stageName="Build",
        pipelineExecutionId=run,
        retryMode="FAILED_ACTIONS",
    )
    assert await harness.ended(run) == "Succeeded"
    listed = await harness(
        "ListActionExecutions",
        pipelineName="demo",
        filter={"latestInPipelineExecution": {"pipelineExecutionId": run, "startTimeRange": "Latest"}},
    )
    assert [d["status"] for d in listed["actionExecutionDetails"]] == ["Succeeded", "Succeeded"]
    all_of_them = await harness("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": run})
    assert len(all_of_them["actionExecutionDetails"]) == 3
    state = await harness("GetPipelineState", name="demo")
    assert state["stageStates"][1]["retryStageMetadata"] == {
        "manualStageRetryAttempt": 1,
        "latestRetryTrigger": "ManualStageRetry",
    }


async def test_approving(harness):
    await harness.create(SOURCE, GATE, BUILD)
    run = await harness.first()
    token = await harness.open_approval()
    answer = {"pipelineName": "demo", "stageName": "Gate", "actionName": "ok", "token": token}
    with pytest.raises(ServiceError) as wrong:
        await harness("PutApprovalResult", **{**answer, "token": run}, result={"status": "Approved", "summary": ""})
    assert wrong.value.wire_code == "InvalidApprovalTokenException"
    done = await harness("PutApprovalResult", **answer, result={"status": "Approved", "summary": "looks good"})
    assert done["approvedAt"] > 1_600_000_000
    assert await harness.ended(run) == "Succeeded"
    with pytest.raises(ServiceError) as again:
        await harness("PutApprovalResult", **answer, result={"status": "Rejected", "summary": ""})
    assert again.value.wire_code == "ApprovalAlreadyCompletedException"
    state = await harness("GetPipelineState", name="demo")
    latest = state["stageStates"][1]["actionStates"][0]["latestExecution"]
    assert latest["summary"] == "looks good"
    assert latest["lastUpdatedBy"] == ADMIN.arn
    assert "token" not in latest


async def test_people_are_shown_what_a_run_brings_since_the_last_that_passed(any_harness):
    """Of a run that failed on its way too, and nothing that is there already."""
    harness = any_harness
    harness.scripted.shows_revisions = True
    revisions = iter(("one", "two", "three", "three"))
    source, build = SOURCE["actions"][0]["name"], BUILD["actions"][0]["name"]

    def fetched(action):
        id = next(revisions)
        return Succeeded(outputs=action.outputs, revision=Revision(id=id, summary=f"Do {id}"))

    harness.scripted.answers[source, "start"] = fetched
    await harness.create(SOURCE, BUILD)
    assert await harness.ended(await harness.first()) == "Succeeded"
    harness.scripted.answers[build, "start"] = Failed(code="JobFailed", message="no")
    for wanted in ("Failed", "Succeeded", "Succeeded"):
        run = (await harness("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
        assert await harness.ended(run) == wanted
        harness.scripted.answers.pop((build, "start"), None)
    brought = [[one.id for one in action.brought] for action in harness.scripted.started if action.name == build]
    assert brought == [["one"], ["two"], ["three", "two"], []]


async def test_nobody_answers_a_request_that_is_not_made_yet(harness, monkeypatch):
    """Its text may refer to variables: who approved before they are resolved would not know what."""
    made = asyncio.Event()

    async def start(_self, _action):
        await made.wait()
        return Waiting()

    monkeypatch.setattr(ManualApproval, "start", start)
    question = {"CustomData": "Release #{codepipeline.PipelineExecutionId}?"}
    await harness.create(SOURCE, stage("Gate", approval(configuration=question)))
    run = await harness.first()

    async def asked():
        return await harness.app.store.read(
            lambda conn: conn.execute(sa.select(actions.c.token).where(actions.c.action == "ok")).scalar()
        )

    token = await harness.until(asked)
    state = await harness("GetPipelineState", name="demo")
    latest = state["stageStates"][1]["actionStates"][0]["latestExecution"]
    assert latest["status"] == "InProgress"
    assert "token" not in latest
    answer = {"pipelineName": "demo", "stageName": "Gate", "actionName": "ok", "token": token}
    with pytest.raises(ServiceError) as early:
        await harness("PutApprovalResult", **answer, result={"status": "Approved", "summary": ""})
    assert early.value.wire_code == "InvalidApprovalTokenException"
    made.set()
    assert await harness.open_approval() == token
    await harness("PutApprovalResult", **answer, result={"status": "Approved", "summary": ""})
    assert await harness.ended(run) == "Succeeded"
    details = (await harness("ListActionExecutions", pipelineName="demo"))["actionExecutionDetails"]
    assert details[0]["input"]["resolvedConfiguration"] == {"CustomData": f"Release {run}?"}


async def test_rejecting(harness):
    await harness.create(SOURCE, GATE, BUILD)
    run = await harness.first()
    token = await harness.open_approval()
    await harness(
        "PutApprovalResult",
        pipelineName="demo",
        stageName="Gate",
        actionName="ok",
        token=token,
        result={"status": "Rejected", "summary": "no"},
    )
    assert await harness.ended(run) == "Failed"


async def test_updating_voids_the_approval(harness):
    await harness.create(SOURCE, GATE, BUILD)
    run = await harness.first()
    token = await harness.open_approval()
    from pipeline_harness import declared

    updated = await harness("UpdatePipeline", pipeline=declared(SOURCE, GATE, BUILD))
    assert updated["pipeline"]["version"] == 2
    assert await harness.status(run) == "Cancelled"
    with pytest.raises(ServiceError, match="The pipeline demo has been updated"):
        await harness(
            "PutApprovalResult",
            pipelineName="demo",
            stageName="Gate",
            actionName="ok",
            token=token,
            result={"status": "Approved", "summary": ""},
        )
    first = await harness("GetPipeline", name="demo", version=1)
    assert first["pipeline"]["version"] == 1
    with pytest.raises(ServiceError) as absent:
        await harness("GetPipeline", name="demo", version=3)
    assert absent.value.wire_code == "PipelineVersionNotFoundException"


async def test_parallel_runs_are_not_shown_after_the_mode_was_changed_back(harness):
    await harness.create(SOURCE, GATE, pipelineType="V2")
    await harness.open_approval()
    before = (await harness("GetPipelineState", name="demo"))["stageStates"]
    parallel = declared(SOURCE, GATE, pipelineType="V2", executionMode="PARALLEL")
    await harness("UpdatePipeline", pipeline=parallel)
    run = (await harness("StartPipelineExecution", name="demo"))["pipelineExecutionId"]

    async def waits():
        found = await harness("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": run})
        return [a for a in found["actionExecutionDetails"] if a["stageName"] == "Gate"]

    await harness.until(waits)
    await harness("UpdatePipeline", pipeline={**parallel, "executionMode": "SUPERSEDED"})
    after = (await harness("GetPipelineState", name="demo"))["stageStates"]
    for old, new in zip(before, after, strict=True):
        old, new = old["actionStates"][0]["latestExecution"], new["actionStates"][0]["latestExecution"]
        assert new["actionExecutionId"] == old["actionExecutionId"]
        assert "token" not in new


async def test_a_report_about_a_parallel_run_reads_no_other_run(any_harness, monkeypatch):
    harness, loaded = any_harness, []
    real = PipelineAggregate._load

    def load(self, needs):
        real(self, needs)
        loaded.append((needs.own, set(self.state.executions)))

    monkeypatch.setattr(PipelineAggregate, "_load", load)
    await harness.create(SOURCE, GATE, pipelineType="V2", executionMode="PARALLEL")
    runs = [await harness.first()]
    runs += [(await harness("StartPipelineExecution", name="demo"))["pipelineExecutionId"] for _ in range(3)]

    async def all_wait():
        found = await harness("ListActionExecutions", pipelineName="demo")
        return {a["pipelineExecutionId"] for a in found["actionExecutionDetails"] if a["stageName"] == "Gate"} == {
            *runs
        }

    await harness.until(all_wait)
    reports = [(own, known) for own, known in loaded if own]
    assert len(reports) >= len(runs)
    assert all(known == {own} for own, known in reports)


async def test_a_report_about_a_run_that_is_not_parallel_lets_others_in(any_harness):
    harness = any_harness
    await harness.create(SOURCE, GATE, BUILD, pipelineType="V2", executionMode="QUEUED")
    first = await harness.first()
    second = (await harness("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    for run in (first, second):
        token = await harness.open_approval()
        await harness(
            "PutApprovalResult",
            pipelineName="demo",
            stageName="Gate",
            actionName="ok",
            token=token,
            result={"status": "Approved", "summary": ""},
        )
        assert await harness.ended(run) == "Succeeded"


async def test_an_approval_expires(still_harness):
    harness = still_harness
    await harness.create(SOURCE, stage("Gate", approval(timeoutInMinutes=5)), BUILD)
    run = await harness.first()
    await harness.open_approval()
    harness.app.clock.advance(299_000)
    assert await harness.status(run) == "InProgress"
    harness.app.clock.advance(1_000)
    assert await harness.ended(run) == "Failed"
    listed = await harness("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert error["message"] == "The approval was not answered within 5 minutes."


async def done(harness, external_id, account=ADMIN.account):
    event = Event(
        type="scripted.done",
        account=account,
        region="us-east-1",
        aggregate="scripted/x",
        payload={"id": external_id},
    )
    await harness.app.store.write(
        lambda conn: emit(conn, event, now=harness.app.clock.now(), id=harness.app.ids.uuid())
    )


@pytest.mark.parametrize("account", [ADMIN.account, "222222222222"])  # the second is that of the action's role
async def test_what_runs_elsewhere_reports_by_event(still_harness, account):
    harness = still_harness
    harness.scripted.answers["compile", "start"] = Running(external_id="b:7", url="http://build/7")
    await harness.create()
    run = await harness.first()

    async def described():
        state = await harness("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("externalExecutionId")

    assert await harness.until(described) == "b:7"
    harness.scripted.answers["compile", "observe"] = lambda action: Succeeded(
        external_id=action.external_id, variables={"tag": "v1"}, outputs=action.outputs
    )
    await done(harness, "b:7", account)
    assert await harness.ended(run) == "Succeeded"
    await done(harness, "b:7", account)  # comes again, and about nothing


async def test_a_missed_report_is_made_up_for(still_harness):
    harness = still_harness
    harness.scripted.answers["compile", "start"] = Running(external_id="b:8")
    harness.scripted.answers["compile", "observe"] = Running(external_id="b:8", percent=40)
    await harness.create()
    run = await harness.first()

    async def described():
        state = await harness("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("percentComplete")

    async def waits():
        harness.app.clock.advance(1_000)
        return await described()

    assert await harness.until(waits) == 40
    harness.scripted.answers["compile", "observe"] = Succeeded(external_id="b:8")

    async def over():
        harness.app.clock.advance(30_000)
        return await harness.status(run) != "InProgress"

    await harness.until(over)
    assert await harness.status(run) == "Succeeded"


async def test_an_action_that_takes_too_long_is_stopped(still_harness):
    harness = still_harness
    harness.scripted.answers["compile", "start"] = Running(external_id="b:9", check_after=10**9)
    await harness.create()
    run = await harness.first()

    async def running():
        state = await harness("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("externalExecutionId")

    await harness.until(running)
    harness.scripted.answers["compile", "observe"] = Running(external_id="b:9", check_after=10**9)
    harness.app.clock.advance(3_600_000)
    assert await harness.ended(run) == "Failed"

    async def stopped():
        return harness.scripted.stopped

    assert await harness.until(stopped) == ["b:9"]


async def test_stopping(harness):
    harness.scripted.answers["compile", "start"] = Running(external_id="b:1")
    harness.scripted.answers["compile", "observe"] = Running(external_id="b:1")
    await harness.create()
    run = await harness.first()

    async def building():
        state = await harness("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("externalExecutionId")

    await harness.until(building)
    await harness("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=run, reason="enough")
    assert await harness.status(run) == "Stopping"
    with pytest.raises(ServiceError) as twice:
        await harness("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=run)
    assert twice.value.wire_code == "DuplicatedStopRequestException"
    await harness("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=run, abandon=True)
    assert await harness.status(run) == "Stopped"
    listed = await harness("ListPipelineExecutions", pipelineName="demo")
    assert listed["pipelineExecutionSummaries"][0]["stopTrigger"] == {"reason": "enough"}
    assert harness.scripted.stopped == []


async def test_a_variable_travels_from_action_to_action(harness):
    harness.scripted.answers["pull", "start"] = lambda action: Succeeded(
        outputs=action.outputs, variables={"CommitId": "c0ffee"}, revision=Revision(id="c0ffee", summary="Fix it")
    )
    build = stage(
        "Build",
        action(
            "compile",
            inputArtifacts=[{"name": "App"}],
            configuration={"Say": "#{src.CommitId} by #{variables.Who} in #{codepipeline.PipelineExecutionId}"},
        ),
    )
    await harness.create(SOURCE, build, pipelineType="V2", variables=[{"name": "Who", "defaultValue": "me"}])
    await harness.ended(await harness.first())
    started = await harness("StartPipelineExecution", name="demo", variables=[{"name": "Who", "value": "you"}])
    run = started["pipelineExecutionId"]
    assert await harness.ended(run) == "Succeeded"
    assert harness.scripted.started[-1].configuration == {"Say": f"c0ffee by you in {run}"}
    got = (await harness("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run))["pipelineExecution"]
    assert got["variables"] == [{"name": "Who", "resolvedValue": "you"}]
    assert got["artifactRevisions"] == [{"name": "App", "revisionId": "c0ffee", "revisionSummary": "Fix it"}]
    listed = await harness("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": run})
    assert listed["actionExecutionDetails"][0]["input"]["resolvedConfiguration"]["Say"].startswith("c0ffee by you")
    assert "#{src.CommitId}" in listed["actionExecutionDetails"][0]["input"]["configuration"]["Say"]
    summary = (await harness("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"][0]
    assert summary["sourceRevisions"] == [{"actionName": "pull", "revisionId": "c0ffee", "revisionSummary": "Fix it"}]


async def test_an_unknown_variable_fails_the_action(harness):
    await harness.create(SOURCE, stage("Build", action("compile", configuration={"Say": "#{src.Nothing}"})))
    assert await harness.ended(await harness.first()) == "Failed"
    listed = await harness("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert "could not be resolved: Action name=[compile]" in error["message"]


async def test_a_role_that_went_away_fails_the_action(harness):
    await harness.create()
    await harness.ended(await harness.first())
    harness.identity.refused.add("arn:aws:iam::111111111111:role/pipeline")
    run = (await harness("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    assert await harness.ended(run) == "Failed"
    listed = await harness("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert error == {
        "code": "PermissionError",
        "message": "CodePipeline is not authorized to perform AssumeRole on role arn:aws:iam::111111111111:role/pipeline",
    }


async def test_a_start_that_keeps_breaking_fails_its_action(still_harness):
    harness = still_harness
    harness.scripted.answers["compile", "start"] = RuntimeError("boom")
    await harness.create()
    run = await harness.first()

    async def over():
        harness.app.clock.advance(60_000)
        return await harness.status(run) != "InProgress"

    await harness.until(over)
    listed = await harness("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert error["code"] == "SystemUnavailable"
    assert "boom" not in error["message"]


async def test_the_journal_gives_the_same_states(any_harness):
    harness = any_harness
    harness.scripted.answers["compile", "start"] = Failed(code="JobFailed", message="no")
    await harness.create(SOURCE, BUILD, GATE)
    run = await harness.first()
    await harness.ended(run)
    del harness.scripted.answers["compile", "start"]
    await harness(
        "RetryStageExecution", pipelineName="demo", stageName="Build", pipelineExecutionId=run, retryMode="ALL_ACTIONS"
    )
    await harness.open_approval()
    await harness(
        "DisableStageTransition", pipelineName="demo", stageName="Build", transitionType="Inbound", reason="freeze"
    )

    await retold(harness)


async def retold(harness):
    """The pipeline `demo` replayed from nothing but its journal, beside what the database holds."""
    row, entries, runs = await harness.app.store.scan(_stored)
    assert [entry.sequence for entry in entries] == list(range(1, row.sequence + 1))
    kinds = PipelineAggregate
    reported = replayed((kinds.inputs.load(entry.input), entry.at, entry.seed) for entry in entries)
    for entry, (input, effects, again) in zip(entries, reported, strict=True):
        assert [kinds.effects.dump(journalled(effect, input)) for effect in effects] == entry.effects
    assert STATE.load(row.state) == dataclasses.replace(again.state, executions={}, plans={})
    assert {run.id: EXECUTION_STATE.load(run.state) for run in runs} == again.executions
    return entries


def _stored(conn):
    row = pipeline(conn, ADMIN.account, "us-east-1", "demo")
    runs = conn.execute(executions.select().where(executions.c.pipeline_id == row.id)).all()
    return row, journal.read(conn, aggregate_name(row.id)), runs


async def test_deleting_while_running(harness):
    harness.scripted.answers["compile", "start"] = Running(external_id="b:1")
    await harness.create()
    run = await harness.first()
    await harness("DeletePipeline", name="demo")
    await harness("DeletePipeline", name="demo")
    with pytest.raises(ServiceError) as gone:
        await harness("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run)
    assert gone.value.wire_code == "PipelineNotFoundException"
    await harness.create()
    assert await harness.first() != run


async def test_old_runs_are_swept(still_harness):
    from penstock.pipelines.retention import sweep

    harness = still_harness
    await harness.create(SOURCE, GATE)
    first = await harness.first()
    await harness.open_approval()
    await harness("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=first, abandon=True)
    second = (await harness("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    await harness.open_approval()
    now, day = harness.app.clock.now(), 86_400_000
    assert await harness.app.store.write(sweep, now + 365 * day, 366 * day) == 0
    assert await harness.app.store.write(sweep, now + 367 * day, 366 * day) == 1
    listed = (await harness("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"]
    assert [run["pipelineExecutionId"] for run in listed] == [second]
    assert listed[0]["executionNumber"] == 2
    await harness("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=second, abandon=True)
    assert await harness.app.store.write(sweep, now + 367 * day, 366 * day) == 0  # the newest stays


async def test_what_is_too_large_fails_with_a_reason(harness):
    harness.scripted.answers["pull", "start"] = lambda action: Succeeded(
        outputs=action.outputs, variables={"Big": "x" * 60_000}
    )
    build = stage("Build", action("compile", configuration={"Say": "#{src.Big}#{src.Big}"}))
    await harness.create(SOURCE, build)
    assert await harness.ended(await harness.first()) == "Failed"
    listed = await harness("ListActionExecutions", pipelineName="demo")
    assert "larger than 102400 bytes" in str(listed["actionExecutionDetails"][0])
    harness.scripted.answers["pull", "start"] = Succeeded(variables={"Big": "x" * 122_881})
    run = (await harness("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    assert await harness.ended(run) == "Failed"
    listed = await harness("ListActionExecutions", pipelineName="demo")
    assert "larger than 122880 bytes" in str(listed["actionExecutionDetails"][0])


async def test_many_at_once(any_harness):
    """Starts, reports and transitions race; every run ends, none is lost, and the journal still gives the same state."""
    harness = any_harness
    made = await asyncio.gather(*(harness.create(executionMode="QUEUED") for _ in range(5)), return_exceptions=True)
    refused = [error for error in made if isinstance(error, Exception)]
    assert [error.wire_code for error in refused] == ["PipelineNameInUseException"] * 4
    transition = {"pipelineName": "demo", "stageName": "Build", "transitionType": "Inbound"}
    starts = [harness("StartPipelineExecution", name="demo", clientRequestToken=f"t{i // 2}") for i in range(40)]
    transitions = [harness("DisableStageTransition", **transition, reason="race") for _ in range(3)]
    answers = await asyncio.gather(*starts, *transitions)
    await harness("EnableStageTransition", **transition)
    runs = {answer["pipelineExecutionId"] for answer in answers if answer}
    assert len(runs) == 20
    for run in runs:
        assert await harness.ended(run) == "Succeeded"
    listed = (await harness("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"]
    assert [run["executionNumber"] for run in listed] == list(range(21, 0, -1))
    await retold(harness)


class Behind:
    """A clock as whoever waits for a row's lock sees it: every other time is that of three seconds ago."""

    def __init__(self, clock):
        self._clock = clock
        self._late = False

    def now(self):
        self._late = not self._late
        return self._clock.now() - 3000 * self._late

    def __getattr__(self, name):
        return getattr(self._clock, name)


async def test_a_pipelines_times_never_run_backwards(harness):
    harness.app.clock = Behind(harness.app.clock)
    await harness.create()
    for _ in range(3):
        await harness("StartPipelineExecution", name="demo")
    await harness.ended(await harness.first())
    rows = await harness.app.store.scan(lambda conn: conn.execute(sa.select(records.journal)).all())
    times = [row.at for row in sorted(rows, key=lambda row: row.sequence)]
    assert len(times) > 5
    assert times == sorted(times)


async def test_an_action_that_is_not_run_fails_at_once_with_the_reason(harness):
    stacks = action(
        "c", "Deploy", "OpsWorks", inputArtifacts=[{"name": "App"}], configuration={"Stack": "s", "App": "a"}
    )
    await harness.create(SOURCE, stage("Do", stacks))
    assert await harness.ended(await harness.first()) == "Failed"
    listed = await harness("ListActionExecutions", pipelineName="demo")
    assert listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"] == {
        "code": "ConfigurationError",
        "message": "Penstock does not run Deploy actions of provider OpsWorks. AWS has ended OpsWorks. Deploy to hosts with a "
        "CodeDeploy action.",
    }


async def test_rolling_a_stage_back_uses_what_its_target_fetched_built_and_was_given(any_harness):
    harness = any_harness
    harness.scripted.shows_revisions = True
    deploy = stage(
        "Deploy",
        action(
            "roll",
            "Deploy",
            inputArtifacts=[{"name": "Built"}],
            configuration={"Say": "#{variables.Colour} #{src.Commit} #{codepipeline.PipelineExecutionId}"},
        ),
        onFailure={"result": "ROLLBACK"},
    )
    fetched = iter(range(100))

    def fetch(action):
        number = next(fetched)
        return Succeeded(
            outputs=action.outputs,
            variables={"Commit": f"c{number}"},
            revision=Revision(id=f"c{number}", summary=f"Change {number}"),
        )

    harness.scripted.answers["pull", "start"] = fetch
    await harness.create(SOURCE, BUILD, deploy, variables=[{"name": "Colour", "defaultValue": "red"}])
    good = await harness.first()
    assert await harness.ended(good) == "Succeeded"
    harness.scripted.answers["roll", "start"] = lambda action: (
        Failed(code="JobFailed", message="no") if " c1 " in action.configuration["Say"] else None
    )
    colour = [{"name": "Colour", "value": "blue"}]
    bad = (await harness("StartPipelineExecution", name="demo", variables=colour))["pipelineExecutionId"]
    assert await harness.ended(bad) == "Failed"

    async def listed():
        found = await harness("ListPipelineExecutions", pipelineName="demo")
        return found["pipelineExecutionSummaries"]

    automatic = (await listed())[0]["pipelineExecutionId"]
    assert await harness.ended(automatic) == "Succeeded"
    asked = {"pipelineName": "demo", "stageName": "Deploy", "targetPipelineExecutionId": good}
    manual = (await harness("RollbackStage", **asked))["pipelineExecutionId"]
    assert await harness.ended(manual) == "Succeeded"

    started = {action.execution: action for action in harness.scripted.started if action.name == "roll"}
    for back, trigger in (
        (automatic, {"triggerType": "AutomatedRollback", "triggerDetail": bad}),
        (manual, {"triggerType": "ManualRollback", "triggerDetail": ADMIN.arn}),
    ):
        assert started[back].inputs == started[good].inputs != started[bad].inputs
        assert [revision.id for revision in started[back].brought] == ["c0"]
        assert started[back].configuration == {"Say": f"red c0 {back}"}
        got = (await harness("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=back))[
            "pipelineExecution"
        ]
        assert (got["executionType"], got["trigger"]) == ("ROLLBACK", trigger)
        assert got["rollbackMetadata"] == {"rollbackTargetPipelineExecutionId": good}
        assert [revision["revisionId"] for revision in got["artifactRevisions"]] == ["c0"]
        assert got["variables"] == [{"name": "Colour", "resolvedValue": "red"}]
    assert [(run["executionType"], run["sourceRevisions"][0]["revisionId"]) for run in await listed()] == [
        ("ROLLBACK", "c0"),
        ("ROLLBACK", "c0"),
        ("STANDARD", "c1"),
        ("STANDARD", "c0"),
    ]
    state = (await harness("GetPipelineState", name="demo"))["stageStates"][2]
    assert state["latestExecution"] == {"pipelineExecutionId": manual, "status": "Succeeded", "type": "ROLLBACK"}
    with pytest.raises(ServiceError) as refused:
        await harness("RollbackStage", **{**asked, "targetPipelineExecutionId": bad})
    assert refused.value.wire_code == "UnableToRollbackStageException"
    await harness("UpdatePipeline", pipeline=declared(SOURCE, BUILD, deploy, variables=[{"name": "Colour"}]))
    with pytest.raises(ServiceError) as refused:
        await harness("RollbackStage", **asked)
    assert refused.value.wire_code == "PipelineExecutionOutdatedException"
    await retold(harness)
