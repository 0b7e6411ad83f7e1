"""How each protocol words the neutral refusals: code, HTTP status and message.

Sources: AWS "Common errors" of the JSON and Query services; S3 API Reference, "Error responses"; texts as AWS sends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from penstock.wire import errors
from penstock.wire.codec_cbor import CborCodec
from penstock.wire.codec_json import JsonCodec
from penstock.wire.codec_query import QueryCodec
from penstock.wire.codec_rest_xml import RestXmlCodec
from penstock.wire.errors import Refused, ServiceError, error_class
from penstock.wire.message import Codec
from penstock.wire.shapes import Model


class Wording(NamedTuple):
    """One refusal in one protocol."""

    code: str
    status: int
    message: str = ""  # in place of the refusal's default words; "" keeps those
    always: bool = False  # also in place of words of its own


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and"
    " signing method. Consult the service documentation for details."
)
_S3_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)
_INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105
_TOO_LARGE = "Request size exceeded the limit of the service."

Table = Mapping[type[Refused], Wording]

_JSON: Table = {
    errors.AccessDenied: Wording("AccessDeniedException", 400),
    errors.UnknownAccessKey: Wording("UnrecognizedClientException", 400, _INVALID_TOKEN, always=True),
    errors.InvalidSessionToken: Wording("UnrecognizedClientException", 400, _INVALID_TOKEN, always=True),
    errors.ExpiredSession: Wording(
        "ExpiredTokenException", 400, "The security token included in the request is expired", always=True
    ),
    errors.SignatureMismatch: Wording("InvalidSignatureException", 400, _MISMATCH),
    errors.UnsignedHeaders: Wording("InvalidSignatureException", 400),
    errors.PayloadMismatch: Wording("InvalidSignatureException", 400, _MISMATCH),
    errors.SignatureExpired: Wording("InvalidSignatureException", 400),
    errors.PresignedExpired: Wording("InvalidSignatureException", 400),
    errors.IncompleteSignature: Wording("IncompleteSignatureException", 400),
    errors.UnsupportedAuthorization: Wording("IncompleteSignatureException", 400),
    errors.MissingAuthentication: Wording("MissingAuthenticationTokenException", 400, "Missing Authentication Token"),
    errors.UnknownOperation: Wording("UnknownOperationException", 400),
    errors.NotImplementedOperation: Wording("NotImplementedException", 501),
    errors.MalformedBody: Wording("SerializationException", 400),
    errors.BodyTooLarge: Wording("RequestEntityTooLargeException", 413, _TOO_LARGE),
    errors.Throttled: Wording("ThrottlingException", 400, "Rate exceeded"),
    errors.Unavailable: Wording("ServiceUnavailableException", 503),
    errors.InvalidInput: Wording("ValidationException", 400),
}

_QUERY: Table = {
    errors.AccessDenied: Wording("AccessDenied", 403),
    errors.UnknownAccessKey: Wording("InvalidClientTokenId", 403, _INVALID_TOKEN, always=True),
    errors.InvalidSessionToken: Wording("InvalidClientTokenId", 403, _INVALID_TOKEN, always=True),
    errors.ExpiredSession: Wording(
        "ExpiredToken", 403, "The security token included in the request is expired", always=True
    ),
    errors.SignatureMismatch: Wording("SignatureDoesNotMatch", 403, _MISMATCH),
    errors.UnsignedHeaders: Wording("SignatureDoesNotMatch", 403),
    errors.PayloadMismatch: Wording("SignatureDoesNotMatch", 403, _MISMATCH),
    errors.SignatureExpired: Wording("SignatureDoesNotMatch", 403),
    errors.PresignedExpired: Wording("SignatureDoesNotMatch", 403),
    errors.IncompleteSignature: Wording("IncompleteSignature", 400),
    errors.UnsupportedAuthorization: Wording("IncompleteSignature", 400),
    errors.MissingAuthentication: Wording("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
    errors.UnknownOperation: Wording("InvalidAction", 400, "Could not find the operation that the request names."),
    errors.NotImplementedOperation: Wording("NotImplemented", 501),
    errors.MalformedBody: Wording("MalformedInput", 400),
    errors.BodyTooLarge: Wording("RequestEntityTooLarge", 413, _TOO_LARGE),
    errors.Throttled: Wording("Throttling", 400, "Rate exceeded"),
    errors.Unavailable: Wording("ServiceUnavailable", 503),
    errors.InvalidInput: Wording("ValidationError", 400),
}

_S3: Table = {
    errors.AccessDenied: Wording("AccessDenied", 403),
    errors.UnknownAccessKey: Wording(
        "InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records.", always=True
    ),
    errors.InvalidSessionToken: Wording(
        "InvalidToken", 400, "The provided token is malformed or otherwise invalid.", always=True
    ),
    errors.ExpiredSession: Wording("ExpiredToken", 400, "The provided token has expired.", always=True),
    errors.SignatureMismatch: Wording("SignatureDoesNotMatch", 403, _S3_MISMATCH),
    errors.UnsignedHeaders: Wording("AccessDenied", 403),
    errors.PayloadMismatch: Wording("XAmzContentSHA256Mismatch", 400),
    errors.SignatureExpired: Wording(
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
        always=True,
    ),
    errors.PresignedExpired: Wording("AccessDenied", 403, "Request has expired"),
    errors.IncompleteSignature: Wording("AuthorizationHeaderMalformed", 400),
    errors.UnsupportedAuthorization: Wording("InvalidRequest", 400),
    errors.MissingAuthentication: Wording("AccessDenied", 403, "Access Denied"),
    errors.UnknownOperation: Wording(
        "MethodNotAllowed", 405, "The specified method is not allowed against this resource."
    ),
    errors.NotImplementedOperation: Wording("NotImplemented", 501),
    errors.MalformedBody: Wording("MalformedXML", 400),
    errors.BodyTooLarge: Wording("MaxMessageLengthExceeded", 400, "Your request was too large."),
    errors.Throttled: Wording("SlowDown", 503, "Please reduce your request rate."),
    errors.Unavailable: Wording("ServiceUnavailable", 503),
    errors.InvalidInput: Wording("InvalidArgument", 400),
    errors.DigestMismatch: Wording("BadDigest", 400),
    errors.IncompleteBody: Wording("IncompleteBody", 400),
    errors.MalformedChunk: Wording("InvalidRequest", 400),
    errors.MissingLength: Wording("MissingContentLength", 411),
}

FAMILIES: Mapping[str, Table] = {"json": _JSON, "query": _QUERY, "s3": _S3}

_FALLBACK = {
    "json": Wording("ValidationException", 400),
    "query": Wording("ValidationError", 400),
    "s3": Wording("InvalidRequest", 400),
}


def worded(refused: Refused, family: str) -> ServiceError:
    """The error that answers a refusal in a family of protocols: json, query or s3.

    A refusal may state a code of its own for S3 (`values["code"]`), whose codes are finer than the other families'.
    """
    table = FAMILIES[family]
    wording = next((table[kind] for kind in type(refused).__mro__ if kind in table), _FALLBACK[family])
    code, status = wording.code, wording.status
    if family == "s3" and (own := refused.values.get("code")) is not None:
        code = own
    own_words = refused.message != " ".join((type(refused).__doc__ or "").split())
    message = wording.message if wording.message and (wording.always or not own_words) else refused.message
    values = {name: value for name, value in refused.values.items() if name != "code"} if family == "s3" else {}
    return error_class(code, status)(message, **values)


_CODECS: Mapping[str, Codec] = {
    "json": JsonCodec(Model({"metadata": {"jsonVersion": "1.1"}})),
    "query": QueryCodec(Model({"metadata": {}})),
    "cbor": CborCodec(Model({"metadata": {}})),
    "s3": RestXmlCodec(Model({"metadata": {"signatureVersion": "s3"}})),
}


def codec_of(form: str) -> Codec:
    """A codec to word errors with before the service is known, by family, or `cbor`."""
    return _CODECS[form]
