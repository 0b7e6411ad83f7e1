"""Times on the wire: operations give and take integer milliseconds, and only the codecs know of seconds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import penstock
from penstock.objects.codec import S3Codec
from penstock.wire.message import RequestHead
from penstock.wire.scalars import format_timestamp, iso, number_of_seconds, parse_timestamp
from penstock.wire.services import Service

SOURCE = Path(penstock.__file__).parent
MOMENT = 1_767_225_600_250  # 2026-01-01T00:00:00.250Z
SECOND = 1_767_225_600_000
SERVICES = {name: Service(name) for name in ("codepipeline", "codedeploy", "iam")} | {
    "s3": Service("s3", codecs={"rest-xml": S3Codec})
}


def answer(service: str, protocol: str, operation: str, output: dict) -> tuple[dict[bytes, bytes], bytes]:
    codec = SERVICES[service].codec_of(protocol)
    found = codec.serialize(SERVICES[service].operation(operation), output, "an-id")
    return dict(found.headers), found.body


@pytest.mark.parametrize(
    ("moment", "json", "cbor", "iso", "date"),
    [
        (MOMENT, b"1767225600.25", b"\xc1\xfb\x41\xda\x55\x6e\x40\x10\x00\x00", b"00:00.250Z", b"00:00:00 GMT"),
        (SECOND, b"1767225600", b"\xc1\x1a\x69\x55\xb9\x00", b"00:00Z", b"00:00:00 GMT"),
    ],
)
def test_each_protocol_writes_milliseconds_in_its_own_form(moment, json, cbor, iso, date) -> None:
    _, body = answer("codepipeline", "json", "PutApprovalResult", {"approvedAt": moment})
    assert body == b'{"approvedAt":' + json + b"}"
    _, body = answer("codedeploy", "smithy-rpc-v2-cbor", "GetApplication", {"application": {"createTime": moment}})
    assert body.endswith(b"jcreateTime" + cbor)
    _, body = answer("iam", "query", "GetUser", {"User": {"CreateDate": moment}})
    assert b"<CreateDate>2026-01-01T00:" + iso + b"</CreateDate>" in body
    headers, _ = answer("s3", "rest-xml", "HeadObject", {"LastModified": moment})
    assert headers[b"last-modified"] == b"Thu, 01 Jan 2026 " + date
    _, body = answer("s3", "rest-xml", "CopyObject", {"CopyObjectResult": {"LastModified": SECOND}})
    assert b"<LastModified>2026-01-01T00:00:00.000Z</LastModified>" in body


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-01T00:00:00.250Z", MOMENT),
        ("1767225600.25", MOMENT),
        ("Thu, 01 Jan 2026 00:00:00 GMT", SECOND),
        ("1767225600.001", SECOND + 1),  # whose float is a little less
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_every_form_is_read_as_milliseconds(text: str, ms: int) -> None:
    assert parse_timestamp(text) == ms


def test_a_number_in_json_is_read_as_milliseconds() -> None:
    found = SERVICES["codedeploy"]
    body = b'{"createTimeRange": {"start": 1767225600.001, "end": 1767225600}}'
    parsed = found.codec_of("json").parse(found.operation("ListDeployments"), RequestHead("POST", "/", "", {}), body)
    assert parsed["createTimeRange"] == {"start": SECOND + 1, "end": SECOND}


@pytest.mark.parametrize("value", [1_767_225_600.25, "2026-01-01", True, None])
def test_seconds_are_no_answer_of_an_operation(value) -> None:
    for write in (number_of_seconds, lambda given: format_timestamp(given, "iso8601")):
        with pytest.raises(TypeError, match="an integer of milliseconds"):
            write(value)


def test_errors_and_records_have_whole_seconds() -> None:
    assert iso(1_800_000_000_999) == "2027-01-15T08:00:00Z"


def test_no_operation_converts_times() -> None:
    conversion = re.compile(r"/ ?1_?000\b|/ ?1e3|fromtimestamp|\.timestamp\(|isoformat|strftime")
    places = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in SOURCE.rglob("operations/*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if conversion.search(line)
    ]
    assert places == []
