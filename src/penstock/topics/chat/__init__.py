"""Formats of chat messages. Every module here that has a `FORMAT` is one; it is found by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from penstock.topics.chat.form import ChatFormat

ATTRIBUTE, SECRET = "PenstockFormat", "PenstockSecretKey"  # of subscriptions; AWS has no such attributes


@cache
def formats() -> Mapping[str, ChatFormat]:
    """The formats by their names."""
    found = (importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__))
    made = [module.FORMAT for module in found if hasattr(module, "FORMAT")]
    return {one.name: one for one in sorted(made, key=lambda one: one.name)}
