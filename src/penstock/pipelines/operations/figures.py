"""GetDeliveryFigures: how a pipeline, or all of an account and region, delivers. Ours, since AWS has nothing like it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import dora, production
from penstock.pipelines.dora import DAY_MS, Deployment, Figures
from penstock.pipelines.operations import ours
from penstock.pipelines.operations.addressing import key_of, pipeline_arn, pipeline_row, without_nones
from penstock.pipelines.service import PipelineService
from penstock.wire.call import Input, Output

_DAYS = 30
_PIPELINES = 500  # in an answer: those with the most deployments


def _resource(call: Call, input: Input) -> str:
    return "*" if input.get("pipelineName") is None else pipeline_arn(call, input)


@ours("GetDeliveryFigures", resource=_resource)
async def get_delivery_figures(service: PipelineService, call: Call, input: Input) -> Output:
    """The figures of the last days, today included, by pipeline and for all of them together. A day is one of UTC."""
    name, days = input.get("pipelineName"), input.get("days", _DAYS)
    if name is not None:
        await call.app.store.read(pipeline_row, key_of(call, name))
    service.figures_places.take()
    try:
        async with service.figures_turn:
            return await call.app.store.scan(_figures, call, name, days)
    finally:
        service.figures_places.give_back()


def _figures(conn: sa.Connection, call: Call, name: str | None, days: int) -> Output:
    since = call.now - call.now % DAY_MS - (days - 1) * DAY_MS
    until = since + days * DAY_MS
    found = production.read(conn, since=since - production.BEFORE_MS, owner=(call.account, call.region), pipeline=name)
    judged = [(found.stages[id], dora.judged(attempts)) for id, attempts in found.attempts.items()]
    within = [(stage, dora.figures(deployments, since=since, until=until)) for stage, deployments in judged]
    deployed = [(stage, figures) for stage, figures in within if figures.succeeded + figures.failed]
    busiest = sorted(deployed, key=lambda one: -(one[1].succeeded + one[1].failed))[:_PIPELINES]
    together = [one for _, deployments in judged for one in deployments]
    return without_nones(
        {
            "startTime": since,
            "endTime": until,
            "readSince": found.read_since,
            "total": _to_api(dora.figures(together, since=since, until=until)),
            "pipelines": [
                {"pipelineName": stage.pipeline, "stageName": stage.stage, "figures": _to_api(figures)}
                for stage, figures in sorted(busiest, key=lambda one: one[0].pipeline)
            ],
            "days": _days(together, since, until),
        }
    )


def _to_api(found: Figures) -> dict[str, Any]:
    return without_nones(
        {
            "succeededDeployments": found.succeeded,
            "failedDeployments": found.failed,
            "deploymentsPerDay": found.per_day,
            "leadTimeSeconds": found.lead,
            "leadTimeP90Seconds": found.lead_p90,
            "changeFailureRate": found.failure_rate,
            "recoveryTimeSeconds": found.recovery,
            "unrecoveredFailures": found.unrecovered,
            "reworkRate": found.rework_rate,
        }
    )


def _days(deployments: Iterable[Deployment], since: int, until: int) -> list[dict[str, Any]]:
    return [
        {
            "date": day.date,
            "deployments": day.good,
            "failedDeployments": day.failed,
        }
        for day in dora.by_day(deployments, since=since, until=until)
    ]
