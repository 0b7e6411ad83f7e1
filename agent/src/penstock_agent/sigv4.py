"""AWS Signature Version 4 for the two services that the agent calls (AWS: "Create a signed AWS API request")."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Callable, Dict, List, NamedTuple, Tuple
from urllib.parse import quote

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Credentials(NamedTuple):
    """A key pair, with a session token when it is temporary."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(%s)" % self.access_key_id


def encode_path(path: str) -> str:
    """An S3 path as it is sent and signed: each byte encoded once, slashes kept."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/-_.~")


def encode_query(pairs: List[Tuple[str, str]]) -> str:
    """Query pairs in canonical order and encoding; the same text is sent and signed."""
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs)
    return "&".join(name + "=" + value for name, value in encoded)


def sign(
    method: str,
    path: str,
    query: str,
    headers: Dict[str, str],
    *,
    payload_sha256: str,
    credentials: Credentials,
    region: str,
    service: str,
    now: float,
) -> Dict[str, str]:
    """`headers` (lower-case names, `host` among them) with x-amz-date, x-amz-content-sha256, token and authorization.

    `path` and `query` are already encoded; `now` is epoch seconds.
    """
    stated = dict(headers)
    if credentials.session_token:
        stated["x-amz-security-token"] = credentials.session_token

    def signature(text: bytes) -> bytes:
        key = ("AWS4" + credentials.secret_access_key).encode("utf-8")
        for part in (time.strftime("%Y%m%d", time.gmtime(now)), region, service, "aws4_request"):
            key = hmac.new(key, part.encode("utf-8"), hashlib.sha256).digest()
        return hmac.new(key, text, hashlib.sha256).digest()

    return sign_by(
        signature, method, path, query, stated, algorithm="AWS4-HMAC-SHA256", key_id=credentials.access_key_id,
        payload_sha256=payload_sha256, region=region, service=service, now=now,
    )  # fmt: skip


def sign_by(
    signature: Callable[[bytes], bytes],
    method: str,
    path: str,
    query: str,
    headers: Dict[str, str],
    *,
    algorithm: str,
    key_id: str,
    payload_sha256: str,
    region: str,
    service: str,
    now: float,
) -> Dict[str, str]:
    """`headers` with those that a signature adds. `signature` makes it of the bytes that are signed, `key_id` says whose it is."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    signed = dict(headers)
    signed["x-amz-date"] = stamp
    signed["x-amz-content-sha256"] = payload_sha256
    names = sorted(name for name in signed if name not in ("user-agent", "content-length", "connection"))
    canonical = "\n".join(
        [method, path, query]
        + [name + ":" + " ".join(signed[name].split()) for name in names]
        + ["", ";".join(names), payload_sha256]
    )
    scope = "/".join((stamp[:8], region, service, "aws4_request"))
    to_sign = "\n".join((algorithm, stamp, scope, hashlib.sha256(canonical.encode("utf-8")).hexdigest()))
    signed["authorization"] = "%s Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        algorithm,
        key_id,
        scope,
        ";".join(names),
        signature(to_sign.encode("utf-8")).hex(),
    )
    return signed
