"""Git's pkt-lines: what a push asks for, and how it is refused with a message that git shows. Pure.

(git: Documentation/gitprotocol-pack, "Reference Update Request And Packfile Transfer", "Report Status".)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from penstock.repositories import names

MAX_COMMANDS = 10_000  # of one push
_LINE = 65_520
_BAND = _LINE - 5  # payload of a side-band packet
_COMMAND = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) (.+)")
ABSENT = "0" * 40


class BadPush(Exception):
    """The request is not a push that can be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """One reference that a push wants changed; ABSENT stands for a reference that is not there."""

    old: str
    new: str
    reference: bytes

    def complaint(self) -> str:
        """Why this reference cannot be written; "" when it can."""
        try:
            name = self.reference.decode()
        except UnicodeDecodeError:
            return "reference name is not UTF-8"
        if not names.is_reference(name):
            return "reference name is not allowed"
        kind, short = names.kind_of(name)
        if kind == "branch" and self.new != ABSENT and not names.is_branch_name(short):
            return "branch name is not allowed"
        return ""


@dataclass(frozen=True, slots=True)
class Push:
    """The commands of a push, and what its client can read."""

    commands: tuple[Command, ...]
    capabilities: frozenset[str]

    def refusal(self, reasons: dict[bytes, str], otherwise: str) -> bytes:
        """The report of a push that changed nothing: each reference's own reason, or `otherwise`."""
        if not self.capabilities & {"report-status", "report-status-v2"}:
            return b""
        lines = [pkt(b"unpack ok\n")]
        for command in self.commands:
            reason = reasons.get(command.reference, otherwise).replace("\n", " ")
            lines.append(pkt(b"ng " + command.reference + b" " + reason.encode() + b"\n"))
        report = b"".join((*lines, b"0000"))
        if "side-band-64k" not in self.capabilities:
            return report
        banded = (pkt(b"\x01" + report[at : at + _BAND]) for at in range(0, len(report), _BAND))
        return b"".join((*banded, b"0000"))


def pkt(payload: bytes) -> bytes:
    """One pkt-line."""
    return b"%04x" % (len(payload) + 4) + payload


def read_push(body: IO[bytes]) -> Push:
    """The commands at the head of a receive-pack request. Raises BadPush."""
    commands: list[Command] = []
    capabilities: frozenset[str] = frozenset()
    for number, line in enumerate(_lines(body)):
        if len(commands) >= MAX_COMMANDS:
            raise BadPush(f"a push may change {MAX_COMMANDS} references at most")
        content, _, offered = line.partition(b"\0")
        if number == 0:
            capabilities = frozenset(offered.decode("ascii", "replace").split())
        content = content.rstrip(b"\n")
        if content.startswith(b"shallow "):
            continue
        found = _COMMAND.fullmatch(content)
        if found is None:
            raise BadPush("the list of references cannot be read")
        commands.append(Command(found[1].decode(), found[2].decode(), found[3]))
    return Push(tuple(commands), capabilities)


def _lines(body: IO[bytes]) -> Iterator[bytes]:
    """Payloads up to the flush packet; nothing at all for an empty body."""
    while True:
        head = body.read(4)
        if head == b"0000" or not head:
            return
        try:
            size = int(head, 16) if len(head) == 4 else 0
        except ValueError:
            size = 0
        if not 4 < size <= _LINE:
            raise BadPush("the list of references cannot be read")
        payload = body.read(size - 4)
        if len(payload) != size - 4:
            raise BadPush("the request ends in the middle of its list of references")
        yield payload
