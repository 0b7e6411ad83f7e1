"""The shell around every pure engine: load under a lock, decide, and keep state, journal, events and jobs in one transaction.

A component derives one class for each kind of aggregate. It says how a row is loaded and saved and how effects are performed; what
all kinds have in common is said here, once. An aggregate that is one row derives from `RowAggregate`, which loads and saves it too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import sqlalchemy as sa

from penstock.store import jobs, journal
from penstock.store.catalogue import EventType
from penstock.store.codec import Codec
from penstock.store.events import Event, emit
from penstock.store.ids import ordered_uuid
from penstock.store.schema import Json, metadata
from penstock.store.upsert import upsert
from penstock.wire.call import Call, partition_of

if TYPE_CHECKING:
    from penstock.store.clock import Clock
    from penstock.store.database import Store
    from penstock.store.ids import Ids

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741 - an input, beside the S of a state and the E of an effect
E = TypeVar("E")


class Aggregate(ABC, Generic[S, I, E]):
    """One aggregate whose row this transaction has locked. Apply inputs inside of `with aggregate:`, whose end writes them."""

    inputs: ClassVar[Codec[Any]]
    effects: ClassVar[Codec[Any]]

    def __init__(self, conn: sa.Connection, *, name: str, account: str, region: str, state: S, sequence: int) -> None:
        self.conn = conn
        self.name = name  # in events and the journal, such as build/app:0c7b…
        self.account = account
        self.region = region
        self.state = state
        self.sequence = sequence  # decisions so far; 0 for an aggregate that is being created
        self.now = 0  # of the present decision, in ms
        self.seed = 0  # of the present decision
        self.actor = self.cause = ""  # of the present decision, as for `apply`
        self.saved = sequence  # decisions that the row holds
        self._entries: list[journal.Entry] = []

    @abstractmethod
    def decide(self, input: I, *, now: int, seed: int) -> tuple[S, Sequence[E]]:
        """The engine's decision, after loading the rows that it needs. The same state object means that nothing changes."""

    @abstractmethod
    def perform(self, effect: E) -> None:
        """Do an effect as far as a transaction can. `self.state` is the state that the decision led to."""

    @abstractmethod
    def save(self) -> None:
        """Write the aggregate's own row; the first time, insert it."""

    def keep(self) -> None:
        """Write the other rows that the decisions since the last time have changed."""

    def apply(self, input: I, *, now: int, seed: int, actor: str = "", cause: str = "") -> Sequence[E]:
        """Take one decision and perform its effects; the effects.

        `actor` is the ARN of the caller who asked for it, `cause` the id of the request or event that led to it.
        """
        now = journal.time_of(self.conn, now)
        before = self.state
        after, effects = self.decide(input, now=now, seed=seed)
        if after is before and not effects:
            return effects
        self.state = after
        self.now, self.seed, self.actor, self.cause = now, seed, actor, cause
        self.sequence += 1
        self._entries.append(
            journal.Entry(
                aggregate=self.name,
                account=self.account,
                region=self.region,
                sequence=self.sequence,
                at=now,
                seed=seed,
                input=self.inputs.dump(input),
                effects=[self.effects.dump(self.journalled(effect, input)) for effect in effects],
                actor=actor,
                cause=cause,
            )
        )
        self.note_decision(before, effects)
        for effect in effects:
            self.perform(effect)
        return effects

    def emit(
        self, type: EventType, payload: dict[str, Any], *, correlation: str, actor: str = "", cause: str = ""
    ) -> None:
        """Publish that something happened to this aggregate, at the time of the present decision."""
        event = Event(
            type=type.name,
            account=self.account,
            region=self.region,
            aggregate=self.name,
            payload=payload,
            actor=actor,
            cause=cause,
            correlation=correlation,
        )
        emit(self.conn, event, now=self.now, id=ordered_uuid())

    def enqueue(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        due: int | None = None,
        dedup: str | None = None,
        handed: Any = None,
    ) -> None:
        """Enqueue a job of this aggregate's account and region. See `jobs.enqueue`."""
        where = {"account": self.account, "region": self.region}
        jobs.enqueue(self.conn, kind=kind, payload=payload, due=due, dedup=dedup, handed=handed, **where)

    def note_decision(self, before: S, effects: Sequence[E]) -> None:
        """Note what `keep` has to write of a decision, before its effects are performed."""

    def journalled(self, effect: E, input: I) -> E:  # noqa: ARG002 - most effects say nothing twice
        """An effect as the journal keeps it: without what its input, which stands beside it, says already."""
        return effect

    def flush(self) -> None:
        """Write the decisions so far, for a read that needs them; otherwise they are written together at the end."""
        if self._entries:
            journal.append(self.conn, self._entries)
            self._entries.clear()
        self.keep()

    def close(self) -> None:
        """Write everything, the aggregate's own row included."""
        self.flush()
        if self.sequence != self.saved:
            self.save()
            self.saved = self.sequence

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()


def aggregate_table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table for a kind of `RowAggregate`; `columns` are those that statements ask for beside the key, as its `columns` fills them."""
    return sa.Table(
        name,
        metadata,
        sa.Column("account", sa.String(12), primary_key=True),
        sa.Column("region", sa.String(32), primary_key=True),
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("state", Json, nullable=False),  # of the codec `states`
        sa.Column("sequence", sa.Integer, nullable=False),  # decisions so far
        *columns,
    )


class Shell(Protocol):
    """What a decision takes of the application."""

    clock: Clock
    ids: Ids
    store: Store


class RowAggregate(Aggregate[S, I, E]):
    """An aggregate that is one row: its account, region and id, the document of its state, and how many decisions it has seen.

    A kind names its parts; `perform` is all that it has to write.
    """

    kind: ClassVar[str]  # what its names begin with
    service: ClassVar[str] = ""  # of its ARN
    timer: ClassVar[Any] = None  # the input when a timer has run out, of a kind that sets any
    table: ClassVar[sa.Table]  # see `aggregate_table`; others have at least its columns
    # Of one dataclass, whose members all have defaults: what a new one is before its first input.
    states: ClassVar[Codec[Any]]
    engine: ClassVar[Callable[..., tuple[Any, Sequence[Any]]]]  # the pure `decide(state, input, now, seed)`

    def __init__(self, conn: sa.Connection, row: Any) -> None:
        super().__init__(
            conn,
            name=f"{self.kind}/{row.id}",
            account=row.account,
            region=row.region,
            state=self.states.load(row.state),
            sequence=row.sequence,
        )
        self.row = row

    @classmethod
    def find(cls, conn: sa.Connection, account: str, region: str, id: str) -> Self | None:
        """Lock one; None when it is not there."""
        found = conn.execute(sa.select(cls.table).where(cls._at(account, region, id)).with_for_update()).first()
        return None if found is None else cls(conn, found)

    @classmethod
    def create(cls, conn: sa.Connection, account: str, region: str, id: str) -> Self | None:
        """Make one and lock it; None when it is there already, or was made at this very time by another process."""
        new = cls.states.kinds[0]()
        row = {"account": account, "region": region, "id": id, "state": cls.states.dump(new), "sequence": 0}
        if not upsert(conn, cls.table, row | cls.columns(new)):
            return None
        found = cls.find(conn, account, region, id)
        if found is not None:
            # One of this name that was deleted has left its journal, which this one continues.
            found.sequence = found.saved = journal.last(conn, account, region, found.name)
        return found

    @classmethod
    def after(cls, conn: sa.Connection, account: str, region: str, id: str, limit: int) -> list[tuple[str, S]]:
        """The next ones after an id in the order of ids, unlocked: id and state."""
        columns = cls.table.c
        here = (columns.account == account) & (columns.region == region) & (columns.id > id)
        rows = conn.execute(sa.select(columns.id, columns.state).where(here).order_by(columns.id).limit(limit))
        return [(row.id, cls.states.load(row.state)) for row in rows]

    @classmethod
    def columns(cls, state: S) -> dict[str, Any]:  # noqa: ARG003 - most kinds have none
        """The further columns of a state."""
        return {}

    @classmethod
    async def step(cls, app: Shell, call: Call[Any], id: str, input: I) -> S:
        """One decision for a caller in a transaction of its own, on one that is made if it is not there; its state then."""

        def step(conn: sa.Connection) -> S:
            found = cls.create(conn, call.account, call.region, id) or cls.find(conn, call.account, call.region, id)
            assert found is not None
            actor, cause = call.session.arn, call.request_id
            with found:
                found.apply(input, now=call.now, seed=app.ids.seed(), actor=actor, cause=cause)
            return found.state

        return await app.store.write(step)

    @classmethod
    def timer_kind(cls) -> str:
        """The kind of the jobs that are its timers."""
        return f"{cls.service}.{cls.kind}.timer"

    def set_timer(self, due: int) -> None:
        """Let `timer` be an input at a time (ms UTC)."""
        dedup = f"{self.account}/{self.region}/{self.id}/{due}"
        self.enqueue(self.timer_kind(), {"id": self.id}, due=due, dedup=dedup)

    @classmethod
    async def run_timer(cls, app: Shell, job: jobs.Job) -> None:
        """Give the aggregate of a timer its input, unless it is gone. A job may run twice, so `timer` may come too often."""

        def step(conn: sa.Connection) -> None:
            found = cls.find(conn, job.account, job.region, job.payload["id"])
            if found is not None:
                with found:
                    found.apply(cls.timer, now=app.clock.now(), seed=app.ids.seed(), cause=job.id)

        await app.store.write(step)

    @classmethod
    def find_journal(cls, conn: sa.Connection, account: str, region: str, id: str) -> journal.Found | None:
        """The journal of one, by its id."""
        if conn.execute(sa.select(cls.table.c.id).where(cls._at(account, region, id))).first() is None:
            return None
        arn = f"arn:{partition_of(region)}:{cls.service}:{region}:{account}:{cls.kind}/{id}"
        return journal.Found(aggregate=f"{cls.kind}/{id}", arn=arn)

    @property
    def id(self) -> str:
        """What callers know it by."""
        return self.row.id

    def decide(self, input: I, *, now: int, seed: int) -> tuple[S, Sequence[E]]:
        """See the kind's engine, which needs no other rows."""
        return type(self).engine(self.state, input, now, seed)

    def save(self) -> None:
        """Write the row."""
        values = {"state": self.states.dump(self.state), "sequence": self.sequence, **self.columns(self.state)}
        self.conn.execute(self.table.update().where(self._at(self.account, self.region, self.id)).values(**values))

    @classmethod
    def _at(cls, account: str, region: str, id: str) -> sa.ColumnElement[bool]:
        columns = cls.table.c
        return (columns.account == account) & (columns.region == region) & (columns.id == id)
