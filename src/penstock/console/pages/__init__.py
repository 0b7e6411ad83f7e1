"""The pages: one module a page, each with its ROUTES."""

from __future__ import annotations

from penstock.console.pages import approval, home, pipeline, pipelines
from penstock.console.site import Page

# Order matters: the first route that fits is taken, so fixed paths stand before those with names in them.
_MODULES = (home, pipelines, approval, pipeline)


def routes() -> list[tuple[str, str, Page]]:
    """Method, path below /console/ and page, of every page."""
    return [route for module in _MODULES for route in module.ROUTES]
