"""HTTP messages as the wire layer passes them around."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from penstock.wire.call import Body, Input, Output
from penstock.wire.errors import ServiceError
from penstock.wire.shapes import OperationModel

if TYPE_CHECKING:
    from penstock.wire.refusals import Wordings

ARRIVED = "penstock.arrived"
"""Set in the scope of a request of which everything has arrived, so that its body is read without waiting."""

HeaderList = list[tuple[bytes, bytes]]


@dataclass(slots=True)  # not frozen: one is made for each request, which would take three times as long
class RequestHead:
    """The head of a request, undecoded, as signatures see it."""

    method: str
    path: str  # as on the request line: percent-encoded, without the query
    query: str = ""  # as on the request line, without "?"
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case names; repeated ones joined by ","
    secure: bool = False

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> RequestHead:
        """From an ASGI HTTP scope. Header bytes are read as Latin-1, as HTTP has them."""
        raw_path = scope.get("raw_path")
        path = raw_path.partition(b"?")[0].decode("latin-1") if raw_path else scope["path"]
        return cls(
            method=scope["method"],
            path=path,
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=join_headers(scope["headers"]),
            secure=scope.get("scheme") == "https",
        )

    @property
    def host(self) -> str:
        """The Host header."""
        return self.headers.get("host", "")


def client_address(scope: Mapping[str, Any]) -> str:
    """The address that an ASGI request comes from, or "".

    A server that listens on `::` sees IPv4 clients as `::ffff:a.b.c.d`. They are a.b.c.d, as policies and logs know them.
    """
    client = scope.get("client")
    if not client:
        return ""
    return _unmapped(client[0].partition("%")[0])


@lru_cache(maxsize=16384)
def _unmapped(host: str) -> str:
    try:
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return host if mapped is None else str(mapped)


def join_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """ASGI headers as a dict; repeated ones are joined by a comma, as signatures want them."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


# AWS puts the encoded message into the text of EC2's errors alone. Clients compare texts, so it stands beside them here.
AUTHORIZATION_HEADER = b"x-penstock-authorization-message"


class Response(NamedTuple):
    """An answer, ready for ASGI."""

    status: int
    headers: HeaderList  # lower-case names; content-length is there whenever the length is known
    body: bytes | AsyncIterable[bytes]


class Codec(Protocol):
    """One wire protocol, bound to one service model. See `penstock.wire.services.CODECS`."""

    protocol: str  # botocore's name: json, query, rest-xml
    refusals: Wordings

    def parse(self, operation: OperationModel, head: RequestHead, body: bytes | Body, *, label: str = "") -> Input:
        """The input that a request carries.

        `body` is a Body only for operations with `streaming_input`. `label` is the path's first segment where the host name
        bears it instead of the path. Raises MalformedBody, never anything else.
        """
        ...

    def serialize(
        self,
        operation: OperationModel,
        output: Output | None,
        request_id: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The answer of an output; `status` and `headers` are those of a Reply."""
        ...

    def error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> Response:
        """The answer of an error."""
        ...
