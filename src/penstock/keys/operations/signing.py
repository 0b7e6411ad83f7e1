"""Signatures, public keys and MACs."""

from __future__ import annotations

import hmac
from typing import Any

from penstock.application import Call
from penstock.keys import engine, primitives
from penstock.keys.engine import Need
from penstock.keys.errors import (
    KMSInvalidMacException,
    KMSInvalidSignatureException,
    UnsupportedOperationException,
)
from penstock.keys.lookup import key_of
from penstock.keys.operations import ALGORITHMS, check_tokens, dry, key_arn, keys_of, kms
from penstock.keys.primitives import SPECS, algorithms_of
from penstock.keys.vault import SIGNING, Vault
from penstock.wire.call import Input, Output


@kms("Sign", resource=key_arn(aliased=True), keys=keys_of)
async def sign(vault: Vault, call: Call, input: Input) -> Output:
    """A signature of a message of at most 4,096 bytes, or of the digest of any."""
    row, algorithm, digest = await _key_for(call, input, "Sign"), input["SigningAlgorithm"], _is_digest(input)
    primitives.check_message(algorithm, input["Message"], digest=digest)
    dry(input)
    private = (await vault.current(row)).secret
    signature = await SIGNING.run(lambda: primitives.sign(private, algorithm, input["Message"], digest=digest))
    return {"KeyId": row.arn, "Signature": signature, "SigningAlgorithm": algorithm}


@kms("Verify", resource=key_arn(aliased=True), keys=keys_of)
async def verify(vault: Vault, call: Call, input: Input) -> Output:
    """Whether a signature is one of the key; one that is not is an error."""
    row, algorithm, digest = await _key_for(call, input, "Verify"), input["SigningAlgorithm"], _is_digest(input)
    primitives.check_message(algorithm, input["Message"], digest=digest)
    private, signature = (await vault.current(row)).secret, input["Signature"]
    if not await SIGNING.run(lambda: primitives.verify(private, algorithm, input["Message"], signature, digest=digest)):
        raise KMSInvalidSignatureException
    dry(input)
    return {"KeyId": row.arn, "SignatureValid": True, "SigningAlgorithm": algorithm}


@kms("GetPublicKey", resource=key_arn(aliased=True), keys=keys_of)
async def get_public_key(vault: Vault, call: Call, input: Input) -> Output:
    """The public half of a pair, for whoever verifies or encrypts without asking."""
    check_tokens(input)
    row = await key_of(call, input)
    engine.check(row, Need.USABLE)
    if not SPECS[row.spec].is_pair:
        raise UnsupportedOperationException(f"{row.arn} is a key of the spec {row.spec}, which has no public key.")
    private = (await vault.current(row)).secret
    return {
        "KeyId": row.arn,
        "PublicKey": primitives.public_key(private),
        "CustomerMasterKeySpec": row.spec,
        "KeySpec": row.spec,
        "KeyUsage": row.usage,
        ALGORITHMS[row.usage]: list(algorithms_of(row)),
    }


@kms("GenerateMac", resource=key_arn(aliased=True), keys=keys_of)
async def generate_mac(vault: Vault, call: Call, input: Input) -> Output:
    """The MAC of a message."""
    row, algorithm = await _key_for(call, input, "GenerateMac"), input["MacAlgorithm"]
    dry(input)
    secret = (await vault.current(row)).secret
    mac = primitives.authenticate(secret, algorithm, input["Message"])
    return {"KeyId": row.arn, "Mac": mac, "MacAlgorithm": algorithm}


@kms("VerifyMac", resource=key_arn(aliased=True), keys=keys_of)
async def verify_mac(vault: Vault, call: Call, input: Input) -> Output:
    """Whether a MAC is the one of a message; another one is an error."""
    row, algorithm = await _key_for(call, input, "VerifyMac"), input["MacAlgorithm"]
    secret = (await vault.current(row)).secret
    if not hmac.compare_digest(primitives.authenticate(secret, algorithm, input["Message"]), input["Mac"]):
        raise KMSInvalidMacException
    dry(input)
    return {"KeyId": row.arn, "MacValid": True, "MacAlgorithm": algorithm}


async def _key_for(call: Call, input: Input, operation: str) -> Any:
    """The key of a request, which can be used for an operation with the algorithm that the request names."""
    check_tokens(input)
    row = await key_of(call, input)
    engine.check(row, Need.USABLE, operation)
    primitives.check_algorithm(row, input.get("SigningAlgorithm") or input["MacAlgorithm"])
    return row


def _is_digest(input: Input) -> bool:
    kind = input.get("MessageType", "RAW")
    if kind == "EXTERNAL_MU":
        raise UnsupportedOperationException(
            "Messages of the type EXTERNAL_MU are of ML-DSA keys, which are not served."
        )
    return kind == "DIGEST"
