"""Tags of policies, and lists of the tags of users."""

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, refused

from penstock.wire.errors import AccessDenied

ARN = f"arn:aws:iam::{ACCOUNT}:policy/p"


def tags(**pairs):
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


async def test_tags_of_a_policy_are_changed_and_read_back(harness):
    await harness.iam("CreatePolicy", PolicyName="p", PolicyDocument=allow("s3:*"), Tags=tags(team="a", Team="b"))
    await harness.iam("TagPolicy", PolicyArn=ARN, Tags=tags(team="c", stage="prod"))
    await harness.iam("UntagPolicy", PolicyArn=ARN, TagKeys=["Team", "none"])
    kept = tags(team="c", stage="prod")
    assert await harness.iam("ListPolicyTags", PolicyArn=ARN) == {"Tags": kept, "IsTruncated": False}
    assert (await harness.iam("GetPolicy", PolicyArn=ARN))["Policy"]["Tags"] == kept


async def test_tags_of_a_user_are_listed(harness):
    await harness.iam("CreateUser", UserName="ann", Tags=tags(team="a"))
    await harness.iam("TagUser", UserName="ann", Tags=tags(stage="prod"))
    assert (await harness.iam("ListUserTags", UserName="ann"))["Tags"] == tags(team="a", stage="prod")


async def test_what_is_refused(harness):
    await harness.iam("CreatePolicy", PolicyName="p", PolicyDocument=allow("s3:*"))
    twice = ("InvalidInput", "Duplicate tag keys found.")
    assert await refused(harness.iam("TagPolicy", PolicyArn=ARN, Tags=[*tags(a="1"), *tags(a="2")])) == twice
    many = tags(**{f"k{number}": "v" for number in range(50)})
    await harness.iam("TagPolicy", PolicyArn=ARN, Tags=many)
    assert (await refused(harness.iam("TagPolicy", PolicyArn=ARN, Tags=tags(more="v"))))[0] == "LimitExceeded"
    other = await harness.administrator(OTHER)
    gone = ("NoSuchEntity", f"Policy {ARN} was not found.")
    for operation, more in (
        ("TagPolicy", {"Tags": many}),
        ("UntagPolicy", {"TagKeys": ["k1"]}),
        ("ListPolicyTags", {}),
    ):
        assert await refused(harness.iam(operation, PolicyArn=ARN, by=other, **more)) == gone
    deny = document({"Effect": "Deny", "Action": "iam:TagPolicy", "Resource": ARN})
    ann = await harness.user("ann", allow("*"), deny)
    with pytest.raises(AccessDenied, match="explicit deny"):
        await harness.iam("TagPolicy", PolicyArn=ARN, Tags=many, by=ann)
