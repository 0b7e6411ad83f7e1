"""What goes out over the wire, word for word: codes and statuses, members in headers and XML, certificates, and what is remembered."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import math
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from penstock.store.sealing import Sealer
from penstock.wire import cbor, refusals, sigv4, tls
from penstock.wire.constraints import blob, number, size, string, typed
from penstock.wire.errors import MalformedBody, ServiceError
from penstock.wire.http import _Protocol
from penstock.wire.http_members import AnswerMembers, RequestMembers, header_bytes
from penstock.wire.message import RequestHead
from penstock.wire.profiles import ErrorProfile, MemberError, MemberProfile, Violation
from penstock.wire.regions import one_partition
from penstock.wire.services import CODECS
from penstock.wire.shapes import Model
from penstock.wire.xml_writer import XmlWriters, escape

# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wordings", "codes"),
    [
        (
            refusals.JSON,
            "AccessDeniedException 400, UnrecognizedClientException 400, UnrecognizedClientException 400, ExpiredTokenException 400, "
            "InvalidSignatureException 400, InvalidSignatureException 400, InvalidSignatureException 400, InvalidSignatureException 400, "
            "InvalidSignatureException 400, IncompleteSignatureException 400, IncompleteSignatureException 400, "
            "MissingAuthenticationTokenException 400, UnknownOperationException 400, NotImplementedException 501, SerializationException 400, "
            "RequestEntityTooLargeException 413, ThrottlingException 400, ServiceUnavailableException 503, ValidationException 400",
        ),
        (
            refusals.QUERY,
            "AccessDenied 403, InvalidClientTokenId 403, InvalidClientTokenId 403, ExpiredToken 403, SignatureDoesNotMatch 403, "
            "SignatureDoesNotMatch 403, SignatureDoesNotMatch 403, SignatureDoesNotMatch 403, SignatureDoesNotMatch 403, IncompleteSignature 400, "
            "IncompleteSignature 400, MissingAuthenticationToken 403, InvalidAction 400, NotImplemented 501, MalformedInput 400, "
            "RequestEntityTooLarge 413, Throttling 400, ServiceUnavailable 503, ValidationError 400",
        ),
    ],
)
def test_codes_and_statuses_of_refusals(wordings, codes):
    assert ", ".join(f"{wording.code} {wording.status}" for wording in wordings.table.values()) == codes
    always = [kind.__name__ for kind, wording in wordings.table.items() if wording.always]
    assert always == ["UnknownAccessKey", "InvalidSessionToken", "ExpiredSession"]
    assert wordings.other.status == 400
    assert wordings.finer_codes is False


def violation(**changes: Any) -> Violation:
    made: dict[str, Any] = {
        "path": ("a", "2", "member", "name"),
        "member": "name",
        "kind": "pattern",
        "constraint": "C",
        "value": "v",
    }
    return Violation(**made | changes)


@pytest.mark.parametrize(
    ("profile", "found", "sentence"),
    [
        (ErrorProfile(), [violation()], "1 validation error detected: Value 'v' at 'a.2.member.name' failed to satisfy constraint: C"),
        (ErrorProfile(prints_values=False), [violation()], "1 validation error detected: Value at 'a.2.member.name' failed to satisfy constraint: C"),
        (ErrorProfile(), [violation(sensitive=True)], "1 validation error detected: Value at 'a.2.member.name' failed to satisfy constraint: C"),
        (ErrorProfile(), [violation(kind="required")], "1 validation error detected: Value null at 'a.2.member.name' failed to satisfy constraint: C"),
        (ErrorProfile(), [violation(path=("x",))] * 2, "2 validation errors detected: Value 'v' at 'x' failed to satisfy constraint: C; Value 'v' at 'x' failed to satisfy constraint: C"),
    ],
)  # fmt: skip
def test_violations_in_a_sentence(profile, found, sentence):
    assert profile.sentence(found) == sentence


class Required(ServiceError):
    """It is required."""


class Invalid(ServiceError):
    """{member} is {value}: {constraint}"""


class Odd(ServiceError):
    """{other} is missing here"""


@pytest.mark.parametrize(
    ("members", "change", "error", "message"),
    [
        ({"name": MemberError(invalid=Invalid)}, {}, Invalid, "name is v: C"),
        ({"a.name": MemberError(invalid=Invalid), "name": MemberError(invalid=Odd)}, {}, Invalid, "name is v: C"),
        ({"Get.name": MemberError(invalid=Invalid), "a.name": MemberError(invalid=Odd)}, {}, Invalid, "name is v: C"),
        ({"name": MemberError(required=Required, invalid=Invalid)}, {"kind": "required"}, Required, "It is required."),
        ({"name": MemberError(required=Required, invalid=Invalid)}, {"value": ""}, Required, "It is required."),
        ({"name": MemberError(required=Required)}, {}, Required, "It is required."),
        ({"name": MemberError(invalid=Odd)}, {}, Odd, "The value of name is not valid: C"),
        ({"name": MemberError()}, {}, None, "1 validation error detected: Value 'v' at 'a.2.member.name' failed to satisfy constraint: C"),
        ({}, {}, None, "1 validation error detected: Value 'v' at 'a.2.member.name' failed to satisfy constraint: C"),
    ],
)  # fmt: skip
def test_the_error_of_a_member(members, change, error, message):
    operation: Any = SimpleNamespace(name="Get")
    answer = MemberProfile(members=members).error(operation, [violation(**change)])
    assert answer.message == message
    assert error is None or type(answer) is error


def shape(**traits: Any) -> Any:
    return Model({"metadata": {}, "shapes": {"S": traits}}).shape({"shape": "S"})


@pytest.mark.parametrize(
    ("check", "value", "found"),
    [
        (typed(bool, "Member must be a boolean", "m", ("m",)), 1, [("type", "Member must be a boolean")]),
        (typed(bool, "Member must be a boolean", "m", ("m",)), True, []),
        (blob(shape(type="blob", max=2), "m", ("m",)), b"ab", []),
        (blob(shape(type="blob", max=2), "m", ("m",)), bytearray(b"abc"), [("max_length", "Member must have length less than or equal to 2")]),
        (blob(shape(type="blob", max=2), "m", ("m",)), "ab", [("type", "Member must be a blob")]),
        (blob(shape(type="blob"), "m", ("m",)), SimpleNamespace(__aiter__=None), []),
        (number(shape(type="integer", min=1, max=3), "m", ("m",)), 1, []),
        (number(shape(type="integer", min=1, max=3), "m", ("m",)), 3, []),
        (number(shape(type="integer", min=1, max=3), "m", ("m",)), 0, [("min_value", "Member must have value greater than or equal to 1")]),
        (number(shape(type="integer", min=1, max=3), "m", ("m",)), 4, [("max_value", "Member must have value less than or equal to 3")]),
        (number(shape(type="integer"), "m", ("m",)), 1.0, [("type", "Member must be a number")]),
        (number(shape(type="double"), "m", ("m",)), 1.0, []),
        (number(shape(type="long"), "m", ("m",)), True, [("type", "Member must be a number")]),
        (string(shape(type="string", min=1, max=2, pattern="[ab]+"), "m", ("m",)), "ab", []),
        (string(shape(type="string", min=1, max=2, pattern="[ab]+"), "m", ("m",)), "", [("min_length", "Member must have length greater than or equal to 1"), ("pattern", "Member must satisfy regular expression pattern: [ab]+")]),
        (string(shape(type="string", min=1, max=2, pattern="[ab]+"), "m", ("m",)), "abc", [("max_length", "Member must have length less than or equal to 2"), ("pattern", "Member must satisfy regular expression pattern: [ab]+")]),
        (string(shape(type="string", enum=["a", "b"]), "m", ("m",)), "c", [("enum", "Member must satisfy enum value set: [a, b]")]),
        (string(shape(type="string"), "m", ("m",)), 7, [("type", "Member must be a string")]),
    ],
)  # fmt: skip
def test_values_against_constraints(check, value, found):
    violations: list[Violation] = []
    check(value, ("up",), violations)
    assert [(one.kind, one.constraint) for one in violations] == found
    assert all(one.path == ("up", "m") and one.member == "m" for one in violations)


def test_a_shape_without_bounds_is_not_measured():
    assert size(shape(type="string"), "m", "length") is None
    for traits, sensitive in (
        ({"type": "map"}, True),
        ({"type": "string", "sensitive": True}, True),
        ({"type": "list"}, False),
    ):
        check = size(shape(max=0, **traits), "m", "length")
        found: list[Violation] = []
        check("x", (), found)  # type: ignore[misc]
        assert [one.sensitive for one in found] == [sensitive]


# --- members ----------------------------------------------------------------------------------------------------------

SHAPES = {
    "S": {"type": "string"}, "B": {"type": "boolean"}, "I": {"type": "integer"}, "D": {"type": "double"}, "T": {"type": "timestamp"},
    "J": {"type": "string", "jsonvalue": True}, "LS": {"type": "list", "member": {"shape": "S"}}, "LT": {"type": "list", "member": {"shape": "T"}},
    "MS": {"type": "map", "key": {"shape": "S"}, "value": {"shape": "S"}}, "ML": {"type": "map", "key": {"shape": "S"}, "value": {"shape": "LS"}},
}  # fmt: skip


def structure(uri: str = "/{id}/{key+}", **members: dict[str, Any]) -> tuple[Any, Any]:
    model = Model(
        {
            "metadata": {},
            "operations": {"Get": {"http": {"method": "GET", "requestUri": uri}, "input": {"shape": "In"}}},
            "shapes": SHAPES | {"In": {"type": "structure", "members": members}},
        }
    )
    operation = model.operation("Get")
    assert operation is not None
    return operation, operation.input


@pytest.mark.parametrize(
    ("member", "value", "read"),
    [
        ({"shape": "S"}, "a", "a"), ({"shape": "S"}, "\u00c3\u00a9", "é"), ({"shape": "S"}, "\u00e9", "é"), ({"shape": "I"}, " 7 ", 7), ({"shape": "B"}, "TRUE", True),
        ({"shape": "LS"}, 'a, "b,c"', ["a", "b,c"]), ({"shape": "J"}, base64.b64encode(b'{"a":1}').decode(), '{"a":1}'),
        ({"shape": "LT"}, "Thu, 01 Jan 2026 00:00:00 GMT, Fri, 02 Jan 2026 00:00:00 GMT", [1_767_225_600_000, 1_767_312_000_000]),
        ({"shape": "I"}, "x" * 300, None), ({"shape": "J"}, base64.b64encode(b"{").decode(), None), ({"shape": "J"}, "!", None),
    ],
)  # fmt: skip
def test_members_that_stand_in_headers(member, value, read):
    operation, given = structure(m={"location": "header", "locationName": "X-M"} | member)
    members = RequestMembers(operation, given)
    head = RequestHead("GET", "/i/k", "", {"x-m": value})
    if read is not None:
        assert members.read(head, "") == {"m": read}
        assert members.read(RequestHead("GET", "/i/k"), "") == {}
        return
    with pytest.raises(MalformedBody, match="^Provided x-m is not valid: ") as refused:
        members.read(head, "")
    assert refused.value.values == {"code": "InvalidArgument", "ArgumentName": "x-m", "ArgumentValue": value[:256]}


def test_members_that_stand_in_paths_and_queries():
    query = {"location": "querystring"}
    operation, given = structure(
        id={"shape": "S", "location": "uri", "locationName": "id"}, key={"shape": "S", "location": "uri", "locationName": "key"},
        one={"shape": "I", **query, "locationName": "one"}, many={"shape": "LS", **query, "locationName": "many"}, rest={"shape": "ML", **query},
        meta={"shape": "MS", "location": "headers", "locationName": "x-meta-"}, all={"shape": "MS", "location": "headers"}, body={"shape": "S"},
    )  # fmt: skip
    members = RequestMembers(operation, given)
    assert members.placed == {"id", "key", "one", "many", "rest", "meta", "all"}
    head = RequestHead("GET", "/a%20b/c/d%2Fe/", "one=1&one=2&many=x+y&many=z&&%C3%A9", {"x-meta-a": "1", "host": "h"})
    assert members.read(head, "") == {
        "id": "a b", "key": "c/d/e/", "one": 2, "many": ["x y", "z"], "rest": {"one": ["1", "2"], "many": ["x y", "z"], "é": [""]},
        "meta": {"a": "1"}, "all": {"x-meta-a": "1", "host": "h"},
    }  # fmt: skip
    assert members.read(RequestHead("GET", "/k"), "label") == {"id": "label", "key": "k", "all": {}}
    for path in ("/%ff/k", "/%00/k"):
        with pytest.raises(MalformedBody) as refused:
            members.read(RequestHead("GET", path), "")
        assert refused.value.values == {"code": "InvalidURI"}


@pytest.mark.parametrize(
    ("member", "value", "written"),
    [
        ("S", "a\r\nb\x7fc\td", b"a  b c\td"), ("B", True, b"true"), ("B", False, b"false"), ("I", 0, b"0"), ("D", math.inf, b"Infinity"), ("D", 1.5, b"1.5"),
        ("T", 1_767_225_600_000, b"Thu, 01 Jan 2026 00:00:00 GMT"), ("LS", ["a", None, "b"], b"a,b"), ("J", "{}", base64.b64encode(b"{}")), ("S", None, None),
    ],
)  # fmt: skip
def test_members_of_answers_in_headers(member, value, written):
    _, given = structure(
        m={"shape": member, "location": "header", "locationName": "X-M"}, s={"shape": "I", "location": "statusCode"}
    )
    members = AnswerMembers(given)
    assert members.headers({"m": value}) == ([] if written is None else [(b"x-m", written)])
    assert (members.status({}), members.status({"s": 201})) == (None, 201)
    assert members.placed == {"m", "s"}


def test_maps_of_answers_in_headers():
    _, given = structure(m={"shape": "MS", "location": "headers", "locationName": "X-Meta-"})
    members = AnswerMembers(given)
    assert members.headers({"m": {"A": "1", "b": None}}) == [(b"x-meta-a", b"1")]
    assert members.headers({}) == []
    assert header_bytes(7) == b"7"


def xml(members: dict[str, Any], value: dict[str, Any], *, millis: bool = False) -> str:
    _, given = structure(**members)
    out: list[str] = []
    XmlWriters(always_millis=millis).contents(given)(out, value)
    return "".join(out)


@pytest.mark.parametrize(
    ("member", "value", "written"),
    [
        ({"shape": "S"}, '<a & "b">\r\x01\ufffe', "<m>&lt;a &amp; &quot;b&quot;&gt;&#xD;\ufffd\ufffd</m>"),
        ({"shape": "B"}, False, "<m>false</m>"), ({"shape": "I"}, 0, "<m>0</m>"), ({"shape": "D"}, math.nan, "<m>NaN</m>"),
        ({"shape": "T"}, 1_767_225_600_000, "<m>2026-01-01T00:00:00Z</m>"), ({"shape": "T"}, 1_767_225_600_250, "<m>2026-01-01T00:00:00.250Z</m>"),
        ({"shape": "LS"}, ["a", None, "b"], "<m><member>a</member><member>b</member></m>"), ({"shape": "LS", "flattened": True}, ["a", None], "<m>a</m>"),
        ({"shape": "LS"}, [], "<m></m>"), ({"shape": "S", "locationName": "Other"}, "a", "<Other>a</Other>"),
        ({"shape": "MS"}, {"k": "v", "n": None}, "<m><entry><key>k</key><value>v</value></entry></m>"),
        ({"shape": "MS", "flattened": True}, {"k": "v"}, "<m><key>k</key><value>v</value></m>"),
        ({"shape": "S", "xmlNamespace": "u&v"}, "a", '<m xmlns="u&amp;v">a</m>'),
        ({"shape": "S", "xmlNamespace": {"uri": "u", "prefix": "p"}}, "a", '<m xmlns:p="u">a</m>'), ({"shape": "S", "xmlNamespace": {"uri": "u"}}, "a", '<m xmlns="u">a</m>'),
        ({"shape": "S"}, None, ""),
    ],
)  # fmt: skip
def test_members_in_xml(member, value, written):
    assert xml({"m": member}, {"m": value}) == written


def test_attributes_and_milliseconds_in_xml():
    inner = {
        "type": "structure",
        "members": {"a": {"shape": "S", "xmlAttribute": True, "locationName": "x:a"}, "b": {"shape": "S"}},
    }
    out: list[str] = []
    model = Model({"metadata": {}, "shapes": SHAPES | {"In": inner}})
    for value in ({"a": "1&", "b": "2"}, {"b": "2"}):
        XmlWriters().writer(model.shape({"shape": "In"}))(out, "t", value)
    assert "".join(out) == '<t x:a="1&amp;"><b>2</b></t><t><b>2</b></t>'
    assert xml({"m": {"shape": "T"}}, {"m": 0}, millis=True) == "<m>1970-01-01T00:00:00.000Z</m>"
    assert escape("plain") == "plain"


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        ("json", (409, b'{"__type":"Coded","message":"No.","m":"v"}', None)),
        ("rest-json", (409, b'{"message":"No.","m":"v"}', b"Named")),
        ("query", (409, b"<ErrorResponse><Error><Type>Sender</Type><Code>Coded</Code><Message>No.</Message><m>v</m></Error><RequestId>r</RequestId></ErrorResponse>", None)),
    ],
)  # fmt: skip
def test_errors_of_a_model(protocol, answer):
    model = Model(
        {"metadata": {}, "shapes": SHAPES | {"Named": {"type": "structure", "exception": True, "error": {"code": "Coded", "httpStatusCode": 409}, "members": {"m": {"shape": "S"}}}}}
    )  # fmt: skip

    class Coded(ServiceError):
        """No."""

    error = Coded(None)
    error.values = {"m": "v", "other": "x", "message": "y"}
    response = CODECS[protocol](model).error(None, error, "r")
    headers = dict(response.headers)
    assert (response.status, response.body, headers.get(b"x-amzn-errortype")) == answer
    assert headers[b"content-length"] == str(len(response.body)).encode()  # type: ignore[arg-type]


# --- certificates, keys and connections -------------------------------------------------------------------------------


def test_what_certificates_say(tmp_path):
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    ca_path, cert_path, _ = tls.own_authority(
        tmp_path, ("h" * 63, "127.0.0.1"), Sealer([(b"abcd", b"o" * 32)]), now=now
    )
    ca, cert = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (ca_path, cert_path))

    def usage(certificate: x509.Certificate) -> tuple[bool, dict[str, bool]]:
        found = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        names = (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
        )
        return found.critical, {name: getattr(found.value, name) for name in names if getattr(found.value, name)}

    assert usage(ca) == (True, {"key_cert_sign": True, "crl_sign": True})
    assert usage(cert) == (True, {"digital_signature": True})
    for made, days, constraints in (
        (ca, 3650, x509.BasicConstraints(ca=True, path_length=0)), (cert, 397, x509.BasicConstraints(ca=False, path_length=None)),
    ):  # fmt: skip
        assert made.not_valid_before_utc == now - dt.timedelta(hours=1)
        assert made.not_valid_after_utc == now + dt.timedelta(days=days)
        found = made.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (found.critical, found.value) == (True, constraints)
    extended = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert (extended.critical, list(extended.value)) == (False, [ExtendedKeyUsageOID.SERVER_AUTH])
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert (names.critical, list(names.value)) == (
        False, [x509.DNSName("h" * 63), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
    )  # fmt: skip
    assert not ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).critical
    assert not cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).critical
    assert {oct(path.stat().st_mode & 0o777) for path in (ca_path, cert_path)} == {"0o644"}
    for late, same in ((dt.timedelta(days=366, seconds=-1), True), (dt.timedelta(days=367), False)):
        before = cert_path.read_bytes()
        tls.own_authority(tmp_path, ("127.0.0.1",), Sealer([(b"abcd", b"o" * 32)]), now=now + late)
        assert (cert_path.read_bytes() == before) is same


def test_a_certificate_that_cannot_be_read(tmp_path):
    with pytest.raises(tls.TlsError, match=f"cannot read {tmp_path}/cert: No such file"):
        tls.server_context(tmp_path / "cert", tmp_path / "key")


def test_keys_of_a_day_are_kept_and_the_oldest_gives_way(monkeypatch):
    assert sigv4._KEYS_KEPT == 16_384
    monkeypatch.setattr(sigv4, "_KEYS_KEPT", 2)
    monkeypatch.setattr(sigv4, "_KEYS", sigv4.OrderedDict())
    made = [sigv4.derive_key(name, "s", "20260101", "r", "iam") for name in ("a", "b", "c")]
    assert [key[0] for key in sigv4._KEYS] == ["b", "c"]
    assert made[0] == made[1] == made[2]
    sigv4._KEYS["b", "20260101", "r", "iam"] = (b"s", b"kept")
    assert sigv4.derive_key("b", "s", "20260101", "r", "iam") == b"kept"
    assert sigv4.derive_key("b", "other", "20260101", "r", "iam") not in (b"kept", made[0])


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("", "/"),
        ("/a//b/", "/a/b/"),
        ("/a/./b/../c", "/a/c"),
        ("/../a", "/a"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("//", "/"),
    ],
)
def test_paths_in_their_normal_form(path, normal):
    assert sigv4._normal_path(path) == normal


def test_queries_as_they_are_signed():
    assert sigv4._raw_query("b=2&a=1&&X-Amz-Signature=x&a=0&c") == "a=0&a=1&b=2&c="
    assert sigv4._normal_query("b=%7e&a=+x&X-Amz-Signature=x&c") == "a=%2Bx&b=~&c="


def test_regions_of_one_partition():
    assert one_partition(["us-east-1", "eu-west-1"])
    assert not one_partition(["us-east-1", "cn-north-1"])


@pytest.mark.parametrize(("connections", "overloaded"), [(2, False), (3, True)])
def test_who_comes_to_a_full_house(monkeypatch, connections, overloaded):
    monkeypatch.setattr(_Protocol.__mro__[1], "on_headers_complete", lambda _self: None)
    one: Any = object.__new__(_Protocol)
    one.connections, one._most, one.scope = set(range(connections)), 3, {}
    one.on_headers_complete()
    assert (one._in_head, one._in_body) == (False, True)
    assert one.scope == ({"penstock.overloaded": True} if overloaded else {})


def test_names_of_members_are_remembered_up_to_a_length():
    cbor._key.cache_clear()
    cbor.write_cbor({"x" * 64: 1, "y" * 65: 2})
    assert cbor._key.cache_info().currsize == 1
