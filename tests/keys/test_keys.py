"""Keys in process: their life, who may use them, and what their ciphertexts are worth."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document
from penstock_keys import kms, refused

from penstock.identity.operations import security_tokens  # noqa: F401 - sts
from penstock.keys.lookup import NO_KEY
from penstock.wire.call import Origin

DAY = 86_400_000


async def test_what_is_encrypted_is_decrypted_under_its_context_only(harness, owner, key):
    context = {"purpose": "test", "b": "2"}
    made = await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"secret", EncryptionContext=context)
    assert made["KeyId"] == key
    assert made["CiphertextBlob"].startswith(b"\x01\x02\x02")
    assert b"secret" not in made["CiphertextBlob"]
    opened = await kms(
        harness,
        owner,
        "Decrypt",
        CiphertextBlob=made["CiphertextBlob"],
        EncryptionContext=dict(reversed(context.items())),
    )
    described = (await kms(harness, owner, "DescribeKey", KeyId=key))["KeyMetadata"]
    assert opened == {
        "KeyId": key,
        "Plaintext": b"secret",
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "KeyMaterialId": described["CurrentKeyMaterialId"],
    }
    for wrong in ({}, {"purpose": "test"}, {**context, "c": "3"}, {**context, "b": "3"}):
        answer = await refused(
            kms(harness, owner, "Decrypt", CiphertextBlob=made["CiphertextBlob"], EncryptionContext=wrong)
        )
        assert answer == ("InvalidCiphertextException", "")


async def test_a_ciphertext_that_was_changed_is_none(harness, owner, key):
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"secret"))["CiphertextBlob"]
    other = (await kms(harness, owner, "CreateKey"))["KeyMetadata"]["KeyId"]
    swapped = blob[:5] + bytes.fromhex(other.replace("-", "")) + blob[21:]
    for changed in (b"x", blob[:-1], blob[:40], blob[:-1] + bytes([blob[-1] ^ 1]), swapped, b"\0" + blob[1:]):
        assert (await refused(kms(harness, owner, "Decrypt", CiphertextBlob=changed)))[
            0
        ] == "InvalidCiphertextException"
    nobodys = blob[:5] + bytes(16) + blob[21:]
    assert await refused(kms(harness, owner, "Decrypt", CiphertextBlob=nobodys)) == ("AccessDenied", NO_KEY)
    code = (await refused(kms(harness, owner, "Decrypt", CiphertextBlob=blob, KeyId=other)))[0]
    assert code == "IncorrectKeyException"


async def test_data_keys(harness, owner, key):
    made = await kms(harness, owner, "GenerateDataKey", KeyId=key, KeySpec="AES_256")
    assert len(made["Plaintext"]) == 32
    opened = await kms(harness, owner, "Decrypt", CiphertextBlob=made["CiphertextBlob"])
    assert opened["Plaintext"] == made["Plaintext"]
    blind = await kms(harness, owner, "GenerateDataKeyWithoutPlaintext", KeyId=key, NumberOfBytes=64)
    assert "Plaintext" not in blind
    assert len((await kms(harness, owner, "Decrypt", CiphertextBlob=blind["CiphertextBlob"]))["Plaintext"]) == 64
    for wrong in ({}, {"KeySpec": "AES_128", "NumberOfBytes": 3}):
        assert (await refused(kms(harness, owner, "GenerateDataKey", KeyId=key, **wrong)))[0] == "ValidationException"
    assert len((await kms(harness, owner, "GenerateRandom", NumberOfBytes=40))["Plaintext"]) == 40


async def test_reencryption_shows_nobody_the_plaintext(harness, owner, key):
    other = (await kms(harness, owner, "CreateKey"))["KeyMetadata"]["Arn"]
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext={"a": "b"}))[
        "CiphertextBlob"
    ]
    moved = await kms(
        harness, owner, "ReEncrypt", CiphertextBlob=blob, SourceEncryptionContext={"a": "b"}, DestinationKeyId=other
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key, other)
    assert "Plaintext" not in moved
    assert (await kms(harness, owner, "Decrypt", CiphertextBlob=moved["CiphertextBlob"]))["Plaintext"] == b"s"


async def test_a_dry_run_does_nothing_but_ask(harness, owner, key):
    answer = await refused(kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s", DryRun=True))
    assert answer == ("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("x", "NotFoundException", "Invalid keyId 'x'"),
        ("11111111-1111-1111-1111-111111111111", "NotFoundException", f"Key 'arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-1111-1111-1111-111111111111' does not exist"),
        ("alias/none", "NotFoundException", f"Alias arn:aws:kms:us-east-1:{ACCOUNT}:alias/none is not found."),
        ("alias/aws/none", "NotFoundException", f"Alias arn:aws:kms:us-east-1:{ACCOUNT}:alias/aws/none is not found."),
        (f"arn:aws:kms:us-west-2:{ACCOUNT}:key/11111111-1111-1111-1111-111111111111", "InvalidArnException", "Invalid arn us-west-2"),
        ("arn:aws:s3:::bucket", "InvalidArnException", "Invalid arn arn:aws:s3:::bucket"),
    ],
)  # fmt: skip
async def test_keys_that_there_are_not(harness, owner, name, code, message):
    assert await refused(kms(harness, owner, "DescribeKey", KeyId=name)) == (code, message)
    assert (await refused(kms(harness, owner, "Encrypt", KeyId=name, Plaintext=b"x")))[0] == code


async def test_a_key_that_is_disabled_or_on_its_way_out(harness, owner, key):
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    await kms(harness, owner, "DisableKey", KeyId=key)
    for use in (
        kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"),
        kms(harness, owner, "Decrypt", CiphertextBlob=blob),
        kms(harness, owner, "GenerateDataKey", KeyId=key, KeySpec="AES_128"),
    ):
        assert await refused(use) == ("DisabledException", f"{key} is disabled.")
    await kms(harness, owner, "EnableKey", KeyId=key)
    assert await refused(kms(harness, owner, "CancelKeyDeletion", KeyId=key)) == (
        "KMSInvalidStateException",
        f"{key} is not pending deletion.",
    )
    gone = await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert gone["KeyState"] == "PendingDeletion"
    for use in (
        kms(harness, owner, "Decrypt", CiphertextBlob=blob),
        kms(harness, owner, "EnableKey", KeyId=key),
        kms(harness, owner, "ScheduleKeyDeletion", KeyId=key),
        kms(harness, owner, "CreateAlias", AliasName="alias/a", TargetKeyId=key),
        kms(harness, owner, "TagResource", KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}]),
    ):
        assert await refused(use) == ("KMSInvalidStateException", f"{key} is pending deletion.")
    await kms(harness, owner, "CancelKeyDeletion", KeyId=key)
    described = (await kms(harness, owner, "DescribeKey", KeyId=key))["KeyMetadata"]
    assert (described["KeyState"], described["Enabled"]) == ("Disabled", False)
    assert "DeletionDate" not in described


async def test_a_deletion_that_is_due_destroys_what_was_encrypted_and_a_cancelled_one_does_not(
    harness, owner, key, clock
):
    from penstock.keys.operations import life
    from penstock.keys.vault import Vault

    class Job:
        payload = {"key": key.rpartition("/")[2]}

    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    vault = Vault(harness.app)
    await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    await kms(harness, owner, "CancelKeyDeletion", KeyId=key)
    await kms(harness, owner, "EnableKey", KeyId=key)
    clock.advance(7 * DAY)
    await life.delete(vault, Job())
    assert (await kms(harness, owner, "Decrypt", CiphertextBlob=blob))["Plaintext"] == b"s"
    await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    await life.delete(vault, Job())  # too early
    clock.advance(7 * DAY)
    await life.delete(vault, Job())
    await life.delete(vault, Job())
    assert await refused(kms(harness, owner, "Decrypt", CiphertextBlob=blob)) == ("AccessDenied", NO_KEY)
    assert (await refused(kms(harness, owner, "DescribeKey", KeyId=key)))[0] == "NotFoundException"


async def test_aliases(harness, owner, key):
    other = (await kms(harness, owner, "CreateKey"))["KeyMetadata"]["Arn"]
    await kms(harness, owner, "CreateAlias", AliasName="alias/app", TargetKeyId=key)
    arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/app"
    assert await refused(kms(harness, owner, "CreateAlias", AliasName="alias/app", TargetKeyId=other)) == (
        "AlreadyExistsException",
        f"An alias with the name {arn} already exists",
    )
    blob = (await kms(harness, owner, "Encrypt", KeyId="alias/app", Plaintext=b"s"))["CiphertextBlob"]
    await kms(harness, owner, "UpdateAlias", AliasName="alias/app", TargetKeyId=other)
    assert (await kms(harness, owner, "DescribeKey", KeyId=arn))["KeyMetadata"]["Arn"] == other
    assert (await kms(harness, owner, "Decrypt", CiphertextBlob=blob))["KeyId"] == key
    listed = (await kms(harness, owner, "ListAliases"))["Aliases"]
    assert [(one["AliasName"], one["TargetKeyId"]) for one in listed] == [("alias/app", other.rpartition("/")[2])]
    assert (await kms(harness, owner, "ListAliases", KeyId=key))["Aliases"] == []
    await kms(harness, owner, "DeleteAlias", AliasName="alias/app")
    assert (await refused(kms(harness, owner, "DeleteAlias", AliasName="alias/app")))[0] == "NotFoundException"
    for name, code in (
        ("app", "ValidationException"),
        ("alias/aws/x", "NotAuthorizedException"),
        ("alias/a b", "ValidationException"),
    ):
        assert (await refused(kms(harness, owner, "CreateAlias", AliasName=name, TargetKeyId=key)))[0] == code


async def test_pages_of_keys_and_aliases(harness, owner):
    made = sorted([(await kms(harness, owner, "CreateKey"))["KeyMetadata"]["KeyId"] for _ in range(3)])
    for number in range(3):
        await kms(harness, owner, "CreateAlias", AliasName=f"alias/{number}", TargetKeyId=made[0])
    first = await kms(harness, owner, "ListKeys", Limit=2)
    assert first["Truncated"]
    rest = await kms(harness, owner, "ListKeys", Limit=2, Marker=first["NextMarker"])
    assert [one["KeyId"] for one in first["Keys"] + rest["Keys"]] == made
    assert rest["Truncated"] is False
    whole = await kms(harness, owner, "ListAliases", Limit=3)
    assert (len(whole["Aliases"]), whole["Truncated"]) == (3, False)
    assert (await refused(kms(harness, owner, "ListKeys", Marker="x")))[0] == "InvalidMarkerException"


async def test_a_key_lets_in_whom_its_policy_lets_in(harness, owner):
    """AWS: KMS Developer Guide, "Key policies": without its account in the policy, nobody's own policies count."""
    ann, bob = await harness.user("ann"), await harness.user("bob", allow("kms:*"))
    mine = {"Effect": "Allow", "Principal": {"AWS": owner.arn}, "Action": "kms:*", "Resource": "*"}
    only = {"Effect": "Allow", "Principal": {"AWS": ann.arn}, "Action": "kms:Encrypt", "Resource": "*"}
    key = (await kms(harness, owner, "CreateKey", Policy=document(mine, only)))["KeyMetadata"]["Arn"]
    await kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s")
    code, message = await refused(kms(harness, bob, "Encrypt", KeyId=key, Plaintext=b"s"))
    assert code == "AccessDenied"
    assert message.endswith("because no resource-based policy allows the kms:Encrypt action")
    assert (await refused(kms(harness, ann, "Decrypt", CiphertextBlob=b"x" * 80)))[0] == "AccessDenied"
    by_account = (await kms(harness, owner, "CreateKey"))["KeyMetadata"]["Arn"]
    await kms(harness, bob, "Encrypt", KeyId=by_account, Plaintext=b"s")
    assert (await refused(kms(harness, ann, "Encrypt", KeyId=by_account, Plaintext=b"s")))[0] == "AccessDenied"


async def test_a_key_is_used_from_another_account_when_both_sides_allow(harness, owner, key):
    eve = await harness.user("eve", allow("kms:*"), account=OTHER)
    assert (await refused(kms(harness, eve, "Encrypt", KeyId=key, Plaintext=b"s")))[0] == "AccessDenied"
    policy = json.loads((await kms(harness, owner, "GetKeyPolicy", KeyId=key))["Policy"])
    policy["Statement"].append(
        {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": ["kms:Encrypt", "kms:Decrypt"], "Resource": "*"}
    )
    await kms(harness, owner, "PutKeyPolicy", KeyId=key, Policy=json.dumps(policy))
    blob = (await kms(harness, eve, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    assert (await kms(harness, owner, "Decrypt", CiphertextBlob=blob))["Plaintext"] == b"s"
    assert (await kms(harness, eve, "Decrypt", CiphertextBlob=blob))["Plaintext"] == b"s"
    mallory = await harness.user("mallory", account=OTHER)
    for use in (
        kms(harness, mallory, "Decrypt", CiphertextBlob=blob),
        kms(harness, eve, "DisableKey", KeyId=key),
        kms(harness, eve, "CreateAlias", AliasName="alias/stolen", TargetKeyId=key),
        kms(harness, eve, "ScheduleKeyDeletion", KeyId=key),
    ):
        assert (await refused(use))[0] == "AccessDenied"


async def test_conditions_on_the_encryption_context(harness, owner):
    condition = {
        "StringEquals": {"kms:EncryptionContext:AppName": "shop"},
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["AppName"]},
    }
    ann = await harness.user(
        "ann", document({"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*", "Condition": condition})
    )
    key = (await kms(harness, owner, "CreateKey"))["KeyMetadata"]["Arn"]
    await kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext={"AppName": "shop"})
    for wrong in ({}, {"AppName": "other"}, {"AppName": "shop", "more": "x"}):
        assert (await refused(kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext=wrong)))[
            0
        ] == "AccessDenied"


async def test_the_key_of_a_service_is_used_by_way_of_the_service_only(harness, owner):
    through = Origin(via="invoke", called_via=("s3.amazonaws.com",))
    ann = await harness.user("ann")
    made = await kms(harness, ann, "GenerateDataKey", KeyId="alias/aws/s3", KeySpec="AES_256", origin=through)
    again = await kms(harness, ann, "GenerateDataKey", KeyId="alias/aws/s3", KeySpec="AES_256", origin=through)
    assert made["KeyId"] == again["KeyId"]
    described = (await kms(harness, owner, "DescribeKey", KeyId="alias/aws/s3"))["KeyMetadata"]
    assert described["KeyManager"] == "AWS"
    for origin in (None, Origin(via="invoke", called_via=("ssm.amazonaws.com",))):
        for session in (ann, owner):
            use = kms(harness, session, "Decrypt", CiphertextBlob=made["CiphertextBlob"], origin=origin)
            assert (await refused(use))[0] == "AccessDenied"
    assert (await refused(kms(harness, owner, "ScheduleKeyDeletion", KeyId=made["KeyId"])))[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{", "Syntax errors in policy."),
        (document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/none"}, "Action": "kms:*", "Resource": "*"}), "Policy contains a statement with one or more invalid principals."),
        (document({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:Encrypt", "Resource": "*"}), "The new key policy will not allow you to update the key policy in the future."),
    ],
)  # fmt: skip
async def test_policies_that_a_key_does_not_take(harness, owner, key, policy, message):
    assert await refused(kms(harness, owner, "PutKeyPolicy", KeyId=key, Policy=policy)) == (
        "MalformedPolicyDocumentException",
        message,
    )
    assert "Enable IAM User Permissions" in (await kms(harness, owner, "GetKeyPolicy", KeyId=key))["Policy"]


async def test_a_policy_of_32_kilobytes_is_the_longest(harness, owner, key):
    policy = (await kms(harness, owner, "GetKeyPolicy", KeyId=key))["Policy"]
    longest = policy + " " * (32_768 - len(policy))
    await kms(harness, owner, "PutKeyPolicy", KeyId=key, Policy=longest)
    code, _ = await refused(kms(harness, owner, "PutKeyPolicy", KeyId=key, Policy=longest + " "))
    assert code == "MalformedPolicyDocumentException"
    for operation, more in (("GetKeyPolicy", {}), ("PutKeyPolicy", {"Policy": policy})):
        asked = kms(harness, owner, operation, KeyId=key, PolicyName="other", **more)
        assert await refused(asked) == ("NotFoundException", "No such policy exists")


async def test_tags_and_what_they_decide(harness, owner, key):
    await kms(harness, owner, "TagResource", KeyId=key, Tags=[{"TagKey": "Team", "TagValue": "red"}])
    asked = {"StringEquals": {"aws:ResourceTag/Team": "red"}}
    ann = await harness.user(
        "ann", document({"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Condition": asked})
    )
    await kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s")
    await kms(harness, owner, "UntagResource", KeyId=key, TagKeys=["Team"])
    assert (await kms(harness, owner, "ListResourceTags", KeyId=key))["Tags"] == []
    assert (await refused(kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s")))[0] == "AccessDenied"
    for tags, message in (
        ([{"TagKey": "a", "TagValue": "1"}] * 2, "Duplicate tag keys"),
        ([{"TagKey": f"k{n}", "TagValue": ""} for n in range(51)], "Too many tags"),
        ([{"TagKey": "aws:x", "TagValue": ""}], "Tags beginning with aws: are reserved"),
    ):
        assert await refused(kms(harness, owner, "TagResource", KeyId=key, Tags=tags)) == ("TagException", message)


@pytest.mark.parametrize(
    ("operation", "input"),
    [
        ("Decrypt", {"CiphertextBlob": b"x", "DryRun": True, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}),
        ("GenerateRandom", {"NumberOfBytes": 1, "CustomKeyStoreId": "cks-1"}),
        ("GenerateRandom", {"NumberOfBytes": 1, "Recipient": {}}),
        ("ListKeys", {"ResourceOwners": ["OTHER_ACCOUNTS_VIA_RAM"]}),
        ("CreateKey", {"Origin": "EXTERNAL"}),
    ],
)
async def test_what_is_not_served_is_refused_not_ignored(harness, owner, key, operation, input):
    if "CiphertextBlob" in input:
        input = input | (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))
        input = {name: input[name] for name in ("CiphertextBlob", "DryRun", "DryRunModifiers")}
    assert (await refused(kms(harness, owner, operation, **input)))[0] == "UnsupportedOperationException"
