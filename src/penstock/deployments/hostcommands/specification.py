"""The deployment specification: what a host is told to deploy, as JSON. AWS's agents: deployment_specification.rb."""

from __future__ import annotations

import json
from typing import Any

from penstock.deployments.records import Row
from penstock.deployments.server import revision

SYSTEM = "CodeDeploy"  # agents refuse any other


def execution_id(partition: str, region: str, account: str, deployment: str) -> str:
    """The `DeploymentExecutionId`: opaque to agents, at most 129 characters."""
    return f"CodeDeploy/{region}/prod/arn:{partition}:codedeploy:{region}:{account}:deployment/{deployment}"


def deployment_of(execution: str) -> str:
    """The deployment that an execution id names."""
    return execution.rpartition("/")[2]


def document(row: Row) -> bytes:
    """The specification of a deployment. `AllPossibleLifecycleEvents` is left out: agents would refuse hooks that it lacks."""
    body = row.body
    fields: dict[str, Any] = {
        "DeploymentId": row.id,
        "DeploymentGroupId": row.group_id,
        "DeploymentGroupName": row.group_name,
        "ApplicationName": row.application,
        "DeploymentCreator": body["creator"],
        "DeploymentType": "IN_PLACE",
        "AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": body["fileExistsBehavior"]}},
        "Revision": revision.for_host(body["revision"]),
    }
    if body.get("reuse"):
        fields["ReuseArchiveFromDeploymentId"] = body["reuse"]
    if body.get("strict"):
        fields["Strict"] = (
            True  # an addition: our agent fails a revision with hooks that do not exist; AWS's ignore the member
        )
    return json.dumps(fields, separators=(",", ":")).encode()
