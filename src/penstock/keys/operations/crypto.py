"""What keys are for: Encrypt, Decrypt, data keys and random bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.application import Call
from penstock.keys import engine, envelope, records
from penstock.keys.engine import Need
from penstock.keys.errors import (
    AccessDeniedException,
    IncorrectKeyException,
    InvalidCiphertextException,
    UnsupportedOperationException,
    ValidationException,
)
from penstock.keys.lookup import key_of
from penstock.keys.operations import SYMMETRIC_DEFAULT, ask_grants, check_tokens, dry, key_arn, keys_of, kms
from penstock.keys.vault import Material, Vault
from penstock.wire.call import Input, Output

ALGORITHM = SYMMETRIC_DEFAULT
_BYTES = {"AES_128": 16, "AES_256": 32}  # of data keys by spec
_MAX_CONTEXT = 8192  # characters of an encryption context (AWS: KMS resource quotas)


def _source(call: Call, input: Input) -> envelope.Opened:
    """What the ciphertext of an input says of itself. Raises InvalidCiphertextException."""
    if "ciphertext" not in call.memo:
        try:
            call.memo["ciphertext"] = envelope.opened(input.get("CiphertextBlob", b""))
        except envelope.BadCiphertextError:
            raise InvalidCiphertextException from None
    return call.memo["ciphertext"]


async def _key_of_ciphertext(call: Call, input: Input, member: str = "KeyId") -> Any:
    """The key that made a ciphertext. Raises AccessDeniedException when it is nowhere, IncorrectKeyException when it is not the one named."""
    memo = "key of ciphertext"
    if memo not in call.memo:
        row = await call.app.store.read(records.key, _source(call, input).key_id)
        if row is None or row.region != call.region:
            raise AccessDeniedException
        if input.get(member) and (await key_of(call, input, member)).id != row.id:
            raise IncorrectKeyException
        call.memo[memo] = row
    return call.memo[memo]


async def _decrypting(call: Call, input: Input) -> str:
    row = await _key_of_ciphertext(call, input)
    ask_grants(call, input.get("EncryptionContext"))
    return row.arn


@kms("Encrypt", resource=key_arn(aliased=True), keys=keys_of)
async def encrypt(vault: Vault, call: Call, input: Input) -> Output:
    """A ciphertext of at most 4,096 bytes."""
    _check(input)
    row = await key_of(call, input)
    material = await _usable(vault, row, row.material, "Encrypt")
    dry(input)
    blob = envelope.encrypt(row.id, material.number, material.secret, input["Plaintext"], _context(input))
    return {"CiphertextBlob": blob, "KeyId": row.arn, "EncryptionAlgorithm": ALGORITHM}


@kms("Decrypt", resource=_decrypting, keys=keys_of)
async def decrypt(vault: Vault, call: Call, input: Input) -> Output:
    """The plaintext of a ciphertext; which key made it stands in it."""
    _check(input)
    row = await _key_of_ciphertext(call, input)
    source = _source(call, input)
    material = await _usable(vault, row, source.material, "Decrypt")
    plaintext = _opened(source, material, _context(input))
    dry(input)
    return {"KeyId": row.arn, "Plaintext": plaintext, "EncryptionAlgorithm": ALGORITHM, "KeyMaterialId": material.id}


async def _from(call: Call, input: Input) -> str:
    row = await _key_of_ciphertext(call, input, "SourceKeyId")
    ask_grants(call, input.get("SourceEncryptionContext"))
    return row.arn


@kms("ReEncrypt", action="kms:ReEncryptFrom", resource=_from, keys=keys_of)
async def re_encrypt(vault: Vault, call: Call, input: Input) -> Output:
    """The same plaintext under another key or context; nobody sees it."""
    _check(input)
    source = await _key_of_ciphertext(call, input, "SourceKeyId")
    target = await key_of(call, input, "DestinationKeyId")
    await _may_encrypt_again(call, input, source, target)
    ciphertext = _source(call, input)
    before = await _usable(vault, source, ciphertext.material, "ReEncrypt")
    then = await _usable(vault, target, target.material, "ReEncrypt")
    plaintext = _opened(ciphertext, before, _context(input, "SourceEncryptionContext"))
    sealing = _context(input, "DestinationEncryptionContext")
    dry(input)
    return {
        "CiphertextBlob": envelope.encrypt(target.id, then.number, then.secret, plaintext, sealing),
        "SourceKeyId": source.arn,
        "KeyId": target.arn,
        "SourceEncryptionAlgorithm": ALGORITHM,
        "DestinationEncryptionAlgorithm": ALGORITHM,
        "SourceKeyMaterialId": before.id,
        "DestinationKeyMaterialId": then.id,
    }


async def _may_encrypt_again(call: Call, input: Input, source: Any, target: Any) -> None:
    """Ask for the other half of ReEncrypt, with what it asks of its own key. Raises AccessDenied."""
    asked = {"KeyId": input["DestinationKeyId"], "EncryptionContext": input.get("DestinationEncryptionContext")}
    same = {"kms:reencryptonsamekey": "true" if source.id == target.id else "false"}
    half = replace(call, memo={"asked": lambda: {**keys_of(call, asked), **same}})
    ask_grants(half, asked["EncryptionContext"])
    await call.app.identity.authorize(half, "kms:ReEncryptTo", (target.arn,))


@kms("GenerateDataKey", resource=key_arn(aliased=True), keys=keys_of)
async def generate_data_key(vault: Vault, call: Call, input: Input) -> Output:
    """Random bytes, in plain and as a ciphertext."""
    plaintext, found = await _data_key(vault, call, input, "GenerateDataKey")
    return {**found, "Plaintext": plaintext}


@kms("GenerateDataKeyWithoutPlaintext", resource=key_arn(aliased=True), keys=keys_of)
async def generate_data_key_without_plaintext(vault: Vault, call: Call, input: Input) -> Output:
    """Random bytes as a ciphertext, for whoever may decrypt it later."""
    _, found = await _data_key(vault, call, input, "GenerateDataKeyWithoutPlaintext")
    return found


@kms("GenerateRandom", keys=keys_of)
async def generate_random(vault: Vault, call: Call, input: Input) -> Output:
    """Random bytes of the system."""
    _check(input)
    if "NumberOfBytes" not in input:
        raise ValidationException("NumberOfBytes is required.")
    return {"Plaintext": os.urandom(input["NumberOfBytes"])}


async def _data_key(vault: Vault, call: Call, input: Input, operation: str) -> tuple[bytes, Output]:
    _check(input)
    if ("KeySpec" in input) is ("NumberOfBytes" in input):
        raise ValidationException("Please specify either number of bytes or key spec.")
    size = _BYTES[input["KeySpec"]] if "KeySpec" in input else input["NumberOfBytes"]
    row, plaintext = await key_of(call, input), os.urandom(size)
    material = await _usable(vault, row, row.material, operation)
    dry(input)
    blob = envelope.encrypt(row.id, material.number, material.secret, plaintext, _context(input))
    return plaintext, {"CiphertextBlob": blob, "KeyId": row.arn, "KeyMaterialId": material.id}


async def _usable(vault: Vault, row: Any, number: int, operation: str) -> Material:
    """The material of a key that can be used. Raises what KMS answers when it cannot."""
    engine.check(row, Need.USABLE, operation)
    found = await vault.material(row, number)
    if found is None:
        raise InvalidCiphertextException
    return found


def _opened(source: envelope.Opened, material: Material, context: Mapping[str, str]) -> bytes:
    try:
        return source.decrypt(material.secret, context)
    except envelope.BadCiphertextError:
        raise InvalidCiphertextException from None


def _context(input: Input, member: str = "EncryptionContext") -> Mapping[str, str]:
    context = input.get(member) or {}
    if sum(len(key) + len(value) for key, value in context.items()) > _MAX_CONTEXT:
        raise ValidationException(f"The encryption context is longer than {_MAX_CONTEXT} characters.")
    return context


def _check(input: Input) -> None:
    """Refuse what is not served, and tokens that are none."""
    check_tokens(input)
    if "Recipient" in input:
        raise UnsupportedOperationException("Nitro enclaves are not served here: leave Recipient out.")
    if "CustomKeyStoreId" in input:
        raise UnsupportedOperationException("There are no custom key stores here: leave CustomKeyStoreId out.")
    if "DryRunModifiers" in input:
        raise UnsupportedOperationException("A dry run here is of the whole request: leave DryRunModifiers out.")
    algorithms = ("EncryptionAlgorithm", "SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm")
    if any(input.get(name, ALGORITHM) != ALGORITHM for name in algorithms):
        raise UnsupportedOperationException(f"Symmetric keys encrypt with {ALGORITHM}.")
