"""How many hosts at a time, which ones first, and when a deployment has failed. AWS: instances-health, deployment-configurations.

The arithmetic, with N hosts in the group, H that must stay healthy, F failed so far:

- H is `value` (HOST_COUNT), `ceil(N * value / 100)` (FLEET_PERCENT), `N - value` (MOST_CONCURRENCY), fixed at the start;
- at most `N - F - H` hosts are worked on at a time, and a healthy host is taken only while more than H are healthy and idle;
- while hosts are left and `N - F` has fallen to H, the deployment has failed: what is left is skipped;
- in the end at least `max(H, 1)` hosts must have succeeded.

A deployment to a part of the group (a rollback, outdated hosts only) counts the healthy hosts outside it as healthy.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum

from penstock.deployments.server.model import Deployment, FleetHost, Host, Minimum, MinimumKind

BURST = 100  # hosts started by one decision: a fleet of thousands does not hold up everybody else's transactions


class Verdict(StrEnum):
    """Where a deployment stands after a round of scheduling."""

    GO_ON = "go_on"  # hosts run; wait for the next event
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # too few healthy hosts to continue, or to call it a success


def minimum_hosts(minimum: Minimum, fleet: int) -> int:
    """H, the hosts out of `fleet` that must stay healthy."""
    match minimum.kind:
        case MinimumKind.HOST_COUNT:
            hosts = minimum.value
        case MinimumKind.FLEET_PERCENT:
            hosts = -(-fleet * minimum.value // 100)
        case MinimumKind.MOST_CONCURRENCY:
            hosts = max(fleet - minimum.value, 0)
    if minimum.predefined:
        # 50 % of one host would leave nothing to begin with; a predefined configuration always works on one host.
        hosts = min(hosts, max(fleet - 1, 0))
    return hosts


def begin(deployment: Deployment, *, targets: int, healthy_targets: int, bystanders: int, fleet: int) -> Deployment:
    """The counters at the start. `bystanders` are the healthy hosts outside the deployment, `fleet` the whole group."""
    needed = minimum_hosts(deployment.minimum, fleet)
    if deployment.is_rollback:
        # A bad release must be removable whatever the group's health is: one host at a time is always allowed.
        needed = min(needed, targets + bystanders - 1)
    return replace(
        deployment,
        needed=needed,
        bystanders=bystanders,
        available=bystanders + healthy_targets,
        pending=targets,
    )


def possible(deployment: Deployment) -> bool:
    """Whether the minimum leaves room for even one host (else HEALTH_CONSTRAINTS_INVALID)."""
    return slots(deployment) > 0


def in_order(hosts: Iterable[FleetHost], seed: int) -> list[FleetHost]:
    """Hosts in the order in which they are taken: unhealthy first, then unknown, old, current; random within a class."""
    shuffled = sorted(hosts, key=lambda host: host.name)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a fair order, not a secret
    return sorted(shuffled, key=lambda host: (host.healthy, host.revision))


def slots(deployment: Deployment) -> int:
    """How many hosts may be worked on at a time, from what has failed so far."""
    potential = deployment.targets + deployment.bystanders - deployment.failed
    return potential - deployment.needed


def appetite(deployment: Deployment, *, ending: int = 1) -> int:
    """How many candidates a decision in which `ending` hosts may end can need: load no more rows than these."""
    return max(min(slots(deployment) - deployment.running + ending, deployment.pending, BURST), 0)


def hopeless(deployment: Deployment) -> bool:
    """Whether failures have eaten all the room while hosts are left."""
    return deployment.pending > 0 and deployment.failed > 0 and slots(deployment) <= 0


def choose(deployment: Deployment, candidates: Sequence[Host]) -> list[Host]:
    """The hosts to start now: a prefix of `candidates`, which stand in order."""
    chosen: list[Host] = []
    free = slots(deployment) - deployment.running
    available = deployment.available
    for host in candidates[:BURST]:
        if free <= 0 or (host.healthy and available <= deployment.needed):
            break
        free -= 1
        available -= host.healthy
        chosen.append(host)
    return chosen


def unfinished(deployment: Deployment, candidates: Sequence[Host], chosen: Sequence[Host]) -> bool:
    """Whether hosts beyond those that were loaded, or beyond BURST, may start as well: `deployment` is after the start."""
    all_taken = len(chosen) == min(len(candidates), BURST)
    return bool(chosen) and all_taken and deployment.pending > 0 and slots(deployment) > deployment.running


def verdict(deployment: Deployment) -> Verdict:
    """Where the deployment stands after `choose` has started what it could."""
    if hopeless(deployment):
        return Verdict.FAILED
    if deployment.running:
        return Verdict.GO_ON
    if deployment.pending:
        # Nothing runs and nothing could be started: only healthy hosts are left, and none can be spared.
        return Verdict.FAILED
    if deployment.succeeded >= 1 and deployment.available >= deployment.needed:
        return Verdict.SUCCEEDED
    return Verdict.FAILED


def overrun(deployment: Deployment, now: int) -> bool:
    """Whether the deployment as a whole has taken too long."""
    return deployment.started is not None and now >= deployment.started + deployment.timeouts.deployment
