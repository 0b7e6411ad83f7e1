"""The web console: server-rendered pages that call registered operations as the signed-in user, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component
from penstock.console.web import Console

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[Console]:
    """The pages."""
    web_console = Console(app)
    return Component(
        name="console", state=web_console, mounts={"/console/": web_console.asgi}, stop=(web_console.stop,)
    )
