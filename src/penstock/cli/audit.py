"""`penstock audit`: shows who did what, takes it out, and checks that nobody has changed it.

It reads the database beside a running server, and the files that processes write, so that it needs no server that one would have to trust.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import heapq
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy import event

from penstock import durable
from penstock.audit.attributes import read, user_name
from penstock.audit.packing import unpack
from penstock.audit.records import blocks, every
from penstock.audit.verifying import Verified, verify
from penstock.cli import arguments
from penstock.cli.doctor import database_of, missing
from penstock.cli.exits import Exit
from penstock.cli.terminal import complain, harmless, paint, say
from penstock.component import number_to
from penstock.store.masterkeys import MasterKeyError, source_of
from penstock.store.sealing import Sealer
from penstock.trail import END, SUFFIX, Unreadable, take_apart
from penstock.webpages.wording import plural

_LAST = 20
_SHOWN = 10  # damaged places that are named one by one
_BLOCK = (blocks.c.chain, blocks.c.first, blocks.c.lines, blocks.c.last_at, blocks.c.content)


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `audit`."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    check = acts.add_parser("verify", help="check that no record was changed or removed; 2 when one was")
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    tail = acts.add_parser("tail", help="print the newest records, a line each")
    tail.add_argument(
        "-n",
        dest="most",
        type=arguments.of_setting(number_to(100_000)),
        default=_LAST,
        metavar="N",
        help=f"how many; default: {_LAST}",
    )
    export = acts.add_parser(
        "export", help="print records as CloudTrail has them, one JSON document a line, the oldest first"
    )
    export.add_argument(
        "--since", type=_moment, default=0, metavar="TIME", help="such as 2026-11-30 or 2026-11-30T08:00:00Z"
    )
    export.add_argument("--until", type=_moment, default=None, metavar="TIME", help="records before this time only")
    export.add_argument("--account", type=arguments.account, metavar="ID", help="records of one account only")
    export.add_argument("--chain", action="store_true", help="print lines with their hashes, as they are chained")
    for act in (check, tail, export):
        arguments.add_data_dir(act)
        arguments.add_database(act)
    arguments.add_master_key(check)


def run(options: argparse.Namespace) -> int:
    """Do one act."""
    data_dir = options.data_dir.absolute()
    if not options.database and (why := missing(data_dir)):
        complain(f"penstock audit {options.act}: {why}")
        return Exit.USAGE
    try:
        with _snapshots(data_dir, options.database) as conn:
            if options.act == "verify":
                sealer = Sealer.from_source(
                    source_of(options.master_key_file, options.master_key_command, create=False)
                )
                return _report(verify(conn, sealer, data_dir / "audit"), as_json=options.json)
            reading = _Reading(conn, data_dir / "audit")
            if options.act == "tail":
                _tail(reading, conn, options.most)
            else:
                _export(reading, options)
            return _say_damaged(options.act, reading.damaged)
    except MasterKeyError as error:
        complain(f"penstock audit {options.act}: {error}")
    except sqlalchemy.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        complain(
            f"penstock audit {options.act}: the database cannot be read: {why}. See that it runs, and that --database is the server's"
        )
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(
            f"penstock audit {options.act}: {error.filename} cannot be read: {error.strerror}. Run it as the server's user"
        )
    return Exit.USAGE


@contextlib.contextmanager
def _snapshots(folder: Path, url: str) -> Iterator[sa.Connection]:
    """A connection whose transactions see the database as it was when they began."""
    engine = database_of(folder, url)
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    else:
        # The driver begins a transaction before it writes only.
        event.listen(engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN"))
    try:
        with engine.connect() as conn:
            yield conn
    finally:
        engine.dispose()


def _report(found: Verified, *, as_json: bool) -> int:
    newest = found.newest
    if as_json:
        document = {
            "chains": found.chains,
            "lines": found.lines,
            "faults": [{"chain": one.chain, "since": _time(one.at), "what": one.what} for one in found.faults],
            "notes": found.notes,
            "newest": None if newest is None else {"number": newest.number, "lines": newest.lines, "hash": newest.head},
        }
        say(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        for fault in found.faults:
            since = f"after {_time(fault.at)}" if fault.at else "from its beginning on"
            say(f"{paint('FAIL', 'red')}  chain {fault.chain}, {since}: {fault.what}")
        for note in found.notes:
            say(f"{paint('note', 'amber')}  {note}")
        counted = (plural(found.chains, "chain"), plural(len(found.faults), "fault"))
        say(f"{plural(found.lines, 'line')} in {counted[0]}, {counted[1]}.")
        if newest is not None:
            say(
                f"The newest chain is number {newest.number}: {newest.lines} lines in the database, the last with the hash {newest.head}."
            )
    return Exit.FAILED if found.faults else Exit.DONE


class _Reading:
    """The records of an installation. What cannot be read is left out and named."""

    def __init__(self, conn: sa.Connection, folder: Path) -> None:
        self._conn = conn
        self._files = {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}
        self.damaged: list[str] = []

    def of_block(self, row: Any) -> list[tuple[str, bytes]]:
        """The lines of a block, each with its place."""
        if not all(isinstance(number, int) for number in (row.first, row.lines, row.last_at)):
            self.damaged.append(f"a block of chain {row.chain} in the database, which says no numbers of its lines,")
            return []
        try:
            lines = unpack(row.content)
        except Unreadable:
            self.damaged.append(
                f"lines {row.first + 1} to {row.first + row.lines} of chain {row.chain} in the database"
            )
            return []
        return [
            (f"line {row.first + at} of chain {row.chain} in the database", line) for at, line in enumerate(lines, 1)
        ]

    def of_files(self) -> list[tuple[str, bytes]]:
        """The lines of all files."""
        return [found for chain in self._files for found in self._of_file(chain)]

    def every(self) -> Iterator[tuple[str, bytes]]:
        """Lines chain by chain; first what the database has, then what follows in files."""
        left = dict(self._files)
        for kept in list(every(self._conn)):
            chain = kept.chain
            query = sa.select(*_BLOCK).where(blocks.c.chain == chain.id).order_by(blocks.c.first).limit(1)
            first = -1
            while (row := self._conn.execute(query.where(blocks.c.first > first)).first()) is not None:
                first = row.first
                yield from self.of_block(row)
            if left.pop(chain.id, None) is not None:
                yield from self._of_file(chain.id)[chain.lines if isinstance(chain.lines, int) else 0 :]
        for chain_id in left:
            yield from self._of_file(chain_id)

    def record(self, place: str, line: bytes) -> tuple[int, bytes, dict[str, Any]] | None:
        """Time (ms), text and members of a line's record; None for the end of a chain, and for what cannot be read."""
        try:
            _, at, text = take_apart(line)
        except Unreadable:
            at, text = 0, b""
        if (record := read(text)) is not None:
            return at, text, record
        if text != END:
            self.damaged.append(place)
        return None

    def _of_file(self, chain: str) -> list[tuple[str, bytes]]:
        path = self._files[chain]
        try:
            lines = durable.complete_lines(path.read_bytes()).split(b"\n")[:-1]
        except FileNotFoundError:
            return []  # moved on meanwhile
        return [(f"line {at} of {path}", line) for at, line in enumerate(lines, 1)]


def _tail(reading: _Reading, conn: sa.Connection, most: int) -> None:
    # The newest so far, the oldest of them first: time, place among those of one time, text.
    kept: list[tuple[int, int, int, str]] = []
    seen: set[bytes] = set()  # a line may lie in a file and in the database

    def take(lines: Iterable[tuple[str, bytes]], turn: int) -> None:
        for at, (place, line) in enumerate(lines):
            if line not in seen and (known := reading.record(place, line)) is not None:
                seen.add(line)
                entry = (known[0], -turn, at, _short(known[2]))
                (heapq.heappush if len(kept) < most else heapq.heappushpop)(kept, entry)

    take(reading.of_files(), 0)
    newest = sa.select(*_BLOCK).order_by(blocks.c.last_at.desc(), blocks.c.chain, blocks.c.first.desc())
    with contextlib.closing(conn.execute(newest.execution_options(yield_per=4))) as rows:
        for turn, row in enumerate(rows, 1):
            # Nothing in this block, or in those that follow, is as new as the oldest of the newest.
            if isinstance(row.last_at, int) and len(kept) == most and kept[0][0] > row.last_at:
                break
            take(reading.of_block(row), turn)
    for _, _, _, text in sorted(kept):
        say(text)


def _short(record: dict[str, Any]) -> str:
    who = user_name(record) or (record.get("userIdentity") or {}).get("invokedBy", "")
    what = f"{record['eventSource'].removesuffix('.amazonaws.com')}:{record['eventName']}"
    resources = " ".join(one["ARN"] for one in record.get("resources") or ())
    code = record.get("errorCode")
    error = paint(f"  {harmless(str(code))}", "red") if code else ""
    begins = (
        record.get("eventTime", ""),
        record["recipientAccountId"],
        who,
        record.get("sourceIPAddress") or "-",
        what,
    )
    return f"{'  '.join(harmless(str(one)) for one in begins)}{error}  {harmless(resources)}".rstrip()


def _export(reading: _Reading, options: argparse.Namespace) -> None:
    write = sys.stdout.buffer.write
    for place, line in reading.every():
        if options.chain:
            write(line + b"\n")
        elif (known := reading.record(place, line)) is not None:
            at, text, record = known
            in_time = options.since <= at and (options.until is None or at < options.until)
            if in_time and options.account in (None, record["recipientAccountId"]):
                write(text + b"\n")
    sys.stdout.buffer.flush()


def _say_damaged(act: str, damaged: list[str]) -> int:
    """What was left out, and how the command ends for that."""
    if not damaged:
        return Exit.DONE
    for place in damaged[:_SHOWN]:
        complain(f"penstock audit {act}: {place} cannot be read, and was left out")
    more = len(damaged) - _SHOWN
    if more > 0:
        complain(f"penstock audit {act}: {plural(more, 'further place')} cannot be read either")
    complain(
        "Somebody, or a disk, has damaged it: `penstock audit verify` says what else is not as it was written. A backup of before, or"
        " the bucket of a trail, has the records."
    )
    return Exit.FAILED


def _moment(text: str) -> int:
    try:
        moment = dt.datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-30 or 2026-11-30T08:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() * 1000)


def _time(at: int) -> str:
    return dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
