"""The console's pages about topics: which there are, and who gets what is published to one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from penstock.topics.chat import ATTRIBUTE
from penstock.topics.names import Place
from penstock.topics.reports import group_of
from penstock.webpages.detail import Detail, Part
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural
from penstock.wire.call import partition_of
from penstock.wire.errors import ServiceError

_LAST = 20  # deliveries that a page shows
_WAITS = "PendingConfirmation"  # in the place of a subscription's ARN


async def topics(view: View) -> Listing:
    """The topics of the account and region."""
    token = view.query.get("from", "")
    answer = await view.call("sns", "ListTopics", **({"NextToken": token} if token else {}))
    names = [one["TopicArn"].rpartition(":")[2] for one in answer["Topics"]]
    return Listing(
        lede=f"{plural(len(names), 'topic')} on this page.",
        columns=(Column("Topic"), Column("Kind")),
        rows=[
            Row(
                (
                    Cell(text=name, href=f"/console/topics/{part(name)}"),
                    "FIFO" if name.endswith(".fifo") else "Standard",
                )
            )
            for name in names
        ],
        empty=Empty(
            icon="box",
            title="No topics yet",
            text="What is published to a topic reaches everybody who subscribed: by mail, or at an address of a program.",
            command="aws sns create-topic --name deploys",
        ),
        behind="ListTopics",
        command="aws sns list-topics",
        next_page=following(answer.get("NextToken", "")),
    )


async def topic(view: View) -> Detail:
    """One topic with its subscriptions."""
    name = view.path["name"]
    arn = f"arn:{partition_of(view.region)}:sns:{view.region}:{view.visitor.account}:{name}"
    found = (await view.call("sns", "GetTopicAttributes", TopicArn=arn))["Attributes"]
    listed = await view.allowed("sns", "ListSubscriptionsByTopic", TopicArn=arn)
    confirmed, waiting = found["SubscriptionsConfirmed"], found["SubscriptionsPending"]
    return Detail(
        title=name,
        list_title="Topics",
        list_path="topics",
        lede=f"{plural(int(confirmed), 'subscription')} confirmed, {waiting} not yet.",
        facts=[
            ("ARN", arn),
            ("Sender's name in mails", found["DisplayName"]),
            ("Signature version", found.get("SignatureVersion", "1")),
            ("FIFO", "Yes" if found.get("FifoTopic") == "true" else ""),
            ("Messages are sealed under the key", found.get("KmsMasterKeyId", "")),
        ],
        parts=[
            Part(
                title="Subscriptions",
                columns=(
                    Column("Protocol"),
                    Column("Endpoint", "clip"),
                    Column("Format"),
                    Column("State"),
                    Column("Owner"),
                ),
                rows=[await _row(view, one) for one in (listed or {}).get("Subscriptions", ())],
                none="A policy does not let you see the subscriptions."
                if listed is None
                else "Nobody has subscribed yet.",
            ),
            await _deliveries(view, Place(view.visitor.account, view.region, name), found),
            await _letters(view, arn),
            Part(title="Policy", text=json.dumps(json.loads(found["Policy"]), indent=2)),
        ],
        behind="GetTopicAttributes, ListSubscriptionsByTopic, GetSubscriptionAttributes, ListMessageDeadLetters, FilterLogEvents",
        command=f"aws sns list-subscriptions-by-topic --topic-arn {arn}",
    )


async def _deliveries(view: View, place: Place, attributes: Mapping[str, str]) -> Part:
    """The last lines of the topic's delivery status logging."""
    columns = (Column("Sent"), Column("Endpoint", "clip"), Column("Result"), Column("Attempts", "num"))
    if not any(name.endswith("FeedbackRoleArn") for name in attributes):
        return Part(
            title="Last deliveries",
            columns=columns,
            none="Deliveries are not logged. Give the topic roles in HTTPSuccessFeedbackRoleArn and HTTPFailureFeedbackRoleArn.",
        )
    events = [*await _logged(view, group_of(place, failed=False)), *await _logged(view, group_of(place, failed=True))]
    events.sort(key=lambda one: one["timestamp"], reverse=True)
    shown = (_delivery(one["timestamp"], one["message"]) for one in events)
    rows = [row for row in shown if row is not None][:_LAST]
    return Part(title="Last deliveries", columns=columns, rows=rows, none="No delivery is in the log yet.")


async def _logged(view: View, group: str) -> list[dict[str, Any]]:
    try:
        found = await view.allowed(
            "logs", "FilterLogEvents", logGroupName=group, limit=_LAST, filterPattern="{ $.status = * }"
        )
    except ServiceError:  # nothing has been logged, or what is there cannot be read
        return []
    return list((found or {}).get("events", ()))


def _delivery(at: int, line: str) -> Row | None:
    """What a line says of a delivery; None for one that somebody else wrote to the log group."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    match found:
        case {"status": str(state), "delivery": {"destination": str(endpoint), "attempts": int(attempts), **more}}:
            result = "Delivered" if state == "SUCCESS" else "Failed"
            status = more.get("statusCode")
            result += f" with status {status}" if status else f": {more.get('providerResponse', '')}"
            return Row((Cell(at=at), endpoint, result, attempts))
    return None


async def _letters(view: View, arn: str) -> Part:
    """What was given up, and can be sent again."""
    found = await view.allowed("penstock", "ListMessageDeadLetters", topicArn=arn)
    none = "Nothing was given up." if found is not None else "A policy does not let you see what was given up."
    return Part(
        title="Given up",
        columns=(Column("Given up"), Column("Endpoint", "clip"), Column("Why"), Column("Attempts", "num")),
        rows=[
            Row((Cell(at=one["time"]), one["endpoint"], one["errorMessage"], one["retryAttempts"] + 1))
            for one in (found or {}).get("deadLetters", ())[:_LAST]
        ],
        none=none,
    )


async def _row(view: View, one: dict[str, Any]) -> Row:
    state = "Waits for its confirmation" if one["SubscriptionArn"] == _WAITS else "Confirmed"
    return Row((one["Protocol"], one["Endpoint"], await _format(view, one), state, one["Owner"]))


async def _format(view: View, one: dict[str, Any]) -> str:
    """What a subscription's messages are written as: for which chat, as they are, or in the envelope of SNS. "" where that is not known."""
    if one["SubscriptionArn"] == _WAITS or one["Protocol"] not in ("http", "https"):
        return ""
    try:
        found = await view.allowed("sns", "GetSubscriptionAttributes", SubscriptionArn=one["SubscriptionArn"])
    except ServiceError:  # it has just ended
        return ""
    attributes = (found or {}).get("Attributes", {})
    if chat := attributes.get(ATTRIBUTE):
        return f"Chat, {chat}"
    return "The message alone" if attributes.get("RawMessageDelivery") == "true" else ""


PAGES = (
    Page(
        path="topics",
        title="Topics",
        load=topics,
        nav=Nav(group=Group.WATCH, service="sns", operation="ListTopics"),
    ),
    Page(path="topics/{name}", load=topic),
)
