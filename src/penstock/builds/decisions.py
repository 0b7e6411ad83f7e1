"""One decision about a build, in one transaction: lock, decide, keep, journal, tell, dispatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from penstock.builds import records
from penstock.builds.engine import (
    BuildState,
    Dispatch,
    Effect,
    Halt,
    Happening,
    PhaseChanged,
    StateChanged,
    decide,
)
from penstock.builds.model import Key, event_detail, phase_detail
from penstock.room import App
from penstock.store import events, jobs, journal
from penstock.store.jobs import Job
from penstock.store.transaction import wake

RUN = "builds.run"
"""The kind of the job that runs a build."""

QUEUED = "builds.queued"
"""The kind of the timer that ends a build which waits too long."""

RETRY = "builds.retry"
"""The kind of the job that starts a failed build anew, as its project's autoRetryLimit says."""


def _dedup(key: Key) -> str:
    return f"{key.account}/{key.region}/{key.id}"


def decided(
    conn: sa.Connection,
    app: App,
    key: Key,
    happenings: Sequence[Happening],
    *,
    patch: Mapping[str, Any] | None = None,
    node: str | None = None,
    job: Job | None = None,
) -> BuildState | None:
    """Transaction: what `happenings` make of the build; its new state, or None when it is gone.

    `patch` changes members of its document, `job` is completed when that completes the build.
    """
    row = records.find_build(conn, key.account, key.region, key.id, lock=True)
    if row is None:
        return None
    state = BuildState.from_json(row.state)
    document = row.document | dict(patch or {})
    now = app.clock.now()
    effects: list[tuple[BuildState, Effect]] = []
    sequence = row.sequence
    for happening in happenings:
        seed = app.ids.seed()
        after, wanted = decide(state, happening, now, seed)
        if after is state and not wanted:
            continue
        sequence += 1
        written(conn, key, sequence=sequence, now=now, seed=seed, happening=happening)
        state = after
        effects += [(after, effect) for effect in wanted]
    values: dict[str, Any] = {"state": state.to_json(), "complete": state.complete, "sequence": sequence}
    if patch:
        values["document"] = document
    if node is not None:
        values["node"] = node
    records.update_build(conn, key.account, key.region, key.id, **values)
    for at, effect in effects:
        carry_out(conn, app, key, document=document, state=at, effect=effect)
    if state.complete and job is not None:
        jobs.complete(conn, job)
    if state.complete and not row.complete and _retried(document, state):
        jobs.enqueue(
            conn, kind=RETRY, payload={"id": key.id}, dedup=_dedup(key), account=key.account, region=key.region
        )
    return state


def _retried(document: Mapping[str, Any], state: BuildState) -> bool:
    """Whether a build that is over is started anew by itself. AWS: "autoRetryLimit"; one that somebody stopped is not."""
    config = document.get("autoRetryConfig")
    return (
        config is not None
        and state.status in ("FAILED", "FAULT", "TIMED_OUT")
        and config["autoRetryNumber"] < config["autoRetryLimit"]
    )


def written(conn: sa.Connection, key: Key, *, sequence: int, now: int, seed: int, happening: Happening) -> None:
    """Keep a decision's inputs in the journal."""
    journal.append(
        conn,
        aggregate=key.aggregate,
        sequence=sequence,
        at=now,
        seed=seed,
        event={"type": type(happening).__name__, "v": 1} | asdict(happening),
        account=key.account,
        region=key.region,
    )


def carry_out(
    conn: sa.Connection, app: App, key: Key, *, document: Mapping[str, Any], state: BuildState, effect: Effect
) -> None:
    """Do what a decision wants, within its transaction."""
    where: dict[str, Any] = {"account": key.account, "region": key.region}
    match effect:
        case Dispatch():
            jobs.enqueue(conn, kind=RUN, payload={"id": key.id}, dedup=_dedup(key), **where)
            jobs.enqueue(conn, kind=QUEUED, payload={"id": key.id}, dedup=_dedup(key), due=state.queued_until, **where)
        case Halt():
            wake(conn, key.topic)
        case PhaseChanged(phase):
            _tell(conn, app, key, "codebuild.build.phase_changed", phase_detail(document, state, phase))
            if phase.type == "QUEUED":
                jobs.cancel(conn, kind=QUEUED, dedup=_dedup(key))
        case StateChanged():
            _tell(conn, app, key, "codebuild.build.state_changed", event_detail(document, state))
            if state.complete:
                wake(conn, key.topic)


def _tell(conn: sa.Connection, app: App, key: Key, kind: str, detail: dict[str, Any]) -> None:
    event = events.Event(
        type=kind,
        account=key.account,
        region=key.region,
        aggregate=key.aggregate,
        payload=detail,
        correlation=key.id,
    )
    events.emit(conn, event, now=app.clock.now(), id=app.ids.uuid())
