"""The pages: one module a page, each with its ROUTES."""

from __future__ import annotations

from penstock.console.pages import (
    approval,
    build,
    builds,
    deployment,
    deployments,
    home,
    pipeline,
    pipeline_forms,
    pipelines,
    regions,
)
from penstock.console.view import Page

# Order matters: the first route that fits is taken, so fixed paths stand before those with names in them.
_MODULES = (home, regions, pipelines, approval, pipeline, pipeline_forms, builds, build, deployments, deployment)


def routes() -> list[tuple[str, str, Page]]:
    """Method, path below /console/ and page, of every page."""
    return [route for module in _MODULES for route in module.ROUTES]
