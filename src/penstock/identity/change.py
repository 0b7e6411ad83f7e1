"""How the operations change identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

import sqlalchemy as sa

from penstock.identity.authority import Authority

if TYPE_CHECKING:
    from penstock.room import App

T = TypeVar("T")


def authority(app: App) -> Authority:
    """The house's Identity, with what only this package may ask of it."""
    return cast("Authority", app.identity)


async def change(app: App, fn: Callable[[sa.Connection], T]) -> T:
    """See Authority.change."""
    return await authority(app).change(fn)
