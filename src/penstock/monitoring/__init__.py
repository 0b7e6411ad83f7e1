"""Metrics and alarms (AWS CloudWatch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component
from penstock.monitoring import alarm_records, records
from penstock.monitoring.ageing import Ageing
from penstock.monitoring.operations import metrics, putting
from penstock.monitoring.profile import PROFILE
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
        expiring=(*records.EXPIRING, *alarm_records.EXPIRING),
        start=(ageing.start,),
        stop=(ageing.stop,),
    )
