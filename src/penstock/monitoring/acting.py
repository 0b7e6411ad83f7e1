"""The job of an alarm's action: somebody is notified that it is in another state."""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
from pathlib import Path

import orjson

from penstock.application import App
from penstock.monitoring import alarm_records
from penstock.monitoring.alarms import METRIC_ALARM, arn_of
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.wire.arns import parse_arn
from penstock.wire.call import service_session
from penstock.wire.errors import Refused, ServiceError, passes

log = logging.getLogger("penstock.monitoring")

PRINCIPAL = "cloudwatch.amazonaws.com"
_SUBJECT = 100  # characters of a subject (AWS: Publish)


async def act(app: App, job: Job) -> None:
    """Run an action and note in the history how it went. What may succeed later is tried again."""
    action, alarm = job.payload["action"], arn_of(job.account, job.region, job.payload["alarm"])
    try:
        await _publish(app, job, alarm)
    except (ServiceError, Refused) as error:
        if passes(error):
            raise
        await fail(app, job, str(error) or type(error).__name__)
        return
    data = {"actionState": "Succeeded", "notificationResource": action}
    await _note(app, job, f"Successfully executed action {action}", data)


async def fail(app: App, job: Job, error: str) -> None:
    """Note in the history that an action did not succeed."""
    action = job.payload["action"]
    log.warning("monitoring.action_failed", extra={"alarm": job.payload["alarm"], "arn": action, "error": error})
    data = {"actionState": "Failed", "notificationResource": action, "error": error[:1000]}
    await _note(app, job, f"Failed to execute action {action}. Received error: {error}", data)


class ActionNotServed(ServiceError):
    """Actions of this kind are not served: give the ARN of a topic of SNS."""


async def _publish(app: App, job: Job, alarm: str) -> None:
    topic = parse_arn(job.payload["action"], "sns")
    if topic is None or "sns" not in app.services or app.registry.get("sns", "Publish") is None:
        raise ActionNotServed
    region = long_name(job.region)
    message = {**job.payload["message"], "Region": region}
    subject = f'{job.payload["value"]}: "{job.payload["alarm"]}" in {region}'
    asked = {
        "TopicArn": job.payload["action"],
        "Subject": subject if len(subject) <= _SUBJECT else f"{subject[: _SUBJECT - 3]}...",
        "Message": json.dumps(message, ensure_ascii=False, separators=(",", ":")),
    }
    session = service_session(PRINCIPAL, job.account, alarm)
    await app.invoke(session, "sns", "Publish", asked, region=topic.region)


async def _note(app: App, job: Job, summary: str, data: dict[str, str]) -> None:
    values = {
        "kind": job.payload.get("kind", METRIC_ALARM),
        "item": "Action",
        "summary": summary[:255],
        "data": json.dumps(data, separators=(",", ":")),
    }
    failpoint("monitoring.acted")
    place, payload = (job.account, job.region), job.payload
    # The job's id makes it one item, however often the job runs.
    await app.store.write(alarm_records.note, place, payload["alarm"], payload["at"], job.id, **values)


@functools.cache
def long_name(region: str) -> str:
    """A region as AWS calls it, such as `US East (N. Virginia)`; one that AWS does not have, by its code."""
    spec = importlib.util.find_spec("botocore")
    assert spec is not None
    assert spec.origin is not None
    known = orjson.loads((Path(spec.origin).parent / "data" / "endpoints.json").read_bytes())
    named = {code: found["description"] for part in known["partitions"] for code, found in part["regions"].items()}
    return named.get(region, region)
