"""OpsWorks: declared, not run. Deploys an application to a stack. AWS: action-reference-OpsWorks."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class OpsWorks(NotRun):
    """Deploys an application to a stack."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="OpsWorks"),
            properties=(
                Property(name="Stack", description="The stack", required=True, key=True),
                Property(name="App", description="The application", required=True, key=True),
                Property(name="Layer", description="The layer"),
            ),
            inputs=(1, 1),
            outputs=(0, 1),
            timeout=HOUR,
        ),
    )
    why = "AWS has ended OpsWorks. Deploy to hosts with a CodeDeploy action."


PROVIDER = OpsWorks()
