"""Replays of archives."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.events import archive_rows as rows
from penstock.events.errors import (
    BusNotFound,
    IllegalStatusException,
    LimitExceededException,
    ResourceExists,
    ResourceNotFoundException,
    ValidationException,
)
from penstock.events.interest import RuleBook
from penstock.events.operations import PAGE, PAGES, bus_name, events, need_bus, place, rule_tail
from penstock.events.operations.archives import archive_arn, one_filter
from penstock.events.operations.rules import MAX_RULES
from penstock.events.records import archives, replays
from penstock.events.replaying import REPLAY
from penstock.store import jobs
from penstock.store.deciding import decide_alone
from penstock.store.failpoints import failpoint
from penstock.wire.arns import resource_here
from penstock.wire.call import Input, Output

MAX_REPLAYS = 10  # of an account in a region at a time (AWS: EventBridge quotas)


def _arn(call: Call, name: str) -> str:
    return call.arn("events", f"replay/{name}")


def _named(call: Call, input: Input) -> str:
    return _arn(call, input["ReplayName"])


def _source(call: Call, input: Input) -> str:
    """AWS asks policies about the archive."""
    return archive_arn(call, _archive(call, input) or "*")


def _archive(call: Call, input: Input) -> str:
    """The name of the archive that is to be replayed; "" for an ARN that names none here."""
    kind, _, name = (resource_here(call, input["EventSourceArn"], "events") or "").partition("/")
    return name if kind == "archive" else ""


@events("StartReplay", resource=_source)
async def start_replay(book: RuleBook, call: Call, input: Input) -> Output:
    """Let what an archive has of a time arrive at its bus again."""
    name, since, until = input["ReplayName"], input["EventStartTime"], input["EventEndTime"]
    destination, source = input["Destination"], _archive(call, input)
    call.memo["resources"] = (archive_arn(call, source or "*"), _arn(call, name))
    try:
        bus = bus_name(call, destination["Arn"])
    except BusNotFound as missing:
        raise ValidationException(f"Parameter Destination.Arn is not valid. Reason: {missing.message}") from None
    if ":event-bus/" not in destination["Arn"]:
        raise ValidationException("Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.")
    if len(destination.get("FilterArns", ())) > MAX_RULES:
        raise ValidationException(
            f"Parameter Destination.FilterArns is not valid. Reason: Give at most {MAX_RULES} ARNs, as many as a bus has rules."
        )
    ours = {call.arn("events", rule_tail(bus, arn.rpartition("/")[2])) for arn in destination.get("FilterArns", ())}
    if not set(destination.get("FilterArns", ())) <= ours:
        raise ValidationException(
            "Parameter Destination.FilterArns is not valid. Reason: Give ARNs of rules of the event bus."
        )
    id = call.app.ids.uuid()

    def tx(conn: sa.Connection) -> None:
        decide_alone(conn, "events-replays", *place(call))
        archive = rows.find(conn, archives, place(call), source, lock=True)
        if archive is None:
            shown = source or input["EventSourceArn"]
            raise ValidationException(f"Parameter EventSourceArn is not valid. Reason: Archive {shown} does not exist.")
        need_bus(conn, place(call), bus)
        if archive.bus != bus:
            raise ValidationException(
                "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted."
            )
        if since >= until:
            raise ValidationException(
                "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime."
            )
        if rows.count(conn, replays, place(call)) >= MAX_REPLAYS:
            raise LimitExceededException
        values = {"id": id, "archive": archive.id, "source": input["EventSourceArn"], "bus": bus, "state": "STARTING"}
        times = {"since": since, "until": until, "started": call.now, "description": input.get("Description")}
        if not rows.add(conn, replays, place(call), name, destination=destination, **values, **times):
            raise ResourceExists(f"Replay {name} already exists.")
        payload = {"name": name, "id": id}
        jobs.enqueue(conn, kind=REPLAY, payload=payload, account=call.account, region=call.region, dedup=id)

    await call.app.store.write(tx)
    failpoint("events.replay_started")
    return {"ReplayArn": _arn(call, name), "State": "STARTING", "ReplayStartTime": call.now}


@events("DescribeReplay", resource=_named)
async def describe_replay(book: RuleBook, call: Call, input: Input) -> Output:
    """A replay, and how far it has come."""
    row = await call.app.store.read(_row, call, input["ReplayName"])
    more = {} if row.description is None else {"Description": row.description}
    return _listed(row) | more | {"ReplayArn": _arn(call, row.name), "Destination": row.destination}


@events("ListReplays")
async def list_replays(book: RuleBook, call: Call, input: Input) -> Output:
    """The replays of the caller's account and region by name, a page at a time."""
    one_filter(input, "ListReplays")
    (after,) = PAGES.after(call, input) or ("",)
    limit = input.get("Limit", PAGE)
    members = {"State": "state", "EventSourceArn": "source"}
    equal = {column: input[member] for member, column in members.items() if member in input}
    found = await call.app.store.read(
        rows.after,
        replays,
        place(call),
        name=after,
        prefix=input.get("NamePrefix", ""),
        limit=limit + 1,
        equal=equal,
    )
    page = PAGES.page(call, input, found, limit=limit, keyset=lambda row: (row.name,))
    return {"Replays": [_listed(row) for row in page.rows], **page.more}


@events("CancelReplay", resource=_named)
async def cancel_replay(book: RuleBook, call: Call, input: Input) -> Output:
    """End a replay before its end. What it has handed over stays handed over."""
    name = input["ReplayName"]

    def tx(conn: sa.Connection) -> None:
        row = _row(conn, call, name, lock=True)
        if row.state not in ("STARTING", "RUNNING"):
            raise IllegalStatusException(name=name)
        rows.change(conn, replays, place(call), name, state="CANCELLING")

    await call.app.store.write(tx)
    return {"ReplayArn": _arn(call, name), "State": "CANCELLING"}


def _row(conn: sa.Connection, call: Call, name: str, *, lock: bool = False) -> Any:
    row = rows.find(conn, replays, place(call), name, lock=lock)
    if row is None:
        raise ResourceNotFoundException(f"Replay {name} does not exist.")
    return row


def _listed(row: Any) -> Output:
    answer = {
        "ReplayName": row.name,
        "EventSourceArn": row.source,
        "State": row.state,
        "EventStartTime": row.since,
        "EventEndTime": row.until,
        "ReplayStartTime": row.started,
    }
    more = {"StateReason": row.reason, "EventLastReplayedTime": row.replayed, "ReplayEndTime": row.ended}
    return answer | {member: value for member, value in more.items() if value is not None}
