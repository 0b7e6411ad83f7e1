"""CloudFormation stack instances: declared, not run. Makes or changes the stacks of a stack set. AWS: action-reference-StackSets."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property


class StackInstances(NotRun):
    """Makes or changes the stacks of a stack set."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="CloudFormationStackInstances"),
            properties=(
                Property(name="StackSetName", description="The stack set", required=True, key=True),
                Property(name="Regions", description="Regions, with commas between them", required=True),
                Property(
                    name="DeploymentTargets",
                    description="Accounts or units, with commas between them, or artifact::file",
                ),
                Property(name="ParameterOverrides", description="Parameters of these stacks"),
                Property(name="FailureTolerancePercentage", description="How many stacks may fail, in percent"),
                Property(
                    name="MaxConcurrentPercentage", description="How many stacks are worked on at once, in percent"
                ),
                Property(
                    name="RegionConcurrencyType",
                    description="Whether regions come one after another",
                    values=("SEQUENTIAL", "PARALLEL", "Sequential", "Parallel"),
                ),
                Property(
                    name="ConcurrencyMode",
                    description="How failures slow the work",
                    values=("STRICT_FAILURE_TOLERANCE", "SOFT_FAILURE_TOLERANCE"),
                ),
                Property(name="CallAs", description="Who acts", values=("SELF", "DELEGATED_ADMIN")),
            ),
            inputs=(0, 3),
            outputs=(0, 0),
            timeout=3 * DAY,
        ),
    )
    why = "Penstock does not run stacks yet. Use a CodeBuild action that runs what makes the resources."


PROVIDER = StackInstances()
