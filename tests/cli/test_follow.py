"""Following a run, against services that answer what a test says: what is printed, when it looks again, how it ends."""

from __future__ import annotations

import argparse
import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from penstock_commands import NOON, Service, Time, host, options, page, stage

from penstock.cli import follow, telling
from penstock.cli.exits import Exit

pytestmark = pytest.mark.usefixtures("plain")


def action(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "actionExecutionId": "a1", "stageName": "Build", "actionName": "Make", "status": "Succeeded", "startTime": NOON,
        "lastUpdateTime": NOON + dt.timedelta(seconds=75), "input": {"actionTypeId": {"provider": "CodeBuild", "category": "Build"}}, "output": {},
    }  # fmt: skip
    return made | changes


def following(
    statuses: list[str], actions: list[dict[str, Any]] | None = None, states: list[dict[str, Any]] | None = None, mode: str = "QUEUED", **more: Service
) -> follow.Follower:  # fmt: skip
    codepipeline = Service(
        get_pipeline_execution=[{"pipelineExecution": {"status": one, "executionMode": mode}} for one in statuses],
        get_pipeline_state={"stageStates": states or []},
        list_action_executions=[{"actionExecutionDetails": actions or []}],
        list_pipeline_executions=[{"pipelineExecutionSummaries": [{"pipelineExecutionId": "newest"}]}, {"pipelineExecutionSummaries": []}],
    )  # fmt: skip
    services = {"codepipeline": codepipeline, "penstock": Service(describe_pipeline_actions={"actions": []})} | more
    services.setdefault("codedeploy", Service())
    return follow.Follower(services.__getitem__, "p")  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(follow, "time", made)
    return made


@pytest.mark.parametrize(
    ("status", "code"),
    [("Succeeded", 0), ("Failed", 2), ("Stopped", 3), ("Superseded", 3), ("Cancelled", 3)],
)
def test_follow_exits_as_the_run_ended(clock, capsys, status, code):
    follower = following(["InProgress", "InProgress", status])
    assert follower.until_end("12345678-9") == code
    assert clock.slept == [0.25, 0.25]
    assert capsys.readouterr().out == f"          run 12345678 {status.lower()}\n"


def test_follow_gives_up_behind_its_time(clock):
    assert following(["InProgress"]).until_end("e", timeout=1) == Exit.TIMED_OUT
    assert clock.slept == [0.25] * 5  # at its end exactly it looks once more


def test_the_newest_run_is_meant():
    follower = following(["Succeeded"])
    assert (follower.newest(), follower.newest()) == ("newest", "")
    assert follower._codepipeline.asked[0] == ("list_pipeline_executions", {"pipelineName": "p", "maxResults": 1})


def test_an_approval_is_asked_for_once(clock):
    waiting = {"actionName": "Ask", "latestExecution": {"token": "t", "status": "InProgress"}}
    states = [
        stage("Gate", latestExecution={"pipelineExecutionId": "e"}, actionStates=[waiting, {"actionName": "x"}, {"actionName": "y", "latestExecution": {"token": "t", "status": "Succeeded"}}]),
        stage("Other", latestExecution={"pipelineExecutionId": "f"}, actionStates=[waiting]),
        stage("Never", actionStates=[waiting]),
    ]  # fmt: skip
    asked: list[follow.Approval] = []
    follower = following(["InProgress", "InProgress", "Succeeded"], states=states)
    assert follower.until_end("e", approve=lambda one: asked.append(one) or True) == Exit.DONE
    assert asked == [follow.Approval("p", "Gate", "Ask", "t")]
    assert following(["InProgress"], states=states).until_end("e", approve=lambda _: False) == Exit.WAITS
    assert following(["InProgress", "Succeeded"], states=states).until_end("e") == Exit.DONE
    command = asked[0].command("Approved")
    assert command == "aws codepipeline put-approval-result --pipeline-name p --stage-name Gate --action-name Ask --token t --result status=Approved,summary=TEXT"  # fmt: skip


def test_an_approval_of_a_parallel_run(clock):
    approval = {"actionTypeId": {"provider": "Manual", "category": "Approval"}}
    open_ = {"executionResult": {"externalExecutionId": "token"}}
    actions = [
        action(status="InProgress", input=approval, output=open_), action(status="Succeeded", input=approval, output=open_),
        action(status="InProgress", output=open_), action(status="InProgress", input=approval),
    ]  # fmt: skip
    asked: list[follow.Approval] = []
    follower = following(["InProgress"], actions=actions, mode="PARALLEL")
    assert follower.until_end("e", approve=lambda one: bool(asked.append(one))) == Exit.WAITS
    assert asked == [follow.Approval("p", "Build", "Make", "token")]


def test_an_action_is_told_when_it_starts_and_ends(capsys):
    follower = following(["Succeeded"])
    why = {"executionResult": {"errorDetails": {"message": "no room\nmore"}, "externalExecutionSummary": "s"}}
    follower._action(action(status="InProgress"))
    follower._action(action(status="InProgress"))
    follower._action(action(status="Failed", output=why))
    follower._action(action(status="Failed", output=why))
    at = [f"{NOON.astimezone():%H:%M:%S}", f"{NOON.astimezone() + dt.timedelta(seconds=75):%H:%M:%S}"]
    assert capsys.readouterr().out.splitlines() == [
        f"{at[0]}  Build      Make (CodeBuild) started",
        f"{at[1]}  Build      Make failed in 1 min 15 s: no room",
    ]
    assert follow._why({"externalExecutionSummary": "s\nt"}) == ": s"
    assert follow._why({}) == ""


def test_what_rules_wait_for_and_how_they_end(capsys):
    def checked(status, execution="e", **more):
        rule = {"ruleName": "hours", "latestExecution": {"ruleExecutionId": "r", "status": status, **more}}
        condition = {"conditionStates": [{"ruleStates": [rule, {"ruleName": "later"}]}]}
        one = stage("A", latestExecution={"pipelineExecutionId": execution}, beforeEntryConditionState=condition)
        return {"stageStates": [one, stage("B")]}

    follower = following(["Succeeded"])
    for state in (
        checked("InProgress"),
        checked("InProgress", summary="The window opens at nine."),
        checked("InProgress", summary="The window opens at nine."),
        checked("Failed", errorDetails={"message": "Too late."}, summary="The window opens at nine."),
        checked("Failed", "f", summary="of another run"),
    ):
        for rule in follower._rules(state, "e"):
            follower._rule(rule)
    assert [line[10:] for line in capsys.readouterr().out.splitlines()] == [
        "A          hours (before entry) is checked",
        "A          hours (before entry) is checked: The window opens at nine.",
        "A          hours (before entry) failed: Too late.",
    ]


def test_a_rule_is_told_before_the_action_that_it_lets_begin(capsys):
    def checked(gate, name, seconds):
        latest = {
            "ruleExecutionId": name,
            "status": "Succeeded",
            "lastStatusChange": NOON + dt.timedelta(seconds=seconds),
        }
        return {f"{gate}ConditionState": {"conditionStates": [{"ruleStates": [{"ruleName": name, "latestExecution": latest}]}]}}  # fmt: skip

    one = stage("Build", latestExecution={"pipelineExecutionId": "e"}, **checked("beforeEntry", "hours", 0), **checked("onSuccess", "load", 80))  # fmt: skip
    follower = following(["InProgress"], actions=[action()], states=[one])
    follower._look("e", None, None)
    told = [line[21:] for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[0] for line in told] == ["hours", "Make", "Make", "load"]


def test_what_keeps_a_run_in_front_of_a_stage(capsys):
    states = [
        stage("A", inboundExecutions=[{"pipelineExecutionId": "f"}]),
        stage("B", inboundExecutions=[{"pipelineExecutionId": "f"}, {"pipelineExecutionId": "e"}], inboundTransitionState={"enabled": False, "disabledReason": "frozen"}),
        stage("C", inboundExecutions=[{"pipelineExecutionId": "e"}], latestExecution={"pipelineExecutionId": "123456789"}),
    ]  # fmt: skip
    follower = following(["Succeeded"])
    for _ in range(2):
        follower._waits_in_front({"stageStates": states}, "e")
    said = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "B          waits in front; the transition is closed: frozen", "C          waits in front; run 12345678 is inside",
    ]  # fmt: skip


def test_hosts_of_a_deployment_that_an_action_started(capsys):
    bad = host("web-1", ("Validate", "Failed"), status="Failed")
    bad["lifecycleEvents"][0] |= {
        "diagnostics": {"message": "exit 1", "logTail": "\n".join(f"l{number}" for number in range(10))},
        "endTime": NOON,
    }
    hosts = [
        bad,
        host("web-2", ("Validate", "InProgress")),
        host("web-3", status="Succeeded") | {"lastUpdatedAt": NOON},
    ]
    codedeploy = Service(
        list_deployment_targets={"targetIds": ["x"]},
        batch_get_deployment_targets={"deploymentTargets": [{"instanceTarget": one} for one in hosts]},
    )
    ours = Service(
        describe_pipeline_actions={
            "actions": [
                {"stageName": "Build", "actionName": "Make", "executionType": "codedeploy:deployment"},
                {"stageName": "Build", "actionName": "Other", "executionType": "x"},
            ]
        }
    )
    follower = following(["Succeeded"], codedeploy=codedeploy, penstock=ours)
    follower._deploying = follower._actions_that_deploy("e")
    assert follower._deploying == {("Build", "Make")}
    external = {"executionResult": {"externalExecutionId": "d-1"}}
    for _ in range(2):
        follower._action(action(status="InProgress", output=external))
    follower._action(action(actionExecutionId="a2", actionName="Other", status="InProgress", output=external))
    at = f"{NOON.astimezone():%H:%M:%S}"
    assert capsys.readouterr().out.splitlines()[1:-1] == [
        f"{at}  │ web-1 Validate failed: exit 1",
        *(f"          │   l{number}" for number in range(2, 10)),
        "          │ web-1 failed",
        f"{at}  │ web-3 succeeded",
    ]
    assert follower._deployments == ["d-1"]


def deployment(status: str, **more: Any) -> dict[str, Any]:
    return {"deploymentInfo": {"status": status} | more}


def test_the_end_of_a_rollback_is_waited_for(clock, capsys):
    back = {"rollbackInfo": {"rollbackDeploymentId": "d-2"}}
    failed = deployment("Failed", **back)
    follower = following(
        ["Failed"],
        codedeploy=Service(
            get_deployment=[failed, deployment("InProgress"), deployment("Succeeded", completeTime=NOON)]
        ),
    )
    follower._deployments = ["d-1"]
    follower._rollbacks(None)
    assert clock.slept == [0.25]
    at = f"{NOON.astimezone():%H:%M:%S}"
    assert capsys.readouterr().out == f"{at}  rolled back: deployment d-2 put the earlier revision back\n"
    follower.clients = lambda _: Service(
        get_deployment=[failed, deployment("Failed", errorInformation={"message": "no"})]
    )  # type: ignore[assignment]
    follower._rollbacks(None)
    assert capsys.readouterr().out[10:] == "rollback d-2 failed: no\n"
    follower.clients = lambda _: Service(get_deployment=deployment("Failed"))  # type: ignore[assignment]
    follower._rollbacks(None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("ends", "looks"), [(None, 2401), (1001.0, 5)])
def test_a_rollback_is_waited_for_ten_minutes_at_most(clock, ends, looks):
    back = {"rollbackInfo": {"rollbackDeploymentId": "d-2"}}
    codedeploy = Service(get_deployment=[deployment("Failed", **back), deployment("InProgress")])
    follower = following(["Failed"], codedeploy=codedeploy)
    follower._deployments = ["d-1"]
    follower._rollbacks(ends)
    assert len(clock.slept) == looks


@pytest.mark.parametrize("all_lines", [False, True])
def test_lines_of_a_log_are_printed_beside_the_run(capsys, all_lines):
    own = "[Container] 2026/01/01 10:00:00 Entering phase BUILD"
    service = Service(get_log_events=[page("1", "hello", own), page("1")])
    follower = following(["Succeeded"], logs=service)
    follower.all_lines = all_lines
    result = {"executionResult": {"logStreamARN": "a:log-group:g:log-stream:s"}}
    follower._action(action(status="InProgress", output=result))
    printed = capsys.readouterr().out.splitlines()[1:]
    assert printed == ["          │ hello"] + [f"          │ {own}"] * all_lines
    follower.log = False
    follower._logs.clear()
    follower._action(action(actionExecutionId="b", output=result))
    assert "hello" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wait", "code", "said"),
    [(False, Exit.WAITS, "          Gate waits for an approval (Ask). To approve:\n          aws codepipeline put-approval-result"), (True, Exit.DONE, "")],
)  # fmt: skip
def test_follow_ends_at_an_approval_unless_told_to_wait(clock, monkeypatch, capsys, wait, code, said):
    waiting = {"actionName": "Ask", "latestExecution": {"token": "t", "status": "InProgress"}}
    states = [stage("Gate", latestExecution={"pipelineExecutionId": "newest"}, actionStates=[waiting])]
    follower = following(["InProgress", "Succeeded"], states=states)
    monkeypatch.setattr(follow, "Clients", SimpleNamespace(found=lambda _dir: follower.clients))
    given = options(run="p", timeout=0, wait_approval=wait, no_log=False, all_lines=False, json=False)
    assert follow.run(given) == code
    assert capsys.readouterr().out.startswith(said)
    assert follow.run(given) == Exit.USAGE
    assert capsys.readouterr().err == "penstock follow: p has not run yet\n"


def test_whoever_interrupts_leaves_the_run_alone(monkeypatch, capsys):
    follower = following(["InProgress"])

    def interrupted(*_args: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follower, "until_end", interrupted)
    monkeypatch.setattr(follow, "Follower", lambda *_args, **_more: follower)
    monkeypatch.setattr(follow.Clients, "found", lambda _dir: follower.clients)
    parser = argparse.ArgumentParser()
    follow.add_arguments(parser, "follow")
    with pytest.raises(KeyboardInterrupt):
        follow.run(parser.parse_args(["p"]))
    assert capsys.readouterr().err == (
        "penstock follow: nobody follows run newest any more, but it runs on. To follow it again: penstock follow newest\n"
    )


def test_a_server_that_restarts_is_asked_again(clock, capsys):
    follower = following(["InProgress"])
    silent = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
    going, done = ({"pipelineExecution": {"status": one}} for one in ("InProgress", "Succeeded"))
    follower._codepipeline.answers["get_pipeline_execution"] = [going, silent, silent, going, silent, done]
    assert follower.until_end("12345678-9") == 0
    printed = capsys.readouterr()
    assert printed.err == "penstock follow: the server does not answer; asking again\n" * 2
    assert printed.out == "          run 12345678 succeeded\n"
    follower._codepipeline.answers["get_pipeline_execution"] = [silent]
    began = clock.now
    with pytest.raises(EndpointConnectionError):
        follower.until_end("12345678-9")
    assert 120 < clock.now - began < 121


@pytest.mark.parametrize(
    ("actions", "percent", "bar"),
    [
        ([], None, f"{'░' * 20} Source, 1 of 2: waits"),
        ([action(stageName="Source", status="InProgress")], None, f"{'░' * 20} Source, 1 of 2: Make 12 s"),
        ([action(stageName="Source", status="InProgress")], 50, f"{'█' * 5}{'░' * 15} Source, 1 of 2: Make 12 s, 50%"),
        ([action(stageName="Source")], None, f"{'█' * 10}{'░' * 10} Source, 1 of 2: waits"),
        ([action(stageName="Source"), action(status="InProgress"), action(actionExecutionId="b", actionName="Lint", status="InProgress")], None, f"{'█' * 10}{'░' * 10} Build, 2 of 2: Make 12 s; Lint 12 s"),
        ([action(stageName="Gone", status="InProgress")], None, f"{'░' * 20} Gone, 1 of 2: Make 12 s"),
    ],
)  # fmt: skip
def test_the_bar_of_a_run(actions, percent, bar):
    shown = {"actionName": "Make", "latestExecution": {"actionExecutionId": "a1"} | ({} if percent is None else {"percentComplete": percent})}  # fmt: skip
    state = {
        "stageStates": [stage("Source", actionStates=[shown]), stage("Build", actionStates=[{"actionName": "Lint"}])]
    }
    assert telling.bar_of(state, actions, NOON + dt.timedelta(seconds=12)) == bar
    assert telling.bar_of({"stageStates": []}, actions, NOON) == ""
