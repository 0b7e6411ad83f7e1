"""CBOR from outside: every form that RFC 8949 has is read as it should be or refused, in bounded time and memory."""

from __future__ import annotations

import math
import re
import struct
import time
import tracemalloc

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.wire import cbor
from penstock.wire.cbor import MAX_DEPTH, Timestamp, read_cbor, write_cbor
from penstock.wire.errors import MalformedBody, Refused
from penstock.wire.message import RequestHead
from penstock.wire.services import Service

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=70)
    | TEXT
    | st.floats(-1e12, 1e12).map(Timestamp),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(TEXT, inner, max_size=30),
    max_leaves=60,
)


@settings(max_examples=examples(100))
@given(VALUES)
def test_what_is_written_reads_back(value):
    read = read_cbor(write_cbor(value))
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("raw", "value"),
    [  # RFC 8949, appendix A
        ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1a000f4240", 1000000), ("1bffffffffffffffff", (1 << 64) - 1),
        ("20", -1), ("3903e7", -1000), ("3bffffffffffffffff", -(1 << 64)), ("f90000", 0.0), ("f93c00", 1.0), ("f97bff", 65504.0),
        ("f90001", 5.960464477539063e-8), ("fa47c35000", 100000.0), ("fb3ff199999999999a", 1.1), ("f97c00", math.inf),
        ("fa7f800000", math.inf), ("fbfff0000000000000", -math.inf), ("f4", False), ("f5", True), ("f6", None), ("f7", None),
        ("c11a514b67b0", 1363896240.0), ("c1fb41d452d9ec200000", 1363896240.5), ("40", b""), ("4401020304", b"\1\2\3\4"), ("60", ""),
        ("62225c", '"\\'), ("62c3bc", "ü"), ("64f0908591", "\U00010151"), ("80", []), ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}), ("5f42010243030405ff", b"\1\2\3\4\5"), ("7f657374726561646d696e67ff", "streaming"),
        ("9fff", []), ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]), ("83018202039f0405ff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}), ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}), ("1a00000001", 1),
        ("d8011a514b67b0", 1363896240.0),
    ],
)  # fmt: skip
def test_the_forms_of_the_standard(raw, value):
    read = read_cbor(bytes.fromhex(raw))
    assert read == value
    assert isinstance(read, type(value))


def test_not_a_number_is_a_float():
    for raw in ("f97e00", "fa7fc00000", "fb7ff8000000000000"):
        assert math.isnan(read_cbor(bytes.fromhex(raw)))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "ends too early"), ("18", "ends too early"), ("1900", "ends too early"), ("62c3", "ends too early"),
        ("f97c", "ends too early"), ("82 01", "ends too early"), ("a1", "ends too early"), ("a1 6161", "ends too early"),
        ("9f01", "ends too early"), ("bf", "ends too early"), ("bf6161", "ends too early"), ("7f6161", "ends too early"),
        ("c1", "ends too early"), ("5b ffffffffffffffff 00", "ends too early"), ("7b 7fffffffffffffff 61", "ends too early"),
        ("9b ffffffffffffffff 00", "ends too early"), ("bb ffffffffffffffff 6161 00", "ends too early"), ("ba 00000002 6161 00", "ends too early"),
        ("00 00", "Bytes follow"), ("a0 f6", "Bytes follow"), ("80 ff", "Bytes follow"),
        ("1c", "not valid"), ("1f", "not valid"), ("3f", "not valid"), ("5c", "not valid"), ("7d", "not valid"), ("9e", "not valid"),
        ("df", "not valid"), ("ff", "not valid"), ("f0", "not valid"), ("f8 20", "not valid"), ("fc", "not valid"), ("81ff", "not valid"),
        ("bf 6161 ff", "not valid"), ("7f 4161 ff", "not valid"), ("5f 6161 ff", "not valid"), ("5f 5f 4161 ff ff", "not valid"), ("7f 00 ff", "not valid"),
        ("61ff", "not UTF-8"), ("62c328", "not UTF-8"), ("63eda080", "not UTF-8"), ("7f 61c3 61bc ff", "not UTF-8"), ("a1 61ff 00", "not UTF-8"),
        ("6100", "U+0000"), ("7f 6161 6100 ff", "U+0000"), ("a1 6100 00", "U+0000"),
        ("a1 00 00", "not a text"), ("a1 4161 00", "not a text"), ("a1 f6 00", "not a text"), ("bf 80 00 ff", "not a text"),
        ("a2 6161 00 6161 00", "twice"), ("bf 6161 00 7f6161ff 00 ff", "twice"),
        ("c0 74323031332d30332d32315432303a30343a30305a", "tags"), ("c2 4101", "tags"), ("c3 4101", "tags"), ("c4 82 20 01", "tags"),
        ("d9d9f7 a0", "tags"), ("d818 41a0", "tags"), ("db ffffffffffffffff 00", "tags"),
        ("c1 6161", "timestamp is not"), ("c1 80", "timestamp is not"), ("c1 f5", "timestamp is not"), ("c1 f6", "timestamp is not"), ("c1 c1 00", "timestamp is not"),
    ],
)  # fmt: skip
def test_what_it_is_not_is_refused(raw, reason):
    with pytest.raises(MalformedBody, match=re.escape(reason)):
        read_cbor(bytes.fromhex(raw))


@pytest.mark.parametrize("below", [b"\x81", b"\x9f", b"\xa1\x61a", b"\xbf\x61a", b"\xc1"])
def test_depth_is_bounded_in_every_form(below):
    with pytest.raises(MalformedBody, match=f"deeper than {MAX_DEPTH}"):
        read_cbor(below * 1_000_000)


def test_the_deepest_document_is_read():
    read_cbor(b"\x81" * (MAX_DEPTH - 1) + b"\x00")
    with pytest.raises(MalformedBody, match="deeper"):
        read_cbor(b"\x81" * MAX_DEPTH + b"\x00")


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [(b"\x9f", b"\x00", b"\xff"), (b"\x7f", b"\x60", b"\xff"), (b"\x5f", b"\x40", b"\xff"), (b"\x9f", b"\xa1\x60\x00", b"\xff")],
)  # fmt: skip
def test_the_number_of_values_is_bounded(monkeypatch, start, piece, end):
    monkeypatch.setattr(cbor, "MAX_ITEMS", 1000)
    read_cbor(start + piece * 300 + end)
    with pytest.raises(MalformedBody, match="more than 1000 values"):
        read_cbor(start + piece * 1001 + end)


@pytest.mark.parametrize(
    "body", [struct.pack(">BQ", kind << 5 | 27, size) + b"\x00" * 100 for kind in (2, 3, 4, 5) for size in (1 << 40, (1 << 64) - 1)]
)  # fmt: skip
def test_a_stated_length_sets_nothing_aside(body):
    tracemalloc.start()
    try:
        with pytest.raises(MalformedBody, match="ends too early"):
            read_cbor(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_ten_megabytes_take_no_longer_than_their_length_allows():
    took = []
    for size in (1 << 20, 10 << 20):
        body = b"\x9f" + (b"\x59\x03\xfd" + b"x" * 1021) * (size >> 10) + b"\xff"
        began = time.thread_time()
        read_cbor(body)
        took.append(time.thread_time() - began)
    assert took[1] < 30 * max(took[0], 0.002)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body):
    try:
        read_cbor(body)
    except MalformedBody:
        pass


def test_json_of_a_handler_is_written_as_what_it_says():
    events = [{"message": "é", "timestamp": 1}]
    assert read_cbor(write_cbor({"events": orjson.Fragment(orjson.dumps(events))})) == {"events": events}


def test_others_have_no_form():
    with pytest.raises(TypeError):
        write_cbor({"a": object()})


SERVICE = Service("codedeploy")
HEAD = RequestHead("POST", "/", "", {"content-type": "application/cbor; charset=x", "smithy-protocol": "rpc-v2-cbor"})


def parse(operation, document):
    return SERVICE.codec_of("smithy-rpc-v2-cbor").parse(SERVICE.operation(operation), HEAD, write_cbor(document))


def _config(value):
    return {"minimumHealthyHosts": {"type": "HOST_COUNT", "value": value}}


@pytest.mark.parametrize(
    ("value", "read"), [(1, 1), (1.0, 1), (-(1 << 31), -(1 << 31)), (float((1 << 31) - 1), (1 << 31) - 1), (None, None)]
)
def test_an_integer_may_be_written_as_a_float_that_is_one(value, read):
    parsed = parse("CreateDeploymentConfig", _config(value))["minimumHealthyHosts"]
    assert parsed.get("value") == read
    assert type(parsed.get("value")) is type(read)


@pytest.mark.parametrize(
    "value", [1.5, math.nan, math.inf, 1 << 31, 1e300, -(1 << 64), "1", b"1", True, [], {}, Timestamp(1)]
)
def test_nothing_else_is_an_integer(value):
    with pytest.raises(Refused, match="can not be converted to an Integer|found where not expected"):
        parse("CreateDeploymentConfig", _config(value))


@pytest.mark.parametrize(
    "value", [1, 1.5, "2026-01-01", b"", True, [], Timestamp(math.nan), Timestamp(math.inf), Timestamp(1e15)]
)
def test_a_timestamp_is_what_bears_its_tag(value):
    with pytest.raises(Refused, match="can not be converted to a Timestamp|found where not expected"):
        parse("ListDeployments", {"createTimeRange": {"start": value}})
    assert parse("ListDeployments", {"createTimeRange": {"start": Timestamp(1.25)}}) == {
        "createTimeRange": {"start": 1250}
    }


@pytest.mark.parametrize("value", [1, 1.5, b"x", True, [], {}, Timestamp(1)])
def test_a_text_is_a_text_string(value):
    with pytest.raises(Refused, match="can not be converted to a String|not expected"):
        parse("GetApplication", {"applicationName": value})
