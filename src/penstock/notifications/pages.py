"""The console's pages about notification rules: which there are, and what one of them notifies whom of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.webpages.detail import Detail, Part
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import person, plural
from penstock.wire.call import partition_of
from penstock.wire.errors import ServiceError

if TYPE_CHECKING:
    from starlette.responses import Response

_SERVICE = "codestar-notifications"
_RULES = 25  # each is asked for
_HIDDEN = "A policy does not let you see it."


async def rules(view: View) -> Listing:
    """The notification rules of the account and region."""
    token = view.query.get("from", "")
    more = {"NextToken": token} if token else {}
    answer = await view.call(_SERVICE, "ListNotificationRules", MaxResults=_RULES, **more)
    rows = [await _row(view, one["Arn"]) for one in answer["NotificationRules"]]
    return Listing(
        lede=f"{plural(len(rows), 'notification rule')} on this page.",
        columns=(
            Column("Rule"),
            Column("State"),
            Column("Watches", "clip"),
            Column("Notifies", wide=True),
            Column("Changed", "num"),
        ),
        rows=rows,
        empty=Empty(
            icon="box",
            title="No notification rules yet",
            text="A notification rule publishes to topics what happens to a pipeline, a project, an application or a repository.",
            command="aws codestar-notifications create-notification-rule --cli-input-json file://rule.json",
        ),
        behind="ListNotificationRules, DescribeNotificationRule",
        command="aws codestar-notifications list-notification-rules",
        next_page=following(answer.get("NextToken", "")),
    )


async def _row(view: View, arn: str) -> Row:
    id = arn.rpartition("/")[2]
    href = f"/console/notification-rules/{part(id)}"
    try:
        found = await view.allowed(_SERVICE, "DescribeNotificationRule", Arn=arn)
    except ServiceError:  # it has just been deleted
        found = None
    if found is None:
        return Row((Cell(text=id, href=href), _HIDDEN, None, None, None))
    watched = found["Resource"]
    return Row(
        (
            Cell(text=found["Name"], href=href),
            Cell(state=found["Status"]),
            Cell(text=watched.split(":", 5)[-1], title=watched),
            _notifies(found["Targets"]),
            Cell(at=found["LastModifiedTimestamp"]),
        )
    )


def _notifies(targets: list[dict[str, Any]]) -> str:
    away = sum(one["TargetStatus"] == "UNREACHABLE" for one in targets)
    count = plural(len(targets), "target")
    return f"{count}, {away} unreachable" if away else count


async def rule(view: View) -> Detail:
    """One rule: its event types, its targets with their state, and how many messages of each were given up."""
    id = view.path["id"]
    arn = _arn(view)
    found = await view.call(_SERVICE, "DescribeNotificationRule", Arn=arn)
    on, watched = found["Status"] == "ENABLED", found["Resource"]
    may = await view.may(_SERVICE, "UpdateNotificationRule", Arn=arn)
    about = f"about {plural(len(found['EventTypes']), 'event type')} of {watched.split(':', 5)[-1]}"
    return Detail(
        title=found["Name"],
        list_title="Notification rules",
        list_path="notification-rules",
        lede=f"It notifies {plural(len(found['Targets']), 'target')} {about}." if on else f"It is off: nobody is notified {about}.",
        facts=[
            ("State", Cell(state=found["Status"])),
            ("Watches", watched),
            ("Detail", {"FULL": "All that is known of an event", "BASIC": "What happened"}[found["DetailType"]]),
            ("Made by", Cell(text=person(found["CreatedBy"]), title=found["CreatedBy"])),
            ("Made", Cell(at=found["CreatedTimestamp"])),
            ("Changed", Cell(at=found["LastModifiedTimestamp"])),
            *((f"Tag {name}", value) for name, value in found.get("Tags", {}).items()),
            ("ARN", arn),
        ],
        parts=[
            Part(
                title="Targets",
                columns=(Column("Target"), Column("Kind"), Column("State"), Column("Messages given up")),
                rows=[await _target(view, one) for one in found["Targets"]],
                none="It notifies nobody yet: subscribe a topic to it.",
                button="" if not may else "Turn off" if on else "Turn on",
                path=f"/console/notification-rules/{part(id)}/status",
                fields={"state": "DISABLED" if on else "ENABLED"},
            ),
            Part(
                title="Event types",
                columns=(Column("What happens"), Column("Of"), Column("Id", "clip")),
                rows=[
                    Row((one["EventTypeName"], one["ServiceName"], Cell(text=one["EventTypeId"], title=one["EventTypeId"])))
                    for one in found["EventTypes"]
                ],
                none="It names none.",
            ),
        ],
        behind="DescribeNotificationRule, UpdateNotificationRule, ListMessageDeadLetters",
        command=f"aws codestar-notifications describe-notification-rule --arn {arn}",
    )  # fmt: skip


def _arn(view: View) -> str:
    place = f"{view.region}:{view.visitor.account}"
    return f"arn:{partition_of(view.region)}:{_SERVICE}:{place}:notificationrule/{view.path['id']}"


async def _target(view: View, one: Mapping[str, Any]) -> Row:
    """A target; the page of its topic shows the last deliveries to each of its subscriptions."""
    address = one["TargetAddress"]
    name = address.rpartition(":")[2]
    found = await view.allowed("penstock", "ListMessageDeadLetters", topicArn=address)
    given_up = _HIDDEN if found is None else _count(found)
    return Row(
        (
            Cell(text=name, href=f"/console/topics/{part(name)}", title=address),
            one["TargetType"],
            Cell(state=one["TargetStatus"]),
            given_up,
        )
    )


def _count(found: Mapping[str, Any]) -> str:
    count = len(found["deadLetters"])
    return f"More than {count}" if "nextToken" in found else str(count or "None")


async def set_status(view: View) -> Response:
    """Turn a rule on or off."""
    await view.call(_SERVICE, "UpdateNotificationRule", Arn=_arn(view), Status=view.form.get("state", ""))
    return view.back("notification-rules", view.path["id"])


PAGES = (
    Page(
        path="notification-rules",
        title="Notification rules",
        load=rules,
        nav=Nav(group=Group.WATCH, service=_SERVICE, operation="ListNotificationRules"),
    ),
    Page(path="notification-rules/{id}", load=rule, forms={"status": set_status}),
)
