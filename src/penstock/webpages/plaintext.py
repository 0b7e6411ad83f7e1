"""Text from outside as the pages show it: nothing in it can act, hide or turn round. Pure.

Logs, commit messages and names are written by others. HTML is escaped by the templates and by `painted`; here control characters become
visible pictures, bidirectional controls are named, and of terminal sequences only colours are kept, as classes.
"""

from __future__ import annotations

import re
from html import escape
from typing import Final

# C0 without tab and newline, DEL, C1.
_CONTROL: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
# Characters that turn the direction of text round (Unicode TR 9) or cannot be seen at all: they make a line read as what it is not.
_HIDING: Final = "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_UNSAFE: Final = re.compile(f"[{_CONTROL}{_HIDING}]")
# ESC [ … letter | ESC ] … BEL or ST (titles, links) | ESC P, X, ^, _ … ST | ESC and one more character.
_SEQUENCE: Final = re.compile(
    r"\x1b\[([0-9;:]{0,64})([ -/]{0,4}[@-~])|\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]{0,2000}\x1b\\|\x1b[ -~]?"
)
_COLOURS: Final = (
    "",
    "red",
    "green",
    "yellow",
    "blue",
    "magenta",
    "cyan",
    "",
)  # black and white are the page's own ink
LONGEST_LINE: Final = 8_000  # characters of one line that are shown


def harmless(text: str) -> str:
    """Text without characters that act: controls as pictures (␛), bidirectional and invisible ones by name (U+202E)."""
    return _UNSAFE.sub(_named, text) if _UNSAFE.search(text) else text


def _named(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"[U+{code:04X}]"


def without_colours(text: str) -> str:
    """A line without its terminal sequences, made harmless."""
    return harmless(_SEQUENCE.sub("", _last_return(text)))


def painted(text: str) -> str:
    """A line of a log as HTML: colours as classes of the stylesheet, everything else escaped.

    A carriage return in the line begins it anew, as on a terminal (progress bars). Colours end with the line.
    """
    text = _last_return(text)
    left_out = len(text) - LONGEST_LINE
    if left_out > 0:
        text = text[:LONGEST_LINE]
    parts: list[str] = []
    classes: dict[str, str] = {}
    at = 0
    for match in _SEQUENCE.finditer(text):
        _put(parts, text[at : match.start()], classes)
        at = match.end()
        if match[2] == "m":
            _paint(classes, match[1])
    _put(parts, text[at:], classes)
    if left_out > 0:
        parts.append(f'<span class="a-dim"> … {left_out:,} more characters</span>')
    return "".join(parts)


def _last_return(text: str) -> str:
    text = text.rstrip("\r\n")
    return text.rsplit("\r", 1)[1] if "\r" in text else text


def _put(parts: list[str], text: str, classes: dict[str, str]) -> None:
    if not text:
        return
    escaped = escape(harmless(text), quote=False)
    named = " ".join(classes[key] for key in sorted(classes))
    parts.append(f'<span class="{named}">{escaped}</span>' if named else escaped)


def _paint(classes: dict[str, str], codes: str) -> None:
    numbers = [int(code) if code.isdigit() and len(code) <= 3 else 0 for code in codes.replace(":", ";").split(";")]
    at = 0
    while at < len(numbers):
        code = numbers[at]
        at += 1
        if code == 0:
            classes.clear()
        elif code == 1:
            classes["weight"] = "a-bold"
        elif code == 2:
            classes["weight"] = "a-dim"
        elif code == 22:
            classes.pop("weight", None)
        elif code == 39:
            classes.pop("colour", None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            _colour(classes, code % 10, bright=code >= 90)
        elif code in (38, 48):
            # 5;n is one of 256 colours, 2;r;g;b a colour of its own: only the first sixteen have a name on the page.
            kind = numbers[at] if at < len(numbers) else 0
            if kind == 5 and code == 38 and at + 1 < len(numbers) and numbers[at + 1] < 16:
                _colour(classes, numbers[at + 1] % 8, bright=numbers[at + 1] >= 8)
            at += 2 if kind == 5 else 4 if kind == 2 else 1


def _colour(classes: dict[str, str], number: int, *, bright: bool) -> None:
    if number == 0 and bright:
        classes["colour"] = "a-dim"  # bright black is how terminals write grey
    elif _COLOURS[number]:
        classes["colour"] = f"a-{_COLOURS[number]}"
    else:
        classes.pop("colour", None)
