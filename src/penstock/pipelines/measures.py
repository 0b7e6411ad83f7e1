"""The metrics of pipelines. Runs have the names of OpenTelemetry's conventions for CI/CD."""

from __future__ import annotations

from collections import Counter, defaultdict

import sqlalchemy as sa

from penstock.metrics import OTHER, Names, Reading, Values, by_labels, counter, gauge, histogram
from penstock.pipelines import production, records
from penstock.pipelines.dora import DAY_MS, Deployment, figures, judged
from penstock.pipelines.effects import EventState
from penstock.pipelines.model import ActionStatus, ExecutionStatus

_RESULTS = {
    EventState.SUCCEEDED: "success",
    EventState.FAILED: "failure",
    EventState.STOPPED: "cancellation",
    EventState.CANCELED: "cancellation",
    EventState.SUPERSEDED: "skip",
}
RESULT_OF = {
    ExecutionStatus.SUCCEEDED: "success",
    ExecutionStatus.FAILED: "failure",
    ExecutionStatus.STOPPED: "cancellation",
    ExecutionStatus.CANCELLED: "cancellation",
    ExecutionStatus.SUPERSEDED: "skip",
}
"""OpenTelemetry's cicd.pipeline.result of an execution."""

_EXECUTING = "executing"
_BOUNDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
_names = Names()

RUN_SECONDS = by_labels(
    histogram(
        "cicd_pipeline_run_duration_seconds",
        "From the start of an execution to its end; of one that is retried, to each of its ends.",
        "cicd_pipeline_name",
        "cicd_pipeline_run_state",
        "cicd_pipeline_result",
        bounds=_BOUNDS,
    )
)
RUN_ERRORS = by_labels(
    counter("cicd_pipeline_run_errors_total", "Actions of executions that failed.", "cicd_pipeline_name", "error_type")
)
_ERRORS = frozenset(
    {
        "JobFailed",
        "ConfigurationError",
        "PermissionError",
        "RevisionOutOfSync",
        "RevisionUnavailable",
        "SystemUnavailable",
    }
)  # AWS: FailureType
RUNS_ACTIVE = gauge(
    "cicd_pipeline_run_active",
    "Executions that are under way, those that wait for a stage among them.",
    "cicd_pipeline_name",
    "cicd_pipeline_run_state",
)
ACTION_SECONDS = by_labels(
    histogram(
        "penstock_action_seconds", "From the start of an action to its end.", "category", "result", bounds=_BOUNDS
    )
)
APPROVALS = gauge("penstock_approvals_waiting", "Approvals that wait for an answer.")
APPROVAL_SECONDS = gauge(
    "penstock_approvals_oldest_seconds", "For how long the oldest of them has waited; 0 when there is none."
)


def run_ended(pipeline: str, state: EventState, milliseconds: int) -> None:
    """Count the end of an execution."""
    RUN_SECONDS(_names.of(pipeline), _EXECUTING, _RESULTS[state]).observe(milliseconds / 1000)


def is_end(state: EventState) -> bool:
    """Whether an execution ends with it."""
    return state in _RESULTS


def action_ended(pipeline: str, category: str, status: ActionStatus, milliseconds: int, *, error: str) -> None:
    """Count the end of an action; `error` is the code of what went wrong, or empty."""
    ACTION_SECONDS(category, str(status)).observe(milliseconds / 1000)
    if status is ActionStatus.FAILED:
        RUN_ERRORS(_names.of(pipeline), error if error in _ERRORS else OTHER).inc()


def _active(conn: sa.Connection, _now: int) -> tuple[Values]:
    e, p = records.executions.c, records.pipelines.c
    live = (
        sa.select(p.name, sa.func.count())
        .select_from(records.executions.join(records.pipelines, p.id == e.pipeline_id))
        .where(e.live.is_(sa.true()))
        .group_by(p.name)
        .order_by(p.name)
    )
    active: Counter[tuple[str, str]] = Counter()
    for name, count in conn.execute(live):
        active[_names.of(name), _EXECUTING] += count
    return (active,)


def _approvals(conn: sa.Connection, now: int) -> tuple[Values, Values]:
    a, e = records.actions.c, records.executions.c
    waiting = (
        sa.select(sa.func.count(), sa.func.min(a.started))
        .select_from(records.executions.join(records.actions, a.execution_id == e.id))
        .where(e.live.is_(sa.true()), a.status == ActionStatus.IN_PROGRESS.value, a.token.is_not(None))
    )
    count, since = conn.execute(waiting).one()
    return {(): count}, {(): 0 if since is None else max(0, now - since) / 1000}


DORA = (
    gauge(
        "penstock_dora_deployments_per_day",
        "DORA's deployment frequency: successful deployments to production a day.",
        "cicd_pipeline_name",
    ),
    gauge(
        "penstock_dora_lead_time_seconds",
        "DORA's change lead time: the median, from a revision to its first successful deployment.",
        "cicd_pipeline_name",
    ),
    gauge(
        "penstock_dora_change_failure_ratio",
        "DORA's change failure rate: the share of deployments that failed or were rolled back.",
        "cicd_pipeline_name",
    ),
    gauge(
        "penstock_dora_recovery_time_seconds",
        "DORA's failed deployment recovery time: the median, from a failed deployment to the next good one.",
        "cicd_pipeline_name",
    ),
    gauge(
        "penstock_dora_rework_ratio",
        "DORA's rework rate: the share of deployments that followed a failed one.",
        "cicd_pipeline_name",
    ),
)


def _dora(conn: sa.Connection, now: int) -> tuple[Values, ...]:
    """Of the last 30 days. Pipelines of one name, in several accounts, are one here."""
    since = now - 30 * DAY_MS
    found = production.read(conn, since=since - production.BEFORE_MS)
    together: defaultdict[str, list[Deployment]] = defaultdict(list)
    for id, attempts in found.attempts.items():
        together[_names.of(found.stages[id].pipeline)] += judged(attempts)
    values: tuple[dict[tuple[str, ...], float], ...] = ({}, {}, {}, {}, {})
    for name, deployments in together.items():
        told = figures(deployments, since=since, until=now)
        all_five = (told.per_day, told.lead, told.failure_rate, told.recovery, told.rework_rate)
        for value, one in zip(values, all_five, strict=True):
            if one is not None:
                value[(name,)] = one
    return values


READINGS = (
    Reading(gauges=(RUNS_ACTIVE,), read=_active),
    Reading(gauges=(APPROVALS, APPROVAL_SECONDS), read=_approvals),
    Reading(gauges=DORA, read=_dora, every=300.0),  # it reads the runs of four months
)
