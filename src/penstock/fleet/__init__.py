"""Our own service `penstock`: what AWS has no operation for. And the health pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import MODELS
from penstock.component import Component
from penstock.fleet.health import Health
from penstock.fleet.lag import Lag
from penstock.fleet.operations import jobs, journals
from penstock.fleet.settings import FleetSettings
from penstock.fleet.traces import Traces
from penstock.store.readings import READINGS
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["SETTINGS", "component"]

MODEL = MODELS / "penstock" / "2026-11-01" / "service-2.json"
SETTINGS = FleetSettings


def component(app: App) -> Component[Health]:
    """The model of our own service, the operations on dead jobs and journals, and the health pages."""
    health, lag, traces = Health(app), Lag(app), Traces(app)
    return Component(
        name="fleet",
        state=health,
        services=(
            Service("penstock", MODEL, secrets=("CreateActionTypeClientOutput$clientToken", "ActionVariable$value")),
        ),
        operations=(jobs, journals),
        readings=READINGS,
        mounts=health.mounts,
        start=(lag.start, traces.start),
        stop=(lag.stop, health.readings.stop, traces.stop),
    )
