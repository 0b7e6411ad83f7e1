"""The build as an aggregate: its row, and what its engine's effects do in the transaction that decided them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.builds import records
from penstock.builds.engine import (
    Claimed,
    Describe,
    Described,
    Dispatch,
    Effect,
    Halt,
    Input,
    LeaveQueue,
    Lost,
    PhaseChanged,
    PhaseEnded,
    StartAgain,
    StateChanged,
    StopRequested,
    Submitted,
    TimePassed,
    deadline,
    decide,
)
from penstock.builds.events import PHASE_CHANGED, STATE_CHANGED
from penstock.builds.model import BuildState, Key
from penstock.builds.views import event_detail, phase_detail
from penstock.metrics import histogram
from penstock.store import jobs
from penstock.store.aggregate import Aggregate
from penstock.store.codec import Codec
from penstock.store.jobs import Job
from penstock.store.journal import Found, former
from penstock.store.transaction import after_commit, wake

RUN = "builds.run"
"""The kind of the job that runs a build."""

QUEUED = "builds.queued"
"""The kind of the timer that ends a build which waits too long."""

RETRY = "builds.retry"
"""The kind of the job that starts a failed build anew, as its project's autoRetryLimit says."""

BUILD_SECONDS = histogram(
    "penstock_build_seconds",
    "From the submission of a build to its end.",
    "result",
    bounds=(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 28_800),
)


class Build(Aggregate[BuildState, Input, Effect]):
    """A build whose row is locked, or which is being created."""

    inputs = Codec("an input of a build", Submitted, Claimed, Described, PhaseEnded, StopRequested, TimePassed, Lost)
    effects = Codec(
        "an effect of a build", Dispatch, LeaveQueue, Describe, Halt, PhaseChanged, StateChanged, StartAgain
    )

    def __init__(
        self, conn: sa.Connection, key: Key, *, document: Mapping[str, Any], state: BuildState, sequence: int
    ) -> None:
        super().__init__(
            conn, name=key.aggregate, account=key.account, region=key.region, state=state, sequence=sequence
        )
        self.key = key
        self.document = document  # members of the API's Build that its state does not hold
        self._described = False
        self._new: Mapping[str, Any] | None = None  # columns of a row that is still to be inserted

    @classmethod
    def find(cls, conn: sa.Connection, key: Key) -> Build | None:
        """Lock a build; None when it is not there."""
        row = records.find_build(conn, key.account, key.region, key.id, lock=True)
        if row is None:
            return None
        return cls(conn, key, document=row.document, state=records.state_of(row), sequence=row.sequence)

    @classmethod
    def create(cls, conn: sa.Connection, key: Key, *, document: Mapping[str, Any], columns: Mapping[str, Any]) -> Build:
        """A build that is being submitted. `columns` are those of its row that never change."""
        build = cls(conn, key, document=document, state=BuildState(), sequence=0)
        build._new = columns
        return build

    def decide(self, input: Input, *, now: int, seed: int) -> tuple[BuildState, Sequence[Effect]]:
        """See `engine.decide`, which needs no other rows."""
        return decide(self.state, input, now, seed)

    def save(self) -> None:
        """Write the build's row."""
        values: dict[str, Any] = {
            "state": records.STATE.dump(self.state),
            "complete": self.state.complete,
            "node": self.state.node,
            "sequence": self.sequence,
        }
        if self._new is not None:
            where = {"account": self.account, "region": self.region, "id": self.key.id}
            records.insert_build(self.conn, {**where, **self._new, **values, "document": self.document})
            self._new = None
            return
        if self._described:
            values["document"] = self.document
        records.update_build(self.conn, self.account, self.region, self.key.id, **values)

    def perform(self, effect: Effect) -> None:
        """Enqueue jobs, emit events, wake the build's run."""
        match effect:
            case Dispatch():
                self._enqueue(RUN)
                self._enqueue(QUEUED, due=deadline(self.state))
            case LeaveQueue():
                jobs.cancel(self.conn, kind=QUEUED, dedup=self._dedup)
            case Describe():
                self.document = {**self.document, **effect.members}
                self._described = True
            case Halt():
                wake(self.conn, self.key.topic)
            case PhaseChanged():
                detail = phase_detail(self.document, self.state, effect.phase)
                self.emit(PHASE_CHANGED, detail, correlation=self.key.id)
            case StateChanged():
                self.emit(STATE_CHANGED, event_detail(self.document, self.state), correlation=self.key.id)
                if self.state.complete:
                    observe = BUILD_SECONDS.labels(str(self.state.status)).observe
                    after_commit(self.conn, partial(observe, (self.now - self.state.started) / 1000))
                    wake(self.conn, self.key.topic)
            case StartAgain():
                self._enqueue(RETRY)

    @property
    def _dedup(self) -> str:
        return f"{self.account}/{self.region}/{self.key.id}"

    def _enqueue(self, kind: str, *, due: int | None = None) -> None:
        self.enqueue(kind, {"id": self.key.id}, dedup=self._dedup, due=due)


def find_journal(conn: sa.Connection, account: str, region: str, id: str) -> Found | None:
    """The journal of a build, by its id (project:uuid)."""
    row = records.find_build(conn, account, region, id) if ":" in id else None
    if row is None:
        return former(conn, account, region, id, kind="build")
    return Found(aggregate=Key(account, region, id).aggregate, arn=row.document["arn"])


def apply(
    conn: sa.Connection,
    app: App,
    key: Key,
    inputs: Sequence[Input],
    *,
    job: Job | None = None,
    actor: str = "",
    cause: str = "",
) -> BuildState | None:
    """Transaction: apply inputs to a build; its state then, or None when it is gone.

    `job` is completed when that completes the build; `actor` and `cause` as for `Aggregate.apply`.
    """
    build = Build.find(conn, key)
    if build is None:
        return None
    with build:
        for input in inputs:
            build.apply(input, now=app.clock.now(), seed=app.ids.seed(), actor=actor, cause=cause)
    if build.state.complete and job is not None:
        jobs.complete(conn, job)
    return build.state
