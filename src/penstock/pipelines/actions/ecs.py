"""ECS: declared, not run. Gives a service a task definition with other images. AWS: action-reference-ECS."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class Ecs(NotRun):
    """Gives a service a task definition with other images."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="ECS"),
            properties=(
                Property(name="ClusterName", description="The cluster", required=True, key=True),
                Property(name="ServiceName", description="The service", required=True, key=True),
                Property(name="FileName", description="The file with the images"),
                Property(name="DeploymentTimeout", description="Minutes that the deployment may take, up to 60"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=HOUR,
        ),
    )
    why = "Penstock does not deploy to ECS yet. Deploy to hosts with a CodeDeploy action."


PROVIDER = Ecs()
