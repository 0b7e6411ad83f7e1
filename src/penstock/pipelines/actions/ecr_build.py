"""ECR build and publish: declared, not run. Builds an image and pushes it to a registry. AWS: action-reference-ECRBuildAndPublish."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class EcrBuild(NotRun):
    """Builds an image and pushes it to a registry."""

    types = (
        ActionType(
            id=ActionTypeId(category="Build", owner="AWS", provider="ECRBuildAndPublish"),
            properties=(
                Property(name="ECRRepositoryName", description="The repository of images", required=True, key=True),
                Property(name="DockerFilePath", description="The folder of the Dockerfile, from the artifact's root"),
                Property(name="ImageTags", description="Tags of the image, with commas between them"),
                Property(name="RegistryType", description="Which registry", values=("private", "public")),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=HOUR,
            v2_only=True,
        ),
    )
    why = "Penstock has no registry of images yet. Use a CodeBuild action that builds and pushes the image."


PROVIDER = EcrBuild()
