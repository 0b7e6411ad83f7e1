"""Values of SecureString: encrypted by KMS under the caller's own session, for the parameter's ARN.

A standard value is a ciphertext of KMS, so whoever reads it without decryption may have KMS decrypt it. An advanced
value is longer than KMS takes.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

from penstock import envelopes
from penstock.application import Call
from penstock.parameters.engine import SECURE, STANDARD
from penstock.parameters.errors import AccessDeniedException, InvalidKeyId
from penstock.wire.call import Input, Output
from penstock.wire.errors import ServiceError


async def encrypted(call: Call, value: str, *, arn: str, key: str, tier: str) -> str:
    """A value as it is stored. Raises InvalidKeyId, or AccessDenied with the sentence of KMS."""
    kms, context = partial(_kms, call), {"PARAMETER_ARN": arn}
    if tier == STANDARD:
        made = await kms("Encrypt", {"KeyId": key, "Plaintext": value.encode(), "EncryptionContext": context})
        return base64.b64encode(made["CiphertextBlob"]).decode()
    sealed = await envelopes.seal(kms, value.encode(), key=key, context=context, bound=arn.encode())
    return base64.b64encode(sealed).decode()


async def decrypted(call: Call, stored: str, *, arn: str) -> str:
    """The value of what `encrypted` made for this ARN. Raises InvalidKeyId, or AccessDenied with the sentence of KMS."""
    kms, blob, context = partial(_kms, call), base64.b64decode(stored), {"PARAMETER_ARN": arn}
    if envelopes.is_sealed(blob):
        return (await envelopes.unseal(kms, blob, context=context, bound=arn.encode())).decode()
    opened = await kms("Decrypt", {"CiphertextBlob": blob, "EncryptionContext": context})
    return opened["Plaintext"].decode()


async def _kms(call: Call, operation: str, input: Input) -> Output:
    try:
        return await call.app.invoke(call.session, "kms", operation, input, region=call.region, origin=call.origin)
    except ServiceError as error:
        if error.server_fault:
            raise
        denied = error.wire_code == "AccessDeniedException"
        raise (AccessDeniedException if denied else InvalidKeyId)(error.reason) from None


async def to_api(call: Call, row: Any, *, arn: str, decrypt: bool) -> str:
    """The value of a version, as an answer has it."""
    if row.type != SECURE or not decrypt:
        return row.value
    return await decrypted(call, row.value, arn=arn)
