"""What commands print of what others wrote: on a terminal it cannot act, and a pipe gets it as it is."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.cli import logs, telling, terminal

CLI = Path(terminal.__file__).parent
# env prints shell lines for eval, docs writes pages, and serve prints its own sentences.
OWN_WORDS = {"env.py", "docs.py", "serve.py", "terminal.py"}

HARMFUL = {
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b]52;c;cm0gLXJm\x07": r"\x1b]52;c;cm0gLXJm\x07",  # the clipboard
    "\x1b]8;;http://evil\x1b\\click": r"\x1b]8;;http://evil\x1b\click",
    "\x1b[2J\x1b[H": r"\x1b[2J\x1b[H",
    "\x1b[8mhidden": r"\x1b[8mhidden",
    "\x1b[1;8mhidden": r"\x1b[1;8mhidden",
    "\x1b[?1049h": r"\x1b[?1049h",
    "\x1bc": r"\x1bc",
    "\x1b": r"\x1b",
    "\x9b31m": r"\x9b31m",
    "failed\rsucceeded": r"failed\rsucceeded",
    "a\bb\x00\x7f": r"a\x08b\x00\x7f",
    "abc\u202edef": r"abc\u202edef",
    "a\u2066b\u200bc\ufeffd\u00ade": r"a\u2066b\u200bc\ufeffd\xade",
    "one\u2028two": r"one\u2028two",
    "\U000e0041": r"\U000e0041",
    "\ud800": r"\ud800",
}
HARMLESS = ["plain", "", "two\nlines\n", "a\ttab", "Grüße \u3000 日本 \u00a0 👩\u200d💻 می\u200cخواهم", "e\u0301"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


def answer(text: str, how: Callable[[str], None] = terminal.say, stream: io.StringIO | None = None) -> str:
    """What a terminal, or another stream, gets."""
    stream = stream or Terminal()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        how(text)
    return stream.getvalue()


@pytest.mark.parametrize("written", HARMFUL)
def test_nothing_acts_on_a_terminal(written: str):
    for how in (terminal.say, terminal.complain):
        assert answer(written, how) == HARMFUL[written] + "\n"


@pytest.mark.parametrize("written", HARMLESS)
def test_text_stays_as_it_is(written: str):
    assert answer(written) == written + "\n"


def test_colours_stay_and_end_with_their_line(monkeypatch: pytest.MonkeyPatch):
    assert answer("\x1b[1;31merror\x1b[0m") == "\x1b[1;31merror\x1b[0m\n"
    many = "\x1b[38;5;208mnpm\x1b[m: \x1b[48;2;1;2;3mx\x1b[2J\ny"
    assert answer(many) == "\x1b[38;5;208mnpm\x1b[m: \x1b[48;2;1;2;3mx\\x1b[2J\x1b[0m\ny\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert answer("\x1b[1;31merror\x1b[0m") == "error\n"


def test_long_lines_cost_no_more_than_their_length():
    assert len(answer("\x1b[" + "1;" * 200_000)) == 400_000 + len("\\x1b[") + 1


@pytest.mark.parametrize("written", [*HARMFUL, *HARMLESS])
def test_a_pipe_gets_every_byte(written: str):
    assert answer(written, stream=io.StringIO()) == written + "\n"


def test_what_hosts_and_builds_say_is_one_row_of_follow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    rows = answer("bad\x1b[2J news\n12:00:00  run succeeded", lambda text: telling.Lines().detail("log", text)).split(
        "\n"
    )
    assert rows == [r"          │ bad\x1b[2J news", "          │ 12:00:00  run succeeded", ""]


def test_the_log_of_the_server_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    record = logging.makeLogRecord({"msg": "a.b\x1b[2J", "levelname": "INFO", "reason": "x\r\x1b]0;t\x07\ny"})
    try:
        raise ValueError("bad\x1b[2J")
    except ValueError:
        record.exc_info = sys.exc_info()
    line, *trace = logs._Lines().format(record).split("\n")
    assert line.endswith(r"a.b\x1b[2J  reason=x\r\x1b]0;t\x07\ny")
    assert trace[-1] == r"ValueError: bad\x1b[2J"


@pytest.mark.parametrize(
    "path", sorted(path.relative_to(CLI).as_posix() for path in CLI.rglob("*.py") if path.name not in OWN_WORDS)
)
def test_every_command_prints_through_say(path: str):
    calls = [node for node in ast.walk(ast.parse((CLI / path).read_text())) if isinstance(node, ast.Call)]
    assert [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"] == []
