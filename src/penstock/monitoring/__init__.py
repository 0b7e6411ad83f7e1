"""Logs, and later metrics and alarms (AWS CloudWatch Logs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component
from penstock.monitoring.logstore import LogStore
from penstock.monitoring.operations import events, groups
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[LogStore]:
    """The operations of `logs`, on streams that lie below the data dir."""
    logs = LogStore(app.settings.data_dir / "log-events", app.store)
    return Component(
        name="monitoring",
        state=logs,
        services=(Service(name="logs", profile=ErrorProfile(code="InvalidParameterException")),),
        operations=(groups, events),
        start=(logs.start,),
        stop=(logs.stop,),
    )
