"""Which API a request on the one port is meant for: the order of recognition, as one table.

1. a label before the host name (virtual-host style)
2. a credential scope: with a target prefix (awsJson), of a REST service, with a path of Smithy RPC, with a Query version
3. `/service/…/operation/…` (Smithy RPC)
4. an unsigned Query call: a form, or a link such as the one that confirms a subscription
5. the reserved paths, which no label may bear
6. an unsigned REST call: of the service that claims the path, else of the one that takes everything else
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from penstock.wire.message import RequestHead
from penstock.wire.services import Service, Services

RESERVED_PATHS = ("v1", "console", "webhooks", "healthz", "readyz", "metrics", "service")

_SCOPE = re.compile(r"[^/]/\d{8}/[A-Za-z0-9-]+/([A-Za-z0-9-]+)/aws4_request")
_ENDS_CREDENTIAL = re.compile(r"[,\s]")
_PRESIGNED_SCOPE = re.compile(
    r"(?:^|&)X-Amz-Credential=[^&]*?%2F\d{8}%2F[A-Za-z0-9-]+%2F([A-Za-z0-9-]+)%2Faws4_request", re.IGNORECASE
)
_SMITHY_RPC = re.compile(r"/service/([A-Za-z0-9_]+)/operation/([A-Za-z0-9_]+)")
_ACTION = re.compile(r"(?:^|&)Action=")
_FORM = "application/x-www-form-urlencoded"


class Kind(StrEnum):
    """What a request is."""

    REST = "rest"  # method and path name the operation
    TARGET = "target"  # awsJson: X-Amz-Target names service and operation
    QUERY = "query"  # form with Action and Version
    SMITHY = "smithy"  # /service/S/operation/O
    MOUNT = "mount"  # a reserved path
    ROOT = "root"  # a browser at /


@dataclass(slots=True)  # not frozen: one is made for each request, which would take three times as long
class Recognised:
    """Where a request goes."""

    kind: Kind
    service: Service | None = None  # of a REST request; None: of a service that is not served
    label: str = ""  # of a virtual-host request
    detail: str = ""  # target, mount prefix, or Smithy "service/operation"


class Port:
    """What the one port serves, and under which names."""

    def __init__(self, services: Services, *hosts: str) -> None:
        """`hosts` are the names of the installation."""
        self.services = services
        self._bases: dict[str, Service] = {}
        for service in services:
            if service.virtual_hosts:
                for host in hosts:
                    self._bases.setdefault(host, service)
                    self._bases.setdefault(f"{service.virtual_hosts}.{host}", service)

    def virtual_host(self, head: RequestHead) -> tuple[Service, str] | None:
        """The service whose path's first segment stands as a label before the host name, and the label."""
        host = head.host.rsplit(":", 1)[0].lower()
        found = [] if host in self._bases else [base for base in self._bases if host.endswith("." + base)]
        if not found:
            return None
        # With `s3` as such a name, `a.s3.localhost` is the label a below s3.localhost, not a.s3 below localhost.
        base = max(found, key=len)
        return self._bases[base], host[: -len(base) - 1]


def _signed(head: RequestHead) -> bool:
    return head.headers.get("authorization", "").startswith("AWS4-") or "X-Amz-Credential=" in head.query


def _scope(head: RequestHead) -> str:
    """The service of a signed request's credential scope: a hint, until the signature is verified. "": none to be read."""
    authorization = head.headers.get("authorization", "")
    if authorization.startswith("AWS4-"):
        # Strangers choose this text: it is cut before it is looked at, so that no form of it takes long.
        credential = _ENDS_CREDENTIAL.split(authorization.partition("Credential=")[2], maxsplit=1)[0]
        found = _SCOPE.search(credential)
    else:
        found = _PRESIGNED_SCOPE.search(head.query)
    return found[1] if found else ""


def _virtual_host(head: RequestHead, port: Port) -> Recognised | None:
    found = None if "x-amz-target" in head.headers else port.virtual_host(head)
    if found is None:
        return None
    service, label = found
    if _signed(head) and _scope(head) not in ("", *service.signing_names):
        return None
    return Recognised(Kind.REST, service, label)


def _scoped(head: RequestHead, port: Port) -> Recognised | None:
    if not _signed(head):
        return None
    if target := head.headers.get("x-amz-target"):
        return Recognised(Kind.TARGET, detail=target)
    name = _scope(head)
    if service := port.services.rest(name, head):
        return Recognised(Kind.REST, service)
    if rpc := _smithy(head, port):
        return rpc
    if head.path in ("", "/"):
        return Recognised(Kind.QUERY)
    # Without a name in its scope it can only be meant for the fallback; the signature check says what is wrong.
    return Recognised(Kind.REST, None if name else port.services.fallback)


def _smithy(head: RequestHead, _port: Port) -> Recognised | None:
    rpc = _SMITHY_RPC.fullmatch(head.path) if head.method == "POST" else None
    return Recognised(Kind.SMITHY, detail=f"{rpc[1]}/{rpc[2]}") if rpc else None


def _unsigned_target(head: RequestHead, _port: Port) -> Recognised | None:
    target = head.headers.get("x-amz-target")
    return Recognised(Kind.TARGET, detail=target) if target else None


def _reserved(head: RequestHead, _port: Port) -> Recognised | None:
    first = head.path[1:].partition("/")[0] if head.path.startswith("/") else ""
    if first in RESERVED_PATHS:
        return Recognised(Kind.MOUNT, detail=first)
    if head.path in ("", "/") and head.method in ("GET", "HEAD"):
        return Recognised(Kind.ROOT)
    return None


def _unsigned_query(head: RequestHead, _port: Port) -> Recognised | None:
    if head.path not in ("", "/"):
        return None
    if head.method == "GET" and _ACTION.search(head.query):
        return Recognised(Kind.QUERY)
    if head.method != "POST":
        return None
    return Recognised(Kind.QUERY) if head.headers.get("content-type", "").startswith(_FORM) else None


def _unsigned_rest(head: RequestHead, port: Port) -> Recognised | None:
    return Recognised(Kind.REST, port.services.rest_unsigned(head))


ORDER: tuple[Callable[[RequestHead, Port], Recognised | None], ...] = (
    _virtual_host,
    _scoped,
    _smithy,
    _unsigned_target,
    _unsigned_query,
    _reserved,
    _unsigned_rest,
)


def recognise(head: RequestHead, port: Port) -> Recognised:
    """The route of a request; always one, the last row catches all."""
    for row in ORDER:
        if route := row(head, port):
            return route
    raise AssertionError("the last row of ORDER catches every request")
