"""Whole runs through operations, jobs and events, with scripted providers."""

import asyncio
import dataclasses

import pytest
import sqlalchemy as sa
from pipeline_house import ADMIN, BUILD, SOURCE, action, approval, declared, stage

from penstock.pipelines.actions.manual_approval import ManualApproval
from penstock.pipelines.actions.provider import Failed, Revision, Running, Succeeded, Waiting
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.model import aggregate_name
from penstock.pipelines.records import EXECUTION_STATE, STATE, actions, executions, pipeline
from penstock.pipelines.replay import replayed
from penstock.store import events, journal, records
from penstock.store.events import Event, emit
from penstock.wire.errors import ServiceError

GATE = stage("Gate", approval())


async def emitted(house, kind):
    found = await house.app.store.scan(events.after, 0)
    return [event.payload for event in found if event.type == kind]


async def test_creating_runs_the_pipeline(any_house):
    house = any_house
    made = await house.create()
    assert made["pipeline"]["version"] == 1
    assert made["pipeline"]["pipelineType"] == "V1"
    run = await house.first()
    assert await house.ended(run) == "Succeeded"
    got = await house("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run)
    assert got["pipelineExecution"]["trigger"] == {"triggerType": "CreatePipeline", "triggerDetail": ADMIN.arn}
    state = await house("GetPipelineState", name="demo")
    assert [s["latestExecution"]["status"] for s in state["stageStates"]] == ["Succeeded", "Succeeded"]
    listed = await house("ListActionExecutions", pipelineName="demo")
    assert [d["actionName"] for d in listed["actionExecutionDetails"]] == ["compile", "pull"]
    compiled = listed["actionExecutionDetails"][0]
    assert compiled["input"]["inputArtifacts"][0]["s3location"]["key"].startswith("demo/App/")
    assert compiled["output"]["outputArtifacts"][0]["s3location"]["bucket"] == "artifacts"
    assert house.identity.assumed[1][1] == "codepipeline.amazonaws.com"


async def test_events_speak_as_eventbridge_does(house):
    await house.create()
    run = await house.first()
    await house.ended(run)
    whole = await emitted(house, "codepipeline.execution.state_changed")
    assert [detail["state"] for detail in whole] == ["STARTED", "SUCCEEDED"]
    assert whole[0]["execution-trigger"]["trigger-type"] == "CreatePipeline"
    assert whole[0]["version"] == 1.0
    assert isinstance(whole[0]["pipeline-execution-attempt"], float)
    assert whole[0]["start-time"].endswith("Z")
    stages = await emitted(house, "codepipeline.stage.state_changed")
    assert [(d["stage"], d["state"]) for d in stages] == [
        ("Source", "STARTED"),
        ("Source", "SUCCEEDED"),
        ("Build", "STARTED"),
        ("Build", "SUCCEEDED"),
    ]
    actions = await emitted(house, "codepipeline.action.state_changed")
    assert [(d["action"], d["state"]) for d in actions] == [
        ("pull", "STARTED"),
        ("pull", "SUCCEEDED"),
        ("compile", "STARTED"),
        ("compile", "SUCCEEDED"),
    ]
    assert actions[3]["input-artifacts"][0]["name"] == "App"
    assert actions[0]["type"] == {"owner": "AWS", "category": "Source", "provider": "Scripted", "version": "1"}


async def test_a_failure_shows_its_error_and_can_be_retried(house):
    house.scripted.answers["compile", "start"] = Failed(code="JobFailed", message="Build terminated", external_id="b:1")
    await house.create()
    run = await house.first()
    assert await house.ended(run) == "Failed"
    state = await house("GetPipelineState", name="demo")
    latest = state["stageStates"][1]["actionStates"][0]["latestExecution"]
    assert latest["errorDetails"] == {"code": "JobFailed", "message": "Build terminated"}
    assert latest["externalExecutionId"] == "b:1"
    del house.scripted.answers["compile", "start"]
    await house(
        "RetryStageExecution",
        pipelineName="demo",
        stageName="Build",
        pipelineExecutionId=run,
        retryMode="FAILED_ACTIONS",
    )
    assert await house.ended(run) == "Succeeded"
    listed = await house(
        "ListActionExecutions",
        pipelineName="demo",
        filter={"latestInPipelineExecution": {"pipelineExecutionId": run, "startTimeRange": "Latest"}},
    )
    assert [d["status"] for d in listed["actionExecutionDetails"]] == ["Succeeded", "Succeeded"]
    all_of_them = await house("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": run})
    assert len(all_of_them["actionExecutionDetails"]) == 3
    state = await house("GetPipelineState", name="demo")
    assert state["stageStates"][1]["retryStageMetadata"] == {
        "manualStageRetryAttempt": 1,
        "latestRetryTrigger": "ManualStageRetry",
    }


async def test_approving(house):
    await house.create(SOURCE, GATE, BUILD)
    run = await house.first()
    token = await house.open_approval()
    answer = {"pipelineName": "demo", "stageName": "Gate", "actionName": "ok", "token": token}
    with pytest.raises(ServiceError) as wrong:
        await house("PutApprovalResult", **{**answer, "token": run}, result={"status": "Approved", "summary": ""})
    assert wrong.value.wire_code == "InvalidApprovalTokenException"
    done = await house("PutApprovalResult", **answer, result={"status": "Approved", "summary": "looks good"})
    assert done["approvedAt"] > 1_600_000_000
    assert await house.ended(run) == "Succeeded"
    with pytest.raises(ServiceError) as again:
        await house("PutApprovalResult", **answer, result={"status": "Rejected", "summary": ""})
    assert again.value.wire_code == "ApprovalAlreadyCompletedException"
    state = await house("GetPipelineState", name="demo")
    latest = state["stageStates"][1]["actionStates"][0]["latestExecution"]
    assert latest["summary"] == "looks good"
    assert latest["lastUpdatedBy"] == ADMIN.arn
    assert "token" not in latest


async def test_nobody_answers_a_request_that_is_not_made_yet(house, monkeypatch):
    """Its words may refer to variables: who approved before they are resolved would not know what."""
    made = asyncio.Event()

    async def start(_self, _action):
        await made.wait()
        return Waiting()

    monkeypatch.setattr(ManualApproval, "start", start)
    words = {"CustomData": "Release #{codepipeline.PipelineExecutionId}?"}
    await house.create(SOURCE, stage("Gate", approval(configuration=words)))
    run = await house.first()

    async def asked():
        return await house.app.store.read(
            lambda conn: conn.execute(sa.select(actions.c.token).where(actions.c.action == "ok")).scalar()
        )

    token = await house.until(asked)
    state = await house("GetPipelineState", name="demo")
    latest = state["stageStates"][1]["actionStates"][0]["latestExecution"]
    assert latest["status"] == "InProgress"
    assert "token" not in latest
    answer = {"pipelineName": "demo", "stageName": "Gate", "actionName": "ok", "token": token}
    with pytest.raises(ServiceError) as early:
        await house("PutApprovalResult", **answer, result={"status": "Approved", "summary": ""})
    assert early.value.wire_code == "InvalidApprovalTokenException"
    made.set()
    assert await house.open_approval() == token
    await house("PutApprovalResult", **answer, result={"status": "Approved", "summary": ""})
    assert await house.ended(run) == "Succeeded"
    details = (await house("ListActionExecutions", pipelineName="demo"))["actionExecutionDetails"]
    assert details[0]["input"]["resolvedConfiguration"] == {"CustomData": f"Release {run}?"}


async def test_rejecting(house):
    await house.create(SOURCE, GATE, BUILD)
    run = await house.first()
    token = await house.open_approval()
    await house(
        "PutApprovalResult",
        pipelineName="demo",
        stageName="Gate",
        actionName="ok",
        token=token,
        result={"status": "Rejected", "summary": "no"},
    )
    assert await house.ended(run) == "Failed"


async def test_updating_voids_the_approval(house):
    await house.create(SOURCE, GATE, BUILD)
    run = await house.first()
    token = await house.open_approval()
    from pipeline_house import declared

    updated = await house("UpdatePipeline", pipeline=declared(SOURCE, GATE, BUILD))
    assert updated["pipeline"]["version"] == 2
    assert await house.status(run) == "Cancelled"
    with pytest.raises(ServiceError, match="The pipeline demo has been updated"):
        await house(
            "PutApprovalResult",
            pipelineName="demo",
            stageName="Gate",
            actionName="ok",
            token=token,
            result={"status": "Approved", "summary": ""},
        )
    first = await house("GetPipeline", name="demo", version=1)
    assert first["pipeline"]["version"] == 1
    with pytest.raises(ServiceError) as absent:
        await house("GetPipeline", name="demo", version=3)
    assert absent.value.wire_code == "PipelineVersionNotFoundException"


async def test_parallel_runs_are_not_shown_after_the_mode_was_changed_back(house):
    await house.create(SOURCE, GATE, pipelineType="V2")
    await house.open_approval()
    before = (await house("GetPipelineState", name="demo"))["stageStates"]
    parallel = declared(SOURCE, GATE, pipelineType="V2", executionMode="PARALLEL")
    await house("UpdatePipeline", pipeline=parallel)
    run = (await house("StartPipelineExecution", name="demo"))["pipelineExecutionId"]

    async def waits():
        found = await house("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": run})
        return [a for a in found["actionExecutionDetails"] if a["stageName"] == "Gate"]

    await house.until(waits)
    await house("UpdatePipeline", pipeline={**parallel, "executionMode": "SUPERSEDED"})
    after = (await house("GetPipelineState", name="demo"))["stageStates"]
    for old, new in zip(before, after, strict=True):
        old, new = old["actionStates"][0]["latestExecution"], new["actionStates"][0]["latestExecution"]
        assert new["actionExecutionId"] == old["actionExecutionId"]
        assert "token" not in new


async def test_an_approval_expires(still_house):
    house = still_house
    await house.create(SOURCE, stage("Gate", approval(timeoutInMinutes=5)), BUILD)
    run = await house.first()
    await house.open_approval()
    house.app.clock.advance(299_000)
    assert await house.status(run) == "InProgress"
    house.app.clock.advance(1_000)
    assert await house.ended(run) == "Failed"
    listed = await house("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert error["message"] == "The approval was not answered within 5 minutes."


async def done(house, external_id):
    event = Event(
        type="scripted.done",
        account=ADMIN.account,
        region="us-east-1",
        aggregate="scripted/x",
        payload={"id": external_id},
    )
    await house.app.store.write(lambda conn: emit(conn, event, now=house.app.clock.now(), id=house.app.ids.uuid()))


async def test_what_runs_elsewhere_reports_by_event(still_house):
    house = still_house
    house.scripted.answers["compile", "start"] = Running(external_id="b:7", url="http://build/7")
    await house.create()
    run = await house.first()

    async def shown():
        state = await house("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("externalExecutionId")

    assert await house.until(shown) == "b:7"
    house.scripted.answers["compile", "observe"] = lambda action: Succeeded(
        external_id=action.external_id, variables={"tag": "v1"}, outputs=action.outputs
    )
    await done(house, "b:7")
    assert await house.ended(run) == "Succeeded"
    await done(house, "b:7")  # comes again, and about nothing


async def test_a_missed_report_is_made_up_for(still_house):
    house = still_house
    house.scripted.answers["compile", "start"] = Running(external_id="b:8")
    house.scripted.answers["compile", "observe"] = Running(external_id="b:8", percent=40)
    await house.create()
    run = await house.first()

    async def shown():
        state = await house("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("percentComplete")

    async def waits():
        house.app.clock.advance(1_000)
        return await shown()

    assert await house.until(waits) == 40
    house.scripted.answers["compile", "observe"] = Succeeded(external_id="b:8")

    async def over():
        house.app.clock.advance(30_000)
        return await house.status(run) != "InProgress"

    await house.until(over)
    assert await house.status(run) == "Succeeded"


async def test_an_action_that_takes_too_long_is_stopped(still_house):
    house = still_house
    house.scripted.answers["compile", "start"] = Running(external_id="b:9", check_after=10**9)
    await house.create()
    run = await house.first()

    async def running():
        state = await house("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("externalExecutionId")

    await house.until(running)
    house.scripted.answers["compile", "observe"] = Running(external_id="b:9", check_after=10**9)
    house.app.clock.advance(3_600_000)
    assert await house.ended(run) == "Failed"

    async def stopped():
        return house.scripted.stopped

    assert await house.until(stopped) == ["b:9"]


async def test_stopping(house):
    house.scripted.answers["compile", "start"] = Running(external_id="b:1")
    house.scripted.answers["compile", "observe"] = Running(external_id="b:1")
    await house.create()
    run = await house.first()

    async def building():
        state = await house("GetPipelineState", name="demo")
        return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("externalExecutionId")

    await house.until(building)
    await house("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=run, reason="enough")
    assert await house.status(run) == "Stopping"
    with pytest.raises(ServiceError) as twice:
        await house("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=run)
    assert twice.value.wire_code == "DuplicatedStopRequestException"
    await house("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=run, abandon=True)
    assert await house.status(run) == "Stopped"
    listed = await house("ListPipelineExecutions", pipelineName="demo")
    assert listed["pipelineExecutionSummaries"][0]["stopTrigger"] == {"reason": "enough"}
    assert house.scripted.stopped == []


async def test_a_variable_travels_from_action_to_action(house):
    house.scripted.answers["pull", "start"] = lambda action: Succeeded(
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
    await house.create(SOURCE, build, pipelineType="V2", variables=[{"name": "Who", "defaultValue": "me"}])
    await house.ended(await house.first())
    started = await house("StartPipelineExecution", name="demo", variables=[{"name": "Who", "value": "you"}])
    run = started["pipelineExecutionId"]
    assert await house.ended(run) == "Succeeded"
    assert house.scripted.started[-1].configuration == {"Say": f"c0ffee by you in {run}"}
    got = (await house("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run))["pipelineExecution"]
    assert got["variables"] == [{"name": "Who", "resolvedValue": "you"}]
    assert got["artifactRevisions"] == [{"name": "App", "revisionId": "c0ffee", "revisionSummary": "Fix it"}]
    listed = await house("ListActionExecutions", pipelineName="demo", filter={"pipelineExecutionId": run})
    assert listed["actionExecutionDetails"][0]["input"]["resolvedConfiguration"]["Say"].startswith("c0ffee by you")
    assert "#{src.CommitId}" in listed["actionExecutionDetails"][0]["input"]["configuration"]["Say"]
    summary = (await house("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"][0]
    assert summary["sourceRevisions"] == [{"actionName": "pull", "revisionId": "c0ffee", "revisionSummary": "Fix it"}]


async def test_an_unknown_variable_fails_the_action(house):
    await house.create(SOURCE, stage("Build", action("compile", configuration={"Say": "#{src.Nothing}"})))
    assert await house.ended(await house.first()) == "Failed"
    listed = await house("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert "could not be resolved: Action name=[compile]" in error["message"]


async def test_a_role_that_went_away_fails_the_action(house):
    await house.create()
    await house.ended(await house.first())
    house.identity.refused.add("arn:aws:iam::111111111111:role/pipeline")
    run = (await house("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    assert await house.ended(run) == "Failed"
    listed = await house("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert error == {
        "code": "PermissionError",
        "message": "CodePipeline is not authorized to perform AssumeRole on role arn:aws:iam::111111111111:role/pipeline",
    }


async def test_a_start_that_keeps_breaking_fails_its_action(still_house):
    house = still_house
    house.scripted.answers["compile", "start"] = RuntimeError("boom")
    await house.create()
    run = await house.first()

    async def over():
        house.app.clock.advance(60_000)
        return await house.status(run) != "InProgress"

    await house.until(over)
    listed = await house("ListActionExecutions", pipelineName="demo")
    error = listed["actionExecutionDetails"][0]["output"]["executionResult"]["errorDetails"]
    assert error["code"] == "SystemUnavailable"
    assert "boom" not in error["message"]


async def test_the_journal_gives_the_same_states(any_house):
    house = any_house
    house.scripted.answers["compile", "start"] = Failed(code="JobFailed", message="no")
    await house.create(SOURCE, BUILD, GATE)
    run = await house.first()
    await house.ended(run)
    del house.scripted.answers["compile", "start"]
    await house(
        "RetryStageExecution", pipelineName="demo", stageName="Build", pipelineExecutionId=run, retryMode="ALL_ACTIONS"
    )
    await house.open_approval()
    await house(
        "DisableStageTransition", pipelineName="demo", stageName="Build", transitionType="Inbound", reason="freeze"
    )

    await retold(house)


async def retold(house):
    """The pipeline `demo` replayed from nothing but its journal, beside what the database holds."""
    row, entries, runs = await house.app.store.scan(_stored)
    assert [entry.sequence for entry in entries] == list(range(1, row.sequence + 1))
    kinds = PipelineAggregate
    told = replayed((kinds.inputs.load(entry.input), entry.at, entry.seed) for entry in entries)
    for entry, (_, effects, again) in zip(entries, told, strict=True):
        assert [kinds.effects.dump(effect) for effect in effects] == entry.effects
    assert STATE.load(row.state) == dataclasses.replace(again.state, executions={}, plans={})
    assert {run.id: EXECUTION_STATE.load(run.state) for run in runs} == again.executions
    return entries


def _stored(conn):
    row = pipeline(conn, ADMIN.account, "us-east-1", "demo")
    runs = conn.execute(executions.select().where(executions.c.pipeline_id == row.id)).all()
    return row, journal.read(conn, aggregate_name(row.id)), runs


async def test_deleting_while_running(house):
    house.scripted.answers["compile", "start"] = Running(external_id="b:1")
    await house.create()
    run = await house.first()
    await house("DeletePipeline", name="demo")
    await house("DeletePipeline", name="demo")
    with pytest.raises(ServiceError) as gone:
        await house("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run)
    assert gone.value.wire_code == "PipelineNotFoundException"
    await house.create()
    assert await house.first() != run


async def test_old_runs_are_swept(still_house):
    from penstock.pipelines.retention import sweep

    house = still_house
    await house.create(SOURCE, GATE)
    first = await house.first()
    await house.open_approval()
    await house("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=first, abandon=True)
    second = (await house("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    await house.open_approval()
    now, day = house.app.clock.now(), 86_400_000
    assert await house.app.store.write(sweep, now + 365 * day, 366 * day) == 0
    assert await house.app.store.write(sweep, now + 367 * day, 366 * day) == 1
    listed = (await house("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"]
    assert [run["pipelineExecutionId"] for run in listed] == [second]
    assert listed[0]["executionNumber"] == 2
    await house("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=second, abandon=True)
    assert await house.app.store.write(sweep, now + 367 * day, 366 * day) == 0  # the newest stays


async def test_what_is_too_large_fails_in_words(house):
    house.scripted.answers["pull", "start"] = lambda action: Succeeded(
        outputs=action.outputs, variables={"Big": "x" * 60_000}
    )
    build = stage("Build", action("compile", configuration={"Say": "#{src.Big}#{src.Big}"}))
    await house.create(SOURCE, build)
    assert await house.ended(await house.first()) == "Failed"
    listed = await house("ListActionExecutions", pipelineName="demo")
    assert "larger than 102400 bytes" in str(listed["actionExecutionDetails"][0])
    house.scripted.answers["pull", "start"] = Succeeded(variables={"Big": "x" * 122_881})
    run = (await house("StartPipelineExecution", name="demo"))["pipelineExecutionId"]
    assert await house.ended(run) == "Failed"
    listed = await house("ListActionExecutions", pipelineName="demo")
    assert "larger than 122880 bytes" in str(listed["actionExecutionDetails"][0])


async def test_many_at_once(any_house):
    """Starts, reports and doors race; every run ends, none is lost, and the journal still gives the same state."""
    house = any_house
    made = await asyncio.gather(*(house.create(executionMode="QUEUED") for _ in range(5)), return_exceptions=True)
    refused = [error for error in made if isinstance(error, Exception)]
    assert [error.wire_code for error in refused] == ["PipelineNameInUseException"] * 4
    door = {"pipelineName": "demo", "stageName": "Build", "transitionType": "Inbound"}
    starts = [house("StartPipelineExecution", name="demo", clientRequestToken=f"t{i // 2}") for i in range(40)]
    doors = [house("DisableStageTransition", **door, reason="race") for _ in range(3)]
    answers = await asyncio.gather(*starts, *doors)
    await house("EnableStageTransition", **door)
    runs = {answer["pipelineExecutionId"] for answer in answers if answer}
    assert len(runs) == 20
    for run in runs:
        assert await house.ended(run) == "Succeeded"
    listed = (await house("ListPipelineExecutions", pipelineName="demo"))["pipelineExecutionSummaries"]
    assert [run["executionNumber"] for run in listed] == list(range(21, 0, -1))
    await retold(house)


class Behind:
    """A clock as whoever waits for a row's lock sees it: every other time that is told is of three seconds ago."""

    def __init__(self, clock):
        self._clock = clock
        self._late = False

    def now(self):
        self._late = not self._late
        return self._clock.now() - 3000 * self._late

    def __getattr__(self, name):
        return getattr(self._clock, name)


async def test_a_pipelines_times_never_run_backwards(house):
    house.app.clock = Behind(house.app.clock)
    await house.create()
    for _ in range(3):
        await house("StartPipelineExecution", name="demo")
    await house.ended(await house.first())
    rows = await house.app.store.scan(lambda conn: conn.execute(sa.select(records.journal)).all())
    times = [row.at for row in sorted(rows, key=lambda row: row.sequence)]
    assert len(times) > 5
    assert times == sorted(times)
