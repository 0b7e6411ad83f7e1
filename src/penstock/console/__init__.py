"""The web console: server-rendered pages that call registered operations as the signed-in user, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.console.site import Site

if TYPE_CHECKING:
    from penstock.room import App

__all__ = ["register"]


def register(app: App) -> None:
    """Mount the pages."""
    site = Site(app)
    app.mount("/console/", site.asgi)
    app.on_stop(site.stop)
