"""The command line: local deployments, status, configuration, and the one-file build."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from agent_harness import PYENV, SOURCE, appspec, script, tgz, zipped
from command_service_stub import ACCESS_KEY, HOST, IN_PLACE, SECRET_KEY
from penstock_waiting import until

from penstock_agent import cli
from penstock_agent.config import KeySource, read_config
from penstock_agent.failures import ConfigInvalid

AGENT = SOURCE.parent
OLDEST = PYENV / "3.8.18" / "bin" / "python"


def run(*arguments, python=sys.executable, **environment):
    return subprocess.run(
        [str(python), "-W", "error", "-m", "penstock_agent", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


FILES = {
    "appspec.yml": appspec(hooks={"BeforeInstall": ["hook.sh"], "ValidateService": ["hook.sh"]}),
    "app/index.html": "one",
    "hook.sh": script('echo $LIFECYCLE_EVENT $APPLICATION_NAME >> "$PENSTOCK_INSTALL_ROOT/../seen"'),
}


@pytest.fixture
def local(tmp_path):
    (tmp_path / "machine").mkdir()

    def deploy(bundle, *more, **environment):
        places = ("--root-dir", tmp_path / "state", "--install-root", tmp_path / "machine")
        return run("deploy-local", "--bundle", bundle, *places, *more, **environment)

    return deploy


@pytest.mark.parametrize("kind", ["directory", "zip", "tgz", "tar", "file-url"])
def test_deploy_local(tmp_path, local, kind):
    if kind == "directory":
        bundle = tmp_path / "source"
        for name, value in FILES.items():
            (bundle / name).parent.mkdir(parents=True, exist_ok=True)
            (bundle / name).write_text(value[0] if isinstance(value, tuple) else value)
    else:
        suffix = "tgz" if kind == "file-url" else kind
        bundle = tmp_path / ("bundle." + suffix)
        bundle.write_bytes(zipped(FILES) if kind == "zip" else tgz(FILES, "w" if kind == "tar" else "w:gz"))
        if kind == "file-url":
            bundle = bundle.as_uri()
    done = local(bundle, "--application-name", "shop")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("-local successful\n")
    assert (tmp_path / "machine/srv/app/index.html").read_text() == "one"
    assert (tmp_path / "seen").read_text() == "BeforeInstall shop\nValidateService shop\n"


def test_deploy_local_that_fails_says_why(tmp_path, local):
    bundle = tmp_path / "bundle.tgz"
    bundle.write_bytes(tgz({**FILES, "hook.sh": script("echo because >&2; exit 9")}))
    done = local(bundle)
    assert done.returncode == 2
    assert "BeforeInstall failed: Script at specified location: hook.sh failed with exit code 9" in done.stderr
    assert "[stderr]because" in done.stderr


def test_deploy_local_with_chosen_events_and_events_of_ones_own(tmp_path, local):
    bundle = tmp_path / "bundle.tgz"
    bundle.write_bytes(
        tgz({**FILES, "appspec.yml": appspec(hooks={"Custom": ["hook.sh"], "BeforeInstall": ["hook.sh"]})})
    )
    done = local(bundle, "--events", "Custom", "-a", "x")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "seen").read_text() == "Custom x\n"


@pytest.mark.parametrize(
    "events", ["DownloadBundle", "Install", "DownloadBundle,BeforeInstall", "BeforeInstall,Install"]
)
def test_deploy_local_adds_the_events_that_it_cannot_do_without(tmp_path, local, events):
    bundle = tmp_path / "bundle.tgz"
    bundle.write_bytes(tgz(FILES))
    done = local(bundle, "--events", events)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "machine/srv/app/index.html").read_text() == "one"
    assert (tmp_path / "seen").exists() == ("BeforeInstall" in events)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/no/such/bundle.tgz",), "there is no /no/such/bundle.tgz"),
        (("https://example.com/x.tgz",), "bundles come from a path, file:// or s3://"),
        ((".", "--type", "tgz"), "is a directory"),
        ((".", "--events", "Install,DownloadBundle"), "DownloadBundle comes before Install"),
    ],
)
def test_deploy_local_used_wrongly(local, arguments, message):
    done = local(*arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_deploy_local_from_s3(machine, service):
    service.put_bundle(tgz({"appspec.yml": appspec(), "app/a": "1"}), "dir/x y.tgz")
    done = run("deploy-local", "--bundle", "s3://bundles/dir/x%20y.tgz", "--config", machine.config)
    assert done.returncode == 0, done.stderr
    assert machine.installed() == {"/srv/app/a": "1"}


def test_status(machine, service):
    arguments = ("status", "--config", machine.config)
    assert run(*arguments).returncode == 3
    agent = machine.agent()
    service.deploy("d-1", tgz(FILES))
    service.finish("d-1")
    until(lambda: len(list((machine.root / "spool/done").glob("*.json"))) == len(IN_PLACE))
    done = run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"The agent is running (pid {agent.process.pid}" in done.stdout
    assert "d-1  shop / fleet" in done.stdout
    state = json.loads(run(*arguments, "--json").stdout)
    assert (state["running"], state["inTouch"]) == (True, True)
    assert [event["event"] for event in state["deployments"][0]["events"]] == list(IN_PLACE)
    assert {event["status"] for event in state["deployments"][0]["events"]} == {"Succeeded"}
    agent.kill()
    done = run(*arguments)
    assert (done.returncode, done.stdout.splitlines()[0]) == (3, "The agent is not running.")


def test_status_of_an_agent_that_cannot_reach_its_service(machine, service):
    machine.configure(endpoint="http://127.0.0.1:9")
    machine.agent()
    machine.wait_for(machine.root / "state.json")
    done = run("status", "--root-dir", machine.root)
    assert done.returncode == 1
    assert "s ago: cannot connect to http://127.0.0.1:9: nothing accepts connections there" in done.stdout
    failed = set()

    def often():
        failed.add(json.loads((machine.root / "state.json").read_text()).get("error_at"))
        return len(failed) > 4

    until(often)
    assert machine.log().count("poll.failed") == 1, "a reason that stays the same is said once"


def test_an_agent_waits_for_a_service_that_is_not_there_yet(machine, service):
    refusing = [True]
    service.faults.append(lambda operation, _: "drop" if refusing else None)
    machine.agent()
    until(lambda: "poll.failed" in machine.log())
    refusing.clear()
    service.deploy("d-1", tgz(FILES))
    assert service.finish("d-1")["ValidateService"][0] == "Succeeded"


# --- configuration --------------------------------------------------------------------------------------------------


def config(tmp_path, text):
    path = tmp_path / "agent.yml"
    path.write_text(text)
    path.chmod(0o600)
    return read_config(str(path))


def test_the_example_file_is_valid_and_names_every_key():
    path = AGENT / "packaging" / "penstock-agent.yml"
    found = read_config(str(path), local=True)
    assert found.limits == type(found.limits)()
    assert found.stop_timeout_s == 60
    source = (SOURCE / "penstock_agent" / "config.py").read_text()
    import re

    keys = set(re.findall(r'reader\.(?:text|place|number|choice|mapping)\("([a-z_0-9]+)"', source))
    text = path.read_text()
    assert keys
    assert [key for key in keys if key + ":" not in text] == []


IDENTITY = f"iam_user_arn: {HOST}\naws_access_key_id: {ACCESS_KEY}\naws_secret_access_key: {SECRET_KEY}\n"
PLAIN = "endpoint: http://127.0.0.1:1\nregion: us-east-1\n" + IDENTITY

WRONG = {
    "x": "must hold a mapping",
    PLAIN + "colour: red\n": "line 6: colour: is not a key of this file",
    PLAIN + "max_revisions: 0\n": "line 6: max_revisions: must be a whole number of at least 1",
    PLAIN + "limits: {entries: many}\n": "entries: must be a whole number",
    PLAIN + "limits: {entry: 1}\n": "entry: is not a key of this file",
    PLAIN + "log_level: loud\n": "must be one of debug, info, warning, error",
    PLAIN + "hook_environment: {a-b: c}\n": "a-b must be a variable's name",
    PLAIN + "ca_file: nowhere.pem\n": "there is no file",
    PLAIN
    + "iam_session_arn: arn:x\n": "On Premises config cannot contain both 'iam_user_arn' and 'iam_session_arn' keys.",
    PLAIN.replace("http://127.0.0.1:1", "ftp://x"): "is not an endpoint of the form",
    "endpoint: http://127.0.0.1:1\n" + IDENTITY: "region is missing",
    "region: x\n": "no identity",
    "region: x\niam_user_arn: arn:x\n": "'aws_access_key_id' key is required when 'iam_user_arn' is provided.",
    "region: x\niam_session_arn: arn:x\n": "'aws_credentials_file' key is required when 'iam_session_arn' is provided.",
    "a: [\n": "agent.yml: line 2",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: WRONG[text][:30])
def test_configuration_errors_with_a_reason(tmp_path, text):
    with pytest.raises(ConfigInvalid) as caught:
        config(tmp_path, text)
    assert WRONG[text] in str(caught.value)
    assert SECRET_KEY not in str(caught.value)


def test_a_command_with_a_wrong_configuration_ends_with_1(tmp_path):
    done = run("run", "--config", tmp_path / "nowhere.yml")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere.yml cannot be read: it does not exist" in done.stderr


def test_the_file_of_aws_deploy_register(tmp_path):
    (tmp_path / "codedeploy.onpremises.yml").write_text(
        f"---\nregion: eu-west-1\niam_user_arn: {HOST}\naws_access_key_id: {ACCESS_KEY}\naws_secret_access_key: {SECRET_KEY}\n"
    )
    found = config(tmp_path, "endpoint: http://127.0.0.1:1\non_premises_config: codedeploy.onpremises.yml\n")
    assert (found.region, found.host_identifier, found.access_key_id) == ("eu-west-1", HOST, ACCESS_KEY)
    assert KeySource(found)() == (ACCESS_KEY, SECRET_KEY, "")


def test_a_file_of_keys_that_others_can_read_is_named(tmp_path, capsys):
    keys = tmp_path / "codedeploy.onpremises.yml"
    keys.write_text(
        f"region: r\niam_user_arn: {HOST}\naws_access_key_id: {ACCESS_KEY}\naws_secret_access_key: {SECRET_KEY}\n"
    )
    for mode, said in ((0o600, False), (0o644, True)):
        keys.chmod(mode)
        config(tmp_path, "endpoint: http://127.0.0.1:1\non_premises_config: codedeploy.onpremises.yml\n")
        assert (f"config.readable_by_others path={keys}" in capsys.readouterr().err) == said


def test_session_credentials_are_read_again_when_they_change(tmp_path):
    keys = tmp_path / "credentials"
    keys.write_text(
        "[other]\naws_access_key_id = no\n[default]\naws_access_key_id = A\naws_secret_access_key = B\naws_session_token = C\n"
    )
    found = config(tmp_path, "region: us-east-1\niam_session_arn: arn:x\naws_credentials_file: credentials\n")
    assert found.endpoint == "https://codedeploy-commands.us-east-1.amazonaws.com"
    assert found.s3_endpoint == "https://s3.us-east-1.amazonaws.com"
    source = KeySource(found)
    assert source() == ("A", "B", "C")
    other = tmp_path / "next"
    other.write_text("[default]\naws_access_key_id = D\naws_secret_access_key = E\n")
    os.replace(other, keys)
    assert source() == ("D", "E", "")
    keys.unlink()
    assert source() == ("D", "E", "")


# --- distribution ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", [Path(sys.executable), OLDEST], ids=["this", "3.8"])
def test_the_one_file_build(tmp_path, local, python):
    if not python.exists():
        pytest.skip(f"no {python} on this machine")
    target = tmp_path / "penstock-agent.pyz"
    for _ in range(2):
        subprocess.run([sys.executable, str(AGENT / "build_zipapp.py"), str(target)], check=True, capture_output=True)
        first = (
            target.read_bytes()
            if not target.with_suffix(".first").exists()
            else target.with_suffix(".first").read_bytes()
        )
        target.with_suffix(".first").write_bytes(first)
    assert target.read_bytes() == first
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    bundle = tmp_path / "bundle.tgz"
    bundle.write_bytes(tgz(FILES))
    arguments = ["deploy-local", "-l", bundle, "--root-dir", tmp_path / "state", "--install-root", tmp_path / "machine"]
    done = subprocess.run(
        [python, target, *arguments], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "machine/srv/app/index.html").read_text() == "one"


def test_only_the_standard_library_is_imported():
    code = (
        "import sys, pkgutil, importlib, penstock_agent\n"
        "for m in pkgutil.walk_packages(penstock_agent.__path__, 'penstock_agent.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "print([m for m in sys.modules if 'site-packages' in (getattr(sys.modules[m], '__file__', None) or '')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_idle_agent_loads_nothing_that_only_deployments_need():
    """On a host that waits, memory is what an agent costs."""
    code = "import sys, penstock_agent.cli, penstock_agent.agent\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    heavy = {
        "ssl",
        "zipfile",
        "tarfile",
        "xml",
        "email",
        "http.client",
        "subprocess",
        "tempfile",
        "logging",
        "datetime",
        "platform",
        "penstock_agent._vendor",
    }
    assert not heavy & set(done.stdout.split())


def test_stop_ends_an_agent_whose_poll_is_held(machine, service):
    """The stub holds a poll far longer than `stop` waits here."""
    service.hold_s = 120.0
    agent = machine.agent()
    until(lambda: "PollHostCommand" in [operation for operation, _ in service.requests])
    done = run("stop", "--root-dir", machine.root, "--timeout", "20")
    assert (done.returncode, done.stdout) == (0, "The agent has ended.\n"), done.stderr
    assert agent.died() == 0
    done = run("stop", "--root-dir", machine.root)
    assert (done.returncode, done.stdout) == (0, "The agent is not running.\n")


def test_status_names_what_runs_now(machine, service):
    agent = machine.agent()
    go, started = machine.path / "go", machine.path / "started"
    service.deploy(
        "d-1",
        tgz(
            {
                "appspec.yml": appspec(files=(), hooks={"BeforeInstall": ["wait.sh"]}),
                "wait.sh": script(f"touch {started}; while [ ! -e {go} ]; do sleep 0.05; done"),
            }
        ),
    )
    machine.wait_for(started)
    assert "Current: BeforeInstall of deployment d-1, for " in run("status", "--root-dir", machine.root).stdout
    current = json.loads(run("status", "--json", "--root-dir", machine.root).stdout)["current"]
    assert [(each["deploymentId"], each["event"]) for each in current] == [("d-1", "BeforeInstall")]
    go.touch()
    service.finish("d-1")
    until(lambda: "Current: no deployment." in run("status", "--root-dir", machine.root).stdout)
    assert agent.stop() == 0


def test_a_local_deployment_warns_of_a_misspelt_hook(local, tmp_path):
    bundle = tmp_path / "misspelt"
    bundle.mkdir()
    (bundle / "appspec.yml").write_text(appspec(files=(), hooks={"ValidateServce": ["hook.sh"]}))
    arguments = ("deploy-local", "-l", bundle, "--root-dir", tmp_path / "own", "--install-root", tmp_path / "machine")
    done = run(*arguments)
    assert done.returncode == 0
    assert "warning: the hook ValidateServce (line 4) is no lifecycle event (ValidateService was" in done.stderr
    done = run(*arguments, "-e", "ValidateServce")  # a custom event of that name was asked for
    assert "warning" not in done.stderr
    config = tmp_path / "strict.yml"
    config.write_text("strict: true\n")
    done = run(*arguments, "--config", config)
    assert done.returncode == 2
    assert "DownloadBundle failed: The deployment failed because the hook ValidateServce" in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/x/state"), "penstock-agent: /x/state: the disk is full; make room on it and deploy again\n"),
        (OSError(28, "No space left on device"), "penstock-agent: the disk is full; make room on it and deploy again\n"),
        (OSError(28, "No space left on device", 7), "penstock-agent: the disk is full; make room on it and deploy again\n"),
        (ConfigInvalid("x.yml: region is missing"), "penstock-agent: x.yml: region is missing\n"),
    ],
)  # fmt: skip
def test_why_a_command_ended_badly(monkeypatch, capsys, error, said):
    def fail(_path):
        raise error

    monkeypatch.setattr("penstock_agent.config.read_config", fail)
    assert cli.main(["run", "--config", "x.yml"]) == 1
    assert capsys.readouterr() == ("", said)


def test_appspec_files_are_checked_without_a_deployment(tmp_path):
    good, odd, bad = (tmp_path / name for name in ("good.yml", "odd.yml", "bad.yml"))
    good.write_text("version: 0.0\nos: linux\n")
    odd.write_text("version: 0.0\nos: linux\nnothing: 1\n")
    bad.write_text("version: 0.0\nos: plan9\n")
    done = run("check-appspec", good, odd)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == f"{good} is in order"
    assert second.startswith(f"{odd}: warning: The key nothing (line 3) means nothing")
    done = run("check-appspec", "--json", good, bad)
    assert done.returncode == 2
    (finding,) = json.loads(done.stdout)
    assert finding["level"] == "error"
    assert "unsupported operating system (plan9)" in finding["message"]
    missing = run("check-appspec", tmp_path / "none.yml")
    assert (missing.returncode, missing.stderr) == (
        1,
        f"penstock-agent: {tmp_path}/none.yml: it does not exist\n",
    )
