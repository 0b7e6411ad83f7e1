"""The pages that belong to no component alone: a pipeline's runs, builds and deployments lead to each other."""

from __future__ import annotations

from penstock.console.pages import (
    approval,
    build,
    builds,
    deployment,
    deployments,
    home,
    pipeline,
    pipelines,
)

PAGES = (
    home.PAGE,
    pipelines.PAGE,
    pipeline.PAGE,
    approval.PAGE,
    builds.PAGE,
    *build.PAGES,
    deployments.PAGE,
    deployment.PAGE,
)
