"""Lists: of rules, targets and event types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.notifications import rule_rows
from penstock.notifications.event_types import KINDS
from penstock.notifications.operations import PAGES, notifications, place
from penstock.wire.call import Input, Output

_PAGE = 100  # (AWS: the shape MaxResults)


def _takes(filters: Sequence[Mapping[str, str]], values: Mapping[str, Sequence[str]]) -> bool:
    """Whether something is wanted: for each name that filters have, one of its values is among its own."""
    wanted: dict[str, set[str]] = {}
    for one in filters:
        wanted.setdefault(one["Name"], set()).add(one["Value"])
    return all(found & set(values[name]) for name, found in wanted.items())


def _paged(  # noqa: PLR0917
    call: Call, input: Input, member: str, rows: Sequence[Any], key: Callable[[Any], str], show: Callable[[Any], Output]
) -> Output:
    """A page of rows, which are few and in the order of their keys."""
    (after,) = PAGES.after(call, input) or ("",)
    limit = input.get("MaxResults") or _PAGE
    behind = [row for row in rows if key(row) > after][: limit + 1]
    page = PAGES.page(call, input, behind, limit=limit, keyset=lambda row: (key(row),))
    return {member: [show(row) for row in page.rows], **page.more}


@notifications("ListEventTypes")
async def list_event_types(app: App, call: Call, input: Input) -> Output:
    """The event types that rules may name; filters by RESOURCE_TYPE and SERVICE_NAME."""
    filters = input.get("Filters") or ()
    found = [
        kind
        for kind in KINDS.values()
        if _takes(filters, {"RESOURCE_TYPE": (kind.resource_type,), "SERVICE_NAME": (kind.service,)})
    ]
    return _paged(call, input, "EventTypes", found, lambda kind: kind.id, lambda kind: kind.to_api())


@notifications("ListNotificationRules")
async def list_notification_rules(app: App, call: Call, input: Input) -> Output:
    """Rules; filters by EVENT_TYPE_ID, CREATED_BY, RESOURCE and TARGET_ADDRESS."""
    filters = input.get("Filters") or ()
    asks_targets = any(one["Name"] == "TARGET_ADDRESS" for one in filters)

    def read(conn: sa.Connection) -> list[Any]:
        found = []
        for row in rule_rows.of_place(conn, place(call)):
            values = {
                "EVENT_TYPE_ID": row.event_types,
                "CREATED_BY": (row.created_by,),
                "RESOURCE": (row.resource,),
                "TARGET_ADDRESS": [one.address for one in rule_rows.targets_of(conn, row)] if asks_targets else (),
            }
            if _takes(filters, values):
                found.append(row)
        return found

    found = await app.store.read(read)
    show: Callable[[Any], Output] = lambda row: {"Id": row.id, "Arn": rule_rows.arn_of(row)}  # noqa: E731 - as of its neighbours
    return _paged(call, input, "NotificationRules", found, lambda row: row.id, show)


@notifications("ListTargets")
async def list_targets(app: App, call: Call, input: Input) -> Output:
    """Targets of the account's rules; filters by TARGET_TYPE, TARGET_ADDRESS and TARGET_STATUS."""
    filters = input.get("Filters") or ()
    rows = await app.store.read(rule_rows.targets_in, place(call))
    found = [
        row
        for row in rows
        if _takes(
            filters, {"TARGET_TYPE": (row.type,), "TARGET_ADDRESS": (row.address,), "TARGET_STATUS": (row.status,)}
        )
    ]
    return _paged(
        call, input, "Targets", found, lambda row: row.address,
        lambda row: {"TargetAddress": row.address, "TargetType": row.type, "TargetStatus": row.status},
    )  # fmt: skip
