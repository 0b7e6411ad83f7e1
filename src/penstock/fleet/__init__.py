"""Our own service `penstock`: what AWS has no operation for. And the health pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.fleet import health
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.room import App


def register(app: App) -> None:
    """Hand over the service model and the health pages."""
    app.services.add(Service("penstock", Path(__file__).with_name("service-2.json")))
    health.register(app)
