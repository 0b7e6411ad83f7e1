"""The shell around every pure engine: load under a lock, decide, and keep state, journal, events and jobs in one transaction.

A component derives one class for each kind of aggregate. It says how a row is loaded and saved and how effects are performed; what
all kinds have in common is said here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import sqlalchemy as sa

from penstock.store import jobs, journal
from penstock.store.catalogue import EventType
from penstock.store.codec import Codec
from penstock.store.events import Event, emit
from penstock.store.ids import ordered_uuid

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
                effects=[self.effects.dump(effect) for effect in effects],
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
        self, kind: str, payload: Mapping[str, Any], *, due: int | None = None, dedup: str | None = None
    ) -> None:
        """Enqueue a job of this aggregate's account and region. See `jobs.enqueue`."""
        jobs.enqueue(
            self.conn, kind=kind, payload=payload, due=due, dedup=dedup, account=self.account, region=self.region
        )

    def note_decision(self, before: S, effects: Sequence[E]) -> None:
        """Note what `keep` has to write of a decision, before its effects are performed."""

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
