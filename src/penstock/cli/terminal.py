"""What our commands print: short lines, coloured only on a terminal that takes colour.

Much of it was written by others: logs, names, reasons. On a terminal nothing in it can act, hide or turn text round; colours are kept.
A pipe gets every byte as it is.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import shutil
import sys
import unicodedata
from pathlib import Path
from typing import TextIO

_COLOURS = {"green": "32", "red": "31", "amber": "33", "blue": "34", "violet": "35", "dim": "2", "bold": "1"}

# Colours and weights of ECMA-48 (SGR). Its code 8 hides text.
_CODE = r"(?:0?[0-79]|2[1-7]|29|3[0-79]|4[0-79]|9[0-7]|10[0-7]|[34]8;5;\d{1,3}|[34]8;2;\d{1,3};\d{1,3};\d{1,3})"
_KEPT = re.compile(rf"\t|\033\[(?:{_CODE}(?:;{_CODE}){{0,16}})?m")


def coloured() -> bool:
    """Whether stdout is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """`text` in a colour, where that is wanted."""
    return f"\033[{_COLOURS[colour]}m{text}\033[0m" if coloured() else text


def harmless(text: str) -> str:
    """Text that others chose, for a line of a terminal: characters that would act, hide or turn it round are written as escapes."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    # Emoji and some scripts need joiners. Other format characters turn the direction round or cannot be seen.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\u200c\u200d"


def say(text: str = "") -> None:
    """Print lines now, even through a pipe."""
    print(_printable(text, sys.stdout), flush=True)


def complain(text: str) -> None:
    """Print lines to stderr."""
    print(_printable(text, sys.stderr), file=sys.stderr, flush=True)


def _printable(text: str, stream: TextIO) -> str:
    if not stream.isatty() or text.isprintable():
        return text
    return "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    """A line for a terminal: of what is not plain text, tabs and colours stay. Colours end with it."""
    plain = not coloured()
    parts = []
    at = 0
    for kept in _KEPT.finditer(line):
        parts += [harmless(line[at : kept.start()]), "" if plain and kept[0] != "\t" else kept[0]]
        at = kept.end()
    parts.append(harmless(line[at:]))
    ends = "\033[0m" if any(part.startswith("\033[") for part in parts) and not line.endswith("\033[0m") else ""
    return "".join(parts) + ends


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
