"""Event buses and their policies."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.events import records
from penstock.events.errors import (
    BusNotFound,
    LimitExceededException,
    PolicyLengthExceededException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
    ValidationException,
)
from penstock.events.interest import RuleBook
from penstock.events.operations import (
    PAGE,
    PAGES,
    bus_arn,
    bus_name,
    checked_tags,
    events,
    need_bus,
    of_bus,
    of_bus_of,
    place,
)
from penstock.events.records import DEFAULT
from penstock.public_policies import listed, statements
from penstock.wire.call import Input, Output
from penstock.wire.identity import PolicyRefused

MAX_BUSES = 100  # of an account in a region (AWS: EventBridge quotas)
_LARGEST = 10_240  # characters of a policy


@events("CreateEventBus", resource=of_bus)
async def create_event_bus(book: RuleBook, call: Call, input: Input) -> Output:
    """A bus beside the default one."""
    name = input["Name"]
    if "/" in name or "EventSourceName" in input:
        raise ValidationException(
            "Buses of partners are not served. Leave out EventSourceName, and write no / in the name."
        )
    _check_unserved(input)
    tags = checked_tags(input.get("Tags"))
    if tags:
        await call.app.identity.authorize(call, "events:TagResource", (bus_arn(call, name),))
    values = {"tags": tags, "description": input.get("Description"), "dead_letter": _dead_letter(input)}

    def tx(conn: sa.Connection) -> None:
        if name == DEFAULT or records.bus(conn, place(call), name) is not None:
            raise ResourceAlreadyExistsException(name=name)
        if records.count_buses(conn, place(call)) >= MAX_BUSES:
            raise LimitExceededException
        if not records.add_bus(conn, place(call), name, call.now, **values):
            raise ResourceAlreadyExistsException(name=name)

    await call.app.identity.change(tx)
    return {"EventBusArn": bus_arn(call, name)} | _said(input)


@events("UpdateEventBus", resource=of_bus)
async def update_event_bus(book: RuleBook, call: Call, input: Input) -> Output:
    """Change what is said of a bus; what is not given stays."""
    name = bus_name(call, input.get("Name"))
    _check_unserved(input)
    given: dict[str, Any] = {}
    if "Description" in input:
        given["description"] = input["Description"]
    if "DeadLetterConfig" in input:
        given["dead_letter"] = _dead_letter(input)

    def tx(conn: sa.Connection) -> Any:
        _row_of(conn, call, name)
        records.change_bus(conn, place(call), name, changed=call.now, **given)
        return records.bus(conn, place(call), name)

    row = await call.app.store.write(tx)
    return {"Name": name, "Arn": bus_arn(call, name)} | _more(row)


@events("DescribeEventBus", resource=of_bus)
async def describe_event_bus(book: RuleBook, call: Call, input: Input) -> Output:
    """A bus with its policy."""
    name = bus_name(call, input.get("Name"))
    return await call.app.store.read(lambda conn: _to_api(call, conn, name, need_bus(conn, place(call), name)))


@events("ListEventBuses")
async def list_event_buses(book: RuleBook, call: Call, input: Input) -> Output:
    """The buses of the caller's account and region by name, a page at a time."""
    (after,) = PAGES.after(call, input) or ("",)
    prefix, limit = input.get("NamePrefix", ""), input.get("Limit", PAGE)

    def read(conn: sa.Connection) -> list[Output]:
        rows = {
            row.name: row for row in records.buses_after(conn, place(call), after=after, prefix=prefix, limit=limit + 1)
        }
        names = set(rows)
        if after < DEFAULT and DEFAULT.startswith(prefix):
            names.add(DEFAULT)
        return [_to_api(call, conn, name, rows.get(name)) for name in sorted(names)[: limit + 1]]

    page = PAGES.page(call, input, await call.app.store.read(read), limit=limit, keyset=lambda one: (one["Name"],))
    return {"EventBuses": [{k: v for k, v in one.items() if k != "DeadLetterConfig"} for one in page.rows], **page.more}


@events("DeleteEventBus", resource=of_bus)
async def delete_event_bus(book: RuleBook, call: Call, input: Input) -> None:
    """Forget a bus without rules; one that is not there is no error."""
    name = bus_name(call, input["Name"])
    if name == DEFAULT:
        raise ValidationException("Cannot delete event bus default.")

    def tx(conn: sa.Connection) -> None:
        if records.bus(conn, place(call), name, lock=True) is None:
            return
        if records.count_rules(conn, place(call), name):
            raise ValidationException(f"Event bus {name} can't be deleted since it has rules. Delete its rules first.")
        records.delete_bus(conn, place(call), name)

    await call.app.identity.change(tx)


@events("PutPermission", resource=of_bus_of)
async def put_permission(book: RuleBook, call: Call, input: Input) -> None:
    """Let an account, or an organization's accounts, put events; or replace the policy."""
    name, given = bus_name(call, input.get("EventBusName")), input.get("Policy")
    if given is None and not ("Principal" in input and "StatementId" in input and "Action" in input):
        raise ValidationException("Give Action, Principal and StatementId, or Policy.")

    def tx(conn: sa.Connection) -> None:
        row = _row_of(conn, call, name)
        document = given if given is not None else _with(row.policy, _statement(call, name, input))
        if len(document) > _LARGEST:
            raise PolicyLengthExceededException
        ids = _checked(call, conn, document, bus_arn(call, name))
        records.change_bus(conn, place(call), name, policy=document, policy_ids=ids, changed=call.now)

    await call.app.identity.change(tx)


@events("RemovePermission", resource=of_bus_of)
async def remove_permission(book: RuleBook, call: Call, input: Input) -> None:
    """Take back a statement of a bus's policy, or all of them."""
    name, everything = bus_name(call, input.get("EventBusName")), input.get("RemoveAllPermissions", False)
    if not everything and "StatementId" not in input:
        raise ValidationException("Give StatementId, or RemoveAllPermissions.")

    def tx(conn: sa.Connection) -> None:
        row = need_bus(conn, place(call), name, lock=True)
        left: list[Any] = []
        if not everything:
            if row is None or row.policy is None:
                raise ResourceNotFoundException("Statement with the provided id does not exist.")
            found = list(statements(row.policy))
            left = [one for one in found if one.get("Sid") != input["StatementId"]]
            if len(left) == len(found):
                raise ResourceNotFoundException("Statement with the provided id does not exist.")
        if row is not None:
            document = _document(left) if left else None
            ids = {} if document is None else _checked(call, conn, document, bus_arn(call, name))
            records.change_bus(conn, place(call), name, policy=document, policy_ids=ids, changed=call.now)

    await call.app.identity.change(tx)


def _row_of(conn: sa.Connection, call: Call, name: str) -> Any:
    """The row of a bus, which the default one gets now if it has none. Raises BusNotFound."""
    if name == DEFAULT:
        records.add_bus(conn, place(call), name, call.now)
    row = records.bus(conn, place(call), name, lock=True)
    if row is None:
        raise BusNotFound(name=name)
    return row


def _check_unserved(input: Input) -> None:
    if "KmsKeyIdentifier" in input:
        raise ValidationException("Buses under keys of KMS are not served. Leave out KmsKeyIdentifier.")
    if input.get("LogConfig", {}).get("Level", "OFF") != "OFF":
        raise ValidationException("Logs of buses are not served. Leave out LogConfig, or give it the Level OFF.")


def _dead_letter(input: Input) -> str | None:
    return input.get("DeadLetterConfig", {}).get("Arn")


def _said(input: Input) -> Output:
    return {name: input[name] for name in ("Description", "DeadLetterConfig") if name in input}


def _more(row: Any) -> Output:
    more: Output = {}
    if row.description is not None:
        more["Description"] = row.description
    if row.dead_letter is not None:
        more["DeadLetterConfig"] = {"Arn": row.dead_letter}
    return more


def _to_api(call: Call, conn: sa.Connection, name: str, row: Any) -> Output:
    answer: Output = {"Name": name, "Arn": bus_arn(call, name)}
    if row is None:
        return answer
    if row.policy is not None:
        answer["Policy"] = call.app.identity.policy_to_api(conn, row.policy, row.policy_ids)
    return answer | _more(row) | {"CreationTime": row.created, "LastModifiedTime": row.changed}


def _statement(call: Call, name: str, input: Input) -> dict[str, Any]:
    if input["Action"] != "events:PutEvents":
        raise ValidationException(
            f"Provided value in parameter 'action' is not supported: {input['Action']}. Write events:PutEvents."
        )
    principal, condition = input["Principal"], input.get("Condition")
    statement = {
        "Sid": input["StatementId"],
        "Effect": "Allow",
        "Principal": "*" if principal == "*" else {"AWS": f"arn:{call.partition}:iam::{principal}:root"},
        "Action": "events:PutEvents",
        "Resource": bus_arn(call, name),
    }
    if condition is not None:
        if (condition["Type"], condition["Key"]) != ("StringEquals", "aws:PrincipalOrgID"):
            raise ValidationException("A condition has the Type StringEquals and the Key aws:PrincipalOrgID.")
        statement["Condition"] = {condition["Type"]: {condition["Key"]: condition["Value"]}}
    return statement


def _with(document: str | None, statement: dict[str, Any]) -> str:
    kept = [] if document is None else [one for one in statements(document) if one.get("Sid") != statement["Sid"]]
    return _document([*kept, statement])


def _document(found: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": found}, separators=(",", ":"))


def _checked(call: Call, conn: sa.Connection, document: str, arn: str) -> dict[str, str]:
    """The ids of whom a policy names. Raises ValidationException."""
    try:
        ids = call.app.identity.check_policy(conn, document)
    except PolicyRefused as refused:
        raise ValidationException(refused.message) from None
    for statement in statements(document):
        for action in listed(statement.get("Action", statement.get("NotAction"))):
            if action != "*" and not action.lower().startswith("events:"):
                raise ValidationException(f"The policy of an event bus names actions of events, not {action}.")
        for resource in listed(statement.get("Resource", statement.get("NotResource"))):
            if resource not in ("*", arn) and not resource.startswith(arn.replace("event-bus/", "rule/")):
                raise ValidationException(f"The policy names another resource than its bus: {resource}. Write {arn}.")
    return ids
