"""Commands in process, against services that answer what a test says: what they print, when they look again, and how they exit."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.exceptions
import pytest
import sqlalchemy as sa

from penstock.cli import (
    buildlogs,
    clients,
    completion,
    docs,
    doctor,
    env,
    follow,
    installation,
    jobs,
    journal,
    logs,
    main,
    serve,
    status,
    terminal,
    user,
)
from penstock.cli.checks import findings, machine, server, stores
from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer
from penstock.store.database import PROCESS_CONNECTIONS
from penstock.store.errors import StoreUnavailable
from penstock.store.sealing import SealError

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
GIB = 1 << 30


class Missing(Exception):
    """What a service says when there is no such thing."""


class Service:
    """Operations that answer from lists, the last answer for ever; what they were asked is kept."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name: answer if isinstance(answer, list) else [answer] for name, answer in answers.items()}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.exceptions = SimpleNamespace(
            ResourceNotFoundException=Missing, DeploymentNotStartedException=Missing, PipelineNotFoundException=Missing,
            JobNotFoundException=Missing, EntityAlreadyExistsException=Missing,
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            raise AttributeError(name)

        def run(**input: Any) -> Any:
            self.asked.append((name, input))
            waiting = self.answers[name]
            answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return run

    def get_paginator(self, name: str) -> Any:
        def paginate(**input: Any) -> list[Any]:
            self.asked.append((name, input))
            return self.answers[name]

        return SimpleNamespace(paginate=paginate)


def client(operation: str, code: str = "Denied", message: str = "You may not.") -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("NO_PROXY", "no_proxy"):  # what commands set for themselves ends with the test
        monkeypatch.setenv(name, "")


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def options(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"data_dir": Path("/nowhere"), "json": False, "master_key_command": ""} | values)


def found(monkeypatch: pytest.MonkeyPatch, module: Any, **services: Service) -> None:
    made = SimpleNamespace(found=lambda _dir: services.__getitem__, administrator=lambda _dir: services.__getitem__)
    monkeypatch.setattr(module, "Clients", made)


# --- logs -------------------------------------------------------------------------------------------------------------


def page(token: str, *messages: str) -> dict[str, Any]:
    return {"events": [{"message": message} for message in messages], "nextForwardToken": token}


def test_a_log_is_read_to_its_end_and_from_there():
    service = Service(
        get_log_events=[page("1", "a\nb"), page("2", "c"), page("2"), page("3", "d"), page("3"), Missing()]
    )
    stream = buildlogs.LogStream(lambda _: service, "arn:aws:logs:r:1:log-group:/g/x:log-stream:s")  # type: ignore[arg-type]
    assert list(stream.new_lines()) == ["a", "b", "c"]
    assert list(stream.new_lines()) == ["d"]
    assert list(stream.new_lines()) == []
    asked = [input for _, input in service.asked]
    assert asked[0] == {"logGroupName": "/g/x", "logStreamName": "s", "startFromHead": True}
    assert [input.get("nextToken") for input in asked] == [None, "1", "2", "2", "3", "3"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("of the run", "of the run"),
        ("[Container] 2026/01/01 10:00:00 Entering phase BUILD", None),
        ("[Container] 2026/01/01 10:00:00.123456 Running command make", "$ make"),
        ("[Container] 2026/01/01 10:00:00 Phase complete: BUILD State: FAILED", "Phase complete: BUILD State: FAILED"),
        ("[Container] 2026/01/01 10:00:00 Phase complete: BUILD State: SUCCEEDED", None),
        ("[Container] 2026/01/01 10:00:00 Phase context status code: X", "Phase context status code: X"),
        ("[Container] 2026/01/01 10:00:00 Phase context status code:  Message:", None),
    ],
)
def test_lines_of_the_build_service_that_say_something(line, shown):
    assert buildlogs.notable(line) == shown


@pytest.mark.parametrize(
    ("statuses", "follows", "code", "slept"),
    [
        (["SUCCEEDED"], False, Exit.DONE, []),
        (["IN_PROGRESS"], False, Exit.DONE, []),
        (["FAILED"], True, Exit.FAILED, []),
        (["STOPPED"], False, Exit.FAILED, []),
        (["IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED"], True, Exit.DONE, [0.5, 0.5]),
    ],
)
def test_logs_of_a_build(monkeypatch, capsys, statuses, follows, code, slept):
    clock = Time()
    monkeypatch.setattr(buildlogs, "time", clock)
    builds = [
        {"buildStatus": one, "buildComplete": one != "IN_PROGRESS", "logs": {"cloudWatchLogsArn": "a:log-group:g:log-stream:s"}}
        for one in statuses
    ]  # fmt: skip
    codebuild = Service(batch_get_builds=[{"builds": [builds[0]]}, *({"builds": [one]} for one in builds)])
    services = {"codebuild": codebuild, "logs": Service(get_log_events=[page("1", "hello"), page("1")])}
    found(monkeypatch, buildlogs, **services)
    assert buildlogs.run(options(what="p:1", follow=follows, host="")) == code
    assert clock.slept == slept
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize(
    ("what", "codebuild", "sentence"),
    [
        ("p", Service(list_builds_for_project=Missing()), "there is no build project p. `aws codebuild list-projects` lists them; a run of a pipeline is shown by `penstock follow p`"),
        ("p", Service(list_builds_for_project={"ids": []}), "the project p has not built yet"),
        ("p:1", Service(batch_get_builds={"builds": []}), "there is no build p:1"),
        ("p:1", Service(batch_get_builds=client("BatchGetBuilds")), "You may not."),
    ],
)  # fmt: skip
def test_logs_of_no_build(monkeypatch, capsys, what, codebuild, sentence):
    found(monkeypatch, buildlogs, codebuild=codebuild)
    assert buildlogs.run(options(what=what, follow=False, host="")) == Exit.USAGE
    assert capsys.readouterr().err == f"penstock logs: {sentence}\n"


def test_the_newest_build_of_a_project_is_meant(monkeypatch, capsys):
    build = {"buildStatus": "SUCCEEDED", "buildComplete": True, "logs": {}}
    codebuild = Service(list_builds_for_project={"ids": ["p:2", "p:1"]}, batch_get_builds={"builds": [build]})
    found(monkeypatch, buildlogs, codebuild=codebuild)
    assert buildlogs.run(options(what="p", follow=True, host="")) == Exit.DONE
    assert codebuild.asked[-1] == ("batch_get_builds", {"ids": ["p:2"]})
    assert capsys.readouterr().out == ""


def test_targets_are_asked_for_25_at_a_time():
    def listed(ids: list[str], token: str = "") -> dict[str, Any]:
        return {"targetIds": ids} | ({"nextToken": token} if token else {})

    ids = [f"h{number}" for number in range(51)]

    def batch(some: list[str]) -> dict[str, Any]:
        return {"deploymentTargets": [{"instanceTarget": {"targetId": one}} for one in some]}

    service = Service(
        list_deployment_targets=[listed(ids[:50], "t"), listed(ids[50:])],
        batch_get_deployment_targets=[batch(ids[:25]), batch(ids[25:50]), batch(ids[50:])],
    )
    assert [target["targetId"] for target in buildlogs.targets_of(service, "d")] == ids
    assert [len(input["targetIds"]) for name, input in service.asked if name.startswith("batch")] == [25, 25, 1]
    pages = [input for name, input in service.asked if name.startswith("list")]
    assert pages == [{"deploymentId": "d"}, {"deploymentId": "d", "nextToken": "t"}]
    assert list(buildlogs.targets_of(Service(list_deployment_targets=Missing()), "d")) == []


def host(name: str, *events: tuple[str, str], status: str = "InProgress") -> dict[str, Any]:
    listed = [{"lifecycleEventName": event, "status": state} for event, state in events]
    return {"targetId": name, "status": status, "lifecycleEvents": listed}


@pytest.mark.parametrize(("end", "code"), [("Succeeded", Exit.DONE), ("Failed", Exit.FAILED), ("Stopped", Exit.FAILED)])
def test_logs_of_a_deployment_are_printed_once_each(monkeypatch, capsys, end, code):
    clock = Time()
    monkeypatch.setattr(buildlogs, "time", clock)
    hosts = [host("web-1", ("BeforeInstall", "Succeeded"), ("AfterInstall", "Pending"), ("Validate", "Skipped")), host("web-2", ("BeforeInstall", "Failed"))]  # fmt: skip
    targets = {"deploymentTargets": [{"instanceTarget": one} for one in hosts]}
    codedeploy = Service(
        get_deployment=[{"deploymentInfo": {"status": one}} for one in ("InProgress", "InProgress", end)],
        list_deployment_targets={"targetIds": ["web-1", "web-2"]},
        batch_get_deployment_targets=targets,
    )
    ours = Service(get_hook_log=[{"log": text} for text in ("one\n", "one\ntwo\n", "gone\n")])
    found(monkeypatch, buildlogs, codedeploy=codedeploy, penstock=ours)
    assert buildlogs.run(options(what="d-ABCDEFGHI", follow=True, host="web-1")) == code
    assert capsys.readouterr().out == "web-1 BeforeInstall\none\ntwo\ngone\n"
    assert clock.slept == [0.5, 0.5]
    assert len(ours.asked) == 3
    assert buildlogs.run(options(what="d-ABCDEFGHI", follow=False, host="web-2")) == code
    assert capsys.readouterr().out == "web-2 BeforeInstall\ngone\n"


# --- follow -----------------------------------------------------------------------------------------------------------


def action(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "actionExecutionId": "a1", "stageName": "Build", "actionName": "Make", "status": "Succeeded", "startTime": NOON,
        "lastUpdateTime": NOON + dt.timedelta(seconds=75), "input": {"actionTypeId": {"provider": "CodeBuild", "category": "Build"}}, "output": {},
    }  # fmt: skip
    return made | changes


def stage(name: str, **more: Any) -> dict[str, Any]:
    return {"stageName": name, "actionStates": []} | more


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
    given = options(pipeline="p", execution="", timeout=0, wait_approval=wait, no_log=False, all_lines=False)
    assert follow.run(given) == code
    assert capsys.readouterr().out.startswith(said)
    assert follow.run(given) == Exit.USAGE
    assert capsys.readouterr().err == "penstock follow: p has not run yet\n"


# --- status, jobs, journal, users -------------------------------------------------------------------------------------


def overview_of(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "url": "http://h", "version": "1", "ready": True, "caller": "arn", "pipelines": 2, "waiting": [], "failed": [], "running": [],
        "hosts": 0, "silent": [],
    }  # fmt: skip
    return made | more


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({}, ["server     http://h ready", "you are    arn", "pipelines  2"]),
        ({"ready": False, "hosts": 3}, ["server     http://h not ready: `penstock doctor` says why", "you are    arn", "pipelines  2", "hosts      3"]),
        ({"hosts": 9, "silent": list("abcde")}, ["server     http://h ready", "you are    arn", "pipelines  2", "hosts      9, silent: a, b, c, d, e"]),
        ({"hosts": 9, "silent": list("abcdefg")}, ["server     http://h ready", "you are    arn", "pipelines  2", "hosts      9, silent: a, b, c, d, e and 2 more"]),
        (
            {"failed": [{"pipeline": "p", "stage": "A"}], "running": [{"pipeline": "q", "stage": "B"}]},
            ["server     http://h ready", "you are    arn", "pipelines  2", "  failed   p / A", "  running  q / B"],
        ),
    ],
)  # fmt: skip
def test_what_status_prints(capsys, found, lines):
    status._print(overview_of(**found))
    assert capsys.readouterr().out.splitlines() == lines


def test_what_status_finds(monkeypatch, capsys):
    waiting = {"actionName": "Ask", "latestExecution": {"token": "t", "status": "InProgress", "lastStatusChange": NOON}}
    answered = {"actionName": "Old", "latestExecution": {"token": "t", "status": "Succeeded", "lastStatusChange": NOON}}
    states = [
        {"stageStates": [stage("A", latestExecution={"status": "Failed"}), stage("B", latestExecution={"status": "InProgress"}, actionStates=[waiting, answered, {"actionName": "x"}]), stage("C")]},
        Missing(),
    ]  # fmt: skip
    services = {
        "codepipeline": Service(list_pipelines=[{"pipelines": [{"name": "p"}]}, {"pipelines": [{"name": "gone"}]}], get_pipeline_state=states * 2),
        "penstock": Service(list_hosts=[{"hosts": [{"name": "h1", "connected": True}, {"name": "h2", "connected": False}]}, {"hosts": [{"name": "h3"}]}]),
        "sts": Service(get_caller_identity={"Arn": "me"}),
    }  # fmt: skip

    class Clients:
        url = "http://h"

        def __call__(self, name: str) -> Service:
            return services[name]

    ready = [True, False]
    monkeypatch.setattr(status, "_ready", lambda _clients: ready.pop(0))
    monkeypatch.setattr(status, "Clients", SimpleNamespace(found=lambda _dir: Clients()))
    assert status.run(options(json=True)) == Exit.DONE
    answer = json.loads(capsys.readouterr().out)
    assert answer["failed"] == [{"pipeline": "p", "stage": "A"}]
    assert answer["running"] == [{"pipeline": "p", "stage": "B"}]
    assert [(one["stage"], one["action"]) for one in answer["waiting"]] == [("B", "Ask")]
    assert (answer["pipelines"], answer["hosts"], answer["silent"], answer["caller"]) == (1, 3, ["h2", "h3"], "me")
    assert status.run(options()) == Exit.FAILED
    assert "  waits    p / B / Ask for " in capsys.readouterr().out


@contextlib.contextmanager
def answering(code: int, body: bytes = b"", **headers: str):
    """An address that answers each request so."""
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return headers.get("date", super().date_time_string(timestamp))

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        served.server_close()
        thread.join()


def test_whether_a_server_is_ready():
    for code, ready in ((200, True), (204, False), (503, False)):
        with answering(code) as url:
            assert status._ready(SimpleNamespace(url=url, tls_context=lambda: None)) is ready  # type: ignore[arg-type]
    with pytest.raises(NoServer, match="nonsense does not answer"):
        status._ready(SimpleNamespace(url="nonsense", tls_context=lambda: None))  # type: ignore[arg-type]


def test_jobs_are_listed_and_run_again(monkeypatch, capsys):
    dead = [
        {"jobs": [{"jobId": "1", "kind": "k", "endTime": NOON, "failures": 5, "error": "bad"}]},
        {"jobs": [{"jobId": "2", "kind": "k", "endTime": NOON, "failures": 1}]},
    ]
    found(monkeypatch, jobs, penstock=Service(list_dead_jobs=dead, revive_job=[{}, Missing("job 2 is gone"), {}]))
    assert jobs.run(options(revive=[], revive_all=False)) == Exit.DONE
    assert capsys.readouterr().out.splitlines() == [
        "1  k  given up 2026-01-01 12:00:00 after 5 failures", "  bad",
        "2  k  given up 2026-01-01 12:00:00 after 1 failures", "  it said nothing", "`penstock jobs --revive ID` lets one run again.",
    ]  # fmt: skip
    assert jobs.run(options(revive=[], revive_all=True)) == Exit.FAILED
    said = capsys.readouterr()
    assert (said.out, said.err) == ("1 runs again\n", "penstock jobs: job 2 is gone\n")
    assert jobs.run(options(revive=["7"], revive_all=False)) == Exit.DONE
    assert capsys.readouterr().out == "7 runs again\n"
    found(monkeypatch, jobs, penstock=Service(list_dead_jobs=[{}]))
    assert jobs.run(options(revive=[], revive_all=False)) == Exit.DONE
    assert capsys.readouterr().out == "No job was given up.\n"


def entry(**more: Any) -> dict[str, Any]:
    made = {"sequence": 7, "time": NOON, "input": '{"v":1,"type":"Started","n":2}', "effects": ['{"type":"Stop"}']}
    return made | more


def test_a_journal_is_printed_in_order(monkeypatch, capsys):
    pages = [{"entries": [entry(actor="me")], "deleted": NOON}, {"entries": [entry(effects=[])], "deleted": NOON}]
    found(monkeypatch, journal, penstock=Service(get_journal=pages))
    assert journal.run(options(id="x")) == Exit.DONE
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "    7  2026-01-01 12:00:00.000  Started n=2  by me", "         → Stop", "    7  2026-01-01 12:00:00.000  Started n=2",
    ]  # fmt: skip
    assert said.err == "x was deleted at 2026-01-01 12:00:00; this is the journal of the newest that had this name\n"
    assert journal.run(options(id="x", json=True)) == Exit.DONE
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["input"]["n"], first["effects"], first["time"]) == (2, [{"type": "Stop"}], NOON.isoformat())
    found(monkeypatch, journal)
    monkeypatch.setattr(journal.Clients, "found", lambda _dir: (_ for _ in ()).throw(NoServer("none")))
    assert journal.run(options(id="x")) == Exit.USAGE
    assert capsys.readouterr().err == "penstock journal: none\n"


@pytest.mark.parametrize("admin", [False, True])
def test_a_user_gets_a_link_and_what_was_asked_for(monkeypatch, capsys, admin):
    iam = Service(create_user={}, attach_user_policy={})
    ours = Service(create_sign_in_link={"url": "http://link"})
    found(monkeypatch, user, iam=iam, penstock=ours)
    assert user.run(options(act="add", name="ada", admin=admin)) == Exit.DONE
    printed = capsys.readouterr().out
    assert printed.startswith(
        "Open this link to choose a password for ada. It works once, for 24 hours:\n  http://link\n"
    )
    assert ("ada has no permissions yet" in printed) is not admin
    assert [name for name, _ in iam.asked] == ["create_user"] + ["attach_user_policy"] * admin
    assert user.run(options(act="link", name="ada")) == Exit.DONE
    assert len(iam.asked) == 1 + admin
    assert len(capsys.readouterr().out.splitlines()) == 2
    found(monkeypatch, user, iam=Service(create_user=Missing()))
    assert user.run(options(act="add", name="ada", admin=admin)) == Exit.USAGE
    assert capsys.readouterr().err == "penstock user add: the user ada exists already. For a new link: penstock user link ada\n"  # fmt: skip


def session(number: int, name: str) -> dict[str, Any]:
    return {
        "sessionId": f"s{number}", "userName": name, "principalArn": f"arn:…:user/{name}", "sourceAddress": "192.0.2.1",
        "userAgent": "Firefox", "beginTime": NOON, "lastRequestTime": NOON,
    }  # fmt: skip


def test_who_is_signed_in_is_shown_and_signed_out(monkeypatch, capsys):
    pages = [{"sessions": [session(n, "ada") for n in range(101)]}, {"sessions": [session(101, "u-7")]}]
    ours = Service(list_console_sessions=pages, end_console_sessions={})
    found(monkeypatch, user, penstock=ours)
    assert user.run(options(act="sessions", name="U-7", end=False)) == Exit.DONE
    assert capsys.readouterr().out.splitlines() == [
        "arn:…:user/u-7  192.0.2.1", "  since 2026-01-01 12:00, last used 2026-01-01 12:00  Firefox",
    ]  # fmt: skip
    assert user.run(options(act="sessions", name=None, end=True)) == Exit.DONE
    assert capsys.readouterr().out.endswith("Signed out of all 102.\n")
    ended = [input for name, input in ours.asked if name == "end_console_sessions"]
    assert [(len(one["sessionIds"]), one["everybody"]) for one in ended] == [(100, True), (2, True)]
    for name, said in ((None, "Nobody is signed in.\n"), ("bob", "bob is not signed in.\n")):
        found(monkeypatch, user, penstock=Service(list_console_sessions=[{"sessions": []}]))
        assert user.run(options(act="sessions", name=name, end=True)) == Exit.DONE
        assert capsys.readouterr().out == said


def test_second_factors_are_shown_and_removed(monkeypatch, capsys):
    devices = [{"SerialNumber": f"arn:{n}", "EnableDate": NOON} for n in range(2)]
    iam = Service(list_mfa_devices={"MFADevices": devices}, deactivate_mfa_device={})
    found(monkeypatch, user, iam=iam)
    assert user.run(options(act="factors", name="ada", remove=False)) == Exit.DONE
    assert capsys.readouterr().out == "arn:0  since 2026-01-01\narn:1  since 2026-01-01\n"
    assert user.run(options(act="factors", name="ada", remove=True)) == Exit.DONE
    assert "The password alone signs ada in now" in capsys.readouterr().out
    removed = [input["SerialNumber"] for name, input in iam.asked if name == "deactivate_mfa_device"]
    assert removed == ["arn:0", "arn:1"]
    found(monkeypatch, user, iam=Service(list_mfa_devices={"MFADevices": []}))
    assert user.run(options(act="factors", name="ada", remove=True)) == Exit.DONE
    assert "ada has no second factor" in capsys.readouterr().out


# --- a data dir -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"url": "u", "region": "r"}', {"url": "u", "region": "r", "ca_file": ""}),
        ('{"url": "u", "region": "r", "ca_file": "c"}', {"url": "u", "region": "r", "ca_file": "c"}),
        ("{", "is damaged; a server that starts on"), ("[]", "is damaged"), ("{}", "is damaged"), ("7", "is damaged"),
    ],
)  # fmt: skip
def test_facts_of_a_server(tmp_path, content, said):
    (tmp_path / "server.json").write_text(content)
    if isinstance(said, dict):
        assert installation.server_facts(tmp_path) == said
        return
    with pytest.raises(NoServer, match=said):
        installation.server_facts(tmp_path)


def test_a_folder_of_no_server(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            NoServer, match=f"no server has started on {folder}.*or start one: penstock up --data-dir {folder}"
        ):
            installation.server_facts(folder)
    (tmp_path / "server.json").mkdir()
    with pytest.raises(NoServer, match="cannot read .*server.json: Is a directory"):
        installation.server_facts(tmp_path)


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (b"[penstock]\naws_access_key_id = A\naws_secret_access_key=b=c\n", ("A", "b=c")),
        (b"aws_access_key_id = A\n", "holds no access key"),
        (b"\xff", "holds no access key"),
        (None, "cannot read .*credentials: No such file"),
    ],
)
def test_the_key_of_the_administrator(tmp_path, content, keys):
    if content is not None:
        (tmp_path / "credentials").write_bytes(content)
    if isinstance(keys, tuple):
        assert installation.administrator_key(tmp_path) == keys
        return
    with pytest.raises(NoServer, match=keys):
        installation.administrator_key(tmp_path)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (client("X", "Code", "What happened."), "What happened."),
        (client("X", "Code", ""), "Code"),
        (NoServer("none"), "none"),
        (botocore.exceptions.NoCredentialsError(), 'Unable to locate credentials. This sets the address and a key: eval "$(penstock env --data-dir DIR)"'),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="u"), 'Could not connect to the endpoint URL: "u". Is the server running? `penstock up` starts it.'),
    ],
)  # fmt: skip
def test_what_went_wrong_for_people(error, sentence):
    assert installation.said(error) == sentence


@pytest.mark.parametrize(
    ("url", "here"),
    [("http://127.0.0.1:1", True), ("http://localhost", True), ("http://[::1]:1/x", True), ("http://127.0.0.2", False), ("http://localhost.x", False)],
)  # fmt: skip
def test_what_no_proxy_can_reach(url, here):
    assert installation.on_this_machine(url) is here


def server_of(folder: Path, **facts: str) -> Path:
    (folder / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "region": "eu-west-1"} | facts))
    (folder / "credentials").write_text("aws_access_key_id=A\naws_secret_access_key=s\n")
    return folder


def test_clients_of_the_shell_or_of_a_data_dir(tmp_path, monkeypatch):
    with pytest.raises(NoServer, match="^AWS_ENDPOINT_URL is not set and no server has started on"):
        clients.Clients.found(tmp_path)
    made = clients.Clients.found(server_of(tmp_path))
    assert (made.url, made.region, os.environ["NO_PROXY"]) == (
        "http://127.0.0.1:1",
        "eu-west-1",
        "127.0.0.1,localhost,::1",
    )
    assert made("penstock").meta.endpoint_url == "http://127.0.0.1:1"
    assert made("sts").meta.config.retries["total_max_attempts"] == 4
    assert (made("sts").meta.config.connect_timeout, made("sts").meta.config.read_timeout) == (5, 70)
    assert made.tls_context() is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://h")
    assert clients.Clients.found(tmp_path).region == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert clients.Clients.found(tmp_path).region == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    shell = clients.Clients.found(tmp_path)
    assert (shell.url, shell.region) == ("https://h", "eu-west-3")
    assert shell.tls_context() is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(NoServer, match="nonsense"):
        clients.Clients.found(tmp_path)("sts")


@pytest.mark.parametrize(("facts", "url", "lines"), [({}, "", 8), ({"ca_file": "/c a"}, "https://h", 8)])
def test_lines_for_a_shell(tmp_path, monkeypatch, capsys, facts, url, lines):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL_A-B", "no identifier")
    assert env.run(options(data_dir=server_of(tmp_path, **facts), url=url)) == Exit.DONE
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(" AWS_ENDPOINT_URL_S3")
    exported = dict(line.removeprefix("export ").split("=", 1) for line in printed[1:])
    address = url or "http://127.0.0.1:1"
    assert (exported["AWS_ENDPOINT_URL"], exported["AWS_REGION"], exported["AWS_PROFILE"]) == (
        address,
        "eu-west-1",
        "penstock",
    )
    assert ("NO_PROXY" in exported) is not bool(url)
    assert exported.get("AWS_CA_BUNDLE") == exported.get("GIT_SSL_CAINFO") == ("'/c a'" if facts else None)
    assert len(exported) == lines


def test_lines_for_a_shell_without_a_server(tmp_path, capsys):
    assert env.run(options(data_dir=tmp_path, url="")) == Exit.USAGE
    said = capsys.readouterr()
    assert said.err.startswith("penstock env: no server has started on")
    lines = said.out.splitlines()
    assert lines[-1] == "unset AWS_SESSION_TOKEN AWS_PROFILE; false"
    assert "export AWS_ENDPOINT_URL=http://penstock-env-failed.invalid" in lines
    assert lines[0].startswith("unset AWS_ACCESS_KEY_ID ")


# --- doctor -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def examined(tmp_path) -> Installation:
    tmp_path.chmod(0o700)
    engine = sa.create_engine("sqlite://")
    return Installation(data_dir=tmp_path, database="", master_key_file=tmp_path / "key", engine=engine)


@pytest.mark.parametrize(
    ("free", "verdict", "message"),
    [
        ((16 << 20) - 1, Verdict.FAIL, "the disk is full"), (16 << 20, Verdict.WARN, "0.0 GiB free"), (GIB - 1, Verdict.WARN, "1.0 GiB free"),
        (GIB, Verdict.OK, "1.0 GiB free"),
    ],
)  # fmt: skip
def test_room_on_the_disk(examined, monkeypatch, free, verdict, message):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    mend = "" if verdict is Verdict.OK else "make room: writes fail when the disk is full"
    assert list(machine.data_dir(examined)) == [Finding(verdict, "data dir", message, mend)]


def test_a_folder_that_others_may_enter_or_that_takes_no_writes(examined, monkeypatch):
    examined.data_dir.chmod(0o701)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=GIB))
    monkeypatch.setattr(machine.os, "statvfs", lambda _folder: SimpleNamespace(f_flag=os.ST_RDONLY))
    first, second, _ = machine.data_dir(examined)
    assert (first.verdict, first.message) == (Verdict.FAIL, f"others may enter {examined.data_dir} (mode 701)")
    assert (second.verdict, "read-only: Read-only file system" in second.message) == (Verdict.FAIL, True)
    examined.data_dir = examined.data_dir / "none"
    assert [finding.verdict for finding in machine.data_dir(examined)] == [Verdict.WARN]


def test_files_that_others_may_read(examined):
    for number in range(4):
        (examined.data_dir / f"f{number}").touch(0o640)
    for name in ("builds/x", "tls/server.pem"):
        (examined.data_dir / name).parent.mkdir()
        (examined.data_dir / name).touch(0o644)
    os.symlink("/etc/hostname", examined.data_dir / "link")
    [finding] = machine.file_modes(examined)
    assert re.fullmatch(r"others may read (\S+/f\d, ){2}\S+/f\d and more", finding.message)
    for number in range(4):
        (examined.data_dir / f"f{number}").chmod(0o600)
    assert list(machine.file_modes(examined)) == []
    (examined.data_dir / "logs" / "builds").mkdir(parents=True)
    for number in range(2):
        (examined.data_dir / "logs" / "builds" / f"l{number}").touch(0o604)
    [finding] = machine.file_modes(examined)
    assert not finding.message.endswith("and more")


def test_twenty_thousand_files_are_looked_at(examined, monkeypatch):
    assert machine._CHECKED == 20_000
    monkeypatch.setattr(machine, "_CHECKED", 3)
    for name, count in (("a", 3), ("a/b", 1)):
        (examined.data_dir / name).mkdir()
        for number in range(count):
            (examined.data_dir / name / f"f{number}").touch(0o600)
    (examined.data_dir / "a" / "b" / "c").mkdir()
    (examined.data_dir / "a" / "b" / "c" / "open").touch(0o644)
    assert list(machine.file_modes(examined)) == []
    monkeypatch.setattr(machine, "_CHECKED", 4)
    assert len(list(machine.file_modes(examined))) == 1


@pytest.mark.parametrize(
    ("days", "verdict"), [(15, Verdict.OK), (14, Verdict.WARN), (0, Verdict.WARN), (-1, Verdict.FAIL)]
)
def test_how_long_a_certificate_lasts(examined, monkeypatch, days, verdict):
    now = dt.datetime.now(tz=dt.UTC)
    certificate = SimpleNamespace(not_valid_after_utc=now + dt.timedelta(days=days, hours=1))
    monkeypatch.setattr(machine.x509, "load_pem_x509_certificate", lambda _pem: certificate)
    assert list(machine.certificate(examined)) == []
    (examined.data_dir / "tls").mkdir()
    (examined.data_dir / "tls" / "server.pem").touch()
    [finding] = machine.certificate(examined)
    ends = certificate.not_valid_after_utc
    said = f"lasts {days} more days" if days >= 0 else f"has ended on {ends:%Y-%m-%d}"
    assert (finding.verdict, finding.message) == (verdict, f"the server's certificate {said}")
    assert bool(finding.mend) is (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("off", "verdict"), [(60, Verdict.OK), (-60, Verdict.OK), (60.5, Verdict.FAIL), (-61, Verdict.FAIL)]
)
def test_how_far_clocks_may_differ(monkeypatch, off, verdict):
    monkeypatch.setattr(findings.time, "time", lambda: 1000.0)
    [finding] = findings.clock("x", 1000.0 + off)
    assert finding.verdict is verdict


def test_a_server_that_answers_or_does_not(examined):
    assert list(server.server(examined)) == []
    (examined.data_dir / "server.json").write_text("{")
    assert [finding.verdict for finding in server.server(examined)] == [Verdict.WARN]
    (examined.data_dir / "server.json").write_text('{"url": "nonsense", "region": "r"}')
    [finding] = server.server(examined)
    assert (finding.verdict, finding.mend) == (Verdict.WARN, "start it: penstock up")
    with answering(200) as url:
        server_of(examined.data_dir, url=url)
        assert [finding.verdict for finding in server.server(examined)] == [Verdict.OK, Verdict.OK]
    with answering(200, date="Thu, 01 Jan 2026 00:00:00 GMT") as url:
        server_of(examined.data_dir, url=url)
        assert [finding.what for finding in server.server(examined)] == ["server", "clock"]
    for body, faults in ((b"one\ntwo\n", ["one", "two"]), (b"", ["status 503"])):
        with answering(503, body) as url:
            server_of(examined.data_dir, url=url)
            said = [finding.message for finding in server.server(examined)]
            assert said == [f"{url} is not ready: {fault}" for fault in faults]


class Postgres:
    """An engine whose settings are what a test says."""

    dialect = SimpleNamespace(name="postgresql")

    def __init__(self, **settings: str) -> None:
        self.settings = {
            "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": str(4 * PROCESS_CONNECTIONS),
            "transaction_read_only": "off",
        } | settings  # fmt: skip

    @contextlib.contextmanager
    def connect(self):
        yield self

    def execute(self, statement: Any) -> Any:
        return SimpleNamespace(scalar_one=lambda: self.settings[str(statement).removeprefix("SHOW ")])


@pytest.mark.parametrize(
    ("settings", "verdicts"),
    [
        ({}, []), ({"fsync": "off"}, [Verdict.FAIL]), ({"full_page_writes": "off", "synchronous_commit": "off"}, [Verdict.FAIL] * 2),
        ({"transaction_read_only": "on"}, [Verdict.FAIL]), ({"max_connections": str(4 * PROCESS_CONNECTIONS - 1)}, [Verdict.WARN]),
    ],
)  # fmt: skip
def test_how_a_database_server_is_set(examined, settings, verdicts):
    examined.engine = Postgres(**settings)  # type: ignore[assignment]
    assert [finding.verdict for finding in stores.postgresql(examined)] == verdicts
    examined.engine = sa.create_engine("sqlite://")
    assert list(stores.postgresql(examined)) == []


@pytest.mark.parametrize(("verdicts", "code"), [([Verdict.OK, Verdict.WARN], Exit.DONE), ([Verdict.OK, Verdict.FAIL], Exit.FAILED)])  # fmt: skip
def test_doctor_exits_as_it_found(tmp_path, monkeypatch, capsys, verdicts, code):
    (tmp_path / "penstock.db").touch()

    def check(_examined):
        for number, verdict in enumerate(verdicts):
            yield Finding(verdict, "thing", f"message {number}", "mend it" if number else "")

    def broken(_examined):
        raise sa.exc.OperationalError("SELECT", {}, Exception("no route\nmore"))
        yield

    monkeypatch.setattr(doctor, "CHECKS", (check, check))
    given = options(data_dir=tmp_path, database="", master_key_file=None)
    assert doctor.run(given) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ok    thing     message 0", f"{verdicts[1]:<4}  thing     message 1", "                → mend it"]
    assert doctor.run(options(data_dir=tmp_path, database="", master_key_file=None, json=True)) == code
    assert [one["message"] for one in json.loads(capsys.readouterr().out)] == ["message 0", "message 1"]
    monkeypatch.setattr(doctor, "CHECKS", (broken, broken))
    assert doctor.run(given) == Exit.FAILED
    assert capsys.readouterr().out.splitlines()[0] == "FAIL  store     the database cannot be read: no route"
    assert doctor.run(options(data_dir=tmp_path / "none", database="", master_key_file=None)) == Exit.USAGE


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        ([], 1, "", "commands:"),
        (["version"], 0, "penstock ", ""),
        (["--version"], 0, "penstock ", ""),
        (["help"], 0, "commands:", ""),
        (["help", "env"], 0, "usage: penstock env", ""),
        (["sttus"], 1, "", "there is no command 'sttus'. Did you mean status?\nHelp: penstock help\n"),
        (["zzz"], 1, "", "there is no command 'zzz'\nHelp: penstock help\n"),
        (["env", "--dta-dir", "x"], 1, "", "penstock env: unrecognized argument: --dta-dir. Did you mean --data-dir?\nHelp: penstock help env\n"),
        (["--nothing"], 1, "", "unrecognized argument: --nothing"),
    ],
)  # fmt: skip
def test_what_a_line_is_answered(capsys, arguments, code, out, err):
    try:
        ended: Any = main.main(arguments)
    except SystemExit as ending:
        ended = ending.code
    said = capsys.readouterr()
    assert ended == code
    assert out in said.out
    assert err in said.err
    assert bool(said.out) is bool(out)


def test_how_a_command_ends(monkeypatch):
    ends: list[Any] = [0, KeyboardInterrupt(), BrokenPipeError()]

    def run(_options):
        assert gc.isenabled()
        end = ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    monkeypatch.setattr(env, "run", run)
    dupped = []
    disk = {"dup2": lambda one, two: dupped.append((one, two)), "open": lambda *_: 5, "devnull": "", "O_WRONLY": 1}
    monkeypatch.setattr(main, "os", SimpleNamespace(**disk))
    monkeypatch.setattr(main, "sys", SimpleNamespace(stdout=SimpleNamespace(fileno=lambda: 77)))
    assert [main.main(["env"]) for _ in range(3)] == [0, Exit.STOPPED, Exit.STOPPED]
    assert dupped == [(5, 77)]
    gc.unfreeze()


def test_words_that_are_near_one():
    assert main.meant("stat", ["status"]) == ". Did you mean status?"
    assert main.meant("s", ["status"]) == ""


@pytest.mark.parametrize(
    ("shell", "first", "count"), [("bash", "_penstock() {", None), ("zsh", "autoload -U +X bashcompinit", None), ("fish", "complete -c penstock -n '__fish_use_subcommand' -a up", None)]
)  # fmt: skip
def test_scripts_that_complete(capsys, shell, first, count):
    assert completion.run(options(shell=shell)) == Exit.DONE
    printed = capsys.readouterr().out
    assert printed.startswith(first)
    assert "data-dir" in printed
    assert "--lease" not in printed
    assert "-l lease" not in printed
    assert completion._quoted("it's") == "'it\\'s'"
    assert completion._completions(main.parser_of("user")).count("--data-dir") == 1
    assert {"add", "link", "--admin"} <= set(completion._completions(main.parser_of("user")))
    assert completion._completions(main.parser_of("completion"))[1:] == ["bash", "zsh", "fish"]


def serving(command: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, command)
    parser.set_defaults(command=command)
    return parser.parse_args(arguments)


def test_settings_when_nothing_is_said(tmp_path):
    for command, more in (("up", []), ("server", []), ("worker", ["--public-url", "http://x"])):
        given = serve.settings_of(serving(command, *more))
        assert (given.serves, given.works) == (command != "worker", command != "server")
        assert (given.account, given.region, given.regions, given.notify, given.lease_ms) == ("111111111111", "us-east-1", (), True, 30_000)  # fmt: skip
        assert (given.source_entries, given.source_gib, given.source_ratio) == (200_000, 16, 400)
        assert (given.keep_jobs_ms, given.keep_events_ms, given.keep_history_ms) == (86_400_000, 604_800_000, 31_622_400_000)  # fmt: skip
        assert (given.port, given.workers, given.tls, given.site) == (0 if command == "worker" else 8470, 8, False, "")
        assert given.host == "127.0.0.1"
        assert given.master_key_file == Path.home() / ".config" / "penstock" / "master.key"
        assert given.data_dir == Path("penstock-data").absolute()


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("up", ["--site", "mars"], "penstock up: --site mars is none of the regions served here"),
        (
            "server",
            [],
            "penstock server: needs --database postgresql://…; SQLite means exactly one process: penstock up",
        ),
        ("worker", ["--public-url", "http://x"], "penstock worker: needs --database"),
        ("up", ["--tls-cert", "x"], "penstock: --tls-cert and --tls-key go together"),
        ("up", ["--tls-key", "x"], "penstock: --tls-cert and --tls-key go together"),
        (
            "up",
            ["--sign-in-issuer", "https://a.example"],
            "penstock: --sign-in-issuer and --sign-in-client go together",
        ),
        ("up", ["--sign-in-client", "x"], "penstock: --sign-in-issuer and --sign-in-client go together"),
        *(
            ("up", [flag, value], f"penstock: {flag} does nothing without --sign-in-issuer; give both, or neither")
            for flag, value in (
                ("--sign-in-client-secret-file", __file__),
                ("--sign-in-scopes", "openid"),
                ("--sign-in-claim", "sub"),
                ("--sign-in-label", "Acme"),
            )
        ),
    ],
)
def test_servers_that_are_not_started(monkeypatch, capsys, command, arguments, sentence):
    started: list[Any] = []
    monkeypatch.setattr(serve.uvloop, "run", lambda coroutine: started.append(coroutine))
    quiet(monkeypatch)
    assert serve.run(serving(command, *arguments)) == Exit.USAGE
    assert sentence in capsys.readouterr().err
    assert started == []


def quiet(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What a server does to its process is written down instead."""
    done: list[tuple[str, Any]] = []
    monkeypatch.setattr(serve, "sys", SimpleNamespace(stderr=sys.stderr, stdout=sys.stdout, setswitchinterval=lambda value: done.append(("switch", value))))  # fmt: skip
    monkeypatch.setattr(serve, "gc", SimpleNamespace(set_threshold=lambda *values: done.append(("gc", values))))
    monkeypatch.setattr(serve, "os", SimpleNamespace(umask=lambda value: done.append(("umask", value))))
    monkeypatch.setattr(serve, "structured_logs", lambda *, verbose: done.append(("verbose", verbose)))
    return done


def test_what_a_server_does_to_its_process(monkeypatch, capsys):
    done = quiet(monkeypatch)
    faults = [SealError("no"), StoreUnavailable("away")]

    def run(coroutine):
        coroutine.close()
        if faults:
            raise faults.pop(0)
        return 0

    monkeypatch.setattr(serve.uvloop, "run", run)
    given = serving("up", "--region", "eu-west-1", "--site", "eu-west-1")
    assert serve.run(given) == Exit.USAGE
    assert "the data dir's secrets cannot be read with the master key of" in capsys.readouterr().err
    assert serve.run(given) == Exit.USAGE
    assert capsys.readouterr().err == "penstock: away\n"
    assert serve.run(serving("up", "--also-region", "eu-west-2", "--site", "eu-west-2")) == 0
    assert done[:4] == [("switch", 0.0005), ("gc", (20_000, 20, 20)), ("umask", 0o077), ("verbose", False)]


@pytest.mark.parametrize(("terminal_", "serves", "banner"), [(True, True, True), (False, True, False), (True, False, False)])  # fmt: skip
async def test_a_server_serves_until_it_is_told_to_stop(monkeypatch, terminal_, serves, banner):
    class Out(io.StringIO):
        def isatty(self) -> bool:
            return terminal_

    out = Out()
    handlers: dict[Any, Any] = {}
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", handlers.__setitem__, raising=False)
    began = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(_settings):
        began.set()
        yield SimpleNamespace(url="http://here")

    monkeypatch.setattr(serve, "running", running)
    monkeypatch.setattr(serve, "sys", SimpleNamespace(stdout=out))
    monkeypatch.setattr(sys, "stdout", out)
    task = asyncio.ensure_future(serve._serve(SimpleNamespace(serves=serves, data_dir=Path("/d"))))  # type: ignore[arg-type]
    await began.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
    handlers[signal.SIGTERM]()
    assert await task == Exit.DONE
    assert out.getvalue().endswith("penstock ready http://here\n")
    assert ("user add NAME --admin --data-dir /d" in out.getvalue()) is banner


_HANGING = """
import asyncio, threading, time
from penstock.cli import serve

async def done(_settings):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)  # as one that waits for a name server
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return 7

serve._serve, serve._LEFT_S = done, 0.01
asyncio.run(serve._to_the_end(None))
"""


def test_a_thread_that_waits_for_what_does_not_answer_keeps_no_process():
    done = subprocess.run([sys.executable, "-c", _HANGING], timeout=60, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


def test_pages_are_written_when_they_are_stale(tmp_path, monkeypatch, capsys):
    async def pages():
        return {tmp_path / "a" / "x.md": "new\n", tmp_path / "same.md": "same\n"}

    (tmp_path / "same.md").write_text("same\n")
    monkeypatch.setattr(docs, "_pages", pages)
    assert docs.run(options(check=True)) == Exit.FAILED
    assert capsys.readouterr().err == f"out of date: {tmp_path}/a/x.md; run: make docs\n"
    assert docs.run(options(check=False)) == Exit.DONE
    assert capsys.readouterr().out == f"wrote {tmp_path}/a/x.md\n"
    assert docs.run(options(check=True)) == Exit.DONE


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0.0 s"), (0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (60, "1 min 0 s"), (152.9, "2 min 32 s"), (3600, "60 min 0 s")],
)  # fmt: skip
def test_durations_as_people_say_them(seconds, said):
    assert terminal.lasted(seconds) == said


def test_how_a_shell_calls_a_program(monkeypatch):
    monkeypatch.setattr(terminal.shutil, "which", lambda name: "/bin/x" if name == "there" else None)
    monkeypatch.setattr(terminal.sys, "executable", "/a b/python")
    assert (terminal.program("there"), terminal.program("gone")) == ("there", "'/a b/gone'")


@pytest.mark.parametrize(("tty", "no_color", "term", "wanted"), [(True, "", "xterm", True), (False, "", "xterm", False), (True, "1", "xterm", False), (True, "", "dumb", False)])  # fmt: skip
def test_where_colour_is_wanted(monkeypatch, tty, no_color, term, wanted):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(terminal.sys, "stdout", SimpleNamespace(isatty=lambda: tty))
    assert terminal.coloured() is wanted
    assert terminal.paint("x", "red") == ("\033[31mx\033[0m" if wanted else "x")


@pytest.mark.parametrize(("verbose", "ours", "root"), [(True, 10, 20), (False, 20, 30)])
def test_how_much_is_logged_and_how(monkeypatch, verbose, ours, root):
    import logging

    kept = logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("penstock").level
    try:
        for tty, form in ((True, logs._Lines), (False, logs._JsonLines)):
            stream = io.StringIO()
            stream.isatty = lambda tty=tty: tty  # type: ignore[method-assign]
            monkeypatch.setattr(logs.sys, "stderr", stream)
            logs.structured_logs(verbose=verbose)
            [handler] = logging.getLogger().handlers
            assert type(handler.formatter) is form
            assert (logging.getLogger("penstock").level, logging.getLogger().level) == (ours, root)
    finally:
        logging.getLogger().handlers[:] = kept[0]
        logging.getLogger().setLevel(kept[1])
        logging.getLogger("penstock").setLevel(kept[2])


def test_a_line_of_the_log():
    import logging

    record = logging.makeLogRecord({"msg": "a.b", "levelname": "WARNING", "name": "n", "created": 0.0, "job": 7, "path": Path("/x")})  # fmt: skip
    assert json.loads(logs._JsonLines().format(record)) == {
        "at": "1970-01-01T00:00:00.000+00:00", "level": "warning", "logger": "n", "event": "a.b", "job": 7, "path": "/x",
    }  # fmt: skip
    try:
        raise ValueError("bad")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert json.loads(logs._JsonLines().format(record))["trace"].endswith("ValueError: bad")
