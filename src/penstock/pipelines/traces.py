"""What traces tell of pipelines: the push, the run, its stages and their actions."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import measures, records
from penstock.pipelines.effects import EventState
from penstock.pipelines.events import EXECUTION_CHANGED
from penstock.pipelines.inputs import StartRequested
from penstock.pipelines.model import ActionStatus, ExecutionStatus, TriggerType, aggregate_name
from penstock.store.events import Event
from penstock.store.ids import time_of
from penstock.store.records import journal
from penstock.tracing import Span, Tracer

_DAY_MS = 86_400_000
_TYPES = {"Build": "build", "Test": "test", "Deploy": "deploy"}  # OpenTelemetry's cicd.pipeline.task.type
_RESULTS = {
    ActionStatus.SUCCEEDED: "success",
    ActionStatus.FAILED: "failure",
    ActionStatus.ABANDONED: "cancellation",
}


def _ended(event: Event) -> str:
    """The id of the execution that an event ends."""
    return event.payload["execution-id"] if measures.is_end(EventState(event.payload["state"])) else ""


def _find(conn: sa.Connection, account: str, region: str, id: str) -> Span | None:
    row = conn.execute(sa.select(records.executions).where(records.executions.c.id == id)).first()
    if row is None or (row.account, row.region) != (account, region):
        return None
    run = records.EXECUTION_STATE.load(row.state)
    a = records.actions
    actions = conn.execute(sa.select(a).where(a.c.execution_id == id).order_by(a.c.ordinal)).all()
    name = conn.execute(sa.select(records.pipelines.c.name).where(records.pipelines.c.id == row.pipeline_id)).scalar()
    stages = groupby(actions, key=lambda action: (action.stage, action.attempt))
    span = Span(
        key=f"run/{id}",
        name=f"run {name or row.pipeline_id}",
        start=row.started,
        end=row.updated,
        failed=run.status is ExecutionStatus.FAILED,
        attributes={
            "cicd.pipeline.name": name or "",
            "cicd.pipeline.run.id": id,
            "cicd.pipeline.result": measures.RESULT_OF.get(run.status, ""),
            "penstock.execution.number": row.number,
            "penstock.trigger": row.trigger_type,
            "vcs.ref.head.revision": next((one.revision["id"] for one in actions if one.revision), ""),
            "cloud.account.id": account,
            "cloud.region": region,
        },
        children=[_stage(stage, attempt, list(found)) for (stage, attempt), found in stages],
    )
    pushed = _pushed(conn, row)
    if pushed is None:
        return span
    return Span(key=f"push/{id}", name="push", start=pushed, end=row.started, children=[span])


def _stage(stage: str, attempt: int, actions: list[Any]) -> Span:
    return Span(
        key=f"stage/{actions[0].execution_id}/{attempt}/{stage}",
        name=f"stage {stage}",
        start=min(one.started for one in actions),
        end=max(one.updated for one in actions),
        failed=any(one.status == ActionStatus.FAILED and one.condition is None for one in actions),
        attributes={"penstock.attempt": attempt},
        children=[_action(one) for one in actions],
    )


def _action(row: Any) -> Span:
    category, _, provider, _ = row.provider.split("/")
    return Span(
        key=f"action/{row.id}",
        name=f"action {row.action}",
        start=row.started,
        end=row.updated,
        failed=row.status == ActionStatus.FAILED,
        attributes={
            "cicd.pipeline.task.name": row.action,
            "cicd.pipeline.task.run.id": row.id,
            "cicd.pipeline.task.type": _TYPES.get(category, ""),
            "cicd.pipeline.task.run.result": _RESULTS.get(ActionStatus(row.status), ""),
            "penstock.action.category": category,
            "penstock.action.provider": provider,
            "error.type": row.error_code or "",
        },
        refers=row.external_id or "",
    )


def _pushed(conn: sa.Connection, row: Any) -> int | None:
    """When the change was made that started the run: the time in the id of its event, which the journal has as the cause. None without one."""
    if row.trigger_type in (TriggerType.START, TriggerType.CREATE_PIPELINE):
        return None
    asked = sa.select(journal.c.cause, journal.c.input).where(
        journal.c.at == row.started,
        journal.c.aggregate == aggregate_name(row.pipeline_id),
        journal.c.account == row.account,
        journal.c.region == row.region,
    )
    for entry in conn.execute(asked):
        made = time_of(entry.cause) if entry.input["type"] == StartRequested.__name__ else None
        if made is not None and 0 <= row.started - made < _DAY_MS:
            return made
    return None


TRACER = Tracer(find=_find, ends={EXECUTION_CHANGED.name: _ended})
