"""Groups, whose policies are those of their members, and OpenID Connect providers as rows."""

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, refused

from penstock.wire.errors import AccessDenied, ServiceError


async def test_a_member_has_what_its_groups_allow_and_not_what_they_deny(harness):
    ann = await harness.user("ann", allow("s3:DeleteObject"))
    await harness.iam("CreateGroup", GroupName="readers")
    await harness.iam("PutGroupPolicy", GroupName="readers", PolicyName="p", PolicyDocument=allow("s3:Get*"))
    made = await harness.iam("CreatePolicy", PolicyName="lists", PolicyDocument=allow("s3:List*"))
    await harness.iam("AttachGroupPolicy", GroupName="readers", PolicyArn=made["Policy"]["Arn"])
    for action in ("s3:GetObject", "s3:ListBucket"):
        with pytest.raises(AccessDenied):
            await harness.may(ann, action)
    await harness.iam("AddUserToGroup", GroupName="readers", UserName="ann")
    await harness.iam("AddUserToGroup", GroupName="readers", UserName="ann")
    for action in ("s3:GetObject", "s3:ListBucket", "s3:DeleteObject"):
        await harness.may(ann, action)
    deny = document({"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"})
    await harness.iam("PutGroupPolicy", GroupName="readers", PolicyName="no", PolicyDocument=deny)
    with pytest.raises(AccessDenied, match="explicit deny"):
        await harness.may(ann, "s3:DeleteObject")
    await harness.iam("RemoveUserFromGroup", GroupName="readers", UserName="ann")
    await harness.iam("RemoveUserFromGroup", GroupName="readers", UserName="ann")
    await harness.may(ann, "s3:DeleteObject")
    with pytest.raises(AccessDenied):
        await harness.may(ann, "s3:GetObject")


async def test_a_group_is_read_back_as_it_was_made(harness):
    await harness.user("ann")
    await harness.user("bob")
    group = (await harness.iam("CreateGroup", GroupName="Devs", Path="/team/"))["Group"]
    assert group["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/team/Devs"
    assert group["GroupId"].startswith("AGPA")
    for name in ("bob", "ann"):
        await harness.iam("AddUserToGroup", GroupName="devs", UserName=name)
    first = await harness.iam("GetGroup", GroupName="devs", MaxItems=1)
    rest = await harness.iam("GetGroup", GroupName="devs", Marker=first["Marker"])
    assert (first["Group"], first["IsTruncated"], rest["IsTruncated"]) == (group, True, False)
    assert [user["UserName"] for user in first["Users"] + rest["Users"]] == ["ann", "bob"]
    assert (await harness.iam("ListGroups", PathPrefix="/team"))["Groups"] == [group]
    assert (await harness.iam("ListGroups", PathPrefix="/other"))["Groups"] == []
    await harness.iam("UpdateGroup", GroupName="devs", NewGroupName="crew", NewPath="/")
    assert [one["GroupName"] for one in (await harness.iam("ListGroupsForUser", UserName="ann"))["Groups"]] == ["crew"]


async def test_what_groups_refuse(harness):
    await harness.user("ann")
    await harness.iam("CreateGroup", GroupName="g")
    await harness.iam("CreateGroup", GroupName="other")
    iam = harness.iam
    assert await refused(iam("CreateGroup", GroupName="G")) == (
        "EntityAlreadyExists",
        "Group with name G already exists.",
    )
    assert await refused(iam("UpdateGroup", GroupName="g", NewGroupName="Other")) == (
        "EntityAlreadyExists",
        "Group with name Other already exists.",
    )
    assert await refused(iam("GetGroup", GroupName="none")) == (
        "NoSuchEntity",
        "The group with name none cannot be found.",
    )
    # The user is looked for before the group.
    assert await refused(iam("AddUserToGroup", GroupName="none", UserName="nobody")) == (
        "NoSuchEntity",
        "The user with name nobody cannot be found.",
    )
    await iam("AddUserToGroup", GroupName="g", UserName="ann")
    assert await refused(iam("DeleteGroup", GroupName="g")) == (
        "DeleteConflict",
        "Cannot delete entity, must remove users from group first.",
    )
    await iam("RemoveUserFromGroup", GroupName="g", UserName="ann")
    await iam("PutGroupPolicy", GroupName="g", PolicyName="p", PolicyDocument=allow("s3:*"))
    assert await refused(iam("DeleteGroup", GroupName="g")) == (
        "DeleteConflict",
        "Cannot delete entity, must delete policies first.",
    )
    await iam("DeleteGroupPolicy", GroupName="g", PolicyName="p")
    await iam("DeleteGroup", GroupName="g")
    for number in range(10):
        await iam("CreateGroup", GroupName=f"g{number}")
        await iam("AddUserToGroup", GroupName=f"g{number}", UserName="ann")
    assert await refused(iam("AddUserToGroup", GroupName="other", UserName="ann")) == (
        "LimitExceeded",
        "Cannot exceed quota for GroupsPerUser: 10",
    )


ISSUER = "https://token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"


async def test_a_provider_is_read_back_as_it_was_made(harness):
    iam = harness.iam
    made = await iam(
        "CreateOpenIDConnectProvider", Url=ISSUER, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["A" * 40]
    )
    assert made == {"OpenIDConnectProviderArn": PROVIDER}
    found = await iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER)
    assert {name: found[name] for name in found if name != "CreateDate"} == {
        "Url": "token.actions.githubusercontent.com",
        "ClientIDList": ["sts.amazonaws.com"],
        "ThumbprintList": ["a" * 40],
        "Tags": [],
    }
    slashed = await iam("CreateOpenIDConnectProvider", Url="https://sts.windows.net/tenant/")
    assert slashed["OpenIDConnectProviderArn"].endswith("oidc-provider/sts.windows.net/tenant/")
    listed = (await iam("ListOpenIDConnectProviders"))["OpenIDConnectProviderList"]
    assert [one["Arn"] for one in listed] == [slashed["OpenIDConnectProviderArn"], PROVIDER]
    for _ in range(2):
        await iam("AddClientIDToOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER, ClientID="other")
    await iam(
        "RemoveClientIDFromOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER, ClientID="sts.amazonaws.com"
    )
    await iam("UpdateOpenIDConnectProviderThumbprint", OpenIDConnectProviderArn=PROVIDER, ThumbprintList=[])
    await iam("TagOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER, Tags=[{"Key": "a", "Value": "b"}])
    found = await iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER)
    assert (found["ClientIDList"], found["ThumbprintList"]) == (["other"], [])
    assert found["Tags"] == [{"Key": "a", "Value": "b"}]
    await iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER)


async def test_what_providers_refuse(harness):
    iam = harness.iam
    await iam("CreateOpenIDConnectProvider", Url=ISSUER)
    assert await refused(iam("CreateOpenIDConnectProvider", Url=ISSUER)) == (
        "EntityAlreadyExists",
        f"Provider with url {ISSUER} already exists.",
    )
    for url in (
        "http://example.com",
        "https://",
        "https://exa mple.com",
        "https://example.com?x=1",
        "https://u@example.com",
    ):
        assert await refused(iam("CreateOpenIDConnectProvider", Url=url)) == (
            "ValidationError",
            "Invalid Open ID Connect Provider URL",
        )
    await iam("CreateOpenIDConnectProvider", Url="https://full.example", ThumbprintList=["a" * 40] * 5)
    assert await refused(
        iam("CreateOpenIDConnectProvider", Url="https://a.example", ThumbprintList=["a" * 40] * 6)
    ) == (
        "InvalidInput",
        "Thumbprint list must contain fewer than 5 entries.",
    )
    none = PROVIDER.replace("token", "none")
    assert await refused(iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=none)) == (
        "NoSuchEntity",
        f"OpenIDConnect Provider not found for arn {none}",
    )
    assert await refused(iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=none)) == (
        "NoSuchEntity",
        f"OpenId connect Provider {none} cannot be found.",
    )
    stranger = await harness.administrator(OTHER)
    for operation in ("GetOpenIDConnectProvider", "DeleteOpenIDConnectProvider"):
        with pytest.raises((ServiceError, AccessDenied)):
            await iam(operation, OpenIDConnectProviderArn=PROVIDER, by=stranger)
    assert await iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER)
