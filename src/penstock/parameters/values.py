"""Values of SecureString: encrypted by KMS under the caller's own session, for the parameter's ARN.

A standard value is a ciphertext of KMS, so whoever reads it without decryption may have KMS decrypt it. KMS takes no more than 4 KB: an
advanced value is encrypted here, under a data key that KMS made for it.
"""

from __future__ import annotations

import base64
import os
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.application import Call
from penstock.parameters.engine import SECURE, STANDARD
from penstock.parameters.errors import AccessDeniedException, InvalidKeyId
from penstock.wire.call import Input, Output
from penstock.wire.errors import ServiceError

_ENVELOPE = b"\xe1"  # no ciphertext of KMS begins with it
_NONCE = 12


async def encrypted(call: Call, value: str, *, arn: str, key: str, tier: str) -> str:
    """A value as it is stored. Raises InvalidKeyId, or AccessDenied with the sentence of KMS."""
    context = {"PARAMETER_ARN": arn}
    if tier == STANDARD:
        made = await _kms(call, "Encrypt", {"KeyId": key, "Plaintext": value.encode(), "EncryptionContext": context})
        return base64.b64encode(made["CiphertextBlob"]).decode()
    made = await _kms(call, "GenerateDataKey", {"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context})
    data_key = made["CiphertextBlob"]
    head = _ENVELOPE + len(data_key).to_bytes(2, "big") + data_key
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(made["Plaintext"]).encrypt(nonce, value.encode(), head + arn.encode())
    return base64.b64encode(head + nonce + sealed).decode()


async def decrypted(call: Call, stored: str, *, arn: str) -> str:
    """The value of what `encrypted` made for this ARN. Raises InvalidKeyId, or AccessDenied with the sentence of KMS."""
    blob, context = base64.b64decode(stored), {"PARAMETER_ARN": arn}
    if blob[:1] != _ENVELOPE:
        return (await _kms(call, "Decrypt", {"CiphertextBlob": blob, "EncryptionContext": context}))[
            "Plaintext"
        ].decode()
    end = 3 + int.from_bytes(blob[1:3], "big")
    opened = await _kms(call, "Decrypt", {"CiphertextBlob": blob[3:end], "EncryptionContext": context})
    nonce, sealed = blob[end : end + _NONCE], blob[end + _NONCE :]
    return AESGCM(opened["Plaintext"]).decrypt(nonce, sealed, blob[:end] + arn.encode()).decode()


async def _kms(call: Call, operation: str, input: Input) -> Output:
    try:
        return await call.app.invoke(call.session, "kms", operation, input, region=call.region, origin=call.origin)
    except ServiceError as error:
        if error.status >= 500:
            raise
        denied = error.wire_code == "AccessDeniedException"
        raise (AccessDeniedException if denied else InvalidKeyId)(error.message) from None


async def shown(call: Call, row: Any, *, arn: str, decrypt: bool) -> str:
    """The value of a version, as an answer has it."""
    if row.type != SECURE or not decrypt:
        return row.value
    return await decrypted(call, row.value, arn=arn)
