"""Subscription filters: what patterns find in log groups, sent on as it comes."""

from __future__ import annotations

import base64
import gzip
from types import SimpleNamespace
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import Call
from penstock.logs import destinations, records, subscription_rows
from penstock.logs.errors import InvalidParameterException, LimitExceededException, ResourceNotFoundException
from penstock.logs.logstore import LogStore
from penstock.logs.operations import PAGES, check_pattern, operation
from penstock.logs.operations.groups import existing_group, group_arn
from penstock.store import jobs
from penstock.wire.call import Input, Output

_PAGE = 50
_FILTERS = 2  # of a group. AWS: CloudWatch Logs quotas
_CHECK = {  # AWS: "Real-time processing of log data with subscriptions"
    "messageType": "CONTROL_MESSAGE",
    "owner": "CloudwatchLogs",
    "logGroup": "",
    "logStream": "",
    "subscriptionFilters": [],
}


@operation("PutSubscriptionFilter", resource=group_arn)
async def put_subscription_filter(logs: LogStore, call: Call, input: Input) -> Output:
    """Send what a pattern finds in a group from now on. A filter of the same name is replaced, and continues where it is."""
    check_pattern(input["filterPattern"])
    _check(call, input)
    group = (call.account, call.region, input["logGroupName"])
    await existing_group(call, input["logGroupName"])
    role = input.get("roleArn")
    if role:
        await call.app.identity.pass_role(call, role, source_arn=call.arn("logs", f"log-group:{group[2]}"))
    row = {
        "account": call.account,
        "region": call.region,
        "group": input["logGroupName"],
        "name": input["filterName"],
        "id": call.app.ids.uuid(),
        "pattern": input["filterPattern"],
        "destination": input["destinationArn"],
        "role": role,
        "distribution": input.get("distribution", "ByLogStream"),
        "created": call.now,
        "failures": 0,
    }
    # As AWS does, so that what cannot be reached or may not be used is said to whoever puts the filter.
    await _try(call, row)

    def put(conn: sa.Connection) -> None:
        if records.find_group(conn, *group, lock=True) is None:
            raise ResourceNotFoundException(what="log group")
        others = [one for one in subscription_rows.of_group(conn, group) if one.name != row["name"]]
        if len(others) >= _FILTERS:
            raise LimitExceededException
        subscription_rows.put(conn, row)

    await call.app.store.write(put)
    return {}


@operation("DeleteSubscriptionFilter", resource=group_arn)
async def delete_subscription_filter(logs: LogStore, call: Call, input: Input) -> Output:
    """Send no more of what a filter finds."""
    group = (call.account, call.region, input["logGroupName"])
    await existing_group(call, input["logGroupName"])

    def delete(conn: sa.Connection) -> None:
        gone = subscription_rows.delete(conn, group, input["filterName"])
        if gone is None:
            raise ResourceNotFoundException(what="subscription filter")
        jobs.cancel(conn, kind=subscription_rows.SEND, dedup=gone.id)

    await call.app.store.write(delete)
    return {}


@operation("DescribeSubscriptionFilters", resource=group_arn)
async def describe_subscription_filters(logs: LogStore, call: Call, input: Input) -> Output:
    """Filters of a group by name."""
    await existing_group(call, input["logGroupName"])
    limit = input.get("limit", _PAGE)
    rows = await call.app.store.scan(
        subscription_rows.page,
        (call.account, call.region, input["logGroupName"]),
        prefix=input.get("filterNamePrefix", ""),
        after=PAGES.after(call, input),
        limit=limit + 1,
    )
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.name])
    return {"subscriptionFilters": [_to_api(row) for row in page.rows], **page.more}


def _check(call: Call, input: Input) -> None:
    """Raises InvalidParameterException."""
    if input.get("applyOnTransformedLogs") or input.get("fieldSelectionCriteria") or input.get("emitSystemFields"):
        raise InvalidParameterException(
            "Log transformers and fields of the system are not served: leave applyOnTransformedLogs, fieldSelectionCriteria and "
            "emitSystemFields out."
        )
    if input.get("distribution") == "Random":
        raise InvalidParameterException(
            "Messages are of one log stream each, in its order: distribution Random is of Kinesis data streams, which are not served. Leave it out."
        )
    destination = input["destinationArn"]
    if destinations.is_url(call, destination):
        if input.get("roleArn"):
            raise InvalidParameterException("A URL is called under no role. Leave roleArn out.")
    elif not destinations.is_topic(call, destination):
        raise InvalidParameterException(
            "destinationArn is the ARN of an SNS topic in the account and region of the log group, or a URL of http or https as "
            f"{call.arn('penstock', 'https://HOST/PATH')}. Other destinations are not served."
        )


async def _try(call: Call, row: Any) -> None:
    """Raises InvalidParameterException unless the destination takes a message."""
    what = "HTTP endpoint" if destinations.url_of(row["destination"]) else "SNS topic"
    # Whether a topic exists is nothing that its policy lets everybody know, so the denial is the same.
    hint = "Check if the given topic exists, and lets CloudWatch Logs publish. " if what == "SNS topic" else ""
    event = {"id": "", "timestamp": call.now, "message": f"CWL CONTROL MESSAGE: Checking health of destination {what}."}
    body = orjson.dumps({**_CHECK, "logEvents": [event]})
    text = base64.b64encode(gzip.compress(body, mtime=0)).decode() if what == "HTTP endpoint" else body.decode()
    try:
        await destinations.hand_over(call.app, SimpleNamespace(**row), text, stream="", key=call.app.ids.hex(64))
    except destinations.Failed as failed:
        raise InvalidParameterException(
            f"Could not deliver test message to specified {what}. {hint}{failed}"[:1_000]
        ) from None


def _to_api(row: sa.Row[Any]) -> Output:
    return {
        "filterName": row.name,
        "logGroupName": row.group,
        "filterPattern": row.pattern,
        "destinationArn": row.destination,
        "roleArn": row.role,
        "distribution": row.distribution,
        "applyOnTransformedLogs": False,
        "creationTime": row.created,
    }
