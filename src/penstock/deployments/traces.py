"""What traces tell of deployments: the deployment, its hosts, and what ran on them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.deployments import records, runs
from penstock.deployments.server.model import DeploymentStatus, EventStatus, HostStatus
from penstock.tracing import Span, Tracer

_HOSTS = 200  # of a deployment that a trace tells of, those that were worked on first


def _find(conn: sa.Connection, account: str, region: str, id: str) -> Span | None:
    row = runs.deployment(conn, id)
    if row is None or (row.account, row.region) != (account, region):
        return None
    t = records.targets
    asked = sa.select(t).where(t.c.deployment == id, t.c.events.is_not(None)).order_by(t.c.position).limit(_HOSTS)
    hosts = [span for found in conn.execute(asked) if (span := _host(found)) is not None]
    return Span(
        key=f"deployment/{id}",
        name=f"deployment {row.application}/{row.group_name}",
        start=row.created,
        end=max((host.end for host in hosts), default=row.created),
        failed=row.status in (DeploymentStatus.FAILED, DeploymentStatus.STOPPED),
        attributes={
            "deployment.id": id,
            "deployment.name": row.application,
            "deployment.environment.name": row.group_name,
            "deployment.status": {"Succeeded": "succeeded", "Failed": "failed", "Stopped": "failed"}.get(
                row.status, ""
            ),
        },
        children=hosts,
    )


def _host(row: Any) -> Span | None:
    events = [
        Span(
            key=f"host/{row.deployment}/{row.name}/{place}",
            name=f"hook {event.name}",
            start=event.started,
            end=event.started if event.ended is None else event.ended,
            failed=event.status is EventStatus.FAILED,
            attributes={
                "error.type": ""
                if event.diagnostics is None or event.diagnostics.code == "Success"
                else event.diagnostics.code
            },
        )
        for place, event in enumerate(runs.lifecycle_events(row, ()))
        if event.started is not None
    ]
    if not events:
        return None
    return Span(
        key=f"host/{row.deployment}/{row.name}",
        name=f"host {row.name}",
        start=events[0].start,
        end=max(event.end for event in events),
        failed=row.status == HostStatus.FAILED,
        attributes={"host.name": row.name},
        children=events,
    )


TRACER = Tracer(find=_find)
