"""Triggers of deployment groups: what happens to a deployment and its instances is published to topics, under the group's service role.

AWS: "Monitoring deployments with Amazon SNS event notifications". The messages are as CodeDeploy sends them, which is not as its documentation
shows those of deployments: what is nested there is a text of JSON.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.deployments import errors, records, runs
from penstock.deployments.records import Row
from penstock.deployments.roles import assumed
from penstock.deployments.server.model import DeploymentStatus
from penstock.deployments.service import Deployments
from penstock.store.jobs import Job
from penstock.wire.arns import parse_arn
from penstock.wire.call import Session
from penstock.wire.errors import Refused, ServiceError, passes

log = logging.getLogger("penstock.deployments")

_SUBJECT = 100  # characters of a subject (AWS: SNS, Publish)
_TEST = "This is a test notification for the trigger {trigger} of the deployment group {group} of the application {application}."


async def publish(deployments: Deployments, job: Job) -> None:
    """Publish what a job of a trigger says. What may succeed later is tried again; what was refused is in the log."""
    app, payload = deployments.app, job.payload
    found = await app.store.read(_found, payload["deployment"], payload.get("host"))
    if found is None:
        return
    deployment, group, target = found
    message = (
        _of_deployment(deployment, payload)
        if target is None
        else _of_instance(deployment, target, payload, job.created)
    )
    subject = f"{payload['status'].upper()}: AWS CodeDeploy {deployment.id} in {job.region} to {deployment.application}"
    role = group.body["serviceRoleArn"]
    session = await assumed(
        app,
        role,
        session_name=deployment.id,
        account=job.account,
        region=job.region,
        group=f"{deployment.application}/{deployment.group_name}",
    )
    why = f"The role {role} cannot be assumed."
    if session is not None:
        try:
            await _publish(app, session, payload["topic"], subject, json.dumps(message, separators=(",", ":")))
        except (ServiceError, Refused) as error:
            if passes(error):
                raise
            why = str(error) or type(error).__name__
        else:
            return
    log.warning(
        "deployments.trigger_failed", extra={"deployment": deployment.id, "arn": payload["topic"], "error": why}
    )


async def check(
    app: App, session: Session, triggers: Sequence[Mapping[str, Any]], *, application: str, group: str
) -> None:
    """Publish a test notification by each trigger, as AWS does. Raises InvalidTriggerConfigException for one that cannot be."""
    for trigger in triggers:
        topic = trigger["triggerTargetArn"]
        text = _TEST.format(trigger=trigger["triggerName"], group=group, application=application)
        try:
            await _publish(app, session, topic, f"AWS CodeDeploy test notification for {application}", text)
        except (ServiceError, Refused) as error:
            if passes(error):
                raise
            # AWS's text, which Terraform waits by while a new role is not known everywhere.
            raise errors.InvalidTriggerConfigException(f"Topic ARN {topic} is not valid") from error


class TopicsNotServed(ServiceError):
    """Triggers publish to topics of SNS: give the ARN of one."""


async def _publish(app: App, session: Session, topic: str, subject: str, message: str) -> None:
    named = parse_arn(topic, "sns")
    if named is None or "sns" not in app.services:
        raise TopicsNotServed
    short = subject if len(subject) <= _SUBJECT else f"{subject[: _SUBJECT - 3]}..."
    asked = {"TopicArn": topic, "Subject": short, "Message": message}
    await app.invoke(session, "sns", "Publish", asked, region=named.region)


def _found(conn: sa.Connection, id: str, host: str | None) -> tuple[Row, Row, Row | None] | None:
    deployment = runs.deployment(conn, id)
    group = None if deployment is None else records.one(conn, records.groups, id=deployment.group_id)
    if deployment is None or group is None:
        return None
    if host is None:
        return deployment, group, None
    target = records.one(conn, records.targets, deployment=id, name=host)
    return None if target is None else (deployment, group, target)


def _of_deployment(row: Row, payload: Mapping[str, Any]) -> dict[str, Any]:
    state, ended = runs.STATE.load(row.state), payload["ended"]
    message: dict[str, Any] = {
        "region": row.region,
        "accountId": row.account,
        "eventTriggerName": payload["trigger"],
        "applicationName": row.application,
        "deploymentId": row.id,
        "deploymentGroupName": row.group_name,
        "createTime": _java_date(row.created),
        "completeTime": _java_date(state.completed) if ended and state.completed is not None else None,
    }
    if ended:
        counts = {
            "Succeeded": state.succeeded,
            "Failed": state.failed,
            "Skipped": state.skipped,
            "InProgress": state.running,
            "Pending": state.pending,
        }
        message["deploymentOverview"] = _text(counts)
    message["status"] = payload["status"]
    failed = ended and DeploymentStatus(row.status) is not DeploymentStatus.SUCCEEDED
    if failed:
        ending = state.ending
        code, why = ("", "") if ending is None else (str(ending.code or ""), ending.message or "")
        message["errorInformation"] = _text({"ErrorCode": code, "ErrorMessage": why} if code else {})
    if failed or row.links:
        message["rollbackInformation"] = _text({f"{name[0].upper()}{name[1:]}": row.links[name] for name in row.links})
    return message


def _of_instance(deployment: Row, target: Row, payload: Mapping[str, Any], at: int) -> dict[str, Any]:
    events = runs.lifecycle_events(target, runs.STATE.load(deployment.state).events)
    return {
        "region": deployment.region,
        "accountId": deployment.account,
        "eventTriggerName": payload["trigger"],
        "deploymentId": deployment.id,
        "instanceId": target.arn,
        "lastUpdatedAt": _seconds(at),
        "instanceStatus": payload["status"],
        "lifecycleEvents": [
            {
                "LifecycleEvent": event.name,
                "LifecycleEventStatus": str(event.status),
                **({} if event.started is None else {"StartTime": _seconds(event.started)}),
                **({} if event.ended is None else {"EndTime": _seconds(event.ended)}),
            }
            for event in events
        ],
    }


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03}"


def _java_date(ms: int) -> str:
    """As `java.util.Date` writes itself, in English whatever the server's language is."""
    at = datetime.fromtimestamp(ms // 1000, UTC)
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{days[at.weekday()]} {months[at.month - 1]} {at:%d %H:%M:%S} UTC {at.year}"
