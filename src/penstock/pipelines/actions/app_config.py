"""AppConfig: declared, not run. Rolls a configuration out. AWS: action-reference-AppConfig."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class AppConfig(NotRun):
    """Rolls a configuration out."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="AppConfig"),
            properties=(
                Property(name="Application", description="The application", required=True, key=True),
                Property(name="Environment", description="The environment", required=True, key=True),
                Property(name="ConfigurationProfile", description="The configuration profile", required=True),
                Property(name="InputArtifactConfigurationPath", description="The file in the artifact", required=True),
                Property(name="DeploymentStrategy", description="How the configuration is rolled out"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=HOUR,
        ),
    )
    why = "Penstock has no AppConfig. Keep the configuration in the parameter store."


PROVIDER = AppConfig()
