"""Who gives policies and boundaries to others is told which, and to whom, by condition keys of IAM's own."""

import pytest
from penstock_identity_harness import ACCOUNT, allow, document, trusting

from penstock.wire.errors import AccessDenied

LIMIT, OTHER = f"arn:aws:iam::{ACCOUNT}:policy/limit", "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
TRUST = trusting(Service="ec2.amazonaws.com")
BOUNDED = {"StringEquals": {"iam:PermissionsBoundary": LIMIT}}


@pytest.fixture
async def harness(on_sqlite):
    await on_sqlite.iam("CreatePolicy", PolicyName="limit", PolicyDocument=allow("s3:*"))
    return on_sqlite


async def denied(harness, operation, by, **input):
    with pytest.raises(AccessDenied):
        await harness.iam(operation, by=by, **input)


@pytest.mark.parametrize("kind", ["User", "Role"])
async def test_a_delegate_makes_and_changes_only_who_is_bounded(harness, kind):
    """AWS: IAM User Guide, "Delegating responsibility to others using permissions boundaries"."""
    named, other = {f"{kind}Name": "mine"}, {f"{kind}Name": "free"}
    trust = {"AssumeRolePolicyDocument": TRUST} if kind == "Role" else {}
    given = {"PolicyName": "p", "PolicyDocument": allow("s3:*")}
    delegate = await harness.user(
        "delegate", document({"Effect": "Allow", "Action": "iam:*", "Resource": "*", "Condition": BOUNDED})
    )
    await denied(harness, f"Create{kind}", delegate, **named, **trust)
    await denied(harness, f"Create{kind}", delegate, **named, **trust, PermissionsBoundary=OTHER)
    await harness.iam(f"Create{kind}", by=delegate, **named, **trust, PermissionsBoundary=LIMIT)
    await harness.iam(f"Create{kind}", **other, **trust)
    for operation, more in ((f"Put{kind}Policy", given), (f"Attach{kind}Policy", {"PolicyArn": ADMINISTRATOR})):
        await harness.iam(operation, by=delegate, **named, **more)
        await denied(harness, operation, delegate, **other, **more)
        await harness.iam(operation, **other, **more)
    for operation, more in (
        (f"Delete{kind}Policy", {"PolicyName": "p"}),
        (f"Detach{kind}Policy", {"PolicyArn": ADMINISTRATOR}),
    ):
        await denied(harness, operation, delegate, **other, **more)
        await harness.iam(operation, by=delegate, **named, **more)
    put = f"Put{kind}PermissionsBoundary"
    await denied(harness, put, delegate, **named, PermissionsBoundary=OTHER)
    await harness.iam(put, by=delegate, **other, PermissionsBoundary=LIMIT)
    await harness.iam(put, **other, PermissionsBoundary=OTHER)
    await denied(harness, f"Delete{kind}PermissionsBoundary", delegate, **other)


@pytest.mark.parametrize("kind", ["User", "Group", "Role"])
async def test_a_policy_that_nobody_may_attach_is_not_attached(harness, kind):
    named = {f"{kind}Name": "mine"}
    never = {
        "Effect": "Deny",
        "Action": "iam:Attach*",
        "Resource": "*",
        "Condition": {"ArnEquals": {"iam:PolicyARN": ADMINISTRATOR}},
    }
    ann = await harness.user("ann", allow("iam:*"), document(never))
    await harness.iam(f"Create{kind}", **named, **({"AssumeRolePolicyDocument": TRUST} if kind == "Role" else {}))
    await denied(harness, f"Attach{kind}Policy", ann, **named, PolicyArn=ADMINISTRATOR)
    await harness.iam(f"Attach{kind}Policy", by=ann, **named, PolicyArn=OTHER)
    only = {
        "Effect": "Allow",
        "Action": "iam:Detach*",
        "Resource": "*",
        "Condition": {"ArnEquals": {"iam:PolicyARN": OTHER}},
    }
    bob = await harness.user("bob", document(only))
    await denied(harness, f"Detach{kind}Policy", bob, **named, PolicyArn=LIMIT)
    await harness.iam(f"Detach{kind}Policy", by=bob, **named, PolicyArn=OTHER)
