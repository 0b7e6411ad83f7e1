"""The pipeline as an aggregate: its rows, and what its engine's effects do in the transaction that decided them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import effects, engine, event_details, inputs, measures, offers, records
from penstock.pipelines.effects import Effect, EventState
from penstock.pipelines.events import ACTION_CHANGED, EXECUTION_CHANGED, STAGE_CHANGED
from penstock.pipelines.inputs import Input
from penstock.pipelines.model import ActionPlan, ActionStatus, ExecutionMode, Key, Plan, aggregate_name, rule_named
from penstock.pipelines.replay import journalled
from penstock.pipelines.state import BLANK, Execution, Pipeline, with_executions
from penstock.pipelines.versions import Versions
from penstock.store import jobs
from penstock.store.aggregate import Aggregate
from penstock.store.catalogue import EventType
from penstock.store.codec import Codec
from penstock.store.failpoints import failpoint
from penstock.store.statement import ask
from penstock.store.transaction import after_commit

START_JOB = "pipelines.action.start"
STOP_JOB = "pipelines.action.stop"
OBSERVE_JOB = "pipelines.action.observe"
TIMEOUT_JOB = "pipelines.action.timeout"
OURS = "AWS"  # the owner of action types that this installation runs itself, for the most part


class PipelineAggregate(Aggregate[Pipeline, Input, Effect]):
    """A pipeline whose row is locked, or which is being created."""

    inputs = Codec(
        "an input of a pipeline",
        inputs.PipelineCreated,
        inputs.StartRequested,
        inputs.ActionAccepted,
        inputs.ActionReported,
        inputs.ActionSucceeded,
        inputs.ActionFailed,
        inputs.ActionTimedOut,
        inputs.ApprovalAnswered,
        inputs.StopRequested,
        inputs.RetryRequested,
        inputs.RollbackRequested,
        inputs.OverrideRequested,
        inputs.TransitionDisabled,
        inputs.TransitionEnabled,
        inputs.PipelineUpdated,
        inputs.PipelineDeleted,
    )
    effects = Codec(
        "an effect of a pipeline",
        effects.ExecutionCreated,
        effects.ActionStarted,
        effects.ActionDescribed,
        effects.ActionEnded,
        effects.StopAction,
        effects.SetTimer,
        effects.CancelTimer,
        effects.StageChanged,
        effects.ExecutionChanged,
    )

    def __init__(
        self,
        conn: sa.Connection,
        versions: Versions,
        key: Key,
        *,
        state: Pipeline = BLANK,
        sequence: int = 0,
        latest: Mapping[str, Mapping[str, str]] | None = None,
        new: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            conn, name=aggregate_name(key.id), account=key.account, region=key.region, state=state, sequence=sequence
        )
        self.key = key  # with its id
        self._versions = versions
        self._latest = latest or {}  # stage → action → its latest execution
        self._new = new  # columns of a row that is still to be inserted
        self._complete = new is not None  # the live executions are at hand
        self._changed: dict[str, Execution] = {}
        self._created: dict[str, effects.ExecutionCreated] = {}
        self._succeeded: dict[str, str] = {}  # execution → stages since the last time
        self._started = 0  # actions of the present decision

    @classmethod
    def find(cls, conn: sa.Connection, versions: Versions, key: Key, *, own: str = "") -> PipelineAggregate | None:
        """Lock a pipeline; None when it is not there. `own` is the execution that the first input needs (`engine.needs`)."""
        questions = [records.finding_pipeline(key.account, key.region, key.name, lock=True)]
        if own and key.id:
            questions.append(records.finding_execution(key.id, own))
        found, *executions = ask(conn, *questions)
        row = found[0] if found else None
        if row is None or (key.id and row.id != key.id):
            return None
        state = records.STATE.load(row.state)
        known = key if key.id else replace(key, id=row.id)
        pipeline = cls(conn, versions, known, state=state, sequence=row.sequence, latest=row.latest)
        for rows in executions:
            pipeline._take_own(rows)
        return pipeline

    @classmethod
    def create(
        cls, conn: sa.Connection, versions: Versions, key: Key, *, columns: Mapping[str, Any]
    ) -> PipelineAggregate:
        """A pipeline that is being declared. `columns` are those of its row that its decisions do not change."""
        return cls(conn, versions, key, new=columns)

    @property
    def plan(self) -> Plan:
        """The current plan."""
        return self._versions.plan(self.conn, self.key.id, self.state.version)

    def apply(self, input: Input, *, now: int, seed: int, actor: str = "", cause: str = "") -> Sequence[Effect]:
        """See Aggregate.apply."""
        self._load(engine.needs(input))
        self._started = 0
        return super().apply(input, now=now, seed=seed, actor=actor, cause=cause)

    def decide(self, input: Input, *, now: int, seed: int) -> tuple[Pipeline, Sequence[Effect]]:
        """See `engine.decide`; the rows are those of `engine.needs`."""
        return engine.decide(self.state, input, now, seed)

    def _load(self, needs: engine.Needs) -> None:
        own = self.state.executions.get(needs.own)
        if needs.live and not self._complete and not (own is not None and own.mode is ExecutionMode.PARALLEL):
            self._complete = True
            self.flush()  # what this very transaction has decided is read as it was left
            self._take(records.LIVE_EXECUTIONS.all(self.conn, {"i": self.key.id}))
        missing = [id for id in needs.executions if id not in self.state.executions]
        if missing:
            self.flush()  # one that ended in this very transaction is read as it was left
        for id in missing:
            self._take(ask(self.conn, records.finding_execution(self.key.id, id))[0])

    def _take_own(self, rows: Sequence[Any]) -> None:
        if rows and rows[0].live:
            self._take(rows)

    def _take(self, rows: Sequence[Any]) -> None:
        # Those at hand are as this very transaction left them, which holds the pipeline's row.
        unknown = [row for row in rows if row.id not in self.state.executions]
        if not unknown and self.state.version in self.state.plans:
            return
        executions = [records.EXECUTION_STATE.load(row.state) for row in unknown]
        versions = {self.state.version, *(execution.version for execution in executions)}
        plans = {version: self._versions.plan(self.conn, self.key.id, version) for version in versions}
        self.state = with_executions(self.state, executions, plans)

    def note_decision(self, before: Pipeline, effects: Sequence[Effect]) -> None:  # noqa: ARG002
        """See Aggregate.decided."""
        for id, execution in self.state.executions.items():
            if before.executions.get(id) is not execution:
                self._changed[id] = execution

    def journalled(self, effect: Effect, input: Input) -> Effect:
        """See `replay.journalled`."""
        return journalled(effect, input)

    def perform(self, effect: Effect) -> None:
        """Rows of actions, jobs, timers and events; executions are written by `keep`."""
        match effect:
            case effects.ExecutionCreated():
                self._created[effect.execution] = self._with_variables(effect)
            case effects.ActionStarted():
                self._start_action(effect)
            case effects.ActionDescribed():
                columns = records.columns_of(effect.details)
                statement = records.describe_action(tuple(sorted(columns)))
                statement.later(self.conn, {**columns, "x": effect.action})
            case effects.ActionEnded():
                self._end_action(effect)
            case effects.StageChanged():
                self._stage_changed(effect)
            case effects.ExecutionChanged():
                self._execution_changed(effect)
            case effects.SetTimer():
                self._job(TIMEOUT_JOB, effect.execution, effect.action, due=effect.due, dedup=effect.action)
            case effects.CancelTimer():
                jobs.cancel(self.conn, kind=TIMEOUT_JOB, dedup=effect.action)
                jobs.cancel(self.conn, kind=OBSERVE_JOB, dedup=effect.action)
            case effects.StopAction():
                self._job(STOP_JOB, effect.execution, effect.action)

    def _with_variables(self, effect: effects.ExecutionCreated) -> effects.ExecutionCreated:
        """A rollback has the variables of its target, unless that was so long ago that it is gone."""
        if effect.target is None:
            return effect
        row = records.EXECUTION.first(self.conn, {"x": effect.target, "i": self.key.id})
        return effect if row is None else replace(effect, variables=row.variables)

    def _plan_of(self, execution: Execution, stage: str, action: str) -> ActionPlan:
        plan = self.state.plans[execution.version]
        found = next(found for found in plan.stages if found.name == stage).action(action)
        assert found is not None
        return found

    def _start_action(self, effect: effects.ActionStarted) -> None:
        execution = self.state.executions[effect.execution]
        plan = self._plan_of(execution, effect.stage, effect.name)
        kind = plan.type
        self._started += 1
        condition, name = rule_named(effect.name)
        columns = {
            "id": effect.action,
            "pipeline_id": self.key.id,
            "execution_id": effect.execution,
            "ordinal": self.sequence * 10_000 + self._started,
            "account": self.account,
            "region": self.region,
            "pipeline": self.key.name,
            "version": execution.version,
            "stage": effect.stage,
            "action": name,
            "provider": f"{kind.category}/{kind.owner}/{kind.provider}/{kind.version}",
            "attempt": execution.attempt,
            "status": ActionStatus.IN_PROGRESS.value,
            "started": self.now,
            "updated": self.now,
            "token": effect.token or None,
            "external_id": effect.action if kind.category == "Approval" else None,
            "condition": condition or None,
        }
        records.INSERT_ACTION.later(self.conn, columns)
        if execution.mode is not ExecutionMode.PARALLEL:  # of those GetPipelineState shows nothing, in a later mode too
            self._latest = {
                **self._latest,
                effect.stage: {**self._latest.get(effect.stage, {}), effect.name: effect.action},
            }
        self._job(START_JOB, effect.execution, effect.action, handed=records.new_action(columns))
        if condition:  # AWS documents no events of rules
            return
        detail = event_details.action_detail(
            self.key.name, execution, effect, type=kind, region=plan.region or self.region, started=self.now, row={}
        )
        self._emit(ACTION_CHANGED, detail, execution)

    def _end_action(self, effect: effects.ActionEnded) -> None:
        execution = self.state.executions[effect.execution]
        plan = self._plan_of(execution, effect.stage, effect.name)
        kind = plan.type
        columns = records.columns_of(effect.details)
        columns |= {"status": str(effect.status), "updated": self.now}
        if effect.code:
            columns |= {"error_code": effect.code, "error_message": effect.message[:5000]}
        if effect.by:
            columns["updated_by"] = effect.by
        jobs.withdraw(self.conn, kind=START_JOB, action=effect.action)  # it may be about to be started
        if kind.owner != OURS:
            offers.withdraw(self.conn, effect.action)
        statement = records.end_action(tuple(sorted(columns)))
        row = statement.first(self.conn, {**columns, "x": effect.action})._asdict()
        if rule_named(effect.name)[0]:
            return
        detail = event_details.action_detail(
            self.key.name,
            execution,
            effect,
            type=kind,
            region=plan.region or self.region,
            started=row["started"],
            row=row,
        )
        self._emit(ACTION_CHANGED, detail, execution)
        took = self.now - row["started"]
        name = self.key.name
        after_commit(
            self.conn,
            lambda: measures.action_ended(name, kind.category, effect.status, took, error=effect.code),
        )

    def _stage_changed(self, effect: effects.StageChanged) -> None:
        execution = self.state.executions[effect.execution]
        if effect.state is EventState.SUCCEEDED and effect.passed:
            self._succeeded[execution.id] = f"{self._succeeded.get(execution.id, '')}{effect.stage}/"
        self._emit(STAGE_CHANGED, event_details.stage_detail(self.key.name, execution, effect), execution)

    def _execution_changed(self, effect: effects.ExecutionChanged) -> None:
        execution = self.state.executions[effect.execution]
        created = self._created.get(effect.execution) if effect.state is EventState.STARTED else None
        trigger = None if created is None else created.trigger
        detail = event_details.execution_detail(self.key.name, execution, effect, trigger)
        self._emit(EXECUTION_CHANGED, detail, execution)
        if measures.is_end(effect.state):
            name, took = self.key.name, self.now - execution.started
            after_commit(self.conn, lambda: measures.run_ended(name, effect.state, took))

    def _job(
        self,
        kind: str,
        execution: str,
        action: str,
        *,
        due: int | None = None,
        dedup: str | None = None,
        handed: Any = None,
    ) -> None:
        payload = {"pipeline": self.key.name, "id": self.key.id, "execution": execution, "action": action}
        self.enqueue(kind, payload, due=due, dedup=dedup, handed=handed)

    def _emit(self, type: EventType, detail: dict[str, Any], execution: Execution) -> None:
        self.emit(type, detail, correlation=execution.id, actor=self.actor, cause=self.cause)

    def keep(self) -> None:
        """Write the executions that changed."""
        for execution in self._changed.values():
            state = records.EXECUTION_STATE.dump(execution)
            stages = self._succeeded.get(execution.id, "")
            created = self._created.get(execution.id)
            if created is None:
                values = {"x": execution.id, "s": state, "l": execution.live, "now": self.now, "stages": stages}
                records.UPDATE_EXECUTION.later(self.conn, values)
            else:
                self._insert(execution, created, state, "/" + stages)
        for written in (self._changed, self._created, self._succeeded):
            written.clear()

    def _insert(
        self, execution: Execution, created: effects.ExecutionCreated, state: Mapping[str, Any], succeeded: str
    ) -> None:
        records.INSERT_EXECUTION.later(
            self.conn,
            {
                "id": execution.id,
                "pipeline_id": self.key.id,
                "number": execution.number,
                "account": self.account,
                "region": self.region,
                "live": execution.live,
                "started": execution.started,
                "updated": self.now,
                "trigger_type": str(created.trigger.type),
                "trigger_detail": created.trigger.detail[:1024],
                "variables": created.variables,
                "overrides": created.overrides,
                "succeeded": succeeded,
                "state": state,
            },
        )

    def save(self) -> None:
        """Write the pipeline's row, which was locked when it was found."""
        state = records.STATE.dump(replace(self.state, executions={}, plans={}))
        if self._new is None:
            values = {"i": self.key.id, "after": self.sequence, "s": state, "l": self._latest}
            records.UPDATE_PIPELINE.later(self.conn, values)
        else:
            key = self.key
            where = {"account": key.account, "region": key.region, "name": key.name, "id": key.id}
            values = {"version": self.state.version, "sequence": self.sequence, "state": state, "latest": self._latest}
            self.conn.execute(records.pipelines.insert(), {**where, **self._new, **values})
            self._new = None
        failpoint("pipelines.before_commit")


def apply(
    conn: sa.Connection,
    versions: Versions,
    key: Key,
    input: Input,
    *,
    now: int,
    seed: int,
    actor: str = "",
    cause: str = "",
) -> Sequence[Effect] | None:
    """Transaction: take one decision on a pipeline; its effects, or None when it is not there."""
    found = PipelineAggregate.find(conn, versions, key, own=engine.needs(input).own)
    if found is None:
        return None
    with found:
        return found.apply(input, now=now, seed=seed, actor=actor, cause=cause)
