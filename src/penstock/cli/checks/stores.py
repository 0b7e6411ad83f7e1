"""The database, what it holds, and the key that it was sealed with."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from penstock.cli.checks.findings import Finding, Installation, Verdict, clock
from penstock.identity.records import access_keys, secret_context
from penstock.store import migrate
from penstock.store.database import PROCESS_CONNECTIONS
from penstock.store.masterkeys import MasterKeyError, source_of
from penstock.store.records import journal
from penstock.store.sealing import Sealer, SealError
from penstock.webpages.wording import plural

_TOLERATED_MS = 1_000  # by which the clocks of several machines may differ


def keys(installation: Installation) -> Iterator[Finding]:
    """Is the master key here, private, and the one that the secrets were sealed with?"""
    try:
        sealer = Sealer.from_source(
            source_of(installation.master_key_file, installation.master_key_command, create=False)
        )
    except MasterKeyError as error:
        yield Finding(Verdict.FAIL, "keys", str(error))
        return
    with installation.engine.connect() as conn:
        rows = conn.execute(sa.select(access_keys.c.id, access_keys.c.secret)).all()
    closed = 0
    for row in rows:
        try:
            sealer.open(row.secret, secret_context(row.id))
        except SealError:
            closed += 1
    if closed:
        yield Finding(
            Verdict.FAIL,
            "keys",
            f"{closed} of {len(rows)} access keys cannot be opened with {installation.master_key_file}",
            "give --master-key-file the key of this installation",
        )
    else:
        yield Finding(Verdict.OK, "keys", f"the master key opens {plural(len(rows), 'access key')}")
    if sealer.changing:
        keys = [one for one in sealer.keys if not one.retired]
        yield Finding(
            Verdict.WARN,
            "keys",
            f"there are {len(keys)} master keys: a change of the key has begun and is not completed",
            "`penstock rekey` completes it, and `penstock rekey --remove-old` removes the old one",
        )


def database(installation: Installation) -> Iterator[Finding]:
    """Is the database intact, and has it this release's schema?"""
    with installation.engine.connect() as conn:
        if conn.dialect.name == "sqlite":
            said = conn.execute(sa.text("PRAGMA quick_check(5)")).scalars().all()
            if said != ["ok"]:
                yield Finding(
                    Verdict.FAIL,
                    "store",
                    f"SQLite finds damage: {'; '.join(map(str, said))}",
                    "stop the server and restore the last backup",
                )
                return
        have, want = migrate.installed(conn), migrate.head()
        if have != want:
            yield Finding(
                Verdict.FAIL,
                "store",
                f"the schema is {have}, this release works with {want}",
                "start `penstock up` of this release once",
            )
            return
        if conn.dialect.name == "postgresql":
            there = conn.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
            yield from clock("the database server", float(there))
    yield Finding(Verdict.OK, "store", f"{installation.engine.dialect.name}, schema {want}")


def journal_order(installation: Installation) -> Iterator[Finding]:
    """Does each aggregate's journal count without gaps, and do its times not run backwards?"""
    counted = (
        sa.select(
            journal.c.account,
            journal.c.region,
            journal.c.aggregate,
            sa.func.count().label("entries"),
            (sa.func.max(journal.c.sequence) - sa.func.min(journal.c.sequence) + 1).label("span"),
        )
        .group_by(journal.c.account, journal.c.region, journal.c.aggregate)
        .subquery()
    )
    earlier = journal.alias()
    backwards = (
        sa.select(journal.c.aggregate)
        .join(
            earlier,
            (earlier.c.account == journal.c.account)
            & (earlier.c.region == journal.c.region)
            & (earlier.c.aggregate == journal.c.aggregate)
            & (earlier.c.sequence == journal.c.sequence - 1),
        )
        .where(earlier.c.at > journal.c.at + _TOLERATED_MS)
        .distinct()
        .limit(5)
    )
    with installation.engine.connect() as conn:
        gaps = (
            conn.execute(sa.select(counted.c.aggregate).where(counted.c.entries != counted.c.span).limit(5))
            .scalars()
            .all()
        )
        late = conn.execute(backwards).scalars().all()
        total = conn.execute(sa.select(sa.func.count()).select_from(counted)).scalar_one()
    if gaps:
        yield Finding(
            Verdict.FAIL,
            "journal",
            f"entries are missing in {', '.join(gaps)}",
            "report it with `penstock doctor --json`: decisions were lost or changed by hand",
        )
    if late:
        yield Finding(
            Verdict.WARN,
            "journal",
            f"times run backwards in {', '.join(late)}",
            "check this machine's clock and its time service",
        )
    if not gaps and not late:
        yield Finding(Verdict.OK, "journal", f"{total} aggregates count without gaps")


def postgresql(installation: Installation) -> Iterator[Finding]:
    """Is the database server set so that what was answered is durable, and is there room for our connections?"""
    if installation.engine.dialect.name != "postgresql":
        return
    with installation.engine.connect() as conn:
        found = {
            name: str(conn.execute(sa.text(f"SHOW {name}")).scalar_one())
            for name in ("fsync", "synchronous_commit", "full_page_writes", "max_connections", "transaction_read_only")
        }
    for name, why in (
        ("fsync", "a crash of its machine can destroy the database"),
        ("full_page_writes", "a crash of its machine can destroy pages"),
        ("synchronous_commit", "a crash can undo what was answered"),
    ):
        if found[name] == "off":
            yield Finding(Verdict.FAIL, "postgresql", f"{name} is off: {why}", f"set {name} = on and reload PostgreSQL")
    if found["transaction_read_only"] == "on":
        yield Finding(
            Verdict.FAIL, "postgresql", "it takes no writes: it is a standby", "name the primary with --database"
        )
    if int(found["max_connections"]) < 4 * PROCESS_CONNECTIONS:
        yield Finding(
            Verdict.WARN,
            "postgresql",
            f"max_connections is {found['max_connections']}, and each Penstock process takes up to {PROCESS_CONNECTIONS}",
            "raise it before you add processes",
        )
