"""Status, jobs, journals and people, against services that answer what a test says."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_commands import NOON, Missing, Service, answering, found, options, stage

from penstock.cli import (
    dead_letters,
    jobs,
    journal,
    status,
    user,
)
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer

pytestmark = pytest.mark.usefixtures("plain")


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
    for every in (False, True):
        assert jobs.run(options(revive=[], revive_all=every)) == Exit.DONE
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


def test_dead_letters_of_both_kinds_the_newest_first(monkeypatch, capsys):
    why = {"errorCode": "CODE", "errorMessage": "Nobody listens.", "retryAttempts": 2}
    event = {"deadLetterId": "e", "time": NOON, "eventId": "1", "ruleArn": "rule", "targetArn": "target", **why}
    message = {"deadLetterId": "m", "time": NOON.replace(hour=13), "messageId": "2", "subscriptionArn": "sub", "endpoint": "http://x", **why}  # fmt: skip
    lists = {
        "list_event_dead_letters": [{"deadLetters": [event]}, {}],
        "list_message_dead_letters": [{"deadLetters": [message]}],
    }
    found(monkeypatch, dead_letters, penstock=Service(**lists))
    assert dead_letters.run(options(what="list", json=False)) == Exit.DONE
    assert capsys.readouterr().out == (
        f"m  given up {message['time']:%Y-%m-%d %H:%M:%S} at attempt 3: CODE\n  message 2 of sub to http://x\n  Nobody listens.\n"
        f"e  given up {NOON:%Y-%m-%d %H:%M:%S} at attempt 3: CODE\n  event 1 of rule to target\n  Nobody listens.\n"
        "`penstock dead-letters redrive ID` delivers one again.\n"
    )
    assert dead_letters.run(options(what="list", json=True)) == Exit.DONE
    assert [one["deadLetterId"] for one in json.loads(capsys.readouterr().out)] == ["m", "e"]
    found(monkeypatch, dead_letters, penstock=Service(list_event_dead_letters={}, list_message_dead_letters={}))
    assert dead_letters.run(options(what="list", json=False)) == Exit.DONE
    assert capsys.readouterr().out == "Every event and every message was delivered.\n"
