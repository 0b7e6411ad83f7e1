"""Errors that an operation answers with, and the neutral refusals that each protocol expresses its own way."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar


class ServiceError(Exception):
    """The request could not be served."""

    # The class docstring is the default message, formatted with the keyword arguments:
    #   class PipelineNotFoundException(ServiceError):
    #       """Account '{account}' does not have a pipeline with name '{name}'"""
    #   raise PipelineNotFoundException(account=…, name=…)

    code: ClassVar[str] = ""  # wire code; the class name when empty
    status: ClassVar[int] = 400
    sender_fault: ClassVar[bool] = True

    def __init__(self, message: str | None = None, /, **values: Any) -> None:
        if message is None:
            message = " ".join((type(self).__doc__ or "").split())
            if values:
                message = message.format(**values)
        super().__init__(message)
        self.message = message
        self.values = values  # modelled members of the error shape are taken from here
        self.headers: dict[str, str] = {}  # further headers of the answer; lower-case names
        self.authorization = ""  # what is behind a denial, encoded for sts:DecodeAuthorizationMessage

    @property
    def wire_code(self) -> str:
        """The code that goes on the wire."""
        return type(self).code or type(self).__name__

    @property
    def reason(self) -> str:
        """What another error says that passes this one on: the message, or the code of an error to which AWS gives no text."""
        return self.message or self.wire_code

    @property
    def server_fault(self) -> bool:
        """Whether the server is at fault, and not the request: the same one may succeed later."""
        return self.status >= 500


class InternalFailure(ServiceError):
    """The request failed because of a fault of the server. Its log has the details under this request's id."""

    status = 500
    sender_fault = False


@cache
def error_class(code: str, status: int = 400, *, sender_fault: bool = True) -> type[ServiceError]:
    """The error of a code that no component declares (validation, refusals). Codes come from our tables, never from requests."""
    members = {"__doc__": "", "code": code, "status": status, "sender_fault": sender_fault}
    return type(code, (ServiceError,), members)


# Neutral refusals: raised by wire and identity alike, worded per protocol by penstock.wire.refusals.


class Refused(Exception):
    """A request refused before its operation ran."""

    def __init__(self, message: str = "", /, **values: Any) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))
        self.message = str(self)
        self.values = values
        self.authorization = ""  # what is behind a denial, encoded for sts:DecodeAuthorizationMessage


class AccessDenied(Refused):
    """The caller may not do this."""


class UnknownAccessKey(Refused):
    """The security token included in the request is invalid."""


class InvalidSessionToken(Refused):
    """The security token included in the request is invalid."""


class ExpiredSession(Refused):
    """The security token included in the request is expired"""


class SignatureMismatch(Refused):
    """The request signature we calculated does not match the signature you provided."""


class IncompleteSignature(Refused):
    """The request signature does not conform to AWS standards."""


class SignatureExpired(Refused):
    """Signature expired."""


class PresignedExpired(Refused):
    """Request has expired"""


class UnsignedHeaders(Refused):
    """There were headers present in the request which were not signed"""


class UnsupportedAuthorization(Refused):
    """The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."""


class PayloadMismatch(Refused):
    """The provided 'x-amz-content-sha256' header does not match what was computed."""


class DigestMismatch(Refused):
    """The Content-MD5 you specified did not match what we received."""


class IncompleteBody(Refused):
    """You did not provide the number of bytes specified by the Content-Length HTTP header"""


class MalformedChunk(Refused):
    """The request body is not a valid aws-chunked stream."""


class MissingLength(Refused):
    """You must provide the Content-Length HTTP header."""


class MissingAuthentication(Refused):
    """Missing Authentication Token"""


class UnknownOperation(Refused):
    """The operation does not exist."""


class NotImplementedOperation(Refused):
    """The operation exists in AWS's model and is not served yet."""


class MalformedBody(Refused):
    """The body cannot be read."""


class BodyTooLarge(Refused):
    """The body is larger than the service reads."""


class Throttled(Refused):
    """Rate exceeded"""


class Unavailable(Refused):
    """The request has failed due to a temporary failure of the server."""


class InvalidInput(Refused):
    """The input breaks constraints of the model; `values["violations"]` lists them."""


def passes(error: Refused | ServiceError) -> bool:
    """Whether the same call may succeed later: it was throttled, or the server was at fault."""
    if isinstance(error, ServiceError):
        return error.server_fault or error.wire_code in ("ThrottlingException", "Throttling")
    return isinstance(error, Throttled | Unavailable)
