"""Headers that a presigned URL states in its query, where its signature holds them.

S3 takes a request's `x-amz-…` headers and its conditions from there too (AWS: "Authenticating Requests: Using Query
Parameters"; AWS's JavaScript SDK moves them into the query). To leave them out would drop what the signer has demanded, such
as `If-None-Match=*`.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

from penstock.wire.message import RequestHead
from penstock.wire.signature import Signature

_CONDITIONS = frozenset({"if-match", "if-none-match"})
# What belongs to the signature or to the transfer of the body, which the query cannot know. The checksum of a body that the
# signer has not seen is left out by AWS as well.
_OTHERS = (
    "x-amz-algorithm",
    "x-amz-checksum-",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-trailer",
)


def with_url_headers(head: RequestHead, signature: Signature) -> RequestHead:
    """The head with what its presigned URL states, where no header that the signature covers says something else."""
    stated = {
        lower: value
        for name, value in parse_qsl(head.query, keep_blank_values=True, encoding="latin-1")
        if ((lower := name.lower()).startswith("x-amz-") and not lower.startswith(_OTHERS)) or lower in _CONDITIONS
    }
    # Version 2 covers the headers as they are, whatever the query states under their names.
    signed = head.headers if signature.scheme is not None else signature.signed_headers
    kept = {name: value for name, value in head.headers.items() if name in signed}
    return replace(head, headers={**head.headers, **stated, **kept}) if stated else head
