"""What operations on keys answer member by member, and the bounds of what they take."""

import asyncio
from types import SimpleNamespace

import pytest
from penstock_identity_harness import ACCOUNT
from penstock_keys import kms, new_key, refused

from penstock.keys import engine
from penstock.keys.operations import aliases, life

DAY = 86_400_000
PENDING = "KMSInvalidStateException"


async def test_what_is_said_of_a_key(harness, owner, clock):
    made = (await kms(harness, owner, "CreateKey", Description="d", MultiRegion=True))["KeyMetadata"]
    arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{made['KeyId']}"
    assert made["KeyId"].startswith("mrk-")
    assert len(made.pop("CurrentKeyMaterialId")) == 64
    assert made == {
        "AWSAccountId": ACCOUNT,
        "KeyId": made["KeyId"],
        "Arn": arn,
        "CreationDate": clock.now(),
        "Enabled": True,
        "Description": "d",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": True,
        "MultiRegionConfiguration": {
            "MultiRegionKeyType": "PRIMARY",
            "PrimaryKey": {"Arn": arn, "Region": "us-east-1"},
            "ReplicaKeys": [],
        },
    }
    await kms(harness, owner, "UpdateKeyDescription", KeyId=arn, Description="e")
    await kms(harness, owner, "DisableKey", KeyId=arn)
    after = (await kms(harness, owner, "DescribeKey", KeyId=arn))["KeyMetadata"]
    assert (after["Description"], after["Enabled"], after["KeyState"]) == ("e", False, "Disabled")
    plain = (await kms(harness, owner, "DescribeKey", KeyId=await new_key(harness, owner)))["KeyMetadata"]
    assert (plain["MultiRegion"], "MultiRegionConfiguration" in plain, plain["Description"]) == (False, False, "")
    asked = [kms(harness, owner, "DescribeKey", KeyId="alias/aws/s3") for _ in range(2)]
    managed, same = [one["KeyMetadata"] for one in await asyncio.gather(*asked)]  # whoever comes second finds it made
    assert managed["KeyId"] == same["KeyId"]
    assert managed["KeyManager"] == "AWS"
    again = (await kms(harness, owner, "DescribeKey", KeyId="alias/aws/s3"))["KeyMetadata"]
    assert again["KeyId"] == managed["KeyId"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Origin": "EXTERNAL"}, "UnsupportedOperationException"),
        ({"CustomKeyStoreId": "cks-1"}, "UnsupportedOperationException"),
        ({"XksKeyId": "x"}, "UnsupportedOperationException"),
        ({"KeySpec": "RSA_2048", "KeyUsage": "GENERATE_VERIFY_MAC"}, "ValidationException"),
        ({"CustomerMasterKeySpec": "RSA_2048"}, "ValidationException"),
        ({"KeyUsage": "GENERATE_VERIFY_MAC"}, "ValidationException"),
    ],
)
async def test_keys_that_are_not_made(harness, owner, asked, code):
    assert (await refused(kms(harness, owner, "CreateKey", **asked)))[0] == code
    assert (await kms(harness, owner, "ListKeys"))["Keys"] == []


async def test_a_key_goes_after_seven_to_thirty_days(harness, owner, key, clock):
    for days in (6, 31):
        code, says = await refused(kms(harness, owner, "ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=days))
        assert (code, says) == ("ValidationException", "PendingWindowInDays must be between 7 and 30 (inclusive)")
    for days in (7, 30, None):
        more = {} if days is None else {"PendingWindowInDays": days}
        answer = await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key, **more)
        due = clock.now() + (days or 30) * DAY
        expected = {"KeyId": key, "DeletionDate": due, "KeyState": "PendingDeletion", "PendingWindowInDays": days or 30}
        assert answer == expected
        described = (await kms(harness, owner, "DescribeKey", KeyId=key))["KeyMetadata"]
        assert (described["DeletionDate"], described["Enabled"]) == (due, False)
        assert await kms(harness, owner, "CancelKeyDeletion", KeyId=key) == {"KeyId": key}


def test_a_key_is_due_when_its_time_has_come():
    def of(state, deletion):
        return SimpleNamespace(state=state, deletion=deletion, arn="a", usage="ENCRYPT_DECRYPT")

    assert [engine.is_due(of("PendingDeletion", 10), now) for now in (9, 10, 11)] == [False, True, True]
    assert not engine.is_due(of("Disabled", 10), 11)
    assert not engine.is_due(of("PendingDeletion", None), 11)
    assert engine.schedule(of("Disabled", None), 7, 5) == engine.Deletion(5 + 7 * DAY, 7)
    for state, allowed in (
        ("Enabled", {"any", "kept", "usable"}),
        ("Disabled", {"any", "kept"}),
        ("PendingDeletion", {"any"}),
    ):
        for need in engine.Need:
            try:
                engine.check(of(state, None), need)
                may = True
            except (engine.DisabledException, engine.KMSInvalidStateException):
                may = False
            assert may is (need in allowed), (state, need)
    signing = SimpleNamespace(state="Enabled", arn="a", usage="SIGN_VERIFY")
    for operation in ("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"):
        with pytest.raises(engine.InvalidKeyUsageException):
            engine.check(signing, engine.Need.USABLE, operation)


async def test_bounds_of_what_is_encrypted(harness, owner, key):
    longest = {"k" * 192: "v" * 8000}
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=bytes(4096), EncryptionContext=longest))[
        "CiphertextBlob"
    ]
    opened = await kms(harness, owner, "Decrypt", CiphertextBlob=blob, EncryptionContext=longest)
    assert opened["Plaintext"] == bytes(4096)
    code, says = await refused(
        kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"x", EncryptionContext={"k" * 192: "v" * 8001})
    )
    assert (code, says) == ("ValidationException", "The encryption context is longer than 8192 characters.")
    assert (await refused(kms(harness, owner, "Encrypt", KeyId=key, Plaintext=bytes(4097))))[0] == "ValidationException"
    for spec, size in (("AES_128", 16), ("AES_256", 32)):
        made = await kms(harness, owner, "GenerateDataKey", KeyId=key, KeySpec=spec)
        assert len(made["Plaintext"]) == size
        assert made["KeyId"] == key
    twice = [(await kms(harness, owner, "GenerateRandom", NumberOfBytes=32))["Plaintext"] for _ in range(2)]
    assert twice[0] != twice[1]
    assert (await refused(kms(harness, owner, "GenerateRandom")))[0] == "ValidationException"


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("Decrypt", {"Recipient": {}}),
        ("GenerateDataKey", {"Recipient": {}, "KeySpec": "AES_128"}),
        ("GenerateRandom", {"Recipient": {}, "NumberOfBytes": 1}),
    ],
)
async def test_what_is_not_served_is_refused(harness, owner, key, operation, more):
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    asked = {
        "Encrypt": {"KeyId": key},
        "Decrypt": {"CiphertextBlob": blob},
        "ReEncrypt": {"CiphertextBlob": blob, "DestinationKeyId": key},
        "GenerateDataKey": {"KeyId": key},
        "GenerateRandom": {},
    }[operation]
    assert (await refused(kms(harness, owner, operation, **asked, **more)))[0] == "UnsupportedOperationException"


async def test_an_account_has_so_many_keys_and_names(harness, owner, key, monkeypatch):
    monkeypatch.setattr(life, "MAX_KEYS", 2)
    await new_key(harness, owner)
    code, says = await refused(kms(harness, owner, "CreateKey"))
    assert (code, says) == ("LimitExceededException", "An account can have no more than 2 keys in a region.")
    monkeypatch.setattr(aliases, "_LIMIT", 1)
    for name in ("a", "b"):
        await kms(harness, owner, "CreateAlias", AliasName=f"alias/{name}", TargetKeyId=key)
    first = await kms(harness, owner, "ListAliases")
    rest = await kms(harness, owner, "ListAliases", Marker=first["NextMarker"])
    assert [one["AliasName"] for one in first["Aliases"] + rest["Aliases"]] == ["alias/a", "alias/b"]
    assert rest["Truncated"] is False


async def test_what_is_said_of_an_alias(harness, owner, key, clock):
    made = clock.now()
    await kms(harness, owner, "CreateAlias", AliasName="alias/a", TargetKeyId=key)
    clock.advance(1_000)
    other = await new_key(harness, owner)
    await kms(harness, owner, "UpdateAlias", AliasName="alias/a", TargetKeyId=other)
    assert (await kms(harness, owner, "ListAliases", KeyId=other))["Aliases"] == [
        {
            "AliasName": "alias/a",
            "AliasArn": f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/a",
            "TargetKeyId": other.rpartition("/")[2],
            "CreationDate": made,
            "LastUpdatedDate": made + 1_000,
        }
    ]
    for operation in ("UpdateAlias", "DeleteAlias"):
        target = {"TargetKeyId": key} if operation == "UpdateAlias" else {}
        for name, code in (("alias/", "ValidationException"), ("alias/none", "NotFoundException")):
            assert (await refused(kms(harness, owner, operation, AliasName=name, **target)))[0] == code
    await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key)
    assert (await refused(kms(harness, owner, "UpdateAlias", AliasName="alias/a", TargetKeyId=key)))[0] == PENDING
