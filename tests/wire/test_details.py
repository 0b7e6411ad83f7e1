"""What hardly any request asks for, and nobody would miss until it does: single lines, odd documents, last words."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from penstock_certificates import authority, signed_headers

from penstock.wire import certified, patterns
from penstock.wire.call import ANONYMOUS
from penstock.wire.cbor import read_cbor, write_cbor
from penstock.wire.chunked import ChunkedBody
from penstock.wire.constraints import wrong_type
from penstock.wire.errors import IncompleteSignature, MalformedBody, SignatureMismatch
from penstock.wire.message import RequestHead
from penstock.wire.profiles import ErrorProfile
from penstock.wire.requestlog import RequestLog
from penstock.wire.rest_routes import RestRoutes
from penstock.wire.scalars import parse_timestamp
from penstock.wire.services import CODECS, Service
from penstock.wire.shapes import Model
from penstock.wire.signature import USUAL, parse_authorization
from penstock.wire.sigv4 import seconds_of_stamp
from penstock.wire.validation import validate


def said(error: type[Exception], words: str, call: Any, *arguments: Any) -> None:
    with pytest.raises(error) as raised:
        call(*arguments)
    assert getattr(raised.value, "message", str(raised.value)) == words


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "9" * 400])
def test_what_is_no_moment(text):
    said(MalformedBody, "STRING_VALUE can not be converted to a Timestamp", parse_timestamp, text)


def test_a_stamp_that_no_calendar_has():
    assert seconds_of_stamp("19700101T000001Z") == 1.0
    for stamp in ("20261301T000000Z", "20260230T000000Z", "2026"):
        said(IncompleteSignature, f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.", seconds_of_stamp, stamp)


def test_what_has_no_form_in_cbor():
    said(TypeError, "object has no form in CBOR", write_cbor, object())


def test_a_number_of_cbor_is_as_long_as_it_must_be():
    for number, size in ((23, 1), (24, 2), (255, 2), (256, 3), (65_535, 3), (65_536, 5), ((1 << 32) - 1, 5), (1 << 32, 9), ((1 << 64) - 1, 9)):  # fmt: skip
        assert (len(write_cbor(number)), len(write_cbor(-1 - number))) == (size, size)
        assert (read_cbor(write_cbor(number)), read_cbor(write_cbor(-1 - number))) == (number, -1 - number)


def test_a_value_of_another_type_is_never_printed():
    found = wrong_type(("a",), "m", "Member must be a list", "secret")
    assert (found.kind, found.value, found.sensitive) == ("type", "secret", True)


@pytest.mark.parametrize("kind", ["application/json", "application/cbor-x", ""])
def test_a_request_in_cbor_says_so(kind):
    operation = model(Flat="Flat").operation("Flat")
    head = RequestHead("POST", "/service/X/operation/Flat", "", {"content-type": kind})
    codec = CODECS["smithy-rpc-v2-cbor"](model(Flat="Flat"))
    said(MalformedBody, "The Content-Type of a request at /service/… must be application/cbor.", codec.read, operation, head, b"\xa0")  # fmt: skip
    good = RequestHead("POST", "/service/X/operation/Flat", "", {"content-type": "application/cbor"})
    assert codec.read(operation, good, b"\xa0") == {}


# --- chunks -----------------------------------------------------------------------------------------------------------


async def lines(*pieces: bytes) -> list[bytes]:
    async def source():
        for piece in pieces:
            yield piece

    body = ChunkedBody(source(), length=None, announced={}, signer=None, promised=frozenset())
    return [await body._line(at_end=True) for _ in range(3)]


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        ((b"\n\na\n",), [b"", b"", b"a"]),
        ((b"\r\n\r", b"\n", b"a"), [b"", b"", b"a"]),
        ((b"a\r\nb", b"", b"c\nd\r"), [b"a", b"bc", b"d"]),
        ((), [b"", b"", b""]),
    ],
)
async def test_lines_end_with_or_without_a_return(pieces, found):
    assert await lines(*pieces) == found


# --- models -----------------------------------------------------------------------------------------------------------

SHAPES = {
    "Text": {"type": "string"},
    "Flag": {"type": "boolean"},
    "Leaf": {"type": "structure", "members": {"text": {"shape": "Text"}}},
    "Texts": {"type": "list", "member": {"shape": "Text"}},
    "Leaves": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Leaf"}},
    "Tree": {"type": "structure", "members": {"leaf": {"shape": "Leaf"}, "below": {"shape": "Forest"}}},
    "Forest": {"type": "list", "member": {"shape": "Tree"}},
    "Any": {"type": "structure", "members": {}, "document": True},
    "Flat": {"type": "structure", "members": {"one": {"shape": "Leaf"}, "two": {"shape": "Leaf"}, "many": {"shape": "Leaves"}, "texts": {"shape": "Texts"}}},
    "Deep": {"type": "structure", "members": {"flat": {"shape": "Flat"}, "trees": {"shape": "Forest"}}},
    "Free": {"type": "structure", "members": {"flat": {"shape": "Flat"}, "any": {"shape": "Any"}}},
    "Marked": {"type": "structure", "required": ["text", "flag"], "members": {
        "text": {"shape": "Text", "location": "header", "locationName": "x-Text"}, "flag": {"shape": "Flag", "location": "header", "locationName": "x-flag"}}},
}  # fmt: skip


def model(**operations: str) -> Model:
    declared = {
        name: {"name": name, "http": {"method": "POST", "requestUri": "/" + name.lower()}, "input": {"shape": shape}}
        for name, shape in operations.items()
    }
    return Model({"metadata": {"protocol": "rest-json"}, "operations": declared, "shapes": SHAPES})


def test_which_inputs_may_nest_without_end():
    found = model(Flat="Flat", Deep="Deep", Free="Free", Text="Leaf")
    assert {name: found.operation(name).recursive for name in found.operation_names} == {  # type: ignore[union-attr]
        "Flat": False, "Deep": True, "Free": True, "Text": False,
    }  # fmt: skip


def test_a_request_without_a_required_header_is_not_that_operation():
    """A flag may be left out: clients do not send one that is false."""
    routes = RestRoutes(model(Mark="Marked"))
    for headers, fits in (({}, False), ({"x-flag": "true"}, False), ({"x-text": "a"}, True)):
        assert (routes.find(RequestHead("POST", "/mark", "", headers)) is not None) is fits


def test_nulls_in_lists_are_violations_each_with_its_place():
    service = Service("codedeploy", profile=ErrorProfile(prints_values=False))
    operation = service.operation("BatchGetOnPremisesInstances")
    with pytest.raises(Exception, match="instanceNames") as refused:
        validate(service, operation, {"instanceNames": ["a", None, None]})
    assert str(refused.value).startswith("2 validation errors detected: ")
    pipelines = Service("codepipeline", profile=ErrorProfile(prints_values=False))
    with pytest.raises(Exception, match="stages") as refused:
        validate(
            pipelines, pipelines.operation("CreatePipeline"), {"pipeline": {"name": "p", "roleArn": "arn:aws:iam::111111111111:role/x", "stages": [None]}}
        )  # fmt: skip
    assert "at 'pipeline.stages.1.member' failed to satisfy constraint: Member must not be null" in str(refused.value)


def test_a_list_of_a_form_has_numbers():
    parse = CODECS["query"](model(Flat="Flat"))._list(model(Flat="Flat").shape({"shape": "Texts"}))
    assert parse({"member": {"1": {"": "a"}, "2": {"": "b"}}}) == ["a", "b"]
    assert parse({"": ""}) == parse({}) == []
    said(MalformedBody, "Unexpected complex element termination", parse, {"other": {"": "x"}})


@pytest.mark.parametrize(("body", "words"), [(b"a\x00", "A string contains the character U+0000."), (b"\xff", "The body is not valid UTF-8.")])  # fmt: skip
def test_what_is_no_text(body, words):
    from penstock.wire.codec_rest import _text

    assert _text("ä".encode()) == "ä"
    said(MalformedBody, words, _text, body)


def test_a_pattern_that_nobody_can_read_refuses_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        assert patterns.full_match.__wrapped__("(?<=a+)(")("anything")
    assert [record.getMessage() for record in caplog.records] == ["pattern.unusable"]


# --- keys of certificates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        (ec.SECP256R1(), True), (ec.SECP384R1(), True), (ec.SECP521R1(), True), (ec.SECP256K1(), False), (1024, False), (2048, True),
    ],
)  # fmt: skip
def test_which_keys_of_certificates_are_taken(key, taken):
    private = rsa.generate_private_key(65537, key) if isinstance(key, int) else ec.generate_private_key(key)
    certificate: Any = SimpleNamespace(public_key=private.public_key)
    assert (certified.acceptable_key(certificate) is not None) is taken


@pytest.mark.parametrize(("bits", "exponent", "taken"), [(2047, 3, False), (2048, 3, True), (4096, 3, True), (4097, 3, False), (2048, (1 << 32) - 1, True), (2048, 1 << 32, False)])  # fmt: skip
def test_how_large_an_rsa_key_may_be(bits, exponent, taken):
    class Key(rsa.RSAPublicKey):  # what is made of a number that no prime makes
        key_size = bits

        def public_numbers(self):
            return SimpleNamespace(e=exponent)

    Key.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    certificate: Any = SimpleNamespace(public_key=Key)
    assert (certified.acceptable_key(certificate) is not None) is taken


ROOT = authority(key=ec.generate_private_key(ec.SECP256R1()))
NO_CERTIFICATE = "The header x-amz-x509 holds no X.509 certificate in DER form and base64."
NOT_SIGNED = (
    "The request signature does not match the key of the certificate. Check the private key and the signing method."
)
WEB, ODD = ROOT.issue(serial=7), ROOT.issue(key=ec.generate_private_key(ec.SECP256K1()))
UNSIGNED = "SignedHeaders=host;x-amz-date;x-amz-x509, Signature="


@pytest.mark.parametrize(
    ("holder", "changed", "message"),
    [
        (WEB, {}, ""),
        (WEB, {"x-amz-x509": ""}, NO_CERTIFICATE),
        (WEB, {"x-amz-x509": "A" * 16_385}, NO_CERTIFICATE),
        (WEB, {"x-amz-x509": "AA*A"}, NO_CERTIFICATE),
        (ODD, {}, "The key of the certificate is of a kind that is not taken: RSA of 2048 to 4096 bits, or the curves P-256, P-384 and P-521."),
        (WEB, {"authorization": ("Credential=7/", "Credential=8/")}, "The Credential does not begin with the serial number of the certificate."),
        (WEB, {"authorization": (UNSIGNED, f"{UNSIGNED}00")}, NOT_SIGNED),
        (WEB, {"authorization": (UNSIGNED, f"{UNSIGNED}zz")}, NOT_SIGNED),
        (WEB, {"authorization": (UNSIGNED, f"{UNSIGNED}{'0' * 2049}")}, NOT_SIGNED),
        (WEB, {"authorization": ("ECDSA", "RSA")}, NOT_SIGNED),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_the_key_of_a_certificate_has_not_signed(holder, changed, message):
    headers = {name.lower(): value for name, value in signed_headers(holder, "GET", "http://h/").items()}
    for name, value in changed.items():
        headers[name] = headers[name].replace(*value) if isinstance(value, tuple) else value
    head = RequestHead("GET", "/", "", headers)
    signature = parse_authorization(head)
    assert signature is not None
    nothing = hashlib.sha256(b"").hexdigest()
    if not message:
        assert certified.verify(signature, head, nothing, USUAL) == holder.certificate.public_bytes(Encoding.DER)
        return
    error = IncompleteSignature if changed.keys() == {"x-amz-x509"} or not changed else SignatureMismatch
    said(error, message, certified.verify, signature, head, nothing, USUAL)


# --- the request log --------------------------------------------------------------------------------------------------


async def test_the_last_lines_are_written_when_the_log_closes(tmp_path):
    log = RequestLog(tmp_path / "logs" / "requests.jsonl")
    line = dict.fromkeys(("service", "region", "code", "id", "via", "source"), "") | {"at": 1, "status": 200, "began": 0}  # fmt: skip
    async with log.writing():
        log.add(ANONYMOUS, operation="Last", **line)
        assert log._pending is not None
    assert log._pending.cancelled()
    written = (log.path.parent / "strangers.jsonl").read_text().splitlines()
    assert [json.loads(each)["operation"] for each in written] == ["Last"]
    assert log.path.parent.stat().st_mode & 0o777 == 0o700
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        log._thread.submit(int)
