"""The deployment specification: what a host has to deploy, as JSON. AWS's agents: deployment_specification.rb."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from penstock.deployments import runs
from penstock.deployments.records import Row
from penstock.deployments.server import revision

SYSTEM = "CodeDeploy"  # agents refuse any other


def execution_id(partition: str, region: str, account: str, deployment: str) -> str:
    """The `DeploymentExecutionId`: opaque to agents, at most 129 characters."""
    return f"CodeDeploy/{region}/prod/arn:{partition}:codedeploy:{region}:{account}:deployment/{deployment}"


def deployment_of(execution: str) -> str:
    """The deployment that an execution id names."""
    return execution.rpartition("/")[2]


_HOUR_MS = 3_600_000


class Issue(NamedTuple):
    """For whom and for when a specification is: what makes it another one than the next host's."""

    account: str
    region: str
    host: str  # the instance's name
    identifier: str  # what the host calls itself
    execution: str
    hour: int  # since the epoch


def hour_of(now: int) -> int:
    """The hour in which a time (ms) lies."""
    return now // _HOUR_MS


NOT_FOUND = "the-bundle-was-not-there-when-the-deployment-began"


def document(row: Row, issue: Issue, *, position: int, missing: bool) -> bytes:
    """The specification of a deployment for one host; the same for an hour, so that it is signed once.

    `AllPossibleLifecycleEvents` is left out: AWS's agents would refuse hooks that it lacks. They do not read `IssuedFor`
    either; ours carries out nothing else than it says, so that a specification is of no use for another host, deployment
    or time. `missing`: there is no bundle to name; none that appears afterwards is taken for it.
    """
    body, state = row.body, runs.STATE.load(row.state)
    bundle = revision.for_host(body["revision"])
    if missing:
        bundle["S3Revision"].setdefault("ETag", NOT_FOUND)
    fields: dict[str, Any] = {
        "DeploymentId": row.id,
        "DeploymentGroupId": row.group_id,
        "DeploymentGroupName": row.group_name,
        "ApplicationName": row.application,
        "DeploymentCreator": body["creator"],
        "DeploymentType": "IN_PLACE",
        "AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": body["fileExistsBehavior"]}},
        "Revision": bundle,
        "IssuedFor": {
            "DeploymentExecutionId": issue.execution,
            "HostIdentifier": issue.identifier,
            "CommandPrefix": f"{row.id}.{position}.",
            "Events": state.events,
            "Begun": state.started,  # ms: which of two deployments of the group is the newer one
            "Expires": (issue.hour + 2) * _HOUR_MS,  # ms
        },
    }
    if body.get("reuse"):
        fields["ReuseArchiveFromDeploymentId"] = body["reuse"]
    if body.get("strict"):
        # An addition: our agent fails a revision with hooks that do not exist; AWS's ignore the member.
        fields["Strict"] = True
    return json.dumps(fields, separators=(",", ":")).encode()
