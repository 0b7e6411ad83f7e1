"""Rotations as rows: what is written of them, and the jobs and events that are written with it."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.secrets import engine, records, rotation
from penstock.secrets.engine import PENDING
from penstock.secrets.events import FAILED, SOURCE, STARTED, SUCCEEDED
from penstock.secrets.names import arn_of
from penstock.secrets.rotation import Rotation
from penstock.store import jobs
from penstock.store.catalogue import EventType
from penstock.store.events import Event, emit
from penstock.store.ids import ordered_uuid

RUN = "secrets.rotate"  # job: runs the function's steps
DUE = "secrets.rotation_due"  # job: a window opens

_NAMED = 400  # characters of a name that an aggregate's has room for
_NAMES = {
    STARTED.name: ("RotationStarted", "TestRotationStarted"),
    SUCCEEDED.name: ("RotationSucceeded", "TestRotationSucceeded"),
    FAILED.name: ("RotationFailed", "TestRotationFailed"),
}


def keep(conn: sa.Connection, row: Any, before: Rotation | None, after: Rotation, **values: Any) -> None:
    """Write how a locked secret is rotated, and put the jobs of what is new in it: another window, another run."""
    if after == before and not values:
        return
    records.change(conn, row, rotation=records.ROTATIONS.dump(after), **values)
    if after.opens and (before is None or after.opens != before.opens):
        _put(conn, row, DUE, {"opens": after.opens}, due=after.opens, dedup=after.opens)
    if after.token and (before is None or after.run != before.run):
        _put(conn, row, RUN, {"run": after.run}, due=None, dedup=after.run)


def _put(conn: sa.Connection, row: Any, kind: str, what: dict[str, Any], *, due: int | None, dedup: int) -> None:
    payload = {"account": row.account, "region": row.region, "name": row.name, "suffix": row.suffix, **what}
    jobs.enqueue(
        conn,
        kind=kind,
        payload=payload,
        account=row.account,
        region=row.region,
        due=due,
        dedup=records.dedup(row, dedup),
    )


def begin(
    conn: sa.Connection,
    app: App,
    row: Any,
    before: Rotation | None,
    state: Rotation,
    *,
    token: str,
    test: bool = False,
) -> None:
    """Begin a rotation of a locked secret: give it the version that the function makes, which has no value yet, and put the job.

    Raises LimitExceededException.
    """
    kept = records.kept(conn, row)
    stages = {one.id: one.stages for one in kept}
    if token not in stages:
        now = app.clock.now()
        gone = engine.outdated(kept, now)
        records.delete_versions(conn, row, gone)
        engine.check_room([one for one in kept if one.id not in gone])
        after = engine.attached(stages, token, [PENDING])
        records.insert_version(
            conn, row, id=token, created=now, stages=after[token], key=row.key, binary=False, value=b""
        )
        records.change_stages(conn, row, stages, after)
    started = rotation.started(state, token, test=test)
    keep(conn, row, before, started)
    announce(conn, app, row, STARTED, started)


def end_test(conn: sa.Connection, row: Any, state: Rotation) -> None:
    """Remove the version that a trial of the function was given, whose value is the current one's."""
    if state.test and state.token:
        (stages,) = [one.stages for one in records.kept(conn, row) if one.id == state.token] or [()]
        if list(stages) == [PENDING]:
            records.delete_versions(conn, row, [state.token])


def announce(conn: sa.Connection, app: App, row: Any, type: EventType, state: Rotation, *, reason: str = "") -> None:
    """Emit an event of the rotation that is under way in `state`."""
    detail = {"SecretId": arn(row), "ClientRequestToken": state.token} | ({"reason": reason} if reason else {})
    payload = {
        "eventSource": SOURCE,
        "eventName": _NAMES[type.name][state.test],
        "eventType": "AwsServiceEvent",
        "additionalEventData": detail,
    }
    event = Event(
        type=type.name,
        account=row.account,
        region=row.region,
        aggregate=f"secret/{row.name[:_NAMED]}-{row.suffix}",
        payload=payload,
        actor=SOURCE,
        correlation=state.token,
        version=type.version,
    )
    emit(conn, event, now=app.clock.now(), id=ordered_uuid())


def next_token(row: Any, state: Rotation, stages: engine.Stages) -> str:
    """The version that a scheduled rotation makes: the one that an earlier rotation has left unfinished, or a new one."""
    pending = engine.holder(stages, PENDING)
    if pending and engine.CURRENT not in stages[pending]:
        return pending
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn(row)}/{state.run}/{state.opens}"))


def arn(row: Any) -> str:
    return arn_of(row.account, row.region, row.name, row.suffix)
