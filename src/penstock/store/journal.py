"""The journal: what each aggregate was given to decide on, when, with which seed, and what it decided. The source of replays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.store.records import former_aggregates, journal
from penstock.store.rows import Rows
from penstock.store.transaction import transaction_of

_INSERT = Rows(journal, *journal.columns.keys())
_REMEMBER = Rows(former_aggregates, *former_aggregates.columns.keys())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision of an aggregate."""

    aggregate: str  # such as build/app:0c7b…
    account: str
    region: str
    sequence: int  # the aggregate's own count, from 1
    at: int  # ms UTC, the `now` that decide was given
    seed: int
    input: Mapping[str, Any]  # the codec's document of the kind of aggregate
    effects: Sequence[Mapping[str, Any]] = ()
    actor: str = ""  # ARN of the caller who asked for it
    cause: str = ""  # id of the request or event that led to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The aggregate that an id names, for a reader of its journal."""

    aggregate: str
    arn: str  # of the resource that policies are asked about
    about: str = ""  # only the entries that name this id; "" for all. A pipeline decides for all of its executions.
    secrets: frozenset[str] = frozenset()  # members of inputs and effects whose values readers do not get
    deleted: int | None = None  # ms UTC; None while it is there


Finder = Callable[[sa.Connection, str, str, str], Found | None]
"""`find(conn, account, region, id)`: the aggregate of an id as people know it; None for an id of another kind."""


def names(entry: Entry, id: str) -> bool:
    """Whether an entry's input or one of its effects names an id."""
    return any(id in document.values() for document in (entry.input, *entry.effects))


def remember(
    conn: sa.Connection,
    aggregate: str,
    *,
    account: str,
    region: str,
    arn: str,
    names: Iterable[str],
    about: Iterable[str] = (),
) -> None:
    """Keep the names of an aggregate that is being deleted, and the ids of its executions (`about`), for readers of its journal."""
    fixed = {"account": account, "region": region, "aggregate": aggregate, "arn": arn, "at": time_of(conn, 0)}
    rows = [{**fixed, "name": name, "about": ""} for name in names]
    _REMEMBER.write(conn, rows + [{**fixed, "name": id, "about": id} for id in about])


def former(conn: sa.Connection, account: str, region: str, name: str, *, kind: str) -> Found | None:
    """The deleted aggregate of a kind that had a name; of several, the one that was deleted last."""
    c = former_aggregates.c
    query = (
        sa.select(former_aggregates)
        .where(c.account == account, c.region == region, c.name == name, c.aggregate.startswith(f"{kind}/"))
        .order_by(c.at.desc(), c.aggregate)
        .limit(1)
    )
    row = conn.execute(query).first()
    return None if row is None else Found(aggregate=row.aggregate, arn=row.arn, about=row.about, deleted=row.at)


def time_of(conn: sa.Connection, asked: int) -> int:
    """The `now` of a decision on an aggregate that this transaction has locked; `asked` is when it was asked for.

    Who waited for the lock was asked earlier than what was decided meanwhile: an aggregate's times must not run backwards.
    """
    return max(asked, transaction_of(conn).clock.now())


def append(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Write entries, in the transaction that keeps what was decided.

    The same sequence twice means that two decisions raced: an IntegrityError, at the transaction's next statement or its end.
    """
    _INSERT.write(conn, [_row(entry) for entry in entries])


def last(conn: sa.Connection, account: str, region: str, aggregate: str) -> int:
    """The sequence of the last entry about an aggregate of this name; 0 when there is none."""
    c = journal.c
    own = (c.aggregate == aggregate) & (c.account == account) & (c.region == region)
    return conn.execute(sa.select(sa.func.max(c.sequence)).where(own)).scalar() or 0


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "aggregate": entry.aggregate,
        "account": entry.account,
        "region": entry.region,
        "sequence": entry.sequence,
        "at": entry.at,
        "seed": entry.seed,
        "input": entry.input,
        "effects": list(entry.effects),
        "actor": entry.actor,
        "cause": entry.cause,
    }


def read(
    conn: sa.Connection,
    aggregate: str,
    *,
    account: str | None = None,
    region: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[Entry]:
    """An aggregate's entries in order. Aggregates whose name is not unique by itself need `account` and `region`."""
    query = (
        sa.select(journal)
        .where(journal.c.aggregate == aggregate, journal.c.sequence > after)
        .order_by(journal.c.sequence)
        .limit(limit)
    )
    if account is not None:
        query = query.where(journal.c.account == account)
    if region is not None:
        query = query.where(journal.c.region == region)
    return [Entry(**row) for row in conn.execute(query).mappings()]
