"""API destinations: an HTTP request for each event, under the authorisation of a connection (AWS: "API destinations").

What a target, or the connection, adds to the request may name a value of the event by a path such as `$.detail.id`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from penstock.egress import Answer, Late, NoAnswer, Occupied, Request
from penstock.events import authorizing, records
from penstock.events import connection_rows as rows
from penstock.events.authorizing import (
    NOT_GIVEN,
    NotAuthorized,
    headers_of,
    listed,
    parameters_of,
    token_of,
    with_query,
)
from penstock.events.destinations.destination import Busy, Destination, Failed, Sending
from penstock.events.errors import ValidationException
from penstock.events.inputs import MISSING, steps, value_at
from penstock.store.sealing import SealError
from penstock.wire.invoke import call_of

_BEGINNING = "api-destination/"
SECONDS = 5.0  # for a request (AWS: API destinations)
_MOST = 16 << 10  # bytes of an answer that are read
_LARGEST_HEAD = 64 << 10  # characters of address and headers, which the event may fill
_BUSY_MS = 200
_LONGEST_S = 86_400  # of a Retry-After
_OWN = {
    "User-Agent": "Amazon/EventBridge/ApiDestinations",
    "Content-Type": "application/json; charset=utf-8",
    "Range": "bytes=0-1048575",
    "Accept-Encoding": "gzip,deflate",
    "Connection": "close",
}
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADER = re.compile(r"[\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]*")


def _check(target: Mapping[str, Any]) -> None:
    own = target.get("HttpParameters", {})
    named = (own.get("HeaderParameters", {}), own.get("QueryStringParameters", {}))
    values = [*own.get("PathParameterValues", ()), *(value for one in named for value in one.values())]
    for value in values:
        if value.startswith("$.") and steps(value) is None:
            raise ValidationException(
                f"HttpParameters of target {target['Id']} are not valid: {value} is not a path such as $.detail.id."
            )


async def _request(sending: Sending) -> str:
    app, place = sending.app, (sending.account, sending.region)
    name, _, id = sending.arn.resource.removeprefix(_BEGINNING).partition("/")
    call = call_of(app, await sending.session(), "events", "InvokeApiDestination", region=sending.region)
    await app.identity.authorize(call, "events:InvokeApiDestination", (sending.target["Arn"],))
    row = await app.store.read(rows.find, records.api_destinations, place, name)
    if row is None or row.id != id:
        raise Failed("NO_RESOURCE", f"The API destination {name} does not exist.")
    connection = await _connection(sending, row)
    await _take_turn(sending, row)
    try:
        await _exchange(sending, row, connection)
    except NotAuthorized as refused:
        raise Failed("NO_PERMISSIONS", f"The connection {connection.name}: {refused}", again=True) from None
    except Occupied:  # a token is asked for already, or its endpoint is asked as often as may be
        raise Busy(_BUSY_MS) from None
    return ""


async def _connection(sending: Sending, row: Any) -> Any:
    """The connection of an API destination. Raises Failed for one that does not authorise anything at present."""
    name, _, id = row.connection.rpartition(":connection/")[2].partition("/")
    found = await sending.app.store.read(rows.find, records.connections, (sending.account, sending.region), name)
    if found is None or found.id != id:
        raise Failed("NO_RESOURCE", f"The connection {name} of the API destination does not exist.")
    if found.secret is None or found.state not in ("AUTHORIZED", "AUTHORIZING"):
        raise Failed("NO_PERMISSIONS", f"The connection {name} is {found.state}. {found.reason or ''}".rstrip())
    return found


async def _take_turn(sending: Sending, row: Any) -> None:
    """Keep to the requests per second of all processes together. Raises Busy when those of this second are made."""
    book = sending.book
    now = sending.app.clock.now()
    second, left = book.turns.get(row.id, (0, 0))
    if second != now // 1000 or not left:
        # An eighth at a time: a process asks the database seldom, and what it does not need is soon over.
        granted = await sending.app.store.write(rows.take_requests, row, now // 1000, max(1, row.rate // 8))
        if not granted:
            raise Busy(1000 - now % 1000)
        second, at = book.turns.get(row.id, (0, 0))
        left = granted + (at if second == now // 1000 else 0)
    if len(book.turns) > 10_000:
        book.turns.clear()
    book.turns[row.id] = (now // 1000, left - 1)


async def _exchange(sending: Sending, row: Any, connection: Any) -> None:
    try:
        parameters = parameters_of(sending.app.sealer, connection)
    except SealError as error:
        raise Failed("INTERNAL_ERROR", f"The connection's secrets cannot be opened: {error}.") from None
    authorising = await headers_of(sending.book, connection, parameters)
    answer = await _send(sending, _made(sending, row, parameters, authorising))
    if answer.status in (401, 407) and connection.kind == authorizing.OAUTH:
        used = authorising[0][1].removeprefix("Bearer ")
        token = await token_of(sending.book, connection, parameters, other_than=used)
        answer = await _send(sending, _made(sending, row, parameters, [("Authorization", f"Bearer {token}")]))
    if 200 <= answer.status < 300:
        return
    host = urlsplit(row.endpoint).hostname
    refreshed = connection.kind == authorizing.OAUTH and answer.status in (401, 407)
    raise Failed(
        "THROTTLING" if answer.status == 429 else "ERROR_FROM_TARGET",
        f"{host} answers with status {answer.status}.",
        again=answer.status >= 500 or answer.status == 429 or refreshed,
        after_ms=_retry_after(answer, sending.app.clock.now()),
    )


async def _send(sending: Sending, request: Request) -> Answer:
    host = (urlsplit(request.url).hostname or "").lower()
    try:
        async with sending.book.shares.take(host, sending.account):
            return await sending.app.egress.send(request, seconds=SECONDS, most=_MOST, cut=True)
    except Occupied:
        raise Busy(_BUSY_MS) from None
    except NoAnswer as error:
        code = "TIMEOUT" if isinstance(error, Late) else "CONNECTION_FAILURE"
        raise Failed(code, f"{error}.", again=True) from None


def _made(sending: Sending, row: Any, parameters: Mapping[str, Any], authorising: list[tuple[str, str]]) -> Request:
    """The request. What the connection adds wins over what the target adds, and its authorisation over both."""
    own = sending.target.get("HttpParameters", {})
    common = parameters.get("InvocationHttpParameters", {})
    query = _filled(sending, own.get("QueryStringParameters", {}).items())
    query |= _filled(sending, listed(common, "QueryStringParameters"))
    headers = {name.lower(): (name, value) for name, value in _OWN.items()}
    for given in (own.get("HeaderParameters", {}).items(), listed(common, "HeaderParameters")):
        for name, value in _filled(sending, given).items():
            if name.lower() not in NOT_GIVEN:
                headers[name.lower()] = (name, value.strip())
    headers |= {name.lower(): (name, value.strip()) for name, value in authorising}
    if not all(_HEADER.fullmatch(value) for _, value in headers.values()):
        raise Failed("INVALID_PARAMETER", "A header that is made of the event is not one line of text.")
    url = with_query(_with_path(sending, row.endpoint, own.get("PathParameterValues", ())), list(query.items()))
    if len(url) + sum(len(value) for _, value in headers.values()) > _LARGEST_HEAD:
        raise Failed("INVALID_PARAMETER", f"Address and headers have more than {_LARGEST_HEAD:,} characters.")
    content = b"" if row.method in _WITHOUT_BODY else _body(sending, common)
    return Request(url, row.method, list(headers.values()), content, inside=True)


def _body(sending: Sending, common: Mapping[str, Any]) -> bytes:
    more = _filled(sending, listed(common, "BodyParameters"))
    if not more:
        return sending.text.encode()
    try:
        found = orjson.loads(sending.text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Failed("INVALID_JSON", "The connection adds to a JSON object, and the target's input is not one.")
    return orjson.dumps(found | more)


def _with_path(sending: Sending, endpoint: str, values: Any) -> str:
    """The address with a value in the place of each asterisk. Raises Failed."""
    beginning, *rest = endpoint.split("*")
    found = [beginning]
    for number, part in enumerate(rest):
        value = _value(sending, values[number]) if number < len(values) else ""
        if not value or value in (".", ".."):
            raise Failed("INVALID_PARAMETER", f"There is no value for asterisk {number + 1} of the address.")
        found += [quote(value, safe=""), part]
    return "".join(found)


def _filled(sending: Sending, given: Any) -> dict[str, str]:
    return {name: _value(sending, value) for name, value in given}


def _value(sending: Sending, text: str) -> str:
    """A parameter as it is, or what its path finds in the event."""
    if not text.startswith("$.") or steps(text) is None:
        return text
    found = value_at(sending.event, text)
    if found is MISSING or found is None:
        return ""
    return found if isinstance(found, str) else orjson.dumps(found).decode()


def _retry_after(answer: Answer, now: int) -> int:
    """Milliseconds that an answer asks to wait; 0 without such a request."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]), _LONGEST_S) * 1000
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0
    until = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    seconds = until.timestamp() - datetime.fromtimestamp(now / 1000, UTC).timestamp()
    return int(max(0, min(seconds, _LONGEST_S)) * 1000)


DESTINATION = Destination(
    service="events",
    beginning=_BEGINNING,
    name="API destinations",
    send=_request,
    role=True,
    outside=True,
    parameters=("HttpParameters",),
    check=_check,
)
