"""Values of secrets: sealed under data keys of KMS, which it makes and opens for the caller's own session.

(AWS: Secrets Manager User Guide, "Secret encryption and decryption in AWS Secrets Manager".)
"""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from penstock import envelopes
from penstock.application import Call
from penstock.secrets.errors import (
    AccessDeniedException,
    DecryptionFailure,
    EncryptionFailure,
    InvalidRequestException,
)
from penstock.secrets.names import arn_of
from penstock.wire.call import Input, Output, partition_of
from penstock.wire.errors import AccessDenied, ServiceError

DEFAULT_KEY = "alias/aws/secretsmanager"


async def sealed(call: Call, secret: Any, version_id: str, value: bytes, *, key: str | None) -> bytes:
    """What is kept of a value of a secret. Raises AccessDeniedException, EncryptionFailure or InvalidRequestException."""
    context = _context(secret, version_id)
    named = _arn_of_key(call, secret, key)
    return await envelopes.seal(
        partial(_kms, call), value, key=named, context=context, bound=orjson.dumps(context, option=orjson.OPT_SORT_KEYS)
    )


async def opened(call: Call, secret: Any, version: Any) -> bytes:
    """The value of a version. Raises AccessDeniedException, DecryptionFailure or InvalidRequestException."""
    context = _context(secret, version.id)
    _arn_of_key(call, secret, version.key)
    bound = orjson.dumps(context, option=orjson.OPT_SORT_KEYS)
    return await envelopes.unseal(partial(_kms, call), version.value, context=context, bound=bound)


def _context(secret: Any, version_id: str) -> dict[str, str]:
    arn = arn_of(secret.account, secret.region, secret.name, secret.suffix)
    return {"SecretARN": arn, "SecretVersionId": version_id}


def _arn_of_key(call: Call, secret: Any, key: str | None) -> str:
    """The key of a secret, whose id or alias is of the secret's account. Raises InvalidRequestException for callers of others without a customer key."""
    own = f"arn:{partition_of(secret.region)}:kms:{secret.region}:{secret.account}:"
    named = key or DEFAULT_KEY
    if not named.startswith("arn:"):
        named = own + (named if named.startswith("alias/") else f"key/{named}")
    if named == own + DEFAULT_KEY and call.account != secret.account:
        raise InvalidRequestException(
            "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS service key."
        )
    return named


async def _kms(call: Call, operation: str, input: Input) -> Output:
    try:
        return await call.app.invoke(call.session, "kms", operation, input, region=call.region, origin=call.origin)
    except AccessDenied:
        raise AccessDeniedException from None
    except ServiceError as error:
        if error.server_fault:
            raise
        if error.wire_code == "AccessDeniedException":
            raise AccessDeniedException from None
        failure = DecryptionFailure if operation == "Decrypt" else EncryptionFailure
        raise failure(reason=error.reason) from None
