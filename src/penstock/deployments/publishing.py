"""The events of a deployment, in the form of EventBridge's."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.deployments.events import DEPLOYMENT_CHANGED, INSTANCE_CHANGED
from penstock.deployments.records import Row
from penstock.deployments.server import effects
from penstock.deployments.server.model import Deployment
from penstock.store.catalogue import EventType
from penstock.store.events import Event, emit
from penstock.store.ids import ordered_uuid


def _detail(row: Row) -> dict[str, Any]:
    return {
        "application": row.application,
        "deploymentGroup": row.group_name,
        "deploymentId": row.id,
        "instanceGroupId": row.group_id,
        "region": row.region,
    }


def _emit(conn: sa.Connection, row: Row, type: EventType, payload: dict[str, Any], now: int) -> None:
    event = Event(
        type=type.name,
        account=row.account,
        region=row.region,
        aggregate=f"deployment/{row.id}",
        payload=payload,
        actor=row.body.get("requester", ""),
        correlation=row.id,
    )
    emit(conn, event, now=now, id=ordered_uuid())


def deployment_changed(
    conn: sa.Connection, row: Row, deployment: Deployment, effect: effects.DeploymentChanged, now: int
) -> None:
    """Say that a deployment started or ended."""
    payload = {**_detail(row), "status": deployment.status, "state": effect.mark, "creator": row.body["creator"]}
    if deployment.ending is not None and deployment.ending.code is not None and deployment.status.final:
        payload["errorInformation"] = {"code": deployment.ending.code, "message": deployment.ending.message}
    _emit(conn, row, DEPLOYMENT_CHANGED, payload, now)


def host_changed(conn: sa.Connection, row: Row, effect: effects.HostChanged, now: int) -> None:
    """Say that a host was taken up or is done."""
    payload = {**_detail(row), "instanceId": effect.host, "state": effect.mark}
    _emit(conn, row, INSTANCE_CHANGED, payload, now)
