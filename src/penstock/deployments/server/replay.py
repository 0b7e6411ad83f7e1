"""A deployment replayed from its journal: the same decisions, step by step, without a database.

The journal holds `(event, now, seed)` of every decision. Replaying it gives the state after each one, which is what explains a
run, and what proves that nothing but the journal went into the decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from penstock.deployments.server import effects, engine, inputs, lifecycle, needed
from penstock.deployments.server.model import BLANK, Deployment, Host, HostStatus, State


@dataclass(slots=True)
class Replay:
    """A deployment and all of its rows, as they stand after the decisions replayed so far."""

    deployment: Deployment
    rows: dict[str, Host] = field(default_factory=dict)

    def step(self, event: inputs.Input, now: int, seed: int) -> tuple[effects.Effect, ...]:
        """Take one decision again; its effects."""
        before = State(deployment=self.deployment, hosts=self._loaded(event, now))
        after, wanted = engine.decide(before, event, now, seed)
        self.deployment = after.deployment
        for row in engine.changed(before, after):
            self.rows[row.name] = row
        if any(isinstance(effect, effects.SkipPending) for effect in wanted):
            for row in self._with(HostStatus.PENDING):
                events = lifecycle.skipped_events(row.events, now)
                self.rows[row.name] = replace(row, status=HostStatus.SKIPPED, events=events, updated=now)
        return wanted

    def _with(self, status: HostStatus) -> list[Host]:
        return sorted((row for row in self.rows.values() if row.status is status), key=lambda row: row.position)

    def _loaded(self, event: inputs.Input, now: int) -> tuple[Host, ...]:
        """The rows that `needed.needs` names, as the database would find them."""
        needs = needed.needs(self.deployment, event, now)
        running = self._with(HostStatus.IN_PROGRESS)
        if needs.running:
            return tuple(running)
        if needs.overdue:
            rows = [
                row for row in running if (row.deadline is not None and row.deadline <= now) or row.name in needs.hosts
            ]
        else:
            rows = [self.rows[name] for name in needs.hosts if name in self.rows]
        limit = needed.followers(self.deployment, needs, len(rows))
        followers = self._with(HostStatus.PENDING)[:limit]
        return (*rows, *(row for row in followers if row.name not in needs.hosts))


def replayed(
    entries: Iterable[tuple[inputs.Input, int, int]],
) -> Iterator[tuple[inputs.Input, tuple[effects.Effect, ...], Replay]]:
    """Each input of a journal with its effects and the state after it; `entries` are (input, now, seed) in order."""
    world = Replay(BLANK)
    for input, now, seed in entries:
        yield input, world.step(input, now, seed), world
