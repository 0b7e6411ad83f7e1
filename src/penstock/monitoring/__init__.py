"""Metrics and alarms (AWS CloudWatch)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from penstock.component import Component, Guard, JobKind
from penstock.monitoring import acting, alarm_pages, alarm_records, records, source_reading
from penstock.monitoring.ageing import Ageing
from penstock.monitoring.alarms import ACTION, Alarm
from penstock.monitoring.evaluating import Evaluator
from penstock.monitoring.events import EVENTS
from penstock.monitoring.operations import alarms, metric_data, metrics, putting, sources, tags
from penstock.monitoring.pages import PAGES
from penstock.monitoring.profile import PROFILE
from penstock.monitoring.source_settings import MonitoringSettings
from penstock.wire.arns import parse_arn
from penstock.wire.identity import ResourcePolicy
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["SETTINGS", "component"]

SETTINGS = MonitoringSettings

# AWS names the states in this order when one is not among them.
_PATCH: Mapping[str, Any] = {"shapes": {"StateValue": {"enum": ["INSUFFICIENT_DATA", "ALARM", "OK"]}}}


def component(app: App) -> Component[App]:
    """What CloudWatch is here."""
    ageing, evaluator, reader = Ageing(app), Evaluator(app), source_reading.Reader(app)
    return Component(
        name="monitoring",
        state=app,
        services=(Service("cloudwatch", patch=_PATCH, profile=PROFILE),),
        operations=(putting, metrics, metric_data, alarms, tags, sources),
        jobs=(
            JobKind(kind=ACTION, run=acting.act, on_dead=acting.fail),
            JobKind(
                kind=source_reading.READ,
                run=lambda _app, job: reader.read(job),
                concurrency=source_reading.AT_ONCE,
                on_dead=source_reading.give_up,
            ),
        ),
        events=EVENTS,
        templates=Path(__file__).parent / "templates",
        aggregates=(Alarm,),
        guards=(Guard(service="cloudwatch", policy=_services, keys={"aws:resourcetag/": _tags}),),
        pages=(*alarm_pages.PAGES, *PAGES),
        readings=(source_reading.FAILING,),
        expiring=(*records.EXPIRING, *alarm_records.EXPIRING),
        start=(ageing.start, evaluator.start),
        stop=(ageing.stop, evaluator.stop),
    )


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    named = parse_arn(arn, "cloudwatch")
    if named is None or not named.resource.startswith("alarm:"):
        return {}
    place = (named.account, named.region)
    row = await app.store.read(alarm_records.alarm, place, named.resource.removeprefix("alarm:"))
    return {} if row is None else row.tags


# What CloudWatch Logs counts for a metric filter, which whoever may put one wants to be counted. AWS asks for no policy either.
_MEASURING = orjson.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "logs.amazonaws.com"},
                "Action": "cloudwatch:PutMetricData",
                "Resource": "*",
            }
        ],
    }
).decode()


async def _services(_app: App, arn: str) -> ResourcePolicy | None:
    """Which services of ours may measure in an account."""
    named = parse_arn(arn, "cloudwatch")
    if named is None or named.resource != "metrics":
        return None
    return ResourcePolicy(account=named.account, documents=(_MEASURING,))
