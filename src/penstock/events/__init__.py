"""Rules that act on what happens (Amazon EventBridge)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component
from penstock.events import records  # noqa: F401 - its tables are those of the component
from penstock.events.operations import patterns
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[App]:
    """EventBridge."""
    return Component(
        name="events",
        state=app,
        services=(Service("events"),),
        operations=(patterns,),
    )
