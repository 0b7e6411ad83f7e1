"""Which API a request on the one port is meant for: the order of recognition, as one table.

1. a bucket in the host name (virtual-host style)
2. a credential scope: with a target prefix (awsJson), with a Query version, or S3
3. `/service/…/operation/…` (Smithy RPC)
4. the reserved paths, which no bucket may bear
5. an unsigned Query call (STS AssumeRoleWithWebIdentity)
6. anonymous S3
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from penstock.wire.message import RequestHead

RESERVED_PATHS = ("v1", "console", "webhooks", "healthz", "readyz", "metrics", "service")

_SCOPE = re.compile(r"[^/]/\d{8}/[A-Za-z0-9-]+/([A-Za-z0-9-]+)/aws4_request")
_ENDS_CREDENTIAL = re.compile(r"[,\s]")
_PRESIGNED_SCOPE = re.compile(
    r"(?:^|&)X-Amz-Credential=[^&]*?%2F\d{8}%2F[A-Za-z0-9-]+%2F([A-Za-z0-9-]+)%2Faws4_request", re.IGNORECASE
)
_SMITHY_RPC = re.compile(r"/service/([A-Za-z0-9_]+)/operation/([A-Za-z0-9_]+)")
_FORM = "application/x-www-form-urlencoded"


class Kind(StrEnum):
    """What a request is."""

    S3 = "s3"  # REST on buckets and objects
    TARGET = "target"  # awsJson: X-Amz-Target names service and operation
    QUERY = "query"  # form with Action and Version
    REST = "rest"  # paths of a service other than S3; none is served yet
    SMITHY = "smithy"  # /service/S/operation/O
    MOUNT = "mount"  # a reserved path
    ROOT = "root"  # a browser at /


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes."""

    kind: Kind
    bucket: str = ""  # of a virtual-host request
    detail: str = ""  # target, mount prefix, or Smithy "service/operation"


def _host_bucket(head: RequestHead, bases: tuple[str, ...]) -> str:
    host = head.host.rsplit(":", 1)[0].lower()
    found = [] if host in bases else [base for base in bases if host.endswith("." + base)]
    # `a.s3.localhost` is the bucket a below s3.localhost, not a.s3 below localhost.
    return host[: -len(max(found, key=len)) - 1] if found else ""


def _scope(head: RequestHead) -> str | None:
    """The service of the credential scope: a hint, until the signature is verified. None: unsigned; "": none to be read."""
    authorization = head.headers.get("authorization", "")
    if authorization.startswith("AWS4-"):
        # Strangers choose this text: it is cut before it is looked at, so that no form of it takes long.
        credential = _ENDS_CREDENTIAL.split(authorization.partition("Credential=")[2], maxsplit=1)[0]
        found = _SCOPE.search(credential)
        return found[1] if found else ""
    if "X-Amz-Credential=" in head.query:
        found = _PRESIGNED_SCOPE.search(head.query)
        return found[1] if found else ""
    return None


def _virtual_host(head: RequestHead, bases: tuple[str, ...]) -> Route | None:
    bucket = _host_bucket(head, bases)
    if not bucket or "x-amz-target" in head.headers:
        return None
    if _scope(head) not in (None, "", "s3"):
        return None
    return Route(Kind.S3, bucket=bucket)


def _scoped(head: RequestHead, _bases: tuple[str, ...]) -> Route | None:
    service = _scope(head)
    if service is None:
        return None
    if target := head.headers.get("x-amz-target"):
        return Route(Kind.TARGET, detail=target)
    if service == "s3":
        return Route(Kind.S3)
    if rpc := _smithy(head, _bases):
        return rpc
    if head.path in ("", "/"):
        return Route(Kind.QUERY)
    # Without a name of a service in its scope it can only be meant for S3; the signature check says what is wrong.
    return Route(Kind.REST, detail=service) if service else Route(Kind.S3)


def _smithy(head: RequestHead, _bases: tuple[str, ...]) -> Route | None:
    rpc = _SMITHY_RPC.fullmatch(head.path) if head.method == "POST" else None
    return Route(Kind.SMITHY, detail=f"{rpc[1]}/{rpc[2]}") if rpc else None


def _unsigned_target(head: RequestHead, _bases: tuple[str, ...]) -> Route | None:
    target = head.headers.get("x-amz-target")
    return Route(Kind.TARGET, detail=target) if target else None


def _reserved(head: RequestHead, _bases: tuple[str, ...]) -> Route | None:
    first = head.path.split("/", 2)[1] if head.path.startswith("/") else ""
    if first in RESERVED_PATHS:
        return Route(Kind.MOUNT, detail=first)
    if head.path in ("", "/") and head.method in ("GET", "HEAD"):
        return Route(Kind.ROOT)
    return None


def _unsigned_query(head: RequestHead, _bases: tuple[str, ...]) -> Route | None:
    if head.method != "POST" or head.path not in ("", "/"):
        return None
    return Route(Kind.QUERY) if head.headers.get("content-type", "").startswith(_FORM) else None


def _anonymous(_head: RequestHead, _bases: tuple[str, ...]) -> Route | None:
    return Route(Kind.S3)


ORDER: tuple[Callable[[RequestHead, tuple[str, ...]], Route | None], ...] = (
    _virtual_host,
    _scoped,
    _smithy,
    _unsigned_target,
    _reserved,
    _unsigned_query,
    _anonymous,
)


def recognise(head: RequestHead, bases: tuple[str, ...] = ()) -> Route:
    """The route of a request; always one, the last row catches all.

    `bases` are the host names under which a bucket may stand as a label.
    """
    for row in ORDER:
        if route := row(head, bases):
            return route
    raise AssertionError("the last row of ORDER catches every request")
