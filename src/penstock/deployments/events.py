"""What deployments emit, in EventBridge's form (AWS: "Monitoring deployments with Amazon CloudWatch Events")."""

from __future__ import annotations

from penstock.store.catalogue import EventType
from penstock.store.events import Event
from penstock.wire.call import partition_of


def _about(event: Event) -> tuple[str, str]:
    of = f"arn:{partition_of(event.region)}:codedeploy:{event.region}:{event.account}"
    application, group = event.payload["application"], event.payload["deploymentGroup"]
    return f"{of}:application:{application}", f"{of}:deploymentgroup:{application}/{group}"


_SAMPLE = {
    "application": "shop",
    "deploymentGroup": "production",
    "deploymentId": "d-4BQ7XUW5F",
    "instanceGroupId": "9fd2fbef-2157-40d8-91e7-6845af69e2d2",
    "region": "us-east-1",
}

DEPLOYMENT_CHANGED = EventType(
    name="codedeploy.deployment.state_changed",
    description="A deployment began, or ended.",
    aggregate="deployment",
    source="aws.codedeploy",
    detail_type="CodeDeploy Deployment State-change Notification",
    resources=_about,
    sample={**_SAMPLE, "status": "InProgress", "state": "START", "creator": "user"},
)
INSTANCE_CHANGED = EventType(
    name="codedeploy.instance.state_changed",
    description="A deployment took up a host, or is done with it.",
    aggregate="deployment",
    source="aws.codedeploy",
    detail_type="CodeDeploy Instance State-change Notification",
    resources=_about,
    sample={**_SAMPLE, "instanceId": "web-1", "state": "SUCCESS"},
)

EVENTS = (DEPLOYMENT_CHANGED, INSTANCE_CHANGED)
