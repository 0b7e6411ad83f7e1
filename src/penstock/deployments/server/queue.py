"""Whose turn it is in a deployment group: a pure function of the group's state and an input.

One deployment at a time has the group; the others wait in the order in which they were asked for. A deployment that ends badly may
be followed by a rollback, which goes before whoever waits (AWS: "Redeploy and roll back a deployment").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from penstock.deployments.server.ids import derived_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What a group remembers of its deployments."""

    active: str | None = None  # the deployment that has the group
    waiting: tuple[str, ...] = ()  # deployments, first come first
    total: int = 0  # deployments so far
    attempted: str | None = None  # the newest deployment
    successful: str | None = None  # the newest successful one
    revision: Mapping[str, Any] | None = None  # of that one: what hosts should run
    digest: str | None = None  # of that revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A deployment to the group was asked for."""

    deployment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A deployment to the group is over."""

    deployment: str
    succeeded: bool
    revision: Mapping[str, Any]
    digest: str
    rolls_back: bool = False  # as its own rules and StopDeployment say
    touched: bool = False  # hosts have begun an event of it
    everywhere: bool = False  # a rollback goes to every host of the group, not only to those


Input = Requested | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """It is this deployment's turn."""

    deployment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Make a deployment of the group's revision and let it begin."""

    deployment: str  # the new one
    number: int  # its own in the group
    of: str  # the deployment that ended badly
    everywhere: bool = False


Effect = Begin | RollBack


def decide(group: Group, input: Input, now: int, seed: int) -> tuple[Group, Sequence[Effect]]:  # noqa: ARG001
    """The group after an input, and what is to be done about it. `seed` makes the id of a rollback."""
    match input:
        case Requested():
            return _requested(group, input.deployment)
        case Ended():
            return _ended(group, input, seed)


def _requested(group: Group, deployment: str) -> tuple[Group, Sequence[Effect]]:
    group = replace(group, total=group.total + 1, attempted=deployment)
    if group.active is not None:
        return replace(group, waiting=(*group.waiting, deployment)), ()
    return replace(group, active=deployment), (Begin(deployment=deployment),)


def _ended(group: Group, input: Ended, seed: int) -> tuple[Group, Sequence[Effect]]:
    if input.deployment != group.active:  # it was stopped while it waited
        return replace(group, waiting=tuple(id for id in group.waiting if id != input.deployment)), ()
    if input.succeeded:
        group = replace(group, successful=input.deployment, revision=input.revision, digest=input.digest)
    if input.rolls_back and group.revision is not None and (input.touched or input.everywhere):
        new, number = derived_id(seed, "rollback"), group.total + 1
        effect = RollBack(deployment=new, number=number, of=input.deployment, everywhere=input.everywhere)
        return replace(group, active=new, attempted=new, total=number), (effect,)
    if group.waiting:
        first, *rest = group.waiting
        return replace(group, active=first, waiting=tuple(rest)), (Begin(deployment=first),)
    return replace(group, active=None), ()
