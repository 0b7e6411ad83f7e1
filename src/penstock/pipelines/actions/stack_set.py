"""CloudFormation stack set: declared, not run. Makes or changes a stack set. AWS: action-reference-StackSets."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property


class StackSet(NotRun):
    """Makes or changes a stack set."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="CloudFormationStackSet"),
            properties=(
                Property(name="StackSetName", description="The stack set", required=True, key=True),
                Property(name="TemplatePath", description="The template, as artifact::file", required=True),
                Property(name="Description", description="What the stack set is for"),
                Property(name="Parameters", description="Parameters of the template"),
                Property(name="Capabilities", description="What the template may do"),
                Property(
                    name="PermissionModel",
                    description="Who gives the permissions",
                    values=("SELF_MANAGED", "SERVICE_MANAGED"),
                ),
                Property(name="AdministrationRoleArn", description="The role of the administrator's account"),
                Property(name="ExecutionRoleName", description="The role of the other accounts"),
                Property(
                    name="OrganizationsAutoDeployment",
                    description="Whether new accounts get a stack",
                    values=("Enabled", "Disabled", "EnabledWithStackRetention"),
                ),
                Property(
                    name="DeploymentTargets",
                    description="Accounts or units, with commas between them, or artifact::file",
                ),
                Property(name="Regions", description="Regions, with commas between them"),
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
            inputs=(1, 3),
            outputs=(0, 0),
            timeout=3 * DAY,
        ),
    )
    why = "Penstock does not run stacks yet. Use a CodeBuild action that runs what makes the resources."


PROVIDER = StackSet()
