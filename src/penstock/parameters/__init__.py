"""Parameters of applications and builds (AWS Systems Manager Parameter Store)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.component import Component, Guard
from penstock.parameters import records
from penstock.parameters.errors import ParameterNotFound
from penstock.parameters.names import named
from penstock.parameters.operations import labels, listing, public, reading, tags, writing
from penstock.parameters.pages import PAGES
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[App]:
    """Parameter Store: what of the service `ssm` is about parameters."""
    return Component(
        name="parameters",
        state=app,
        services=(Service("ssm"),),
        pages=PAGES,
        operations=(writing, reading, listing, labels, tags, public),
        guards=(Guard(service="ssm", keys={"aws:resourcetag/": _tags}),),
    )


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    try:
        found = named(arn, "", "")
    except ParameterNotFound:
        return {}
    row = await app.store.read(records.parameter, (found.account, found.region), found.path)
    return {} if row is None else row.tags
