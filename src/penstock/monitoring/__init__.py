"""Metrics and alarms (AWS CloudWatch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from penstock.component import Component, Guard
from penstock.monitoring import alarm_records, records
from penstock.monitoring.ageing import Ageing
from penstock.monitoring.operations import metrics, putting
from penstock.monitoring.profile import PROFILE
from penstock.wire.arns import parse_arn
from penstock.wire.identity import ResourcePolicy
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[App]:
    """What CloudWatch is here."""
    ageing = Ageing(app)
    return Component(
        name="monitoring",
        state=app,
        services=(Service("cloudwatch", profile=PROFILE),),
        operations=(putting, metrics),
        guards=(Guard(service="cloudwatch", policy=_services),),
        expiring=(*records.EXPIRING, *alarm_records.EXPIRING),
        start=(ageing.start,),
        stop=(ageing.stop,),
    )


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
