"""Writing down one decision: rows, jobs, timers and events, in the transaction that decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import announcements, records
from penstock.pipelines.effects import (
    ActionEnded,
    ActionStarted,
    CancelTimer,
    Effect,
    EventState,
    ExecutionChanged,
    ExecutionCreated,
    SetTimer,
    StageChanged,
    StopAction,
)
from penstock.pipelines.model import ExecutionMode, Trigger
from penstock.pipelines.state import Execution, Pipeline, execution_to_payload, slots_to_payload
from penstock.store import jobs
from penstock.store.events import Event, emit
from penstock.store.ids import ordered_uuid

START_JOB = "pipelines.action.start"
STOP_JOB = "pipelines.action.stop"
OBSERVE_JOB = "pipelines.action.observe"
TIMEOUT_JOB = "pipelines.action.timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Which pipeline. With `id`, only the one that bears it: a namesake made later is another."""

    account: str
    region: str
    name: str
    id: str = ""

    @property
    def aggregate(self) -> str:
        """The name of the aggregate in events."""
        return f"pipeline/{self.account}/{self.region}/{self.name}"


@dataclass(slots=True)
class Loaded:
    """A pipeline in the hands of a transaction."""

    row: Any  # of the table pipelines
    state: Pipeline

    @property
    def key(self) -> Key:
        """Which pipeline."""
        return Key(account=self.row.account, region=self.row.region, name=self.row.name, id=self.row.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a decision is told beside the happening itself."""

    details: Mapping[str, Any] | None = None  # columns of the action execution that the happening is about
    actor: str = ""  # ARN of who caused it
    cause: str = ""  # id of the event or request


class Commit:
    """Writes one decision."""

    def __init__(self, conn: sa.Connection, loaded: Loaded, after: Pipeline, *, now: int, report: Report) -> None:
        self.conn = conn
        self.loaded = loaded
        self.row = loaded.row
        self.key = loaded.key
        self.before = loaded.state
        self.after = after
        self.now = now
        self.report = report
        self.sequence: int = loaded.row.sequence + 1
        self.latest: dict[str, dict[str, str]] = loaded.row.latest
        self.entered: dict[str, int] = {}
        self.triggers: dict[str, Trigger] = {}

    def executions(self, effects: tuple[Effect, ...]) -> None:
        """Insert new executions and update those that changed."""
        created = {effect.execution: effect for effect in effects if isinstance(effect, ExecutionCreated)}
        for execution in self.after.executions.values():
            if execution.id in created:
                self._insert(execution, created[execution.id])
            elif self.before.executions.get(execution.id) is not execution:
                records.UPDATE_EXECUTION.later(
                    self.conn,
                    {
                        "x": execution.id,
                        "s": execution_to_payload(execution),
                        "l": execution.live,
                        "now": self.now,
                    },
                )

    def _insert(self, execution: Execution, created: ExecutionCreated) -> None:
        self.triggers[execution.id] = created.trigger
        records.INSERT_EXECUTION.later(
            self.conn,
            {
                "id": execution.id,
                "pipeline_id": self.row.id,
                "number": execution.number,
                "account": self.row.account,
                "region": self.row.region,
                "live": execution.live,
                "started": execution.started,
                "updated": self.now,
                "trigger_type": str(created.trigger.type),
                "trigger_detail": created.trigger.detail[:1024],
                "variables": created.variables,
                "overrides": created.overrides,
                "succeeded": "/",
                "state": execution_to_payload(execution),
            },
        )

    def effect(self, effect: Effect, index: int) -> None:
        """Do one effect, as far as a transaction can."""
        match effect:
            case ActionStarted():
                self._start_action(effect, index)
            case ActionEnded():
                self._end_action(effect)
            case StageChanged():
                self._stage_changed(effect)
            case ExecutionChanged():
                trigger = self.triggers.get(effect.execution) if effect.state is EventState.STARTED else None
                execution = self._execution(effect.execution)
                self._emit(
                    announcements.EXECUTION,
                    announcements.execution_detail(self.row.name, execution, effect, trigger),
                    execution,
                )
            case SetTimer():
                self._job(TIMEOUT_JOB, effect.execution, effect.action, due=effect.due, dedup=effect.action)
            case CancelTimer():
                jobs.cancel(self.conn, kind=TIMEOUT_JOB, dedup=effect.action)
                jobs.cancel(self.conn, kind=OBSERVE_JOB, dedup=effect.action)
            case StopAction():
                self._job(STOP_JOB, effect.execution, effect.action)
            case ExecutionCreated():
                pass  # its row is written already

    def _execution(self, execution_id: str) -> Execution:
        return self.after.executions.get(execution_id) or self.before.executions[execution_id]

    def _start_action(self, effect: ActionStarted, index: int) -> None:
        execution = self._execution(effect.execution)
        kind = effect.plan.type
        records.INSERT_ACTION.later(
            self.conn,
            {
                "id": effect.action,
                "pipeline_id": self.row.id,
                "execution_id": effect.execution,
                "ordinal": self.sequence * 10_000 + index,
                "account": self.row.account,
                "region": self.row.region,
                "pipeline": self.row.name,
                "version": execution.version,
                "stage": effect.stage,
                "action": effect.plan.name,
                "provider": f"{kind.category}/{kind.owner}/{kind.provider}/{kind.version}",
                "attempt": execution.attempt,
                "status": "InProgress",
                "started": self.now,
                "updated": self.now,
                "token": effect.token or None,
                "external_id": effect.action if kind.category == "Approval" else None,
            },
        )
        if (
            execution.mode is not ExecutionMode.PARALLEL
        ):  # GetPipelineState shows nothing of those, also in a later mode
            self.latest = {
                **self.latest,
                effect.stage: {**self.latest.get(effect.stage, {}), effect.plan.name: effect.action},
            }
        self._job(START_JOB, effect.execution, effect.action)
        detail = announcements.action_detail(
            self.row.name, execution, effect, region=self.row.region, started=self.now, row={}
        )
        self._emit(announcements.ACTION, detail, execution)

    def _end_action(self, effect: ActionEnded) -> None:
        execution = self._execution(effect.execution)
        columns: dict[str, Any] = dict(self.report.details or {})
        columns |= {"status": str(effect.status), "updated": self.now}
        if effect.code:
            columns |= {"error_code": effect.code, "error_message": effect.message[:5000]}
        if effect.summary is not None:
            columns["summary"] = effect.summary
        if effect.by:
            columns["updated_by"] = effect.by
        statement = records.end_action(tuple(sorted(columns)))
        row = statement.first(self.conn, {**columns, "x": effect.action})._asdict()
        detail = announcements.action_detail(
            self.row.name, execution, effect, region=self.row.region, started=row["started"], row=row
        )
        self._emit(announcements.ACTION, detail, execution)

    def _stage_changed(self, effect: StageChanged) -> None:
        execution = self._execution(effect.execution)
        if effect.state is EventState.SUCCEEDED:
            records.SUCCEEDED_IN.later(self.conn, {"x": effect.execution, "stage": effect.stage + "/"})
        entered = execution.entered if execution.stage == effect.stage else None
        if entered is None:
            before = self.before.executions.get(effect.execution)
            entered = before.entered if before is not None else None
        detail = announcements.stage_detail(self.row.name, execution, effect, self.now if entered is None else entered)
        self._emit(announcements.STAGE, detail, execution)

    def _job(self, kind: str, execution: str, action: str, *, due: int | None = None, dedup: str | None = None) -> None:
        jobs.enqueue(
            self.conn,
            kind=kind,
            payload={"pipeline": self.row.name, "id": self.row.id, "execution": execution, "action": action},
            account=self.row.account,
            region=self.row.region,
            due=due,
            dedup=dedup,
        )

    def _emit(self, kind: str, detail: dict[str, Any], execution: Execution) -> None:
        event = Event(
            type=kind,
            account=self.row.account,
            region=self.row.region,
            aggregate=self.key.aggregate,
            payload=detail,
            actor=self.report.actor,
            cause=self.report.cause,
            correlation=execution.id,
        )
        emit(self.conn, event, now=self.now, id=ordered_uuid())

    def pipeline(self) -> None:
        """Write the pipeline's own row, which was locked when it was loaded."""
        records.UPDATE_PIPELINE.later(
            self.conn,
            {
                "i": self.row.id,
                "after": self.sequence,
                "s": slots_to_payload(self.after),
                "l": self.latest,
            },
        )
