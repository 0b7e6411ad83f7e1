"""The shell around `decide`: load one pipeline, decide, commit its new state and the effects in one transaction."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.actions import Providers
from penstock.pipelines.commit import Commit, Key, Loaded, Report
from penstock.pipelines.effects import Effect
from penstock.pipelines.engine import decide
from penstock.pipelines.happenings import Happening, to_payload
from penstock.pipelines.model import Plan
from penstock.pipelines.plan import plan_from_payload
from penstock.pipelines.state import Pipeline, execution_from_payload, slots_from_payload
from penstock.room import App
from penstock.store import journal
from penstock.store.crash import point

_CACHED = 2_000  # plans and declarations kept in memory; they never change


class Cache:
    """Least recently used values of a bounded number of keys."""

    def __init__(self, size: int = _CACHED) -> None:
        self._size = size
        self._values: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def get(self, key: tuple[str, int]) -> Any | None:
        """The value, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: tuple[str, int], value: Any) -> None:
        """Keep a value."""
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)


class Aggregates:
    """Loads and tells pipelines. Its methods with a `conn` are parts of transactions."""

    def __init__(self, app: App, providers: Providers) -> None:
        self.app = app
        self.providers = providers
        self._plans = Cache()
        self._declarations = Cache()

    async def tell(
        self, key: Key, happening: Happening, *, also: str = "", report: Report | None = None
    ) -> tuple[Effect, ...] | None:
        """Tell a pipeline what happened, in a transaction of its own; the effects, or None without such a pipeline.

        `also` names an ended execution that the happening is about.
        """
        now, seed = self.app.clock.now(), self.app.ids.seed()
        return await self.app.store.write_together(
            key.aggregate, self.tell_in, key, happening, now=now, seed=seed, also=also, report=report
        )

    def tell_in(
        self,
        conn: sa.Connection,
        key: Key,
        happening: Happening,
        *,
        now: int,
        seed: int,
        also: str = "",
        report: Report | None = None,
    ) -> tuple[Effect, ...] | None:
        """`tell` as part of a larger transaction."""
        loaded = self.load(conn, key, also=also)
        if loaded is None:
            return None
        return self.decide_in(conn, loaded, happening, now=now, seed=seed, report=report)

    # --- loading ------------------------------------------------------------------------------------------------------

    def load(self, conn: sa.Connection, key: Key, *, also: str = "", lock: bool = True) -> Loaded | None:
        """The pipeline with its live executions, and the execution `also`."""
        row = records.pipeline(conn, key.account, key.region, key.name, lock=lock)
        if row is None or (key.id and row.id != key.id):
            return None
        slots, number = slots_from_payload(row.state)
        executions = {
            found.id: execution_from_payload(found.id, found.state)
            for found in records.LIVE_EXECUTIONS.all(conn, {"i": row.id})
        }
        if also and also not in executions:
            found = records.EXECUTION.first(conn, {"x": also, "i": row.id})
            if found is not None:
                executions[also] = execution_from_payload(also, found.state)
        needed = {row.version, *(execution.version for execution in executions.values())}
        plans = {version: self.plan(conn, row.id, version) for version in sorted(needed)}
        state = Pipeline(version=row.version, plans=plans, slots=slots, executions=executions, next_number=number)
        return Loaded(row, state)

    def plan(self, conn: sa.Connection, pipeline_id: str, version: int) -> Plan:
        """The plan of a version."""
        plan = self._plans.get((pipeline_id, version))
        if plan is None:
            payload = records.PLAN.first(conn, {"i": pipeline_id, "v": version}).plan
            plan = plan_from_payload(payload)
            self._plans.put((pipeline_id, version), plan)
        return plan

    def known_declaration(self, pipeline_id: str, version: int) -> Mapping[str, Any] | None:
        """The declaration of a version if it was read lately: it never changes."""
        return self._declarations.get((pipeline_id, version))

    def declaration(self, conn: sa.Connection, pipeline_id: str, version: int) -> Mapping[str, Any] | None:
        """The declaration of a version, normalised."""
        declaration = self._declarations.get((pipeline_id, version))
        if declaration is None:
            row = records.VERSION.first(conn, {"i": pipeline_id, "v": version})
            if row is None:
                return None
            declaration = row.declaration
            self._declarations.put((pipeline_id, version), declaration)
        return declaration

    # --- deciding -----------------------------------------------------------------------------------------------------

    def decide_in(
        self,
        conn: sa.Connection,
        loaded: Loaded,
        happening: Happening,
        *,
        now: int,
        seed: int,
        report: Report | None = None,
    ) -> tuple[Effect, ...]:
        """Decide and write: rows, jobs, timers, events, journal. `loaded` becomes the new state."""
        now = journal.time_of(conn, now)
        before = loaded.state
        after, effects = decide(before, happening, now, seed)
        if after is before:
            return effects
        commit = Commit(conn, loaded, after, now=now, report=report or Report())
        commit.executions(effects)
        for index, effect in enumerate(effects):
            commit.effect(effect, index)
        commit.pipeline()
        journal.append(
            conn,
            journal.Entry(
                aggregate=f"pipeline/{loaded.row.id}",
                account=loaded.row.account,
                region=loaded.row.region,
                sequence=commit.sequence,
                at=now,
                seed=seed,
                input=to_payload(happening),
            ),
        )
        loaded.state = after
        point("pipelines.before_commit")
        return effects
