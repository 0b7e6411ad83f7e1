"""What `penstock-agent status` and `stop` say of an agent, from its state alone; and when a host's credentials are replaced."""

import fcntl
import json
import os
import signal
from types import SimpleNamespace

import pytest

from penstock_agent import identity, status
from penstock_agent.connection import Unreachable
from penstock_agent.failures import ConfigInvalid
from penstock_agent.identity import Granted, RoleCredentials
from penstock_agent.layout import Layout
from penstock_agent.sigv4 import Credentials
from penstock_agent.spool import Spool

NOW = 10_000.0
POLLED = {"pid": 4711, "version": "1.2", "started": 9_000.0, "last_poll": NOW - 10}


class State:
    """The directory of an agent, which runs for as long as its lock is held."""

    def __init__(self, path):
        self.root = str(path)
        Layout(self.root).prepare()
        self.spool = Spool(self.root)
        self.lock = None

    def say(self, **state):
        with open(os.path.join(self.root, "state.json"), "w") as file:
            json.dump(state, file)

    def run(self):
        self.lock = os.open(os.path.join(self.root, "lock"), os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def end(self):
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def seen(self):
        return status.collect(self.root, NOW)

    def lines(self):
        return status._lines(self.seen(), NOW)


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path)
    yield made
    made.end()


def test_an_agent_that_does_not_run(state):
    state.say(**POLLED, error="gone", error_at=NOW - 20, refused=True)
    seen = state.seen()
    assert (seen["running"], seen["inTouch"], seen["refused"], seen["pid"], seen["version"]) == (False, False, False, None, "1.2")  # fmt: skip
    assert state.lines() == ["The agent is not running.", "Last error, 20 s ago: gone"]
    with open(os.path.join(state.root, "state.json"), "w") as file:
        file.write("{")
    assert state.seen()["lastPoll"] is None


@pytest.mark.parametrize(
    ("changes", "in_touch"),
    [
        ({}, True),
        ({"last_poll": NOW - 179.9}, True),
        ({"last_poll": NOW - 180}, False),
        ({"last_poll": None}, False),
        ({"error_at": NOW - 11}, True),
        ({"error_at": NOW - 10}, False),
        ({"error_at": NOW - 9}, False),
    ],
)
def test_an_agent_is_in_touch_when_its_service_answered_last_and_lately(state, changes, in_touch):
    state.say(**POLLED | changes)
    assert state.seen()["inTouch"] is False
    state.run()
    assert (state.seen()["running"], state.seen()["inTouch"], state.seen()["pid"]) == (True, in_touch, 4711)


def test_what_is_said_of_a_running_agent(state):
    state.run()
    state.say(**POLLED)
    running = "The agent is running (pid 4711, version 1.2)."
    assert state.lines() == [running, "Last answer of the command service: 10 s ago.", "Current: no deployment."]
    state.say(**POLLED | {"last_poll": None, "error": "x"})
    assert state.lines() == [
        running,
        "The command service has not answered yet (an idle poll is held up to a minute).",
        "Current: no deployment.",
        "Last error, 0 s ago: x",
    ]
    state.say(**POLLED, refused=True)
    assert state.lines()[1].startswith("The command service refuses this host, and gives it no deployments")


def record(number, event="Install", **more):
    return {"id": f"c-{number}", "event": event, "deployment": f"d-{number}", "application": "a", "group": "g", "taken": NOW - 5} | more  # fmt: skip


def test_deployments_are_listed_with_their_events(state):
    state.run()
    state.say(**POLLED)
    delivered = record(1, "Start", status="Succeeded", code=0, finished=NOW - 1, deployment="d-2", taken=NOW - 9)
    state.spool.write(delivered)
    state.spool.finish(delivered)
    state.spool.write(record(2, status="Failed", code=4, finished=NOW, state="completed"))
    state.spool.write(record(3, "ApplicationStop", state="running"))
    untimed = record(4, "End", state="acknowledging")
    del untimed["taken"]
    state.spool.write(untimed)
    seen = state.seen()
    assert seen["owedResults"] == 1
    assert [(each["deploymentId"], each["event"], each["started"]) for each in seen["current"]] == [
        ("d-4", "End", None),
        ("d-3", "ApplicationStop", NOW - 5),
    ]
    (two,) = [each for each in seen["deployments"] if each["deploymentId"] == "d-2"]
    assert (two["applicationName"], two["deploymentGroupName"]) == ("a", "g")
    assert two["events"] == [
        {"event": "Start", "status": "Succeeded", "errorCode": 0, "started": NOW - 9, "finished": NOW - 1, "delivered": True},
        {"event": "Install", "status": "Failed", "errorCode": 4, "started": NOW - 5, "finished": NOW, "delivered": False},
    ]  # fmt: skip
    lines = state.lines()
    assert "Current: ApplicationStop of deployment d-3, for 5 s." in lines
    assert "Current: End of deployment d-4, for 0 s." in lines
    assert "Results that wait for delivery: 1." in lines
    at = lines.index("d-2  a / g")
    assert lines[at + 1 : at + 3] == [
        "    Start                  Succeeded",
        "    Install                Failed (error code 4), not delivered",
    ]
    state.end()
    assert state.seen()["current"] == []


def test_the_last_ten_deployments_are_listed(state):
    for number in range(11):
        state.spool.write(record(number, taken=number))
    assert [each["deploymentId"] for each in state.seen()["deployments"]] == [f"d-{number}" for number in range(1, 11)]


def options(state, **more):
    return SimpleNamespace(root_dir=state.root, config="", json=False, timeout=0.0, **more)


def test_the_exit_code_says_how_it_is(state, capsys, monkeypatch):
    monkeypatch.setattr(status.time, "time", lambda: NOW)
    state.say(**POLLED)
    assert status.show(options(state), "") == 3
    state.run()
    assert status.show(options(state), "") == 0
    state.say(**POLLED | {"last_poll": None})
    assert status.show(options(state), "") == 1
    state.say(**POLLED, refused=True)
    capsys.readouterr()
    chosen = options(state)
    chosen.json = True
    assert status.show(chosen, "") == 2
    assert json.loads(capsys.readouterr().out)["refused"] is True


def test_whose_state_is_shown(state, tmp_path):
    config = tmp_path / "agent.yml"
    keys = "iam_user_arn: a\naws_access_key_id: k\naws_secret_access_key: s\nregion: r\nroot_dir: elsewhere\n"
    given = SimpleNamespace(root_dir="", config="")
    assert status._root_of(options(state), str(config)) == state.root
    assert status._root_of(given, str(config)) == status.DEFAULT_ROOT
    config.write_text(keys)
    config.chmod(0o600)
    assert status._root_of(given, str(config)) == str(tmp_path / "elsewhere")
    given.config = str(config)
    assert status._root_of(given, "/nowhere") == str(tmp_path / "elsewhere")
    given.config = str(tmp_path / "missing.yml")
    with pytest.raises(ConfigInvalid):
        status._root_of(given, str(config))


def test_an_agent_is_ended(state, capsys, monkeypatch):
    assert status.stop(options(state), "") == 0
    assert capsys.readouterr().out == "The agent is not running.\n"
    state.say(**POLLED)
    state.run()
    signals = []

    def kill(pid, number):
        signals.append((pid, number))
        if len(signals) == 1:
            state.end()

    monkeypatch.setattr(status.os, "kill", kill)
    assert status.stop(options(state), "") == 0
    assert signals == [(4711, signal.SIGTERM)]
    assert capsys.readouterr().out == "The agent has ended.\n"
    state.run()
    assert status.stop(options(state), "") == 1
    assert capsys.readouterr().err == "penstock-agent: process 4711 still runs after 0 s.\n"

    def gone(_pid, _number):
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(status.os, "kill", gone)
    assert status.stop(options(state), "") == 1
    assert capsys.readouterr().err.startswith("penstock-agent: process 4711 could not be ended: ")


# --- credentials ------------------------------------------------------------------------------------------------------


class Source(RoleCredentials):
    """Whose sessions and clocks are the test's."""

    def __init__(self, monkeypatch):
        super().__init__(None, "https://h", None)
        self.now, self.ticks, self.sessions, self.fault = 0.0, 0.0, 0, None
        monkeypatch.setattr(identity.time, "time", lambda: self.now)
        monkeypatch.setattr(identity.time, "monotonic", lambda: self.ticks)

    def _renew(self):
        if self.fault:
            raise self.fault

    def _session(self):
        self.sessions += 1
        return Granted(Credentials(str(self.sessions), "s", "t"), self.now + 3600)

    def at(self, now, ticks=None):
        self.now, self.ticks = now, now if ticks is None else ticks
        return self().access_key_id


def test_credentials_are_replaced_some_time_before_their_end(monkeypatch):
    source = Source(monkeypatch)
    assert source.at(0) == source.at(3600 - identity.EARLY_S - 1) == "1"
    assert source.at(3600 - identity.EARLY_S) == "2"
    source.forget()
    assert source.at(source.now) == "3"


def test_those_that_cannot_be_replaced_are_used_to_their_end_and_it_is_tried_again(monkeypatch):
    source = Source(monkeypatch)
    source.at(0)
    source.fault = Unreachable("x")
    early = 3600 - identity.EARLY_S
    assert source.at(early, 0) == "1"  # tried, in vain
    assert source.sessions == 1
    source.fault = None
    assert source.at(early + 1, identity.RETRY_S - 0.1) == "1"  # not yet again
    assert source.at(early + 1, identity.RETRY_S) == "2"
    source.fault = Unreachable("x")
    end = source._granted.expires
    with pytest.raises(Unreachable):
        source.at(end, identity.RETRY_S + 1)  # tried just now, and over
    assert source.at(end - 0.1, 1e6) == "2"
    with pytest.raises(Unreachable):
        source.at(end, 2e6)
    source.forget()
    with pytest.raises(Unreachable):
        source.at(end - 100, 3e6)


def test_the_servers_clock_counts_for_credentials(monkeypatch):
    source = Source(monkeypatch)
    source.at(0)
    source._offset_s = 3600.0
    assert source.at(0, 1e6) == "2"
