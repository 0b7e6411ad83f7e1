"""What commands find in the data dir of a server, and what they say when there is none."""

from __future__ import annotations

import os

import botocore.exceptions
import pytest
from penstock_commands import client, options, server_of

from penstock.cli import (
    clients,
    env,
    installation,
)
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer

pytestmark = pytest.mark.usefixtures("plain")


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


@pytest.mark.parametrize(("facts", "url", "lines"), [({}, "", 9), ({"ca_file": "/c a"}, "https://h", 9)])
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
