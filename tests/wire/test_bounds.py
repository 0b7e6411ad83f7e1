"""What comes in, at its exact bounds: the last byte, field, level and second that is taken, and what the next one is answered."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from penstock.wire import arriving, budget, cbor, chunked, patterns, xml_tree
from penstock.wire import http as http_server
from penstock.wire.arns import parse_arn
from penstock.wire.arriving import Arriving
from penstock.wire.budget import BodyBudget, Share
from penstock.wire.call import ANONYMOUS, Call
from penstock.wire.chunked import ChunkedBody, PlainBody, check_digests, open_body
from penstock.wire.codec_json import read_json
from penstock.wire.codec_query import form_fields
from penstock.wire.constraints import constraints_of
from penstock.wire.documents import unexpected
from penstock.wire.errors import (
    BodyTooLarge,
    DigestMismatch,
    IncompleteBody,
    IncompleteSignature,
    MalformedBody,
    MalformedChunk,
    SignatureExpired,
    Throttled,
)
from penstock.wire.http import HttpServer, Timeouts
from penstock.wire.message import RequestHead, Response, client_address
from penstock.wire.pages import BadPageToken, PageTokens
from penstock.wire.profiles import print_value
from penstock.wire.rest_routes import fits
from penstock.wire.scalars import checked_integer, milliseconds_of, parse_timestamp
from penstock.wire.services import Service
from penstock.wire.shapes import Model
from penstock.wire.signature import parse_authorization
from penstock.wire.sigv4 import MAX_SKEW_SECONDS, check_claims
from penstock.wire.turns import Turns
from penstock.wire.xml_tree import read_xml

KB64 = 65_536

# --- bodies that arrive -----------------------------------------------------------------------------------------------


def body_of(*pieces: bytes, ends: bool = True, bodies=None, arrived: bool = False, **headers: str) -> Arriving:
    messages: Iterator[dict] = iter(
        [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]]
        + [
            {"type": "http.request", "body": pieces[-1], "more_body": False}
            if ends
            else {"type": "http.disconnect"}
        ]
    )  # fmt: skip

    async def receive():
        return next(messages)

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Arriving(RequestHead("POST", "/", "", named), receive, bodies or BodyBudget(), arrived=arrived)


class Bodies(BodyBudget):
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []

    def take(self, share: Share, size: int) -> None:
        self.asked.append(("take", size))
        super().take(share, size)

    def arrived(self, share: Share) -> None:
        self.asked.append(("arrived", share.size))
        super().arrived(share)


@pytest.mark.parametrize(
    ("pieces", "length", "arrived", "asked"),
    [
        ([b"x" * 65_536], "65536", True, []),  # here already, and small: it is no share of anything
        ([b"x" * 65_537], "65537", True, [("take", 65_537), ("arrived", 65_537)]),
        ([b"x" * 65_536], "65536", False, [("arrived", 0)]),  # a small one is never refused for what others send
        ([b"x"], "", True, [("arrived", 0)]),
        ([b"x"], "\u00b2", True, [("arrived", 0)]),
        ([b"x" * 65_536, b"y"], "65537", False, [("take", 65_537), ("arrived", 65_537)]),
    ],
)
async def test_large_bodies_only_have_a_share_of_the_memory(pieces, length, arrived, asked):
    bodies = Bodies()
    body = body_of(*pieces, bodies=bodies, arrived=arrived, content_length=length)
    assert await body.read(1 << 20, "k") == b"".join(pieces)
    assert bodies.asked == asked
    body.let_go()
    assert bodies._held == 0


async def test_a_body_is_read_to_its_limit():
    assert await body_of(b"abc", b"", b"de").read(5, "") == b"abcde"
    with pytest.raises(BodyTooLarge):
        await body_of(b"abc", b"def").read(5, "")
    with pytest.raises(MalformedBody, match=r"^The connection ended before the body did\.$"):
        await body_of(b"abc", b"", ends=False).read(5, "")


@pytest.mark.parametrize(("announced", "refused"), [("5", False), ("6", True), ("", False), ("x9", False), ("-6", False), ("9\u00b2", False)])  # fmt: skip
def test_what_is_announced_is_refused_before_it_comes(announced, refused):
    body = body_of(b"", content_length=announced)
    if refused:
        with pytest.raises(BodyTooLarge):
            body.refuse_more_than(5)
    else:
        body.refuse_more_than(5)


async def test_a_body_that_trickles_is_waited_for_two_minutes(monkeypatch):
    waits, timeout = [], asyncio.timeout

    def at_once(seconds):
        waits.append(seconds)
        return timeout(0)

    async def never():
        await asyncio.Event().wait()

    monkeypatch.setattr(arriving.asyncio, "timeout", at_once)
    body = Arriving(RequestHead("POST", "/"), never, BodyBudget(), arrived=False)
    with pytest.raises(MalformedBody, match=r"did not arrive in time: within 120 s, or sooner"):
        await body.read(5, "")
    assert waits == [120]


@pytest.mark.parametrize(
    ("headers", "read", "kept"),
    [
        ({"content_length": "1048576"}, True, True),
        ({"content_length": "1048577"}, False, False),
        ({"content_length": "5", "expect": "100-continue"}, False, False),
        ({"content_length": "x"}, False, False),
        ({"content_length": "0"}, False, True),
        ({}, False, True),
        ({"transfer_encoding": "chunked"}, False, False),
    ],
)
async def test_what_an_early_answer_leaves_is_read_or_the_connection_closed(headers, read, kept):
    taken = []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": b"x", "more_body": len(taken) < 3}

    head = RequestHead("POST", "/", "", {name.replace("_", "-"): value for name, value in headers.items()})
    answer = await Arriving(head, receive, BodyBudget(), arrived=False).leave_clean(Response(400, [(b"a", b"b")], b""))
    assert answer.headers == [(b"a", b"b")] + ([] if kept else [(b"connection", b"close")])
    assert len(taken) == (3 if read else 0)


async def test_nobody_waits_for_the_rest_of_who_has_left():
    body = body_of(b"x", b"", ends=False, content_length="9")
    assert (await body.leave_clean(Response(400, [], b""))).headers == []


async def test_how_much_of_bodies_is_in_memory():
    """64 MiB at a time, 24 of them for one key."""
    shares = BodyBudget()
    a, b, c = (Share(key, asyncio.timeout(None)) for key in "abc")
    shares.take(a, 24 << 20)
    with pytest.raises(
        Throttled, match=r"^Too many large requests are being read\. Please reduce your request rate\.$"
    ):
        shares.take(a, (24 << 20) + 1)
    shares.take(b, 24 << 20)
    shares.take(c, 16 << 20)
    with pytest.raises(Throttled):
        shares.take(c, (16 << 20) + 1)
    for share in (a, b, c, c):
        shares.give_back(share)
    assert (shares._held, shares._by_key, shares._shares) == (0, {}, {})


@pytest.mark.parametrize(("age", "gives_way"), [(2.0, False), (2.001, True)])
@pytest.mark.parametrize("same_key", [True, False])
async def test_two_seconds_are_not_taken_from_who_has_them(monkeypatch, age, gives_way, same_key):
    now = 1000.0
    monkeypatch.setattr(budget, "asyncio", SimpleNamespace(get_running_loop=lambda: SimpleNamespace(time=lambda: now)))
    ended: list[float] = []
    reading = SimpleNamespace(reschedule=ended.append)
    # Of another key it gives way when there is no room at all; of the same key already when that key has no more.
    shares = BodyBudget(total=15 if not same_key else 100, each=15)
    old, other = Share("a", reading), Share("b", reading)  # type: ignore[arg-type]
    shares.take(other, 5 if same_key else 0)
    shares.take(old, 10)
    now += age
    new = Share("a" if same_key else "c", reading)  # type: ignore[arg-type]
    if gives_way:
        shares.take(new, 6)
        assert ended == ([now] if same_key else [now, now])
        assert old.reading is None
    else:
        with pytest.raises(Throttled):
            shares.take(new, 6)
        assert ended == []


# --- chunks -----------------------------------------------------------------------------------------------------------


async def chunks(raw: bytes, *, promised: frozenset[str] = frozenset(), signer=None, piece: int = 1 << 16) -> bytes:
    async def source():
        for at in range(0, len(raw), piece):
            yield raw[at : at + piece]

    body = ChunkedBody(source(), length=None, announced={}, signer=signer, promised=promised)
    read = await body.read()
    assert body.complete
    return read


def trailers(*lengths: int) -> tuple[bytes, frozenset[str]]:
    """Trailers whose lines have these lengths, and their names."""
    names = [f"t{number}" for number in range(len(lengths))]
    lines = [f"{name}:".ljust(length, "v") + "\r\n" for name, length in zip(names, lengths, strict=True)]
    return f"0\r\n{''.join(lines)}\r\n".encode(), frozenset(names)


@pytest.mark.parametrize("piece", [1 << 16, 7])
async def test_how_long_trailers_may_be(piece):
    # A line's end counts while it is looked for: 1,023 bytes and a carriage return.
    raw, names = trailers(*[1023] * 16)
    assert await chunks(raw, promised=names, piece=piece) == b""
    raw, names = trailers(1024)
    with pytest.raises(MalformedChunk):
        await chunks(raw, promised=names, piece=piece)
    raw, names = trailers(*[1000] * 16, 384)
    assert await chunks(raw, promised=names, piece=piece) == b""
    raw, names = trailers(*[1000] * 16, 385)
    with pytest.raises(MalformedChunk) as refused:
        await chunks(raw, promised=names, piece=piece)
    assert refused.value.values == {"code": "MalformedTrailerError"}


@pytest.mark.parametrize(("more", "taken"), [(b"", True), (b"\r\n" * 512, True), (b"\r\n" * 513, False), (b"x", False)])  # fmt: skip
async def test_nothing_but_a_few_empty_lines_follows_the_trailers(more, taken):
    if taken:
        assert await chunks(b"1\r\na\r\n0\r\n\r\n" + more) == b"a"
    else:
        with pytest.raises(MalformedChunk):
            await chunks(b"1\r\na\r\n0\r\n\r\n" + more)


async def test_a_signed_chunk_has_64_mib_at_most():
    signer = SimpleNamespace(check=lambda *_: None)
    line = f"%x;chunk-signature={'0' * 64}\r\n"
    with pytest.raises(IncompleteBody):
        await chunks((line % (64 << 20)).encode(), signer=signer)
    with pytest.raises(MalformedChunk, match="larger than 67108864 bytes"):
        await chunks((line % ((64 << 20) + 1)).encode(), signer=signer)


@pytest.mark.parametrize(
    "raw", [b"1\r\nab\r\n0\r\n\r\n", b"1;x\r\na\r\n0\r\n\r\n", b"00000000000000001\r\na\r\n0\r\n\r\n", b"g\r\n", b"-1\r\n", b"\r\n"]
)  # fmt: skip
async def test_chunks_that_are_none(raw):
    with pytest.raises(MalformedChunk):
        await chunks(raw)


async def test_trailers_are_told_once_and_with_a_colon():
    for raw in (b"0\r\na:1\r\nA:2\r\n\r\n", b"0\r\na\r\n\r\n"):
        with pytest.raises(MalformedChunk, match=r"^The trailers of the request are not valid\.$") as refused:
            await chunks(raw, promised=frozenset({"a"}))
        assert refused.value.values["code"] == "MalformedTrailerError"
    assert await chunks(b"0\r\na: 1 ", promised=frozenset({"a"})) == b""  # without the last empty line


@pytest.mark.parametrize(
    ("text", "length"),
    [("", None), ("0", 0), (" 12 ", 12), ("9" * 15, 999_999_999_999_999), ("9" * 16, "refused"), ("\u00b2", "refused"), ("-1", "refused"), ("1.", "refused")],
)  # fmt: skip
def test_lengths_in_headers(text, length):
    head = RequestHead("PUT", "/", "", {"content-length": text})
    if length == "refused":
        with pytest.raises(MalformedChunk, match=r"^The header content-length is not a length\.$"):
            open_body(head, None, "", None)  # type: ignore[arg-type]
    else:
        assert open_body(head, None, "", None).length == length  # type: ignore[arg-type]


def test_a_coding_makes_a_body_one_of_chunks():
    for coding, kind in (("aws-chunked", ChunkedBody), ("gzip, AWS-chunked ", ChunkedBody), ("gzip", PlainBody), ("", PlainBody)):  # fmt: skip
        head = RequestHead("PUT", "/", "", {"content-encoding": coding, "x-amz-decoded-content-length": "7", "content-length": "9"})  # fmt: skip
        body = open_body(head, None, "", None)  # type: ignore[arg-type]
        assert type(body) is kind
        assert body.length == (7 if kind is ChunkedBody else 9)


async def test_what_is_hashed_beside_the_loop(monkeypatch):
    beside = []

    async def run(update, piece):
        beside.append(len(piece))
        update(piece)

    monkeypatch.setattr(chunked.BODIES, "run", run)
    digest = hashlib.sha256()
    for size in (KB64, KB64 + 1):
        await chunked._update(digest, bytes(size))
    assert beside == [KB64 + 1]
    assert digest.digest() == hashlib.sha256(bytes(2 * KB64 + 1)).digest()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("content-md5", base64.b64encode(hashlib.md5(b"x").digest()).decode(), "good"),  # noqa: S324 - what the header is
        ("content-md5", base64.b64encode(bytes(16)).decode(), None),
        ("content-md5", base64.b64encode(bytes(15)).decode(), "InvalidDigest"),
        ("content-md5", "!", "InvalidDigest"),
        ("content-md5", " ", "good"),
        ("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(b"x").digest()).decode(), "good"),
        ("x-amz-checksum-sha1", base64.b64encode(hashlib.sha256(b"x").digest()).decode(), None),
        ("x-amz-checksum-crc32", "jPkSlw==", None),
        ("x-amz-checksum-crc32", "jNwW4g==", None),
        ("x-amz-checksum-algorithm", "CRC32", "good"),
        ("x-amz-checksum-crc64nvme", "x", "good"),
    ],
)
def test_digests_of_headers(name, value, code):
    if code == "good":
        check_digests(RequestHead("PUT", "/", "", {name: value}), b"x")
        return
    with pytest.raises(DigestMismatch) as refused:
        check_digests(RequestHead("PUT", "/", "", {name: value}), b"x")
    assert refused.value.values.get("code") == code


# --- documents --------------------------------------------------------------------------------------------------------


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


# --- heads ------------------------------------------------------------------------------------------------------------

AUTHORIZATION = "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={headers}, Signature=00"


def signed(*, credential="K/20260101/us-east-1/iam/aws4_request", headers="host", date="20260101T000000Z"):
    named = {"authorization": AUTHORIZATION.format(credential=credential, headers=headers), "x-amz-date": date}
    return RequestHead("GET", "/", "", named)


def test_how_many_headers_may_be_signed():
    names = ";".join(["host", *(f"x{number}" for number in range(255))])
    found = parse_authorization(signed(headers=names))
    assert found is not None
    assert len(found.signed_headers) == 256
    for wrong in (f"{names};more", "host;a;A"):
        with pytest.raises(IncompleteSignature, match=r"^SignedHeaders names a header more than once\.$"):
            parse_authorization(signed(headers=wrong))


@pytest.mark.parametrize(
    ("credential", "said"),
    [
        ("K/20260101/r/s", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'K/20260101/r/s'"),
        ("K/20260101//s/aws4_request", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'K/20260101//s/aws4_request'"),
        ("x" * 300, f"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{'x' * 256}'"),
        ("K/20260101/r/s/" + "t" * 70, f"Credential should be scoped with a valid terminator: 'aws4_request', not '{'t' * 64}'."),
        ("K/2026010/r/s/aws4_request", "Date in Credential scope is not YYYYMMDD: '2026010'."),
        ("K/2026010x/r/s/aws4_request", "Date in Credential scope is not YYYYMMDD: '2026010x'."),
        ("K/2026010\u00b2/r/s/aws4_request", "Date in Credential scope is not YYYYMMDD: '2026010\u00b2'."),
        ("K/" + "1" * 70 + "/r/s/aws4_request", f"Date in Credential scope is not YYYYMMDD: '{'1' * 64}'."),
    ],
)  # fmt: skip
def test_scopes_that_are_none(credential, said):
    with pytest.raises(IncompleteSignature) as refused:
        parse_authorization(signed(credential=credential))
    assert refused.value.message == said


@pytest.mark.parametrize(
    ("date", "stamp"),
    [
        ("20260101T000000Z", "20260101T000000Z"),
        ("Thu, 01 Jan 2026 01:00:00 +0100", "20260101T000000Z"),
        ("Thu, 01 Jan 2026 00:00:00", None),
        ("20260101T000000", None),
        ("x" * 100, None),
    ],
)
def test_dates_of_requests(date, stamp):
    if stamp:
        found = parse_authorization(signed(date=date))
        assert found is not None
        assert found.timestamp == stamp
        return
    with pytest.raises(IncompleteSignature) as refused:
        parse_authorization(signed(date=date))
    assert refused.value.message == (
        f"Date must be in ISO-8601 'basic format'. Got '{date[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )


def presigned(**changes: str) -> RequestHead:
    values = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": "K%2F20260101%2Fr%2Fs3%2Faws4_request", "X-Amz-Date": "20260101T000000Z",
        "X-Amz-Expires": "604800", "X-Amz-SignedHeaders": "host", "X-Amz-Signature": "0",
    } | changes  # fmt: skip
    return RequestHead("GET", "/", "&".join(f"{name}={value}" for name, value in values.items() if value), {})


def test_how_long_a_url_may_live():
    found = parse_authorization(presigned())
    assert found is not None
    assert (found.expires_seconds, found.presigned, found.access_key_id) == (604_800, True, "K")
    for expires, said in (
        ("604801", "must be less than a week"), ("1" * 9, "must be less than a week"), ("1" * 10, "should be a number"),
        ("-1", "should be a number"), ("%C2%B2", "should be a number"),
    ):  # fmt: skip
        with pytest.raises(IncompleteSignature, match=said) as refused:
            parse_authorization(presigned(**{"X-Amz-Expires": expires}))
        assert refused.value.values["code"] == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(("late", "said"), [(-300.0, ""), (300.0, ""), (-300.001, "not yet current"), (300.001, "is now earlier")])  # fmt: skip
def test_clocks_differ_by_five_minutes_at_most(late, said):
    found = parse_authorization(signed())
    assert found is not None
    now = round((1_767_225_600 + late) * 1000)
    if not said:
        check_claims(found, RequestHead("GET", "/"), now)
        return
    with pytest.raises(SignatureExpired, match=said) as refused:
        check_claims(found, RequestHead("GET", "/"), now)
    assert refused.value.values["MaxAllowedSkewMilliseconds"] == 300_000
    assert MAX_SKEW_SECONDS == 300


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (None, ""),
        (("10.0.0.1", 5), "10.0.0.1"),
        (("::ffff:10.0.0.1", 5), "10.0.0.1"),
        (("fe80::1%eth0", 5), "fe80::1"),
        (("2001:db8::1", 5), "2001:db8::1"),
    ],
)
def test_where_a_client_is(client, address):
    assert client_address({"client": client}) == address


def test_a_head_as_the_server_hands_it_over():
    scope = {
        "method": "GET", "path": "/a b", "raw_path": b"/a%20b?x", "query_string": b"x=%C3", "scheme": "https",
        "headers": [(b"A", b"1"), (b"b", b"\xe9"), (b"a", b"2")],
    }  # fmt: skip
    head = RequestHead.from_scope(scope)
    assert head == RequestHead("GET", "/a%20b", "x=%C3", {"a": "1,2", "b": "é"}, secure=True)
    assert head.host == ""
    assert RequestHead.from_scope({"method": "GET", "path": "/a", "headers": []}) == RequestHead("GET", "/a")


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("a/{b}", "a/x", True), ("a/{b}", "a/x/", True), ("a/{b}", "a/", False), ("a/{b}", "a", False), ("a/{b}", "a/x/y", False),
        ("a/{b}", "c/x", False), ("a", "a/", True), ("a", "a//", False), ("{b}/{k+}", "x/y/z", True), ("{b}/{k+}", "x/", False),
        ("{b}/{k+}", "x//", True), ("{b}/{k+}", "x", False), ("{k+}/end", "a/b/end", True), ("{k+}/end", "end", False),
        ("{k+}/end", "a/b", False), ("a/{k+}/b/{c}", "a/1/2/b/3", True), ("a/{k+}/b/{c}", "a/b/3", False),
    ],
)  # fmt: skip
def test_paths_that_fit(template, path, found):
    assert fits(tuple(template.split("/")), path.split("/")) is found


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("arn:aws:kms:r:1:key/x", ("aws", "kms", "r", "1", "key/x")),
        ("arn:aws:kms:r:1:a:b", ("aws", "kms", "r", "1", "a:b")),
        ("arn:aws:kms:r:1:", None),
        ("arn:aws:kms:r:1", None),
        ("ARN:aws:kms:r:1:x", None),
        ("arn:aws:s3:r:1:x", None),
    ],
)
def test_what_is_an_arn(text, parsed):
    assert parse_arn(text, "kms") == parsed


CALL = Call(
    app=None, session=ANONYMOUS, account="1", region="r", service="s", operation="o", request_id="", now=0, via="http"
)


def test_tokens_that_were_cut_or_are_of_another_version():
    tokens = PageTokens(lambda: (b"k" * 32,))
    token = tokens.seal(CALL, {}, ["x" * 3039])
    assert len(token) == 4096
    assert tokens.open(CALL, {}, token) == ["x" * 3039]
    raw = base64.urlsafe_b64decode(token)
    wrong = [tokens.seal(CALL, {}, ["x" * 3040])]
    wrong += [base64.urlsafe_b64encode(cut).decode().rstrip("=") for cut in (b"\x02" + raw[1:], b"\x01", b"\x01abc", raw[:13], raw[:29], b"")]  # fmt: skip
    for each in wrong:
        with pytest.raises(BadPageToken):
            tokens.open(CALL, {}, each)


@pytest.mark.parametrize(("escape", "read"), [("D7FF", "\\x{D7FF}"), ("D800", ""), ("DFFF", ""), ("E000", "\\x{E000}")])  # fmt: skip
def test_halves_of_letters_are_left_out_of_patterns(escape, read):
    assert patterns._JAVA_ESCAPE.sub(patterns._translated, f"\\u{escape}") == read


def test_how_long_a_value_is_tried_and_remembered():
    slow = patterns.full_match("(?!b)a*")
    assert slow("a" * 4096)
    assert not slow("a" * 4097)
    tried: list[int] = []
    recall = patterns._remembering(lambda value: tried.append(len(value)) or True)
    for size in (256, 256, 257, 257):
        assert recall("x" * size)
    assert tried == [256, 257, 257]


# --- the server -------------------------------------------------------------------------------------------------------


async def test_sixteen_hosts_begin_in_one_turn():
    turns, began = Turns(), []

    async def host(number):
        await turns.take()
        began.append(number)

    hosts = [asyncio.ensure_future(host(number)) for number in range(17)]
    taken = [turns._left]
    while len(began) < 16:
        await asyncio.sleep(0)
        taken.append(len(began))
    assert taken[0] == 16
    assert 17 not in taken
    await asyncio.gather(*hosts)


def test_how_long_a_client_may_dawdle():
    waits = Timeouts()
    assert (waits.handshake, waits.silence, waits.head, waits.body, waits.answer) == (30, 75, 30, 120, 120)
    config = HttpServer(None, None, None, connections=7)._server.config  # type: ignore[arg-type]
    assert (config.timeout_keep_alive, config.timeout_graceful_shutdown, config.backlog) == (75, 10, 16_384)
    assert config.limit_concurrency == 7
    assert (config.server_header, config.date_header, config.proxy_headers, config.access_log) == (
        False, True, False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "connections", "asked"),
    [
        (1024, 4096, True, 3840, [(4096, 4096)]),
        (1024, 100_000, True, 65_280, [(65_536, 100_000)]),
        (1024, -1, True, 65_280, [(65_536, -1)]),
        (1024, 4096, False, 768, [(4096, 4096)]),
        (65_536, 100_000, True, 65_280, []),
        (100_000, 100_000, True, 99_744, []),
        (-1, -1, True, 65_280, []),
        (512, 512, True, 256, []),
        (511, 511, True, 255, []),
        (400, 400, True, 200, []),
    ],
)
def test_how_many_may_be_connected(monkeypatch, soft, hard, allowed, connections, asked):
    """What the limit of open files leaves; half of it, where that is small."""
    set_to = []

    def setrlimit(_which, limits):
        set_to.append(limits)
        if not allowed:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(
        http_server,
        "resource",
        SimpleNamespace(RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda _which: (soft, hard), setrlimit=setrlimit),
    )
    assert http_server._connections() == connections
    assert set_to == asked


def test_a_head_waits_for_its_body_unless_it_is_large():
    wrote: list[bytes] = []
    later: list = []
    transport = SimpleNamespace(
        write=wrote.append, close=lambda: wrote.append(b"closed"), abort=lambda: wrote.append(b"aborted"),
        get_write_buffer_size=lambda: 100, is_closing=lambda: False,
    )  # fmt: skip
    joined = http_server._Joined(transport, SimpleNamespace(call_soon=later.append))  # type: ignore[arg-type]
    joined.write(b"x" * 16_385)
    assert [len(piece) for piece in wrote] == [16_385]
    joined.write(b"")
    joined.write(b"h" * 16_384)
    assert len(wrote) == len(later) == 1
    assert joined.get_write_buffer_size() == 16_484
    joined.write(b"b")
    assert len(wrote[1]) == 16_385
    later.pop()()
    assert len(wrote) == 2
    joined.write(b"last")
    joined.close()
    assert wrote[2:] == [b"last", b"closed"]
    joined.write(b"lost")
    joined.abort()
    joined._flush()
    assert wrote[4:] == [b"aborted"]
    assert joined.is_closing() is False


@pytest.mark.parametrize(
    ("timeouts", "pause"), [(Timeouts(), 5.0), (Timeouts(head=8), 2.0), (Timeouts(body=4), 1.0), (Timeouts(answer=2, silence=2), 0.5)]
)  # fmt: skip
async def test_how_often_connections_are_looked_at(monkeypatch, timeouts, pause):
    pauses, started = [], []

    async def stop(_loop):
        pass

    loops = SimpleNamespace(start=lambda name, _run, wait: started.append((name, wait)), stop=stop)
    server = HttpServer(None, None, None, timeouts=timeouts, connections=1, loops=loops)  # type: ignore[arg-type]

    async def serve(sockets):
        server._server.started = True

    server._server.serve = serve  # type: ignore[method-assign]
    async with server.serving():
        [(name, wait)] = started
        with monkeypatch.context() as patched:
            patched.setattr(http_server.asyncio, "sleep", pauses.append)
            wait()
    assert (name, pauses, server._server.should_exit) == ("http.sweep", [pause], True)
