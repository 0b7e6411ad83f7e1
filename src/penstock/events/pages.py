"""The console's pages about rules and schedules: what they wait for, and when they come next."""

from __future__ import annotations

from typing import Any

from penstock.events import scheduling
from penstock.events.envelopes import has_a_date
from penstock.timetables import Rate, following, parsed
from penstock.webpages import listing
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural

_RULES = 100
_SCHEDULES = 25  # each is asked for


async def rules(view: View) -> Listing:
    """The rules of the default bus."""
    token = view.query.get("from", "")
    answer = await view.call("events", "ListRules", Limit=_RULES, **({"NextToken": token} if token else {}))
    found, now = answer["Rules"], view.app.clock.now()
    timed = sum("ScheduleExpression" in one for one in found)
    return Listing(
        lede=f"{plural(len(found), 'rule')} of the default bus on this page, {timed} with a schedule.",
        columns=(Column("Rule"), Column("State"), Column("Acts on", "clip"), Column("Next", "num")),
        rows=[
            Row(
                (
                    Cell(text=one["Name"], href=f"/console/rules/{part(one['Name'])}"),
                    Cell(state=one["State"]),
                    _acts_on(one),
                    Cell(at=_next_of_rule(one, now)),
                )
            )
            for one in found
        ],
        empty=Empty(
            icon="box",
            title="No rules yet",
            text="A rule starts pipelines, builds and deployments, or sends messages, when something happens or at its times.",
            command="aws events put-rule --name nightly --schedule-expression 'cron(0 2 * * ? *)'",
        ),
        behind="ListRules",
        command="aws events list-rules",
        next_page=listing.following(answer.get("NextToken", "")),
    )


def _acts_on(one: dict[str, Any]) -> Cell:
    pattern, schedule = one.get("EventPattern", ""), one.get("ScheduleExpression", "")
    return Cell(text=schedule or pattern, title=pattern, below=pattern if schedule else "")


def _next_of_rule(one: dict[str, Any], now: int) -> int | None:
    """When a rule comes next, as far as its cron() says that; a rate counts from a time that no operation shows."""
    if one["State"] == "DISABLED" or "ScheduleExpression" not in one:
        return None
    timetable = parsed(one["ScheduleExpression"])
    return None if isinstance(timetable, Rate) else following(timetable, now)


async def schedules(view: View) -> Listing:
    """The schedules of EventBridge Scheduler."""
    token = view.query.get("from", "")
    answer = await view.call(
        "scheduler", "ListSchedules", MaxResults=_SCHEDULES, **({"NextToken": token} if token else {})
    )
    rows = [await _row(view, one) for one in answer["Schedules"]]
    return Listing(
        lede=f"{plural(len(rows), 'schedule')} on this page.",
        columns=(
            Column("Schedule"),
            Column("State"),
            Column("Times", "clip"),
            Column("Target", "clip"),
            Column("Next", "num"),
        ),
        rows=rows,
        empty=Empty(
            icon="box",
            title="No schedules yet",
            text="A schedule calls an operation under a role, at times of any time zone, again and again or once.",
            command="aws scheduler create-schedule --cli-input-json file://schedule.json",
        ),
        behind="ListSchedules, GetSchedule",
        command="aws scheduler list-schedules",
        next_page=listing.following(answer.get("NextToken", "")),
    )


async def _row(view: View, one: dict[str, Any]) -> Row:
    group, name, target = one["GroupName"], one["Name"], one["Target"]["Arn"]
    found = await view.allowed("scheduler", "GetSchedule", Name=name, GroupName=group)
    times = Cell(text="A policy does not let you see it.")
    if found is not None:
        times = Cell(text=found["ScheduleExpression"], below=found["ScheduleExpressionTimezone"])
    return Row(
        (
            name if group == "default" else f"{group}/{name}",
            Cell(state=one["State"]),
            times,
            Cell(text=target, title=target),
            Cell(at=None if found is None else _next_of_schedule(found, view.app.clock.now())),
        )
    )


def _next_of_schedule(found: dict[str, Any], now: int) -> int | None:
    """When a schedule comes next, unless that is beyond the year 9999; a rate that was changed counts from a time that no operation shows."""
    begin = found.get("StartDate", found["CreationDate"])
    if found["State"] == "DISABLED" or (
        isinstance(scheduling.timetable_of(found), Rate)
        and begin <= now
        and found["CreationDate"] != found["LastModificationDate"]
    ):
        return None
    coming = scheduling.next_time(found, now, since=begin)
    return coming if coming is not None and has_a_date(coming) else None


PAGES = (
    Page(path="rules", title="Rules", load=rules, nav=Nav(group=Group.WATCH, service="events", operation="ListRules")),
    Page(
        path="schedules",
        title="Schedules",
        load=schedules,
        nav=Nav(group=Group.WATCH, service="scheduler", operation="ListSchedules"),
    ),
)
