"""Signatures as botocore's own signers make them, and everything that must not pass."""

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import io
import zlib
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.objects.codec import S3Codec
from penstock.objects.service import s3
from penstock.wire import certified, chunked, sigv4
from penstock.wire.chunked import check_digests, open_body
from penstock.wire.errors import (
    DigestMismatch,
    IncompleteBody,
    IncompleteSignature,
    MalformedChunk,
    PayloadMismatch,
    PresignedExpired,
    Refused,
    SignatureExpired,
    SignatureMismatch,
    UnsignedHeaders,
    UnsupportedAuthorization,
)
from penstock.wire.message import RequestHead
from penstock.wire.refusals import worded
from penstock.wire.signature import USUAL, parse_authorization

KEY, SECRET = "AKIAPENSTOCKEXAMPLE0", "secret/with+signs"


def signed(auth_class, service, method, url, *, body=b"", headers=None, token=None, **options):
    """A request signed by botocore, as the server gets it."""
    request = AWSRequest(method=method, url=url, data=body, headers=headers or {})
    auth_class(Credentials(KEY, SECRET, token), service, "us-east-1", **options).add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    lower = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in prepared.headers.items()
    }
    lower.setdefault("host", parts.netloc)
    return RequestHead(method, parts.path, parts.query, lower)


RULES = {"s3": s3().signing}


def now_ms():
    return int(dt.datetime.now(dt.UTC).timestamp() * 1000)


def check(head, *, secret=SECRET, body=b"", now=None, full=True):
    signature = parse_authorization(head)
    assert signature is not None
    digest = hashlib.sha256(body).hexdigest() if full else ""
    sigv4.verify(
        signature,
        head,
        secret,
        now_ms() if now is None else now,
        payload_hash=digest,
        rules=RULES.get(signature.service, USUAL),
    )
    return signature


JSON_HEADERS = {"X-Amz-Target": "CodePipeline_20150709.GetPipeline", "Content-Type": "application/x-amz-json-1.1"}


@given(st.binary(max_size=64), st.binary(max_size=3000))
def test_the_mac_is_hmac(key, text) -> None:
    assert sigv4.mac(key, text) == hmac.digest(key, text, "sha256")


@pytest.mark.parametrize(
    "url", ["http://localhost:8470/", "http://localhost:8470", "https://h/a//b/../c%20d/?b=2&a=%20x&a"]
)
@pytest.mark.parametrize("token", [None, "session/token=="])
def test_signed_json_call_verifies(url, token) -> None:
    head = signed(SigV4Auth, "codepipeline", "POST", url, body=b'{"name":"x"}', headers=dict(JSON_HEADERS), token=token)
    signature = check(head, body=b'{"name":"x"}')
    assert (signature.access_key_id, signature.region, signature.service) == (KEY, "us-east-1", "codepipeline")
    assert signature.session_token == (token or "")


@pytest.mark.parametrize(
    "path",
    ["/b/k", "/b/a%20b", "/b/a//b/../c", "/b/%C3%A9/~x", "/b/a%2Bb%3D", "/b/", "/b/a%2Fb", "/b/a(1)!*'", "/"],
)
@pytest.mark.parametrize("query", ["", "?uploads", "?partNumber=1&uploadId=x%2Fy", "?prefix=a%20b&list-type=2"])
def test_s3_paths_are_signed_as_they_stand(path, query) -> None:
    head = signed(S3SigV4Auth, "s3", "GET", f"http://localhost:8470{path}{query}")
    check(head)


def test_s3_path_that_was_signed_encoded_but_sent_plain_verifies() -> None:
    head = signed(S3SigV4Auth, "s3", "GET", "http://localhost/b/a%28b%29")
    check(replace(head, path="/b/a(b)"))


@pytest.mark.parametrize("value", ["voil\u00e0 tout", "\u00c5", "two  words", "two\twords", " two  words\t here "])
def test_header_values_are_signed_with_single_spaces_and_whole_letters(value) -> None:
    """The second byte of some UTF-8 letters is a space in Latin-1."""
    canonical = " ".join(value.strip().replace("\t", " ").split(" "))
    while "  " in canonical:
        canonical = canonical.replace("  ", " ")
    signs = signed(S3SigV4Auth, "s3", "PUT", "http://localhost/b/k", headers={"X-Amz-Meta-A": canonical})
    check(replace(signs, headers={**signs.headers, "x-amz-meta-a": value.encode().decode("latin-1")}))


@pytest.mark.parametrize(("auth", "service"), [(S3SigV4QueryAuth, "s3"), (SigV4QueryAuth, "sts")])
@pytest.mark.parametrize("token", [None, "tok+en/="])
def test_presigned_url_verifies(auth, service, token) -> None:
    head = signed(auth, service, "GET", "http://localhost:8470/b/k%20x?versionId=a%2Fb", token=token, expires=60)
    signature = check(head)
    assert signature.presigned
    assert signature.session_token == (token or "")


def test_presigned_url_ends_in_time() -> None:
    head = signed(S3SigV4QueryAuth, "s3", "GET", "http://localhost/b/k", expires=3600)
    check(head, now=now_ms() + 3_000_000)
    with pytest.raises(PresignedExpired) as caught:
        check(head, now=now_ms() + 3_700_000)
    assert caught.value.values["X-Amz-Expires"] == 3600


def test_presigned_for_a_week_is_good_to_its_last_second() -> None:
    head = signed(S3SigV4QueryAuth, "s3", "GET", "http://localhost/b/k", expires=604_800)
    check(head)
    began = now_ms() // 1000 * 1000
    check(head, now=began + 604_799_000)
    with pytest.raises(PresignedExpired):
        check(head, now=began + 604_803_000)


def test_presigned_for_more_than_a_week_is_refused() -> None:
    head = signed(S3SigV4QueryAuth, "s3", "GET", "http://localhost/b/k", expires=604_801)
    with pytest.raises(IncompleteSignature, match="604800"):
        check(head)


PRESIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260102%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
)


@pytest.mark.parametrize(
    ("query", "authorization", "code"),
    [
        (PRESIGNED.replace("Expires=60", "Expires=604801"), "", "AuthorizationQueryParametersError"),
        (PRESIGNED.replace("&X-Amz-Date=20260102T030405Z", ""), "", "AuthorizationQueryParametersError"),
        (PRESIGNED.replace("20260102%2F", "20260103%2F"), "", "AuthorizationQueryParametersError"),
        (PRESIGNED.replace("=host", "=date"), "", "AuthorizationQueryParametersError"),
        (PRESIGNED, "Bearer token", "InvalidArgument"),
        (PRESIGNED, "AWS4-HMAC-SHA256 Credential=x", "InvalidArgument"),
        ("", "Bearer token", "InvalidArgument"),
        ("", "AWS4-HMAC-SHA256 Credential=x", "AuthorizationHeaderMalformed"),
    ],
)
def test_s3_distinguishes_a_broken_url_from_a_broken_header(query, authorization, code) -> None:
    headers = {"host": "localhost", **({"authorization": authorization} if authorization else {})}
    head = RequestHead("GET", "/b/k", query, headers)
    with pytest.raises(IncompleteSignature) as caught:
        check(head, now=int(dt.datetime(2026, 1, 2, 3, 4, 30, tzinfo=dt.UTC).timestamp() * 1000))
    answer = worded(caught.value, S3Codec.refusals)
    assert (answer.wire_code, answer.status) == (code, 400)
    assert "token" not in str(answer.values)


@pytest.mark.parametrize("offset_s", [-301, 301])
def test_clock_skew_is_refused(offset_s) -> None:
    head = signed(SigV4Auth, "iam", "POST", "http://localhost/", headers=dict(JSON_HEADERS))
    with pytest.raises(SignatureExpired):
        check(head, now=now_ms() + offset_s * 1000)
    check(head, now=now_ms() + 290_000)


def test_times_count_to_the_millisecond() -> None:
    head = signed(SigV4Auth, "iam", "POST", "http://localhost/", headers=dict(JSON_HEADERS))
    signature = parse_authorization(head)
    assert signature is not None
    made = int(sigv4.seconds_of_stamp(signature.timestamp)) * 1000
    for good in (made - 300_000, made, made + 300_000):
        check(head, now=good)
    for wrong, says in ((made - 300_001, "not yet current"), (made + 300_001, "Signature expired")):
        with pytest.raises(SignatureExpired, match=says) as refused:
            check(head, now=wrong)
        assert refused.value.values["MaxAllowedSkewMilliseconds"] == 300_000
        assert refused.value.values["RequestTime"] == signature.timestamp
    link = signed(S3SigV4QueryAuth, "s3", "GET", "http://localhost/b/k", expires=3600)
    signature = parse_authorization(link)
    assert signature is not None
    made = int(sigv4.seconds_of_stamp(signature.timestamp)) * 1000
    for good in (made - 300_000, made + 3_600_000):
        check(link, now=good)
    with pytest.raises(PresignedExpired):
        check(link, now=made + 3_600_001)
    with pytest.raises(SignatureExpired, match="not yet current"):
        check(link, now=made - 300_001)


def test_an_error_shows_what_was_signed() -> None:
    head = signed(SigV4Auth, "iam", "POST", "http://localhost/", headers=dict(JSON_HEADERS))
    with pytest.raises(SignatureMismatch) as refused:
        check(head, secret="another")
    values = refused.value.values
    assert values["AWSAccessKeyId"] == KEY
    assert values["CanonicalRequest"].startswith("POST\n/\n\n")
    digest = hashlib.sha256(values["CanonicalRequest"].encode()).hexdigest()
    assert values["StringToSign"].split("\n")[-1] == digest
    assert bytes.fromhex(values["StringToSignBytes"]).decode() == values["StringToSign"]
    assert bytes.fromhex(values["CanonicalRequestBytes"]).decode() == values["CanonicalRequest"]
    assert head.headers["authorization"].endswith(values["SignatureProvided"])


def _tampered(head):
    headers = dict(head.headers)
    yield "method", replace(head, method="PUT")
    yield "path", replace(head, path="/other")
    yield "query", replace(head, query="a=1")
    yield "target", replace(head, headers={**headers, "x-amz-target": "CodePipeline_20150709.DeletePipeline"})
    yield "host", replace(head, headers={**headers, "host": "elsewhere"})
    yield (
        "signature",
        replace(
            head,
            headers={
                **headers,
                "authorization": headers["authorization"][:-1] + ("0" if headers["authorization"][-1] != "0" else "1"),
            },
        ),
    )
    yield (
        "region",
        replace(head, headers={**headers, "authorization": headers["authorization"].replace("us-east-1", "eu-west-1")}),
    )


@pytest.mark.parametrize("index", range(7))
def test_any_change_breaks_the_signature(index) -> None:
    head = signed(SigV4Auth, "codepipeline", "POST", "http://localhost/", body=b"{}", headers=dict(JSON_HEADERS))
    _, changed = list(_tampered(head))[index]
    with pytest.raises(SignatureMismatch):
        check(changed, body=b"{}")


def test_changed_body_wrong_secret_and_added_header_are_refused() -> None:
    head = signed(SigV4Auth, "codepipeline", "POST", "http://localhost/", body=b"{}", headers=dict(JSON_HEADERS))
    with pytest.raises(SignatureMismatch):
        check(head, body=b"{ }")
    with pytest.raises(SignatureMismatch):
        check(head, secret="other", body=b"{}")
    with pytest.raises(UnsignedHeaders):
        check(replace(head, headers={**head.headers, "x-amz-acl": "public-read"}), body=b"{}")
    check(head, body=b"{}")  # the key that the wrong secret made is not kept for the right one


@pytest.mark.parametrize(
    "extra", ["Foo=Credential=AK/20260101/eu-west-1/iam/aws4_request", "Credential=AK/20260101/r/s/aws4_request"]
)
def test_a_second_scope_beside_the_signed_one_is_refused(extra) -> None:
    head = signed(SigV4Auth, "codepipeline", "POST", "http://localhost/", body=b"{}", headers=dict(JSON_HEADERS))
    text = head.headers["authorization"].replace("AWS4-HMAC-SHA256 ", f"AWS4-HMAC-SHA256 {extra}, ")
    with pytest.raises(IncompleteSignature, match="unexpected part"):
        check(replace(head, headers={**head.headers, "authorization": text}), body=b"{}")


def test_unsigned_payload_is_for_s3_only() -> None:
    headers = {**JSON_HEADERS, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    head = signed(SigV4Auth, "codepipeline", "POST", "http://localhost/", body=b"{}", headers=headers)
    with pytest.raises(SignatureMismatch):
        check(head, body=b"{}")


def test_stated_hash_must_be_the_bodys() -> None:
    head = signed(S3SigV4Auth, "s3", "PUT", "http://localhost/b?tagging", body=b"<a/>")
    with pytest.raises(PayloadMismatch):
        check(head, body=b"<b/>")


HMAC = "AWS4-HMAC-SHA256 "
SCOPE = "k/20200101/us-east-1/iam/aws4_request"
UNSUPPORTED = "The signing algorithm is not supported. Please use AWS4-HMAC-SHA256"
FIVE_PARTS = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got "
REQUIRED = " ".join(f"Authorization header requires '{name}' parameter." for name in ("Credential", "Signature", "SignedHeaders"))  # fmt: skip


@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        ("AWS4-HMAC-SHA256", f"{REQUIRED} Authorization=AWS4-HMAC-SHA256"),
        (f"{HMAC}Credential=a", "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256"),
        (f"{HMAC}Credential=a/b/c, SignedHeaders=host, Signature=x", f"{FIVE_PARTS}'a/b/c'"),
        (f"{HMAC}Credential=a/20200101/r/s/aws3_request, SignedHeaders=host, Signature=x", "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3_request'."),
        (f"{HMAC}Credential={SCOPE}, SignedHeaders=host;host, Signature=x", "SignedHeaders names a header more than once."),
        (f"{HMAC}Credential={SCOPE}, SignedHeaders=x-amz-date, Signature=x", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."),
        (f"{HMAC}Credential={SCOPE}, SignedHeaders=host, Signature=x, Credential=y", "Authorization header has an unexpected part 'Credential'."),
        (f"{HMAC}Credential={SCOPE}, SignedHeaders=host, Signature=x, {'y' * 70}=1", f"Authorization header has an unexpected part '{'y' * 64}'."),
        ("Bearer abc", "Unsupported authorization type; the Authorization header must begin with AWS4-HMAC-SHA256."),
        ("AWS4-ECDSA-P256-SHA256 Credential=a", f"{UNSUPPORTED}."),
        (f"AWS4-X509-DSA-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=x", f"{UNSUPPORTED}, AWS4-X509-RSA-SHA256 or AWS4-X509-ECDSA-SHA256."),
    ],
)  # fmt: skip
def test_incomplete_authorization_is_reported_so(authorization, said) -> None:
    headers = {"authorization": authorization, "x-amz-date": "20200101T000000Z", "host": "h"}
    head = RequestHead("GET", "/", "", headers)
    with pytest.raises((IncompleteSignature, UnsupportedAuthorization)) as refused:
        signature = parse_authorization(head)
        assert signature is not None
        if signature.certified:
            certified.verify(signature, head, "", USUAL)
        else:
            check(head, now=1577836800_000)
    assert refused.value.message == said


def test_a_request_needs_a_date_and_one_signature() -> None:
    good = f"{HMAC}Credential={SCOPE}, SignedHeaders=host, Signature=x"
    with pytest.raises(IncompleteSignature) as refused:
        parse_authorization(RequestHead("GET", "/", "", {"authorization": good}))
    assert refused.value.message == (
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256"
    )
    for query in ("X-Amz-Algorithm=x", "X-Amz-Signature=x"):
        with pytest.raises(IncompleteSignature) as refused:
            parse_authorization(RequestHead("GET", "/", query, {"authorization": good}))
        assert refused.value.message == (
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the "
            "Authorization header should be specified"
        )
    for query, said in (
        (f"{PRESIGNED}&X-Amz-Expires=60", "The query parameter X-Amz-Expires is given more than once."),
        (PRESIGNED.replace("HMAC", "ECDSA"), 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"'),
        ("X-Amz-Algorithm=x", "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
                              "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."),
    ):  # fmt: skip
        with pytest.raises(IncompleteSignature) as refused:
            parse_authorization(RequestHead("GET", "/", query))
        assert refused.value.message == said
    for head in (
        RequestHead("GET", "/", "", {"authorization": "AWS k:s"}),
        RequestHead("GET", "/", "AWSAccessKeyId=k&Signature=s"),
    ):
        with pytest.raises(UnsupportedAuthorization):
            parse_authorization(head)
    for query in ("AWSAccessKeyId=k", "Signature=s", ""):
        assert parse_authorization(RequestHead("GET", "/", query)) is None


def test_what_s3_asks_of_the_hash_of_a_payload() -> None:
    for stated, code, said in (
        ("", "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"),
        ("x", "InvalidArgument",
         "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
         "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."),
    ):  # fmt: skip
        head = RequestHead(
            "GET",
            "/",
            "",
            {
                "authorization": f"{HMAC}Credential={SCOPE.replace('iam', 's3')}, SignedHeaders=host;x-amz-content-sha256, Signature=x",
                "x-amz-date": "20200101T000000Z", "host": "h", "x-amz-content-sha256": stated,
            },
        )  # fmt: skip
        signature = parse_authorization(head)
        assert signature is not None
        with pytest.raises(IncompleteSignature) as refused:
            list(sigv4.canonical_requests(signature, head, "", RULES["s3"]))
        assert (refused.value.message, refused.value.values["code"]) == (said, code)


LATIN = st.text(st.characters(max_codepoint=255), max_size=120)  # what a head can hold


@settings(max_examples=200, deadline=None)
@given(LATIN, LATIN, LATIN)
def test_hostile_authorization_raises_refusals_only(text, query, date) -> None:
    for authorization in ("AWS4-HMAC-SHA256 " + text, text):
        head = RequestHead("GET", "/", f"X-Amz-Algorithm={query}", {"authorization": authorization, "x-amz-date": date})
        try:
            signature = parse_authorization(head)
            if signature is not None:
                sigv4.verify(signature, head, SECRET, now_ms(), rules=RULES.get(signature.service, USUAL))
        except Refused:
            pass


# -- bodies


def receiver(*pieces, cut=False):
    queue = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    queue.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return queue.pop(0)

    return receive


def split(data, size):
    return [data[index : index + size] for index in range(0, len(data), size)] or [b""]


def chunked_request(data, sizes, *, trailers=(), mode="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", secret=SECRET):
    """An aws-chunked upload after S3's documentation: head and encoded body."""
    request = AWSRequest(
        method="PUT",
        url="http://localhost/b/k",
        headers={
            "x-amz-decoded-content-length": str(len(data)),
            "content-encoding": "aws-chunked",
            **({"x-amz-trailer": ",".join(name for name, _ in trailers)} if trailers else {}),
        },
    )

    class Streaming(S3SigV4Auth):
        def payload(self, request):
            return mode

    Streaming(Credentials(KEY, secret), "s3", "us-east-1").add_auth(request)
    prepared = request.prepare()
    headers = {name.lower(): value for name, value in prepared.headers.items()}
    head = RequestHead("PUT", "/b/k", "", {**headers, "host": "localhost"})
    signature = parse_authorization(head)
    key = sigv4.signing_key(secret, signature)
    previous, encoded, rest = signature.signature, b"", data
    is_signed = mode in sigv4.STREAMING_SIGNED
    for size in [*sizes, 0]:
        piece, rest = (rest[:size], rest[size:]) if size else (b"", rest)
        line = f"{len(piece):x}"
        if is_signed:
            text = "\n".join(
                ["AWS4-HMAC-SHA256-PAYLOAD", signature.timestamp, signature.scope, previous,
                 hashlib.sha256(b"").hexdigest(), hashlib.sha256(piece).hexdigest()]
            )  # fmt: skip
            previous = hmac.digest(key, text.encode(), "sha256").hex()
            line += f";chunk-signature={previous}"
        encoded += line.encode() + b"\r\n" + (piece + b"\r\n" if piece else b"")
    for name, value in trailers:
        encoded += f"{name}:{value}\r\n".encode()
    if is_signed and trailers:
        canonical = "".join(f"{name}:{value}\n" for name, value in trailers)
        text = "\n".join(
            ["AWS4-HMAC-SHA256-TRAILER", signature.timestamp, signature.scope, previous,
             hashlib.sha256(canonical.encode()).hexdigest()]
        )  # fmt: skip
        encoded += f"x-amz-trailer-signature:{hmac.digest(key, text.encode(), 'sha256').hex()}\r\n".encode()
    return head, encoded + b"\r\n"


async def read(head, *pieces, secret=SECRET, cut=False):
    signature = parse_authorization(head)
    if signature is not None:
        sigv4.verify(signature, head, secret, now_ms(), rules=RULES[signature.service])
    body = open_body(head, signature, secret, receiver(*pieces, cut=cut))
    return body, await body.read()


SHA = base64.b64encode(hashlib.sha256(b"x" * 200_000).digest()).decode()
MODES = [
    ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ()),
    ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", (("x-amz-checksum-sha256", SHA),)),
    ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", (("x-amz-checksum-crc32", "AAAAAA=="),)),
]


@pytest.mark.parametrize(("mode", "trailers"), MODES)
@pytest.mark.parametrize("piece", [1000, 65536, 1_000_000])
async def test_chunked_uploads_decode(mode, trailers, piece) -> None:
    data = b"x" * 200_000
    head, encoded = chunked_request(data, [65536, 65536, 65536, 3392], trailers=trailers, mode=mode)
    body, decoded = await read(head, *split(encoded, piece))
    assert decoded == data
    assert body.length == len(data)
    assert body.trailers == dict(trailers)
    assert body.complete
    if trailers:
        assert body.announced == {trailers[0][0].removeprefix("x-amz-checksum-").upper(): trailers[0][1]}


async def test_botocores_own_chunks_decode() -> None:
    wrapper = AwsChunkedWrapper(
        io.BytesIO(b"z" * 3_000_000),
        checksum_cls=Crc32Checksum,
        checksum_name="x-amz-checksum-crc32",
        chunk_size=1 << 20,
    )
    announced = (("x-amz-checksum-crc32", ""),)
    head, _ = chunked_request(b"z" * 3_000_000, [], mode="STREAMING-UNSIGNED-PAYLOAD-TRAILER", trailers=announced)
    body, decoded = await read(head, *split(wrapper.read(), 65536))
    assert decoded == b"z" * 3_000_000
    assert body.announced == {"CRC32": base64.b64encode(zlib.crc32(decoded).to_bytes(4, "big")).decode()}


async def test_a_body_whose_chunks_nobody_signs_may_be_one_chunk(monkeypatch) -> None:
    """Clients that know its length send it so, however long it is."""
    monkeypatch.setattr(chunked, "MAX_CHUNK", 1000)
    (signing, trailers), (unsigned, promised) = ((mode, trailers) for mode, trailers in MODES[1:])
    head, encoded = chunked_request(b"x" * 1001, [1001], trailers=promised, mode=unsigned)
    assert (await read(head, encoded))[1] == b"x" * 1001
    head, encoded = chunked_request(b"x" * 1001, [1001], trailers=trailers, mode=signing)
    with pytest.raises(MalformedChunk):
        await read(head, encoded)


async def test_chunked_upload_byte_by_byte() -> None:
    head, encoded = chunked_request(b"hello world", [5, 6], trailers=MODES[1][1], mode=MODES[1][0])
    assert (await read(head, *split(encoded, 1)))[1] == b"hello world"


@pytest.mark.parametrize(("mode", "trailers"), MODES[:2])
async def test_any_flipped_byte_of_a_signed_chunk_is_refused(mode, trailers) -> None:
    head, encoded = chunked_request(b"hello world", [5, 6], trailers=trailers, mode=mode)
    for index in range(len(encoded)):
        if encoded[index : index + 1] in b"\r\n":
            continue
        broken = encoded[:index] + bytes([encoded[index] ^ 1]) + encoded[index + 1 :]
        try:
            await read(head, broken)
        except Refused:
            continue
        # Letter case of names and of a size may change; nothing else.
        assert broken.lower() == encoded.lower(), (index, broken)


async def test_trailers_of_signed_chunks_need_their_own_signature() -> None:
    mode, trailers = MODES[1]
    head, encoded = chunked_request(b"hello world", [11], trailers=trailers, mode=mode)
    unsigned = encoded[: encoded.index(b"x-amz-trailer-signature")] + b"\r\n"
    with pytest.raises(SignatureMismatch):
        await read(head, unsigned)


async def test_chunks_cannot_be_dropped_swapped_or_cut() -> None:
    head, encoded = chunked_request(b"aaaaabbbbb", [5, 5])
    lines = encoded.split(b"\r\n")
    swapped = b"\r\n".join([*lines[2:4], *lines[0:2], *lines[4:]])
    dropped = b"\r\n".join(lines[2:])
    for wrong in (swapped, dropped):
        with pytest.raises((SignatureMismatch, IncompleteBody)):
            await read(head, wrong)
    with pytest.raises(IncompleteBody):
        await read(head, encoded[:-120])
    with pytest.raises(IncompleteBody):
        await read(head, encoded[:50], cut=True)
    with pytest.raises(MalformedChunk):
        await read(head, encoded + b"more")


@pytest.mark.parametrize("promised", ["", "x-amz-checksum-crc32,x-amz-checksum-sha256", "x-amz-checksum-sha256"])
async def test_the_trailers_are_those_that_were_promised(promised) -> None:
    trailers = (("x-amz-checksum-crc32", "AAAAAA=="),)
    head, encoded = chunked_request(b"aaaaa", [5], mode="STREAMING-UNSIGNED-PAYLOAD-TRAILER", trailers=trailers)
    other = replace(head, headers={**head.headers, "x-amz-trailer": promised})
    body = open_body(other, parse_authorization(other), SECRET, receiver(encoded))
    with pytest.raises(MalformedChunk) as refused:
        await body.read()
    assert refused.value.values["code"] == "MalformedTrailerError"


async def test_decoded_length_is_held_to_what_was_announced() -> None:
    head, encoded = chunked_request(b"aaaaabbbbb", [5, 5], mode=MODES[2][0], trailers=MODES[2][1])
    shorter = replace(head, headers={**head.headers, "x-amz-decoded-content-length": "9"})
    with pytest.raises(IncompleteBody):
        await open_body(shorter, parse_authorization(shorter), SECRET, receiver(encoded)).read()


async def test_plain_upload_is_held_to_its_hash_and_length() -> None:
    data = b"y" * 300_000
    head = signed(S3SigV4Auth, "s3", "PUT", "http://localhost/b/k", body=data)
    assert (await read(head, *split(data, 70_000)))[1] == data
    with pytest.raises(PayloadMismatch):
        await read(head, b"z" + data[1:])
    with pytest.raises(IncompleteBody):
        await read(head, data[:-1])


async def test_hash_of_a_chunked_body_is_not_a_way_around_the_check() -> None:
    head = signed(
        S3SigV4Auth, "s3", "PUT", "http://localhost/b/k", body=b"abc", headers={"content-encoding": "aws-chunked"}
    )
    with pytest.raises(MalformedChunk):
        await read(head, b"3\r\nxyz\r\n0\r\n\r\n")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6), st.sampled_from(["", "0", "3", "x", "-1", "9" * 30]))
def test_hostile_chunks_raise_refusals_only(pieces, length) -> None:
    headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": length}

    async def attempt():
        try:
            await open_body(RequestHead("PUT", "/b/k", "", headers), None, "", receiver(*pieces)).read()
        except Refused:
            pass

    asyncio.run(attempt())


def test_digests_of_small_bodies() -> None:
    md5 = base64.b64encode(hashlib.md5(b"<a/>").digest()).decode()
    check_digests(RequestHead("POST", "/", "", {"content-md5": md5}), b"<a/>")
    with pytest.raises(DigestMismatch):
        check_digests(RequestHead("POST", "/", "", {"content-md5": md5}), b"<b/>")
    with pytest.raises(DigestMismatch) as caught:
        check_digests(RequestHead("POST", "/", "", {"content-md5": "!"}), b"<b/>")
    assert caught.value.values["code"] == "InvalidDigest"
    with pytest.raises(DigestMismatch):
        check_digests(RequestHead("POST", "/", "", {"x-amz-checksum-crc32": "AAAAAA=="}), b"<b/>")


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -2359", "Sat, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_date_that_no_calendar_has_is_a_bad_request(date) -> None:
    claim = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=x"
    with pytest.raises(IncompleteSignature):
        parse_authorization(RequestHead("GET", "/", "", {"host": "x", "date": date, "authorization": claim}))
