"""Counters: their row, their operation, and what their jobs and events do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.component import operations_of, option
from penstock.store.aggregate import Aggregate
from penstock.store.catalogue import EventType
from penstock.store.codec import Codec
from penstock.store.events import Event
from penstock.store.jobs import Job
from penstock.store.journal import Found
from penstock.store.schema import Json
from penstock.store.upsert import upsert
from penstock.wire import call as wire
from penstock.wire.errors import ServiceError
from sample_counters import engine
from sample_counters.engine import Add, Changed, Count, Effect, Input, SetTimer, TimePassed

RESET = "counters.reset"
STATE = Codec("the state of a counter", Count)
CHANGED = EventType(
    name="counters.counter.changed",
    description="A counter has another value.",
    aggregate="counter",
    sample={"value": 3},
)
# A component of the product declares its tables in `store.schema.metadata`, which the migrations are compared with.
metadata = sa.MetaData()
table = sa.Table(
    "sample_counters",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("state", Json, nullable=False),  # STATE
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterSettings:
    """Options of counters."""

    largest: int = option(
        1_000, "the largest amount that is added at once", group="work", flag="--largest-amount", metavar="N", parse=int
    )


class AmountTooLargeException(ServiceError):
    """The amount is larger than {largest}. Add less at once, or start the server with a larger --largest-amount."""


class Counters:
    """The state of the component."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.settings = app.settings.of(CounterSettings)
        self.seen: list[int] = []  # values that events have brought

    def apply(self, conn: sa.Connection, account: str, region: str, name: str, input: Input) -> Count:
        """Transaction: one decision of a counter; its state then."""
        with Counter.find(conn, account, region, name) as counter:
            counter.apply(input, now=self.app.clock.now(), seed=self.app.ids.seed())
        return counter.state


class Counter(Aggregate[Count, Input, Effect]):
    """A counter whose row is locked."""

    inputs = Codec("an input of a counter", Add, TimePassed)
    effects = Codec("an effect of a counter", SetTimer, Changed)

    @classmethod
    def find(cls, conn: sa.Connection, account: str, region: str, name: str) -> Counter:
        """Lock a counter. One that nobody has used yet begins at zero."""
        new = {"state": STATE.dump(Count()), "sequence": 0, "changed": 0}
        upsert(conn, table, {"account": account, "region": region, "name": name, **new})
        row = conn.execute(sa.select(table).where(_row(account, region, name)).with_for_update()).one()
        return cls(
            conn,
            name=f"counter/{name}",
            account=account,
            region=region,
            state=STATE.load(row.state),
            sequence=row.sequence,
        )

    @property
    def id(self) -> str:
        """The name that callers know."""
        return self.name.removeprefix("counter/")

    def decide(self, input: Input, *, now: int, seed: int) -> tuple[Count, Sequence[Effect]]:
        """See `engine.decide`."""
        return engine.decide(self.state, input, now, seed)

    def perform(self, effect: Effect) -> None:
        """Set the timer, emit the event."""
        match effect:
            case SetTimer(due=due):
                key = f"{self.account}/{self.region}/{self.id}/{due}"
                self.enqueue(RESET, {"name": self.id}, due=due, dedup=key)
            case Changed(value=value):
                self.emit(CHANGED, {"value": value}, correlation="")

    def save(self) -> None:
        """Write the row."""
        values = {"state": STATE.dump(self.state), "sequence": self.sequence, "changed": self.state.changed}
        self.conn.execute(table.update().where(_row(self.account, self.region, self.id)).values(**values))

    @staticmethod
    def find_journal(conn: sa.Connection, account: str, region: str, id: str) -> Found | None:
        """The journal of a counter, by its name."""
        if conn.execute(sa.select(table.c.name).where(_row(account, region, id))).first() is None:
            return None
        return Found(aggregate=f"counter/{id}", arn=f"arn:aws:counters:{region}:{account}:counter/{id}")


def _row(account: str, region: str, name: str) -> sa.ColumnElement[bool]:
    return (table.c.account == account) & (table.c.region == region) & (table.c.name == name)


def _arn(call: Call, input: wire.Input) -> str:
    return call.arn("counters", f"counter/{input['name']}")


async def add(counters: Counters, call: Call, input: wire.Input) -> wire.Output:
    """Add an amount to a counter."""
    if input["amount"] > counters.settings.largest:
        raise AmountTooLargeException(largest=counters.settings.largest)
    state = await call.app.store.write(
        counters.apply, call.account, call.region, input["name"], Add(amount=input["amount"])
    )
    return {"value": state.value}


for _service in ("json10", "json11", "query", "rest-json", "rest-xml", "cbor"):
    operations_of(f"counters-{_service}", action_prefix="counters")("Add", resource=_arn)(add)


async def reset(counters: Counters, job: Job) -> None:
    """Let a counter see that time has passed."""
    await counters.app.store.write(counters.apply, job.account, job.region, job.payload["name"], TimePassed())


async def see(counters: Counters, event: Event) -> None:
    """Note a value."""
    counters.seen.append(event.payload["value"])
