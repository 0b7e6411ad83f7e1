"""Every list of IAM, found in the registry: its pages are as large as asked for, and together they are the list."""

import base64

import pytest
from penstock_identity_harness import ACCOUNT, allow, refused, trusting

from penstock.identity import totp

TAGS = [{"Key": key, "Value": "v"} for key in ("abc", "b", "z", "a")]
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/p/one"
ANN, CREW, WEB = {"UserName": "ann"}, {"GroupName": "crew"}, {"RoleName": "web"}
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/one.example"
CONTEXT = {"PolicyInputList": [allow("s3:*")], "ActionNames": ["s3:GetObject", "s3:PutObject"]}

LISTS = {
    "GetAccountAuthorizationDetails": {"Filter": ["User"]},
    "GetGroup": CREW,
    "ListAccessKeys": ANN,
    "ListAccountAliases": {},
    "ListAttachedGroupPolicies": CREW,
    "ListAttachedRolePolicies": WEB,
    "ListAttachedUserPolicies": ANN,
    "ListEntitiesForPolicy": {"PolicyArn": POLICY},
    "ListGroupPolicies": CREW,
    "ListGroups": {},
    "ListGroupsForUser": ANN,
    "ListInstanceProfileTags": {"InstanceProfileName": "one"},
    "ListInstanceProfiles": {},
    "ListInstanceProfilesForRole": WEB,
    "ListMFADevices": ANN,
    "ListMFADeviceTags": {"SerialNumber": f"arn:aws:iam::{ACCOUNT}:mfa/one"},
    "ListOpenIDConnectProviderTags": {"OpenIDConnectProviderArn": PROVIDER},
    "ListPolicies": {"Scope": "Local"},
    "ListPolicyTags": {"PolicyArn": POLICY},
    "ListPolicyVersions": {"PolicyArn": POLICY},
    "ListRolePolicies": WEB,
    "ListRoleTags": WEB,
    "ListRoles": {},
    "ListServiceSpecificCredentials": ANN,
    "ListUserPolicies": ANN,
    "ListUserTags": ANN,
    "ListUsers": {},
    "ListVirtualMFADevices": {},
    "SimulateCustomPolicy": CONTEXT,
    "SimulatePrincipalPolicy": CONTEXT | {"PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:user/p/ann"},
}
ONE = {"ListAccountAliases"}  # there is no second


@pytest.fixture
def harness(on_sqlite):
    return on_sqlite


async def furnish(harness):
    iam = harness.iam
    for name in ("ann", "bob"):
        await iam("CreateUser", UserName=name, Path="/p/", Tags=TAGS)
    for name in ("crew", "staff"):
        await iam("CreateGroup", GroupName=name, Path="/p/")
        await iam("AddUserToGroup", GroupName=name, UserName="ann")
    await iam("AddUserToGroup", GroupName="crew", UserName="bob")
    for name in ("web", "worker"):
        await harness.role(name, trusting(Service="ec2.amazonaws.com"), Path="/p/", Tags=TAGS)
    for name in ("one", "two"):
        arn = (await iam("CreatePolicy", PolicyName=name, Path="/p/", PolicyDocument=allow("s3:*"), Tags=TAGS))[
            "Policy"
        ]["Arn"]
        await iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=allow("sns:*"))
        for kind, holder in (("User", ANN), ("Group", CREW), ("Role", WEB)):
            await iam(f"Put{kind}Policy", **holder, PolicyName=name, PolicyDocument=allow("s3:*"))
            await iam(f"Attach{kind}Policy", **holder, PolicyArn=arn)
        await iam("CreateInstanceProfile", InstanceProfileName=name, Path="/p/", Tags=TAGS)
        await iam("AddRoleToInstanceProfile", InstanceProfileName=name, **WEB)
        await iam("CreateAccessKey", **ANN)
        await iam("CreateServiceSpecificCredential", **ANN, ServiceName="codecommit.amazonaws.com")
        await iam("CreateOpenIDConnectProvider", Url=f"https://{name}.example", Tags=TAGS)
        device = (await iam("CreateVirtualMFADevice", VirtualMFADeviceName=name, Tags=TAGS))["VirtualMFADevice"]
        seed, step = base64.b32decode(device["Base32StringSeed"]), harness.app.clock.now() // totp.STEP_MS
        codes = {f"AuthenticationCode{at}": totp.code_of(seed, step + at) for at in (1, 2)}
        await iam("EnableMFADevice", **ANN, SerialNumber=device["SerialNumber"], **codes)
    await iam("CreateAccountAlias", AccountAlias="lists")


def rows(answer):
    """The entries of an answer's lists."""
    return [(name, one) for name, value in answer.items() if isinstance(value, list) for one in value]


async def test_every_list_comes_in_pages(either):
    await furnish(either)
    service = either.app.services.get("iam")
    models = {one.name: service.operation(one.name) for one in either.app.registry if one.service == "iam"}
    paged = {name for name, model in models.items() if model.output and "IsTruncated" in model.output.members}
    context = {name for name in paged if name.startswith("GetContextKeys")}
    assert paged - context == set(LISTS)
    assert all({"MaxItems", "Marker"} <= set(models[name].input.members) for name in LISTS)
    for name, input in LISTS.items():
        whole = await either.iam(name, **input)
        assert "Marker" not in whole
        assert whole["IsTruncated"] is False
        assert len(rows(whole)) >= 2 or name in ONE, name
        found, pages, marker = [], 0, {}
        while True:
            page = await either.iam(name, **input, **marker, MaxItems=1)
            found += rows(page)
            pages += 1
            assert len(rows(page)) == 1, name
            if not page["IsTruncated"]:
                break
            marker = {"Marker": page["Marker"]}
        assert sorted(found, key=str) == sorted(rows(whole), key=str), name
        assert pages == len(found)
        if name != "ListEntitiesForPolicy":  # that page by page are those of three kinds
            assert found == rows(whole), name
        assert await refused(either.iam(name, **input, Marker="x")) == ("ValidationError", "Invalid Marker.")
        if "PathPrefix" in models[name].input.members:
            below = [await either.iam(name, **input, PathPrefix=prefix) for prefix in ("/p/", "/none/")]
            assert [bool(rows(one)) for one in below] == [True, False], name


async def test_a_page_of_tags_begins_where_the_last_one_ended_whatever_was_removed(harness):
    await harness.iam("CreateUser", UserName="ann", Tags=TAGS)
    first = await harness.iam("ListUserTags", **ANN, MaxItems=2)
    assert [tag["Key"] for tag in first["Tags"]] == ["abc", "b"]

    async def rest():
        answer = await harness.iam("ListUserTags", **ANN, MaxItems=2, Marker=first["Marker"])
        return [tag["Key"] for tag in answer["Tags"]]

    await harness.iam("UntagUser", **ANN, TagKeys=["z"])
    assert await rest() == ["a"]
    await harness.iam("TagUser", **ANN, Tags=TAGS[2:3])
    await harness.iam("UntagUser", **ANN, TagKeys=["a"])
    await harness.iam("TagUser", **ANN, Tags=TAGS[3:])
    assert await rest() == ["z", "a"]
    for gone in ("abc", "b"):
        await harness.iam("UntagUser", **ANN, TagKeys=[gone])
        assert await rest() == ["z", "a"]


async def test_tags_of_policies_are_sorted_and_those_of_roles_are_not(harness):
    arn = (await harness.iam("CreatePolicy", PolicyName="p", PolicyDocument=allow("s3:*"), Tags=TAGS))["Policy"]["Arn"]
    await harness.role("r", trusting(Service="ec2.amazonaws.com"), Tags=TAGS)
    of_policy = [
        (await harness.iam("GetPolicy", PolicyArn=arn))["Policy"],
        await harness.iam("ListPolicyTags", PolicyArn=arn),
    ]
    of_role = [(await harness.iam("GetRole", RoleName="r"))["Role"], await harness.iam("ListRoleTags", RoleName="r")]
    assert [[tag["Key"] for tag in one["Tags"]] for one in of_policy] == [["a", "b", "z", "abc"]] * 2
    assert [[tag["Key"] for tag in one["Tags"]] for one in of_role] == [["abc", "b", "z", "a"]] * 2


async def test_a_path_that_is_not_a_path(harness):
    said = (
        "ValidationError",
        "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters "
        "and/or / characters.",
    )
    await harness.iam("CreateUser", UserName="ann", Path="/a//b/")
    await harness.iam("CreateGroup", GroupName="crew")
    document = trusting(Service="ec2.amazonaws.com")
    for path in ("a", "/a", "a/", "/a b/", "/\u00e4/"):
        calls = {
            "CreateUser": {"UserName": "bob", "Path": path},
            "UpdateUser": ANN | {"NewPath": path},
            "CreateGroup": {"GroupName": "g", "Path": path},
            "UpdateGroup": CREW | {"NewPath": path},
            "CreateRole": WEB | {"Path": path, "AssumeRolePolicyDocument": document},
            "CreatePolicy": {"PolicyName": "p", "Path": path, "PolicyDocument": allow("s3:*")},
            "CreateInstanceProfile": {"InstanceProfileName": "p", "Path": path},
            "CreateVirtualMFADevice": {"VirtualMFADeviceName": "p", "Path": path},
        }
        for operation, input in calls.items():
            assert await refused(harness.iam(operation, **input)) == said, (operation, path)
