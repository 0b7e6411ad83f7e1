"""The command line in process: what it answers, how a command ends, what a server does to its process, how it logs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_commands import options

from penstock.cli import (
    completion,
    docs,
    env,
    logs,
    main,
    serve,
    terminal,
)
from penstock.cli.exits import Exit
from penstock.store.errors import StoreUnavailable
from penstock.store.sealing import SealError

pytestmark = pytest.mark.usefixtures("plain")

_SHORT_FILE = Path(__file__).parents[2] / "examples" / "hello-web" / "VERSION"


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        ([], 1, "", "commands:"),
        (["version"], 0, "penstock ", ""),
        (["--version"], 0, "penstock ", ""),
        (["help"], 0, "commands:", ""),
        (["help", "env"], 0, "usage: penstock env", ""),
        (["sttus"], 1, "", "there is no command 'sttus'. Did you mean status?\nHelp: penstock help\n"),
        (["zzz"], 1, "", "there is no command 'zzz'\nHelp: penstock help\n"),
        (["env", "--dta-dir", "x"], 1, "", "penstock env: unrecognized argument: --dta-dir. Did you mean --data-dir?\nHelp: penstock help env\n"),
        (["--nothing"], 1, "", "unrecognized argument: --nothing"),
    ],
)  # fmt: skip
def test_what_a_line_is_answered(capsys, arguments, code, out, err):
    try:
        ended: Any = main.main(arguments)
    except SystemExit as ending:
        ended = ending.code
    said = capsys.readouterr()
    assert ended == code
    assert out in said.out
    assert err in said.err
    assert bool(said.out) is bool(out)


def test_how_a_command_ends(monkeypatch):
    ends: list[Any] = [0, KeyboardInterrupt(), BrokenPipeError()]

    def run(_options):
        assert gc.isenabled()
        end = ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    monkeypatch.setattr(env, "run", run)
    dupped = []
    disk = {"dup2": lambda one, two: dupped.append((one, two)), "open": lambda *_: 5, "devnull": "", "O_WRONLY": 1}
    monkeypatch.setattr(main, "os", SimpleNamespace(**disk))
    monkeypatch.setattr(main, "sys", SimpleNamespace(stdout=SimpleNamespace(fileno=lambda: 77)))
    assert [main.main(["env"]) for _ in range(3)] == [0, Exit.STOPPED, Exit.STOPPED]
    assert dupped == [(5, 77)]
    gc.unfreeze()  # what main froze, so that it is seen whether something is left open
    gc.collect()
    gc.freeze()  # again, what was imported


def test_words_that_are_near_one():
    assert main.meant("stat", ["status"]) == ". Did you mean status?"
    assert main.meant("s", ["status"]) == ""


@pytest.mark.parametrize(
    ("shell", "first", "count"), [("bash", "_penstock() {", None), ("zsh", "autoload -U +X bashcompinit", None), ("fish", "complete -c penstock -n '__fish_use_subcommand' -a up", None)]
)  # fmt: skip
def test_scripts_that_complete(capsys, shell, first, count):
    assert completion.run(options(shell=shell)) == Exit.DONE
    printed = capsys.readouterr().out
    assert printed.startswith(first)
    assert "data-dir" in printed
    assert "--lease" not in printed
    assert "-l lease" not in printed
    assert completion._quoted("it's") == "'it\\'s'"
    assert completion._completions(main.parser_of("user")).count("--data-dir") == 1
    assert {"add", "link", "--admin"} <= set(completion._completions(main.parser_of("user")))
    assert completion._completions(main.parser_of("completion"))[1:] == ["bash", "zsh", "fish"]


def serving(command: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, command)
    parser.set_defaults(command=command)
    return parser.parse_args(arguments)


def test_settings_when_nothing_is_said(tmp_path):
    for command, more in (("up", []), ("server", []), ("worker", ["--public-url", "http://x"])):
        given = serve.settings_of(serving(command, *more))
        assert (given.serves, given.works) == (command != "worker", command != "server")
        assert (given.account, given.region, given.regions, given.notify, given.lease_ms) == ("111111111111", "us-east-1", (), True, 30_000)  # fmt: skip
        assert (given.source_entries, given.source_gib, given.source_ratio) == (200_000, 16, 400)
        assert (given.keep_jobs_ms, given.keep_events_ms, given.keep_history_ms, given.keep_dead_letters_ms) == (86_400_000, 604_800_000, 31_622_400_000, 1_209_600_000)  # fmt: skip
        assert (given.port, given.workers, given.tls, given.site) == (0 if command == "worker" else 8470, 8, False, "")
        assert given.host == "127.0.0.1"
        assert given.master_key_file == Path.home() / ".config" / "penstock" / "master.key"
        assert given.data_dir == Path("penstock-data").absolute()


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("up", ["--site", "mars"], "penstock up: --site mars is none of the regions served here"),
        (
            "server",
            [],
            "penstock server: needs --database postgresql://…; SQLite means exactly one process: penstock up",
        ),
        ("worker", ["--public-url", "http://x"], "penstock worker: needs --database"),
        ("up", ["--tls-cert", "x"], "penstock: --tls-cert and --tls-key go together"),
        ("up", ["--tls-key", "x"], "penstock: --tls-cert and --tls-key go together"),
        (
            "up",
            ["--sign-in-issuer", "https://a.example"],
            "penstock: --sign-in-issuer and --sign-in-client go together",
        ),
        ("up", ["--sign-in-client", "x"], "penstock: --sign-in-issuer and --sign-in-client go together"),
        *(
            ("up", [flag, value], f"penstock: {flag} does nothing without --sign-in-issuer; give both, or neither")
            for flag, value in (
                ("--sign-in-client-secret-file", str(_SHORT_FILE)),
                ("--sign-in-scopes", "openid"),
                ("--sign-in-claim", "sub"),
                ("--sign-in-label", "Acme"),
            )
        ),
    ],
)
def test_servers_that_are_not_started(monkeypatch, capsys, command, arguments, sentence):
    started: list[Any] = []
    monkeypatch.setattr(serve.uvloop, "run", lambda coroutine: started.append(coroutine))
    quiet(monkeypatch)
    assert serve.run(serving(command, *arguments)) == Exit.USAGE
    assert sentence in capsys.readouterr().err
    assert started == []


def quiet(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What a server does to its process is written down instead."""
    done: list[tuple[str, Any]] = []
    monkeypatch.setattr(serve, "sys", SimpleNamespace(stderr=sys.stderr, stdout=sys.stdout, setswitchinterval=lambda value: done.append(("switch", value))))  # fmt: skip
    monkeypatch.setattr(serve, "gc", SimpleNamespace(set_threshold=lambda *values: done.append(("gc", values))))
    monkeypatch.setattr(serve, "os", SimpleNamespace(umask=lambda value: done.append(("umask", value))))
    monkeypatch.setattr(serve, "structured_logs", lambda *, verbose: done.append(("verbose", verbose)))
    return done


def test_what_a_server_does_to_its_process(monkeypatch, capsys):
    done = quiet(monkeypatch)
    faults = [SealError("no"), StoreUnavailable("away")]

    def run(coroutine):
        coroutine.close()
        if faults:
            raise faults.pop(0)
        return 0

    monkeypatch.setattr(serve.uvloop, "run", run)
    given = serving("up", "--region", "eu-west-1", "--site", "eu-west-1")
    assert serve.run(given) == Exit.USAGE
    assert "the data dir's secrets cannot be read with the master key of" in capsys.readouterr().err
    assert serve.run(given) == Exit.USAGE
    assert capsys.readouterr().err == "penstock: away\n"
    assert serve.run(serving("up", "--also-region", "eu-west-2", "--site", "eu-west-2")) == 0
    assert done[:4] == [("switch", 0.0005), ("gc", (20_000, 20, 20)), ("umask", 0o077), ("verbose", False)]


@pytest.mark.parametrize(("terminal_", "serves", "banner"), [(True, True, True), (False, True, False), (True, False, False)])  # fmt: skip
async def test_a_server_serves_until_it_is_told_to_stop(monkeypatch, terminal_, serves, banner):
    class Out(io.StringIO):
        def isatty(self) -> bool:
            return terminal_

    out = Out()
    handlers: dict[Any, Any] = {}
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", handlers.__setitem__, raising=False)
    began = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(_settings):
        began.set()
        yield SimpleNamespace(url="http://here")

    monkeypatch.setattr(serve, "running", running)
    monkeypatch.setattr(serve, "sys", SimpleNamespace(stdout=out))
    monkeypatch.setattr(sys, "stdout", out)
    task = asyncio.ensure_future(serve._serve(SimpleNamespace(serves=serves, data_dir=Path("/d"))))  # type: ignore[arg-type]
    await began.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    assert set(handlers) == {signal.SIGTERM, signal.SIGINT}
    handlers[signal.SIGTERM]()
    assert await task == Exit.DONE
    assert out.getvalue().endswith("penstock ready http://here\n")
    assert ("user add NAME --admin --data-dir /d" in out.getvalue()) is banner


_HANGING = """
import asyncio, threading, time
from penstock.cli import serve

async def done(_settings):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)  # as one that waits for a name server
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return 7

serve._serve, serve._LEFT_S = done, 0.01
asyncio.run(serve._to_the_end(None))
"""


def test_a_thread_that_waits_for_what_does_not_answer_keeps_no_process():
    done = subprocess.run([sys.executable, "-c", _HANGING], timeout=60, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


def test_pages_are_written_when_they_are_stale(tmp_path, monkeypatch, capsys):
    async def pages():
        return {tmp_path / "a" / "x.md": "new\n", tmp_path / "same.md": "same\n"}

    (tmp_path / "same.md").write_text("same\n")
    monkeypatch.setattr(docs, "_pages", pages)
    assert docs.run(options(check=True)) == Exit.FAILED
    assert capsys.readouterr().err == f"out of date: {tmp_path}/a/x.md; run: make docs\n"
    assert docs.run(options(check=False)) == Exit.DONE
    assert capsys.readouterr().out == f"wrote {tmp_path}/a/x.md\n"
    assert docs.run(options(check=True)) == Exit.DONE


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0.0 s"), (0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (60, "1 min 0 s"), (152.9, "2 min 32 s"), (3600, "60 min 0 s")],
)  # fmt: skip
def test_durations_as_people_say_them(seconds, said):
    assert terminal.lasted(seconds) == said


def test_how_a_shell_calls_a_program(monkeypatch):
    monkeypatch.setattr(terminal.shutil, "which", lambda name: "/bin/x" if name == "there" else None)
    monkeypatch.setattr(terminal.sys, "executable", "/a b/python")
    assert (terminal.program("there"), terminal.program("gone")) == ("there", "'/a b/gone'")


@pytest.mark.parametrize(("tty", "no_color", "term", "wanted"), [(True, "", "xterm", True), (False, "", "xterm", False), (True, "1", "xterm", False), (True, "", "dumb", False)])  # fmt: skip
def test_where_colour_is_wanted(monkeypatch, tty, no_color, term, wanted):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(terminal.sys, "stdout", SimpleNamespace(isatty=lambda: tty))
    assert terminal.coloured() is wanted
    assert terminal.paint("x", "red") == ("\033[31mx\033[0m" if wanted else "x")


@pytest.mark.parametrize(("verbose", "ours", "root"), [(True, 10, 20), (False, 20, 30)])
def test_how_much_is_logged_and_how(monkeypatch, verbose, ours, root):
    import logging

    kept = logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("penstock").level
    try:
        for tty, form in ((True, logs._Lines), (False, logs._JsonLines)):
            stream = io.StringIO()
            stream.isatty = lambda tty=tty: tty  # type: ignore[method-assign]
            monkeypatch.setattr(logs.sys, "stderr", stream)
            logs.structured_logs(verbose=verbose)
            [handler] = logging.getLogger().handlers
            assert type(handler.formatter) is form
            assert (logging.getLogger("penstock").level, logging.getLogger().level) == (ours, root)
    finally:
        logging.getLogger().handlers[:] = kept[0]
        logging.getLogger().setLevel(kept[1])
        logging.getLogger("penstock").setLevel(kept[2])


def test_a_line_of_the_log():
    import logging

    record = logging.makeLogRecord({"msg": "a.b", "levelname": "WARNING", "name": "n", "created": 0.0, "job": 7, "path": Path("/x")})  # fmt: skip
    assert json.loads(logs._JsonLines().format(record)) == {
        "at": "1970-01-01T00:00:00.000+00:00", "level": "warning", "logger": "n", "event": "a.b", "job": 7, "path": "/x",
    }  # fmt: skip
    try:
        raise ValueError("bad")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert json.loads(logs._JsonLines().format(record))["trace"].endswith("ValueError: bad")
