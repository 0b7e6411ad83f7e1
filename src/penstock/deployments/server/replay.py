"""A deployment told again from its journal: the same decisions, step by step, without a database.

The journal holds `(event, now, seed)` of every decision. Replaying it gives the state after each one, which is what explains a
run, and what proves that nothing but the journal went into the decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.deployments.server import effects, engine, inputs, schedule
from penstock.deployments.server.model import (
    Deployment,
    Diagnostics,
    ErrorCode,
    FleetHost,
    Host,
    HostStatus,
    RevisionHealth,
    State,
    Timeouts,
)


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
                events = engine.skipped_events(row.events, now)
                self.rows[row.name] = replace(row, status=HostStatus.SKIPPED, events=events, updated=now)
        return wanted

    def _with(self, status: HostStatus) -> list[Host]:
        return sorted((row for row in self.rows.values() if row.status is status), key=lambda row: row.position)

    def _loaded(self, event: inputs.Input, now: int) -> tuple[Host, ...]:
        """The rows that the engine's contract names."""
        match event:
            case inputs.Acknowledged():
                return (self.rows[event.host],)
            case inputs.Completed() | inputs.Lost():
                more = self._candidates(1) if engine.may_end(self.deployment, event) else ()
                return (self.rows[event.host], *more)
            case inputs.Deregistered():
                mine = self.rows[event.host]
                return (mine, *(row for row in self._candidates(1) if row is not mine))
            case inputs.Proceed():
                return tuple(self._candidates(0))
            case inputs.StopRequested():
                return tuple(self._with(HostStatus.IN_PROGRESS))
            case inputs.Elapsed():
                running = self._with(HostStatus.IN_PROGRESS)
                if engine.overrun(self.deployment, now):
                    return tuple(running)
                named = {*event.forgotten, *(name for name, _ in event.unheard)}
                due = [
                    row for row in running if (row.deadline is not None and row.deadline <= now) or row.name in named
                ]
                return (*due, *(self._candidates(len(due)) if due else ()))
            case _:
                return ()

    def _candidates(self, ending: int) -> list[Host]:
        return self._with(HostStatus.PENDING)[: schedule.appetite(self.deployment, ending=ending)]


def replayed(
    planned: Deployment, entries: Iterable[tuple[Mapping[str, Any], int, int]]
) -> Iterator[tuple[inputs.Input, tuple[effects.Effect, ...], Replay]]:
    """Each event of a journal with its effects and the state after it; `entries` are (event, now, seed) in order.

    `planned` is the deployment before its first decision.
    """
    world = Replay(planned)
    for document, now, seed in entries:
        event = event_of(document)
        yield event, world.step(event, now, seed), world


def event_of(document: Mapping[str, Any]) -> inputs.Input:
    """An event as the journal keeps it: its fields and `type`."""
    fields = {name: value for name, value in document.items() if name != "type"}
    match document["type"]:
        case "Began":
            hosts = tuple(
                FleetHost(**{**host, "revision": RevisionHealth(host["revision"])}) for host in fields["hosts"]
            )
            return inputs.Began(**{**fields, "hosts": hosts, "timeouts": Timeouts(**fields["timeouts"])})
        case "Refused":
            return inputs.Refused(code=ErrorCode(fields["code"]), message=fields["message"])
        case "Acknowledged":
            return inputs.Acknowledged(**fields)
        case "Completed":
            return inputs.Completed(**{**fields, "diagnostics": Diagnostics(**fields["diagnostics"])})
        case "Lost":
            return inputs.Lost(**fields)
        case "Deregistered":
            return inputs.Deregistered(**fields)
        case "Elapsed":
            return inputs.Elapsed(unheard=_unheard(fields), forgotten=tuple(fields.get("forgotten", ())))
        case "Proceed":
            return inputs.Proceed()
        case "StopRequested":
            return inputs.StopRequested(rolls_back=fields["rolls_back"], unheard=_unheard(fields))
        case unknown:
            raise ValueError(f"the journal holds an event of an unknown type: {unknown}")


def _unheard(fields: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    return tuple((name, heard) for name, heard in fields.get("unheard", ()))
