"""Deployments that do not get on, and why: for `penstock doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.deployments import progress, records, runs
from penstock.deployments.server.model import DeploymentStatus, HostStatus

_NAMED = 5  # hosts of one deployment that are named; the others are counted
_LISTED = 50

_d, _g, _i, _t = (table.c for table in (records.deployments, records.groups, records.instances, records.targets))


@dataclass(frozen=True, slots=True)
class Stuck:
    """What does not get on. `for_good`: nothing that Penstock does will end it."""

    reason: str
    mend: str
    for_good: bool = False


def stuck(conn: sa.Connection, now: int) -> list[Stuck]:
    """Running deployments that wait for silent hosts, and groups whose queue or deletion waits."""
    return [*_silent(conn, now), *_held(conn)]


def _silent(conn: sa.Connection, now: int) -> list[Stuck]:
    host = sa.and_(_i.account == _d.account, _i.region == _d.region, _i.name == _t.name, _i.deregistered.is_(None))
    heard = sa.func.coalesce(_i.seen, 0)
    statement = (
        sa.select(_d.id, _d.application, _d.group_name, _d.state, _t.name)
        .select_from(
            records.deployments.join(records.targets, _t.deployment == _d.id).outerjoin(records.instances, host)
        )
        .where(_d.status == DeploymentStatus.IN_PROGRESS, _t.status == HostStatus.IN_PROGRESS)
        .where(heard < now - progress.SEEN_LATELY_MS, sa.func.coalesce(_t.updated, 0) < now - progress.SEEN_LATELY_MS)
        .order_by(_d.created, _d.id, _t.position)
        .limit(_LISTED * _NAMED)
    )
    waits: dict[str, tuple[Any, list[str]]] = {}
    for row in conn.execute(statement):
        waits.setdefault(row.id, (row, []))[1].append(row.name)
    found: list[Stuck] = []
    for id_, (row, names) in waits.items():
        stopping = runs.STATE.load(row.state).stopping
        named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        found.append(
            Stuck(
                f"deployment {id_} to {row.application}/{row.group_name} {'is being stopped and ' if stopping else ''}waits for hosts "
                f"that do not answer: {named}",
                "start their agents; or deregister the hosts, or stop the deployment, and it does not wait for them",
            )
        )
    return found


def _held(conn: sa.Connection) -> list[Stuck]:
    queued = (
        sa.select(sa.func.count())
        .where(_d.group_id == _g.id, _d.status == DeploymentStatus.QUEUED)
        .correlate(records.groups)
        .scalar_subquery()
    )
    statement = (
        sa.select(_g.application, _g.name, _g.active, _d.status, queued.label("queued"))
        .select_from(records.groups.outerjoin(records.deployments, _d.id == _g.active))
        .where(sa.or_(_g.active.is_not(None), queued > 0))
        .order_by(_g.application, _g.name)
        .limit(_LISTED)
    )
    found: list[Stuck] = []
    for row in conn.execute(statement):
        group = f"{row.application}/{row.name}"
        over = row.active is not None and (row.status is None or DeploymentStatus(row.status).final)
        if over:
            found.append(
                Stuck(
                    f"group {group} is held by deployment {row.active}, which is over: it cannot be deleted, and its queue of "
                    f"{row.queued} does not start",
                    "report this as a defect, with the output of `penstock doctor --json`",
                    for_good=True,
                )
            )
        elif row.active is None:
            found.append(
                Stuck(
                    f"{row.queued} deployments of group {group} are queued behind none",
                    "report this as a defect, with the output of `penstock doctor --json`",
                    for_good=True,
                )
            )
        elif row.queued:
            found.append(
                Stuck(
                    f"{row.queued} deployments of group {group} wait for deployment {row.active} ({row.status})",
                    f"if it does not get on: aws deploy stop-deployment --deployment-id {row.active}",
                )
            )
    return found
