"""What a request claims about who signed it: read from its headers or its URL, and not yet believed.

Sources: AWS General Reference, "Signature Version 4 signing process"; S3 API Reference, "Authenticating Requests" (presigned
URLs). Reading comes first, so that the caller can look up the secret before `penstock.wire.sigv4` verifies.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import unquote_to_bytes

from penstock.wire.errors import IncompleteSignature, UnsupportedAuthorization
from penstock.wire.message import RequestHead

ALGORITHM = "AWS4-HMAC-SHA256"
CERTIFIED = "AWS4-X509-"
"""Begins the algorithms of requests that the key of a certificate signs."""
MAX_PRESIGNED_SECONDS = 604_800

_IN_QUERY = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
_STAMP = re.compile(r"\d{8}T\d{6}Z", re.ASCII)


class Scheme(Protocol):
    """A further way in which URLs of a service may be signed."""

    def parse(self, head: RequestHead, region: str) -> Signature | None:
        """What a URL claims; None when it is not signed in this way. `region` is the installation's. Raises a refusal."""
        ...

    def verify(self, signature: Signature, head: RequestHead, secret: str, now: int, *, label: str) -> None:
        """Raise a refusal unless `secret` signed this URL and it still holds.

        `now` is wall time in ms, `label` the part of the path that is in a virtual host's name.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRules:
    """How requests of a service are signed, where it departs from the others."""

    path_as_sent: bool = False  # the path is signed as it stands; others sign its normal form, encoded once more
    # x-amz-content-sha256 is required, and may say that the body is unsigned or signed in chunks.
    open_payload: bool = False
    scheme: Scheme | None = None
    # Lays over a head what its presigned URL states.
    url_headers: Callable[[RequestHead, Signature], RequestHead] | None = None


USUAL = SigningRules()


@dataclass(slots=True, kw_only=True)  # not frozen: one is made for each request, which would take three times as long
class Signature:
    """What a request claims about itself. Nothing of it is true before `verify`."""

    access_key_id: str  # the serial number of a certificate (decimal) where its key signs
    date: str  # of the scope: YYYYMMDD
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str  # YYYYMMDDThhmmssZ
    session_token: str = ""
    payload_hash: str = ""  # x-amz-content-sha256; "" when the request states none
    presigned: bool = False
    expires_seconds: int = 0  # of a presigned URL
    scheme: Scheme | None = None  # that it was read by; None: version 4
    algorithm: str = ALGORITHM

    @property
    def certified(self) -> bool:
        """Whether the key of a certificate signs, which no secret stands behind."""
        return self.algorithm is not ALGORITHM

    @property
    def scope(self) -> str:
        """The credential scope without the key."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def parse_authorization(head: RequestHead) -> Signature | None:
    """The signature of a request, in its header or its URL; None when it is unsigned. Raises IncompleteSignature."""
    authorization = head.headers.get("authorization", "")
    in_query = "X-Amz-Algorithm=" in head.query or "X-Amz-Signature=" in head.query
    if authorization:
        if in_query:
            raise IncompleteSignature(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or"
                " the Authorization header should be specified",
                code="InvalidArgument",
                ArgumentName="Authorization",
            )
        if authorization.startswith((ALGORITHM, CERTIFIED)):
            return _from_header(head, authorization)
        if authorization.startswith("AWS4-ECDSA"):
            raise UnsupportedAuthorization("The signing algorithm is not supported. Please use AWS4-HMAC-SHA256.")
        if authorization.startswith("AWS "):
            raise UnsupportedAuthorization
        raise IncompleteSignature(
            f"Unsupported authorization type; the Authorization header must begin with {ALGORITHM}.",
            code="InvalidArgument",
        )
    if in_query:
        with of_query():
            return _from_query(head)
    if "AWSAccessKeyId=" in head.query and "Signature=" in head.query:
        raise UnsupportedAuthorization
    return None


@contextlib.contextmanager
def of_query() -> Iterator[None]:
    """Finer codes have another one for what is wrong with the parameters of a URL than for the Authorization header."""
    try:
        yield
    except IncompleteSignature as refused:
        refused.values.setdefault("code", "AuthorizationQueryParametersError")
        raise


def _from_header(head: RequestHead, authorization: str) -> Signature:
    parts: dict[str, str] = {}
    algorithm = ALGORITHM if authorization.startswith(ALGORITHM) else authorization.partition(" ")[0][:64]
    for part in authorization[len(algorithm) :].split(","):
        name, _, value = part.strip().partition("=")
        # Nothing signs this header: what it says beside the three parts could only mislead who reads it elsewhere.
        if name in parts or name not in {"Credential", "SignedHeaders", "Signature", ""}:
            raise IncompleteSignature(f"Authorization header has an unexpected part '{name[:64]}'.")
        parts[name] = value.strip()
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parts.get(name)]
    stamp = head.headers.get("x-amz-date", "")
    dated = stamp or head.headers.get("date", "")
    if missing or not dated:
        requirements = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        if not dated:
            requirements = f"{requirements} Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".strip()
        raise IncompleteSignature(f"{requirements} Authorization={algorithm}")
    key, date, region, service = _credential(parts["Credential"])
    return Signature(
        access_key_id=key,
        date=date,
        region=region,
        service=service,
        signed_headers=_header_names(parts["SignedHeaders"]),
        signature=parts["Signature"],
        timestamp=_timestamp(dated),
        session_token=head.headers.get("x-amz-security-token", ""),
        payload_hash=head.headers.get("x-amz-content-sha256", ""),
        algorithm=algorithm,
    )


def _from_query(head: RequestHead) -> Signature:
    found: dict[str, str] = {}
    for pair in head.query.split("&"):
        name, _, value = pair.partition("=")
        if name.startswith("X-Amz-"):
            if name in found:
                raise IncompleteSignature(f"The query parameter {name} is given more than once.")
            found[name] = unquote_to_bytes(value.encode("latin-1")).decode("utf-8", "replace")
    if not all(found.get(f"X-Amz-{name}") for name in _IN_QUERY):
        raise IncompleteSignature(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
            "X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if found["X-Amz-Algorithm"] != ALGORITHM:
        raise IncompleteSignature(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    expires = found.get("X-Amz-Expires", "")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 10):
        raise IncompleteSignature("X-Amz-Expires should be a number")
    if int(expires) > MAX_PRESIGNED_SECONDS:
        raise IncompleteSignature(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"
        )
    key, date, region, service = _credential(found["X-Amz-Credential"])
    return Signature(
        access_key_id=key,
        date=date,
        region=region,
        service=service,
        signed_headers=_header_names(found["X-Amz-SignedHeaders"]),
        signature=found["X-Amz-Signature"],
        timestamp=_timestamp(found["X-Amz-Date"]),
        session_token=found.get("X-Amz-Security-Token", ""),
        payload_hash=head.headers.get("x-amz-content-sha256", ""),
        presigned=True,
        expires_seconds=int(expires),
    )


def _credential(text: str) -> tuple[str, str, str, str]:
    elements = text.rsplit("/", 4)
    if len(elements) != 5 or not all(elements):
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term,"
            f" got '{text[:256]}'"
        )
    key, date, region, service, term = elements
    if term != "aws4_request":
        raise IncompleteSignature(
            f"Credential should be scoped with a valid terminator: 'aws4_request', not '{term[:64]}'."
        )
    if len(date) != 8 or not date.isascii() or not date.isdigit():
        raise IncompleteSignature(f"Date in Credential scope is not YYYYMMDD: '{date[:64]}'.")
    return key, date, region, service


def _header_names(text: str) -> tuple[str, ...]:
    names = tuple(text.lower().split(";"))
    if len(names) > 256 or len(set(names)) != len(names):
        raise IncompleteSignature("SignedHeaders names a header more than once.")
    return names


def _timestamp(text: str) -> str:
    if _STAMP.fullmatch(text):
        return text
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is not None:
            return stamp_of(moment)
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    raise IncompleteSignature(
        f"Date must be in ISO-8601 'basic format'. Got '{text[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )


def stamp_of(moment: datetime) -> str:
    """A moment as signatures write it."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
