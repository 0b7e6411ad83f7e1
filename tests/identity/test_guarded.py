"""Policies of resources and permissions boundaries, with buckets as the resources."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, trusting

import penstock.objects
import penstock.parameters
from penstock.objects import errors
from penstock.wire.errors import AccessDenied, ServiceError

BUCKET = "arn:aws:s3:::bound"
EVERYTHING = allow("*")


@pytest.fixture
def components():
    return (penstock.objects.component, penstock.parameters.component)


@pytest.fixture
def harness(on_sqlite):
    return on_sqlite


async def s3(harness, by, operation, **input):
    return await harness.app.invoke(by, "s3", operation, {"Bucket": "bound", **input}, region="us-east-1")


async def bucket_with(harness, *statements):
    """A bucket of the first account with a policy; the account's administrator."""
    owner = await harness.administrator()
    await s3(harness, owner, "CreateBucket")
    if statements:
        await s3(harness, owner, "PutBucketPolicy", Policy=document(*statements))
    return owner


def letting(principal, *actions, effect="Allow", resource=f"{BUCKET}/*", **more):
    return {"Effect": effect, "Principal": principal, "Action": list(actions), "Resource": resource, **more}


async def test_the_policy_of_a_bucket_lets_a_user_in_who_has_none(harness):
    ann = await harness.user("ann")
    owner = await bucket_with(harness)
    with pytest.raises(AccessDenied, match="no identity-based policy allows the s3:GetObject action"):
        await harness.may(ann, "s3:GetObject", f"{BUCKET}/k")
    await s3(harness, owner, "PutBucketPolicy", Policy=document(letting({"AWS": ann.arn}, "s3:GetObject")))
    await harness.may(ann, "s3:GetObject", f"{BUCKET}/k")
    with pytest.raises(AccessDenied):
        await harness.may(ann, "s3:PutObject", f"{BUCKET}/k")
    await s3(harness, owner, "DeleteBucketPolicy")
    with pytest.raises(AccessDenied):
        await harness.may(ann, "s3:GetObject", f"{BUCKET}/k")


async def test_tags_of_a_resource_are_read_for_every_policy_that_asks_for_them(harness):
    owner = await harness.administrator()
    tags = [{"Key": "team", "Value": "red"}]
    await harness.app.invoke(
        owner, "ssm", "PutParameter", {"Name": "p", "Value": "v", "Type": "String", "Tags": tags}, region="us-east-1"
    )
    red = {"Action": "ssm:*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/team": "red"}}}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    allowed, denied = document({"Effect": "Allow", **red}), document(everything, {"Effect": "Deny", **red})
    role = await harness.role("r", trusting(AWS=ACCOUNT), EVERYTHING)
    by = await harness.user("by", EVERYTHING)
    parameter = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/p"
    for session in (await harness.user("ann", allowed), await harness.assumed(role, by=by, Policy=allowed)):
        await harness.may(session, "ssm:GetParameter", parameter)
        with pytest.raises(AccessDenied):
            await harness.may(session, "ssm:GetParameter", f"{parameter}-without-tags")
    for session in (await harness.user("bob", denied), await harness.assumed(role, by=by, Policy=denied)):
        await harness.may(session, "ssm:GetParameter", f"{parameter}-without-tags")
        with pytest.raises(AccessDenied, match="explicit deny"):
            await harness.may(session, "ssm:GetParameter", parameter)


async def test_an_account_is_let_in_as_far_as_it_lets_its_own_in(harness):
    within = [await harness.user("ann"), await harness.user("bob", EVERYTHING)]
    await bucket_with(harness, letting({"AWS": ACCOUNT}, "s3:*"))
    with pytest.raises(AccessDenied):
        await harness.may(within[0], "s3:GetObject", f"{BUCKET}/k")
    await harness.may(within[1], "s3:GetObject", f"{BUCKET}/k")


async def test_a_bucket_denies_what_policies_of_users_allow(harness):
    ann = await harness.user("ann", EVERYTHING)
    await bucket_with(harness, letting("*", "s3:DeleteObject", effect="Deny"))
    await harness.may(ann, "s3:GetObject", f"{BUCKET}/k")
    with pytest.raises(AccessDenied, match="with an explicit deny in a resource-based policy"):
        await harness.may(ann, "s3:DeleteObject", f"{BUCKET}/k")


async def test_across_accounts_both_sides_must_allow(harness):
    may, may_not = await harness.user("eve", EVERYTHING, account=OTHER), await harness.user("mallory", account=OTHER)
    owner = await bucket_with(harness)
    await s3(harness, owner, "PutObject", Key="k", Body=b"what is inside")
    for stranger in (may, may_not):
        with pytest.raises((AccessDenied, ServiceError), match="Access Denied"):
            await s3(harness, stranger, "GetObject", Key="k")
    await s3(
        harness, owner, "PutBucketPolicy", Policy=document(letting({"AWS": OTHER}, "s3:GetObject", "s3:PutObject"))
    )
    answer = await s3(harness, may, "GetObject", Key="k")
    assert await answer["Body"].read() == b"what is inside"
    await s3(harness, may, "PutObject", Key="theirs", Body=b"of the bucket's owner")
    assert await (await s3(harness, owner, "GetObject", Key="theirs"))["Body"].read() == b"of the bucket's owner"
    for stranger, operation in ((may_not, "GetObject"), (may, "DeleteObject")):
        with pytest.raises((AccessDenied, ServiceError), match="Access Denied"):
            await s3(harness, stranger, operation, Key="k")
    with pytest.raises(AccessDenied, match="Access Denied"):
        await s3(harness, may, "PutBucketPolicy", Policy=document(letting("*", "s3:*")))


async def test_a_bucket_that_was_another_accounts_keeps_nothing_of_it(harness):
    eve = await harness.user("eve", EVERYTHING, account=OTHER)
    owner = await bucket_with(harness, letting({"AWS": OTHER}, "s3:*"))
    await s3(harness, eve, "PutObject", Key="k", Body=b"x")
    await s3(harness, owner, "DeleteObject", Key="k")
    await s3(harness, owner, "DeleteBucket")
    await s3(harness, eve, "CreateBucket")
    await s3(harness, eve, "PutObject", Key="k", Body=b"x")
    for session in (owner, await harness.user("ann", EVERYTHING)):
        with pytest.raises((AccessDenied, ServiceError), match="Access Denied"):
            await s3(harness, session, "GetObject", Key="k")


async def test_who_was_named_is_not_who_has_the_name_now(harness):
    ann = await harness.user("ann")
    owner = await bucket_with(harness, letting({"AWS": [ann.arn, ACCOUNT]}, "s3:GetObject"))
    await harness.may(ann, "s3:GetObject", f"{BUCKET}/k")
    await harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=ann.access_key_id)
    await harness.iam("DeleteUser", UserName="ann")
    namesake = await harness.user("ann")
    with pytest.raises(AccessDenied):
        await harness.may(namesake, "s3:GetObject", f"{BUCKET}/k")
    shown = json.loads((await s3(harness, owner, "GetBucketPolicy"))["Policy"])
    assert shown["Statement"][0]["Principal"] == {"AWS": [ann.principal_id, ACCOUNT]}


@pytest.mark.parametrize(
    ("policy", "code", "message"),
    [
        ("nothing", "MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'"),
        ("{", "MalformedPolicy", "Syntax errors in policy."),
        (document(letting({"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"}, "s3:*")), "MalformedPolicy", "Invalid principal in policy"),
        (document(letting({"AWS": "nobody"}, "s3:*")), "MalformedPolicy", "Invalid principal in policy"),
        (document(letting({"AWS": ACCOUNT}, "s3:*", resource="*")), "MalformedPolicy", "Policy has invalid resource"),
        (document(letting({"AWS": ACCOUNT}, "s3:*", resource="arn:aws:s3:::other/*")), "MalformedPolicy", "Policy has invalid resource"),
        (document(letting({"AWS": ACCOUNT}, "iam:*")), "MalformedPolicy", "Policy has invalid action"),
        (document({"Effect": "Allow", "Action": "s3:*", "Resource": BUCKET}), "MalformedPolicy", "Missing required field Principal"),
        (document(letting("*", "s3:GetObject")), "AccessDenied", "BlockPublicPolicy"),
        (document(letting({"AWS": ACCOUNT}, "s3:GetObject", Sid="x" * 30_000)), "MalformedPolicy", "exceeds the maximum allowed document size"),
    ],
)  # fmt: skip
async def test_what_a_bucket_does_not_take_as_its_policy(harness, policy, code, message):
    owner = await bucket_with(harness)
    with pytest.raises(ServiceError, match=message) as refused:
        await s3(harness, owner, "PutBucketPolicy", Policy=policy)
    assert refused.value.wire_code == code
    with pytest.raises(errors.NoSuchBucketPolicy):
        await s3(harness, owner, "GetBucketPolicy")


async def test_a_policy_for_everybody_needs_the_block_lifted(harness):
    owner = await bucket_with(harness, letting("*", "s3:GetObject", Condition={"ArnLike": {"aws:PrincipalArn": "*"}}))
    assert (await s3(harness, owner, "GetBucketPolicyStatus"))["PolicyStatus"] == {"IsPublic": False}
    await s3(harness, owner, "PutPublicAccessBlock", PublicAccessBlockConfiguration={"BlockPublicPolicy": False})
    await s3(harness, owner, "PutBucketPolicy", Policy=document(letting("*", "s3:GetObject")))
    assert (await s3(harness, owner, "GetBucketPolicyStatus"))["PolicyStatus"] == {"IsPublic": True}


async def test_a_boundary_bounds_what_a_user_may(harness):
    ann = await harness.user("ann", EVERYTHING)
    bounding = (await harness.iam("CreatePolicy", PolicyName="bound", PolicyDocument=allow("s3:Get*")))["Policy"]["Arn"]
    await harness.may(ann, "s3:PutObject")
    await harness.iam("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=bounding)
    await harness.may(ann, "s3:GetObject")
    with pytest.raises(AccessDenied, match="because no permissions boundary allows the s3:PutObject action"):
        await harness.may(ann, "s3:PutObject")
    assert (await harness.iam("GetUser", UserName="ann"))["User"]["PermissionsBoundary"] == {
        "PermissionsBoundaryType": "Policy",
        "PermissionsBoundaryArn": bounding,
    }
    # A new version of the boundary counts at once.
    await harness.iam("CreatePolicyVersion", PolicyArn=bounding, PolicyDocument=EVERYTHING, SetAsDefault=True)
    await harness.may(ann, "s3:PutObject")
    await harness.iam("DeleteUserPermissionsBoundary", UserName="ann")
    assert "PermissionsBoundary" not in (await harness.iam("GetUser", UserName="ann"))["User"]


async def test_the_policy_of_a_bucket_is_bound_for_a_role_and_not_for_its_session(harness):
    """AWS: IAM User Guide, "Permissions boundaries", what resource-based policies grant beyond them."""
    ann = await harness.user("ann", allow("sts:AssumeRole"))
    role = await harness.role(
        "r", trusting(AWS=ann.arn), PermissionsBoundary="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    )
    session = await harness.assumed(role, by=ann)
    owner = await bucket_with(harness, letting({"AWS": role}, "s3:PutObject"))
    with pytest.raises(AccessDenied, match="no permissions boundary allows"):
        await harness.may(session, "s3:PutObject", f"{BUCKET}/k")
    await s3(harness, owner, "PutBucketPolicy", Policy=document(letting({"AWS": session.arn}, "s3:PutObject")))
    await harness.may(session, "s3:PutObject", f"{BUCKET}/k")


@pytest.mark.parametrize(
    ("boundary", "code", "message"),
    [
        ("arn:aws:iam::aws:role/x-not-a-policy", "InvalidInput", "ARN arn:aws:iam::aws:role/x-not-a-policy is not valid."),
        (f"arn:aws:iam::{ACCOUNT}:policy/none", "NoSuchEntity", f"Scope ARN: arn:aws:iam::{ACCOUNT}:policy/none does not exist or is not attachable."),
        ("arn:aws:iam::aws:policy/None", "NoSuchEntity", "Scope ARN: arn:aws:iam::aws:policy/None does not exist or is not attachable."),
    ],
)  # fmt: skip
async def test_boundaries_that_there_are_not(harness, boundary, code, message):
    await harness.user("ann")
    for put in (
        harness.iam("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=boundary),
        harness.iam("CreateUser", UserName="bob", PermissionsBoundary=boundary),
        harness.iam(
            "CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(AWS=ACCOUNT), PermissionsBoundary=boundary
        ),
    ):
        with pytest.raises(ServiceError) as refused:
            await put
        assert (refused.value.wire_code, refused.value.message) == (code, message)
    with pytest.raises(ServiceError, match="has no permissions boundary"):
        await harness.iam("DeleteUserPermissionsBoundary", UserName="ann")


async def test_what_a_request_asks_for_can_be_asked_by_policies(harness):
    tags = [{"Key": "team", "Value": "red"}, {"Key": "cost", "Value": ""}]
    condition = {
        "StringEquals": {"aws:RequestTag/Team": "red", "aws:RequestTag/cost": ""},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost"]},
    }
    ann = await harness.user(
        "ann", document({"Effect": "Allow", "Action": "iam:*", "Resource": "*", "Condition": condition})
    )
    await harness.iam("CreateUser", UserName="bob", Tags=tags, by=ann)
    for wrong in (tags[:1], [], [*tags, {"Key": "more", "Value": "x"}], [{"Key": "team", "Value": "blue"}, tags[1]]):
        with pytest.raises(AccessDenied):
            await harness.iam("CreateUser", UserName="carl", Tags=wrong, by=ann)
