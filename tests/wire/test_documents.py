"""Documents of each protocol at the last level, field and value that is taken, and what the next one is answered."""

from __future__ import annotations

import pytest

from penstock.wire import cbor, xml_tree
from penstock.wire.codec_json import read_json
from penstock.wire.codec_query import form_fields
from penstock.wire.constraints import constraints_of
from penstock.wire.documents import unexpected
from penstock.wire.errors import (
    MalformedBody,
)
from penstock.wire.message import RequestHead
from penstock.wire.profiles import print_value
from penstock.wire.scalars import checked_integer, milliseconds_of, parse_timestamp
from penstock.wire.services import Service
from penstock.wire.shapes import Model
from penstock.wire.xml_tree import read_xml


def test_how_deep_json_may_nest():
    for start, end in (("[", "]"), ('{"a":', "}")):
        assert read_json(f"{start * 64}1{end * 64}".encode(), check_depth=True)
        with pytest.raises(MalformedBody, match=r"^The request body nests deeper than 64 levels\.$"):
            read_json(f"{start * 65}1{end * 65}".encode(), check_depth=True)
        assert read_json(f"{start * 65}1{end * 65}".encode(), check_depth=False)


@pytest.mark.parametrize("text", [r'"a\u0000"', r'{"a\u0000":1}', r'[{"a":["\u0000"]}]'])
def test_no_string_of_json_has_a_nul(text):
    with pytest.raises(MalformedBody, match=r"U\+0000"):
        read_json(text.encode(), check_depth=False)
    assert read_json(text.replace(r"\u0000", r"\\u0000").encode(), check_depth=False)


def test_how_many_parameters_a_query_call_has():
    head = RequestHead("POST", "/", "Action=X")
    assert len(form_fields(head, b"&".join(b"a%d=1" % number for number in range(10_000)))) == 10_000
    with pytest.raises(MalformedBody, match=r"^The request has more than 10000 parameters\.$"):
        form_fields(head, b"&".join(b"a%d=1" % number for number in range(10_001)))
    assert form_fields(head, b" \n") == {"Action": "X"}
    assert form_fields(head, b"a=b+c%2B&&d&e=f=g") == {"a": "b c+", "d": "", "e": "f=g"}
    with pytest.raises(MalformedBody, match="not valid UTF-8"):
        form_fields(head, b"a=%ff")


IAM = Service("iam")


def test_how_deep_and_how_high_parameters_count():
    def parse(name: str):
        return IAM.codec.parse(IAM.operation("TagUser"), RequestHead("POST", "/", f"{name}=x"), b"")  # type: ignore[arg-type]

    parse(".".join(["a"] * 64))
    with pytest.raises(MalformedBody, match="nests too deep"):
        parse(".".join(["a"] * 65))
    assert parse("Tags.member.999999999.Key") == {"Tags": [{"Key": "x"}]}
    for index in ("9" * 10, "x", "%C2%B2", "-1", ""):
        with pytest.raises(MalformedBody, match="Unexpected complex element"):
            parse(f"Tags.member.{index}.Key")


def test_how_deep_and_how_large_xml_may_be(monkeypatch):
    read_xml(b"<a>" * 64 + b"</a>" * 64)
    with pytest.raises(MalformedBody):
        read_xml(b"<a>" * 65 + b"</a>" * 65)
    assert xml_tree.MAX_ELEMENTS == 250_000
    monkeypatch.setattr(xml_tree, "MAX_ELEMENTS", 10)
    read_xml(b"<a>" + b"<b/>" * 9 + b"</a>")
    with pytest.raises(MalformedBody):
        read_xml(b"<a>" + b"<b/>" * 10 + b"</a>")


def test_how_many_values_cbor_may_have(monkeypatch):
    assert cbor.MAX_ITEMS == 1_000_000
    monkeypatch.setattr(cbor, "MAX_ITEMS", 10)
    assert cbor.read_cbor(b"\x89" + b"\x00" * 9) == [0] * 9
    with pytest.raises(MalformedBody):
        cbor.read_cbor(b"\x8a" + b"\x00" * 10)


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_every_width_of_a_length_in_cbor(size):
    for value in ("x" * size, b"x" * size, [0] * min(size, 256), size, -1 - size):
        assert cbor.read_cbor(cbor.write_cbor(value)) == value
    widths = {0: 1, 23: 1, 24: 2, 255: 2, 256: 3, 65_535: 3, 65_536: 5}
    assert len(cbor.write_cbor(size)) == len(cbor.write_cbor(-1 - size)) == widths[size]
    assert len(cbor.write_cbor(b"x" * size)) == widths[size] + size


@pytest.mark.parametrize(
    ("value", "wanted", "said"),
    [
        (True, "a String", "TRUE_VALUE can not be converted to a String"),
        (False, "a String", "FALSE_VALUE can not be converted to a String"),
        ("x", "an Integer", "STRING_VALUE can not be converted to an Integer"),
        (1, "a String", "NUMBER_VALUE can not be converted to a String"),
        (1.5, "a String", "NUMBER_VALUE can not be converted to a String"),
        (b"x", "a String", "BYTE_STRING_VALUE can not be converted to a String"),
        (None, "a String", "NULL_VALUE can not be converted to a String"),
        ([], "a structure", "Start of list found where not expected"),
        ({}, "a list", "Start of structure or map found where not expected."),
        ("x", "a list", "Unexpected field type"),
        (1, "a map", "Unexpected field type"),
        (True, "a structure", "Unexpected field type"),
    ],
)
def test_what_stands_where_something_else_belongs(value, wanted, said):
    assert unexpected(value, wanted).message == said


@pytest.mark.parametrize(("kind", "limit"), [("integer", 2_147_483_648), ("long", 9_223_372_036_854_775_808)])
def test_integers_have_32_or_64_bits(kind, limit):
    assert [checked_integer(number, kind) for number in (-limit, limit - 1)] == [-limit, limit - 1]
    for number in (-limit - 1, limit):
        with pytest.raises(MalformedBody, match="NUMBER_VALUE can not be converted to a"):
            checked_integer(number, kind)


def test_the_first_and_the_last_moment():
    assert milliseconds_of(-62_135_596_800) == -62_135_596_800_000
    assert milliseconds_of(253_402_300_799.999) == 253_402_300_799_999
    for seconds in (-62_135_596_800.001, 253_402_300_800):
        with pytest.raises(MalformedBody):
            milliseconds_of(seconds)
    assert parse_timestamp("0001-01-01T00:00:00Z") == -62_135_596_800_000
    assert parse_timestamp("9999-12-31T23:59:59.999Z") == 253_402_300_799_999


@pytest.mark.parametrize(
    ("traits", "said"),
    [
        ({"type": "string", "max": 5, "min": 1}, ["Member must have length less than or equal to 5", "Member must have length greater than or equal to 1"]),
        ({"type": "integer", "max": 5.5}, ["Member must have value less than or equal to 5.5"]),
        ({"type": "list", "min": 0}, ["Member must have length greater than or equal to 0"]),
        ({"type": "string", "pattern": "a", "enum": ["b", "c"]}, ["Member must satisfy regular expression pattern: a", "Member must satisfy enum value set: [b, c]"]),
        ({"type": "string"}, ["Member must not be null"]),
    ],
)  # fmt: skip
def test_constraints_in_words(traits, said):
    assert constraints_of(Model({"metadata": {}, "shapes": {"S": traits}}).shape({"shape": "S"})) == said


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("x" * 1024, "x" * 1024),
        ("x" * 1025, "x" * 1024 + "…"),
        ([[[["a"]]]], "[[[[…]]]]"),
        ([[["a"]]], "[[[a]]]"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{a={b={c={…}}}}"),
        ([True, False, None, 1.5, b"ab", (1,)], "[true, false, null, 1.5, 2 bytes, [1]]"),
        ([0] * 2000, ("[" + "0, " * 1000)[:1024] + "…"),
    ],
)
def test_values_in_answers_are_short(value, printed):
    assert print_value(value) == printed
