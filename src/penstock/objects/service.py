"""S3 as the wire layer knows it: what sets it apart from other services."""

from __future__ import annotations

from penstock.objects.codec import S3Codec
from penstock.objects.patch import PATCH
from penstock.objects.presigned_v2 import PresignedV2
from penstock.objects.profile import XmlProfile
from penstock.objects.url_headers import with_url_headers
from penstock.wire.services import Service
from penstock.wire.signature import SigningRules


def s3() -> Service:
    """The service."""
    return Service(
        "s3",
        patch=PATCH,
        profile=XmlProfile(),
        codecs={"rest-xml": S3Codec},
        signing=SigningRules(path_as_sent=True, open_payload=True, scheme=PresignedV2(), url_headers=with_url_headers),
        digests=True,
        virtual_hosts="s3",
        fallback=True,
        form_operation="PostObject",
    )
