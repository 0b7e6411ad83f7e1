"""The journal: what each aggregate was told, when and with which seed. The source of replay and explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.store.records import journal
from penstock.store.statement import Statement
from penstock.store.transaction import transaction_of

_INSERT = Statement(journal.insert())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One input of `decide`."""

    aggregate: str
    sequence: int
    at: int  # ms UTC, the `now` that decide was given
    seed: int
    event: dict[str, Any]


def time_of(conn: sa.Connection, asked: int) -> int:
    """The `now` of a decision on an aggregate that this transaction has locked; `asked` is when it was asked for.

    Who waited for the lock was asked earlier than what was decided meanwhile: an aggregate's times must not run backwards.
    """
    return max(asked, transaction_of(conn).clock.now())


def append(
    conn: sa.Connection,
    *,
    aggregate: str,
    sequence: int,
    at: int,
    seed: int,
    event: Mapping[str, Any],
    account: str,
    region: str,
) -> None:
    """Write down an input of `decide`, in the transaction that keeps its outcome.

    `sequence` is the aggregate's own count. The same one twice means that two decisions raced: an IntegrityError, at the transaction's
    next statement or its end.
    """
    _INSERT.later(
        conn,
        {
            "aggregate": aggregate,
            "account": account,
            "region": region,
            "sequence": sequence,
            "at": at,
            "seed": seed,
            "event": event,
        },
    )


def read(conn: sa.Connection, aggregate: str, *, account: str | None = None, region: str | None = None) -> list[Entry]:
    """An aggregate's entries in order. Aggregates whose name is not unique by itself need `account` and `region`."""
    query = sa.select(journal).where(journal.c.aggregate == aggregate).order_by(journal.c.sequence)
    if account is not None:
        query = query.where(journal.c.account == account)
    if region is not None:
        query = query.where(journal.c.region == region)
    return [
        Entry(aggregate=row.aggregate, sequence=row.sequence, at=row.at, seed=row.seed, event=row.event)
        for row in conn.execute(query)
    ]
