"""A real agent on a host that has joined: no access key lies on it, and it gets its role's credentials for itself."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from penstock_agents import AGENT_SOURCE
from penstock_ports import reserved_port
from penstock_starter import AWS, run
from penstock_waiting import until

from penstock.cli import main
from penstock_agent import cli, identity
from penstock_agent.failures import ConfigInvalid

ACCOUNT = "111111111111"
OLDEST = Path.home() / ".pyenv" / "versions" / "3.8.18" / "bin" / "python"
PYTHON = str(OLDEST) if OLDEST.exists() else sys.executable


def agent(*arguments):
    """What the agent's command line says, on the oldest Python that it promises."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [PYTHON, "-m", "penstock_agent", *map(str, arguments)], env=environment | {"PYTHONPATH": str(AGENT_SOURCE)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def invite(live, monkeypatch, capsys):
    """`penstock hosts join`: the arguments of the command that it prints."""
    for name, value in live.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)

    def invited(name, *more):
        assert main.main(["hosts", "join", name, *more]) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if "penstock-agent join" in line)
        return shlex.split(line)[1:]

    return invited


def keys_below(folder):
    """Files with what looks like an access key."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and (b"ASIA" in (data := path.read_bytes()) or b"AKIA" in data)
    ]


def test_a_host_joins_polls_and_is_revoked(live, invite, tmp_path, capsys):
    command = invite("agent-1", "--tag", "fleet=web")
    config, state = tmp_path / "etc" / "agent.yml", tmp_path / "state"
    said = agent(*command, "--config", config, "--root-dir", state)
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/penstock-hosts/agent-1"
    assert f"This host is {session}." in said
    assert (state / "identity").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (state / "identity").iterdir()} == {0o600}
    port = reserved_port()
    with config.open("a") as file:
        file.write(f"metadata:\n  listen: 127.0.0.1:{port}\n")
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [PYTHON, "-m", "penstock_agent", "run", "--config", str(config)], stderr=log,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(AGENT_SOURCE)},
        )  # fmt: skip
    try:
        hosts = live.client("penstock")

        def heard():
            return [one for one in hosts.list_hosts()["hosts"] if one["name"] == "agent-1" and one["connected"]]

        found = until(heard, why=lambda: (tmp_path / "log").read_text())[0]
        assert (found["identity"], found["tags"]) == (session, [{"Key": "fleet", "Value": "web"}])
        # Another program on the host needs no key either.
        environment = {name: value for name, value in live.environment().items() if "KEY" not in name}
        environment |= {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_METADATA_SERVICE_TIMEOUT": "60",
        }
        done = run(AWS, "sts", "get-caller-identity", env=environment, timeout=90)
        assert json.loads(done.stdout)["Arn"] == session, done.stderr
        assert keys_below(tmp_path) == []
        capsys.readouterr()
        assert main.main(["hosts", "list"]) == 0
        # How wide names are depends on the hosts of other modules on the same server.
        assert re.search(
            r"^agent-1 +Joined    penstock-hosts  certificate until", capsys.readouterr().out, re.MULTILINE
        )
        assert main.main(["hosts", "revoke", "agent-1"]) == 0
        shown = ["status", "--config", str(config)]

        def refused():
            capsys.readouterr()
            return cli.main(shown) == 2 and "the host has been revoked" in capsys.readouterr().out

        until(refused, why=(tmp_path / "log").read_text)
        # Who has revoked it by mistake invites it again; the running agent needs no restart.
        agent("join", "--config", config, invite("agent-1")[-1])
        until(lambda: cli.main(shown) == 0, why=(tmp_path / "log").read_text)
        said = [line for line in (tmp_path / "log").read_text().splitlines() if "has been revoked" in line]
        assert {" error poll.refused reason=" in line for line in said} == {True}
    finally:
        running.terminate()
        running.wait(60)
    assert main.main(["hosts", "revoke", "nobody"]) == 1
    assert "No host nobody was invited" in capsys.readouterr().err


def test_a_join_that_lost_its_answer_is_done_again(invite, tmp_path, capsys):
    command, config, state = invite("agent-again"), tmp_path / "agent.yml", tmp_path / "state"
    assert cli.main([*command, "--config", str(config), "--root-dir", str(state)]) == 0
    # As if the process had been killed when the server had answered, and nothing of that was kept.
    pem = (state / "identity" / "host.pem").read_text()
    (state / "identity" / "next.key").write_text(pem[: pem.index("-----BEGIN CERTIFICATE")])
    (state / "identity" / "host.pem").unlink()
    assert cli.main(["run", "--config", str(config), "--check"]) == 0  # who it is, it knows already
    assert cli.main(["join", "--config", str(config), command[-1]]) == 0
    assert (state / "identity" / "host.pem").read_text() != pem
    capsys.readouterr()
    assert cli.main([*command, "--config", str(tmp_path / "thief.yml"), "--root-dir", str(tmp_path / "thief")]) == 1
    assert "InvalidInvitationException: This invitation was used already, with another key" in capsys.readouterr().err


def test_what_a_host_cannot_join_with_is_explained(tmp_path, monkeypatch, capsys):
    config, root = tmp_path / "agent.yml", ("--root-dir", tmp_path / "state")

    def said(*arguments):
        assert cli.main(["join", "x", "--config", str(config), *map(str, arguments)]) == 1
        return capsys.readouterr().err

    assert "give --endpoint and --region" in said()
    for endpoint, expected in (
        ("http://example.com:1", "plain HTTP"), ("ftp://x", "not an endpoint"), ("http://127.0.0.1:1", "cannot connect"),
    ):  # fmt: skip
        assert expected in said("--endpoint", endpoint, "--region", "r", *root)
    https = ("--endpoint", "https://127.0.0.1:1", "--region", "r", *root)
    assert "there is no file" in said(*https, "--ca-file", "nowhere")
    assert not config.exists()
    (tmp_path / "state" / "identity" / "next.key").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "the openssl command is missing" in said(*https)
    (tmp_path / "openssl").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    assert "openssl ecparam failed: broken" in said(*https)
    config.write_text(
        "endpoint: http://127.0.0.1:1\nregion: r\niam_user_arn: a\naws_access_key_id: b\naws_secret_access_key: c\n"
    )
    assert "names another identity" in said()
    assert "change it in the file instead of giving --region" in said("--region", "r")


def test_credentials_are_replaced_before_their_end_and_certificates_after_half_their_time(
    live, invite, tmp_path, monkeypatch
):
    assert (
        cli.main(
            [*invite("agent-renewing"), "--config", str(tmp_path / "agent.yml"), "--root-dir", str(tmp_path / "state")]
        )
        == 0
    )
    source = identity.RoleCredentials(identity.read_joined(str(tmp_path / "state")), live.url, None)
    first = source.granted()
    assert source.granted() is first
    pem = (tmp_path / "state" / "identity" / "host.pem").read_text()
    monkeypatch.setattr(identity, "EARLY_S", 2 * 3600.0)
    monkeypatch.setattr(identity, "RETRY_S", 0.0)
    second = source.granted()
    assert second.credentials.access_key_id != first.credentials.access_key_id
    assert (tmp_path / "state" / "identity" / "host.pem").read_text() == pem
    source._offset_s = 8 * 86400.0  # our clock says that half of the fourteen days is over, and learns the server's
    later = source.granted()
    assert later.credentials.access_key_id not in (first.credentials.access_key_id, second.credentials.access_key_id)
    assert (tmp_path / "state" / "identity" / "host.pem").read_text() != pem
    assert not (tmp_path / "state" / "identity" / "next.key").exists()
    # The server cannot be reached: what is good is used until its end, and then its absence is explained.
    source._address = identity.Address("http://127.0.0.1:1")
    assert source.granted() is later
    source._granted = later._replace(expires=0.0)
    with pytest.raises(identity.Unreachable, match="cannot connect"):
        source.granted()


def test_a_damaged_identity_is_explained(tmp_path):
    folder = tmp_path / "identity"
    folder.mkdir()
    assert identity.read_joined(str(tmp_path)) is None
    for text in ("", "[]", "{}", "x"):
        (folder / "host.json").write_text(text)
        with pytest.raises(ConfigInvalid, match="is damaged: invite the host again"):
            identity.read_joined(str(tmp_path))
    said = dict.fromkeys(("region", "roleArn", "sessionArn", "trustAnchorArn", "profileArn"), "x")
    (folder / "host.json").write_text(json.dumps(said))
    source = identity.RoleCredentials(identity.read_joined(str(tmp_path)), "http://127.0.0.1:1", None)
    with pytest.raises(ConfigInvalid, match="let the host join once more"):
        source()
    (folder / "host.pem").write_text("x")
    with pytest.raises(ConfigInvalid, match="is damaged"):
        source()
