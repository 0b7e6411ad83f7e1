"""The page of the console that says who did what."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson

from penstock.audit.attributes import NAMES
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View
from penstock.webpages.wording import plural


async def events(view: View) -> Listing:
    """The newest events, of one attribute when the address names one (`?Username=ann`)."""
    chosen = next(((name, value) for name, value in view.query.items() if name in NAMES and value), None)
    asked: dict[str, Any] = {}
    if chosen is not None:
        asked["LookupAttributes"] = [{"AttributeKey": chosen[0], "AttributeValue": chosen[1]}]
    if token := view.query.get("from", ""):
        asked["NextToken"] = token
    looked_up = await view.call("cloudtrail", "LookupEvents", **asked)
    found = looked_up["Events"]
    refused = sum("errorCode" in orjson.loads(event["CloudTrailEvent"]) for event in found)
    arguments = "" if chosen is None else f" --lookup-attributes AttributeKey={chosen[0]},AttributeValue={chosen[1]}"
    return Listing(
        lede=f"{plural(len(found), 'call')} on this page, {refused} of them refused or failed. {await _trails(view)}".strip(),
        columns=(
            Column("When", "num"),
            Column("Who", "by"),
            Column("What"),
            Column("Result", wide=True),
            Column("On", "clip"),
            Column("From"),
        ),
        rows=[_row(event) for event in found],
        empty=Empty(
            icon="box",
            title="No calls are on record",
            text="Every call is on record for 90 days, a second after it was answered.",
        ),
        behind="LookupEvents",
        command=f"aws cloudtrail lookup-events{arguments}",
        filtered="" if chosen is None else chosen[1],
        next_page=following(looked_up.get("NextToken", ""), **({} if chosen is None else {chosen[0]: chosen[1]})),
    )


async def _trails(view: View) -> str:
    """Whether trails bring the records to their buckets, in a sentence; "" where the visitor may not see it, or there is none."""
    listed = await view.allowed("cloudtrail", "DescribeTrails")
    states = {
        one["Name"]: await view.allowed("cloudtrail", "GetTrailStatus", Name=one["TrailARN"])
        for one in (listed or {}).get("trailList", [])
    }
    known = {name: state for name, state in states.items() if state is not None}
    failing = [
        f"{name} ({state['LatestDeliveryError']})" for name, state in known.items() if state.get("LatestDeliveryError")
    ]
    stopped = [name for name, state in known.items() if not state["IsLogging"]]
    if failing:
        return f"Trails that cannot write: {', '.join(failing)}."
    if stopped:
        return f"Trails that are stopped: {', '.join(stopped)}."
    return f"{plural(len(known), 'trail')} {'writes' if len(known) == 1 else 'write'} them to buckets." if known else ""


def _row(event: dict[str, Any]) -> Row:
    record = orjson.loads(event["CloudTrailEvent"])
    who = event.get("Username") or record["userIdentity"].get("invokedBy", "")
    source = event["EventSource"].removesuffix(".amazonaws.com")
    resources = event["Resources"]
    on = resources[0]["ResourceName"] if resources else ""
    return Row(
        (
            Cell(at=event["EventTime"]),
            Cell(text=who, href=_only("Username", event["Username"]) if "Username" in event else ""),
            Cell(text=f"{source} {event['EventName']}", href=_only("EventName", event["EventName"])),
            Cell(text=record.get("errorCode", "Done"), below=record.get("errorMessage", "")),
            Cell(text=on, title=on, href=_only("ResourceName", on) if on else ""),
            record["sourceIPAddress"],
        )
    )


def _only(name: str, value: str) -> str:
    return f"?{urlencode({name: value})}"


PAGE = Page(
    path="audit",
    title="Audit",
    load=events,
    nav=Nav(group=Group.GOVERN, service="cloudtrail", operation="LookupEvents"),
)
