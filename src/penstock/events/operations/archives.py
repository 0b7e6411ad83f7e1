"""Archives of the events of a bus."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.events import archive_rows as rows
from penstock.events.errors import (
    BusNotFound,
    InvalidEventPatternException,
    LimitExceededException,
    ResourceExists,
    ResourceNotFoundException,
    ValidationException,
)
from penstock.events.interest import RuleBook
from penstock.events.operations import PAGE, PAGES, bus_arn, bus_name, events, need_bus, place
from penstock.events.patterns import parse
from penstock.events.reading import PatternError
from penstock.events.records import archives
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output

MAX_ARCHIVES = 100  # of an account in a region
MAX_BRANCHES = 200  # combinations of the pattern of one


def archive_arn(call: Call, name: str) -> str:
    """The ARN of an archive."""
    return call.arn("events", f"archive/{name}")


def _named(call: Call, input: Input) -> str:
    return archive_arn(call, input["ArchiveName"])


@events("CreateArchive", resource=_named)
async def create_archive(book: RuleBook, call: Call, input: Input) -> Output:
    """Keep what arrives at a bus from now on, or what a pattern takes of it."""
    name, arn = input["ArchiveName"], input["EventSourceArn"]
    if ":event-bus/" not in arn:
        raise BusNotFound(name=arn)
    bus = bus_name(call, arn)
    _check(input)
    values = {
        "id": call.app.ids.uuid(),
        "bus": bus,
        "description": input.get("Description"),
        "pattern": input.get("EventPattern"),
        "retention": input.get("RetentionDays", 0),
        "created": call.now,
    }

    def tx(conn: sa.Connection) -> None:
        decide_alone(conn, "events-archives", *place(call))
        need_bus(conn, place(call), bus)
        if rows.count(conn, archives, place(call)) >= MAX_ARCHIVES:
            raise LimitExceededException
        if not rows.add(conn, archives, place(call), name, **values):
            raise ResourceExists(f"Archive {name} already exists.")

    await book.change(place(call), tx)
    return {"ArchiveArn": archive_arn(call, name), "State": "ENABLED", "CreationTime": call.now}


@events("UpdateArchive", resource=_named)
async def update_archive(book: RuleBook, call: Call, input: Input) -> Output:
    """Change what an archive keeps, and for how long; what it has stays."""
    name = input["ArchiveName"]
    members = {"EventPattern": "pattern", "RetentionDays": "retention", "Description": "description"}
    values = {column: input[member] for member, column in members.items() if member in input}
    _check(input)
    if not values:
        raise ValidationException("At least one of EventPattern, RetentionDays or Description must be provided.")

    def tx(conn: sa.Connection) -> Any:
        row = need_archive(conn, call, name, lock=True)
        rows.change(conn, archives, place(call), name, **values)
        return row

    row = await book.change(place(call), tx)
    return {"ArchiveArn": archive_arn(call, name), "State": "ENABLED", "CreationTime": row.created}


@events("DescribeArchive", resource=_named)
async def describe_archive(book: RuleBook, call: Call, input: Input) -> Output:
    """An archive with the number and size of its events."""

    def read(conn: sa.Connection) -> Output:
        row = need_archive(conn, call, input["ArchiveName"])
        more = {"Description": row.description, "EventPattern": row.pattern}
        answer = _listed(call, row, rows.sizes(conn, [row.id])) | {"ArchiveArn": archive_arn(call, row.name)}
        return answer | {member: value for member, value in more.items() if value is not None}

    return await call.app.store.read(read)


@events("ListArchives")
async def list_archives(book: RuleBook, call: Call, input: Input) -> Output:
    """The archives of the caller's account and region by name, a page at a time."""
    one_filter(input, "ListArchives")
    (after,) = PAGES.after(call, input) or ("",)
    limit, equal = input.get("Limit", PAGE), {}
    if "EventSourceArn" in input:
        equal["bus"] = input["EventSourceArn"].rpartition(":event-bus/")[2]

    def read(conn: sa.Connection) -> list[Output]:
        if input.get("State", "ENABLED") != "ENABLED":
            return []  # they are never in another state
        found = rows.after(
            conn, archives, place(call), name=after, prefix=input.get("NamePrefix", ""), limit=limit + 1, equal=equal
        )
        sizes = rows.sizes(conn, [row.id for row in found])
        return [_listed(call, row, sizes) for row in found]

    page = PAGES.page(
        call, input, await call.app.store.read(read), limit=limit, keyset=lambda one: (one["ArchiveName"],)
    )
    return {"Archives": page.rows, **page.more}


@events("DeleteArchive", resource=_named)
async def delete_archive(book: RuleBook, call: Call, input: Input) -> None:
    """Forget an archive with what it has."""

    def tx(conn: sa.Connection) -> None:
        need_archive(conn, call, input["ArchiveName"], lock=True)
        rows.remove(conn, place(call), input["ArchiveName"])

    await book.change(place(call), tx)


def one_filter(input: Input, operation: str) -> None:
    """Raises ValidationException for a listing by several filters."""
    if sum(member in input for member in ("State", "EventSourceArn", "NamePrefix")) > 1:
        raise ValidationException(
            f"At most one filter is allowed for {operation}. Use either : State, EventSourceArn, or NamePrefix."
        )


def need_archive(conn: sa.Connection, call: Call, name: str, *, lock: bool = False) -> Any:
    """The row of an archive. Raises ResourceNotFoundException."""
    row = rows.find(conn, archives, place(call), name, lock=lock)
    if row is None:
        raise ResourceNotFoundException(f"Archive {name} does not exist.")
    return row


def _check(input: Input) -> None:
    if "KmsKeyIdentifier" in input:
        raise ValidationException("Archives under keys of KMS are not served. Leave out KmsKeyIdentifier.")
    if not input.get("EventPattern"):
        return
    try:
        branches = len(parse(input["EventPattern"]))
    except PatternError as error:
        raise InvalidEventPatternException(reason=error) from None
    if branches > MAX_BRANCHES:
        raise LimitExceededException(f"The pattern of an archive makes at most {MAX_BRANCHES} combinations by $or.")


def _listed(call: Call, row: Any, sizes: dict[str, tuple[int, int]]) -> Output:
    count, size = sizes.get(row.id, (0, 0))
    return {
        "ArchiveName": row.name,
        "EventSourceArn": bus_arn(call, row.bus),
        "State": "ENABLED",
        "RetentionDays": row.retention,
        "SizeBytes": size,
        "EventCount": count,
        "CreationTime": row.created,
    }
