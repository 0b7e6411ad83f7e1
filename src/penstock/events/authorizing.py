"""What connections hold: the parameters that authorise requests, sealed, and what of them may be shown.

AWS keeps the secrets of a connection as a secret of Secrets Manager that only EventBridge may change. Here they lie sealed in the
connection's own row (docs/decisions/connections-seal-their-secrets.md).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import orjson

from penstock.egress import NoAnswer, Occupied, Request
from penstock.events import connection_rows as rows
from penstock.events import records
from penstock.store.work import Retry

if TYPE_CHECKING:
    from penstock.events.interest import RuleBook
    from penstock.store.jobs import Job
    from penstock.store.sealing import Sealer

AUTHORIZE = "rules.authorize"
BASIC, API_KEY, OAUTH = "BASIC", "API_KEY", "OAUTH_CLIENT_CREDENTIALS"
MEMBERS = {BASIC: "BasicAuthParameters", API_KEY: "ApiKeyAuthParameters", OAUTH: "OAuthParameters"}
_SECRETS = frozenset({"Password", "ApiKeyValue", "ClientSecret"})
_SECONDS = 5.0  # for a request of a token
_MOST = 64 << 10  # bytes of its answer
_TRIES = 4  # before a connection counts as not authorised
_LIFE_S, _LONGEST_S = 3600, 86_400  # of a token that does not say, and of any
_EARLY_MS = 30_000  # before its end a token is asked for anew
_REMEMBERED = 10_000  # connections
_BUSY_MS = 200
# Headers that say how a message is framed and carried: nobody else gives them (AWS: "Headers in requests to API destinations").
NOT_GIVEN = frozenset(
    {
        "connection", "content-encoding", "content-length", "expect", "host", "keep-alive", "proxy-authenticate", "range", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent", "via",
    }
)  # fmt: skip
_LONGEST_TOKEN = 16 << 10  # characters


class NotAuthorized(Exception):
    """A token was not given, with the reason."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


def public(value: Any) -> Any:
    """Parameters as DescribeConnection shows them: passwords, keys and the values that are secret are left out."""
    match value:
        case dict():
            hidden = _SECRETS | ({"Value"} if value.get("IsValueSecret") else frozenset())
            return {name: public(item) for name, item in value.items() if name not in hidden}
        case list():
            return [public(item) for item in value]
        case _:
            return value


def seal(sealer: Sealer, id: str, parameters: Mapping[str, Any]) -> bytes:
    """Parameters for the row of a connection."""
    return sealer.seal(orjson.dumps(parameters), records.connection_context(id))


def parameters_of(sealer: Sealer, row: Any) -> dict[str, Any]:
    """All parameters of a connection that has some."""
    return orjson.loads(sealer.open(row.secret, records.connection_context(row.id)))


def listed(parameters: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    """Keys and values of one list of parameters, such as HeaderParameters."""
    return [(one["Key"], one.get("Value", "")) for one in parameters.get(name, ()) if one.get("Key")]


async def headers_of(book: RuleBook, row: Any, parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers that authorise a request of a connection. Raises NotAuthorized."""
    match row.kind:
        case "BASIC":
            own = parameters[MEMBERS[BASIC]]
            pair = base64.b64encode(f"{own['Username']}:{own['Password']}".encode()).decode()
            return [("Authorization", f"Basic {pair}")]
        case "API_KEY":
            own = parameters[MEMBERS[API_KEY]]
            return [(own["ApiKeyName"].strip(), own["ApiKeyValue"])]
        case _:
            return [("Authorization", f"Bearer {await token_of(book, row, parameters)}")]


async def token_of(book: RuleBook, row: Any, parameters: Mapping[str, Any], *, other_than: str = "") -> str:
    """The token of a connection; another one is asked for when it is over, or is `other_than`. Raises NotAuthorized or Occupied.

    Of those who need one at the same time in this process one asks for it. The others do not wait, but come again: behind a slow endpoint
    they would hold all places of deliveries, those of other accounts too.
    """
    store, place = book.app.store, (row.account, row.region)
    known = _known(book, row)
    if known and known != other_than:
        return known
    if len(book.asking) > _REMEMBERED:  # most are of connections that are gone, or idle
        book.asking = {id: lock for id, lock in book.asking.items() if lock.locked()}
    asking = book.asking.setdefault(row.id, asyncio.Lock())
    if asking.locked():
        raise Occupied
    async with asking:
        now = await store.read(rows.find, records.connections, place, row.name)
        if now is None or now.stamp != row.stamp:
            raise NotAuthorized("The connection has changed meanwhile.", final=False)
        known = _known(book, now)
        if known and known != other_than:
            return known
        token, seconds = await ask(book, row.account, parameters[MEMBERS[OAUTH]])
        await store.write(rows.keep_token, place, row.name, row.stamp, **_kept(book, row, token, seconds))
    return token


def _known(book: RuleBook, row: Any) -> str:
    """The token that a connection has and that is good for a while; "" without one."""
    if row.token is None or row.token_until <= book.app.clock.now() + _EARLY_MS:
        return ""
    return book.app.sealer.open(row.token, records.token_context(row.id)).decode()


def _kept(book: RuleBook, row: Any, token: str, seconds: int) -> dict[str, Any]:
    now = book.app.clock.now()
    return {
        "token": book.app.sealer.seal(token.encode(), records.token_context(row.id)),
        "token_until": now + seconds * 1000,
        "authorized": now,
        "state": "AUTHORIZED",
        "reason": None,
    }


async def ask(book: RuleBook, account: str, own: Mapping[str, Any]) -> tuple[str, int]:
    """A token by the client's credentials, and for how many seconds it is good (RFC 6749, 4.4). Raises NotAuthorized or Occupied."""
    more = own.get("OAuthHttpParameters", {})
    client = own["ClientParameters"]
    form = {
        "grant_type": "client_credentials",
        "client_id": client["ClientID"],
        "client_secret": client["ClientSecret"],
        **dict(listed(more, "BodyParameters")),
    }
    query = listed(more, "QueryStringParameters")
    own_headers = [one for one in listed(more, "HeaderParameters") if one[0].lower() not in NOT_GIVEN]
    headers = [("Accept", "application/json"), *own_headers]
    content = b""
    if own["HttpMethod"] == "GET":
        query = [*form.items(), *query]
    elif any(name.lower() == "content-type" and "json" in value for name, value in headers):
        content = orjson.dumps(form)
    else:
        content = urlencode(form).encode()
        headers.append(("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"))
    url = with_query(own["AuthorizationEndpoint"], query)
    host = (urlsplit(url).hostname or "").lower()
    try:
        async with book.shares.take(host, account):
            request = Request(url, own["HttpMethod"], headers, content, inside=True)
            answer = await book.app.egress.send(request, seconds=_SECONDS, most=_MOST)
    except NoAnswer as error:
        raise NotAuthorized(f"{error}.", final=False) from None
    if answer.status != 200:
        final = answer.status < 500 and answer.status != 429
        raise NotAuthorized(f"{host} answers the request of a token with status {answer.status}.", final=final)
    try:
        found = orjson.loads(answer.body)
        token, seconds = found["access_token"], int(found.get("expires_in", _LIFE_S))
    except (ValueError, TypeError, KeyError, OverflowError):
        raise NotAuthorized(f"{host} answers the request of a token without an access_token.", final=True) from None
    if not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN or not token.isprintable():
        raise NotAuthorized(f"{host} answers with an access_token that is not one line of text.", final=True)
    return token, max(0, min(seconds, _LONGEST_S))


def with_query(url: str, query: list[tuple[str, str]]) -> str:
    """An address with further parameters; one without a path gets the root, since what follows a host must be one."""
    if not query:
        return url
    parts = urlsplit(url)
    rooted = url if parts.path else parts._replace(path="/").geturl()
    return rooted + ("&" if "?" in rooted else "?") + urlencode(query)


async def authorize(book: RuleBook, job: Job) -> None:
    """Ask for the first token of a connection, which is authorised by it."""
    store, place, name = book.app.store, (job.account, job.region), job.payload["name"]
    row = await store.read(rows.find, records.connections, place, name)
    if row is None or row.stamp != job.payload["stamp"] or row.state != "AUTHORIZING":
        return
    try:
        token, seconds = await ask(book, job.account, parameters_of(book.app.sealer, row)[MEMBERS[OAUTH]])
    except Occupied:
        raise Retry(_BUSY_MS, counts=False) from None
    except NotAuthorized as refused:
        if not refused.final and job.failures + 1 < _TRIES:
            raise Retry(error=str(refused)) from None
        refusal = {"state": "DEAUTHORIZED", "reason": str(refused)[:512]}
        await store.write(rows.keep_token, place, name, row.stamp, **refusal)
        return
    await store.write(rows.keep_token, place, name, row.stamp, **_kept(book, row, token, seconds))
