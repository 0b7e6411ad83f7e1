"""One bounded request over https, for what strangers' requests make us ask.

The name is resolved once and the connection goes to an address that was checked: what a name server says later changes nothing. No
redirect is followed, no proxy asked, and nothing else than a complete answer of 200 in plain bytes is taken.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
import socket
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

import httptools

from penstock import reachable
from penstock.pools import NAMES

MAX_BYTES = 1 << 20  # of an answer, with its head
_ADDRESSES = 4  # of one name that are tried
_READ = 64 << 10
_URL = re.compile(r"https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[\x21\x22\x24-\x7e]*)?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Unreachable(Exception):
    """Nothing answers there, or nothing may be asked there."""


class Unusable(Exception):
    """What answers is not what was asked for."""


class Untrusted(Exception):
    """The certificate is not one that may be trusted."""


class _Place(NamedTuple):
    host: str
    port: int
    target: str


class Form(NamedTuple):
    """What is posted: the content of a form, and the Authorization header beside it, if any."""

    content: bytes
    authorization: str = ""


async def fetch(
    url: str,
    *,
    networks: Sequence[Network],
    trust: ssl.SSLContext,
    thumbprints: Sequence[str],
    form: Form | None = None,
) -> bytes:
    """The body of the answer to a GET, or to a POST of a form. The caller bounds the time.

    `networks` are those beside public addresses. A certificate that `trust` does not accept is accepted when one of its chain has
    one of the SHA-1 `thumbprints`, and vouches for it. Raises Unreachable, Unusable or Untrusted, each with a reason for the log.
    """
    place = _place(url)
    addresses = [one for one in await NAMES.run(resolve, place.host, place.port) if may_be_asked(one[0], networks)][
        :_ADDRESSES
    ]
    if not addresses:
        raise Unreachable(f"{place.host} has no address that may be asked")
    try:
        return await _ask(place, addresses, trust, form)
    except ssl.SSLCertVerificationError as error:
        pinned = await _pinned(place, addresses, thumbprints)
        if pinned is None:
            raise Untrusted(f"{place.host}: {error.verify_message}") from None
    try:
        return await _ask(place, addresses, pinned, form)
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(f"{place.host}: {error.verify_message}") from None


def may_be_asked(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is public, or in one of `networks`, which the operator has chosen.

    One of IPv6 that stands for one of IPv4 is that one (mapped), or is not public: 6to4, Teredo and NAT64 reach whatever lies behind them.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if any(found.version == network.version and found in network for network in networks):
        return True
    return reachable.carried(found) is None and not reachable.never(found) and not reachable.private(found)


def _place(url: str) -> _Place:
    found = _URL.fullmatch(url)
    port = int(found[2] or 443) if found else 0
    if found is None or not 0 < port < 65_536:
        raise Unusable(f"{url[:200]!r} is no address of https")
    return _Place(found[1].strip("[]"), port, found[3] or "/")


def resolve(host: str, port: int) -> list[tuple[str, int]]:
    """The addresses of a host, each with the port; those of IPv4 first: where IPv6 leads nowhere that is noticed late."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{host} cannot be resolved: {error}") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return list(dict.fromkeys((str(one[4][0]), int(one[4][1])) for one in found))


async def _connect(
    place: _Place, addresses: Sequence[tuple[str, int]], trust: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    why = ""
    for address, port in addresses:
        try:
            return await asyncio.open_connection(address, port, ssl=trust, server_hostname=place.host)
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            why = f"{place.host} at {address}: {error}"
    raise Unreachable(why)


async def _ask(place: _Place, addresses: Sequence[tuple[str, int]], trust: ssl.SSLContext, form: Form | None) -> bytes:
    reader, writer = await _connect(place, addresses, trust)
    try:
        host = f"[{place.host}]" if ":" in place.host else place.host
        name = host if place.port == 443 else f"{host}:{place.port}"
        head = [
            f"{'GET' if form is None else 'POST'} {place.target} HTTP/1.1",
            f"Host: {name}",
            "Accept: application/json",
            "Accept-Encoding: identity",
            "User-Agent: penstock",
            "Connection: close",
        ]
        if form is not None:
            head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form.content)}"]
            head += [f"Authorization: {form.authorization}"] if form.authorization else []
        content = b"" if form is None else form.content
        writer.write("\r\n".join([*head, "", ""]).encode() + content)
        return await _answer(reader, place)
    except OSError as error:
        raise Unreachable(f"{place.host}: {error}") from None
    finally:
        writer.transport.abort()  # the other side may take its time to say good-bye


class _Answer:
    """What the parser found. A length that is neither said nor chunked ends with the connection."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.encoded = self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-encoding" and value.lower() not in (b"", b"identity"):
            self.encoded = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


async def _answer(reader: asyncio.StreamReader, place: _Place) -> bytes:
    found = _Answer()
    parser = httptools.HttpResponseParser(found)
    size = 0
    while not found.complete:
        data = await reader.read(_READ)
        size += len(data)
        if size > MAX_BYTES:
            raise Unusable(f"{place.host} answers with more than {MAX_BYTES} bytes")
        if not data:
            break
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Unusable(f"{place.host} does not speak HTTP: {error}") from None
    status = parser.get_status_code()
    if status != 200 or found.encoded:
        raise Unusable(f"{place.host} answers {place.target} with {status}{' in another encoding' * found.encoded}")
    return bytes(found.body)


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
