"""Logs of builds and deployments, against services that answer what a test says."""

from __future__ import annotations

from typing import Any

import pytest
from penstock_commands import Missing, Service, Time, client, found, host, options, page

from penstock.cli import (
    buildlogs,
)
from penstock.cli.exits import Exit

pytestmark = pytest.mark.usefixtures("plain")


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
    assert buildlogs.run(options(what="d-ABCDEFGHI", follow=False, host="web-3")) == Exit.USAGE
    assert capsys.readouterr().err == (
        "penstock logs: d-ABCDEFGHI has no host web-3. `aws deploy list-deployment-targets --deployment-id d-ABCDEFGHI` lists those that it has\n"
    )
    assert buildlogs.run(options(what="d-ABCDEFGHI", follow=True, host="web-3")) == Exit.USAGE  # it is over
    codedeploy.answers["get_deployment"] = [{"deploymentInfo": {"status": "InProgress"}}]
    assert buildlogs.run(options(what="d-ABCDEFGHI", follow=False, host="web-3")) == Exit.USAGE
