"""Logs of builds: read in order from CloudWatch Logs, numbered, and told apart by the phases that they announce."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from penstock.webpages.plaintext import painted, without_colours
from penstock.webpages.view import View
from penstock.wire.errors import AccessDenied, NotImplementedOperation, ServiceError

FIRST = "DOWNLOAD_SOURCE"  # what is logged before any phase is announced
_STAMPED = re.compile(r"\[Container\] \S+ \S+ (.*)", re.DOTALL)
_ENTERING = re.compile(r"Entering phase ([A-Z_]{1,32})\s*$")
_COMMAND = re.compile(r"Running command (.*)", re.DOTALL)
_CURSOR = re.compile(r"(\d{1,9})\.([A-Z_]{1,32})\.([\x21-\x7e]{0,500})")
_PAGE = 10_000  # events of a page of GetLogEvents
_STEP = 1_000  # events of one look of a live log
_PAGES = 50  # what a first page reads at most: half a million lines
_HEAD, _TAIL = 500, 4_500  # lines that a first page shows of a long log


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is: the next line's number, the phase it belongs to, and the log's own token."""

    number: int = 1
    phase: str = FIRST
    token: str = ""

    def __str__(self) -> str:
        return f"{self.number}.{self.phase}.{self.token}"

    @classmethod
    def from_cursor(cls, cursor: str) -> Place:
        """What `str` wrote; the beginning when it did not."""
        match = _CURSOR.fullmatch(cursor)
        return cls(int(match[1]), match[2], match[3]) if match else cls()


@dataclass(frozen=True, slots=True)
class Line:
    """One line."""

    number: int
    phase: str
    text: str

    @property
    def html(self) -> str:
        """The line as an element with an address of its own."""
        return f'<div class="line" id="L{self.number}"><a class="ln" href="#L{self.number}">{self.number}</a>{_printable(self.text)}</div>\n'


@dataclass(slots=True)
class Excerpt:
    """What a first page shows: all of a short log, the two ends of a long one."""

    lines: list[Line] = field(default_factory=list)
    left_out: int = 0  # lines between those of `_HEAD` and the rest
    place: Place = Place()
    refusal: str = ""  # why there is nothing to read


def _printable(text: str) -> str:
    match = _STAMPED.match(text)
    if match is None:
        return painted(text) or " "
    command = _COMMAND.match(match[1])
    if command is not None:
        return f'<span class="a-bold">$ {painted(_bare(command[1]))}</span>'
    return f'<span class="a-dim">{painted(_bare(match[1]))}</span>'


def _bare(text: str) -> str:
    return without_colours(text).rstrip()


async def excerpt(view: View, group: str, stream: str) -> Excerpt:
    """The log as a page shows it first."""
    found = Excerpt()
    head: list[Line] = []
    tail: deque[Line] = deque(maxlen=_TAIL)
    count = 0
    try:
        for _ in range(_PAGES):
            lines, found.place, more = await _read(view, group, stream, found.place, _PAGE)
            for line in lines:
                count += 1
                (head if len(head) < _HEAD else tail).append(line)
            if not more:
                break
    except AccessDenied as refused:
        found.refusal = refused.message
    except NotImplementedOperation:
        found.refusal = "This server keeps no logs."
    found.lines = [*head, *tail]
    found.left_out = count - len(found.lines)
    return found


async def further(view: View, group: str, stream: str, place: Place) -> tuple[list[Line], Place, bool]:
    """The next lines of a log that grows, where the next stand, and whether there are more already."""
    return await _read(view, group, stream, place, _STEP)


async def raw(view: View, group: str, stream: str) -> AsyncIterator[bytes]:
    """All of it, as it was written but for what could act in a terminal or a browser."""
    place, more = Place(), True
    while more:
        lines, place, more = await _read(view, group, stream, place, _PAGE)
        yield "".join(f"{without_colours(line.text)}\n" for line in lines).encode()


async def _read(view: View, group: str, stream: str, place: Place, limit: int) -> tuple[list[Line], Place, bool]:
    request = {"logGroupName": group, "logStreamName": stream, "startFromHead": True, "limit": limit}
    if place.token:
        request["nextToken"] = place.token
    try:
        answer = await view.call("logs", "GetLogEvents", **request)
    except ServiceError as error:
        if error.wire_code == "ResourceNotFoundException":  # nothing has been logged yet
            return [], place, False
        raise
    lines: list[Line] = []
    number, phase = place.number, place.phase
    for event in answer["events"]:
        for text in event["message"].rstrip("\n").split("\n"):
            entering = _ENTERING.search(text) if text.startswith("[Container]") else None
            if entering is not None:
                phase = entering[1]
            lines.append(Line(number, phase, text))
            number += 1
    token = answer.get("nextForwardToken", "")
    more = bool(answer["events"]) and bool(token) and token != place.token
    return lines, Place(number, phase, token or place.token), more
