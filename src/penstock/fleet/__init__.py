"""Our own service `penstock`: what AWS has no operation for. And the health pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import MODELS
from penstock.fleet import health
from penstock.fleet.operations import operations
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.room import App

MODEL = MODELS / "penstock" / "2026-11-01" / "service-2.json"


def register(app: App) -> None:
    """Hand over the service model, the operations and the health pages."""
    app.services.add(Service("penstock", MODEL))
    app.registry.add(operations)
    health.register(app)
