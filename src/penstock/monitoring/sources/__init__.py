"""Kinds of metric sources. Every module here has a `KIND`; the registry finds it by being there."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from penstock.monitoring.source_kind import Kind


@cache
def kinds() -> dict[str, Kind]:
    """The kind of every module of this folder, by its name."""
    found: dict[str, Kind] = {}
    for module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
        kind: Kind = importlib.import_module(f"{__name__}.{module}").KIND
        found[kind.name] = kind
    return found
