"""ECR source: declared, not run. The digest of an image by its tag, as imageDetail.json. AWS: action-reference-ECR."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class EcrSource(NotRun):
    """The digest of an image by its tag, as `imageDetail.json`."""

    types = (
        ActionType(
            id=ActionTypeId(category="Source", owner="AWS", provider="ECR"),
            properties=(
                Property(name="RepositoryName", description="The repository of images", required=True, key=True),
                Property(name="ImageTag", description="The tag"),
            ),
            inputs=(0, 0),
            outputs=(1, 1),
            timeout=HOUR,
        ),
    )
    why = "Penstock has no registry of images yet. Use a source that holds the image's digest in a file."


PROVIDER = EcrSource()
