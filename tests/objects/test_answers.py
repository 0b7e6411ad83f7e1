"""What S3 answers: codes of refusals, headers of what is read, and ranges far behind the end."""

from __future__ import annotations

import pytest
from penstock_object_rows import BUCKET, piece, refused, version

from penstock.objects import (
    conditions,
)
from penstock.objects.checksums import ChecksumType
from penstock.objects.errors import (
    InvalidRequest,
)
from penstock.objects.lookup import Found
from penstock.objects.model import About, Checksum
from penstock.objects.operations import reads
from penstock.objects.refusals import S3


def test_codes_of_refusals_as_s3_has_them():
    codes = {kind.__name__: (wording.code, wording.status) for kind, wording in S3.table.items()}
    assert codes == {
        "AccessDenied": ("AccessDenied", 403), "UnknownAccessKey": ("InvalidAccessKeyId", 403), "InvalidSessionToken": ("InvalidToken", 400),
        "ExpiredSession": ("ExpiredToken", 400), "SignatureMismatch": ("SignatureDoesNotMatch", 403), "UnsignedHeaders": ("AccessDenied", 403),
        "PayloadMismatch": ("XAmzContentSHA256Mismatch", 400), "SignatureExpired": ("RequestTimeTooSkewed", 403),
        "PresignedExpired": ("AccessDenied", 403), "IncompleteSignature": ("AuthorizationHeaderMalformed", 400),
        "UnsupportedAuthorization": ("InvalidRequest", 400), "MissingAuthentication": ("AccessDenied", 403),
        "UnknownOperation": ("MethodNotAllowed", 405), "NotImplementedOperation": ("NotImplemented", 501), "MalformedBody": ("MalformedXML", 400),
        "BodyTooLarge": ("MaxMessageLengthExceeded", 400), "Throttled": ("SlowDown", 503), "Unavailable": ("ServiceUnavailable", 503),
        "InvalidInput": ("InvalidArgument", 400), "DigestMismatch": ("BadDigest", 400), "IncompleteBody": ("IncompleteBody", 400),
        "MalformedChunk": ("InvalidRequest", 400), "MissingLength": ("MissingContentLength", 411),
    }  # fmt: skip
    always = {kind.__name__ for kind, wording in S3.table.items() if wording.always}
    assert always == {"UnknownAccessKey", "InvalidSessionToken", "ExpiredSession", "SignatureExpired"}


@pytest.mark.parametrize(
    ("input", "answer"),
    [
        ({}, {"ContentLength": 10}),
        ({"Range": "bytes=2-4"}, {"ContentLength": 3, "ContentRange": "bytes 2-4/10"}),
        ({"Range": "bytes=0-9"}, {"ContentLength": 10, "ContentRange": "bytes 0-9/10"}),
        ({"PartNumber": 1}, {"ContentLength": 10, "ContentRange": "bytes 0-9/10"}),
        ({"PartNumber": 1, "Range": "bytes=0-1"}, None),
        ({"ChecksumMode": "enabled"}, {"ContentLength": 10, "ChecksumCRC32": "v", "ChecksumType": "FULL_OBJECT"}),
        ({"ChecksumMode": "ENABLED", "Range": "bytes=0-8"}, {"ContentLength": 9, "ContentRange": "bytes 0-8/10"}),
    ],
)
def test_what_is_said_of_what_is_read(input, answer):
    checksum = Checksum(algorithm="CRC32", type=ChecksumType.FULL_OBJECT, value="v")
    found = Found(bucket=BUCKET, version=version(about=About(checksum=checksum)), pieces=[piece(10)])
    if answer is None:
        with refused(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"):
            reads._described(input, found, 0)
        return
    output, start, stop, partial = reads._described(input, found, 0)
    output |= reads._checksum_of_range(input, found, b"", (start, stop))
    assert {
        name: value for name, value in output.items() if name.startswith(("Content", "Checksum", "Parts"))
    } == answer
    assert stop - start == output["ContentLength"]
    assert partial is ("ContentRange" in answer)


def test_positions_that_are_far_away():
    assert [conditions._bounded(digits) for digits in ("", "0", "007", "9" * 18, "1" + "0" * 18)] == [
        "", "0", "7", "9" * 18, "9" * 18,
    ]  # fmt: skip
