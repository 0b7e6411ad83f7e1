"""Whole deployments: a real agent process against a command service, from the poll to the last completion."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from agent_harness import PYENV, appspec, script, tgz, zipped
from command_service_stub import HOST, IN_PLACE, SECRET_KEY, make_signer, seal, signer
from cryptography.hazmat.primitives import serialization
from penstock_waiting import until

from penstock_agent.commands import BundleRefused, s3_fetch
from penstock_agent.specification import Revision

HOOKS = {"BeforeInstall": ["before.sh"], "AfterInstall": ["after.sh"], "ValidateService": ["check.sh"]}


def bundle(make=tgz, text="one", hooks=None, **scripts):
    files = {
        "appspec.yml": appspec(hooks=HOOKS if hooks is None else hooks),
        "app/index.html": text,
        "app/lib/code.py": "code " + text,
        "before.sh": script("echo before"),
        "after.sh": script("echo after"),
        "check.sh": script('test -f "$PENSTOCK_INSTALL_ROOT/srv/app/index.html"'),
    }
    files.update({name.replace("_", "."): value for name, value in scripts.items()})
    return make(files)


PYTHONS = [
    sys.executable,
    *(str(PYENV / version / "bin" / "python") for version in ("3.8.18", "3.9.18", "3.10.13", "3.12.1", "3.13.0")),
]


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.split("versions/")[-1].split("/")[0])
def test_a_deployment_runs_every_event_and_installs(machine, service, python):
    if not os.path.exists(python):
        pytest.skip(f"no {python} on this machine")
    machine.agent(python)
    service.deploy("d-1", bundle())
    results = service.finish("d-1")
    assert {event: status for event, (status, _) in results.items()} == dict.fromkeys(IN_PLACE, "Succeeded"), results
    assert machine.installed() == {"/srv/app/index.html": "one", "/srv/app/lib/code.py": "code one"}
    assert results["BeforeInstall"][1] == {
        "error_code": 0,
        "script_name": "",
        "message": "Succeeded",
        "log": "LifecycleEvent - BeforeInstall\nScript - before.sh\n[stdout]before\n",
    }
    noops = {identifier: noop for identifier, noop in service.acknowledgements}
    assert [noops[f"d-1/{number}"] for number in range(7)] == [True, False, False, False, False, True, False]
    assert [operation for operation, _ in service.requests].count("GetDeploymentSpecification") == 1


@pytest.mark.parametrize(("kind", "make"), [("tgz", tgz), ("zip", zipped), ("tar", lambda files: tgz(files, "w"))])
def test_every_kind_of_bundle(machine, service, kind, make):
    machine.agent()
    service.deploy("d-1", bundle(make), kind=kind)
    assert service.finish("d-1")["ValidateService"][0] == "Succeeded"
    assert machine.installed()["/srv/app/index.html"] == "one"


def test_a_second_deployment_replaces_the_first_and_cleans_up(machine, service):
    machine.agent()
    service.deploy("d-1", bundle(app_old="x", ApplicationStop="y"))
    service.finish("d-1")
    (machine.install_root / "srv/app/mine.txt").write_text("foreign")
    files = {
        "appspec.yml": appspec(hooks={"ApplicationStop": ["stop.sh"]}),
        "app/index.html": "two",
        "app/new/file": "n",
        "stop.sh": script("echo two"),
    }
    service.deploy("d-2", tgz(files))
    assert service.finish("d-2")["ValidateService"][0] == "Succeeded"
    assert machine.installed() == {
        "/srv/app/index.html": "two",
        "/srv/app/new/file": "n",
        "/srv/app/mine.txt": "foreign",
    }


def test_application_stop_runs_the_last_successful_revision(machine, service):
    machine.agent()
    stop = {"ApplicationStop": ["stop.sh"]}
    for number, word in ((1, "first"), (2, "second")):
        service.deploy(f"d-{number}", bundle(hooks=stop, stop_sh=script(f"echo stopping {word}; pwd")))
        results = service.finish(f"d-{number}")
    log = results["ApplicationStop"][1]["log"]
    assert "stopping first" in log
    assert "group-1/d-1/deployment-archive" in log  # a hook starts in the root of its own revision
    assert "stopping first" in (machine.root / "group-1/d-2/logs/scripts.log").read_text()


def test_blue_green_rollback_runs_the_earlier_revisions(machine, service):
    machine.agent()
    hooks = {"BeforeBlockTraffic": ["say.sh"], "BeforeAllowTraffic": ["say.sh"]}
    service.deploy("d-1", bundle(hooks=hooks, say_sh=script("echo one")))
    service.finish("d-1")
    service.deploy("d-2", bundle(hooks=hooks, say_sh=script("echo two")), events=("DownloadBundle",))
    service.finish("d-2")
    more = {"DeploymentType": "BLUE_GREEN", "DeploymentCreator": "codeDeployRollback"}
    service.deploy("d-3", b"", events=("BeforeBlockTraffic", "BeforeAllowTraffic"), **more)
    results = service.finish("d-3")
    assert "[stdout]two" in results["BeforeBlockTraffic"][1]["log"]
    assert "[stdout]one" in results["BeforeAllowTraffic"][1]["log"]


FAILURES = {
    "exit": (script("echo why >&2; exit 3"), (), 4, "Script at specified location: before.sh failed with exit code 3"),
    "signal": (script("kill -9 $$"), (), 4, "Script at specified location: before.sh failed with signal 9"),
    "missing": (None, (), 1, "Script does not exist at specified location: "),
    "timeout": (
        script("sleep 60"),
        ("timeout: 1",),
        3,
        "Script at specified location: before.sh failed to complete in 1 seconds",
    ),
    "interpreter": (
        ("#!/no/such/shell\n", 0o755),
        (),
        4,
        "Script at specified location: before.sh could not be started: its first line asks for the interpreter",
    ),
    "user": (
        script("true"),
        ("runas: nobody-of-that-name",),
        4,
        "cannot run as user nobody-of-that-name: this machine has no such user",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_scripts_that_fail(machine, service, name):
    text, more, code, message = FAILURES[name]
    machine.agent()
    extra = {} if text is None else {"before_sh": text}
    hooks = {"BeforeInstall": [("nowhere.sh" if text is None else "before.sh", *more)]}
    service.deploy("d-1", bundle(hooks=hooks, **extra))
    status, diagnostics = service.finish("d-1")["BeforeInstall"]
    assert status == "Failed"
    assert diagnostics["error_code"] == code
    assert message in diagnostics["message"]
    assert diagnostics["script_name"] == ("nowhere.sh" if text is None else "before.sh")
    if name == "exit":
        assert diagnostics["log"] == (
            "LifecycleEvent - BeforeInstall\nScript - before.sh\n[stderr]why\n"
            "Script at specified location: before.sh failed with exit code 3\n"
        )
    assert len(service.completions) == 3  # exactly one for each command


def test_a_script_without_shebang_and_executable_bit_runs(machine, service):
    machine.agent()
    service.deploy("d-1", bundle(hooks={"BeforeInstall": ["before.sh"]}, before_sh=("echo plain\n", 0o644)))
    assert "[stdout]plain" in service.finish("d-1")["BeforeInstall"][1]["log"]


def test_the_whole_group_of_a_script_that_ignores_term_is_killed(machine, service, monkeypatch):
    machine.agent()
    text = script("trap '' TERM; (trap '' TERM; echo $$ > %s; sleep 50) & wait; sleep 50" % (machine.path / "pid"))
    service.deploy("d-1", bundle(hooks={"BeforeInstall": [("before.sh", "timeout: 1")]}, before_sh=text))
    assert service.finish("d-1")["BeforeInstall"][1]["error_code"] == 3
    group = int((machine.path / "pid").read_text())
    until(lambda: not alive_group(group))


def alive_group(group):
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if fields[2] == str(group) and fields[0] != "Z":
                return True
    return False


def test_a_background_child_that_keeps_stdout_neither_hangs_the_event_nor_dies(machine, service):
    machine.agent()
    go, done = machine.path / "go", machine.path / "done"
    text = script(f"(while [ ! -e {go} ]; do sleep 0.05; done; echo still here && echo yes > {done}) &\necho started")
    service.deploy("d-1", bundle(hooks={"BeforeInstall": ["before.sh"]}, before_sh=text), events=IN_PLACE[:3])
    status, diagnostics = service.finish("d-1")["BeforeInstall"]
    assert status == "Succeeded"
    assert "[stdout]started" in diagnostics["log"]
    go.write_text("")
    until(done.exists)


def test_what_a_hook_sees(machine, service):
    machine.configure(hook_environment="{STAGE: test, AWS_REGION: eu-west-1}")
    machine.agent()
    service.deploy("d-1", bundle(hooks={"BeforeInstall": ["before.sh"]}, before_sh=script("env; cat; id -u; pwd")))
    log = service.finish("d-1")["BeforeInstall"][1]["log"]
    seen = dict(line[8:].split("=", 1) for line in log.splitlines() if line.startswith("[stdout]") and "=" in line)
    expected = {
        "LIFECYCLE_EVENT": "BeforeInstall",
        "DEPLOYMENT_ID": "d-1",
        "APPLICATION_NAME": "shop",
        "DEPLOYMENT_GROUP_NAME": "fleet",
        "DEPLOYMENT_GROUP_ID": "group-1",
        "BUNDLE_BUCKET": "bundles",
        "BUNDLE_KEY": "d-1.tgz",
        "PENSTOCK_INSTALL_ROOT": str(machine.install_root),
        "STAGE": "test",
        "AWS_REGION": "eu-west-1",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert len(seen["BUNDLE_ETAG"]) == 32
    assert "BUNDLE_VERSION" not in seen
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert SECRET_KEY not in log
    everything = machine.log() + "".join(
        path.read_text(errors="replace") for path in machine.root.rglob("*") if path.is_file()
    )
    assert SECRET_KEY not in everything


@pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")
@pytest.mark.parametrize("python", PYTHONS[:2], ids=["this", "3.8"])
def test_runas(machine, service, python):
    if not os.path.exists(python):
        pytest.skip(f"no {python} on this machine")
    for path in (machine.path, *machine.path.parents):
        if path.stat().st_uid == os.geteuid() and str(path).startswith("/tmp/"):
            path.chmod(0o755)
    machine.agent(python)
    hooks = {"BeforeInstall": [("before.sh", "runas: nobody")]}
    service.deploy("d-1", bundle(hooks=hooks, before_sh=script("id -un; id -Gn; echo $USER")))
    log = service.finish("d-1")["BeforeInstall"][1]["log"]
    assert "[stdout]nobody\n[stdout]nogroup\n[stdout]nobody\n" in log


def test_output_is_streamed_while_a_hook_runs(machine, service):
    machine.agent()
    go = machine.path / "go"
    text = script(f"echo waiting for it; while [ ! -e {go} ]; do sleep 0.05; done")
    service.deploy("d-1", bundle(hooks={"BeforeInstall": ["before.sh"]}, before_sh=text))
    service.wait(lambda stub: stub.updates)
    go.write_text("")
    service.finish("d-1")
    identifier, update = service.updates[0]
    assert identifier == "d-1/2"
    assert update["script_name"] == "before.sh"
    assert update["log"].endswith("[stdout]waiting for it\n")
    assert update["total"] == len(update["log"])
    assert len(service.updates) == 1  # nothing new, nothing sent


def test_a_service_that_refuses_updates_is_not_asked_again(machine, service):
    asked = []

    def refuse(operation, _):
        if operation == "PostHostCommandUpdate":
            asked.append(operation)
            service.condition.notify_all()
            return 400, {"__type": "UnknownOperationException"}
        return None

    service.faults.append(refuse)
    machine.agent()
    text = script("i=0; while [ $i -lt 16 ]; do echo $i; i=$((i+1)); sleep 0.1; done")
    service.deploy("d-1", bundle(hooks={"BeforeInstall": ["before.sh"]}, before_sh=text))
    assert service.finish("d-1")["ValidateService"][0] == "Succeeded"
    assert len(asked) == 1


def test_a_flood_of_output_in_one_line_keeps_the_diagnostics_whole(machine, service):
    machine.configure(limits="{script_log_bytes: 1M}")
    machine.agent()
    text = script("head -c 5000000 /dev/zero | tr '\\0' '\\042'; printf '\\nlast \\303\\244 \\001 \\377\\n'; exit 1")
    service.deploy("d-1", bundle(hooks={"BeforeInstall": ["before.sh"]}, before_sh=text))
    diagnostics = service.finish("d-1")["BeforeInstall"][1]
    assert "last ä \x01 \ufffd\n" in diagnostics["log"]
    assert len(diagnostics["log"]) > 3000
    logs = machine.root / "group-1/d-1/logs"
    assert sum(path.stat().st_size for path in logs.iterdir()) < 2_200_000


def test_the_appspec_error_comes_without_an_acknowledgement(machine, service):
    machine.agent()
    service.deploy("d-1", tgz({"appspec.yml": "version: 1.0\nos: linux\n"}), events=IN_PLACE[1:])
    status, diagnostics = service.finish("d-1")["BeforeInstall"]
    assert (status, diagnostics["error_code"]) == ("Failed", 5)
    assert "an invalid version value (1.0)" in diagnostics["message"]
    assert [identifier for identifier, _ in service.acknowledgements] == ["d-1/0"]


def test_a_bundle_without_an_appspec_file(machine, service):
    machine.agent()
    service.deploy("d-1", tgz({"readme": "no"}), events=IN_PLACE[1:])
    message = service.finish("d-1")["BeforeInstall"][1]["message"]
    assert message.startswith(
        "The CodeDeploy agent did not find an AppSpec file within the unpacked revision directory"
        ' at revision-relative path "appspec.yml".'
    )


def test_a_hostile_bundle_leaves_the_old_release_alone(machine, service):
    machine.agent()
    service.deploy("d-1", bundle())
    service.finish("d-1")
    before = machine.installed()
    service.deploy("d-2", tgz({"appspec.yml": appspec(), "../../../../evil": "x"}))
    status, diagnostics = service.finish("d-2")["DownloadBundle"]
    assert status == "Failed"
    assert diagnostics["message"] == 'The bundle holds a path that leaves it: "../../../../evil".'
    assert machine.installed() == before


def test_a_conflict_leaves_the_old_release_alone(machine, service):
    machine.agent()
    service.deploy("d-1", bundle())
    service.finish("d-1")
    (machine.install_root / "srv/app/taken").write_text("mine")
    before = machine.installed()
    service.deploy("d-2", tgz({"appspec.yml": appspec(), "app/index.html": "two", "app/taken": "theirs"}))
    message = service.finish("d-2")["Install"][1]["message"]
    taken = machine.install_root / "srv/app/taken"
    assert message == f"The deployment failed because a specified file already exists at this location: {taken}"
    assert machine.installed() == before
    overrides = {"AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": "OVERWRITE"}}}
    service.deploy("d-3", tgz({"appspec.yml": appspec(), "app/index.html": "two", "app/taken": "theirs"}), **overrides)
    service.finish("d-3")
    assert machine.installed() == {"/srv/app/index.html": "two", "/srv/app/taken": "theirs"}


def test_a_wrong_etag_is_refused(machine, service):
    machine.agent()
    service.deploy("d-1", bundle(), etag="0" * 32)
    message = service.finish("d-1")["DownloadBundle"][1]["message"]
    assert message.startswith("Expected deployment artifact bundle etag %s but was actually " % ("0" * 32))


@pytest.mark.parametrize(
    ("etag", "sha256", "refusal"),
    [
        ("of another write", hashlib.sha256(b"bytes").hexdigest(), None),
        ("as written", hashlib.sha256(b"bytes").hexdigest(), None),
        ("as written", "0" * 64, "is not the one that was deployed"),
        ("of another write", "", "Expected deployment artifact bundle etag"),
    ],
)
def test_a_bundle_is_known_by_its_digest_and_by_its_etag_only_without_one(tmp_path, etag, sha256, refusal):
    """The same bytes have another ETag whenever they are written under a key of KMS."""
    response = SimpleNamespace(headers={"etag": '"as written"'}, blocks=lambda: [b"by", b"tes"])
    objects = SimpleNamespace(private=True, get=lambda _bucket, _key, _version, take: take(response))
    revision = Revision(kind="S3", bundle_type="zip", bucket="b", key="k", etag=etag, sha256=sha256)
    deployment = SimpleNamespace(bundle=tmp_path / "bundle")
    fetch = s3_fetch(objects, 100, threading.Event())
    if refusal is None:
        assert fetch(SimpleNamespace(revision=revision), deployment) == "as written"
        assert deployment.bundle.read_bytes() == b"bytes"
    else:
        with pytest.raises(BundleRefused, match=refusal):
            fetch(SimpleNamespace(revision=revision), deployment)


def test_a_bundle_that_is_not_there(machine, service):
    machine.agent()
    service.deploy("d-1", bundle())
    service.objects.clear()
    message = service.finish("d-1")["DownloadBundle"][1]["message"]
    assert (
        message
        == "The bundle s3://bundles/d-1.tgz could not be downloaded: NoSuchKey: The specified key does not exist."
    )


@pytest.mark.parametrize("fault", ["drop", "short", (503, b"<Error><Code>SlowDown</Code></Error>")], ids=str)
def test_a_download_is_tried_again(machine, service, fault):
    tries = []

    def once(operation, _):
        if operation == "GetObject":
            tries.append(1)
            return fault if len(tries) == 1 else None
        return None

    service.faults.append(once)
    machine.agent()
    service.deploy("d-1", bundle())
    assert service.finish("d-1")["ValidateService"][0] == "Succeeded"
    assert len(tries) >= 2


def test_an_unknown_command_is_reported(machine, service):
    machine.agent()
    service.deploy("d-1", bundle(), events=("UpdateDeploymentAgent",))
    assert service.finish("d-1")["UpdateDeploymentAgent"] == (
        "Failed",
        {"error_code": 5, "script_name": "", "message": "Unsupported command type: UpdateDeploymentAgent.", "log": ""},
    )
    assert service.acknowledgements == [("d-1/0", True)]


def test_a_github_revision_refused_with_a_reason(machine, service):
    machine.agent()
    revision = {"RevisionType": "GitHub", "GitHubRevision": {"Account": "a", "Repository": "r", "CommitId": "c"}}
    service.deploy("d-1", b"", events=("DownloadBundle",), Revision=revision)
    assert "does not fetch revisions from GitHub" in service.finish("d-1")["DownloadBundle"][1]["message"]


@pytest.mark.parametrize("status", ["Succeeded", "Failed"])
def test_an_acknowledgement_that_is_turned_down_drops_the_command(machine, service, status):
    machine.agent()
    service.acknowledgement_status = status
    service.deploy("d-1", bundle(), events=("DownloadBundle",))
    service.wait(lambda stub: stub.acknowledgements)
    service.acknowledgement_status = None  # the field may be absent
    service.deploy("d-2", bundle(), events=("DownloadBundle",))
    assert service.finish("d-2")["DownloadBundle"][0] == "Succeeded"
    assert [identifier for identifier, *_ in service.completions] == ["d-2/0"]


def test_a_noop_that_is_turned_down_as_failed_is_completed(machine, service):
    machine.agent()
    service.acknowledgement_status = "Failed"
    service.deploy("d-1", bundle(), events=("ApplicationStop",))
    assert service.finish("d-1")["ApplicationStop"][1]["message"] == "Succeeded: CompletedNoopCommand"


def test_a_command_that_comes_twice_runs_once(machine, service):
    machine.agent()
    hooks = {"ApplicationStop": ["count.sh"], "BeforeInstall": ["count.sh"]}
    count = script("echo x >> %s; sleep 0.3" % (machine.path / "count"))
    service.deploy("d-1", bundle(hooks=hooks, count_sh=count), events=IN_PLACE[:3])
    service.wait(lambda stub: ("d-1/2", False) in stub.acknowledgements)
    with service.condition:
        service.queue.append(service.commands["d-1/2"])  # while it runs
        service.condition.notify_all()
    service.finish("d-1")
    completed = len(service.completions)
    with service.condition:
        service.queue.append(service.commands["d-1/2"])  # after its result
        service.condition.notify_all()
    service.wait(lambda stub: len(stub.completions) > completed)
    assert service.completions[-1] == service.completions[-2]
    assert (machine.path / "count").read_text() == "x\n"


def test_a_command_for_another_host_is_not_run(machine, service):
    machine.agent()
    with service.condition:
        service.queue.append(
            {
                "HostCommandIdentifier": "x",
                "HostIdentifier": "other",
                "DeploymentExecutionId": "a/b/c/d",
                "CommandName": "Install",
            }
        )
        service.condition.notify_all()
    service.deploy("d-1", bundle(), events=("DownloadBundle",))
    service.finish("d-1")
    assert "Host Identifier mismatch" in machine.log()
    assert [identifier for identifier, _ in service.acknowledgements] == ["d-1/0"]


def test_an_altered_specification_is_refused(machine, service):
    service.sealed = lambda content: altered(seal(content))
    machine.agent()
    service.deploy("d-1", bundle(), events=("DownloadBundle",))
    message = service.finish("d-1")["DownloadBundle"][1]["message"]
    assert message.startswith("Validation of the deployment specification failed: ")


def altered(pem):
    lines = pem.split("\n")
    data = bytearray(base64.b64decode("".join(lines[1:-2])))
    at = data.index(b"fleet")
    data[at] ^= 1
    text = base64.b64encode(bytes(data)).decode()
    return "\n".join([lines[0], *(text[i : i + 64] for i in range(0, len(text), 64)), *lines[-2:]])


def test_a_pinned_signer(machine, service):
    pem = machine.path / "signer.pem"
    pem.write_bytes(signer()[1].public_bytes(serialization.Encoding.PEM))
    machine.configure(signer_certificate=pem)
    machine.agent()
    service.deploy("d-1", bundle(), events=("DownloadBundle",))
    assert service.finish("d-1")["DownloadBundle"][0] == "Succeeded"
    other = make_signer()
    service.sealed = lambda content: seal(content, other)
    service.deploy("d-2", bundle(), events=("DownloadBundle",))
    message = service.finish("d-2")["DownloadBundle"][1]["message"]
    assert message.endswith("the signer is not the pinned one and no chain leads to it")


SPECIFICATIONS = {
    b"no": "The deployment specification is not JSON",
    b"{}": "Deployment Spec has no DeploymentGroupId",
    json.dumps(
        {"DeploymentId": "../../etc", "DeploymentGroupId": "g", "DeploymentGroupName": "n", "ApplicationName": "a"}
    ).encode(): "The deployment specification's DeploymentId cannot name a directory",
}


@pytest.mark.parametrize("content", SPECIFICATIONS)
def test_a_specification_that_cannot_be_used(machine, service, content):
    machine.agent()
    service.deploy_specification("d-1", content, ["DownloadBundle"])
    assert service.finish("d-1")["DownloadBundle"][1]["message"] == SPECIFICATIONS[content]


def test_only_the_last_revisions_are_kept(machine, service):
    machine.configure(max_revisions=2)
    machine.agent()
    for number in range(4):
        service.deploy(f"d-{number}", bundle(text=str(number)))
        assert service.finish(f"d-{number}")["ValidateService"][0] == "Succeeded"
    assert sorted(path.name for path in (machine.root / "group-1").iterdir()) == ["d-2", "d-3"]


def test_bundles_that_are_refused_take_no_room(machine, service):
    machine.configure(max_revisions=2)
    machine.agent()
    service.deploy("d-0", bundle())
    service.finish("d-0")
    for number in range(1, 4):
        service.deploy(f"d-{number}", b"no archive")
        assert service.finish(f"d-{number}")["DownloadBundle"][0] == "Failed"
    group = machine.root / "group-1"
    assert sorted(path.name for path in group.iterdir()) == ["d-0", "d-3"]
    assert sorted(path.name for path in (group / "d-3").iterdir()) == [".bundle-etag", "logs"]


def test_two_groups_run_side_by_side(machine, service):
    machine.agent()
    go = machine.path / "go"
    wait = script(f"while [ ! -e {go} ]; do sleep 0.02; done")
    slow = {"appspec.yml": appspec(files=(), hooks={"BeforeInstall": ["wait.sh"]}), "wait.sh": wait}
    service.deploy("d-slow", tgz(slow), group="slow")
    service.wait(lambda stub: ("d-slow/2", False) in stub.acknowledgements)
    service.deploy("d-fast", bundle(), group="fast")
    assert service.finish("d-fast")["ValidateService"][0] == "Succeeded"
    go.write_text("")
    assert service.finish("d-slow")["ValidateService"][0] == "Succeeded"


def test_a_poll_says_which_commands_are_still_owed_a_report(machine, service):
    machine.agent()
    go = machine.path / "go"

    def lost(operation, body):
        report = operation == "PutHostCommandComplete" and body["HostCommandIdentifier"] == "d-lost/0"
        return "drop" if report and not go.exists() else None

    service.faults.append(lost)
    wait = script(f"while [ ! -e {go} ]; do sleep 0.02; done")
    slow = {"appspec.yml": appspec(files=(), hooks={"BeforeInstall": ["wait.sh"]}), "wait.sh": wait}
    service.deploy("d-slow", tgz(slow), group="slow")
    service.wait(lambda stub: ("d-slow/2", False) in stub.acknowledgements)
    service.deploy("d-lost", bundle(), group="lost", events=("ApplicationStop",))
    both = ("PollHostCommand", {"HostIdentifier": HOST, "RunningCommands": ["d-lost/0", "d-slow/2"]})
    service.wait(lambda stub: both in stub.requests)
    go.write_text("")
    service.finish("d-slow")
    service.finish("d-lost")


def test_idle_it_keeps_one_connection_and_little_memory(machine, service):
    service.hold_s = 0.2
    agent = machine.agent()
    service.wait(lambda stub: stub.polls >= 4)
    assert service.connections == 1
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident < 25 * 1024


# --- AppSpec files that say something in vain -------------------------------------------------------------------------

MISSPELT = {
    "hook": (
        "hooks:\n  ValidateServce:\n    - location: check.sh\n",
        "the hook ValidateServce (line 7) is no lifecycle event (ValidateService was probably meant): its scripts do not run.",
    ),
    "case": ("hooks:\n  afterinstall:\n    - location: check.sh\n", "(AfterInstall was probably meant)"),
    "event": (
        "hooks:\n  Install:\n    - location: check.sh\n",
        "the hook Install (line 7) is an event that runs no scripts",
    ),
    "top": (
        "hook:\n  AfterInstall: []\n",
        "The key hook (line 6) means nothing at the top level of the AppSpec file (hooks was",
    ),
    "behavior": ("file_exist_behaviour: OVERWRITE\n", "(file_exists_behavior was probably meant)"),
    "script": (
        "hooks:\n  AfterInstall:\n    - location: after.sh\n      run_as: root\n",
        "The key run_as (line 9) means nothing in the hook AfterInstall (runas was probably meant)",
    ),
    "permission": ("permissions:\n  - object: /srv\n    onwer: root\n", "(owner was probably meant)"),
}


@pytest.mark.parametrize("name", MISSPELT)
@pytest.mark.parametrize("strict", ["no", "host", "group"])
def test_what_an_appspec_file_says_in_vain(machine, service, name, strict):
    extra, expected = MISSPELT[name]
    if strict == "host":
        machine.configure(strict="true")
    machine.agent()
    files = {
        "appspec.yml": appspec() + extra,
        "app/index.html": "1",
        "after.sh": script("true"),
        "check.sh": script("exit 1"),
    }
    service.deploy("d-1", tgz(files), **({"Strict": True} if strict == "group" else {}))
    results = service.finish("d-1")
    status, diagnostics = results["DownloadBundle"]
    assert expected in diagnostics["message"]
    if strict == "no":
        assert {each for each, _ in results.values()} == {"Succeeded"}
        assert diagnostics["log"].startswith("[warning]")
        assert "appspec.warning" in machine.log()
    else:
        assert (status, list(results)[-1]) == ("Failed", "DownloadBundle")
        assert machine.installed() == {}


def test_a_proper_appspec_file_is_not_warned_of(machine, service):
    machine.agent()
    service.deploy("d-1", bundle())
    assert service.finish("d-1")["DownloadBundle"][1] == {
        "error_code": 0,
        "script_name": "",
        "message": "Succeeded",
        "log": "",
    }


def test_a_bundle_beyond_the_limit_is_refused_while_it_is_downloaded(machine, service):
    machine.configure(limits="{bundle_bytes: 1000}")
    machine.agent()
    service.deploy("d-1", bundle(text=os.urandom(5000).hex()))
    message = service.finish("d-1")["DownloadBundle"][1]["message"]
    assert message.startswith("The bundle is larger than 1000 bytes.")
    assert "limits.bundle_bytes" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("left", [0, 64 * 1024])
def test_a_full_root_dir_is_said_by_the_event(machine, service, left):
    """Nothing runs whose start cannot be recorded, and the service gets the reason."""
    machine.root.mkdir()
    machine.root.chmod(0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", str(machine.root)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        agent = machine.agent()
        machine.wait_for(machine.root / "state.json")
        with open(machine.root / "filler", "wb", buffering=0) as filler:
            filler.write(b"x" * (os.statvfs(machine.root).f_bavail * 4096 - left))
        service.deploy("d-1", bundle(text=os.urandom(100_000).hex()))
        event, (status, diagnostics) = list(service.finish("d-1").items())[-1]
        assert status == "Failed"
        assert event == ("ApplicationStop" if left == 0 else "DownloadBundle")
        assert "root_dir" in diagnostics["message"] or str(machine.root) in diagnostics["message"]
        assert "disk" in diagnostics["message"]
        assert "Errno" not in diagnostics["message"]
        (machine.root / "filler").unlink()
        service.deploy("d-2", bundle())
        assert service.finish("d-2")["ValidateService"][0] == "Succeeded"
        agent.stop()
    finally:
        machine.close()
        subprocess.run(["umount", "-l", str(machine.root)], check=True)
