"""The versions of pipelines: their declarations and plans, which never change and are therefore kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.model import Plan

T = TypeVar("T")

_KEPT = 2_000  # plans, and as many declarations


class _Recent(Generic[T]):
    """Least recently used values of a bounded number of versions."""

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[str, int], T] = OrderedDict()

    def get(self, version: tuple[str, int]) -> T | None:
        value = self._values.get(version)
        if value is not None:
            self._values.move_to_end(version)
        return value

    def put(self, version: tuple[str, int], value: T) -> None:
        self._values[version] = value
        if len(self._values) > _KEPT:
            self._values.popitem(last=False)


class Versions:
    """What is declared in each version of each pipeline. Methods with a `conn` are parts of transactions."""

    def __init__(self) -> None:
        self._plans: _Recent[Plan] = _Recent()
        self._declarations: _Recent[Mapping[str, Any]] = _Recent()

    def plan(self, conn: sa.Connection, pipeline_id: str, version: int) -> Plan:
        """The plan of a version that there is."""
        plan = self._plans.get((pipeline_id, version))
        if plan is None:
            plan = records.PLAN.load(records.PLAN_OF.first(conn, {"i": pipeline_id, "v": version}).plan)
            self._plans.put((pipeline_id, version), plan)
        return plan

    def known_declaration(self, pipeline_id: str, version: int) -> Mapping[str, Any] | None:
        """The declaration of a version if it was read lately."""
        return self._declarations.get((pipeline_id, version))

    def declaration(self, conn: sa.Connection, pipeline_id: str, version: int) -> Mapping[str, Any] | None:
        """The declaration of a version, normalised, or None (any more)."""
        declaration = self._declarations.get((pipeline_id, version))
        if declaration is None:
            row = records.VERSION.first(conn, {"i": pipeline_id, "v": version})
            if row is None:
                return None
            declaration = row.declaration
            self._declarations.put((pipeline_id, version), declaration)
        return declaration
