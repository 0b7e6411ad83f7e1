"""AWS Signature Version 4: verifying what a request claims against the secret.

Sources: AWS General Reference, "Signature Version 4 signing process"; S3 API Reference, "Authenticating Requests" (path rules,
payload modes).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from penstock.wire.errors import (
    IncompleteSignature,
    PayloadMismatch,
    PresignedExpired,
    SignatureExpired,
    SignatureMismatch,
    UnsignedHeaders,
)
from penstock.wire.message import RequestHead
from penstock.wire.scalars import iso
from penstock.wire.signature import USUAL, Signature, SigningRules, of_query, stamp_of

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_SKEW_SECONDS = 300

# Payload modes: what may stand in x-amz-content-sha256 instead of a hash.
STREAMING_SIGNED = frozenset({"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"})
STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

_HEX_64 = re.compile(r"[0-9a-fA-F]{64}")
_SPACES = re.compile(r"[ \t]+")
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_KEYS_KEPT = 16_384  # about 10 MB: more than the hosts of a large fleet, which sign again and again
_KEYS: OrderedDict[tuple[str, str, str, str], tuple[bytes, bytes]] = OrderedDict()


@lru_cache(maxsize=64)  # a busy client signs many requests in the same second
def seconds_of_stamp(stamp: str) -> float:
    """Seconds since the epoch of YYYYMMDDThhmmssZ. Raises IncompleteSignature."""
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        raise IncompleteSignature(f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.") from None


def verify(
    signature: Signature,
    head: RequestHead,
    secret: str,
    now: int,
    *,
    payload_hash: str = "",
    rules: SigningRules = USUAL,
) -> None:
    """Raise a refusal unless `secret` made the signature of this request.

    `now` is wall time in ms. `payload_hash` is the SHA-256 (hex) of the body as received; "" for a body that is still to come,
    which must then be read through `penstock.wire.chunked`. `rules` are those of the service that the scope names.
    """
    check_claims(signature, head, now)
    compare(signature, head, secret, payload_hash=payload_hash, rules=rules)


def compare(
    signature: Signature, head: RequestHead, secret: str, *, payload_hash: str = "", rules: SigningRules = USUAL
) -> None:
    """`verify` for a request whose claims were checked when it arrived."""
    key = signing_key(secret, signature)
    claimed = signature.signature.encode("latin-1", "replace")
    canonical = to_sign = ""
    for request in canonical_requests(signature, head, payload_hash, rules):
        to_sign = string_to_sign(signature, request)
        if hmac.compare_digest(mac(key, to_sign.encode()).hex().encode(), claimed):
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


def mac(key: bytes, text: bytes) -> bytes:
    """HMAC-SHA-256 with a key of at most 64 bytes (RFC 2104).

    `hmac.digest` lets go of the interpreter for the microsecond that it takes, and waits until a busy thread gives it back.
    """
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(padded.translate(_INNER) + text).digest()
    return hashlib.sha256(padded.translate(_OUTER) + inner).digest()


def in_bytes(signed: str) -> str:
    """What was signed, byte by byte in hexadecimal, as an error shows it beside the text that may hide a character."""
    return signed.encode("latin-1", "replace").hex(" ")


def check_claims(signature: Signature, head: RequestHead, now: int) -> None:
    """Raise a refusal when the claims cannot hold whoever signed: time, scope, signed headers. `now` is wall time in ms."""
    with of_query() if signature.presigned else contextlib.nullcontext():
        _check_time(signature, now)
        _check_headers(signature, head)


def string_to_sign(signature: Signature, request: str) -> str:
    """What is signed of a canonical request."""
    # Heads are read as Latin-1, so this gives back the bytes that the client signed.
    digest = hashlib.sha256(request.encode("latin-1", "replace")).hexdigest()
    return f"{signature.algorithm}\n{signature.timestamp}\n{signature.scope}\n{digest}"


def _check_time(signature: Signature, now: int) -> None:
    if signature.timestamp[:8] != signature.date:
        raise IncompleteSignature(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{signature.date}' != '{signature.timestamp[:8]}', from '{signature.timestamp}'."
        )
    signed, today = seconds_of_stamp(signature.timestamp), now / 1000
    if signed > today + MAX_SKEW_SECONDS:
        latest = stamp_of(datetime.fromtimestamp(today + MAX_SKEW_SECONDS, UTC))
        raise SignatureExpired(
            f"Signature not yet current: {signature.timestamp} is still later than {latest} ({_here(today)} + 5 min.)",
            RequestTime=signature.timestamp,
            ServerTime=iso(now),
            MaxAllowedSkewMilliseconds=MAX_SKEW_SECONDS * 1000,
        )
    if signature.presigned:
        ends = signed + signature.expires_seconds
        if today > ends:
            raise PresignedExpired(
                Expires=iso(ends * 1000), ServerTime=iso(now), **{"X-Amz-Expires": signature.expires_seconds}
            )
    elif signed < today - MAX_SKEW_SECONDS:
        earliest = stamp_of(datetime.fromtimestamp(today - MAX_SKEW_SECONDS, UTC))
        raise SignatureExpired(
            f"Signature expired: {signature.timestamp} is now earlier than {earliest} ({_here(today)} - 5 min.)",
            RequestTime=signature.timestamp,
            ServerTime=iso(now),
            MaxAllowedSkewMilliseconds=MAX_SKEW_SECONDS * 1000,
        )


def _here(seconds: float) -> str:
    return stamp_of(datetime.fromtimestamp(seconds, UTC))


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


def _payload(signature: Signature, actual: str, rules: SigningRules) -> str:
    """The payload hash of the canonical request."""
    stated = signature.payload_hash
    if not rules.open_payload:
        # No stream and no unsigned payload: the body is always here.
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


def canonical_requests(
    signature: Signature, head: RequestHead, payload_hash: str, rules: SigningRules
) -> Iterator[str]:
    """The canonical request of the bytes as sent; then of their normal form, which some clients sign instead.

    `payload_hash` is as in `verify`. Raises a refusal when the request states another one.
    """
    payload = _payload(signature, payload_hash, rules)
    headers = "".join(f"{name}:{_header_value(head, name)}\n" for name in signature.signed_headers)
    tail = f"{headers}\n{';'.join(signature.signed_headers)}\n{payload}"
    if head.path == "/" and not head.query:  # nothing to normalise
        yield f"{head.method}\n/\n\n{tail}"
        return
    if rules.path_as_sent:
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
    value = value.strip(" \t")
    return _SPACES.sub(" ", value) if "  " in value or "\t" in value else value


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
    return derive_key(signature.access_key_id, secret, signature.date, signature.region, signature.service)


def derive_key(access_key_id: str, secret: str, date: str, region: str, service: str) -> bytes:
    """The key that a secret gives for a day (YYYYMMDD), region and service."""
    cached = (access_key_id, date, region, service)
    raw = secret.encode()
    known = _KEYS.get(cached)
    if known is not None and hmac.compare_digest(known[0], raw):
        return known[1]
    key = hmac.digest(b"AWS4" + raw, date.encode(), "sha256")
    for part in (region, service, "aws4_request"):
        key = mac(key, part.encode())
    _KEYS[cached] = (raw, key)
    if len(_KEYS) > _KEYS_KEPT:
        _KEYS.popitem(last=False)
    return key
