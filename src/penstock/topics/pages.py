"""The console's pages about topics: which there are, and who gets what is published to one."""

from __future__ import annotations

import json
from typing import Any

from penstock.webpages.detail import Detail, Part
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural
from penstock.wire.call import partition_of

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
            ("FIFO", found.get("FifoTopic", "")),
        ],
        parts=[
            Part(
                title="Subscriptions",
                columns=(Column("Protocol"), Column("Endpoint", "clip"), Column("State"), Column("Owner")),
                rows=[_row(one) for one in (listed or {}).get("Subscriptions", ())],
                none="A policy does not let you see the subscriptions."
                if listed is None
                else "Nobody has subscribed yet.",
            ),
            Part(title="Policy", text=json.dumps(json.loads(found["Policy"]), indent=2)),
        ],
        behind="GetTopicAttributes, ListSubscriptionsByTopic",
        command=f"aws sns list-subscriptions-by-topic --topic-arn {arn}",
    )


def _row(one: dict[str, Any]) -> Row:
    state = "Waits for its confirmation" if one["SubscriptionArn"] == _WAITS else "Confirmed"
    return Row((one["Protocol"], one["Endpoint"], state, one["Owner"]))


PAGES = (
    Page(
        path="topics",
        title="Topics",
        load=topics,
        nav=Nav(group=Group.WATCH, service="sns", operation="ListTopics"),
    ),
    Page(path="topics/{name}", load=topic),
)
