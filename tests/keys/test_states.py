"""What every operation answers of a key in every state. (AWS: KMS Developer Guide, "Key states of AWS KMS keys".)"""

import pytest
from penstock_keys import kms, new_key

from penstock.wire.errors import ServiceError

DONE, DISABLED, GONE, STAYS = "", "{} is disabled.", "{} is pending deletion.", "{} is not pending deletion."
# By operation: answers of a key that is disabled, and of one that is pending deletion. An enabled one does all but STAYS.
SYMMETRIC = {
    "CancelKeyDeletion": (STAYS, DONE),
    "CreateAlias": (DONE, GONE),
    "CreateGrant": (DISABLED, GONE),
    "Decrypt": (DISABLED, GONE),
    "DeleteAlias": (DONE, DONE),
    "DescribeKey": (DONE, DONE),
    "DisableKey": (DONE, GONE),
    "DisableKeyRotation": (DISABLED, GONE),
    "EnableKey": (DONE, GONE),
    "EnableKeyRotation": (DISABLED, GONE),
    "Encrypt": (DISABLED, GONE),
    "GenerateDataKey": (DISABLED, GONE),
    "GenerateDataKeyPair": (DISABLED, GONE),
    "GenerateDataKeyPairWithoutPlaintext": (DISABLED, GONE),
    "GenerateDataKeyWithoutPlaintext": (DISABLED, GONE),
    "GetKeyPolicy": (DONE, DONE),
    "GetKeyRotationStatus": (DONE, DONE),
    "ListAliases": (DONE, DONE),
    "ListGrants": (DONE, DONE),
    "ListKeyPolicies": (DONE, DONE),
    "ListKeyRotations": (DONE, DONE),
    "ListResourceTags": (DONE, DONE),
    "PutKeyPolicy": (DONE, DONE),
    "ReEncrypt": (DISABLED, GONE),
    "RetireGrant": (DONE, DONE),
    "RevokeGrant": (DONE, DONE),
    "RotateKeyOnDemand": (DISABLED, GONE),
    "ScheduleKeyDeletion": (DONE, GONE),
    "TagResource": (DONE, GONE),
    "UntagResource": (DONE, GONE),
    "UpdateAlias": (DONE, GONE),
    "UpdateKeyDescription": (DONE, GONE),
}
SIGNING = {"Sign": (DISABLED, GONE), "Verify": (DISABLED, GONE), "GetPublicKey": (DISABLED, GONE)}
OF_MACS = {"GenerateMac": (DISABLED, GONE), "VerifyMac": (DISABLED, GONE)}
OF_NO_KEY = {"CreateKey", "GenerateRandom", "ListKeys", "ListRetirableGrants"}
KINDS = (
    (SYMMETRIC, {}),
    (SIGNING, {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}),
    (OF_MACS, {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}),
)
STATES = {"Enabled": (), "Disabled": ("DisableKey",), "PendingDeletion": ("ScheduleKeyDeletion",)}


async def inputs(harness, owner, key, operation, number):
    """What each operation is asked with of a key that is enabled still."""
    signing, mac = (
        {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"},
        {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"},
    )
    grant = {"GranteePrincipal": owner.arn, "Operations": ["Decrypt"]}
    own = {"KeyId": key}
    match operation:
        case "CreateAlias":
            return {"AliasName": f"alias/new-{number}", "TargetKeyId": key}
        case "CreateGrant":
            return own | grant
        case "DeleteAlias":
            await kms(harness, owner, "CreateAlias", AliasName=f"alias/gone-{number}", TargetKeyId=key)
            return {"AliasName": f"alias/gone-{number}"}
        case "Decrypt":
            return {"CiphertextBlob": (await kms(harness, owner, "Encrypt", **own, Plaintext=b"s"))["CiphertextBlob"]}
        case "Encrypt":
            return own | {"Plaintext": b"s"}
        case "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext":
            return own | {"KeySpec": "AES_256"}
        case "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext":
            return own | {"KeyPairSpec": "ECC_NIST_P256"}
        case "GenerateMac":
            return own | mac
        case "PutKeyPolicy":
            return own | {"Policy": (await kms(harness, owner, "GetKeyPolicy", **own))["Policy"]}
        case "ReEncrypt":
            blob = (await kms(harness, owner, "Encrypt", **own, Plaintext=b"s"))["CiphertextBlob"]
            return {"CiphertextBlob": blob, "DestinationKeyId": await new_key(harness, owner)}
        case "RetireGrant" | "RevokeGrant":
            return own | {"GrantId": (await kms(harness, owner, "CreateGrant", **own, **grant))["GrantId"]}
        case "Sign":
            return own | signing
        case "TagResource":
            return own | {"Tags": [{"TagKey": "a", "TagValue": "b"}]}
        case "UntagResource":
            return own | {"TagKeys": ["a"]}
        case "UpdateAlias":
            await kms(
                harness,
                owner,
                "CreateAlias",
                AliasName=f"alias/moved-{number}",
                TargetKeyId=await new_key(harness, owner),
            )
            return {"AliasName": f"alias/moved-{number}", "TargetKeyId": key}
        case "UpdateKeyDescription":
            return own | {"Description": "d"}
        case "Verify":
            return own | signing | {"Signature": (await kms(harness, owner, "Sign", **own, **signing))["Signature"]}
        case "VerifyMac":
            return own | mac | {"Mac": (await kms(harness, owner, "GenerateMac", **own, **mac))["Mac"]}
        case _:
            return own


async def answer(coroutine):
    """(code, message) of the error that a call answers; empty ones where it does what it is asked."""
    try:
        await coroutine
    except ServiceError as error:
        return error.wire_code, error.message
    return "", ""


@pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("state", STATES)
async def test_what_each_operation_answers_of_a_key_in_a_state(harness, owner, state):
    served = {one.name for one in harness.app.registry if one.service == "kms"}
    assert {name for table, _ in KINDS for name in table} | OF_NO_KEY == served
    number = 0
    for table, spec in KINDS:
        for operation, (disabled, gone) in table.items():
            number += 1
            key = await new_key(harness, owner, **spec)
            input = await inputs(harness, owner, key, operation, number)
            for change in STATES[state]:
                await kms(harness, owner, change, KeyId=key)
            enabled = STAYS if disabled is STAYS else DONE
            expected = {"Enabled": enabled, "Disabled": disabled, "PendingDeletion": gone}[state]
            code, message = await answer(kms(harness, owner, operation, **input))
            assert message == expected.format(key), operation
            assert code == {DONE: "", DISABLED: "DisabledException"}.get(expected, "KMSInvalidStateException"), (
                operation
            )
