"""The first sentence of each list and page, who decided, why a run failed, and which browsers are told to stay with TLS."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from penstock.console.pages import build, builds, deployments, parallel
from penstock.console.pages.runs import _run, asks, decision
from penstock.console.strict_transport import strict_transport

MINUTE = 60_000
BEGAN = 1_800_000_000_000
ENDED = {"startTime": BEGAN, "endTime": BEGAN + 12_000}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"buildStatus": "IN_PROGRESS"}, "Queued: it starts when a builder is free."),
        ({"buildStatus": "IN_PROGRESS", "currentPhase": "BUILD"}, "Running BUILD."),
        ({"buildStatus": "IN_PROGRESS", "currentPhase": "BUILD", "startTime": BEGAN, "timeoutInMinutes": 60}, "Running BUILD, times out in 59 min."),
        ({"buildStatus": "IN_PROGRESS", "currentPhase": "BUILD", "startTime": BEGAN, "timeoutInMinutes": 2}, "Running BUILD, times out in 1 min."),
        ({"buildStatus": "IN_PROGRESS", "currentPhase": "BUILD", "startTime": BEGAN - 1, "timeoutInMinutes": 2}, "Running BUILD, times out in less than a minute."),
        ({"buildStatus": "SUCCEEDED", **ENDED}, "Succeeded in 12 s."),
        ({"buildStatus": "SUCCEEDED"}, "Succeeded."),
        ({"buildStatus": "STOPPED", **ENDED}, "Stopped after 12 s."),
        ({"buildStatus": "STOPPED", "endTime": BEGAN}, "Stopped."),
        ({"buildStatus": "TIMED_OUT", "timeoutInMinutes": 5}, "Timed out: it was ended after 5 min."),
        ({"buildStatus": "TIMED_OUT"}, "Timed out: it was ended after ? min."),
        ({"buildStatus": "FAILED", **ENDED}, "Failed in BUILD after 12 s."),
        ({"buildStatus": "FAULT"}, "Failed in BUILD."),
    ],
)  # fmt: skip
def test_how_a_build_stands(given, said):
    phases = [
        {"name": "INSTALL", "state": "SUCCEEDED"},
        {"name": "BUILD", "state": "FAILED"},
        {"name": "LAST", "state": "FAILED"},
    ]
    assert build._lede(given, phases, BEGAN + MINUTE) == said


def test_a_build_that_failed_nowhere_says_no_place():
    assert build._lede({"buildStatus": "FAILED"}, [{"name": "BUILD", "state": "SUCCEEDED"}], 0) == "Failed."


def test_which_phase_failed():
    phases = [
        {"phaseType": name, "phaseStatus": how}
        for name, how in (("A", "SUCCEEDED"), ("B", "STOPPED"), ("C", "FAILED"), ("D", "FAULT"))
    ]
    assert builds._failed_phase({"phases": [*phases[:2], {"phaseType": "NOW"}, *phases[2:]]}) == "C"
    assert builds._failed_phase({"phases": phases[:2]}) == builds._failed_phase({}) == ""


GOING, GOOD, BAD = (
    {"buildStatus": "IN_PROGRESS"}, {"buildStatus": "SUCCEEDED", "buildComplete": True}, {"buildStatus": "FAULT", "buildComplete": True},
)  # fmt: skip


@pytest.mark.parametrize(
    ("listed", "projects", "project", "said"),
    [
        ([], [], "", "Nothing has been built."),
        ([], ["a"], "a", "Nothing has been built of a."),
        ([], ["a"], "", "Nothing has been built of a."),
        ([], ["a", "b"], "", "Nothing has been built of 2 projects."),
        ([GOOD], ["a"], "", "The newest build of a has not failed."),
        ([BAD], ["a", "b"], "", "The newest build of 2 projects has failed."),
        ([GOING], [], "", "The newest build is running."),
        ([GOOD, GOOD], ["a"], "", "The newest 2 builds of a: none is running, none has failed."),
        ([GOING, BAD], ["a", "b"], "", "The newest 2 builds of 2 projects: 1 is running, 1 has failed."),
        ([GOING, GOING, BAD, BAD | {"buildStatus": "TIMED_OUT"}], ["a"], "a", "The newest 4 builds of a: 2 are running, 2 have failed."),
    ],
)  # fmt: skip
def test_how_builds_stand(listed, projects, project, said):
    assert builds._lede(listed, projects, project) == said


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ((), "Nothing has been deployed yet."),
        (("Succeeded",), "The newest deployment has not failed."),
        (("Failed",), "The newest deployment has failed."),
        (("Ready",), "The newest deployment is running."),
        (("InProgress", "Failed"), "The newest 2 deployments: 1 is running, 1 has failed."),
        (
            ("InProgress", "Queued", "Failed", "Failed", "Stopped"),
            "The newest 5 deployments: 2 are running, 2 have failed.",
        ),
    ],
)
def test_how_deployments_stand(statuses, said):
    assert deployments._lede([{"status": status} for status in statuses]) == said


@pytest.mark.parametrize(
    ("revision", "label"),
    [
        ({"s3Location": {"bucket": "b", "key": "k"}}, "b/k"),
        ({"s3Location": {"bucket": "b", "key": "k", "version": "123456789"}}, "b/k, version 12345678"),
        ({"gitHubLocation": {"repository": "a/b", "commitId": "0123456789"}}, "a/b 01234567"),
        ({"revisionType": "String"}, "String"),
        ({}, ""),
    ],
)
def test_what_is_deployed_has_a_short_label(revision, label):
    assert deployments.revision_label(revision) == label


def detail(status, category="Approval", who="arn:aws:iam::111111111111:user/ann", comment=""):
    return {
        "status": status, "stageName": "Gate", "updatedBy": who, "input": {"actionTypeId": {"category": category}},
        "output": {"executionResult": {"externalExecutionSummary": comment}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "asked", "said"),
    [
        (detail("InProgress"), True, ""),
        (detail("InProgress", "Build"), False, ""),
        (detail("Succeeded"), False, "Approved in Gate by ann"),
        (detail("Failed", comment="no"), False, "Rejected in Gate by ann: \u201cno\u201d"),
        (detail("Succeeded", "Build"), False, ""),
        (detail("Succeeded", who=""), False, ""),
        (detail("Abandoned"), False, ""),
        ({"status": "InProgress"}, False, ""),
    ],
)
def test_who_is_asked_and_who_has_decided(given, asked, said):
    assert asks(given) is asked
    assert decision(given) == said


@pytest.mark.parametrize(
    ("state", "statuses", "declared", "last", "shown"),
    [
        ("InProgress", ("Succeeded", "InProgress"), 2, True, "InProgress"),
        ("InProgress", ("Succeeded",), 2, True, "InProgress"),
        ("InProgress", ("Succeeded",), 2, False, "Succeeded"),
        ("InProgress", ("Succeeded", "Succeeded"), 2, True, "Succeeded"),
        ("InProgress", ("Failed",), 1, True, "InProgress"),
        ("InProgress", ("Failed",), 1, False, "Failed"),
        ("Failed", ("Failed", "Succeeded"), 2, True, "Failed"),
        ("Stopped", ("Abandoned", "Succeeded"), 2, True, "Stopped"),
        ("Stopped", ("InProgress",), 1, True, "Stopped"),
        ("Succeeded", ("Succeeded",), 1, True, "Succeeded"),
    ],
)
def test_how_a_stage_of_one_of_several_runs_stands(state, statuses, declared, last, shown):
    latest = {str(number): detail(status, "Build") for number, status in enumerate(statuses)}
    assert parallel._status(SimpleNamespace(state=state), latest, declared, last=last) == shown


def test_a_stage_that_asks_somebody_waits():
    latest = {"a": detail("InProgress", "Build"), "b": detail("InProgress")}
    assert parallel._status(SimpleNamespace(state="Waiting"), latest, 2, last=True) == "Waiting"
    assert parallel._status(SimpleNamespace(state="Failed"), latest, 2, last=True) == "Stopped"


@pytest.mark.parametrize(
    ("scheme", "host", "told"),
    [
        ("https", "penstock.example.com", True),
        ("https", "penstock.example.com:8443", True),
        ("http", "penstock.example.com", False),
        ("https", "localhost", False),
        ("https", "localhost:443", False),
        ("https", "a.localhost", False),
        ("https", "alocalhost", True),
        ("https", "127.0.0.1:443", False),
        ("https", "[::1]:443", False),
        ("https", "", False),
    ],
)
async def test_browsers_are_told_to_stay_with_tls_by_names_that_last(scheme, host, told):
    sent = []

    async def answer(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message):
        sent.append(message)

    await strict_transport(answer)({"scheme": scheme, "headers": [(b"host", host.encode())]}, lambda: None, send)
    promise = [(b"strict-transport-security", b"max-age=31536000")]
    assert sent[0]["headers"] == [(b"a", b"b"), *(promise if told else ())]
    assert sent[1] == {"type": "http.response.body", "body": b"x"}


ANN = "arn:aws:iam::111111111111:user/ann"


@pytest.mark.parametrize(
    ("trigger", "by"),
    [
        ({"triggerType": "StartPipelineExecution", "triggerDetail": ANN}, "ann"),
        ({"triggerType": "ManualRollback", "triggerDetail": ANN}, "ann"),
        ({"triggerType": "StartPipelineExecution", "triggerDetail": "ann"}, ""),
        ({"triggerType": "CloudWatchEvent", "triggerDetail": ANN}, ""),
        ({}, ""),
    ],
)
def test_who_has_released_a_run(trigger, by):
    source = {"actionName": "S", "revisionId": "0123", "revisionSummary": "\n say more\nrest", "revisionUrl": "/x"}
    run = _run(
        {
            "pipelineExecutionId": "e", "pipelineExecutionMode": "QUEUED", "status": "Failed", "startTime": 1, "lastUpdateTime": 5,
            "executionNumber": 7, "statusSummary": "why", "trigger": trigger, "sourceRevisions": [source, {"revisionId": "9", "revisionSummary": "at 9"}],
        }
    )  # fmt: skip
    assert (run.id, run.number, run.state, run.started, run.took, run.why, run.by) == (
        "e",
        7,
        "Failed",
        1,
        4,
        "why",
        by,
    )
    assert [(one.action, one.revision, one.summary, one.url) for one in run.changes] == [
        ("S", "0123", "say more", "/x"),
        ("", "9", "", ""),
    ]


FULL = {
    "id": "p:1", "initiator": "ann", "timeoutInMinutes": 9, "sourceVersion": "main", "resolvedSourceVersion": "0123", "encryptionKey": "k",
    "environment": {"image": "i", "computeType": "BUILD_GENERAL1_SMALL"}, "source": {"type": "S3", "location": "b/k"},
    "phases": [{"phaseType": "SUBMITTED", "durationInSeconds": 3}, {"phaseType": "QUEUED", "durationInSeconds": 12}],
    "artifacts": {"location": "b/a"}, "exportedEnvironmentVariables": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
}  # fmt: skip
FACTS = [
    ("Source", "b/k", True), ("Revision", "0123", True), ("Image", "i", True), ("Machine", "Small", False), ("Started by", "ann", False),
    ("Queued for", "12 s", False), ("Timeout", "9 min", False), ("Artifacts", "b/a", True), ("Under the key", "k", True),
    ("Exported", "A=1, B=2", True), ("Id", "p:1", True),
]  # fmt: skip


def test_facts_of_a_build():
    assert build._facts(FULL) == FACTS
    assert build._facts({"id": "p:1"}) == FACTS[-1:]
    artifacts = {"artifacts": {"location": "b/a", "encryptionDisabled": True}, "encryptionKey": "k"}
    assert build._facts({"id": "p:1", **artifacts}) == [FACTS[7], FACTS[-1]]
    assert build._facts({"id": "p:1", "encryptionKey": "k", "sourceVersion": "main", "source": {"type": "NO_SOURCE"}}) == [
        ("Source", "None", False), ("Revision", "main", True), FACTS[-1],
    ]  # fmt: skip
