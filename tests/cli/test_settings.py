"""What can be chosen is heeded."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
import shlex
from pathlib import Path

import botocore
import pytest

import penstock
from penstock.app import component_settings
from penstock.application import Settings
from penstock.cli import serve
from penstock.cli.exits import Exit
from penstock.cli.main import main
from penstock.fleet.settings import FleetSettings

SOURCE = Path(penstock.__file__).parent
VALUES = {  # where a plain 7 is not valid
    "account": "7" * 12,
    "private_networks": "10.0.0.0/8",
    "egress_networks": "10.0.0.0/8",
    "metric_socket_dirs": "/run/haproxy",
    "database": "postgresql://localhost/x",
    "keep_events": "8",  # 7 is the default
    "objects": "s3://bucket",
    "public_url": "http://y",
    "mail_from": "ci@example.org",
    "rotation_commands": "renew=/opt/renew",
    "sign_in_issuer": "https://issuer.example",
    "sign_in_scopes": "openid profile",
}
FIELDS = [field.name for kind in (Settings, *component_settings()) for field in dataclasses.fields(kind)]


@functools.cache
def read_somewhere() -> set[str]:
    reading = re.compile(r"\b(?:settings|self|wanted|of\(\w+\))(?=\.(\w+))")
    sources = (path.read_text() for path in SOURCE.rglob("*.py") if path != SOURCE / "cli" / "serve.py")
    return {name for source in sources for name in reading.findall(source)}


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_read_by_somebody(name):
    assert name in read_somewhere()


@pytest.mark.parametrize("command", ["up", "server", "worker"])
def test_every_option_arrives_in_the_settings(command, tmp_path):
    (tmp_path / "token").write_text("a-token-of-some-length")
    values = VALUES | {
        "metrics_token": str(tmp_path / "token"),
        "otlp_endpoint": "http://127.0.0.1:4318",
        "sign_in_client_secret": str(tmp_path / "token"),
        "smtp_password": str(tmp_path / "token"),
        "egress_ca_file": str(Path(botocore.__file__).with_name("cacert.pem")),
        "smtp_ca_file": str(Path(botocore.__file__).with_name("cacert.pem")),
    }
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, command)
    parser.set_defaults(command=command)
    required = ["--public-url", "http://x"] if command == "worker" else []
    plain = dataclasses.asdict(serve.settings_of(parser.parse_args(required)))
    for action in parser._actions:
        if action.dest in ("help", "command", "verbose"):
            continue
        value = (
            []
            if action.nargs == 0
            else [str(list(action.choices)[-1]) if action.choices else values.get(action.dest, "7")]
        )
        given = parser.parse_args([*required, action.option_strings[0], *value])
        assert dataclasses.asdict(serve.settings_of(given)) != plain, action.dest


def test_a_worker_of_a_site_takes_only_its_jobs(tmp_path):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, "worker")
    parser.set_defaults(command="worker")
    settings = serve.settings_of(parser.parse_args(["--public-url", "http://x", "--site", "eu-west-1"]))
    assert (settings.site, settings.works, settings.serves) == ("eu-west-1", True, False)


def test_a_worker_answers_about_itself_where_it_is_told_to():
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, "worker")
    parser.set_defaults(command="worker")
    plain = serve.settings_of(parser.parse_args(["--public-url", "http://x"]))
    told = serve.settings_of(parser.parse_args(["--public-url", "http://x", "--metrics-port", "9469"]))
    assert [(one.host, one.port) for one in (plain, told)] == [("127.0.0.1", 0), ("127.0.0.1", 9469)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--account", "abc"),
        ("--sign-in-issuer", "http://issuer.example"),
        ("--sign-in-scopes", "email"),
        ("--session-hours", "0"),
        ("--session-idle-minutes", "-5"),
        ("--region", "US East"),
        ("--also-region", "x_y"),
        ("--workers", "0"),
        ("--builds", "-1"),
        ("--port", "99999"),
        ("--port", "http"),
        ("--port", "\u0663"),  # a digit for Python
        ("--public-url", "penstock.example.com"),
        ("--public-url", "http://host:port"),
        ("--database", "junk"),
        ("--database", "mysql://user:secret@host/name"),
    ],
)
def test_an_option_that_would_make_a_useless_server_refused_with_a_reason(capsys, option, value):
    with pytest.raises(SystemExit) as refused:
        main(["up", option, value])
    assert refused.value.code == Exit.USAGE
    said = capsys.readouterr().err
    assert f"argument {option}: " in said
    assert "secret" not in said


def test_a_site_that_is_not_served_here_is_refused(capsys):
    assert main(["up", "--site", "mars-1", "--also-region", "eu-west-1"]) == Exit.USAGE
    assert "mars-1" in capsys.readouterr().err


def test_records_of_what_is_no_account_are_not_looked_for(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["audit", "export", "--account", "12"])
    assert refused.value.code == Exit.USAGE
    assert "argument --account: '12' is no account" in capsys.readouterr().err


def test_a_token_file_is_read_and_never_shown(tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text("a-token-of-some-length\n")
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, "up")
    parser.set_defaults(command="up")
    settings = serve.settings_of(parser.parse_args(["--metrics-token-file", str(file)]))
    token = settings.of(FleetSettings).metrics_token
    assert token == "a-token-of-some-length"
    assert token not in repr(settings)
    for content, why in (
        (b"short", "holds no token"),
        (b"two words in one line", "holds no token"),
        (b"\xff" * 20, "it is no text"),
        (None, "No such file"),
    ):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SystemExit):
            parser.parse_args(["--metrics-token-file", str(file)])
        assert why in capsys.readouterr().err


def test_the_lines_of_the_banner_work_in_any_folder_and_without_our_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    banner = serve._banner("http://127.0.0.1:8470", tmp_path / "my data")
    line = next(line for line in banner.splitlines() if "sign in" in line)
    program, *arguments = shlex.split(line.partition("sign in")[2])
    assert Path(program).is_absolute()
    assert arguments == ["user", "add", "NAME", "--admin", "--data-dir", str(tmp_path / "my data")]
