"""Logs, and later metrics and alarms (AWS CloudWatch Logs)."""

from __future__ import annotations

from penstock.monitoring.logstore import LogStore
from penstock.monitoring.operations import events, groups
from penstock.room import App
from penstock.wire.registry import Operations
from penstock.wire.services import Service
from penstock.wire.validation import ErrorProfile

__all__ = ["register"]


def register(app: App) -> None:
    """Hand over the operations of `logs`."""
    store = LogStore(app.settings.data_dir / "log-events", app.store)
    operations = Operations("logs")
    groups.declare(operations, store)
    events.declare(operations, store)
    app.services.add(Service(name="logs", profile=ErrorProfile(code="InvalidParameterException")))
    app.registry.add(operations)
    app.on_start(store.start)
    app.on_stop(store.stop)
