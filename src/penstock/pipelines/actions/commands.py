"""Commands: declared, not run. Shell commands on a machine of its own, without a build project. AWS: action-reference-Commands."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import MINUTE, ActionType, ActionTypeId, Property


class Commands(NotRun):
    """Shell commands on a machine of its own, without a build project."""

    types = (
        ActionType(
            id=ActionTypeId(category="Compute", owner="AWS", provider="Commands"),
            properties=(
                Property(
                    name="EnvironmentType",
                    description="The kind of machine",
                    values=("LINUX_CONTAINER", "WINDOWS_SERVER_2022_CONTAINER"),
                ),
                Property(
                    name="ComputeType",
                    description="Its size",
                    values=("BUILD_GENERAL1_SMALL", "BUILD_GENERAL1_MEDIUM", "BUILD_GENERAL1_LARGE"),
                ),
                Property(name="VpcId", description="The network that the machine is in"),
                Property(name="Subnets", description="Its subnets, with commas between them"),
                Property(name="SecurityGroupIds", description="Its security groups, with commas between them"),
            ),
            inputs=(1, 10),
            outputs=(0, 1),
            timeout=55 * MINUTE,
            v2_only=True,
            members=("commands", "outputVariables", "environmentVariables", "files"),
        ),
    )
    why = "Penstock does not run commands without a build project yet. Use a CodeBuild action whose buildspec has them."


PROVIDER = Commands()
