"""From an event to the topics of the rules that name it.

AWS: Developer Tools Console User Guide, "Understanding notification contents". The topic's policy is asked for the service itself, whatever the
rule's author may do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.notifications import event_types, rule_rows
from penstock.store import jobs
from penstock.store.events import Event
from penstock.store.jobs import Job
from penstock.wire.arns import parse_arn
from penstock.wire.call import service_session
from penstock.wire.errors import Refused, ServiceError, passes

_log = logging.getLogger("penstock.notifications")

DELIVER = "notifications.deliver"
"""The kind of the jobs that notify a target."""

PRINCIPAL = "codestar-notifications.amazonaws.com"


def _resources(app: App, event: Event) -> list[str]:
    """By which ARNs rules may name what an event is about."""
    type = app.events.type(event.type)
    return event_types.resource_arns(event.type, list(type.resources(event)), event.payload)


def concerns(app: App, conn: sa.Connection, event: Event) -> bool:
    """Whether a rule that is switched on is about the event's resource."""
    place = (event.account, event.region)
    return any(rule_rows.enabled(conn, place, arn) for arn in _resources(app, event))


async def arrive(app: App, event: Event) -> None:
    """Make a job for each target of each rule that names an event. Running twice, it may notify twice."""
    ids = event_types.ids_of(event.type, event.payload)
    resources = _resources(app, event)

    def tx(conn: sa.Connection) -> None:
        place = (event.account, event.region)
        for row in (row for arn in resources for row in rule_rows.enabled(conn, place, arn)):
            if not ids.intersection(row.event_types):
                continue
            message = _message(app, event, row)
            for target in rule_rows.targets_of(conn, row):
                payload = {"rule": row.id, "address": target.address, "message": message}
                jobs.enqueue(
                    conn, kind=DELIVER, payload=payload, account=place[0], region=place[1],
                    dedup=f"{event.id}:{row.id}:{target.address}",
                )  # fmt: skip

    if ids:
        await app.store.write(tx)


def _message(app: App, event: Event, rule: Any) -> dict[str, Any]:
    """What is published, in the order of AWS."""
    type = app.events.type(event.type)
    return {
        "account": event.account,
        "detailType": type.detail_type,
        "region": event.region,
        "source": type.source,
        "time": datetime.fromtimestamp(event.at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "notificationRuleArn": rule_rows.arn_of(rule),
        "detail": event.payload,
        "resources": list(type.resources(event)),
        "additionalAttributes": _more(event) if rule.detail == "FULL" else {},
    }


def _more(event: Event) -> Mapping[str, Any]:
    """What a rule with the detail FULL says beside the event: why an action failed."""
    said = (event.payload.get("execution-result") or {}).get("external-execution-summary")
    if event.type == event_types.ACTION and event.payload.get("state") == "FAILED" and said:
        return {"additionalInformation": said}
    return {}


async def deliver(app: App, job: Job) -> None:
    """Publish to a topic, and note whether it could be reached. What may succeed later is tried again."""
    place, address = (job.account, job.region), job.payload["address"]
    rule, target = await app.store.read(_still, job)
    if rule is None or target is None:
        return
    arn = rule_rows.arn_of(rule)
    topic = parse_arn(address, "sns")
    assert topic is not None  # it was checked when the rule was made
    text = json.dumps(job.payload["message"], ensure_ascii=False, separators=(",", ":"))
    status = rule_rows.ACTIVE
    try:
        session = service_session(PRINCIPAL, job.account, arn)
        await app.invoke(session, "sns", "Publish", {"TopicArn": address, "Message": text}, region=topic.region)
    except (ServiceError, Refused) as error:
        if passes(error):
            raise
        status = rule_rows.UNREACHABLE
        _log.warning("notifications.not_delivered", extra={"arn": address, "rule": arn, "error": str(error)})
    if target.status != status:
        await app.store.write(rule_rows.set_status, place, address, status)


def _still(conn: sa.Connection, job: Job) -> tuple[Any, Any]:
    """Rule and target, unless the one notifies the other no more."""
    address = job.payload["address"]
    rule = rule_rows.by_id(conn, job.payload["rule"])
    if rule is None or rule.status != "ENABLED":
        return None, None
    return rule, next((one for one in rule_rows.targets_of(conn, rule) if one.address == address), None)
