"""The pages: one module a page, each with its ROUTES."""

from __future__ import annotations

from penstock.console.pages import home
from penstock.console.site import Page

_MODULES = (home,)


def routes() -> list[tuple[str, str, Page]]:
    """Method, path below /console/ and page, of every page."""
    return [route for module in _MODULES for route in module.ROUTES]
