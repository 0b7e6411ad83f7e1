"""EKS: declared, not run. Applies manifests or a Helm chart to a cluster. AWS: action-reference-EKS."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class Eks(NotRun):
    """Applies manifests or a Helm chart to a cluster."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="EKS"),
            properties=(
                Property(name="ClusterName", description="The cluster", required=True, key=True),
                Property(name="HelmReleaseName", description="The release, for Helm"),
                Property(name="HelmChartLocation", description="The folder of the chart, for Helm"),
                Property(name="HelmValuesFiles", description="Files of values, with commas between them, for Helm"),
                Property(name="ManifestFiles", description="Manifests, with commas between them, for kubectl"),
                Property(name="Namespace", description="The namespace of the cluster"),
                Property(name="Subnets", description="Subnets, with commas between them"),
                Property(name="SecurityGroupIds", description="Security groups, with commas between them"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=HOUR,
            v2_only=True,
            members=("environmentVariables",),
        ),
    )
    why = "Penstock does not deploy to Kubernetes yet. Use a CodeBuild action that runs kubectl or Helm."


PROVIDER = Eks()
