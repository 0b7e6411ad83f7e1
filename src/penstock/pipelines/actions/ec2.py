"""EC2: declared, not run. Copies an artifact to instances and runs scripts there. AWS: action-reference-EC2Deploy."""

from __future__ import annotations

from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.model import HOUR, ActionType, ActionTypeId, Property


class Ec2(NotRun):
    """Copies an artifact to instances and runs scripts there."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="EC2"),
            properties=(
                Property(name="InstanceTagKey", description="The tag that instances have", required=True, key=True),
                Property(name="InstanceTagValue", description="Its value; any when it is left out"),
                Property(
                    name="InstanceType",
                    description="What the instances are",
                    required=True,
                    values=("EC2", "SSM_MANAGED_NODE"),
                ),
                Property(name="DeploySpec", description="The file that says what goes where"),
                Property(name="TargetDirectory", description="The folder of the files on instances"),
                Property(name="PreScript", description="The script before the files are copied"),
                Property(name="PostScript", description="The script after the files are copied"),
                Property(name="MaxBatch", description="How many instances are worked on at once"),
                Property(name="MaxError", description="How many instances may fail"),
                Property(name="TargetGroupNameList", description="Target groups, with commas between them"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=HOUR,
            v2_only=True,
        ),
    )
    why = "Penstock does not deploy to instances without its agent. Deploy to hosts with a CodeDeploy action."


PROVIDER = Ec2()
