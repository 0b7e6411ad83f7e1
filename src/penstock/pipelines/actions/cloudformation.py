"""CloudFormation: declared, not run. Makes, changes or deletes a stack, or a change set of it. AWS: action-reference-CloudFormation."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property


class CloudFormation(NotRun):
    """Makes, changes or deletes a stack, or a change set of it."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="CloudFormation"),
            properties=(
                Property(
                    name="ActionMode",
                    description="What to do with the stack",
                    required=True,
                    values=(
                        "CREATE_UPDATE",
                        "REPLACE_ON_FAILURE",
                        "DELETE_ONLY",
                        "CHANGE_SET_REPLACE",
                        "CHANGE_SET_EXECUTE",
                    ),
                ),
                Property(name="StackName", description="The stack", required=True, key=True),
                Property(name="TemplatePath", description="The template, as artifact::file"),
                Property(
                    name="TemplateConfiguration",
                    description="Parameters, tags and policy of the stack, as artifact::file",
                ),
                Property(name="ParameterOverrides", description="Parameters, as a JSON object"),
                Property(name="RoleArn", description="The role that works on the stack's resources"),
                Property(name="Capabilities", description="What the template may do, with commas between them"),
                Property(name="ChangeSetName", description="The change set"),
                Property(
                    name="OutputFileName", description="The file of the output artifact that gets the stack's outputs"
                ),
            ),
            inputs=(0, 10),
            outputs=(0, 1),
            timeout=3 * DAY,
        ),
    )
    why = "Penstock does not run stacks yet. Use a CodeBuild action that runs what makes the resources."


PROVIDER = CloudFormation()
