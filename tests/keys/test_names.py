"""By which names keys are known, to operations and to policies: none may be taken for another."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document
from penstock_keys import kms, new_key, refused

from penstock.identity.operations import security_tokens  # noqa: F401 - sts
from penstock.keys.lookup import NO_KEY, alias_in, id_in

HIDDEN = (
    " on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based "
    "policy explicitly denies access"
)
ON_SQLITE = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)  # no statement is another one
_ID = "11111111-1111-1111-1111-111111111111"


def asking(action, **condition):
    return document({"Effect": "Allow", "Action": action, "Resource": "*", "Condition": condition})


@pytest.mark.parametrize(
    ("name", "alias", "key"),
    [
        ("alias/app", "alias/app", ""),
        ("arn:aws:kms:us-east-1:111111111111:alias/app", "alias/app", ""),
        ("alias/a:alias/prod", "alias/a:alias/prod", ""),
        (f"arn:aws:kms:us-east-1:111111111111:alias/a:key/{_ID}", f"alias/a:key/{_ID}", ""),
        (f"arn:aws:kms:us-east-1:111111111111:key/{_ID}", "", _ID),
        (_ID, "", ""),
    ],
)
def test_what_a_name_says(name, alias, key):
    assert (alias_in(name), id_in(name)) == (alias, key)


async def test_the_policy_of_a_key_says_nothing_of_an_alias_that_ends_like_it(harness, owner):
    ann = await harness.user("ann")
    everything = {"Effect": "Allow", "Principal": {"AWS": [ann.arn, owner.arn]}, "Action": "kms:*", "Resource": "*"}
    key = await new_key(harness, owner, Policy=document(everything))
    alias = f"alias/x:key/{key.rpartition('/')[2]}"
    code, message = await refused(kms(harness, ann, "CreateAlias", AliasName=alias, TargetKeyId=key))
    assert (code, message.partition("resource: ")[2].partition(" ")[0]) == (
        "AccessDenied",
        f"arn:aws:kms:us-east-1:{ACCOUNT}:{alias}",
    )


async def test_conditions_on_how_a_key_is_named_and_what_it_is(harness, owner, key):
    await kms(harness, owner, "CreateAlias", AliasName="alias/prod", TargetKeyId=key)
    await kms(harness, owner, "CreateAlias", AliasName="alias/x:alias/prod", TargetKeyId=key)
    bare = await new_key(harness, owner)
    named = await harness.user("named", asking("kms:Encrypt", StringEquals={"kms:RequestAlias": "alias/prod"}))
    holds = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/prod"}}
    any_name = await harness.user("any", asking("kms:*", **holds))
    kind = {"kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:KeyOrigin": "AWS_KMS"}
    by_kind = await harness.user("kind", asking("kms:*", StringEquals=kind, Bool={"kms:MultiRegion": "false"}))
    await kms(harness, named, "Encrypt", KeyId="alias/prod", Plaintext=b"s")
    for other in (key, "alias/x:alias/prod"):
        assert (await refused(kms(harness, named, "Encrypt", KeyId=other, Plaintext=b"s")))[0] == "AccessDenied"
    blob = (await kms(harness, any_name, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    assert (await refused(kms(harness, any_name, "Encrypt", KeyId=bare, Plaintext=b"s")))[0] == "AccessDenied"
    assert (await kms(harness, by_kind, "Decrypt", CiphertextBlob=blob))["Plaintext"] == b"s"
    await kms(harness, by_kind, "CreateKey")
    assert (await refused(kms(harness, by_kind, "CreateKey", MultiRegion=True)))[0] == "AccessDenied"


async def test_both_halves_of_a_reencryption_are_asked_for_with_their_own_context(harness, owner, key):
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext={"of": "a"}))[
        "CiphertextBlob"
    ]
    may = [
        {"Effect": "Allow", "Action": f"kms:{action}", "Resource": "*", "Condition": {"StringEquals": {"kms:EncryptionContext:of": of}}}
        for action, of in (("ReEncryptFrom", "a"), ("ReEncryptTo", "b"))
    ]  # fmt: skip
    ann = await harness.user("ann", document(*may))
    move = {"CiphertextBlob": blob, "SourceEncryptionContext": {"of": "a"}, "DestinationKeyId": key}
    await kms(harness, ann, "ReEncrypt", **move, DestinationEncryptionContext={"of": "b"})
    for wrong in ({"of": "a"}, {}):
        answer = await refused(kms(harness, ann, "ReEncrypt", **move, DestinationEncryptionContext=wrong))
        assert answer[0] == "AccessDenied"
        assert "kms:ReEncryptTo" in answer[1]


@ON_SQLITE
async def test_policies_may_ask_whether_a_reencryption_ends_under_the_same_key(harness, owner, key):
    other = await new_key(harness, owner)
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    for same, (good, bad) in (("true", (key, other)), ("false", (other, key))):
        ann = await harness.user(f"ann-{same}", asking("kms:ReEncrypt*", Bool={"kms:ReEncryptOnSameKey": same}))
        await kms(harness, ann, "ReEncrypt", CiphertextBlob=blob, DestinationKeyId=good)
        answer = await refused(kms(harness, ann, "ReEncrypt", CiphertextBlob=blob, DestinationKeyId=bad))
        assert (answer[0], "kms:ReEncryptFrom" in answer[1]) == ("AccessDenied", True)


@ON_SQLITE
async def test_policies_may_ask_for_the_account_of_the_caller(harness, owner):
    of_caller = {"StringEquals": {"kms:CallerAccount": OTHER}}
    mine = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*", "Condition": of_caller}
    key = await new_key(harness, owner, Policy=document(mine, everybody))
    eve = await harness.user("eve", allow("kms:*"), account=OTHER)
    await kms(harness, eve, "Encrypt", KeyId=key, Plaintext=b"s")
    ann = await harness.user("ann")
    assert (await refused(kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s")))[0] == "AccessDenied"


@ON_SQLITE
async def test_names_that_no_alias_can_have(harness, owner, key):
    says = 'Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html'
    for name in ("app", "alias", "Alias/app", "alias/"):
        answer = await refused(kms(harness, owner, "CreateAlias", AliasName=name, TargetKeyId=key))
        assert answer == ("ValidationException", says), name
    answer = await refused(kms(harness, owner, "CreateAlias", AliasName="alias/aws/mine", TargetKeyId=key))
    assert answer[0] == "NotAuthorizedException"


async def test_an_alias_names_a_key_to_use_and_to_look_at_only(harness, owner, key):
    await kms(harness, owner, "CreateAlias", AliasName="alias/app", TargetKeyId=key)
    await kms(harness, owner, "DescribeKey", KeyId="alias/app")
    for operation, more in (
        ("DisableKey", {}),
        ("EnableKey", {}),
        ("ScheduleKeyDeletion", {}),
        ("CancelKeyDeletion", {}),
        ("UpdateKeyDescription", {"Description": ""}),
        ("GetKeyPolicy", {}),
        ("ListKeyPolicies", {}),
        ("TagResource", {"Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        ("ListResourceTags", {}),
        ("ListAliases", {}),
    ):
        for name in ("alias/app", f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/app"):
            answer = await refused(kms(harness, owner, operation, KeyId=name, **more))
            assert answer == ("NotFoundException", f"Invalid keyId '{name}'"), operation


async def test_a_key_is_changed_by_its_own_account_only_whatever_its_policy_says(harness, owner, key):
    eve = await harness.user("eve", allow("kms:*"), account=OTHER)
    policy = json.loads((await kms(harness, owner, "GetKeyPolicy", KeyId=key))["Policy"])
    policy["Statement"].append({"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "kms:*", "Resource": "*"})
    await kms(harness, owner, "PutKeyPolicy", KeyId=key, Policy=json.dumps(policy))
    assert (await kms(harness, eve, "DescribeKey", KeyId=key))["KeyMetadata"]["AWSAccountId"] == ACCOUNT
    for operation, more in (
        ("DisableKey", {}),
        ("ScheduleKeyDeletion", {}),
        ("PutKeyPolicy", {"Policy": json.dumps(policy)}),
        ("GetKeyPolicy", {}),
        ("TagResource", {"Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        ("ListResourceTags", {}),
        ("ListAliases", {}),
    ):
        code, message = await refused(kms(harness, eve, operation, KeyId=key, **more))
        assert (code, message.endswith(HIDDEN)) == ("AccessDenied", True), operation


# What each operation needs beside the key that it names by KeyId.
_MORE = {
    "CreateGrant": {"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:root", "Operations": ["Decrypt"]},
    "Decrypt": {"CiphertextBlob": b"x"},
    "Encrypt": {"Plaintext": b"x"},
    "GenerateDataKey": {"KeySpec": "AES_256"},
    "GenerateDataKeyPair": {"KeyPairSpec": "ECC_NIST_P256"},
    "GenerateDataKeyPairWithoutPlaintext": {"KeyPairSpec": "ECC_NIST_P256"},
    "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
    "GenerateMac": {"Message": b"x", "MacAlgorithm": "HMAC_SHA_256"},
    "PutKeyPolicy": {"Policy": "{}"},
    "RetireGrant": {"GrantId": "0" * 64},
    "RevokeGrant": {"GrantId": "0" * 64},
    "Sign": {"Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"},
    "TagResource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "UntagResource": {"TagKeys": ["a"]},
    "UpdateKeyDescription": {"Description": ""},
    "Verify": {"Message": b"x", "Signature": b"x", "SigningAlgorithm": "ECDSA_SHA_256"},
    "VerifyMac": {"Message": b"x", "Mac": b"x", "MacAlgorithm": "HMAC_SHA_256"},
}
_OF_NO_KEY = {"CreateKey", "DeleteAlias", "GenerateRandom", "ListKeys", "ListRetirableGrants"}
_BY_ANOTHER = {
    "CreateAlias": ("TargetKeyId", {"AliasName": "alias/mine"}),
    "ReEncrypt": ("SourceKeyId", {"CiphertextBlob": b"x", "DestinationKeyId": "alias/aws/s3"}),
    "UpdateAlias": ("TargetKeyId", {"AliasName": "alias/mine"}),
}


@ON_SQLITE
async def test_a_stranger_is_answered_the_same_of_a_key_that_there_is_and_of_one_that_there_is_not(harness, owner, key):
    """Every operation that names a key: what another account may not use it may not look for, either."""
    eve = await harness.user("eve", allow("kms:*"), account=OTHER)
    await kms(harness, owner, "CreateAlias", AliasName="alias/app", TargetKeyId=key)
    here = f"arn:aws:kms:us-east-1:{ACCOUNT}:"
    served = {one.name for one in harness.app.registry if one.service == "kms"} - _OF_NO_KEY
    asked = [(name, *_BY_ANOTHER.get(name, ("KeyId", _MORE.get(name, {})))) for name in sorted(served)]
    asked.append(
        ("ReEncrypt", "DestinationKeyId", {"CiphertextBlob": b"x", "SourceKeyId": await new_key(harness, eve)})
    )
    assert len(asked) > 30
    for operation, member, more in asked:
        answers = set()
        for name in (key, f"{here}key/{_ID}"):
            answers.add(await refused(kms(harness, eve, operation, **{member: name}, **more)))
        ((code, message),) = answers
        assert code == "AccessDenied", operation
        action = {"SourceKeyId": "ReEncryptFrom", "DestinationKeyId": "ReEncryptTo"}.get(member, operation)
        assert message == f"User: {eve.arn} is not authorized to perform: kms:{action}{HIDDEN}"
    nobody = await harness.user("nobody", account=OTHER)  # who could not use a key of the own account, either
    for name in (key, f"{here}key/{_ID}"):
        message = f"User: {nobody.arn} is not authorized to perform: kms:DescribeKey{HIDDEN}"
        assert await refused(kms(harness, nobody, "DescribeKey", KeyId=name)) == ("AccessDenied", message)
    for operation in ("DescribeKey", "Encrypt", "Decrypt", "GenerateDataKey"):
        for name in ("app", "none"):
            answer = await refused(
                kms(harness, eve, operation, KeyId=f"{here}alias/{name}", **_MORE.get(operation, {}))
            )
            assert answer[1].endswith(f"kms:{operation}{HIDDEN}")


@ON_SQLITE
async def test_a_stranger_learns_nothing_from_a_ciphertext(harness, owner, key):
    """Neither whether its key is still there, nor which one it is."""
    eve = await harness.user("eve", allow("kms:*"), account=OTHER)
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    nobodys = blob[:5] + bytes(16) + blob[21:]
    own = await new_key(harness, eve)
    for operation, more in (("Decrypt", {}), ("ReEncrypt", {"DestinationKeyId": own})):
        for who in (eve, await harness.user(f"nobody-{operation}", account=OTHER)):
            for one in (blob, nobodys):
                answer = await refused(kms(harness, who, operation, CiphertextBlob=one, **more))
                assert answer == ("AccessDenied", NO_KEY)
    for one in (blob, nobodys):
        answer = await refused(kms(harness, eve, "Decrypt", CiphertextBlob=one, KeyId=own))
        assert answer[0] == "IncorrectKeyException"
        answer = await refused(kms(harness, eve, "Decrypt", CiphertextBlob=one, KeyId=key))
        assert answer[1].endswith(f"kms:Decrypt{HIDDEN}")


async def test_a_key_takes_fifty_aliases_and_one_may_be_moved_to_where_it_is(harness, owner, key):
    for number in range(50):
        await kms(harness, owner, "CreateAlias", AliasName=f"alias/{number}", TargetKeyId=key)
    await kms(harness, owner, "UpdateAlias", AliasName="alias/7", TargetKeyId=key)
    assert (await refused(kms(harness, owner, "CreateAlias", AliasName="alias/more", TargetKeyId=key)))[
        0
    ] == "LimitExceededException"
