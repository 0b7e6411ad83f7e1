"""Grants in process: whom they let do what, under which context, and how they end. On either database."""

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, trusting
from penstock_keys import kms, new_key, refused

from penstock.identity.operations import security_tokens  # noqa: F401 - sts
from penstock.keys import granting
from penstock.keys.errors import InvalidGrantTokenException
from penstock.wire.call import Origin, service_session

CONTEXT = {"app": "shop", "stage": "live"}


async def denied(coroutine) -> bool:
    return (await refused(coroutine))[0] == "AccessDenied"


async def grant(harness, by, key, grantee, *operations, **input):
    return await kms(
        harness, by, "CreateGrant", KeyId=key, GranteePrincipal=grantee, Operations=list(operations), **input
    )


async def test_a_grant_lets_do_what_it_says_until_it_is_revoked(harness, owner, key):
    ann = await harness.user("ann")
    made = await grant(harness, owner, key, ann.arn, "Encrypt", "DescribeKey")
    blob = (await kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s", GrantTokens=[made["GrantToken"]]))[
        "CiphertextBlob"
    ]
    await kms(harness, ann, "DescribeKey", KeyId=key)
    assert await denied(kms(harness, ann, "Decrypt", CiphertextBlob=blob))
    assert await denied(kms(harness, ann, "ReEncrypt", CiphertextBlob=blob, DestinationKeyId=key))
    assert await denied(kms(harness, ann, "DisableKey", KeyId=key))
    assert await denied(kms(harness, ann, "RevokeGrant", KeyId=key, GrantId=made["GrantId"]))
    await kms(harness, owner, "RevokeGrant", KeyId=key, GrantId=made["GrantId"])
    assert await denied(kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s"))
    assert await refused(kms(harness, owner, "RevokeGrant", KeyId=key, GrantId=made["GrantId"])) == (
        "NotFoundException",
        f"Grant ID {made['GrantId']} not found",
    )


async def test_a_grant_is_of_one_key(harness, owner, key):
    ann, other = await harness.user("ann"), await new_key(harness, owner)
    await grant(harness, owner, key, ann.arn, "Encrypt")
    assert await denied(kms(harness, ann, "Encrypt", KeyId=other, Plaintext=b"s"))


async def test_a_deny_wins_over_a_grant(harness, owner, key):
    no = document({"Effect": "Deny", "Action": "kms:Encrypt", "Resource": "*"})
    ann = await harness.user("ann", no)
    await grant(harness, owner, key, ann.arn, "Encrypt", "Decrypt")
    assert await denied(kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s"))
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    assert (await kms(harness, ann, "Decrypt", CiphertextBlob=blob))["Plaintext"] == b"s"


async def test_who_has_the_name_of_a_grantee_is_not_the_grantee(harness, owner, key):
    ann = await harness.user("ann")
    made = await grant(harness, owner, key, ann.arn, "Encrypt", RetiringPrincipal=ann.arn, Name="once")
    await kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s")
    await harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=ann.access_key_id)
    await harness.iam("DeleteUser", UserName="ann")
    listed = (await kms(harness, owner, "ListGrants", KeyId=key))["Grants"]
    assert listed[0]["GranteePrincipal"] == ann.principal_id
    again = await harness.user("ann")
    assert again.arn == ann.arn
    assert await denied(kms(harness, again, "Encrypt", KeyId=key, Plaintext=b"s"))
    assert await denied(kms(harness, again, "RetireGrant", KeyId=key, GrantId=made["GrantId"]))
    renewed = await grant(harness, owner, key, again.arn, "Encrypt", RetiringPrincipal=again.arn, Name="once")
    assert renewed["GrantId"] != made["GrantId"]
    await kms(harness, again, "Encrypt", KeyId=key, Plaintext=b"s")


async def test_roles_and_their_sessions(harness, owner, key):
    role = await harness.role("worker", trusting(AWS=ACCOUNT))
    session = await harness.assumed(role, by=owner)
    made = await grant(harness, owner, key, role, "Encrypt")
    await kms(harness, session, "Encrypt", KeyId=key, Plaintext=b"s")
    narrowed = await harness.assumed(role, by=owner, Policy=allow("kms:DescribeKey"))
    assert await denied(kms(harness, narrowed, "Encrypt", KeyId=key, Plaintext=b"s"))
    await kms(harness, owner, "RevokeGrant", KeyId=key, GrantId=made["GrantId"])
    await grant(harness, owner, key, session.arn, "Encrypt")
    await kms(harness, session, "Encrypt", KeyId=key, Plaintext=b"s")
    other = await harness.sts("AssumeRole", by=owner, RoleArn=role, RoleSessionName="other")
    other = await harness.session(other["Credentials"]["AccessKeyId"], other["Credentials"]["SessionToken"])
    assert await denied(kms(harness, other, "Encrypt", KeyId=key, Plaintext=b"s"))


async def test_another_account_needs_policies_of_its_own_too(harness, owner, key):
    eve = await harness.user("eve", allow("kms:Encrypt"), account=OTHER)
    mallory = await harness.user("mallory", account=OTHER)
    await grant(harness, owner, key, f"arn:aws:iam::{OTHER}:root", "Encrypt", "Decrypt")
    blob = (await kms(harness, eve, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]
    assert await denied(kms(harness, eve, "Decrypt", CiphertextBlob=blob))
    assert await denied(kms(harness, mallory, "Encrypt", KeyId=key, Plaintext=b"s"))


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ({"EncryptionContextEquals": CONTEXT}, [CONTEXT], [{}, {"app": "shop"}, {**CONTEXT, "x": "y"}, {**CONTEXT, "App": "shop"}]),
        ({"EncryptionContextSubset": CONTEXT}, [CONTEXT, {**CONTEXT, "x": "y"}], [{}, {"app": "shop"}, {**CONTEXT, "app": "x"}, {"App": "shop", "stage": "live"}]),
        ({"EncryptionContextSubset": {"a": "${aws:username}*"}}, [{"a": "${aws:username}*"}], [{"a": "ann"}, {"a": "annx"}]),
    ],
)  # fmt: skip
async def test_a_constraint_is_the_encryption_context_to_the_letter(harness, owner, key, constraint, good, bad):
    ann = await harness.user("ann")
    await grant(
        harness, owner, key, ann.arn, "Encrypt", "Decrypt", "DescribeKey", "ReEncryptFrom", "ReEncryptTo",
        Constraints=constraint,
    )  # fmt: skip
    await kms(harness, ann, "DescribeKey", KeyId=key)
    for context in good:
        made = await kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext=context)
        blob = made["CiphertextBlob"]
        opened = await kms(harness, ann, "Decrypt", CiphertextBlob=blob, EncryptionContext=context)
        assert opened["Plaintext"] == b"s"
        again = {"CiphertextBlob": blob, "SourceEncryptionContext": context, "DestinationKeyId": key}
        await kms(harness, ann, "ReEncrypt", **again, DestinationEncryptionContext=context)
        for wrong in bad:
            assert await denied(kms(harness, ann, "ReEncrypt", **again, DestinationEncryptionContext=wrong))
    for context in bad:
        made = await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext=context)
        blob = made["CiphertextBlob"]
        assert await denied(kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext=context))
        assert await denied(kms(harness, ann, "Decrypt", CiphertextBlob=blob, EncryptionContext=context))
        assert await denied(
            kms(
                harness, ann, "ReEncrypt", CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=key,
                DestinationEncryptionContext=good[0],
            )
        )  # fmt: skip


async def test_who_was_granted_grants_hands_on_no_more_than_that(harness, owner, key):
    ann, bob = await harness.user("ann"), await harness.user("bob")
    constraint = {"EncryptionContextSubset": {"app": "shop"}}
    await grant(harness, owner, key, ann.arn, "Encrypt", "CreateGrant", Constraints=constraint)
    for operations, constraints in (
        (("Decrypt",), constraint),
        (("Encrypt", "Decrypt"), constraint),
        (("Encrypt",), {}),
        (("Encrypt",), {"EncryptionContextSubset": {"app": "other"}}),
        (("Encrypt",), {"EncryptionContextEquals": {"stage": "live"}}),
    ):
        more = {"Constraints": constraints} if constraints else {}
        assert await denied(grant(harness, ann, key, bob.arn, *operations, **more))
    for constraints in ({"EncryptionContextSubset": CONTEXT}, {"EncryptionContextEquals": CONTEXT}, constraint):
        await grant(harness, ann, key, bob.arn, "Encrypt", Constraints=constraints)
    await kms(harness, bob, "Encrypt", KeyId=key, Plaintext=b"s", EncryptionContext=CONTEXT)
    assert await denied(grant(harness, bob, key, ann.arn, "Encrypt", Constraints=constraint))


async def test_who_may_retire_a_grant(harness, owner, key):
    ann, bob, tom = [await harness.user(name) for name in ("ann", "bob", "tom")]
    first = await grant(harness, owner, key, ann.arn, "Encrypt", RetiringPrincipal=bob.arn)
    second = await grant(harness, owner, key, ann.arn, "RetireGrant")
    third = await grant(harness, owner, key, tom.arn, "Encrypt")
    for who, what in ((ann, first), (tom, first), (bob, second), (ann, third), (tom, third)):
        assert await denied(kms(harness, who, "RetireGrant", KeyId=key, GrantId=what["GrantId"]))
        assert await denied(kms(harness, who, "RetireGrant", GrantToken=what["GrantToken"]))
    listed = await kms(harness, owner, "ListRetirableGrants", RetiringPrincipal=bob.arn)
    assert [one["GrantId"] for one in listed["Grants"]] == [first["GrantId"]]
    dry = await refused(kms(harness, bob, "RetireGrant", GrantToken=first["GrantToken"], DryRun=True))
    assert dry[0] == "DryRunOperationException"
    await kms(harness, bob, "RetireGrant", GrantToken=first["GrantToken"])
    assert await denied(kms(harness, bob, "RetireGrant", GrantToken=first["GrantToken"]))
    assert (await refused(kms(harness, owner, "RetireGrant", GrantToken=first["GrantToken"])))[0] == "NotFoundException"
    await kms(harness, ann, "RetireGrant", KeyId=key, GrantId=second["GrantId"])
    left = (await kms(harness, owner, "ListGrants", KeyId=key))["Grants"]
    assert [one["GrantId"] for one in left] == [third["GrantId"]]


async def test_grants_that_a_person_may_retire_are_listed_of_every_accounts_keys(harness, owner, key):
    bob, other = await harness.user("bob"), await harness.administrator(OTHER)
    mine = await grant(harness, owner, key, owner.arn, "Encrypt", RetiringPrincipal=bob.arn)
    theirs = await grant(harness, other, await new_key(harness, other), other.arn, "Encrypt", RetiringPrincipal=bob.arn)
    listed = await kms(harness, owner, "ListRetirableGrants", RetiringPrincipal=bob.arn)
    assert {one["GrantId"] for one in listed["Grants"]} == {mine["GrantId"], theirs["GrantId"]}


async def test_a_grant_is_retired_by_the_id_of_its_key_and_not_by_an_alias(harness, owner, key):
    made = await grant(harness, owner, key, owner.arn, "Encrypt", RetiringPrincipal=owner.arn)
    await kms(harness, owner, "CreateAlias", AliasName="alias/a", TargetKeyId=key)
    by_alias = kms(harness, owner, "RetireGrant", KeyId="alias/a", GrantId=made["GrantId"])
    assert (await refused(by_alias))[0] == "NotFoundException"
    await kms(harness, owner, "RetireGrant", KeyId=key, GrantId=made["GrantId"])


async def test_the_same_name_makes_no_second_grant(harness, owner, key):
    ann = await harness.user("ann")
    first = await grant(harness, owner, key, ann.arn, "Encrypt", Name="n")
    again = await grant(harness, owner, key, ann.arn, "Encrypt", Name="n")
    assert (again["GrantId"], again["GrantToken"] == first["GrantToken"]) == (first["GrantId"], False)
    others = [
        await grant(harness, owner, key, ann.arn, "Encrypt"),
        await grant(harness, owner, key, ann.arn, "Encrypt"),
        await grant(harness, owner, key, ann.arn, "Decrypt", Name="n"),
        await grant(harness, owner, key, ann.arn, "Encrypt", Name="n", RetiringPrincipal=owner.arn),
    ]
    assert len({one["GrantId"] for one in (first, *others)}) == 5


async def test_lists_show_grants_as_they_were_made(harness, owner, key, clock):
    ann, bob = await harness.user("ann"), await harness.user("bob")
    constraint = {"EncryptionContextEquals": CONTEXT}
    made = await grant(harness, owner, key, ann.arn, "Encrypt", RetiringPrincipal=bob.arn, Name="n", Constraints=constraint)  # fmt: skip
    shown = (await kms(harness, owner, "ListGrants", KeyId=key, GrantId=made["GrantId"]))["Grants"]
    assert shown == [
        {
            "KeyId": key,
            "GrantId": made["GrantId"],
            "Name": "n",
            "CreationDate": clock.now(),
            "GranteePrincipal": ann.arn,
            "RetiringPrincipal": bob.arn,
            "IssuingAccount": f"arn:aws:iam::{ACCOUNT}:root",
            "Operations": ["Encrypt"],
            "Constraints": constraint,
        }
    ]
    rest = [(await grant(harness, owner, key, bob.arn, "Encrypt"))["GrantId"] for _ in range(3)]
    first = await kms(harness, owner, "ListGrants", KeyId=key, Limit=3)
    second = await kms(harness, owner, "ListGrants", KeyId=key, Limit=3, Marker=first["NextMarker"])
    ids = [one["GrantId"] for one in first["Grants"] + second["Grants"]]
    assert ids == sorted([made["GrantId"], *rest])
    assert (first["Truncated"], second["Truncated"]) == (True, False)
    only = (await kms(harness, owner, "ListGrants", KeyId=key, GranteePrincipal=bob.arn))["Grants"]
    assert sorted(one["GrantId"] for one in only) == sorted(rest)


async def test_grants_go_with_their_key(harness, owner, key):
    from penstock.keys import records

    ann = await harness.user("ann")
    made = await grant(harness, owner, key, ann.arn, "Encrypt", RetiringPrincipal=ann.arn)
    await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key)
    assert (await refused(kms(harness, ann, "Encrypt", KeyId=key, Plaintext=b"s")))[0] == "KMSInvalidStateException"
    key_id = key.rpartition("/")[2]
    await harness.app.store.write(records.delete, key_id)
    assert (await kms(harness, owner, "ListRetirableGrants", RetiringPrincipal=ann.arn))["Grants"] == []
    assert (await refused(kms(harness, ann, "RetireGrant", GrantToken=made["GrantToken"])))[0] == "AccessDenied"
    assert (await refused(kms(harness, owner, "RetireGrant", GrantToken=made["GrantToken"])))[0] == "NotFoundException"


@pytest.mark.parametrize(
    ("input", "code"),
    [
        ({"Operations": []}, "ValidationException"),
        ({"Operations": ["Sign"]}, "ValidationException"),
        ({"Constraints": {"EncryptionContextEquals": {}}}, "ValidationException"),
        ({"Constraints": {"EncryptionContextEquals": CONTEXT, "EncryptionContextSubset": CONTEXT}}, "ValidationException"),
        ({"Constraints": {"EncryptionContextEquals": {str(n): "" for n in range(9)}}}, "ValidationException"),
        ({"Constraints": {"EncryptionContextSubset": {"a": "x" * 385}}}, "ValidationException"),
        ({"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:user/nobody"}, "InvalidArnException"),
        ({"RetiringPrincipal": f"arn:aws:iam::{ACCOUNT}:role/nobody"}, "InvalidArnException"),
        ({"GranteePrincipal": ACCOUNT}, "InvalidArnException"),
        ({"GranteePrincipal": "arn:aws:s3:::bucket"}, "InvalidArnException"),
        ({"GranteeServicePrincipal": "ec2.amazonaws.com"}, "ValidationException"),
        ({"GrantTokens": ["x"]}, "InvalidGrantTokenException"),
        ({"KeyId": "alias/some"}, "NotFoundException"),
        ({"DryRun": True}, "DryRunOperationException"),
    ],
)  # fmt: skip
async def test_grants_that_a_key_does_not_take(harness, owner, key, input, code):
    asked = {"KeyId": key, "GranteePrincipal": owner.arn, "Operations": ["Encrypt"], **input}
    assert (await refused(kms(harness, owner, "CreateGrant", **asked)))[0] == code
    assert (await kms(harness, owner, "ListGrants", KeyId=key))["Grants"] == []


async def test_a_grant_for_a_service_says_for_which_resource_and_who_ends_it(harness, owner, key):
    said = "A grant for a service has a SourceArn constraint and a retiring principal."
    service = {"KeyId": key, "GranteeServicePrincipal": "s3.amazonaws.com", "Operations": ["Encrypt"]}
    source = {"Constraints": {"SourceArn": f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/t"}}
    for more in ({}, source, {"RetiringPrincipal": owner.arn}):
        assert await refused(kms(harness, owner, "CreateGrant", **service, **more)) == ("ValidationException", said)
    await kms(harness, owner, "CreateGrant", **service, **source, RetiringPrincipal=owner.arn)


async def test_a_disabled_key_is_granted_to_nobody(harness, owner, key):
    await kms(harness, owner, "DisableKey", KeyId=key)
    assert (await refused(grant(harness, owner, key, owner.arn, "Encrypt")))[0] == "DisabledException"


async def test_how_many_grants_a_key_has(harness, owner, key, monkeypatch):
    monkeypatch.setattr(granting, "MAX_GRANTS_OF_ONE", 2)
    monkeypatch.setattr(granting, "MAX_GRANTS", 3)
    ann, bob = await harness.user("ann"), await harness.user("bob")
    for _ in range(2):
        await grant(harness, owner, key, ann.arn, "Encrypt")
    assert "for one principal" in (await refused(grant(harness, owner, key, ann.arn, "Encrypt")))[1]
    await grant(harness, owner, key, bob.arn, "Encrypt")
    assert (await refused(grant(harness, owner, key, bob.arn, "Encrypt")))[0] == "LimitExceededException"


async def test_what_policies_may_ask_of_a_new_grant(harness, owner, key):
    bob = await harness.user("bob")
    conditions = {
        "ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "Decrypt"]},
        "StringEquals": {
            "kms:GranteePrincipal": bob.arn,
            "kms:RetiringPrincipal": owner.arn,
            "kms:EncryptionContext:app": "shop",
        },
        "ForAnyValue:StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"},
        "Bool": {"kms:GrantIsForAWSResource": "true"},
    }
    policy = document({"Effect": "Allow", "Action": "kms:CreateGrant", "Resource": "*", "Condition": conditions})
    ann = await harness.user("ann", policy)
    through = Origin(via="invoke", called_via=("s3.amazonaws.com",))
    good = {
        "KeyId": key,
        "GranteePrincipal": bob.arn,
        "RetiringPrincipal": owner.arn,
        "Operations": ["Encrypt"],
        "Constraints": {"EncryptionContextEquals": CONTEXT},
    }
    await kms(harness, ann, "CreateGrant", **good, origin=through)
    assert await denied(kms(harness, ann, "CreateGrant", **good))
    for wrong in (
        {"Operations": ["Encrypt", "DescribeKey"]},
        {"GranteePrincipal": ann.arn},
        {"RetiringPrincipal": bob.arn},
        {"Constraints": {"EncryptionContextSubset": CONTEXT}},
        {"Constraints": {"EncryptionContextEquals": {"app": "other"}}},
    ):
        assert await denied(kms(harness, ann, "CreateGrant", **{**good, **wrong}, origin=through))


async def test_a_service_is_let_in_for_the_resource_that_it_acts_for(harness, owner, key):
    run = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:things"
    await kms(
        harness, owner, "CreateGrant", KeyId=key, GranteeServicePrincipal="s3.amazonaws.com",
        RetiringPrincipal=owner.arn, Operations=["Encrypt"], Constraints={"SourceArn": run},
    )  # fmt: skip
    await kms(harness, service_session("s3.amazonaws.com", ACCOUNT, run), "Encrypt", KeyId=key, Plaintext=b"s")
    for service, source in (("s3.amazonaws.com", f"{run}x"), ("ssm.amazonaws.com", run)):
        session = service_session(service, ACCOUNT, source)
        assert await denied(kms(harness, session, "Encrypt", KeyId=key, Plaintext=b"s"))


async def test_who_may_retire_is_listed_for_the_own_account_only(harness, owner):
    code = await refused(kms(harness, owner, "ListRetirableGrants", RetiringPrincipal=f"arn:aws:iam::{OTHER}:user/eve"))
    assert code[0] == "InvalidArnException"
    for wrong in ({}, {"GrantToken": "AQ"}, {"KeyId": "11111111-1111-1111-1111-111111111111"}, {"GrantToken": "é"}):
        assert (await refused(kms(harness, owner, "RetireGrant", **wrong)))[0] in (
            "ValidationException",
            "InvalidGrantTokenException",
        )


contexts = st.dictionaries(st.sampled_from("abA"), st.sampled_from("xy"), max_size=3)
constraint = st.one_of(
    st.just({}),
    st.fixed_dictionaries({granting.EQUALS: contexts.filter(bool)}),
    st.fixed_dictionaries({granting.SUBSET: contexts.filter(bool)}),
)


@given(old=constraint, new=constraint, context=contexts)
def test_a_grant_that_may_be_handed_on_lets_nothing_through_that_its_parent_does_not(old, new, context):
    asked = granting.Asked(operations=("Encrypt",), constraints=new)
    if granting.allows(("Encrypt", "CreateGrant"), old, "CreateGrant", asked) and granting.allows(
        ("Encrypt",), new, "Encrypt", granting.Asked(context)
    ):
        assert granting.allows(("Encrypt",), old, "Encrypt", granting.Asked(context))


@given(st.one_of(st.text(), st.binary(max_size=200).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_any_text_is_a_token_or_refused(text):
    with pytest.raises(InvalidGrantTokenException):
        granting.named(text)


def test_a_token_names_its_grant():
    ids = ("11111111-1111-4111-8111-111111111111", "mrk-" + "1" * 32)
    for key_id, number in itertools.product(ids, range(2)):
        assert granting.named(granting.token(key_id, "ab" * 32, bytes([number] * 8))) == (key_id, "ab" * 32)
