"""Elastic Beanstalk: declared, not run. Deploys a version of an application to an environment. AWS: action-reference-Beanstalk."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class ElasticBeanstalk(NotRun):
    """Deploys a version of an application to an environment."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="ElasticBeanstalk"),
            properties=(
                Property(name="ApplicationName", description="The application", required=True, key=True),
                Property(name="EnvironmentName", description="The environment", required=True, key=True),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=HOUR,
        ),
    )
    why = "Penstock does not deploy to Elastic Beanstalk. Deploy to hosts with a CodeDeploy action."


PROVIDER = ElasticBeanstalk()
