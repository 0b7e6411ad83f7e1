"""API destinations: where the events of rules go by HTTP."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.egress import Unusable
from penstock.events import connection_rows as rows
from penstock.events.errors import (
    ApiDestinationNotFound,
    LimitExceededException,
    ResourceExists,
    ResourceNotFoundException,
    ValidationException,
)
from penstock.events.interest import RuleBook
from penstock.events.operations import PAGE, PAGES, events, place
from penstock.events.records import api_destinations, connections
from penstock.store.deciding import decide_alone
from penstock.wire.arns import resource_here
from penstock.wire.call import Input, Output

MAX_DESTINATIONS = 3_000  # of an account in a region (AWS: EventBridge quotas)
_RATE, _LARGEST_RATE = 300, 10_000  # requests per second


def _arn(call: Call, row: Any) -> str:
    return call.arn("events", f"api-destination/{row.name}/{row.id}")


async def _named(call: Call, input: Input) -> str:
    row = await call.app.store.read(rows.find, api_destinations, place(call), input["Name"])
    return call.arn("events", f"api-destination/{input['Name']}/*") if row is None else _arn(call, row)


@events("CreateApiDestination", resource=_named)
async def create_api_destination(book: RuleBook, call: Call, input: Input) -> Output:
    """Keep an address, and the connection by which requests to it are authorised."""
    name = input["Name"]
    values = {
        "id": call.app.ids.uuid(),
        "description": input.get("Description"),
        "connection": input["ConnectionArn"],
        "endpoint": input["InvocationEndpoint"],
        "method": input["HttpMethod"],
        "rate": _rate(input),
        "created": call.now,
        "changed": call.now,
        "second": 0,
        "taken": 0,
    }
    _check(book, input)

    def tx(conn: sa.Connection) -> Output:
        decide_alone(conn, "events-api-destinations", *place(call))
        state = _state(conn, call, input["ConnectionArn"])
        if rows.count(conn, api_destinations, place(call)) >= MAX_DESTINATIONS:
            raise LimitExceededException
        if not rows.add(conn, api_destinations, place(call), name, **values):
            raise ResourceExists(f"An api-destination '{name}' already exists.")
        return _answer(call, _row(conn, call, name), state)

    return await call.app.store.write(tx)


@events("UpdateApiDestination", resource=_named)
async def update_api_destination(book: RuleBook, call: Call, input: Input) -> Output:
    """Change an API destination; what is not given stays."""
    name = input["Name"]
    _check(book, input)
    members = {
        "Description": "description",
        "ConnectionArn": "connection",
        "InvocationEndpoint": "endpoint",
        "HttpMethod": "method",
    }
    values: dict[str, Any] = {column: input[member] for member, column in members.items() if member in input}
    if "InvocationRateLimitPerSecond" in input:
        values["rate"] = _rate(input)

    def tx(conn: sa.Connection) -> Output:
        _row(conn, call, name, lock=True)
        if "ConnectionArn" in input:
            _state(conn, call, input["ConnectionArn"])
        rows.change(conn, api_destinations, place(call), name, changed=call.now, **values)
        row = _row(conn, call, name)
        return _answer(call, row, _states(conn, call, [row])[0])

    return await call.app.store.write(tx)


@events("DescribeApiDestination", resource=_named)
async def describe_api_destination(book: RuleBook, call: Call, input: Input) -> Output:
    """An API destination."""

    def read(conn: sa.Connection) -> Output:
        row = _row(conn, call, input["Name"])
        more = {} if row.description is None else {"Description": row.description}
        return _listed(call, row, _states(conn, call, [row])[0]) | more

    return await call.app.store.read(read)


@events("ListApiDestinations")
async def list_api_destinations(book: RuleBook, call: Call, input: Input) -> Output:
    """The API destinations of the caller's account and region by name, a page at a time."""
    (after,) = PAGES.after(call, input) or ("",)
    limit = input.get("Limit", PAGE)
    equal = {"connection": input["ConnectionArn"]} if "ConnectionArn" in input else {}

    def read(conn: sa.Connection) -> list[Output]:
        prefix = input.get("NamePrefix", "")
        found = rows.after(conn, api_destinations, place(call), name=after, prefix=prefix, limit=limit + 1, **equal)
        states = _states(conn, call, found)
        return [_listed(call, row, state) for row, state in zip(found, states, strict=True)]

    page = PAGES.page(call, input, await call.app.store.read(read), limit=limit, keyset=lambda one: (one["Name"],))
    return {"ApiDestinations": page.rows, **page.more}


@events("DeleteApiDestination", resource=_named)
async def delete_api_destination(book: RuleBook, call: Call, input: Input) -> None:
    """Forget an API destination. Events that are on their way to it become dead letters."""

    def tx(conn: sa.Connection) -> None:
        _row(conn, call, input["Name"], lock=True)
        rows.remove(conn, api_destinations, place(call), input["Name"])

    await call.app.store.write(tx)


def _check(book: RuleBook, input: Input) -> None:
    endpoint = input.get("InvocationEndpoint")
    if endpoint is None:
        return
    try:
        book.app.egress.check(endpoint)
    except Unusable as refused:
        raise ValidationException(f"Parameter InvocationEndpoint is not valid. Reason: {refused}.") from None


def _rate(input: Input) -> int:
    rate = input.get("InvocationRateLimitPerSecond", _RATE)
    if rate > _LARGEST_RATE:
        raise ValidationException(f"InvocationRateLimitPerSecond is at most {_LARGEST_RATE:,}.")
    return rate


def _row(conn: sa.Connection, call: Call, name: str, *, lock: bool = False) -> Any:
    row = rows.find(conn, api_destinations, place(call), name, lock=lock)
    if row is None:
        raise ApiDestinationNotFound(name=name)
    return row


def _state(conn: sa.Connection, call: Call, arn: str) -> str:
    """The state of an API destination by that of its connection. Raises ResourceNotFoundException for one that does not exist."""
    name, _, id = (resource_here(call, arn, "events") or "").removeprefix("connection/").partition("/")
    row = rows.find(conn, connections, place(call), name)
    if row is None or row.id != id:
        raise ResourceNotFoundException(f"Connection '{arn}' does not exist.")
    return _by(row.state)


def _states(conn: sa.Connection, call: Call, found: list[Any]) -> list[str]:
    tails = [row.connection.rpartition(":connection/")[2] for row in found]
    known = rows.states(conn, place(call), list({tail.partition("/")[0] for tail in tails}))
    return [_by(known.get(tail, "")) for tail in tails]


def _by(state: str) -> str:
    return "ACTIVE" if state == "AUTHORIZED" else "INACTIVE"


def _answer(call: Call, row: Any, state: str) -> Output:
    return {
        "ApiDestinationArn": _arn(call, row),
        "ApiDestinationState": state,
        "CreationTime": row.created,
        "LastModifiedTime": row.changed,
    }


def _listed(call: Call, row: Any, state: str) -> Output:
    return _answer(call, row, state) | {
        "Name": row.name,
        "ConnectionArn": row.connection,
        "InvocationEndpoint": row.endpoint,
        "HttpMethod": row.method,
        "InvocationRateLimitPerSecond": row.rate,
    }
