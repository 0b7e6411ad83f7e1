"""Every refusal has words in every family."""

import pytest

from penstock.wire import errors
from penstock.wire.errors import Refused
from penstock.wire.refusals import FAMILIES, codec_of, worded

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Refused) and kind is not Refused
]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_refusal_is_an_answer(family, kind) -> None:
    error = worded(kind("told <so>"), family)
    assert 400 <= error.status < 600
    assert error.message
    response = codec_of(family).error(None, error, "request-1")
    assert response.status == error.status
    assert error.wire_code.encode() in response.body


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
        (errors.AccessDenied, "json", "AccessDeniedException", 400),
        (errors.AccessDenied, "query", "AccessDenied", 403),
        (errors.NotImplementedOperation, "json", "NotImplementedException", 501),
        (errors.MalformedBody, "json", "SerializationException", 400),
        (errors.MalformedBody, "s3", "MalformedXML", 400),
        (errors.Throttled, "json", "ThrottlingException", 400),
    ],
)
def test_codes_are_aws_own(kind, family, code, status) -> None:
    error = worded(kind(), family)
    assert (error.wire_code, error.status) == (code, status)


def test_s3_may_be_told_a_finer_code() -> None:
    assert worded(errors.MalformedBody("x", code="InvalidURI"), "s3").wire_code == "InvalidURI"
    assert worded(errors.MalformedBody("x", code="InvalidURI"), "query").wire_code == "MalformedInput"


def test_words_of_its_own_stay_where_they_tell_more() -> None:
    told = "Credential should be scoped to correct service: 'iam'."
    for family in FAMILIES:
        assert worded(errors.SignatureMismatch(told), family).message == told
        assert "does not match the signature you provided" in worded(errors.SignatureMismatch(), family).message
        assert "secret" not in worded(errors.UnknownAccessKey("a secret of the store"), family).message
    assert worded(errors.SignatureExpired("Signature expired: …"), "json").message.startswith("Signature expired")
    assert worded(errors.SignatureExpired("Signature expired: …"), "s3").message.startswith("The difference")
