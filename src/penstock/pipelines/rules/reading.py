"""What rules refuse when their pipeline is made: values of their configuration that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def refusing(readers: Mapping[str, Callable[[str], object]]) -> Callable[[Mapping[str, Any]], str | None]:
    """The `refuse` of a type of rules, from what reads each value and raises ValueError. Values with variables are read when the rule runs."""

    def refuse(rule: Mapping[str, Any]) -> str | None:
        configuration = rule.get("configuration", {})
        for name, read in readers.items():
            text = configuration.get(name)
            if text is None or "#{" in text:
                continue
            try:
                read(text)
            except ValueError as error:
                return f"The {name} of rule '{rule['name']}' cannot be read: {error}"
        return None

    return refuse
