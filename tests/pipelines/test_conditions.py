"""Conditions of stages: the engine by example, what may be declared, whole runs, and each rule."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from engine_driver import Driver, condition, plan, stage
from pipeline_harness import BUILD, SOURCE, Scripted, action, declared
from pipeline_harness import stage as declared_stage

from penstock.pipelines.actions import Providers, built_in, rule_modules
from penstock.pipelines.actions.provider import Action, Failed, Running, Succeeded
from penstock.pipelines.custom_types import MASK
from penstock.pipelines.declaration import check, generation_of, normalise
from penstock.pipelines.effects import StopAction
from penstock.pipelines.errors import (
    ConditionNotOverridableException,
    NotLatestPipelineExecutionException,
    StageNotRetryableException,
    UnableToRollbackStageException,
)
from penstock.pipelines.inputs import ActionTimedOut, PipelineDeleted, PipelineUpdated
from penstock.pipelines.model import ConditionStatus, ConditionType, ExecutionMode, Result, RetryMode, StageStatus
from penstock.pipelines.secrets import opened
from penstock.wire.errors import ServiceError

ENTRY, SUCCESS, FAILURE = ConditionType.BEFORE_ENTRY, ConditionType.ON_SUCCESS, ConditionType.ON_FAILURE


def staged(**conditions):
    """Source, a stage Deploy of one action with conditions, and one more."""
    found = {name.upper(): one for name, one in conditions.items()}
    return plan(stage("Source", "pull"), stage("Deploy", "roll", conditions=found), stage("Check", "look"))


def at_deploy(d):
    run = d.start()
    d.succeed(run, "pull")
    return run


# --- the engine (reference 1.2 and 2.10) ------------------------------------------------------------------------------


def test_the_rules_before_entry_run_with_the_stage_locked_and_before_its_actions():
    d = Driver(staged(before_entry=condition(Result.FAIL, "a", "b")))
    run = at_deploy(d)
    assert d.running(run) == ["BEFORE_ENTRY/a", "BEFORE_ENTRY/b"]
    assert (d.state.slots["Deploy"].holder, d.state.slots["Deploy"].status) == (run, StageStatus.IN_PROGRESS)
    d.succeed(run, "BEFORE_ENTRY/a")
    assert d.running(run) == ["BEFORE_ENTRY/b"]
    d.succeed(run, "BEFORE_ENTRY/b")
    assert d.running(run) == ["roll"]
    assert d.state.slots["Deploy"].conditions[ENTRY].status is ConditionStatus.SUCCEEDED
    d.succeed(run, "roll", "look")
    assert d.status(run) == "Succeeded"


def test_an_entry_condition_that_fails_fails_the_stage_and_frees_it():
    d = Driver(staged(before_entry=condition(Result.FAIL, "a", "b")))
    run = at_deploy(d)
    d.fail(run, "BEFORE_ENTRY/a")
    assert d.status(run) == "InProgress"  # the other rule has not ended
    d.succeed(run, "BEFORE_ENTRY/b")
    slot = d.state.slots["Deploy"]
    assert (d.status(run), slot.status, slot.holder) == ("Failed", StageStatus.FAILED, None)
    assert slot.conditions[ENTRY].summary == "The condition BEFORE_ENTRY of stage Deploy failed: a."
    assert d.execution_of(run).summary == slot.conditions[ENTRY].summary
    with pytest.raises(StageNotRetryableException, match="its entry condition failed before any action ran"):
        d.retry(run, "Deploy")
    d.retry(run, "Deploy", RetryMode.ALL_ACTIONS)
    assert d.running(run) == ["BEFORE_ENTRY/a", "BEFORE_ENTRY/b"]


def test_an_entry_condition_with_the_result_skip_passes_the_stage_by():
    d = Driver(staged(before_entry=condition(Result.SKIP, "a")))
    run = at_deploy(d)
    d.fail(run, "BEFORE_ENTRY/a")
    assert d.running(run) == ["look"]
    slot = d.state.slots["Deploy"]
    assert (slot.status, slot.latest, slot.holder, slot.succeeded) == (StageStatus.SKIPPED, run, None, None)
    assert [state for _, name, state in d.stages if name == "Deploy"] == ["STARTED"]
    with pytest.raises(StageNotRetryableException):
        d.retry(run, "Deploy", RetryMode.ALL_ACTIONS)
    with pytest.raises(UnableToRollbackStageException):
        d.roll_back("Deploy", run, succeeded=(run, "Deploy") in d.passed)
    with pytest.raises(ConditionNotOverridableException):
        d.override(run, "Deploy", ENTRY)


def test_the_rules_on_success_run_before_the_stage_succeeds():
    d = Driver(staged(on_success=condition(Result.FAIL, "a")))
    run = at_deploy(d)
    d.succeed(run, "roll")
    assert (d.running(run), d.state.slots["Deploy"].holder) == (["ON_SUCCESS/a"], run)
    d.succeed(run, "ON_SUCCESS/a")
    assert d.running(run) == ["look"]


def test_a_success_condition_that_fails_fails_the_stage():
    d = Driver(staged(on_success=condition(Result.FAIL, "a")))
    run = at_deploy(d)
    d.succeed(run, "roll")
    d.apply(ActionTimedOut(execution=run, action=d.run_of(run, "ON_SUCCESS/a").id))
    assert any(isinstance(effect, StopAction) for effect in d.effects)
    slot = d.state.slots["Deploy"]
    assert (d.status(run), slot.status, slot.holder, slot.succeeded) == ("Failed", StageStatus.FAILED, None, None)
    d.override(run, "Deploy", SUCCESS)
    assert (d.running(run), d.statuses[run][-2:]) == (["look"], ["FAILED", "RESUMED"])
    assert d.state.slots["Deploy"].conditions[SUCCESS].status is ConditionStatus.OVERRIDDEN


def test_a_success_condition_with_the_result_rollback_rolls_back_to_the_last_that_passed_it():
    d = Driver(staged(on_success=condition(Result.ROLLBACK, "a")))
    good = at_deploy(d)
    d.succeed(good, "roll", "ON_SUCCESS/a", "look")
    bad = at_deploy(d)
    d.succeed(bad, "roll")
    d.fail(bad, "ON_SUCCESS/a")
    back = d.newest()
    assert (d.status(bad), d.execution_of(bad).stage_status) == ("Failed", StageStatus.SUCCEEDED)
    assert ((bad, "Deploy") in d.passed, d.execution_of(back).target) == (False, good)
    d.succeed(back, "roll")
    d.fail(back, "ON_SUCCESS/a")  # a rollback is not rolled back
    assert (d.newest(), d.status(back), d.state.slots["Deploy"].holder) == (back, "Failed", None)
    with pytest.raises(NotLatestPipelineExecutionException):
        d.override(bad, "Deploy", SUCCESS)


def test_the_rules_on_failure_run_when_nothing_else_does_and_roll_back_when_they_succeed():
    d = Driver(staged(on_failure=condition(Result.ROLLBACK, "a")))
    good = at_deploy(d)
    d.succeed(good, "roll", "look")
    bad = at_deploy(d)
    d.fail(bad, "roll")
    assert (d.status(bad), d.running(bad), d.state.slots["Deploy"].holder) == ("Failed", ["ON_FAILURE/a"], bad)
    with pytest.raises(StageNotRetryableException, match="a condition of it is being checked"):
        d.retry(bad, "Deploy")
    with pytest.raises(ConditionNotOverridableException, match="the stage has failed"):
        d.override(bad, "Deploy", FAILURE)
    d.succeed(bad, "ON_FAILURE/a")
    assert d.execution_of(d.newest()).target == good
    d.fail(d.newest(), "roll")
    assert not d.state.slots["Deploy"].holder


def test_rules_on_failure_that_fail_leave_it_at_that():
    d = Driver(staged(on_failure=condition(Result.ROLLBACK, "a")))
    good = at_deploy(d)
    d.succeed(good, "roll", "look")
    bad = at_deploy(d)
    d.fail(bad, "roll")
    d.fail(bad, "ON_FAILURE/a")
    assert (d.newest(), d.status(bad), d.state.slots["Deploy"].holder) == (bad, "Failed", None)
    d.retry(bad, "Deploy")
    d.fail(bad, "roll")
    assert d.running(bad) == ["ON_FAILURE/a"]  # it is checked at each failure


def test_a_retry_checks_the_entry_condition_again_when_everything_runs_again():
    d = Driver(staged(before_entry=condition(Result.FAIL, "a"), on_success=condition(Result.FAIL, "b")))
    run = at_deploy(d)
    d.succeed(run, "BEFORE_ENTRY/a")
    d.fail(run, "roll")
    d.retry(run, "Deploy")
    assert d.running(run) == ["roll"]
    assert set(d.state.slots["Deploy"].conditions) == {ENTRY}
    d.fail(run, "roll")
    d.retry(run, "Deploy", RetryMode.ALL_ACTIONS)
    assert (d.running(run), set(d.state.slots["Deploy"].conditions)) == (["BEFORE_ENTRY/a"], {ENTRY})
    d.succeed(run, "BEFORE_ENTRY/a", "roll", "ON_SUCCESS/b", "look")
    assert d.status(run) == "Succeeded"


def test_an_automatic_retry_of_everything_checks_the_entry_condition_again():
    gated = stage("Deploy", "roll", retry=RetryMode.ALL_ACTIONS, conditions={ENTRY.value: condition(Result.FAIL, "a")})
    d = Driver(plan(stage("Source", "pull"), gated))
    run = at_deploy(d)
    d.succeed(run, "BEFORE_ENTRY/a")
    d.fail(run, "roll")
    assert d.running(run) == ["BEFORE_ENTRY/a"]
    d.fail(run, "BEFORE_ENTRY/a")
    assert d.status(run) == "Failed"


def test_a_condition_is_overridden_while_it_is_checked():
    d = Driver(staged(before_entry=condition(Result.FAIL, "a", "b")))
    run = at_deploy(d)
    d.succeed(run, "BEFORE_ENTRY/a")
    d.override(run, "Deploy", ENTRY)
    assert [effect.action for effect in d.effects if isinstance(effect, StopAction)] == [
        d.run_of(run, "BEFORE_ENTRY/b").id
    ]
    assert str(d.run_of(run, "BEFORE_ENTRY/b").status) == "Abandoned"
    assert d.running(run) == ["roll"]
    assert "RESUMED" not in d.statuses[run]  # it had not ended
    with pytest.raises(ConditionNotOverridableException, match="it is Overridden"):
        d.override(run, "Deploy", ENTRY)


def test_what_cannot_be_overridden():
    d = Driver(staged(before_entry=condition(Result.SKIP, "a"), on_success=condition(Result.FAIL, "b")))
    run = at_deploy(d)
    for type, name, why in (
        (ENTRY, "Deploy", "its result is SKIP"),
        (SUCCESS, "Deploy", "it is not what keeps the execution"),
        (ENTRY, "Check", "it is not what keeps the execution"),
    ):
        with pytest.raises(ConditionNotOverridableException, match=why):
            d.override(run, name, type)
    with pytest.raises(ConditionNotOverridableException, match="does not exist"):
        d.override("nobody", "Deploy", ENTRY)
    d.succeed(run, "BEFORE_ENTRY/a", "roll")
    d.fail(run, "ON_SUCCESS/b")
    d.apply(PipelineUpdated(plan=replace(staged(on_success=condition(Result.FAIL, "b")), version=2)))
    with pytest.raises(ConditionNotOverridableException, match="the pipeline was updated"):
        d.override(run, "Deploy", SUCCESS)


def test_what_was_checked_in_one_stage_is_not_overridden_in_front_of_the_next():
    gated = stage("Check", "probe", conditions={SUCCESS.value: condition(Result.FAIL, "b")})
    d = Driver(plan(gated, stage("Deploy", "roll")))
    d.shut("Deploy")
    run = d.start()
    d.succeed(run, "probe", "ON_SUCCESS/b")
    assert d.execution_of(run).waits
    with pytest.raises(ConditionNotOverridableException, match="it is not what keeps the execution"):
        d.override(run, "Deploy", SUCCESS)


@pytest.mark.parametrize("how", ["stop", "abandon", "update", "delete"])
def test_rules_do_not_hold_up_the_end_of_an_execution(how):
    d = Driver(staged(before_entry=condition(Result.FAIL, "a")))
    run = at_deploy(d)
    rule = d.run_of(run, "BEFORE_ENTRY/a").id
    if how in ("stop", "abandon"):
        d.stop(run, abandon=how == "abandon")
    else:
        d.apply(PipelineDeleted() if how == "delete" else PipelineUpdated(plan=replace(staged(), version=2)))
    assert d.status(run) == ("Cancelled" if how == "update" else "Stopped")
    assert [effect.action for effect in d.effects if isinstance(effect, StopAction)] == [rule]
    assert not d.open_actions
    assert d.execution_of(run).condition.status is ConditionStatus.CANCELLED
    if how == "stop":
        d.retry(run, "Deploy")
        assert d.running(run) == ["BEFORE_ENTRY/a"]


def test_an_update_while_a_failed_execution_is_checked_rolls_nothing_back():
    d = Driver(staged(on_failure=condition(Result.ROLLBACK, "a")))
    good = at_deploy(d)
    d.succeed(good, "roll", "look")
    bad = at_deploy(d)
    d.fail(bad, "roll")
    d.apply(PipelineUpdated(plan=replace(staged(), version=2)))
    assert (d.newest(), d.status(bad), d.state.slots["Deploy"].holder) == (bad, "Failed", None)


def test_parallel_executions_have_conditions_of_their_own():
    d = Driver(replace(staged(before_entry=condition(Result.FAIL, "a")), mode=ExecutionMode.PARALLEL))
    one, other = at_deploy(d), at_deploy(d)
    d.fail(one, "BEFORE_ENTRY/a")
    d.succeed(other, "BEFORE_ENTRY/a")
    assert (d.status(one), d.running(other)) == ("Failed", ["roll"])
    d.override(one, "Deploy", ENTRY)
    assert d.running(one) == ["roll"]


# --- declarations -----------------------------------------------------------------------------------------------------

TYPES = Providers({**built_in().by_name, "scripted": Scripted()}).type


def rule(name="r", provider="VariableCheck", **more):
    checks = {"Variable": "#{src.Branch}", "Value": "main", "Operator": "EQ"}
    return {
        "name": name,
        "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": provider, "version": "1"},
        "configuration": more.pop("configuration", checks if provider == "VariableCheck" else {}),
        **more,
    }


def gated(gate="beforeEntry", result="FAIL", *rules, **more):
    conditions = {gate: {"conditions": [{"result": result, "rules": list(rules) or [rule()]}]}}
    return declared(SOURCE, {**BUILD, **conditions}, pipelineType=more.pop("pipelineType", "V2"), **more)


WINDOW = {"Cron": "0 * 9-17 ? * MON-FRI *"}


def test_what_is_refused_of_conditions():
    for declaration, said in (
        (gated(result="ROLLBACK"), "The condition BEFORE_ENTRY of stage 'Build' has the result ROLLBACK: it must be FAIL or SKIP"),
        (gated("onSuccess", "SKIP"), "The condition ON_SUCCESS of stage 'Build' has the result SKIP: it must be FAIL or ROLLBACK"),
        (gated("onFailure", "FAIL"), "The condition ON_FAILURE of stage 'Build' has the result FAIL: it must be ROLLBACK"),
        (gated("onFailure", "ROLLBACK", executionMode="PARALLEL"), "Failure conditions with rollback result type cannot be added to a PARALLEL pipeline."),
        (gated("onSuccess", "ROLLBACK", executionMode="PARALLEL"), "Success conditions with rollback result type cannot be added to a PARALLEL pipeline."),
        (gated(pipelineType="V1"), "Stage level conditions can only be used with V2 pipelines."),
        (gated("beforeEntry", "FAIL", rule(), rule()), "Rule name 'r' is used more than once in the condition BEFORE_ENTRY of stage 'Build'"),
        (gated("beforeEntry", "SKIP", rule(provider="DeploymentWindow", configuration=WINDOW)), "Rule 'r' of stage 'Build' cannot be used with the result SKIP: rules of provider DeploymentWindow cannot skip a stage"),
        (gated("beforeEntry", "FAIL", rule(provider="Commands")), "Rule r must have a non-empty commands field"),
        (gated("beforeEntry", "FAIL", rule(provider="Commands", commands=["a\nb"])), "Rule 'r' declares a command of several lines. Make each line a command of its own."),
        (gated("beforeEntry", "FAIL", rule(provider="Weather")), "RuleType (Category: 'Rule', Provider: 'Weather', Owner: 'AWS', Version: '1') in rule 'r' is not available in region 'US_EAST_1'"),
        (gated("beforeEntry", "FAIL", rule(configuration={})), "Rule configuration for rule 'r' is missing required configuration 'Variable'"),
        (gated("beforeEntry", "FAIL", rule(configuration={"Variable": "a", "Value": "b", "Operator": "EQ", "More": "c"})), "Rule configuration for rule 'r' contains unknown configuration 'More'"),
        (gated("beforeEntry", "FAIL", rule(configuration={"Variable": "a", "Value": "b", "Operator": "IS"})), "Rule configuration for rule 'r' contains an invalid value for 'Operator': it must be one of EQ, NE, CONTAINS, MATCHES"),
        (gated("beforeEntry", "FAIL", rule(configuration={"Variable": "a", "Value": "(", "Operator": "MATCHES"})), "The Value of rule 'r' is no regular expression: missing ): ("),
        (gated("beforeEntry", "FAIL", rule(commands=["true"])), "Rule 'r' declares 'commands', which rules of provider 'VariableCheck' do not have"),
        (gated("beforeEntry", "FAIL", rule(inputArtifacts=[{"name": "App"}])), "Rule r declares 1 input artifacts: rules of its type have 0 to 0"),
        (gated("beforeEntry", "FAIL", rule(provider="CodeBuild", configuration={"ProjectName": "p"}, inputArtifacts=[{"name": "Built"}])), "Input Artifact Bundle Built in rule r is not declared as the output of any preceding actions"),
        (gated("beforeEntry", "FAIL", rule(provider="Commands", commands=["a", "b #{nobody.x}"])), "The following pipeline execution variables are referencing a namespace that does not exist.\nStageName=[Build], RuleName=[r], RuleConfigurationKey=[commands], VariableReferenceText=[nobody.x]"),
        (gated("beforeEntry", "FAIL", rule(configuration={"Variable": "#{nobody.x}", "Value": "b", "Operator": "EQ"})), "The following pipeline execution variables are referencing a namespace that does not exist.\nStageName=[Build], RuleName=[r], RuleConfigurationKey=[Variable], VariableReferenceText=[nobody.x]"),
        (gated("beforeEntry", "FAIL", rule(provider="DeploymentWindow", configuration={"Cron": "* * *"})), "The Cron of rule 'r' cannot be read: it has six fields (seconds, minutes, hours, day of the month, month, day of the week) and perhaps a year"),
        (gated("beforeEntry", "FAIL", rule(provider="DeploymentWindow", configuration={"Cron": "0 99 9-17 ? * MON-FRI"})), "The Cron of rule 'r' cannot be read: the field 99 is not valid"),
        (gated("beforeEntry", "FAIL", rule(provider="DeploymentWindow", configuration=WINDOW | {"TimeZone": "Mars"})), "The TimeZone of rule 'r' cannot be read: the time zone is not known: name one as Europe/Berlin, UTC or UTC+02:00"),
        (gated("beforeEntry", "FAIL", rule(provider="CloudWatchAlarm", configuration={"AlarmName": "a", "WaitTime": "٣"})), "The WaitTime of rule 'r' cannot be read: it is a number of minutes up to 86400"),
        (gated("beforeEntry", "FAIL", rule(provider="CloudWatchAlarm", configuration={"AlarmName": "a", "AlarmStates": "RED"})), "The AlarmStates of rule 'r' cannot be read: the states are ALARM, OK, INSUFFICIENT_DATA, with commas between them"),
    ):  # fmt: skip
        with pytest.raises(ServiceError) as refused:
            check(declaration, TYPES, region="us-east-1")
        assert (refused.value.wire_code, refused.value.message) == ("InvalidStageDeclarationException", said)


def test_conditions_make_a_pipeline_v2_and_are_answered_as_they_were_sent():
    declaration = gated(
        "onSuccess",
        "ROLLBACK",
        rule(provider="CodeBuild", configuration={"ProjectName": "p"}, inputArtifacts=[{"name": "Built"}]),
    )
    del declaration["pipelineType"]
    check(declaration, TYPES, region="us-east-1")
    assert generation_of(declaration) == "V2"
    assert normalise(declaration, 1)["stages"][1]["onSuccess"] == declaration["stages"][1]["onSuccess"]


# --- rules ------------------------------------------------------------------------------------------------------------

MONDAY = 1_796_022_000_000  # 30 November 2026, 07:00 UTC


def asked(name, configuration, *, invoke=None, now=MONDAY, started=MONDAY):
    known = rule_modules()[name].types[0]
    return Action(
        id="i", account="111111111111", region="us-east-1", partition="aws", pipeline="p", execution="e", stage="S",
        name="r", type=known.id, configuration=configuration, inputs=(), outputs=(), store={}, invoke=invoke,
        started=started, now=now,
    )  # fmt: skip


async def test_variable_check():
    for operator, variable, value, wanted in (
        ("EQ", "main", "main", Succeeded),
        ("EQ", "main", "Main", Failed),
        ("NE", "main", "dev", Succeeded),
        ("NE", "main", "main", Failed),
        ("CONTAINS", "release/1", "release", Succeeded),
        ("CONTAINS", "main", "release", Failed),
        ("MATCHES", "v1.2", r"v\d+\.\d+", Succeeded),
        ("MATCHES", "xv1.2", r"v\d+\.\d+", Failed),  # as Java's matches(): all of it
        ("MATCHES", "a" * 100_000, "(a*)*b", Failed),
        ("MATCHES", "a", "(", Failed),
        ("IS", "a", "a", Failed),
    ):
        given = {"Variable": variable, "Value": value, "Operator": operator}
        outcome = await rule_modules()["variable_check"].start(asked("variable_check", given))
        assert isinstance(outcome, wanted), given
        assert len(getattr(outcome, "message", "")) < 1_000


async def test_deployment_window():
    provider = rule_modules()["deployment_window"]

    async def at(now, cron, zone=None):
        given = {"Cron": cron, **({"TimeZone": zone} if zone else {})}
        return await provider.observe(asked("deployment_window", given, now=now))

    hour = 3_600_000
    closed = await at(MONDAY, WINDOW["Cron"])
    assert closed == Running(summary="The window opens at 2026-11-30 09:00 UTC.", check_after=hour)  # an hour at most
    assert (await at(MONDAY + 2 * hour - 60_000, WINDOW["Cron"])).check_after == 60_000
    assert isinstance(await at(MONDAY + 2 * hour + 59_999, WINDOW["Cron"]), Succeeded)
    for zone in ("Europe/Helsinki", "UTC+02:00", "EET", "UTC+2"):
        assert isinstance(await at(MONDAY, WINDOW["Cron"], zone), Succeeded), zone
    assert (await at(MONDAY, WINDOW["Cron"], "UTC-03:30")).summary == "The window opens at 2026-11-30 09:00 UTC-03:30."
    assert isinstance(await at(MONDAY, "* * * * * ?"), Succeeded)
    assert (await at(MONDAY, "0 0 0 1 1 ? 2001")) == Failed(
        code="JobFailed", message="The window does not open any more."
    )
    assert (await at(MONDAY, "x")).code == "ConfigurationError"


async def test_cloudwatch_alarm():
    provider = rule_modules()["cloudwatch_alarm"]

    async def asks(state, *, after=0, **given):
        async def invoke(service, operation, input):
            assert (service, operation, input["AlarmNames"]) == ("cloudwatch", "DescribeAlarms", ["a"])
            return {"MetricAlarms": [], "CompositeAlarms": [{"StateValue": state}] if state else []}

        configuration = {"AlarmName": "a", **given}
        return await provider.observe(asked("cloudwatch_alarm", configuration, invoke=invoke, now=MONDAY + after))

    assert isinstance(await asks("OK", WaitTime="5"), Succeeded)
    assert isinstance(await asks("INSUFFICIENT_DATA"), Succeeded)
    assert isinstance(await asks("ALARM"), Failed)
    assert (await asks("ALARM", WaitTime="1")).check_after == 10_000
    assert (await asks("ALARM", WaitTime="1", after=57_000)).check_after == 3_000
    assert (await asks("ALARM", WaitTime="1", after=60_000)).message == "The alarm a is ALARM."
    assert isinstance(await asks("INSUFFICIENT_DATA", AlarmStates="ALARM, INSUFFICIENT_DATA"), Failed)
    assert (await asks(None)).message == "The alarm a does not exist."
    assert (await asks("OK", AlarmStates="#")).code == "ConfigurationError"


async def test_a_rule_that_is_not_run_says_so():
    provider = rule_modules()["lambda_invoke"]
    why = "of provider LambdaInvoke. There are no functions yet. Use a CodeBuild rule that runs the code."
    assert not provider.acts({})
    assert (await provider.start(asked("lambda_invoke", {}))).message == f"Penstock does not run rules {why}"


async def test_a_rule_that_has_the_name_of_an_action_does_not_get_its_secrets():
    row = SimpleNamespace(pipeline_id="p", version=1, stage="Build", action="compile", condition="ON_SUCCESS")
    prepared = SimpleNamespace(declared={"configuration": {"Password": MASK}}, row=row)
    assert await opened(None, prepared) == {}  # it asks for nothing


# --- whole runs -------------------------------------------------------------------------------------------------------


def deploy(**gates):
    return declared_stage("Deploy", action("roll", "Deploy", inputArtifacts=[{"name": "Built"}]), **gates)


def one(result, *rules):
    return {"conditions": [{"result": result, "rules": list(rules)}]}


def scripted(name="look", **more):
    return rule(name, "Scripted", configuration={"Say": "#{src.Branch}"}, **more)


async def test_a_run_through_conditions_shows_what_was_checked(any_harness):
    harness = any_harness
    answers = harness.scripted.answers
    answers["pull", "start"] = lambda action: Succeeded(outputs=action.outputs, variables={"Branch": "main"})
    answers["look", "start"] = Succeeded(summary="Looks good", external_id="l:1")
    role = "arn:aws:iam::111111111111:role/rules"
    gates = {
        "beforeEntry": one("FAIL", rule("branch"), rule("never", configuration={"Variable": "#{src.Branch}", "Value": "x", "Operator": "NE"})),
        "onSuccess": one("FAIL", scripted(inputArtifacts=[{"name": "Built"}])),
    }  # fmt: skip
    await harness.create(SOURCE, BUILD, deploy(**gates), pipelineType="V2")
    run = await harness.first()
    assert await harness.ended(run) == "Succeeded"
    state = (await harness("GetPipelineState", name="demo"))["stageStates"][2]
    entry, success = state["beforeEntryConditionState"], state["onSuccessConditionState"]
    assert (entry["latestExecution"], success["latestExecution"]) == ({"status": "Succeeded"}, {"status": "Succeeded"})
    (checked,) = entry["conditionStates"]
    assert [(found["ruleName"], found["latestExecution"]["status"]) for found in checked["ruleStates"]] == [
        ("branch", "Succeeded"),
        ("never", "Succeeded"),
    ]
    assert "lastStatusChange" in checked["latestExecution"]
    latest = success["conditionStates"][0]["ruleStates"][0]["latestExecution"]
    assert (latest["summary"], latest["externalExecutionId"]) == ("Looks good", "l:1")
    assert [found["actionName"] for found in state["actionStates"]] == ["roll"]

    listed = (await harness("ListRuleExecutions", pipelineName="demo"))["ruleExecutionDetails"]
    assert sorted((found["stageName"], found["ruleName"], found["status"]) for found in listed) == [
        ("Deploy", name, "Succeeded") for name in ("branch", "look", "never")
    ]
    assert listed[0]["ruleName"] == "look"  # the latest start first
    assert listed[0]["input"]["resolvedConfiguration"] == {"Say": "main"}
    assert listed[0]["input"]["inputArtifacts"][0]["name"] == "Built"
    assert listed[0]["output"]["executionResult"]["externalExecutionSummary"] == "Looks good"
    assert listed[0]["input"]["ruleTypeId"]["provider"] == "Scripted"
    first = await harness("ListRuleExecutions", pipelineName="demo", maxResults=2, filter={"pipelineExecutionId": run})
    second = await harness("ListRuleExecutions", pipelineName="demo", maxResults=2, nextToken=first["nextToken"], filter={"pipelineExecutionId": run})  # fmt: skip
    assert first["ruleExecutionDetails"] + second["ruleExecutionDetails"] == listed
    only = {"latestInPipelineExecution": {"pipelineExecutionId": run, "startTimeRange": "Latest"}}
    assert (await harness("ListRuleExecutions", pipelineName="demo", filter=only))["ruleExecutionDetails"] == listed
    actions = (await harness("ListActionExecutions", pipelineName="demo"))["actionExecutionDetails"]
    assert [found["actionName"] for found in actions] == ["roll", "compile", "pull"]
    assert role not in {assumed[0] for assumed in harness.identity.assumed}


async def test_a_rule_acts_under_its_role_and_one_that_fails_may_be_overridden(any_harness):
    harness = any_harness
    harness.scripted.answers["pull", "start"] = lambda action: Succeeded(
        outputs=action.outputs, variables={"Branch": "dev"}
    )
    await harness.create(SOURCE, BUILD, deploy(beforeEntry=one("FAIL", rule("branch"))), pipelineType="V2")
    run = await harness.first()
    assert await harness.ended(run) == "Failed"
    got = await harness("GetPipelineExecution", pipelineName="demo", pipelineExecutionId=run)
    assert got["pipelineExecution"]["statusSummary"] == ("The condition BEFORE_ENTRY of stage Deploy failed: branch.")
    state = (await harness("GetPipelineState", name="demo"))["stageStates"][2]["beforeEntryConditionState"]
    assert state["latestExecution"]["status"] == "Failed"
    error = state["conditionStates"][0]["ruleStates"][0]["latestExecution"]["errorDetails"]
    assert error == {"code": "JobFailed", "message": "The variable is “dev”, which is not equal to “main”."}
    asked_for = {"pipelineName": "demo", "stageName": "Deploy", "pipelineExecutionId": run}
    with pytest.raises(ServiceError) as refused:
        await harness("OverrideStageCondition", **asked_for, conditionType="ON_SUCCESS")
    assert refused.value.wire_code == "ConditionNotOverridableException"
    assert await harness("OverrideStageCondition", **asked_for, conditionType="BEFORE_ENTRY") == {}
    assert await harness.ended(run) == "Succeeded"
    state = (await harness("GetPipelineState", name="demo"))["stageStates"][2]["beforeEntryConditionState"]
    assert state["latestExecution"] == {"status": "Overridden", "summary": "The condition BEFORE_ENTRY of stage Deploy failed: branch."}  # fmt: skip


async def test_a_rule_that_runs_elsewhere_reports_and_is_stopped(harness):
    harness.scripted.answers["pull", "start"] = lambda action: Succeeded(
        outputs=action.outputs, variables={"Branch": "main"}
    )
    harness.scripted.answers["look", "start"] = Running(external_id="l:2")
    await harness.create(SOURCE, BUILD, deploy(onSuccess=one("FAIL", scripted())), pipelineType="V2")
    run = await harness.first()

    async def checking():
        state = (await harness("GetPipelineState", name="demo"))["stageStates"][2]
        found = state["onSuccessConditionState"]["conditionStates"][0]["ruleStates"][0]
        return found.get("latestExecution", {}).get("externalExecutionId") == "l:2"

    await harness.until(checking)
    await harness("OverrideStageCondition", pipelineName="demo", stageName="Deploy", pipelineExecutionId=run, conditionType="ON_SUCCESS")  # fmt: skip
    assert await harness.ended(run) == "Succeeded"

    async def stopped():
        return "l:2" in harness.scripted.stopped

    await harness.until(stopped)


async def test_a_stage_that_is_skipped(harness):
    harness.scripted.answers["pull", "start"] = lambda action: Succeeded(
        outputs=action.outputs, variables={"Branch": "dev"}
    )
    skipped = {**BUILD, "name": "Extra", "actions": [action("extra")], "beforeEntry": one("SKIP", rule("branch"))}
    await harness.create(SOURCE, skipped, BUILD, pipelineType="V2")
    run = await harness.first()
    assert await harness.ended(run) == "Succeeded"
    state = (await harness("GetPipelineState", name="demo"))["stageStates"][1]
    assert state["latestExecution"]["status"] == "Skipped"
    assert "latestExecution" not in state["actionStates"][0]
    chosen = {"succeededInStage": {"stageName": "Extra"}}
    listed = await harness("ListPipelineExecutions", pipelineName="demo", filter=chosen)
    assert listed["pipelineExecutionSummaries"] == []


async def test_rule_types(harness):
    types = (await harness("ListRuleTypes"))["ruleTypes"]
    named = [known["id"]["provider"] for known in types]
    assert named == [
        "CloudWatchAlarm",
        "CodeBuild",
        "Commands",
        "DeploymentWindow",
        "LambdaInvoke",
        "Scripted",
        "VariableCheck",
    ]
    assert types[0]["ruleConfigurationProperties"][0]["required"]
    assert types[0]["inputArtifactDetails"] == {"minimumCount": 0, "maximumCount": 0}
    assert (await harness("ListRuleTypes", ruleOwnerFilter="AWS"))["ruleTypes"] == types
    assert (await harness("ListRuleTypes", regionFilter="mars-north-1"))["ruleTypes"] == []
    listed = (await harness("ListActionTypes"))["actionTypes"]
    assert "Rule" not in {known["id"]["category"] for known in listed}
