"""The one way out: bounded requests to addresses that users name, such as issuers, webhooks and probes.

The name is resolved once and the connection goes to an address that was checked: what a name server says later changes nothing. No
redirect is followed and no proxy asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import httptools

from penstock import reachable
from penstock.component import ip_network, option
from penstock.pools import NAMES
from penstock.wire.errors import Throttled

MAX_BYTES = 1 << 20  # of an answer, with its head
SECONDS = 30.0  # for a request whose caller names no shorter time
_ADDRESSES = 4  # of one name that are tried
_READ = 64 << 10
_OF_HOST, _OF_SLOW_HOST, _OF_ACCOUNT = 32, 2, 48  # requests at a time
_SLOW_S = 1.0  # after which a host counts as slow
_SLOW_HOSTS = 1_000  # that are remembered
_URL = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[\x21\x22\x24-\x7e]*)?")

_LINE = re.compile(r"[\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]+")  # half of a pair has no UTF-8

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NoAnswer(Exception):
    """No answer has come. Its text says why, for the log and for whoever named the address; it has no stop at its end."""


class Unreachable(NoAnswer):
    """Nothing answers there, or nothing may be asked there."""


class Late(Unreachable):
    """The answer was not complete in time."""


class Unusable(NoAnswer):
    """What answers is not what was asked for."""


class Untrusted(NoAnswer):
    """The certificate is not one that may be trusted."""


class _Place(NamedTuple):
    secure: bool
    host: str
    port: int
    target: str


class Request(NamedTuple):
    """What is sent. Host, Content-Length and what says how the answer may come are added."""

    url: str
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    content: bytes = b""
    plain: bool = False  # whether http will do
    inside: bool = False  # whether http will do for an address in the operator's networks


class Occupied(Exception):
    """As many requests to this host, or of this account, are under way as may be, or too many names are looked up: nothing was sent."""


class Shares:
    """What each host and account may have of the requests at a time, so that a slow one holds up no other.

    A host that belongs to the operator may be given a share of its own, slow or not.
    """

    def __init__(self, *, of_host: int | None = None, of_account: int | None = None) -> None:
        self._of_host, self._of_account = of_host, of_account
        self._going: Counter[tuple[str, str]] = Counter()
        self._slow: dict[str, None] = {}

    @asynccontextmanager
    async def take(self, host: str, account: str) -> AsyncIterator[None]:
        """One request to a host for an account. Raises Occupied."""
        of_host = self._of_host or (_OF_SLOW_HOST if host in self._slow else _OF_HOST)
        of_account = self._of_account or _OF_ACCOUNT
        keys = ("host", host), ("account", account)  # a host may have a number as its name
        if self._going[keys[0]] >= of_host or self._going[keys[1]] >= of_account:
            raise Occupied
        self._going.update(keys)
        began = time.monotonic()
        try:
            yield
        finally:
            self._slow.pop(host, None)
            if time.monotonic() - began > _SLOW_S:
                self._slow[host] = None
                if len(self._slow) > _SLOW_HOSTS:
                    self._slow.pop(next(iter(self._slow)))
            for key in keys:
                self._going[key] -= 1
                if not self._going[key]:
                    del self._going[key]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]  # by their names in lower case; of one that comes twice the last
    body: bytes  # as it was sent: nothing is decoded
    certificate_ends: int | None = None  # seconds; when that of the server does


def authorities_file(text: str) -> str:
    """A file of certificates. Raises ValueError."""
    try:
        ssl.create_default_context(cafile=text)
    except ssl.SSLError:
        raise ValueError(f"{text} holds no certificates in PEM form") from None
    except OSError as error:
        raise ValueError(f"cannot read {text}: {error.strerror}") from None
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSettings:
    """Options of what is asked outside."""

    egress_networks: tuple[str, ...] = option(
        (),
        "a network beside public addresses where the server may ask and send what users choose (OpenID Connect issuers, webhooks, "
        "API destinations, probes), such as 10.0.0.0/8; may be repeated",
        group="network",
        flag="--egress-network",
        metavar="CIDR",
        parse=ip_network,
    )
    egress_ca_file: str = option(
        "",
        "certificates (PEM) of authorities that these are trusted by, beside those of the system",
        group="network",
        metavar="F",
        parse=authorities_file,
    )


class Egress:
    """Sends requests to where the settings allow it."""

    def __init__(self, settings: EgressSettings) -> None:
        self._networks = [ipaddress.ip_network(one) for one in settings.egress_networks]
        self._ca_file = settings.egress_ca_file
        self._trust: ssl.SSLContext | None = None

    async def send(
        self,
        request: Request,
        *,
        seconds: float = SECONDS,
        thumbprints: Sequence[str] = (),
        most: int = MAX_BYTES,
        cut: bool = False,
    ) -> Answer:
        """The answer to a request, when it is complete within some seconds, the lookup of the name included.

        More than `most` bytes, with the head, are refused, or cut off where the rest does not matter. A certificate that is not
        trusted is accepted when one of its chain has one of the SHA-1 `thumbprints`, and vouches for it. Raises one of NoAnswer, or
        Occupied.
        """
        place = _place(request)
        try:
            async with asyncio.timeout(seconds):
                return await self._send(place, request, thumbprints, _Limit(most, cut))
        except TimeoutError:
            raise Late(
                f"{place.host} has not answered within {seconds:g} {'second' if seconds == 1 else 'seconds'}"
            ) from None
        except Throttled:
            raise Occupied from None

    async def _send(self, place: _Place, request: Request, thumbprints: Sequence[str], limit: _Limit) -> Answer:
        may_be = may_be_asked if place.secure or request.plain else _is_within
        found = await NAMES.run(resolve, place.host, place.port)
        addresses = [one for one in found if may_be(one[0], self._networks)][:_ADDRESSES]
        if not addresses:
            raise Unreachable(f"{place.host} has no address that may be asked")
        trust = self._context() if place.secure else None
        try:
            return await _ask(place, addresses, trust, request, limit)
        except ssl.SSLCertVerificationError as error:
            pinned = await _pinned(place, addresses, thumbprints)
            if pinned is None:
                raise Untrusted(f"{place.host}: {error.verify_message}") from None
        try:
            return await _ask(place, addresses, pinned, request, limit)
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(f"{place.host}: {error.verify_message}") from None

    def check(self, url: str) -> None:
        """Raises Unusable, with a sentence, for an address that is not asked: it takes https, or http where the operator has networks."""
        _place(Request(url, inside=bool(self._networks)))

    def _context(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = ssl.create_default_context()
            if self._ca_file:
                self._trust.load_verify_locations(self._ca_file)
        return self._trust


class _Limit(NamedTuple):
    most: int
    cut: bool


def may_be_asked(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is public, or in one of `networks`, which the operator has chosen.

    One of IPv6 that stands for one of IPv4 is that one (mapped), or is not public: 6to4, Teredo and NAT64 reach whatever lies behind them.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if _is_within(address, networks):
        return True
    return reachable.carried(found) is None and not reachable.never(found) and not reachable.private(found)


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    return any(found.version == network.version and found in network for network in networks)


def _place(request: Request) -> _Place:
    found = _URL.fullmatch(request.url)
    if found is None or (found[1] == "http" and not (request.plain or request.inside)):
        raise Unusable(
            f"{_shown(request.url)!r} is no address of https{' or http' * (request.plain or request.inside)}"
        )
    port = int(found[3] or (443 if found[1] == "https" else 80))
    if not 0 < port < 65_536:
        raise Unusable(f"{_shown(request.url)!r} names no port")
    return _Place(found[1] == "https", found[2].strip("[]"), port, found[4] or "/")


def _shown(url: str) -> str:
    """What of an address may stand in a reason: its parameters may be somebody's key."""
    return url.partition("?")[0][:200]


def resolve(host: str, port: int) -> list[tuple[str, int]]:
    """The addresses of a host, each with the port; those of IPv4 first: where IPv6 leads nowhere that is noticed late."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{host} cannot be resolved: {_why_unresolved(error)}") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return list(dict.fromkeys((str(one[4][0]), int(one[4][1])) for one in found))


def _why_unresolved(error: Exception) -> str:
    match error:
        case socket.gaierror(errno=socket.EAI_NONAME | socket.EAI_NODATA):
            return "there is no such name, or it has no address"
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return "the name server does not answer"
        case OSError(strerror=str(why)):
            return why
        case _:  # longer than names may be, and the like
            return "it is no name of a host"


def _why_not_connected(error: OSError) -> str:
    return str(error) if isinstance(error, ssl.SSLError) or not error.errno else os.strerror(error.errno)


async def _connect(
    place: _Place, addresses: Sequence[tuple[str, int]], trust: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    why = ""
    for address, port in addresses:
        try:
            name = place.host if trust is not None else None
            return await asyncio.open_connection(address, port, ssl=trust, server_hostname=name)
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            why = f"{place.host} at {address}: {_why_not_connected(error)}"
    raise Unreachable(why)


async def _ask(
    place: _Place,
    addresses: Sequence[tuple[str, int]],
    trust: ssl.SSLContext | None,
    request: Request,
    limit: _Limit,
) -> Answer:
    head = _head(place, request)
    reader, writer = await _connect(place, addresses, trust)
    try:
        writer.write(head + request.content)
        answer = await _answer(reader, place, limit, bodiless=request.method == "HEAD")
        return answer._replace(certificate_ends=_certificate_ends(writer))
    except OSError as error:
        raise Unreachable(f"{place.host}: {error}") from None
    finally:
        writer.transport.abort()  # the other side may take its time to say good-bye


def _head(place: _Place, request: Request) -> bytes:
    host = f"[{place.host}]" if ":" in place.host else place.host
    name = host if place.port == (443 if place.secure else 80) else f"{host}:{place.port}"
    own = {
        "Host": name,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": "penstock",
        "Connection": "close",
    }
    if request.content or request.method != "GET":
        own["Content-Length"] = str(len(request.content))
    given = {key.lower() for key, _ in request.headers}
    headers = [*((key, value) for key, value in own.items() if key.lower() not in given), *request.headers]
    lines = [f"{request.method} {place.target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers)]
    if not all(_LINE.fullmatch(line) for line in lines):
        raise Unusable(f"what is to be sent to {place.host} has a header that is not one line of text")
    return "\r\n".join([*lines, "", ""]).encode()


class _Answered:
    """What the parser found. A length that is neither said nor chunked ends with the connection.

    Before an answer may come others that only announce it (RFC 9110, 15.2): the last one counts.
    """

    def __init__(self) -> None:
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.headed = self.complete = False

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


def _certificate_ends(writer: asyncio.StreamWriter) -> int | None:
    shown = writer.get_extra_info("peercert") or {}
    return ssl.cert_time_to_seconds(shown["notAfter"]) if "notAfter" in shown else None


async def _answer(reader: asyncio.StreamReader, place: _Place, limit: _Limit, *, bodiless: bool) -> Answer:
    found = _Answered()
    parser = httptools.HttpResponseParser(found)
    size = 0
    while not found.complete:
        if size == limit.most:
            if limit.cut and found.headed:
                break
            raise Unusable(f"{place.host} answers with more than {limit.most} bytes")
        data = await reader.read(min(_READ, limit.most - size))
        size += len(data)
        if not data:
            break
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Unusable(f"{place.host} does not speak HTTP: {error}") from None
        except httptools.HttpParserUpgrade:
            raise Unusable(f"{place.host} changes to another protocol, which was not asked for") from None
        if (found.complete or bodiless) and found.headed:
            if parser.get_status_code() >= 200:
                break
            found.on_message_begin()
    if not found.headed:
        raise Unusable(f"{place.host} ends the connection without an answer")
    return Answer(parser.get_status_code(), found.headers, bytes(found.body))


async def _pinned(
    place: _Place, addresses: Sequence[tuple[str, int]], thumbprints: Sequence[str]
) -> ssl.SSLContext | None:
    """A context that trusts nothing but the certificate of one of the thumbprints; None when the server shows no such certificate."""
    if not thumbprints:
        return None
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    _, writer = await _connect(place, addresses, anything)
    try:
        chain = _chain(writer.get_extra_info("ssl_object"))
    finally:
        writer.transport.abort()
    for certificate in chain:
        if hashlib.sha1(certificate).hexdigest() in thumbprints:  # noqa: S324 - AWS's form of a thumbprint
            pinned = ssl.create_default_context(cadata=certificate)
            pinned.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
            return pinned
    return None


def _chain(connection: Any) -> list[bytes]:
    """The certificates that a server has shown, in DER. Python has a public name for it from 3.13 on."""
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    shown = connection._sslobj.get_unverified_chain()  # noqa: SLF001
    return [one.public_bytes(2) for one in shown or ()]  # 2: _ssl.ENCODING_DER
