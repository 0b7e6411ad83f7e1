"""CodeDeploy: one deployment per action, of the input artifact as it lies in the store. AWS: action-reference-CodeDeploy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Running, Succeeded, Targets
from penstock.pipelines.model import DAY, ActionType, ActionTypeId, Property
from penstock.wire.errors import AccessDenied, ServiceError

_STATUSES = frozenset({"Failed", "InProgress", "Pending", "Ready", "Skipped", "Succeeded", "Unknown"})
_DESCRIBED = 25  # targets of a call. AWS: BatchGetDeploymentTargets


class CodeDeploy(Provider):
    """Creates a deployment and learns of its end by an event; hosts fetch the bundle with their own keys."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="CodeDeploy"),
            properties=(
                Property(name="ApplicationName", description="The application", required=True, key=True),
                Property(name="DeploymentGroupName", description="The deployment group", required=True, key=True),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=5 * DAY,
            entity_url="/console/deployments?application={Config:ApplicationName}&group={Config:DeploymentGroupName}",
            execution_url="/console/deployments/{ExternalExecutionId}",
            works_on="codedeploy:deploymentgroup",
            starts="codedeploy:deployment",
        ),
    )
    reports: ClassVar = {"codedeploy.deployment.state_changed": lambda payload: payload["deploymentId"]}

    async def start(self, action: Action) -> Outcome:
        """CreateDeployment, once per action execution: CodeDeploy asks for the job of the session that calls."""
        artifact = action.inputs[0]
        location = {"bucket": artifact.bucket, "key": artifact.key, "bundleType": "zip"}
        if artifact.version_id:
            location["version"] = artifact.version_id
        if artifact.etag:
            location["eTag"] = artifact.etag
        revision = {"revisionType": "S3", "s3Location": location}
        application = action.configuration["ApplicationName"]
        try:
            await action.invoke(
                "codedeploy",
                "RegisterApplicationRevision",
                {
                    "applicationName": application,
                    "revision": revision,
                    "description": "Application revision registered by deployment pipeline",
                },
            )
            made = await action.invoke(
                "codedeploy",
                "CreateDeployment",
                {
                    "applicationName": application,
                    "deploymentGroupName": action.configuration["DeploymentGroupName"],
                    "revision": revision,
                    "description": f"Pipeline {action.pipeline}, execution {action.execution}",
                },
            )
        except AccessDenied as error:
            return Failed(code="PermissionError", message=str(error))
        except ServiceError as error:
            if error.server_fault:
                raise
            return Failed(
                code="JobFailed" if error.wire_code.endswith("LimitExceededException") else "ConfigurationError",
                message=f"{error.message} (Service: AmazonCodeDeploy; Status Code: {error.status}; Error Code: {error.wire_code})",
            )
        return Running(external_id=made["deploymentId"])

    async def observe(self, action: Action) -> Outcome:
        """GetDeployment."""
        info = (await action.invoke("codedeploy", "GetDeployment", {"deploymentId": action.external_id}))[
            "deploymentInfo"
        ]
        return _outcome(action.external_id, info)

    async def stop(self, action: Action) -> None:
        """StopDeployment."""
        if not action.external_id:
            return
        try:
            await action.invoke(
                "codedeploy", "StopDeployment", {"deploymentId": action.external_id, "autoRollbackEnabled": False}
            )
        except ServiceError as error:
            if error.wire_code != "DeploymentAlreadyCompletedException":
                raise

    async def targets(
        self, action: Action, *, statuses: Sequence[str] | None, after: str, start: int, limit: int
    ) -> Targets:
        """ListDeploymentTargets and BatchGetDeploymentTargets."""
        known = None if statuses is None else sorted(_STATUSES.intersection(statuses))
        if not action.external_id or known == []:
            return Targets()
        asked: dict[str, Any] = {"deploymentId": action.external_id}
        asked |= {"nextToken": after} if after else {}
        asked |= {"targetFilters": {"TargetStatus": known}} if known else {}
        page = await action.invoke("codedeploy", "ListDeploymentTargets", asked)
        wanted = page["targetIds"][start : start + limit]
        found: list[Mapping[str, Any]] = []
        for at in range(0, len(wanted), _DESCRIBED):
            ids = {"deploymentId": action.external_id, "targetIds": wanted[at : at + _DESCRIBED]}
            found += (await action.invoke("codedeploy", "BatchGetDeploymentTargets", ids))["deploymentTargets"]
        return Targets([_target(one) for one in found], len(page["targetIds"]), page.get("nextToken", ""))


def _target(one: Mapping[str, Any]) -> dict[str, Any]:
    target = one["instanceTarget"]
    events = [_event(event) for event in target.get("lifecycleEvents", ()) if "startTime" in event]
    starts = [event["startTime"] for event in events]
    ends = [event["endTime"] for event in events if "endTime" in event]
    shown = {"targetId": target["targetId"], "targetType": one["deploymentTargetType"], "status": target["status"]}
    if starts:
        shown["startTime"] = min(starts)
    if ends and target["status"] not in ("Pending", "InProgress", "Ready"):
        shown["endTime"] = max(ends)
    return shown | {"events": events}


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"name": event["lifecycleEventName"], "status": event["status"]}
    shown |= {name: event[name] for name in ("startTime", "endTime") if name in event}
    message = event.get("diagnostics", {}).get("message")
    return shown | ({"context": {"message": message}} if message else {})


def _outcome(deployment: str, info: Mapping[str, Any]) -> Outcome:
    status = info.get("status")
    if status == "Succeeded":
        return Succeeded(external_id=deployment, summary="Deployment Succeeded", variables={"DeploymentId": deployment})
    if status in ("Failed", "Stopped"):
        error = info.get("errorInformation", {})
        reason = error.get("message") or f"Deployment {deployment} {status.lower()}"
        return Failed(
            code="JobFailed",
            message=reason,
            external_id=deployment,
            summary=f"Deployment {deployment} {status.lower()}",
        )
    done = sum(info.get("deploymentOverview", {}).values())
    ended = done - sum(info.get("deploymentOverview", {}).get(key, 0) for key in ("Pending", "InProgress", "Ready"))
    return Running(external_id=deployment, percent=100 * ended // done if done else None)


PROVIDER = CodeDeploy()
