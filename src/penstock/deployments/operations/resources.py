"""Which ARN each call is authorised on. AWS: auth-and-access-control-permissions-reference.

Calls on a deployment are authorised on its deployment group.
"""

from __future__ import annotations

from penstock.application import Call
from penstock.deployments import runs
from penstock.wire.arns import authorised_arn
from penstock.wire.call import Input


def application(call: Call, input: Input) -> str:
    """The application named in the input."""
    return call.arn("codedeploy", f"application:{input.get('applicationName') or '*'}")


def applications(call: Call, input: Input) -> list[str]:
    """Every application named in the input."""
    names = input.get("applicationNames") or ["*"]
    return [call.arn("codedeploy", f"application:{name}") for name in names]


def group(call: Call, input: Input) -> str:
    """The deployment group named in the input."""
    name = input.get("deploymentGroupName") or input.get("currentDeploymentGroupName") or "*"
    return call.arn("codedeploy", f"deploymentgroup:{input.get('applicationName') or '*'}/{name}")


def groups(call: Call, input: Input) -> list[str]:
    """Every deployment group named in the input."""
    names = input.get("deploymentGroupNames") or ["*"]
    app = input.get("applicationName") or "*"
    return [call.arn("codedeploy", f"deploymentgroup:{app}/{name}") for name in names]


def config(call: Call, input: Input) -> str:
    """The deployment configuration named in the input."""
    return call.arn("codedeploy", f"deploymentconfig:{input.get('deploymentConfigName') or '*'}")


async def deployment(call: Call, input: Input) -> str:
    """The group of the deployment in the input; any group when there is no such deployment."""
    return (await _groups_of(call, [input.get("deploymentId")]))[0]


async def deployments(call: Call, input: Input) -> list[str]:
    """The groups of every deployment in the input."""
    return await _groups_of(call, input.get("deploymentIds") or [None])


async def _groups_of(call: Call, ids: list[str | None]) -> list[str]:
    arns: list[str] = []
    for id_ in ids[:100]:
        row = await runs.find_run(call, id_) if id_ else None
        if row is None or (row.account, row.region) != (call.account, call.region):
            arns.append(call.arn("codedeploy", "deploymentgroup:*"))
        else:
            arns.append(call.arn("codedeploy", f"deploymentgroup:{row.application}/{row.group_name}"))
    return list(dict.fromkeys(arns))


def instance(call: Call, input: Input) -> str:
    """The on-premises instance named in the input."""
    return call.arn("codedeploy", f"instance:{input.get('instanceName') or '*'}")


def instances(call: Call, input: Input) -> list[str]:
    """Every on-premises instance named in the input."""
    return [call.arn("codedeploy", f"instance:{name}") for name in input.get("instanceNames") or ["*"]]


def any_instance(call: Call, input: Input) -> str:
    """All on-premises instances."""
    return call.arn("codedeploy", "instance:*")


def tagged(call: Call, input: Input) -> str:
    """The resource whose tags are meant."""
    return authorised_arn(call, input.get("ResourceArn") or "", "codedeploy")
