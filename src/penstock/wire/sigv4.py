"""AWS Signature Version 4: reading what a request claims, and verifying it against the secret.

Sources: AWS General Reference, "Signature Version 4 signing process"; S3 API Reference, "Authenticating Requests" (presigned
URLs, path rules, payload modes). Reading comes first, so that the caller can look up the secret in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from penstock.wire.errors import (
    IncompleteSignature,
    PayloadMismatch,
    PresignedExpired,
    SignatureExpired,
    SignatureMismatch,
    UnsignedHeaders,
    UnsupportedAuthorization,
)
from penstock.wire.message import RequestHead

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_SKEW_SECONDS = 300
MAX_PRESIGNED_SECONDS = 604_800

# Payload modes of S3: what stands in x-amz-content-sha256 instead of a hash.
STREAMING_SIGNED = frozenset({"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"})
STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

_IN_QUERY = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
_HEX_64 = re.compile(r"[0-9a-fA-F]{64}")
_SPACES = re.compile(r"[ \t]+")
_STAMP = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_GIT_PASSWORD = re.compile(r"(\d{8}T\d{6})Z([0-9a-f]{64})", re.ASCII)
_KEYS_KEPT = 16_384  # about 10 MB: more than the hosts of a large fleet, which sign again and again
_KEYS: OrderedDict[tuple[str, str, str, str], tuple[bytes, bytes]] = OrderedDict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a request claims about itself. Nothing of it is true before `verify`."""

    access_key_id: str
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
        if authorization.startswith(ALGORITHM):
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
        with _told_of_query():
            return _from_query(head)
    if "AWSAccessKeyId=" in head.query and "Signature=" in head.query:
        raise UnsupportedAuthorization
    return None


@contextlib.contextmanager
def _told_of_query() -> Iterator[None]:
    """S3 has another code for what is wrong with the parameters of a URL than for the Authorization header."""
    try:
        yield
    except IncompleteSignature as refused:
        refused.values.setdefault("code", "AuthorizationQueryParametersError")
        raise


def _from_header(head: RequestHead, authorization: str) -> Signature:
    parts: dict[str, str] = {}
    for part in authorization[len(ALGORITHM) :].split(","):
        name, _, value = part.strip().partition("=")
        # Nothing signs this header: what it says beside the three parts could only mislead who reads it elsewhere.
        if name in parts or name not in {"Credential", "SignedHeaders", "Signature", ""}:
            raise IncompleteSignature(f"Authorization header has an unexpected part '{name[:64]}'.")
        parts[name] = value.strip()
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parts.get(name)]
    stamp = head.headers.get("x-amz-date", "")
    dated = stamp or head.headers.get("date", "")
    if missing or not dated:
        told = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        if not dated:
            told = (
                f"{told} Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".strip()
            )
        raise IncompleteSignature(f"{told} Authorization={ALGORITHM}")
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
            return _stamp(moment)
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    raise IncompleteSignature(
        f"Date must be in ISO-8601 'basic format'. Got '{text[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=64)  # a busy client signs many requests in the same second
def _seconds(stamp: str) -> float:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        raise IncompleteSignature(f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.") from None


def verify(signature: Signature, head: RequestHead, secret: str, now: int, *, payload_hash: str = "") -> None:
    """Raise a refusal unless `secret` made the signature of this request.

    `now` is wall time in ms. `payload_hash` is the SHA-256 (hex) of the body as received; "" for a body that is still to come,
    which must then be read through `penstock.wire.chunked`.
    """
    check_claims(signature, head, now)
    compare(signature, head, secret, payload_hash=payload_hash)


def compare(signature: Signature, head: RequestHead, secret: str, *, payload_hash: str = "") -> None:
    """`verify` for a request whose claims were checked when it arrived."""
    payload = _payload(signature, payload_hash)
    key = signing_key(secret, signature)
    claimed = signature.signature.encode("latin-1", "replace")
    canonical = to_sign = ""
    for request in _canonical_requests(signature, head, payload):
        to_sign = f"{ALGORITHM}\n{signature.timestamp}\n{signature.scope}\n{_sha256(request)}"
        if hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex().encode(), claimed):
            return
        canonical = canonical or request
    raise SignatureMismatch(
        AWSAccessKeyId=signature.access_key_id,
        StringToSign=to_sign,
        SignatureProvided=signature.signature[:256],
        StringToSignBytes=in_bytes(to_sign),
        CanonicalRequest=canonical,
        CanonicalRequestBytes=in_bytes(canonical),
    )


def in_bytes(signed: str) -> str:
    """What was signed, byte by byte in hexadecimal, as S3 shows it beside the text that may hide a character."""
    return signed.encode("latin-1", "replace").hex(" ")


def check_claims(signature: Signature, head: RequestHead, now: int) -> None:
    """Raise a refusal when the claims cannot hold whoever signed: time, scope, signed headers. `now` is wall time in ms."""
    with _told_of_query() if signature.presigned else contextlib.nullcontext():
        _check_time(signature, now)
        _check_headers(signature, head)


def _sha256(request: str) -> str:
    # Heads are read as Latin-1, so this gives back the bytes that the client signed.
    return hashlib.sha256(request.encode("latin-1", "replace")).hexdigest()


def _check_time(signature: Signature, now: int) -> None:
    if signature.timestamp[:8] != signature.date:
        raise IncompleteSignature(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{signature.date}' != '{signature.timestamp[:8]}', from '{signature.timestamp}'."
        )
    signed, today = _seconds(signature.timestamp), now / 1000
    if signed > today + MAX_SKEW_SECONDS:
        latest = _stamp(datetime.fromtimestamp(today + MAX_SKEW_SECONDS, UTC))
        raise SignatureExpired(
            f"Signature not yet current: {signature.timestamp} is still later than {latest} ({_here(today)} + 5 min.)",
            RequestTime=signature.timestamp,
            ServerTime=iso(today),
            MaxAllowedSkewMilliseconds=MAX_SKEW_SECONDS * 1000,
        )
    if signature.presigned:
        ends = signed + signature.expires_seconds
        if today > ends:
            raise PresignedExpired(
                Expires=iso(ends), ServerTime=iso(today), **{"X-Amz-Expires": signature.expires_seconds}
            )
    elif signed < today - MAX_SKEW_SECONDS:
        earliest = _stamp(datetime.fromtimestamp(today - MAX_SKEW_SECONDS, UTC))
        raise SignatureExpired(
            f"Signature expired: {signature.timestamp} is now earlier than {earliest} ({_here(today)} - 5 min.)",
            RequestTime=signature.timestamp,
            ServerTime=iso(today),
            MaxAllowedSkewMilliseconds=MAX_SKEW_SECONDS * 1000,
        )


def _here(seconds: float) -> str:
    return _stamp(datetime.fromtimestamp(seconds, UTC))


def iso(seconds: float) -> str:
    """A moment as S3's errors write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_headers(signature: Signature, head: RequestHead) -> None:
    signed = set(signature.signed_headers)
    if "host" not in signed:
        raise IncompleteSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    # What an operation acts on must be signed, or anybody on the way could change it.
    loose = [
        name
        for name in head.headers
        if name.startswith("x-amz-")
        and name not in signed
        and not (signature.presigned and name == "x-amz-content-sha256")
    ]
    if loose:
        raise UnsignedHeaders(HeadersNotSigned=", ".join(loose))


def _payload(signature: Signature, actual: str) -> str:
    """The payload hash of the canonical request."""
    stated = signature.payload_hash
    if signature.service != "s3":
        # No stream and no unsigned payload beside S3: the body is always here.
        if _HEX_64.fullmatch(stated) and not hmac.compare_digest(stated.lower(), actual):
            raise PayloadMismatch(ClientComputedContentSHA256=stated, S3ComputedContentSHA256=actual)
        return actual
    if signature.presigned:
        return stated if _HEX_64.fullmatch(stated) else UNSIGNED_PAYLOAD
    if not stated:
        raise IncompleteSignature(
            "Missing required header for this request: x-amz-content-sha256", code="InvalidRequest"
        )
    if stated in STREAMING_SIGNED or stated in {UNSIGNED_PAYLOAD, STREAMING_UNSIGNED}:
        return stated
    if not _HEX_64.fullmatch(stated):
        raise IncompleteSignature(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER,"
            " STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
            code="InvalidArgument",
        )
    if actual and not hmac.compare_digest(stated.lower(), actual):
        raise PayloadMismatch(ClientComputedContentSHA256=stated, S3ComputedContentSHA256=actual)
    return stated


def _canonical_requests(signature: Signature, head: RequestHead, payload: str) -> Iterator[str]:
    """The canonical request of the bytes as sent; then of their normal form, which some clients sign instead."""
    headers = "".join(f"{name}:{_header_value(head, name)}\n" for name in signature.signed_headers)
    tail = f"{headers}\n{';'.join(signature.signed_headers)}\n{payload}"
    if head.path == "/" and not head.query:  # nothing to normalise
        yield f"{head.method}\n/\n\n{tail}"
        return
    is_s3 = signature.service == "s3"
    if is_s3:
        paths = (head.path, _encoded(head.path, safe="/~"))
    else:
        normal = _normal_path(head.path)
        paths = (quote(normal, safe="/~"), quote(_encoded(normal, safe="/~"), safe="/~"))
    queries = (_raw_query(head.query), _normal_query(head.query))
    tried: set[tuple[str, str]] = set()
    for path, query in ((paths[0], queries[0]), (paths[1], queries[1]), (paths[0], queries[1]), (paths[1], queries[0])):
        if (path, query) not in tried:
            tried.add((path, query))
            yield f"{head.method}\n{path or '/'}\n{query}\n{tail}"


def _header_value(head: RequestHead, name: str) -> str:
    value = head.headers.get(name)
    if value is None:
        return ""
    # Spaces only: other white space of Unicode is half of a UTF-8 letter here, such as the second byte of "à".
    return _SPACES.sub(" ", value.strip(" \t"))


def _normal_path(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    ends = "/" if path.endswith("/") and parts else ""
    return f"/{'/'.join(parts)}{ends}"


def _encoded(path: str, *, safe: str) -> str:
    return quote(unquote_to_bytes(path.encode("latin-1")), safe=safe)


def _raw_query(query: str) -> str:
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "X-Amz-Signature")


def _normal_query(query: str) -> str:
    pairs: list[tuple[str, str]] = []
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if name != "X-Amz-Signature":
                pairs.append((_encoded(name, safe="~"), _encoded(value, safe="~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def signing_key(secret: str, signature: Signature) -> bytes:
    """The signing key of a scope. Kept for the day: deriving it takes four HMACs."""
    return _signing_key(signature.access_key_id, secret, signature.date, signature.region, signature.service)


def _signing_key(access_key_id: str, secret: str, date: str, region: str, service: str) -> bytes:
    cached = (access_key_id, date, region, service)
    raw = secret.encode()
    known = _KEYS.get(cached)
    if known is not None and hmac.compare_digest(known[0], raw):
        return known[1]
    key = hmac.digest(b"AWS4" + raw, date.encode(), "sha256")
    for part in (region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    _KEYS[cached] = (raw, key)
    if len(_KEYS) > _KEYS_KEPT:
        _KEYS.popitem(last=False)
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLogin:
    """What Git's basic authentication carries when AWS CodeCommit's credential helper made it."""

    access_key_id: str
    session_token: str
    timestamp: str  # YYYYMMDDThhmmss
    signature: str


def parse_git_login(username: str, password: str) -> GitLogin | None:
    """The login of a credential helper, or None when the password is not of its form."""
    found = _GIT_PASSWORD.fullmatch(password)
    if found is None:
        return None
    key, _, token = username.partition("%")
    return GitLogin(access_key_id=key, session_token=token, timestamp=found[1], signature=found[2])


def verify_git_login(login: GitLogin, *, secret: str, region: str, host: str, path: str, now: int) -> None:
    """Raise a refusal unless `secret` signed this login.

    AWS CLI: `codecommit credential-helper`. `region` is the repository's, `host` the Host header (its port is not signed),
    `path` the URL's path as Git knows it (`/v1/repos/NAME`, without `/info/refs`), `now` wall time in ms. A login lives 15
    minutes, as on AWS: a push may take that long.
    """
    signed, today = _seconds(f"{login.timestamp}Z"), now / 1000
    if not -MAX_SKEW_SECONDS <= today - signed <= 3 * MAX_SKEW_SECONDS:
        raise SignatureExpired(
            f"The credentials were made at {login.timestamp}Z; it is {_stamp(datetime.fromtimestamp(today, UTC))}."
        )
    date = login.timestamp[:8]
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
    request = f"GIT\n{path}\n\nhost:{name}\n\nhost\n"
    digest = hashlib.sha256(request.encode()).hexdigest()
    # The helper signs the time without its Z and sends it with one.
    to_sign = f"{ALGORITHM}\n{login.timestamp}\n{date}/{region}/codecommit/aws4_request\n{digest}"
    key = _signing_key(login.access_key_id, secret, date, region, "codecommit")
    if not hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), login.signature):
        raise SignatureMismatch
