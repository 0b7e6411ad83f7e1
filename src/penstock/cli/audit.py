"""`penstock audit`: shows who did what, takes it out, and checks that nobody has changed it.

It reads the database beside a running server, and the files that processes write, so that it needs no server that one would have to trust.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy import event

from penstock import durable
from penstock.audit.attributes import record_of, user_name
from penstock.audit.packing import unpack
from penstock.audit.records import blocks, every
from penstock.audit.verifying import Verified, verify
from penstock.cli import arguments
from penstock.cli.doctor import database_of, missing
from penstock.cli.exits import Exit
from penstock.cli.terminal import complain, harmless, paint, say
from penstock.store.masterkeys import MasterKeyError, source_of
from penstock.store.sealing import Sealer
from penstock.trail import SUFFIX, take_apart
from penstock.webpages.wording import plural

_LAST = 20


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `audit`."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    check = acts.add_parser("verify", help="check that no record was changed or removed; 2 when one was")
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    tail = acts.add_parser("tail", help="print the newest records, a line each")
    tail.add_argument("-n", dest="most", type=_number, default=_LAST, metavar="N", help=f"how many; default: {_LAST}")
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
            if options.act == "tail":
                _tail(conn, data_dir / "audit", options.most)
            else:
                _export(conn, data_dir / "audit", options)
    except MasterKeyError as error:
        complain(f"penstock audit {options.act}: {error}")
        return Exit.USAGE
    except sqlalchemy.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        complain(
            f"penstock audit {options.act}: the database cannot be read: {why}. See that it runs, and that --database is the server's"
        )
        return Exit.USAGE
    return Exit.DONE


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


def _tail(conn: sa.Connection, folder: Path, most: int) -> None:
    lines = [line for path in folder.glob(f"*{SUFFIX}") for line in _lines_of(path)]
    for content in conn.execute(
        sa.select(blocks.c.content).order_by(blocks.c.last_at.desc()).limit(-(-most // 16))
    ).scalars():
        lines += unpack(content)
    found = {line: record for line in lines if (record := record_of(line)) is not None}
    for line in sorted(found, key=lambda line: take_apart(line).at)[-most:]:
        say(_short(found[line]))


def _short(record: dict[str, Any]) -> str:
    who = user_name(record) or record.get("userIdentity", {}).get("invokedBy", "")
    what = f"{record['eventSource'].removesuffix('.amazonaws.com')}:{record['eventName']}"
    resources = " ".join(one["ARN"] for one in record.get("resources", ()))
    error = paint(f"  {harmless(record['errorCode'])}", "red") if record.get("errorCode") else ""
    where = record["sourceIPAddress"] or "-"
    return f"{record['eventTime']}  {record['recipientAccountId']}  {harmless(who)}  {harmless(where)}  {harmless(what)}{error}  {harmless(resources)}".rstrip()


def _export(conn: sa.Connection, folder: Path, options: argparse.Namespace) -> None:
    write = sys.stdout.buffer.write
    for line in _every_line(conn, folder):
        record = record_of(line)
        if options.chain:
            write(line + b"\n")
        elif record is not None and _chosen(record, line, options):
            write(take_apart(line).record + b"\n")
    sys.stdout.buffer.flush()


def _chosen(record: dict[str, Any], line: bytes, options: argparse.Namespace) -> bool:
    at = take_apart(line).at
    in_time = options.since <= at and (options.until is None or at < options.until)
    return in_time and options.account in (None, record["recipientAccountId"])


def _every_line(conn: sa.Connection, folder: Path) -> Iterator[bytes]:
    """Lines chain by chain; first what the database has, then what follows in files."""
    files = {path.name.removesuffix(SUFFIX): path for path in folder.glob(f"*{SUFFIX}")}
    for kept in list(every(conn)):
        first, chain = -1, kept.chain
        query = (
            sa.select(blocks.c.first, blocks.c.content)
            .where(blocks.c.chain == chain.id)
            .order_by(blocks.c.first)
            .limit(1)
        )
        while (row := conn.execute(query.where(blocks.c.first > first)).first()) is not None:
            first = row.first
            yield from unpack(row.content)
        if (path := files.pop(chain.id, None)) is not None:
            yield from _lines_of(path)[chain.lines :]
    for path in files.values():
        yield from _lines_of(path)


def _lines_of(path: Path) -> list[bytes]:
    try:
        return durable.complete_lines(path.read_bytes()).split(b"\n")[:-1]
    except FileNotFoundError:
        return []  # moved on meanwhile


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:6]) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text)


def _moment(text: str) -> int:
    try:
        moment = dt.datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-30 or 2026-11-30T08:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp() * 1000)


def _time(at: int) -> str:
    return dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
