"""Why a run waits, in each of the situations that the engine knows, and by boto3 and the command line."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from engine_driver import THREE, Driver, condition, plan, stage
from penstock_console import bucket, gate, pipeline, role, source, waits, zipped
from penstock_waiting import until

from penstock.cli.exits import Exit
from penstock.cli.main import main
from penstock.pipelines.explaining import Situation, Why, reasons
from penstock.pipelines.inputs import ActionReported, ApprovalAnswered, PipelineUpdated
from penstock.pipelines.model import ConditionType, Details, ExecutionMode, Result, TransitionSide

SHOWN = {"summary": None, "percent": None, "error_code": None, "error_message": None, "updated": 0}


def why(d, run, *, jobs=None, urls=None, **row):
    """The reasons of a run; `row` is what is shown of each of its actions."""
    execution = d.execution_of(run)
    slots = {} if execution.mode is ExecutionMode.PARALLEL else d.state.slots
    ids = [one.id for one in execution.actions.values()]
    return reasons(
        Situation(
            pipeline="my shop",
            execution=execution,
            plan=d.state.plans[execution.version],
            newest=d.state.version,
            slots=slots,
            numbers={id: one.number for id, one in d.pipeline.executions.items()},
            updated=5,
            site="https://here",
            rows={id: SimpleNamespace(**SHOWN | row) for id in ids},
            jobs=dict.fromkeys(ids, jobs) if jobs else {},
            urls=dict.fromkeys(ids, urls) if urls else {},
        )
    )


def one(d, run, **more):
    (found,) = why(d, run, **more)
    return found


def test_an_action_is_at_work():
    d = Driver(plan(*THREE))
    run = d.start()
    found = one(d, run, summary="half way\nmore", percent=50, urls="https://build/1")
    assert found.text == "The action pull (Test) is at work: 50% done; half way."
    assert (found.kind, found.stage, found.action, found.url) == (Why.ACTION, "Source", "pull", "https://build/1")
    assert (found.since, found.until) == (d.now, d.now + 3_600_000)
    assert one(d, run).text == "The action pull (Test) is at work."
    found = one(d, run, jobs="ready")
    assert found.kind is Why.WORKER
    assert found.text == (
        "No job worker has taken the job of pull yet: is one running that polls for Build, AWS, Test, version 1?"
    )
    assert one(d, run, jobs="leased").kind is Why.ACTION


def test_each_action_of_a_group_is_named():
    d = Driver(plan(*THREE))
    run = d.start()
    d.succeed(run, "pull")
    assert [found.action for found in why(d, run)] == ["compile", "lint"]
    d.stop(run)
    stopping, *rest = why(d, run)
    assert stopping.text == "The run is being stopped (“enough”): what runs in Build ends first."
    assert stopping.command == (
        f"aws codepipeline stop-pipeline-execution --pipeline-name 'my shop' --pipeline-execution-id {run} --abandon"
    )
    assert len(rest) == 2


def test_the_lock_and_the_queue():
    d = Driver(plan(*THREE, mode=ExecutionMode.QUEUED))
    first, second, third = d.start(), d.start(), d.start()
    found = one(d, second)
    assert (found.kind, found.execution) == (Why.LOCK, first)
    assert found.text == "Run 1 is in Source. One run at a time may be there."
    lock, queue = why(d, third)
    assert (lock.execution, queue.execution) == (first, second)
    assert queue.text == "1 run waits before Source in front of it; the next to enter is run 2."
    fourth = d.start()
    assert why(d, fourth)[1].text == "2 runs wait before Source in front of it; the next to enter is run 2."


def test_a_failed_stage_whose_other_actions_still_run_is_locked():
    d = Driver(plan(*THREE))
    first = d.start()
    d.succeed(first, "pull")
    second = d.start()
    d.succeed(second, "pull")
    d.fail(first, "lint")
    assert one(d, second).text == (
        "Run 1 is in Build and has failed, but some of its actions still run. One run at a time may be there."
    )


def test_a_closed_transition():
    d = Driver(plan(*THREE))
    d.shut("Build", reason="freeze")
    run = d.start()
    d.succeed(run, "pull")
    found = one(d, run)
    assert (found.kind, found.stage) == (Why.TRANSITION, "Build")
    assert found.text == "The transition into Build was closed by me: “freeze”."
    assert found.command == (
        "aws codepipeline enable-stage-transition --pipeline-name 'my shop' --stage-name Build --transition-type Inbound"
    )
    d.open("Build")
    assert why(d, run)[0].kind is Why.ACTION
    d.succeed(run, "compile", "lint")
    d.shut("Build", side=TransitionSide.OUTBOUND, reason="freeze")
    d.succeed(run, "test")
    found = one(d, run)
    assert (found.text, found.stage) == ("The transition out of Build was closed by me: “freeze”.", "Build")
    assert "--transition-type Outbound" in found.command


@pytest.mark.parametrize("mode", [ExecutionMode.SUPERSEDED, ExecutionMode.PARALLEL])
def test_an_approval(mode):
    d = Driver(plan(stage("Source", "pull"), stage("Gate", "?ask"), mode=mode))
    run = d.start()
    d.succeed(run, "pull")
    assert one(d, run).text == "The approval ask is being asked for."
    d.apply(ActionReported(execution=run, action=d.run_of(run, "ask").id, details=Details(resolved={})))
    found = one(d, run)
    assert (found.kind, found.text) == (Why.APPROVAL, "The approval ask waits for an answer.")
    which = f"?run={run}" if mode is ExecutionMode.PARALLEL else ""
    assert found.url == f"https://here/console/pipelines/my shop/approvals/Gate/ask{which}"
    token = d.run_of(run, "ask").token
    assert found.command.endswith(f"--action-name ask --token {token} --result status=Approved,summary=TEXT")


def test_rules_and_conditions():
    entry = {ConditionType.BEFORE_ENTRY.value: condition(Result.FAIL, "window")}
    d = Driver(plan(stage("Source", "pull"), stage("Deploy", "roll", conditions=entry)))
    run = d.start()
    d.succeed(run, "pull")
    found = one(d, run, summary="The window opens at 9.")
    assert found.kind is Why.RULE
    assert found.text == "The rule window of the entry condition of Deploy is being checked: The window opens at 9."
    assert found.command.endswith(f"--stage-name Deploy --pipeline-execution-id {run} --condition-type BEFORE_ENTRY")
    d.fail(run, f"{ConditionType.BEFORE_ENTRY}/window")
    found = one(d, run)
    assert found.kind is Why.CONDITION
    assert found.text.startswith("The entry condition of Deploy has failed")
    assert found.command.startswith("aws codepipeline override-stage-condition")


def test_how_a_run_ended():
    d = Driver(plan(*THREE))
    failed = d.start()
    d.fail(failed, "pull")
    found = one(d, failed, error_code="JobFailed", error_message="no such bucket.\nmore", updated=7)
    assert (found.kind, found.since, found.action) == (Why.ENDED, 7, "pull")
    assert found.text == "The action pull failed in Source (JobFailed): no such bucket."
    assert found.command.endswith(f"--stage-name Source --pipeline-execution-id {failed} --retry-mode FAILED_ACTIONS")
    good = d.start()
    assert one(d, failed, error_message="x").command == ""  # a newer run has entered the stage
    d.succeed(good, "pull")
    _, overtaken, newer = d.start(), d.start(), d.start()
    assert one(d, overtaken).text == f"Superseded by execution {d.execution_of(newer).number} before stage Source."
    d.stop(good, abandon=True)
    assert one(d, good).text == "The run was stopped in Build: “enough”"
    assert "retry-stage-execution" in one(d, good).command


def test_a_run_that_was_cancelled_and_one_that_succeeded():
    d = Driver(plan(stage("Source", "pull"), stage("Build", "make")))
    run = d.start()
    d.succeed(run, "pull", "make")
    assert one(d, run).text == "The run succeeded in all its stages."
    run = d.start()
    d.apply(PipelineUpdated(plan=plan(stage("Source", "pull"), stage("Build", "make"), version=2)))
    d.succeed(run, "pull")
    assert one(d, run).text == "The run was cancelled in Source, since the pipeline was updated or deleted."


def test_variables_that_are_missing():
    d = Driver(plan(*THREE, required=("Target",)))
    run = d.start()
    assert one(d, run).text == "The run failed: Values for required variables haven't been provided: Target."


def test_every_open_run_has_a_reason_however_it_came_about():
    """Not `Nothing`: a run that is not at an end waits for something that has a name."""
    d = Driver(plan(stage("Source", "pull"), stage("Gate", "?ask"), mode=ExecutionMode.QUEUED))
    first, second = d.start(), d.start()
    d.succeed(first, "pull")
    d.shut("Gate")
    d.succeed(second, "pull")
    for run in (first, second):
        assert all(found.kind is not Why.NOTHING for found in why(d, run))
    ask = d.run_of(first, "ask")
    d.apply(ActionReported(execution=first, action=ask.id, details=Details(resolved={})))
    rejected = ApprovalAnswered(execution=first, action=ask.id, token=ask.token, approved=False, summary="", by="me")
    d.apply(rejected)
    assert one(d, first, error_message="no").text == "The action ask failed in Gate: no."
    assert one(d, second).kind is Why.TRANSITION


# --- by clients -----------------------------------------------------------------------------------------------------------


def test_the_command_line_says_what_keeps_a_run_and_what_keeps_that(live, capsys):
    bucket(live, "releases")
    bucket(live, "artifacts")
    live.client("s3").put_object(Bucket="releases", Key="app.zip", Body=zipped(index__html="one"))
    pipeline(
        live,
        "kept",
        role(live, "codepipeline"),
        source("app.zip"),
        gate("Ask", "Release", RequiredApprovals="2"),
        mode="QUEUED",
    )
    until(lambda: waits(live, "kept", "Ask"))
    second = live.client("codepipeline").start_pipeline_execution(name="kept")["pipelineExecutionId"]
    until(lambda: live.client("penstock").explain_execution(pipelineExecutionId=second)["reasons"][0]["kind"] == "Lock")

    def penstock(*arguments):
        code = main([*arguments, "--data-dir", str(live.data_dir)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    code, said = penstock("explain", second)
    assert code == Exit.DONE
    assert f"kept, run 2 ({second}): in progress" in said
    assert "  Run 1 is in Ask. One run at a time may be there. (since " in said
    assert "    The approval Release waits for an answer: 2 approvals. (since " in said
    assert "aws codepipeline put-approval-result --pipeline-name kept --stage-name Ask" in said
    code, said = penstock("explain", "kept", "--json")
    document = json.loads(said)
    assert (document["pipelineExecutionId"], document["executionNumber"], document["status"]) == (
        second,
        2,
        "InProgress",
    )
    code, said = penstock("explain", "none")
    assert (code, "does not have a pipeline with name 'none'" in said) == (Exit.USAGE, True)
    for asked, error in (
        ({}, "ValidationException"),
        ({"pipelineExecutionId": "00000000-0000-4000-8000-000000000000"}, "PipelineExecutionNotFoundException"),
        ({"pipelineName": "none"}, "PipelineNotFoundException"),
    ):
        with pytest.raises(ClientError) as refused:
            live.client("penstock").explain_execution(**asked)
        assert refused.value.response["Error"]["Code"] == error
