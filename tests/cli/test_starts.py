"""Starts that nothing imitates, and that a fork of the starter is a process like those."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_starter import AWS, PENSTOCK, READ_AGAIN, Program, Started, run, start

import penstock

# What a process knows of itself. Started truly and by a fork, with the same arguments, it must say the same.
MIRROR = """
import json, os, signal, sys, threading

if __name__ == "__main__":
    print(json.dumps({
        "argv": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ), "first path": sys.path[0], "input": sys.stdin.read(),
        "leads its session": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "open": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD)],
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "threads": threading.active_count(), "umask": os.umask(0), "main": sys.modules["__main__"].__file__,
        "command line": [word for word in open("/proc/self/cmdline").read().split(chr(0)) if word],
    }))
    print("to standard error", file=sys.stderr)
    sys.exit(7)
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Program:
    path = tmp_path / "mirror.py"
    path.write_text(MIRROR)
    return Program(str(path), PENSTOCK.imports)


def truly(target: list[str], *, env: dict[str, str], cwd: Path, stdin: Path) -> subprocess.CompletedProcess[str]:
    with stdin.open() as file:
        return subprocess.run(
            [sys.executable, *target], env=env, cwd=cwd, stdin=file, capture_output=True, text=True, check=False,
            timeout=60, start_new_session=True, umask=0o027,
        )  # fmt: skip


def test_a_fork_is_a_process_as_one_that_was_started(mirror: Program, tmp_path: Path):
    (tmp_path / "input").write_text("a line")
    env = {name: os.environ[name] for name in os.environ if name.startswith("PYTHON")} | {
        "LC_ALL": "C.UTF-8",
        "A": "b c",
    }
    started = truly([mirror.target, "one", "--two"], env=env, cwd=tmp_path, stdin=tmp_path / "input")
    with (tmp_path / "input").open() as file:
        forked = run(mirror, "one", "--two", env=env, cwd=tmp_path, stdin=file, umask=0o027)
    assert (forked.returncode, forked.stderr) == (started.returncode, started.stderr) == (7, "to standard error\n")
    assert json.loads(forked.stdout) == json.loads(started.stdout)
    assert json.loads(forked.stdout)["leads its session"]


# How a process may end, and what it still has to do then.
ENDS = {
    "by itself": "",
    "with a code": "sys.exit(7)",
    "with none": "sys.exit()",
    "with a large one": "sys.exit(263)",
    "with a sentence": "sys.exit('what went wrong')",
    "with an error": "raise ValueError('bad')",
    "interrupted": "signal.signal(signal.SIGINT, signal.default_int_handler); os.kill(os.getpid(), signal.SIGINT)",
    "by a thread": "threading.Thread(target=lambda: (threading.main_thread().join(), print('later'))).start()",
    "with work left": "atexit.register(print, 'at exit'); concurrent.futures.ThreadPoolExecutor(1).submit(print, 'in a thread')",
    "unheard": "os.close(1); print('x' * 9)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_fork_ends_as_one_that_was_started(end: str, tmp_path: Path):
    path = tmp_path / "ending.py"
    path.write_text(f"import atexit, concurrent.futures, os, signal, sys, threading\nprint('said')\n{end}\n")
    (tmp_path / "input").write_text("")
    started = truly([str(path)], env=dict(os.environ), cwd=tmp_path, stdin=tmp_path / "input")
    forked = run(Program(str(path), PENSTOCK.imports), cwd=tmp_path)
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_what_a_start_imports_was_imported_before_the_fork(tmp_path: Path):
    """Otherwise each of a thousand starts takes three times as long, and nobody notices."""
    script = tmp_path / "look.py"
    script.write_text(
        "import sys\nknown = set(sys.modules)\nfrom penstock.cli.main import parser_of\nparser_of('up')\n"
        "from penstock.app import every_component\nevery_component()\nprint(*sorted(set(sys.modules) - known))\n"
        "print(*sorted({'webauthn', 'segno'} & set(sys.modules)))\n"
    )
    started, of_few_requests, *_ = run(Program(str(script), PENSTOCK.imports)).stdout.split("\n")
    assert of_few_requests == ""
    imported = started.split()
    assert [name for name in imported if not name.startswith("penstock.sandbox.")] == ["penstock.cli.main"]


def by_script(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([str(Path(sys.executable).with_name("penstock")), *arguments], **streams)


def by_module(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    """With a line on standard error for each module that it imports."""
    return subprocess.Popen([sys.executable, "-X", "importtime", "-m", "penstock.cli.main", *arguments], **streams)


def by_fork(*arguments: str, **streams: Any) -> Started:
    return start(PENSTOCK, *arguments, **streams)


# What a server imports when it first needs it. All of a start's time is imports.
NO_START_NEEDS = (
    "alembic", "boto", "cryptography.hazmat.primitives.serialization.pkcs7", "jinja2", "jwt", "penstock.store.postgresql", "psycopg",
    "segno", "sqlalchemy.dialects.postgresql", "webauthn", "yaml",
)  # fmt: skip


@pytest.mark.parametrize("starting", [by_script, by_module, by_fork])
def test_a_server_dies_at_its_crash_point_then_starts_answers_and_ends(starting: Any, tmp_path: Path):
    options = ("up", "--data-dir", "data", "--master-key-file", "master.key", "--port", "0")
    with (tmp_path / "log").open("wb") as log:
        armed = os.environ | {"PENSTOCK_CRASH_POINT": "store.before_commit:2"}
        dying = starting(*options, cwd=tmp_path, env=armed, stdout=log, stderr=log)
        assert dying.wait(60) == -signal.SIGKILL
        process = starting(*options, cwd=tmp_path, env=dict(os.environ), stdout=subprocess.PIPE, stderr=log)
    assert b"crash point store.before_commit\n" in (tmp_path / "log").read_bytes()
    assert process.stdout is not None
    with process.stdout:
        ready, url = process.stdout.readline().decode().rsplit(" ", 1)
        assert ready == "penstock ready"
        with urllib.request.urlopen(f"{url.strip()}/readyz", timeout=60) as answer:
            assert answer.status == 200
        if starting is by_module:
            imported = re.findall(r"^import time: .*\| +(\S+)$", (tmp_path / "log").read_text(), re.MULTILINE)
            assert "penstock.app" in imported
            assert [name for name in imported if name.startswith(NO_START_NEEDS)] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout.read() == b""


@pytest.mark.parametrize("arguments", [("sts", "get-caller-identity"), ("s3api", "head-bucket", "--bucket", "nobodys")])
def test_the_aws_cli_in_a_fork_says_what_it_says_when_started(live, arguments):
    env = live.environment()
    started = subprocess.run([AWS.target, *arguments], env=env, capture_output=True, text=True, check=False)
    forked = run(AWS, *arguments, env=env)
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def test_what_an_interpreter_reads_before_it_runs_is_not_pretended():
    with pytest.raises(ValueError, match="PYTHONHASHSEED is read when an interpreter starts"):
        run(PENSTOCK, "--version", env=os.environ | {"PYTHONHASHSEED": "1"})


def test_every_module_that_looks_at_the_environment_when_it_is_imported_is_known():
    """A fork would see the environment of the process that imported it."""
    root = Path(penstock.__file__).parent

    def reads_environment(path: Path) -> bool:
        body = [
            node
            for node in ast.parse(path.read_text()).body
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        named = {
            node.attr for statement in body for node in _run_on_import(statement) if isinstance(node, ast.Attribute)
        }
        return bool(named & {"environ", "environb", "getenv"})

    found = {
        ".".join(path.relative_to(root.parent).with_suffix("").parts)
        for path in root.rglob("*.py")
        if "supervisor" not in path.parts and reads_environment(path)  # the supervisor is a program of its own
    }
    assert found == {name for name in READ_AGAIN if name.startswith("penstock.")}


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _run_on_import(child)
