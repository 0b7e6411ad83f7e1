"""Every refusal has a message in every family."""

import pytest

from penstock.objects.codec import S3Codec
from penstock.wire import errors
from penstock.wire.errors import Refused
from penstock.wire.refusals import worded
from penstock.wire.services import CODECS
from penstock.wire.shapes import Model

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Refused) and kind is not Refused
]


MODEL = Model({"metadata": {}})
CODEC = {**CODECS, "s3": S3Codec}


@pytest.mark.parametrize("family", sorted(CODEC))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_refusal_is_an_answer(family, kind) -> None:
    codec = CODEC[family](MODEL)
    error = worded(kind("told <so>"), codec.refusals)
    assert 400 <= error.status < 600
    assert error.message
    response = codec.error(None, error, "request-1")
    assert response.status == error.status
    assert error.wire_code.encode() in response.body + b"".join(value for _, value in response.headers)


@pytest.mark.parametrize(
    ("kind", "family", "code", "status"),
    [
        (errors.UnknownAccessKey, "json", "UnrecognizedClientException", 400),
        (errors.UnknownAccessKey, "query", "InvalidClientTokenId", 403),
        (errors.UnknownAccessKey, "s3", "InvalidAccessKeyId", 403),
        (errors.SignatureMismatch, "json", "InvalidSignatureException", 400),
        (errors.SignatureMismatch, "query", "SignatureDoesNotMatch", 403),
        (errors.SignatureMismatch, "s3", "SignatureDoesNotMatch", 403),
        (errors.SignatureExpired, "s3", "RequestTimeTooSkewed", 403),
        (errors.AccessDenied, "smithy-rpc-v2-cbor", "AccessDeniedException", 400),
        (errors.AccessDenied, "rest-json", "AccessDeniedException", 400),
        (errors.AccessDenied, "json", "AccessDeniedException", 400),
        (errors.AccessDenied, "query", "AccessDenied", 403),
        (errors.NotImplementedOperation, "json", "NotImplementedException", 501),
        (errors.MalformedBody, "json", "SerializationException", 400),
        (errors.MalformedBody, "s3", "MalformedXML", 400),
        (errors.Throttled, "json", "ThrottlingException", 400),
    ],
)
def test_codes_are_aws_own(kind, family, code, status) -> None:
    error = worded(kind(), CODEC[family].refusals)
    assert (error.wire_code, error.status) == (code, status)


def test_s3_may_get_a_finer_code() -> None:
    assert worded(errors.MalformedBody("x", code="InvalidURI"), S3Codec.refusals).wire_code == "InvalidURI"
    assert worded(errors.MalformedBody("x", code="InvalidURI"), CODECS["query"].refusals).wire_code == "MalformedInput"


def test_words_of_its_own_stay_where_they_report_more() -> None:
    own_message = "Credential should be scoped to correct service: 'iam'."
    for codec in CODEC.values():
        family = codec.refusals
        assert worded(errors.SignatureMismatch(own_message), family).message == own_message
        assert "does not match the signature you provided" in worded(errors.SignatureMismatch(), family).message
        assert "secret" not in worded(errors.UnknownAccessKey("a secret of the store"), family).message
    assert worded(errors.SignatureExpired("Signature expired: …"), CODECS["json"].refusals).message.startswith(
        "Signature expired"
    )
    assert worded(errors.SignatureExpired("Signature expired: …"), S3Codec.refusals).message.startswith(
        "The difference"
    )
