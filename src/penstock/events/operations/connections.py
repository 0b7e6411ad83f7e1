"""Connections: how requests to API destinations are authorised."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from penstock.application import Call
from penstock.egress import Unusable
from penstock.events import connection_rows as rows
from penstock.events.authorizing import API_KEY, AUTHORIZE, MEMBERS, NOT_GIVEN, OAUTH, parameters_of, public, seal
from penstock.events.errors import ConnectionNotFound, LimitExceededException, ResourceExists, ValidationException
from penstock.events.interest import RuleBook
from penstock.events.operations import PAGE, PAGES, events, place
from penstock.events.records import connections
from penstock.store import jobs
from penstock.store.deciding import decide_alone
from penstock.store.ids import ordered_uuid
from penstock.wire.call import Input, Output

MAX_CONNECTIONS = 3_000  # of an account in a region (AWS: EventBridge quotas)
_NEEDED = {  # by the type of authorisation
    "BASIC": ("Username", "Password"),
    "API_KEY": ("ApiKeyName", "ApiKeyValue"),
    "OAUTH_CLIENT_CREDENTIALS": ("ClientParameters", "AuthorizationEndpoint", "HttpMethod"),
}


def connection_arn(call: Call, row: Any) -> str:
    """The ARN of a connection."""
    return call.arn("events", f"connection/{row.name}/{row.id}")


async def _named(call: Call, input: Input) -> str:
    """The resource of an operation on a connection that is named; a name that is free stands for any of its name."""
    row = await call.app.store.read(rows.find, connections, place(call), input["Name"])
    return call.arn("events", f"connection/{input['Name']}/*") if row is None else connection_arn(call, row)


@events("CreateConnection", resource=_named)
async def create_connection(book: RuleBook, call: Call, input: Input) -> Output:
    """Keep how requests are authorised; a connection of OAuth is authorised by its first token, which is asked for at once."""
    name, kind = input["Name"], input["AuthorizationType"]
    _check_unserved(input)
    parameters = _complete(book, kind, {}, input["AuthParameters"])
    id, stamp = call.app.ids.uuid(), ordered_uuid()
    values = {
        "id": id,
        "description": input.get("Description"),
        "public": public(parameters),
        "secret": seal(call.app.sealer, id, parameters),
        "created": call.now,
        "changed": call.now,
        **_begun(kind, stamp, call.now),
    }

    def tx(conn: sa.Connection) -> Any:
        decide_alone(conn, "events-connections", *place(call))
        if rows.count(conn, connections, place(call)) >= MAX_CONNECTIONS:
            raise LimitExceededException
        if not rows.add(conn, connections, place(call), name, **values):
            raise ResourceExists(f"Connection {name} already exists.")
        _ask_later(conn, call, name, kind, stamp)
        return _row(conn, call, name)

    row = await call.app.store.write(tx)
    return _answer(call, row)


@events("UpdateConnection", resource=_named)
async def update_connection(book: RuleBook, call: Call, input: Input) -> Output:
    """Change a connection; what is not given stays. Parameters that change are authorised anew."""
    name = input["Name"]
    _check_unserved(input)
    before = await call.app.store.read(_row, call, name)
    values: dict[str, Any] = {"changed": call.now}
    if "Description" in input:
        values["description"] = input["Description"]
    kind, stamp = input.get("AuthorizationType", before.kind), before.stamp
    if "AuthParameters" in input or kind != before.kind:
        old = {} if before.secret is None else parameters_of(call.app.sealer, before)
        kept = {one: old[one] for one in (MEMBERS[kind], "InvocationHttpParameters") if one in old}
        parameters = _complete(book, kind, kept, input.get("AuthParameters", {}))
        stamp = ordered_uuid()
        sealed = {"public": public(parameters), "secret": seal(call.app.sealer, before.id, parameters)}
        values |= sealed | _begun(kind, stamp, call.now)

    def tx(conn: sa.Connection) -> Any:
        row = _row(conn, call, name, lock=True)
        if (row.id, row.stamp) != (before.id, before.stamp):
            raise ValidationException(f"Connection {name} has changed at this moment. Update it again.")
        rows.change(conn, connections, place(call), name, **values)
        if stamp != before.stamp:
            _ask_later(conn, call, name, kind, stamp)
        return _row(conn, call, name)

    row = await call.app.store.write(tx)
    return _answer(call, row, authorized=True)


@events("DescribeConnection", resource=_named)
async def describe_connection(book: RuleBook, call: Call, input: Input) -> Output:
    """A connection without its secrets."""
    row = await call.app.store.read(_row, call, input["Name"])
    more = {} if row.description is None else {"Description": row.description}
    return _listed(call, row) | more | {"AuthParameters": row.public}


@events("ListConnections")
async def list_connections(book: RuleBook, call: Call, input: Input) -> Output:
    """The connections of the caller's account and region by name, a page at a time."""
    (after,) = PAGES.after(call, input) or ("",)
    limit = input.get("Limit", PAGE)
    equal = {"state": input["ConnectionState"]} if "ConnectionState" in input else {}
    found = await call.app.store.read(
        rows.after, connections, place(call), name=after, prefix=input.get("NamePrefix", ""), limit=limit + 1, **equal
    )
    page = PAGES.page(call, input, found, limit=limit, keyset=lambda row: (row.name,))
    return {"Connections": [_listed(call, row) for row in page.rows], **page.more}


@events("DeauthorizeConnection", resource=_named)
async def deauthorize_connection(book: RuleBook, call: Call, input: Input) -> Output:
    """Forget all parameters of a connection, so that nothing is sent by it until UpdateConnection gives it others."""
    name = input["Name"]

    def tx(conn: sa.Connection) -> Any:
        _row(conn, call, name, lock=True)
        values = {"state": "DEAUTHORIZED", "secret": None, "token": None, "token_until": None, "public": {}}
        more = {"stamp": ordered_uuid(), "changed": call.now, "reason": None}
        rows.change(conn, connections, place(call), name, **values, **more)
        return _row(conn, call, name)

    return _answer(call, await call.app.store.write(tx), authorized=True)


@events("DeleteConnection", resource=_named)
async def delete_connection(book: RuleBook, call: Call, input: Input) -> Output:
    """Forget a connection. API destinations that use it send nothing from now on."""

    def tx(conn: sa.Connection) -> Any:
        row = _row(conn, call, input["Name"], lock=True)
        rows.remove(conn, connections, place(call), row.name)
        return row

    return _answer(call, await call.app.store.write(tx), authorized=True) | {"ConnectionState": "DELETING"}


def _begun(kind: str, stamp: str, now: int) -> dict[str, Any]:
    """The state of a connection whose parameters are new."""
    waits = kind == OAUTH
    return {
        "kind": kind,
        "stamp": stamp,
        "state": "AUTHORIZING" if waits else "AUTHORIZED",
        "reason": None,
        "token": None,
        "token_until": None,
        "authorized": None if waits else now,
    }


def _ask_later(conn: sa.Connection, call: Call, name: str, kind: str, stamp: str) -> None:
    if kind == OAUTH:
        payload = {"name": name, "stamp": stamp}
        jobs.enqueue(conn, kind=AUTHORIZE, payload=payload, account=call.account, region=call.region, dedup=stamp)


def _row(conn: sa.Connection, call: Call, name: str, *, lock: bool = False) -> Any:
    row = rows.find(conn, connections, place(call), name, lock=lock)
    if row is None:
        raise ConnectionNotFound(name=name)
    return row


def _check_unserved(input: Input) -> None:
    if "KmsKeyIdentifier" in input:
        raise ValidationException("Connections under keys of KMS are not served. Leave out KmsKeyIdentifier.")
    if "InvocationConnectivityParameters" in input or "ConnectivityParameters" in input.get("AuthParameters", {}):
        raise ValidationException(
            "Connections by way of VPC Lattice are not served. Leave out the connectivity parameters: private networks are reached where "
            "the operator allows them by --egress-network."
        )


def _complete(book: RuleBook, kind: str, old: Input, given: Input) -> Input:
    """Parameters with those that stay. Raises ValidationException unless they are complete and of one kind."""
    member = MEMBERS[kind]
    for other in MEMBERS.values():
        if other in given and other != member:
            raise ValidationException(f"Parameter {other} is not valid for AuthorizationType {kind}. Give {member}.")
    own = {**old.get(member, {}), **given.get(member, {})}
    if kind == OAUTH and "ClientParameters" in own:
        client = old.get(member, {}).get("ClientParameters", {}) | own["ClientParameters"]
        own["ClientParameters"] = client
        if not {"ClientID", "ClientSecret"} <= client.keys():
            raise ValidationException("Parameter ClientParameters is not valid: give ClientID and ClientSecret.")
    missing = [name for name in _NEEDED[kind] if name not in own]
    if missing:
        raise ValidationException(f"Parameter {member} is not valid: give {', '.join(missing)}.")
    if kind == API_KEY and own["ApiKeyName"].strip().lower() in NOT_GIVEN:
        raise ValidationException(
            f"Parameter ApiKeyName is not valid. Reason: {own['ApiKeyName'].strip()} is no header for a key."
        )
    if kind == OAUTH:
        try:
            book.app.egress.check(own["AuthorizationEndpoint"])
        except Unusable as refused:
            raise ValidationException(f"Parameter AuthorizationEndpoint is not valid. Reason: {refused}.") from None
        _check_secrets(old.get(member, {}), given.get(member, {}), own["AuthorizationEndpoint"])
    parameters = {member: own}
    for source in (old, given):
        if "InvocationHttpParameters" in source:
            parameters["InvocationHttpParameters"] = source["InvocationHttpParameters"]
    return parameters


def _check_secrets(old: Input, given: Input, endpoint: str) -> None:
    """Raises ValidationException for an endpoint elsewhere that would be sent secrets which the caller has not given."""
    if not old or _origin(old["AuthorizationEndpoint"]) == _origin(endpoint):
        return
    missing = [] if "ClientSecret" in given.get("ClientParameters", {}) else ["ClientSecret"]
    further = old.get("OAuthHttpParameters", {})
    if "OAuthHttpParameters" not in given and public(further) != further:
        missing.append("OAuthHttpParameters")
    if missing:
        raise ValidationException(
            "Parameter AuthorizationEndpoint is not valid. Reason: secrets that were given for one host are not sent to another. "
            f"Give {' and '.join(missing)} again."
        )


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _times(row: Any, *, authorized: bool) -> Output:
    times = {"CreationTime": row.created, "LastModifiedTime": row.changed}
    return times | ({"LastAuthorizedTime": row.authorized} if authorized and row.authorized is not None else {})


def _answer(call: Call, row: Any, *, authorized: bool = False) -> Output:
    named = {"ConnectionArn": connection_arn(call, row), "ConnectionState": row.state}
    return named | _times(row, authorized=authorized)


def _listed(call: Call, row: Any) -> Output:
    answer = _answer(call, row, authorized=True) | {"Name": row.name, "AuthorizationType": row.kind}
    return answer | ({} if row.reason is None else {"StateReason": row.reason})
