"""CodeDeploy to ECS: declared, not run. Deploys a task definition blue/green. AWS: action-reference-ECSbluegreen."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property


class CodeDeployToEcs(NotRun):
    """Deploys a task definition blue/green."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="CodeDeployToECS"),
            properties=(
                Property(name="ApplicationName", description="The application", required=True, key=True),
                Property(name="DeploymentGroupName", description="The deployment group", required=True, key=True),
                Property(
                    name="TaskDefinitionTemplateArtifact",
                    description="The input artifact with the task definition",
                    required=True,
                ),
                Property(
                    name="AppSpecTemplateArtifact",
                    description="The input artifact with the AppSpec file",
                    required=True,
                ),
                Property(name="TaskDefinitionTemplatePath", description="The task definition's file"),
                Property(name="AppSpecTemplatePath", description="The AppSpec file"),
                Property(name="Image1ArtifactName", description="The input artifact with image 1"),
                Property(name="Image1ContainerName", description="The placeholder that image 1 replaces"),
                Property(name="Image2ArtifactName", description="The input artifact with image 2"),
                Property(name="Image2ContainerName", description="The placeholder that image 2 replaces"),
                Property(name="Image3ArtifactName", description="The input artifact with image 3"),
                Property(name="Image3ContainerName", description="The placeholder that image 3 replaces"),
                Property(name="Image4ArtifactName", description="The input artifact with image 4"),
                Property(name="Image4ContainerName", description="The placeholder that image 4 replaces"),
            ),
            inputs=(1, 5),
            outputs=(0, 0),
            timeout=5 * DAY,
        ),
    )
    why = "Penstock does not deploy to ECS yet. Deploy to hosts with a CodeDeploy action."


PROVIDER = CodeDeployToEcs()
