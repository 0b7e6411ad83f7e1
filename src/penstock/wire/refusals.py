"""How each protocol expresses the neutral refusals: code, HTTP status and message.

Sources: AWS "Common errors" of the JSON and Query services; texts as AWS sends them. A service whose messages differ from those of
its protocol has a codec with wordings of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from penstock.wire import errors
from penstock.wire.errors import Refused, ServiceError, error_class


class Wording(NamedTuple):
    """One refusal in one protocol."""

    code: str
    status: int
    message: str = ""  # in place of the refusal's default message; "" keeps those
    always: bool = False  # even in place of a message of its own


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and"
    " signing method. Consult the service documentation for details."
)
_INVALID_TOKEN = "The security token included in the request is invalid."  # noqa: S105
_TOO_LARGE = "Request size exceeded the limit of the service."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wordings:
    """The wording of every refusal."""

    table: Mapping[type[Refused], Wording]
    other: Wording  # for what the table does not know
    # Takes the codes and values that a refusal states of its own, where those of others are coarser.
    finer_codes: bool = False


JSON = Wordings(
    table={
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
        errors.MissingAuthentication: Wording(
            "MissingAuthenticationTokenException", 400, "Missing Authentication Token"
        ),
        errors.UnknownOperation: Wording("UnknownOperationException", 400),
        errors.NotImplementedOperation: Wording("NotImplementedException", 501),
        errors.MalformedBody: Wording("SerializationException", 400),
        errors.BodyTooLarge: Wording("RequestEntityTooLargeException", 413, _TOO_LARGE),
        errors.Throttled: Wording("ThrottlingException", 400, "Rate exceeded"),
        errors.Unavailable: Wording("ServiceUnavailableException", 503),
        errors.InvalidInput: Wording("ValidationException", 400),
    },
    other=Wording("ValidationException", 400),
)

QUERY = Wordings(
    table={
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
        errors.MissingAuthentication: Wording(
            "MissingAuthenticationToken", 403, "Request is missing Authentication Token"
        ),
        errors.UnknownOperation: Wording("InvalidAction", 400, "Could not find the operation that the request names."),
        errors.NotImplementedOperation: Wording("NotImplemented", 501),
        errors.MalformedBody: Wording("MalformedInput", 400),
        errors.BodyTooLarge: Wording("RequestEntityTooLarge", 413, _TOO_LARGE),
        errors.Throttled: Wording("Throttling", 400, "Rate exceeded"),
        errors.Unavailable: Wording("ServiceUnavailable", 503),
        errors.InvalidInput: Wording("ValidationError", 400),
    },
    other=Wording("ValidationError", 400),
)


def worded(refused: Refused, wordings: Wordings) -> ServiceError:
    """The error that answers a refusal."""
    table = wordings.table
    wording = next((table[kind] for kind in type(refused).__mro__ if kind in table), wordings.other)
    code = refused.values.get("code", wording.code) if wordings.finer_codes else wording.code
    own_message = refused.message != " ".join((type(refused).__doc__ or "").split())
    message = wording.message if wording.message and (wording.always or not own_message) else refused.message
    values = {name: value for name, value in refused.values.items() if name != "code"} if wordings.finer_codes else {}
    error = error_class(code, wording.status)(message, **values)
    error.authorization = refused.authorization
    return error
