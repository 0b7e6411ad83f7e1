"""What our commands print: short lines, coloured only on a terminal that takes colour."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import shutil
import sys
from pathlib import Path

_COLOURS = {"green": "32", "red": "31", "amber": "33", "blue": "34", "violet": "35", "dim": "2", "bold": "1"}


def coloured() -> bool:
    """Whether stdout is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """`text` in a colour, where that is wanted."""
    return f"\033[{_COLOURS[colour]}m{text}\033[0m" if coloured() else text


def harmless(text: str) -> str:
    """Text that others chose, for a line of a terminal: characters that would act, hide or turn it round are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str = "") -> None:
    """A line now, even through a pipe."""
    print(text, flush=True)


def program(name: str) -> str:
    """How a shell calls a program: by name when it is on PATH, else from the folder of this Python."""
    return name if shutil.which(name) else shlex.quote(str(Path(sys.executable).with_name(name)))


def step(text: str, at: dt.datetime | None = None) -> None:
    """A line with a time of day before it, in the viewer's zone: when it happened (`at`), or now."""
    moment = (at or dt.datetime.now(dt.UTC)).astimezone()
    say(f"{paint(f'{moment:%H:%M:%S}', 'dim')}  {text}")


def lasted(seconds: float) -> str:
    """A duration as people say it: `0.4 s`, `12 s`, `2 min 32 s`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
