"""Inspector scan: declared, not run. Scans source or an image for known weaknesses. AWS: action-reference-InspectorScan."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class InspectorScan(NotRun):
    """Scans source or an image for known weaknesses."""

    types = (
        ActionType(
            id=ActionTypeId(category="Invoke", owner="AWS", provider="InspectorScan"),
            properties=(
                Property(
                    name="InspectorRunMode",
                    description="What is scanned",
                    required=True,
                    values=("SourceCodeScan", "ECRImageScan"),
                ),
                Property(name="ECRRepositoryName", description="The repository of images"),
                Property(name="ImageTag", description="The tag"),
                Property(name="CriticalThreshold", description="How many critical findings are too many"),
                Property(name="HighThreshold", description="How many findings of high severity are too many"),
                Property(name="MediumThreshold", description="How many findings of medium severity are too many"),
                Property(name="LowThreshold", description="How many findings of low severity are too many"),
            ),
            inputs=(0, 1),
            outputs=(1, 1),
            timeout=HOUR,
        ),
    )
    why = "Penstock has no scanner. Use a CodeBuild action that runs one."


PROVIDER = InspectorScan()
