"""Which rows a decision on a deployment needs: never the fleet, but what its input can touch."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.deployments.server import schedule
from penstock.deployments.server.inputs import (
    Acknowledged,
    Began,
    Completed,
    Deregistered,
    Elapsed,
    Input,
    Lost,
    Proceed,
    Refused,
    Requested,
    StopRequested,
)
from penstock.deployments.server.model import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The rows that a decision needs beside the counters; nothing by default."""

    hosts: tuple[str, ...] = ()  # by name
    overdue: bool = False  # and running rows whose deadline has passed; `hosts` count only when they run
    running: bool = False  # all running rows
    followers: bool = False  # and pending rows in order, as many as `followers` says


def needs(deployment: Deployment, input: Input, now: int) -> Needs:
    """The rows that `decide` needs for an input. What it is handed beside them, it leaves alone."""
    match input:
        case Acknowledged():
            return Needs(hosts=(input.host,))
        case Completed() | Lost():
            return Needs(hosts=(input.host,), followers=_may_end(deployment, input))
        case Deregistered():
            return Needs(hosts=(input.host,), followers=True)
        case Elapsed() if schedule.overrun(deployment, now):
            return Needs(running=True)
        case Elapsed():
            named = (*input.forgotten, *(name for name, _ in input.unheard))
            return Needs(hosts=named, overdue=True, followers=True)
        case Proceed():
            return Needs(followers=True)
        case StopRequested():
            return Needs(running=True)
        case Requested() | Began() | Refused():
            return Needs()


def followers(deployment: Deployment, wanted: Needs, found: int) -> int:
    """How many pending rows `decide` needs, when `found` other rows were found."""
    if not wanted.followers or (wanted.overdue and not found):
        return 0
    return schedule.appetite(deployment, ending=found)


def _may_end(deployment: Deployment, event: Input) -> bool:
    """Whether the host of an event may be done after it, so that others may start: only then is it worth loading those.

    Six of seven reports of a healthy host are not its last. While a large fleet is taken up, each would load a hundred rows for nothing.
    """
    return not (isinstance(event, Completed) and event.succeeded and event.index + 1 < len(deployment.events))
