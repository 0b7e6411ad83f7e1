"""The details of a deployment's events, in the form of EventBridge's."""

from __future__ import annotations

from typing import Any

from penstock.deployments.records import Row
from penstock.deployments.server import effects
from penstock.deployments.server.model import Deployment


def _detail(row: Row) -> dict[str, Any]:
    return {
        "application": row.application,
        "deploymentGroup": row.group_name,
        "deploymentId": row.id,
        "instanceGroupId": row.group_id,
        "region": row.region,
    }


def deployment_detail(row: Row, deployment: Deployment, effect: effects.DeploymentChanged) -> dict[str, Any]:
    """The detail of a deployment that started or ended."""
    detail = {**_detail(row), "status": deployment.status, "state": effect.mark, "creator": row.body["creator"]}
    if deployment.ending is not None and deployment.ending.code is not None and deployment.status.final:
        detail["errorInformation"] = {"code": deployment.ending.code, "message": deployment.ending.message}
    return detail


def host_detail(row: Row, effect: effects.HostChanged) -> dict[str, Any]:
    """The detail of a host that was taken up or is done."""
    return {**_detail(row), "instanceId": effect.host, "state": effect.mark}
