"""S3's messages for the neutral refusals. Source: S3 API Reference, "Error responses"; texts as AWS sends them."""

from __future__ import annotations

from penstock.wire import errors
from penstock.wire.refusals import Wording, Wordings

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)

S3 = Wordings(
    table={
        errors.AccessDenied: Wording("AccessDenied", 403),
        errors.UnknownAccessKey: Wording(
            "InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records.", always=True
        ),
        errors.InvalidSessionToken: Wording(
            "InvalidToken", 400, "The provided token is malformed or otherwise invalid.", always=True
        ),
        errors.ExpiredSession: Wording("ExpiredToken", 400, "The provided token has expired.", always=True),
        errors.SignatureMismatch: Wording("SignatureDoesNotMatch", 403, _MISMATCH),
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
    },
    other=Wording("InvalidRequest", 400),
    finer_codes=True,
)
