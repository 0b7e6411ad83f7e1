"""The operator's command for a step of a rotation: what it is given, what is kept of what it says, and that it does not outlive its server."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import urllib.parse
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from penstock_waiting import until

import penstock.secrets
from penstock.cli import serve
from penstock.cli.main import main
from penstock.secrets import command
from penstock.secrets.functions import CommandsMissing
from penstock.secrets.settings import SecretSettings, program_missing

EVENT = {"Step": "testSecret", "SecretId": "arn", "ClientRequestToken": "t"}


def script(text):
    return ["/bin/sh", "-c", text]


async def test_a_command_gets_the_event_and_nothing_of_the_server(monkeypatch):
    monkeypatch.setenv("PENSTOCK_OF_THE_SERVER", "secret")
    ended = await command.run(script("cat; env; echo wrong >&2; exit 3"), EVENT, {"AWS_REGION": "eu-west-1"})
    assert ended.why == "ended with exit code 3"
    first, *rest = ended.output.splitlines()
    assert json.loads(first) == EVENT
    assert "AWS_REGION=eu-west-1" in rest
    assert rest[-1] == "wrong"
    assert "PENSTOCK" not in ended.output
    missing = await command.run(["/nowhere/renew"], EVENT, {})
    assert missing.why
    assert missing.output == "/nowhere/renew cannot be run: No such file or directory\n"
    # It need not read, and of much output the complete lines at the beginning are kept.
    loud = await command.run(script("exec <&-; yes long-line | head -c 1000000"), EVENT, {})
    assert loud.why == ""
    assert len(loud.output) < 66_000
    assert loud.output.endswith("long-line\nThe rest of the output is not kept.\n")
    killed = await command.run(script("kill -9 $$"), EVENT, {})
    assert killed.why == "was ended by the signal 9"


def test_a_program_that_is_not_there_is_named(tmp_path, monkeypatch):
    """As it would be run: in the root folder, along the path that a command gets."""
    program, plain = tmp_path / "renew", tmp_path / "plain"
    for file, mode in ((program, 0o700), (plain, 0o600)):
        file.touch(mode=mode)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for there in (str(program), "renew", str(program)[1:], f"'{program}' with words"):
        assert program_missing(f"name={there}") == ""
    for missing in ("/nowhere/renew", "renew2", "./renew", str(plain), str(tmp_path)):
        assert program_missing(f"{'1' * 12}:name={missing} 'x'").startswith(
            f"the program {missing} of --rotation-command name is not there, or may not be run by this user"
        )


async def test_a_process_that_works_does_not_start_without_its_programs():
    chosen = SecretSettings(rotation_commands=("aa=/nowhere/a", f"bb={sys.executable}", "cc=/nowhere/c"))
    for works in (True, False):
        app = SimpleNamespace(settings=SimpleNamespace(works=works, of=lambda kind: chosen))
        (check,) = penstock.secrets.component(app).start
        if works:
            with pytest.raises(CommandsMissing, match=r"/nowhere/a of .*; .*/nowhere/c of "):
                await check()
        else:
            await check()  # workers may have them


def test_a_start_without_a_program_says_so(capsys, monkeypatch):
    async def ends(_settings):
        raise CommandsMissing("the program /nowhere is not there")

    monkeypatch.setattr(serve, "_to_the_end", ends)
    monkeypatch.setattr(serve, "structured_logs", lambda **_: None)
    monkeypatch.setattr(serve.gc, "set_threshold", lambda *_: None)
    monkeypatch.setattr(serve.os, "umask", lambda _: None)
    monkeypatch.setattr(serve.sys, "setswitchinterval", lambda _: None)
    assert main(["up", "--rotation-command", "renew=/nowhere"]) == 1
    assert capsys.readouterr().err == "penstock: the program /nowhere is not there\n"


async def test_a_command_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(command, "SECONDS", 0.5)
    marked = f"exec sleep 600 # {uuid.uuid4()}"
    ended = await command.run(script(marked), EVENT, {})
    assert ended.why.startswith("took longer than")
    assert not [line for line in _command_lines() if marked.encode() in line]


def test_a_command_ends_when_its_server_is_killed(tmp_path):
    """Else the step would run twice at a time: the job of a killed server is taken by another one."""
    said = tmp_path / "pid"
    step = script(f"echo $$ > {said}.new; mv {said}.new {said}; exec sleep 600")
    text = f"import asyncio; from penstock.secrets import command; asyncio.run(command.run({step}, {{}}, {{}}))"
    server = subprocess.Popen([sys.executable, "-c", text])
    try:
        until(said.exists)
        pid = int(said.read_text())
        server.send_signal(signal.SIGKILL)
        server.wait()
        until(lambda: not _runs(pid))
    finally:
        server.kill()
        server.wait()


def _command_lines():
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield file.read_bytes()


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        (b"a\n" + b"x" * 65_534, b"a\n" + b"x" * 65_534),
        (b"a\n" + b"x" * 65_535, b"a\nThe rest of the output is not kept.\n"),
        (b"x" * 65_535 + b"\n" + b"y", b"x" * 65_535 + b"\nThe rest of the output is not kept.\n"),
        (b"x" * 65_537, b"The rest of the output is not kept.\n"),
        (b"\xff\0", "\N{REPLACEMENT CHARACTER}".encode() * 2),
    ],
)
def test_what_is_kept_of_an_output_ends_with_a_line(output, kept):
    assert command._text(bytearray(output)) == kept.decode()


@pytest.mark.parametrize(
    ("output", "values", "shown"),
    [
        ("it is hush\n", ["hush"], "it is ***\n"),
        ("it is hush\n", ['{"user": "app", "password": "hush", "port": 5432}'], "it is ***\n"),
        ("app 5432 deep", ['{"a": {"user": "app"}, "b": ["deep", 5432, true, null]}'], "*** *** ***"),
        ("-----BEGIN\nabcdefgh\n", ["-----BEGIN KEY\nabcdefgh\n-----END KEY"], "-----BEGIN\n***\n"),
        ("longer long", ["long", "longer"], "*** ***"),
        ("a b ok", ["a", "", "{}", '"b"'], "a b ok"),
        ("line one\nline two", ["line one\nline two"], "***"),
    ],
)
def test_values_are_hidden(output, values, shown):
    assert command.hidden(output, values).replace("HIDDEN_DUE_TO_SECURITY_REASONS", "***") == shown


@pytest.mark.parametrize(
    "secret", ["a\"b\\c'd", 'say "it" twice', "it's so", "d\u00fcr&m\u00e9+x y", "C:\\dir\tx", "p@ss:w/rd"]
)
@pytest.mark.parametrize("binary", [False, True])
def test_values_are_hidden_as_programs_print_what_they_are_in(secret, binary):
    """A program that prints what GetSecretValue answers it prints the password with the escapes of JSON, of Python, or of both."""
    value = json.dumps({"user": "app", "password": secret})
    answer = {"SecretBinary": value.encode()} if binary else {"SecretString": value}
    shown = [
        repr(answer),
        f"postgresql://app:{urllib.parse.quote(secret, safe='')}@db",
        secret,
        repr(secret),
        json.dumps([secret]),
    ]
    if not binary:
        shown += [
            json.dumps(answer),
            json.dumps(answer, ensure_ascii=False),
            repr(json.loads(value)),
            json.dumps(value),
        ]
    for output in shown:
        seen = command.hidden(output, [value])
        assert secret[-3:] not in seen, output
        assert secret[:3] not in seen, output
