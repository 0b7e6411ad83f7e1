"""Whether the records of an installation are those that were written, and all of them.

What a chain's row says is under a seal, and each line is chained to the one before it. So a line that was changed, removed, added or moved is
named, as is a chain that is missing between others. What came after everything that is there cannot be missed by it: keep the number and the
hash of the newest chain, which `verify` prints, somewhere else.
"""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from penstock import durable
from penstock.audit import records
from penstock.audit.packing import unpack
from penstock.audit.records import Chain, Kept, blocks
from penstock.store.sealing import Sealer, SealError
from penstock.trail import SUFFIX, Line, Unreadable, breaks, first_hash, take_apart

_LOOKS = 3
_LAST = "Calls of its last fifth of a second may have no record"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written."""

    chain: str
    at: int  # ms: the last moment from which all is as it was written; 0 where nothing is
    what: str


@dataclass(slots=True)
class Verified:
    """What was found."""

    chains: int = 0
    lines: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    newest: Chain | None = None
    moving: bool = False  # whether a second look may find less


def verify(conn: sa.Connection, sealer: Sealer, folder: Path) -> Verified:
    """Look at every chain in the database, and at the files in `folder` that processes write.

    `conn` is one whose transactions see one snapshot.
    """
    result = _verify(conn, sealer, folder)
    for _ in range(_LOOKS - 1):
        if not result.moving:
            break
        conn.rollback()
        result = _verify(conn, sealer, folder)
    return result


def _verify(conn: sa.Connection, sealer: Sealer, folder: Path) -> Verified:
    result = Verified()
    before = 0
    known: dict[str, Kept] = {}
    for kept in list(records.every(conn)):
        chain = kept.chain
        result.chains += 1
        if not all(isinstance(value, int) for value in (chain.number, chain.began, chain.lines, chain.removed)):
            # SQLite keeps text in a column of numbers.
            result.faults.append(Fault(chain.id, 0, "what its row says was changed: it is not even numbers"))
            known[chain.id] = kept
            continue
        result.newest = chain
        known[chain.id] = kept
        if chain.number != before + 1:
            missing = (
                f"chain {before + 1}" if chain.number == before + 2 else f"chains {before + 1} to {chain.number - 1}"
            )
            result.faults.append(Fault(chain.id, chain.began, f"{missing} were removed before it"))
        before = chain.number
        _chain(conn, sealer, kept, result)
    orphans = set(conn.execute(sa.select(blocks.c.chain).distinct()).scalars()) - set(known)
    result.faults += [Fault(chain, 0, "its row was removed, and its records are there") for chain in sorted(orphans)]
    in_database = len(result.faults)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        _file(path, known.get(path.name.removesuffix(SUFFIX)), result)
    for kept in known.values():
        _ending(kept.chain, folder, result)
    # A server that runs moves lines from files to the database, and then their file is not the one that the snapshot knows.
    result.moving = len(result.faults) > in_database
    return result


def _chain(conn: sa.Connection, sealer: Sealer, kept: Kept, result: Verified) -> None:
    chain = kept.chain
    try:
        if chain.seal(records.key_of(sealer, kept)) != kept.seal:
            result.faults.append(Fault(chain.id, chain.began, "what its row says was changed: the seal does not fit"))
    except SealError as error:
        result.faults.append(Fault(chain.id, chain.began, f"its seal cannot be checked: {error}"))
    head, line, at = chain.removed_head, chain.removed, chain.began
    for row in _rows(conn, chain.id):
        if not isinstance(row.first, int) or not isinstance(row.lines, int):
            result.faults.append(Fault(chain.id, at, "a block of it says no numbers of its lines"))
            continue
        if row.first != line:
            gap = (
                f"lines {line + 1} to {row.first} are missing"
                if row.first > line
                else f"lines from {row.first + 1} on are there twice"
            )
            result.faults.append(Fault(chain.id, at, gap))
            head, line = "", row.first
        try:
            lines = unpack(row.content)
        except Unreadable:
            result.faults.append(Fault(chain.id, at, f"lines {line + 1} to {line + row.lines} cannot be read"))
            head, line = "", line + row.lines
            continue
        at = _lines(chain.id, lines, first=line, head=head, at=at, result=result)
        if len(lines) != row.lines:
            result.faults.append(
                Fault(
                    chain.id,
                    at,
                    f"{abs(row.lines - len(lines))} lines were removed from or added to lines {line + 1} to {line + row.lines}",
                )
            )
        line, head = row.first + row.lines, _hash(lines[-1])
        result.lines += len(lines)
    if line < chain.lines:
        result.faults.append(Fault(chain.id, at, f"lines {line + 1} to {chain.lines} are missing"))
    elif line > chain.lines or (head and head != chain.head):
        result.faults.append(Fault(chain.id, at, "it does not end with the line that its row names"))


def _rows(conn: sa.Connection, chain: str) -> Iterator[Any]:
    """Blocks one after the other, so that one is in memory at a time."""
    table, first = blocks, -1
    query = (
        sa.select(table.c.first, table.c.lines, table.c.content)
        .where(table.c.chain == chain)
        .order_by(table.c.first)
        .limit(1)
    )
    while (row := conn.execute(query.where(table.c.first > first)).first()) is not None:
        yield row
        first = row.first


def _lines(chain: str, lines: list[bytes], *, first: int, head: str, at: int, result: Verified) -> int:
    """Check lines; the time of the last one that can be read."""
    for index, line in breaks(head, lines):
        since = next((one.at for one in map(_read, reversed(lines[:index])) if one is not None), at)
        what = "cannot be read" if line is None else "was changed, or does not follow the line before it"
        result.faults.append(Fault(chain, since, f"line {first + index + 1} {what}"))
    return next((one.at for one in map(_read, reversed(lines)) if one is not None), at)


def _read(line: bytes) -> Line | None:
    try:
        return take_apart(line)
    except Unreadable:
        return None


def _hash(line: bytes) -> str:
    read = _read(line)
    return "" if read is None else read.hash


def _file(path: Path, kept: Kept | None, result: Verified) -> None:
    """Check the file that a process writes, and that it continues what the database has of it."""
    name = path.name.removesuffix(SUFFIX)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return  # moved on meanwhile
    # What is there of a process that lives has met no power failure: zeros in it are somebody's work.
    complete = content[: content.rfind(b"\n") + 1] if _lives(path) else durable.complete_lines(content)
    lines = complete.split(b"\n")[:-1]
    if b"\0" in content[len(complete) :]:
        result.notes.append(f"chain {name}: behind line {len(lines)} is a gap, as a power failure leaves it. {_LAST}")
    elif len(complete) < len(content):
        result.notes.append(f"chain {name}: half a line at its end, of a call that was not answered yet")
    began = 0 if kept is None else kept.chain.began
    at = _lines(name, lines, first=0, head=first_hash(name), at=began, result=result)
    moved = 0 if kept is None or not isinstance(kept.chain.lines, int) else kept.chain.lines
    result.lines += max(0, len(lines) - moved)
    if kept is None or not moved:
        return
    if len(lines) < moved:
        result.faults.append(Fault(name, at, f"lines {len(lines) + 1} to {moved} were removed from its file"))
    elif _hash(lines[moved - 1]) != kept.chain.head:
        result.faults.append(Fault(name, at, f"line {moved} of its file is another than in the database"))


def _lives(path: Path) -> bool:
    """Whether the process that writes a file holds it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _ending(chain: Chain, folder: Path, result: Verified) -> None:
    if chain.state == records.BROKEN:
        result.notes.append(
            f"chain {chain.id}: its process ended without closing it, by kill -9 or a power failure. Calls of its last fifth of a second "
            "that only read may have no record"
        )
    elif chain.state == records.OPEN and not (folder / f"{chain.id}{SUFFIX}").exists():
        host, _, where = chain.writer.partition(":")
        if host == socket.gethostname() and where == str(folder):
            result.faults.append(
                Fault(chain.id, chain.began, f"its file was removed: what follows line {chain.lines} is missing")
            )
        else:
            result.notes.append(f"chain {chain.id}: what follows line {chain.lines} lies on {host} in {where}")
