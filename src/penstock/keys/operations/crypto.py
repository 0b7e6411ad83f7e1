"""What keys are for: Encrypt, Decrypt, data keys and random bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from penstock.application import Call
from penstock.keys import engine, envelope, primitives, records
from penstock.keys.engine import Need
from penstock.keys.errors import (
    IncorrectKeyException,
    InvalidCiphertextException,
    UnsupportedOperationException,
    ValidationException,
)
from penstock.keys.lookup import NO_KEY, ciphertext_of, key_of
from penstock.keys.operations import SYMMETRIC_DEFAULT, ask_grants, check_tokens, dry, key_arn, keys_of, kms
from penstock.keys.primitives import SPECS
from penstock.keys.vault import SIGNING, Material, Vault, made
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied, ServiceError

_BYTES = {"AES_128": 16, "AES_256": 32}  # of data keys by spec
_SAME = "same key"  # of a call: whether ReEncrypt ends under the key that it begins with
_MAX_CONTEXT = 8192  # characters of an encryption context (AWS: KMS resource quotas)
_Keys = Mapping[str, "str | tuple[str, ...]"]


def _keys_of(member: str = "EncryptionAlgorithm") -> Callable[[Call, Input], _Keys]:
    """KMS's condition keys of a request that encrypts or decrypts with the algorithm that a member names."""

    def keys(call: Call, input: Input) -> _Keys:
        found = {**keys_of(call, input), "kms:encryptionalgorithm": input.get(member, SYMMETRIC_DEFAULT)}
        if "KeyPairSpec" in input:
            found["kms:datakeypairspec"] = input["KeyPairSpec"]
        if call.operation == "ReEncrypt":
            found["kms:reencryptonsamekey"] = "true" if call.memo.get(_SAME) else "false"
        return found

    return keys


async def _key_of_ciphertext(call: Call, input: Input, prefix: str = "") -> Any:
    """The key that a request names for its ciphertext, or the one that stands in it. `prefix` is of its members.

    The caller learns whether the named one has made it after it was authorised. Raises AccessDenied when it is nowhere.
    """
    member = f"{prefix}KeyId"
    if input.get(member):
        return await key_of(call, input, member)
    if input.get(f"{prefix}EncryptionAlgorithm", SYMMETRIC_DEFAULT) != SYMMETRIC_DEFAULT:
        raise ValidationException(f"{member} is required for a ciphertext of an asymmetric KMS key.")
    memo = "key of ciphertext"
    if memo not in call.memo:
        row = await call.app.store.read(records.key, ciphertext_of(call, input.get("CiphertextBlob", b"")).key_id)
        if row is None or row.region != call.region:
            raise AccessDenied(NO_KEY)
        call.memo[memo] = row
    return call.memo[memo]


def _decrypting(prefix: str = "") -> Callable[[Call, Input], Awaitable[str]]:
    async def resource(call: Call, input: Input) -> str:
        row = await _key_of_ciphertext(call, input, prefix)
        ask_grants(call, input.get(f"{prefix}EncryptionContext"))
        return row.arn

    return resource


async def _encrypting_again(call: Call, input: Input) -> str:
    arn = await _decrypting("Source")(call, input)
    with contextlib.suppress(
        ServiceError, AccessDenied
    ):  # a caller that this key lets learns what is wrong with the other
        call.memo[_SAME] = arn == (await key_of(call, input, "DestinationKeyId")).arn
    return arn


@kms("Encrypt", resource=key_arn(aliased=True), keys=_keys_of())
async def encrypt(vault: Vault, call: Call, input: Input) -> Output:
    """A ciphertext of at most 4,096 bytes, or of what an RSA key takes."""
    _check(input)
    row, algorithm = await key_of(call, input), input.get("EncryptionAlgorithm", SYMMETRIC_DEFAULT)
    material = await _usable(vault, row, row.material, "Encrypt", algorithm)
    blob = await _encrypted(row, material, algorithm, input["Plaintext"], _context(input, algorithm))
    dry(input)
    return {"CiphertextBlob": blob, "KeyId": row.arn, "EncryptionAlgorithm": algorithm}


@kms("Decrypt", resource=_decrypting(), keys=_keys_of())
async def decrypt(vault: Vault, call: Call, input: Input) -> Output:
    """The plaintext of a ciphertext; which symmetric key made it stands in it."""
    _check(input)
    row, algorithm, material, plaintext = await _decrypted(vault, call, input, "Decrypt")
    dry(input)
    found = {"KeyId": row.arn, "Plaintext": plaintext, "EncryptionAlgorithm": algorithm}
    return {**found, **_named(algorithm, "KeyMaterialId", material)}


@kms("ReEncrypt", action="kms:ReEncryptFrom", resource=_encrypting_again, keys=_keys_of("SourceEncryptionAlgorithm"))
async def re_encrypt(vault: Vault, call: Call, input: Input) -> Output:
    """The same plaintext under another key or context; nobody sees it."""
    _check(input)
    source = await _key_of_ciphertext(call, input, "Source")
    target = await key_of(call, input, "DestinationKeyId")
    await _may_encrypt_again(call, input, target)
    algorithm = input.get("DestinationEncryptionAlgorithm", SYMMETRIC_DEFAULT)
    then = await _usable(vault, target, target.material, "ReEncrypt", algorithm)
    _, was, before, plaintext = await _decrypted(vault, call, input, "ReEncrypt", "Source")
    sealing = _context(input, algorithm, "Destination")
    blob = await _encrypted(target, then, algorithm, plaintext, sealing)
    dry(input)
    return {
        "CiphertextBlob": blob,
        "SourceKeyId": source.arn,
        "KeyId": target.arn,
        "SourceEncryptionAlgorithm": was,
        "DestinationEncryptionAlgorithm": algorithm,
        **_named(was, "SourceKeyMaterialId", before),
        **_named(algorithm, "DestinationKeyMaterialId", then),
    }


async def _may_encrypt_again(call: Call, input: Input, target: Any) -> None:
    """Ask for the other half of ReEncrypt, with what it asks of its own key. Raises AccessDenied."""
    asked = {"KeyId": input["DestinationKeyId"], "EncryptionContext": input.get("DestinationEncryptionContext")}
    if "DestinationEncryptionAlgorithm" in input:
        asked["EncryptionAlgorithm"] = input["DestinationEncryptionAlgorithm"]
    keys = _keys_of()
    half = replace(call, memo={"asked": lambda: keys(call, asked)})
    ask_grants(half, asked["EncryptionContext"])
    await call.app.identity.authorize(half, "kms:ReEncryptTo", (target.arn,))


@kms("GenerateDataKey", resource=key_arn(aliased=True), keys=_keys_of())
async def generate_data_key(vault: Vault, call: Call, input: Input) -> Output:
    """Random bytes, in plain and as a ciphertext."""
    plaintext, found = await _data_key(vault, call, input, "GenerateDataKey")
    return {**found, "Plaintext": plaintext}


@kms("GenerateDataKeyWithoutPlaintext", resource=key_arn(aliased=True), keys=_keys_of())
async def generate_data_key_without_plaintext(vault: Vault, call: Call, input: Input) -> Output:
    """Random bytes as a ciphertext, for whoever may decrypt it later."""
    _, found = await _data_key(vault, call, input, "GenerateDataKeyWithoutPlaintext")
    return found


@kms("GenerateDataKeyPair", resource=key_arn(aliased=True), keys=_keys_of())
async def generate_data_key_pair(vault: Vault, call: Call, input: Input) -> Output:
    """A pair that nobody keeps here: its public half, its private one in plain and as a ciphertext."""
    private, found = await _data_key_pair(vault, call, input, "GenerateDataKeyPair")
    return {**found, "PrivateKeyPlaintext": private}


@kms("GenerateDataKeyPairWithoutPlaintext", resource=key_arn(aliased=True), keys=_keys_of())
async def generate_data_key_pair_without_plaintext(vault: Vault, call: Call, input: Input) -> Output:
    """A pair that nobody keeps here, its private half as a ciphertext, for whoever may decrypt it later."""
    _, found = await _data_key_pair(vault, call, input, "GenerateDataKeyPairWithoutPlaintext")
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


async def _data_key_pair(vault: Vault, call: Call, input: Input, operation: str) -> tuple[bytes, Output]:
    """The private half (DER, PKCS #8) of a new pair, and the answer without it."""
    _check(input)
    spec = input["KeyPairSpec"]
    if spec not in SPECS or not SPECS[spec].is_pair:
        pairs = ", ".join(name for name, kind in SPECS.items() if kind.is_pair)
        raise UnsupportedOperationException(f"Pairs of the spec {spec} are not served here. Choose one of {pairs}.")
    row, context = await key_of(call, input), _context(input)
    material = await _usable(vault, row, row.material, operation)
    dry(input)
    private = await made(spec)
    return private, {
        "PrivateKeyCiphertextBlob": envelope.encrypt(row.id, material.number, material.secret, private, context),
        "PublicKey": primitives.public_key(primitives.loaded(spec, private)),
        "KeyId": row.arn,
        "KeyPairSpec": spec,
        "KeyMaterialId": material.id,
    }


async def _usable(vault: Vault, row: Any, number: int, operation: str, algorithm: str = SYMMETRIC_DEFAULT) -> Material:
    """The material of a key that can be used. Raises what KMS answers when it cannot."""
    engine.check(row, Need.USABLE, operation)
    primitives.check_algorithm(row, algorithm)
    found = await vault.material(row, number)
    if found is None:
        raise InvalidCiphertextException
    return found


async def _encrypted(
    row: Any, material: Material, algorithm: str, plaintext: bytes, context: Mapping[str, str]
) -> bytes:
    if algorithm == SYMMETRIC_DEFAULT:
        return envelope.encrypt(row.id, material.number, material.secret, plaintext, context)
    return await SIGNING.run(primitives.encrypt, material.secret, algorithm, plaintext)


async def _decrypted(
    vault: Vault, call: Call, input: Input, operation: str, prefix: str = ""
) -> tuple[Any, str, Material, bytes]:
    """(key, algorithm, material, plaintext) of a ciphertext. Raises what KMS answers for anything else."""
    row = await _key_of_ciphertext(call, input, prefix)
    algorithm = input.get(f"{prefix}EncryptionAlgorithm", SYMMETRIC_DEFAULT)
    context = _context(input, algorithm, prefix)
    if algorithm == SYMMETRIC_DEFAULT and not SPECS[row.spec].is_pair:
        source = ciphertext_of(call, input.get("CiphertextBlob", b""))
        if source.key_id != row.id:
            raise IncorrectKeyException
        material = await _usable(vault, row, source.material, operation)
        return row, algorithm, material, _opened(source, material, context)
    material = await _usable(vault, row, row.material, operation, algorithm)
    plaintext = await SIGNING.run(primitives.decrypt, material.secret, algorithm, input.get("CiphertextBlob", b""))
    if plaintext is None:
        raise InvalidCiphertextException
    return row, algorithm, material, plaintext


def _opened(source: envelope.Opened, material: Material, context: Mapping[str, str]) -> bytes:
    try:
        return source.decrypt(material.secret, context)
    except envelope.BadCiphertextError:
        raise InvalidCiphertextException from None


def _named(algorithm: str, member: str, material: Material) -> Output:
    """A member that names the material of a symmetric key. Pairs have one for ever, which has no name."""
    return {member: material.id} if algorithm == SYMMETRIC_DEFAULT else {}


def _context(input: Input, algorithm: str = SYMMETRIC_DEFAULT, prefix: str = "") -> Mapping[str, str]:
    context = input.get(f"{prefix}EncryptionContext") or {}
    if context and algorithm != SYMMETRIC_DEFAULT:
        raise ValidationException(f"{algorithm} knows no encryption context: leave {prefix}EncryptionContext out.")
    if sum(len(key) + len(value) for key, value in context.items()) > _MAX_CONTEXT:
        raise ValidationException(f"The encryption context is longer than {_MAX_CONTEXT} characters.")
    return context


def _check(input: Input) -> None:
    """Refuse what is not served, and texts that are not grant tokens."""
    check_tokens(input)
    if "Recipient" in input:
        raise UnsupportedOperationException("Nitro enclaves are not served here: leave Recipient out.")
    if "CustomKeyStoreId" in input:
        raise UnsupportedOperationException("There are no custom key stores here: leave CustomKeyStoreId out.")
    if "DryRunModifiers" in input:
        raise UnsupportedOperationException("A dry run here is of the whole request: leave DryRunModifiers out.")
