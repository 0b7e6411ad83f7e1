"""The web console: server-rendered pages that call registered operations as the signed-in user, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component
from penstock.console.site import Site

if TYPE_CHECKING:
    from penstock.room import App

__all__ = ["component"]


def component(app: App) -> Component[Site]:
    """The pages."""
    site = Site(app)
    return Component(name="console", state=site, mounts={"/console/": site.asgi}, stop=(site.stop,))
