"""The web console: serves the pages that components declare, and those that show the work of several of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component
from penstock.console.pages import PAGES
from penstock.console.web import Console

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[Console]:
    """The pages."""
    web_console = Console(app)
    return Component(
        name="console",
        state=web_console,
        pages=PAGES,
        mounts={"/console/": web_console.asgi},
        stop=(web_console.stop,),
    )
