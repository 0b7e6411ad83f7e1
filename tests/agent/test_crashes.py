"""kill -9 of the agent at every named point, and a service that goes away: one result for each command, nothing lost."""

import json
import re
import signal

import pytest
from agent_harness import SOURCE, appspec, script, tgz
from command_service_stub import IN_PLACE
from penstock_waiting import until

POINTS = sorted(
    {name for path in SOURCE.rglob("*.py") for name in re.findall(r'\bfailpoint\("([a-z_.]+)"\)', path.read_text())}
)


def release(word, **more):
    files = {
        "appspec.yml": appspec(hooks={"BeforeInstall": ["count.sh"], "AfterInstall": ["count.sh"]}),
        "app/index.html": word,
        f"app/{word}/only": word,
        "count.sh": script("echo $LIFECYCLE_EVENT >> $PENSTOCK_INSTALL_ROOT/../count"),
        **more,
    }
    return tgz(files)


def installed(word):
    return {"/srv/app/index.html": word, f"/srv/app/{word}/only": word}


def test_the_list_of_points_is_complete():
    assert len(POINTS) >= 13


# At which event a deployment fails when its agent dies here, and which release is there then. At every other point it succeeds.
FAILING = {
    "command.before_result": ("BeforeInstall", "one"),
    "download.before_unpack": ("DownloadBundle", "one"),
    "install.before_prepare": ("Install", "one"),
    "install.before_switch": ("Install", "one"),
    "install.within_switch": ("Install", "one"),
    "install.before_commit": ("Install", "one"),
    "install.after_commit": ("Install", "two"),
    "install.before_forget": ("Install", "two"),
}


# A failed switch is what the last one needs: test_install.py has it.
@pytest.mark.parametrize("point", [name for name in POINTS if name != "install.within_undo"])
def test_killed_at(machine, service, point):
    first = machine.agent()
    service.deploy("d-1", release("one"))
    service.finish("d-1")
    first.kill()
    (machine.path / "count").unlink()
    agent = machine.agent(
        PENSTOCK_AGENT_CRASH_POINT=point if point.startswith(("install", "download")) else point + ":3"
    )
    service.deploy("d-2", release("two"))
    assert agent.died() == -signal.SIGKILL
    machine.agent()
    results = service.finish("d-2")
    identifiers = [identifier for identifier, *_ in service.completions if identifier.startswith("d-2")]
    if point not in FAILING:
        assert [status for status, _ in results.values()] == ["Succeeded"] * len(IN_PLACE)
        assert machine.installed() == installed("two")
        assert (machine.path / "count").read_text() == "BeforeInstall\nAfterInstall\n"
    else:
        event, (status, diagnostics) = list(results.items())[-1]
        at, left = FAILING[point]
        assert (event, status) == (at, "Failed")
        assert diagnostics == {
            "error_code": 7,
            "script_name": "",
            "message": "Failed: Failing in-progress lifecycle event after an agent restart.",
            "log": "",
        }
        assert machine.installed() == installed(left)
    # A result may be reported twice when its answer was lost, but never two different ones.
    reported = {identifier: [] for identifier in identifiers}
    for identifier, status, diagnostics in service.completions:
        if identifier in reported and (status, diagnostics) not in reported[identifier]:
            reported[identifier].append((status, diagnostics))
    assert all(len(each) == 1 for each in reported.values())
    until(lambda: not list((machine.root / "spool").glob("*.json")))
    assert not list((machine.root / "deployment-instructions").glob("*-journal"))
    service.deploy("d-3", release("three"))
    assert service.finish("d-3")["ValidateService"][0] == "Succeeded"
    assert machine.installed() == installed("three")


def test_killed_within_a_hook(machine, service):
    agent = machine.agent()
    started, go = machine.path / "started", machine.path / "go"
    text = script(f"echo once >> {started}; while [ ! -e {go} ]; do sleep 0.05; done")
    service.deploy("d-1", release("one", **{"count.sh": text}))
    machine.wait_for(started)
    agent.kill()
    machine.agent()
    results = service.finish("d-1")
    go.write_text("")
    assert results["BeforeInstall"][1]["error_code"] == 7
    assert started.read_text() == "once\n"


def test_the_script_of_a_killed_agent_never_runs_beside_the_next_one(machine, service):
    """Its processes are ended before the next agent takes anything up, even when they ignore SIGTERM."""
    agent = machine.agent()
    pids, beside = machine.path / "pids", machine.path / "beside"
    text = script(f"trap '' TERM\necho $$ >> {pids}\nsetsid sleep 600 &\necho $! >> {pids}\nwait\nsleep 600")
    service.deploy("d-1", release("one", **{"count.sh": text}))
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    agent.kill()
    running = "grep -q '^State:.[^ZX]' /proc/$p/status 2>/dev/null"
    count_script = script(f"for p in $(cat {pids}); do {running} && echo $p >> {beside}; done; true")
    service.deploy("d-2", release("two", **{"count.sh": count_script}))
    machine.agent()
    assert service.finish("d-1")["BeforeInstall"][1]["error_code"] == 7
    assert service.finish("d-2")["ValidateService"][0] == "Succeeded"
    assert not beside.exists()
    assert "hook.orphan_ended" in machine.log()


@pytest.mark.parametrize("lost", ["drop", (500, {"__type": "InternalFailure"})], ids=["dropped", "fault"])
def test_a_command_whose_acknowledgement_was_lost_is_reported_and_not_forgotten(machine, service, lost):
    """The service took the first one, nobody saw its answer, and the second one is turned down: nobody else will report."""
    answers = [lost, (200, {"CommandStatus": "Failed"})]

    def fault(operation, body):
        if operation != "PutHostCommandAcknowledgement" or '"IsCommandNoop":true' in body["Diagnostics"]["Payload"]:
            return None
        return answers.pop(0) if answers else None

    service.faults.append(fault)
    machine.agent()
    service.deploy("d-1", release("one"))
    _, (status, diagnostics) = list(service.finish("d-1").items())[-1]
    assert (status, diagnostics["error_code"]) == ("Failed", 7)
    assert not answers


LOST = [
    ("PutHostCommandAcknowledgement", "drop"),
    ("PutHostCommandAcknowledgement", (500, {"__type": "InternalFailure"})),
    ("PutHostCommandComplete", "drop"),
    ("PutHostCommandComplete", (400, {"__type": "ThrottlingException", "message": "Rate exceeded"})),
    ("GetDeploymentSpecification", "drop"),
    ("PollHostCommand", (503, {"__type": "ServiceUnavailable"})),
]


@pytest.mark.parametrize(("operation", "fault"), LOST, ids=lambda value: str(value)[:40])
def test_an_answer_that_is_lost_is_asked_for_again(machine, service, operation, fault):
    seen = []

    def lose(asked, body):
        if asked != operation or len(seen) >= 3:
            return None
        seen.append(body)
        if fault == "drop" and operation != "PollHostCommand":
            getattr(service, operation)(body)  # the service has it, only the answer is lost
        return fault

    service.faults.append(lose)
    machine.agent()
    service.deploy("d-1", release("one"))
    results = service.finish("d-1", 40)
    assert {status for status, _ in results.values()} == {"Succeeded"}
    assert (machine.path / "count").read_text() == "BeforeInstall\nAfterInstall\n"


def test_a_result_that_the_service_refuses_for_good_is_let_go(machine, service):
    def refuse(operation, body):
        if operation == "PutHostCommandComplete" and body["HostCommandIdentifier"].startswith("d-1"):
            return 400, {"__type": "ClientException", "message": "no such command"}
        return None

    service.faults.append(refuse)
    machine.agent()
    service.deploy("d-1", release("one"), events=("DownloadBundle",))
    until(lambda: list((machine.root / "spool/done").glob("*.json")))
    service.deploy("d-2", release("two"), events=("DownloadBundle",))
    assert service.finish("d-2")["DownloadBundle"][0] == "Succeeded"


def test_results_wait_on_the_disk_while_the_service_is_away(machine, service):
    away = [True]

    def refuse(operation, _):
        return "drop" if away and operation != "PollHostCommand" and (operation == "PutHostCommandComplete") else None

    service.faults.append(refuse)
    agent = machine.agent()
    service.deploy("d-1", release("one"), events=("DownloadBundle",))
    until(
        lambda: any(
            json.loads(path.read_text())["state"] == "completed" for path in (machine.root / "spool").glob("*.json")
        )
    )
    agent.kill()
    away.clear()
    machine.agent()
    assert service.finish("d-1")["DownloadBundle"][0] == "Succeeded"


def test_term_lets_a_running_hook_finish(machine, service):
    agent = machine.agent()
    started, go = machine.path / "started", machine.path / "go"
    text = script(f"touch {started}; while [ ! -e {go} ]; do sleep 0.05; done")
    service.deploy("d-1", release("one", **{"count.sh": text}), events=IN_PLACE[:3])
    machine.wait_for(started)
    agent.process.send_signal(signal.SIGTERM)
    go.write_text("")
    assert agent.stop() == 0
    assert service.deployments["d-1"]["results"]["BeforeInstall"][0] == "Succeeded"


def test_term_ends_a_hook_that_takes_too_long(machine, service):
    machine.configure(stop_timeout=0)
    agent = machine.agent()
    started = machine.path / "started"
    text = script(f"touch {started}; sleep 100")
    service.deploy("d-1", release("one", **{"count.sh": text}), events=IN_PLACE[:3])
    machine.wait_for(started)
    assert agent.stop() == 0
    status, diagnostics = service.deployments["d-1"]["results"]["BeforeInstall"]
    assert (status, diagnostics["error_code"]) == ("Failed", 7)
    assert diagnostics["message"] == "Failed: the agent was stopped while count.sh ran."


def test_an_idle_agent_stops_at_once(machine, service):
    agent = machine.agent()
    service.wait(lambda stub: stub.polls)
    assert agent.stop(timeout=service.hold_s / 2) == 0  # before the poll ends
    assert "ResourceWarning" not in machine.log()


def test_a_second_agent_on_the_same_state_is_refused(machine, service):
    machine.agent()
    service.wait(lambda stub: stub.polls)
    assert machine.agent().died() == 1
    assert "another agent runs" in machine.log()
