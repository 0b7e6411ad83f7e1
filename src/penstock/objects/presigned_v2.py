"""Presigned S3 URLs of signature version 2, which boto3 and the AWS CLI still make for us-east-1 when not told otherwise.

Only the query form is taken (AWS: "Signing and authenticating REST requests", query string request authentication
alternative); what signs with version 2 in a header has long known version 4. The body is never part of it.
"""

from __future__ import annotations

import base64
import hmac
from urllib.parse import parse_qsl

from penstock.wire.errors import IncompleteSignature, MissingAuthentication, PresignedExpired, SignatureMismatch
from penstock.wire.message import RequestHead
from penstock.wire.scalars import iso
from penstock.wire.signature import MAX_PRESIGNED_SECONDS, Signature
from penstock.wire.sigv4 import in_bytes

# Parameters that choose what is asked for, and are signed with the path.
_SUBRESOURCES = frozenset(
    [
        "acl",
        "accelerate",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    ]
)

# Parameters that choose another operation, but came after version 2 and are not signed by it: a URL that was given away for one
# thing must not be good for another.
_UNSIGNED_CHOICES = frozenset(
    [
        "abac",
        "annotation",
        "attributes",
        "encryption",
        "intelligent-tiering",
        "legal-hold",
        "metadataAnnotationTable",
        "metadataConfiguration",
        "metadataInventoryTable",
        "metadataJournalTable",
        "metadataTable",
        "ownershipControls",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "retention",
        "session",
    ]
)
# Read here by one spelling, and signed whatever their case is: with a second one, a URL could state one end and bear another's signature.
_ONCE = frozenset(["awsaccesskeyid", "expires", "signature", "x-amz-security-token"])


class PresignedV2:
    """A scheme of `penstock.wire.signature`."""

    def parse(self, head: RequestHead, region: str) -> Signature | None:
        """See Scheme. The URL names no region."""
        if "AWSAccessKeyId=" not in head.query:
            return None
        pairs = parse_qsl(head.query, keep_blank_values=True)
        values = dict(pairs)
        if not values.keys() >= {"AWSAccessKeyId", "Signature", "Expires"}:
            raise MissingAuthentication(
                "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
            )
        alone = [name for name in map(str.lower, (name for name, _ in pairs)) if name in _ONCE]
        if len(alone) != len(set(alone)):
            raise IncompleteSignature("A query parameter of the signature is given more than once.")
        if chosen := _UNSIGNED_CHOICES.intersection(values):
            raise IncompleteSignature(f"Signature version 2 does not sign the parameter {min(chosen)}; use version 4.")
        expires = values.get("Expires", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            raise IncompleteSignature("Invalid date (should be seconds since epoch): " + expires[:64])
        return Signature(
            access_key_id=values.get("AWSAccessKeyId", ""),
            date="",
            region=region,
            service="s3",
            signed_headers=(),
            signature=values.get("Signature", ""),
            timestamp="",
            scheme=self,
            session_token=values.get("x-amz-security-token", ""),
            presigned=True,
            expires_seconds=int(expires),  # of version 2: since the epoch
        )

    def verify(self, signature: Signature, head: RequestHead, secret: str, now: int, *, label: str = "") -> None:
        """See Scheme."""
        left = signature.expires_seconds - now / 1000
        if left < 0:
            raise PresignedExpired(Expires=iso(signature.expires_seconds * 1000), ServerTime=iso(now))
        if left > MAX_PRESIGNED_SECONDS:
            raise IncompleteSignature("Expires must be less than a week away.")
        to_sign = string_to_sign(head, bucket=label)
        made = base64.b64encode(hmac.digest(secret.encode(), to_sign.encode("latin-1", "replace"), "sha1"))
        if not hmac.compare_digest(made, signature.signature.encode("latin-1", "replace")):
            raise SignatureMismatch(
                AWSAccessKeyId=signature.access_key_id,
                StringToSign=to_sign,
                SignatureProvided=signature.signature[:256],
                StringToSignBytes=in_bytes(to_sign),
            )


def string_to_sign(head: RequestHead, *, bucket: str = "") -> str:
    """What version 2 signs of a request."""
    query = parse_qsl(head.query, keep_blank_values=True, encoding="latin-1")
    given = {name.lower(): value for name, value in query}
    amz = {name: value for name, value in given.items() if name.startswith("x-amz-")}
    amz |= {name: value.strip() for name, value in head.headers.items() if name.startswith("x-amz-")}
    lines = [
        head.method,
        head.headers.get("content-md5", ""),
        head.headers.get("content-type", ""),  # a URL that names a type can only be used with that type
        given.get("expires", ""),
        *(f"{name}:{amz[name]}" for name in sorted(amz)),
    ]
    present = {pair.partition("=")[0]: "=" in pair for pair in head.query.split("&")}
    chosen = sorted(f"{name}={value}" if present.get(name) else name for name, value in query if name in _SUBRESOURCES)
    path = f"/{bucket}{head.path}" if bucket else head.path
    return "\n".join(lines) + "\n" + path + ("?" + "&".join(chosen) if chosen else "")
