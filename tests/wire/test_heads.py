"""Heads of requests at their exact bounds: signatures, dates, clocks, addresses, paths, ARNs and page tokens."""

from __future__ import annotations

import base64

import pytest

from penstock.wire import patterns
from penstock.wire.arns import parse_arn
from penstock.wire.call import ANONYMOUS, Call
from penstock.wire.errors import (
    IncompleteSignature,
    SignatureExpired,
)
from penstock.wire.message import RequestHead, client_address
from penstock.wire.pages import BadPageToken, PageTokens
from penstock.wire.rest_routes import fits
from penstock.wire.signature import parse_authorization
from penstock.wire.sigv4 import MAX_SKEW_SECONDS, check_claims

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
