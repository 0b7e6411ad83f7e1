"""IAM as its clients see it, in process and on both databases."""

import json
from urllib.parse import unquote

import pytest
from penstock_identity_harness import allow, refused

from penstock.wire.errors import AccessDenied, UnknownAccessKey

ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


async def test_the_first_account_is_made_once(harness):
    first = await harness.app.identity.bootstrap()
    assert first.startswith("[penstock]\naws_access_key_id = AKIA")
    assert await harness.app.identity.bootstrap() == first
    admin = await harness.administrator()
    assert admin.arn == "arn:aws:iam::111111111111:user/administrator"
    await harness.may(admin, "codepipeline:DeletePipeline", "arn:aws:codepipeline:us-east-1:111111111111:p")
    await harness.iam("DeleteAccessKey", UserName="administrator", AccessKeyId=admin.access_key_id, by=admin)
    assert (await harness.app.identity.bootstrap()).startswith("# The administrator's first access key AKIA")


async def test_secrets_rest_sealed(harness):
    secret = (await harness.app.identity.bootstrap()).split("aws_secret_access_key = ")[1].splitlines()[0]
    from penstock.identity.records import access_keys

    row = await harness.app.store.read(lambda conn: conn.execute(access_keys.select()).one())
    assert secret.encode() not in row.secret
    assert (await harness.app.identity.credential(row.id, "")).secret == secret
    assert len(secret) == 40


async def test_the_life_of_a_user(harness):
    made = await harness.iam(
        "CreateUser", UserName="Ann", Path="/AWS/CodeDeploy/", Tags=[{"Key": "team", "Value": "a"}]
    )
    user = made["User"]
    assert user["Arn"] == "arn:aws:iam::111111111111:user/AWS/CodeDeploy/Ann"
    assert user["UserId"].startswith("AIDA")
    assert len(user["UserId"]) == 21
    assert user["Tags"] == [{"Key": "team", "Value": "a"}]
    assert await refused(harness.iam("CreateUser", UserName="ann")) == (
        "EntityAlreadyExists",
        "User with name ann already exists.",
    )
    assert (await harness.iam("GetUser", UserName="ann"))["User"] == user
    listed = await harness.iam("ListUsers", PathPrefix="/AWS/")
    assert [one["UserName"] for one in listed["Users"]] == ["Ann"]
    assert listed["IsTruncated"] is False
    assert (await harness.iam("ListUsers", PathPrefix="/aws/"))["Users"] == []

    await harness.iam("PutUserPolicy", UserName="Ann", PolicyName="codedeploy-agent", PolicyDocument=ALLOW)
    key = (await harness.iam("CreateAccessKey", UserName="Ann"))["AccessKey"]
    assert len(key["AccessKeyId"]) == 20
    assert await refused(harness.iam("DeleteUser", UserName="Ann")) == (
        "DeleteConflict",
        "Cannot delete entity, must delete access keys first.",
    )
    await harness.iam("DeleteAccessKey", UserName="Ann", AccessKeyId=key["AccessKeyId"])
    assert await refused(harness.iam("DeleteUser", UserName="Ann")) == (
        "DeleteConflict",
        "Cannot delete entity, must delete policies first.",
    )
    await harness.iam("DeleteUserPolicy", UserName="Ann", PolicyName="codedeploy-agent")
    await harness.iam("AttachUserPolicy", UserName="Ann", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    assert (await refused(harness.iam("DeleteUser", UserName="Ann")))[
        1
    ] == "Cannot delete entity, must detach all policies first."
    await harness.iam("DetachUserPolicy", UserName="Ann", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    await harness.iam("DeleteUser", UserName="Ann")
    assert await refused(harness.iam("GetUser", UserName="Ann")) == (
        "NoSuchEntity",
        "The user with name Ann cannot be found.",
    )


async def test_keys_are_two_at_most_and_count_at_once(harness):
    session = await harness.user("ann", ALLOW)
    second = (await harness.iam("CreateAccessKey", UserName="ann"))["AccessKey"]["AccessKeyId"]
    assert await refused(harness.iam("CreateAccessKey", UserName="ann")) == (
        "LimitExceeded",
        "Cannot exceed quota for AccessKeysPerUser: 2",
    )
    listed = (await harness.iam("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]
    assert {one["AccessKeyId"] for one in listed} == {session.access_key_id, second}
    await harness.session(second)
    for unlike in (second + "\0", "\0" * 20, second + "\ufffd", f" {second}"):
        with pytest.raises(UnknownAccessKey):
            await harness.session(unlike)
    await harness.iam("UpdateAccessKey", UserName="ann", AccessKeyId=second, Status="Inactive")
    with pytest.raises(UnknownAccessKey):
        await harness.session(second)
    await harness.iam("UpdateAccessKey", UserName="ann", AccessKeyId=second, Status="Active")
    await harness.session(second)
    await harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=second)
    with pytest.raises(UnknownAccessKey):
        await harness.session(second)
    assert (await refused(harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=second)))[0] == "NoSuchEntity"
    other = await harness.user("bob")
    code, message = await refused(harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=other.access_key_id))
    assert (code, message) == ("NoSuchEntity", f"The Access Key with id {other.access_key_id} cannot be found.")


async def test_a_caller_without_a_name_means_itself(harness):
    everything = json.dumps({"Statement": {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}})
    ann = await harness.user("ann", everything)
    assert (await harness.iam("GetUser", by=ann))["User"]["UserName"] == "ann"
    assert (await harness.iam("ListAccessKeys", by=ann))["AccessKeyMetadata"][0]["AccessKeyId"] == ann.access_key_id
    role = await harness.role(
        "r", TRUST.replace('"Service": "codepipeline.amazonaws.com"', '"AWS": "111111111111"'), everything
    )
    session = await harness.assumed(role, by=await harness.administrator())
    assert await refused(harness.iam("GetUser", by=session)) == (
        "ValidationError",
        "Must specify userName when calling with non-User credentials",
    )


async def test_the_life_of_a_role(harness):
    made = (await harness.iam("CreateRole", RoleName="Build", AssumeRolePolicyDocument=TRUST, Description="builds"))[
        "Role"
    ]
    assert made["Arn"] == "arn:aws:iam::111111111111:role/Build"
    assert made["RoleId"].startswith("AROA")
    assert unquote(made["AssumeRolePolicyDocument"]) == TRUST
    assert not {"MaxSessionDuration", "RoleLastUsed", "Description"} & set(made)  # AWS answers none of them here
    await harness.iam("UpdateRole", RoleName="Build", MaxSessionDuration=7200, Description="d")
    await harness.iam("TagRole", RoleName="build", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    await harness.iam("UntagRole", RoleName="build", TagKeys=["A"])
    got = (await harness.iam("GetRole", RoleName="build"))["Role"]
    assert (got["MaxSessionDuration"], got["Description"], got["Tags"]) == (7200, "d", [{"Key": "b", "Value": "2"}])
    assert (await harness.iam("ListRoleTags", RoleName="build"))["Tags"] == [{"Key": "b", "Value": "2"}]
    assert await refused(harness.iam("CreateRole", RoleName="BUILD", AssumeRolePolicyDocument=TRUST)) == (
        "EntityAlreadyExists",
        "Role with name BUILD already exists.",
    )
    await harness.iam("PutRolePolicy", RoleName="Build", PolicyName="p", PolicyDocument=ALLOW)
    got = await harness.iam("GetRolePolicy", RoleName="Build", PolicyName="p")
    assert unquote(got["PolicyDocument"]) == ALLOW
    assert (await harness.iam("ListRolePolicies", RoleName="Build"))["PolicyNames"] == ["p"]
    assert (await refused(harness.iam("DeleteRole", RoleName="Build")))[0] == "DeleteConflict"
    await harness.iam("DeleteRolePolicy", RoleName="Build", PolicyName="p")
    assert await refused(harness.iam("GetRolePolicy", RoleName="Build", PolicyName="p")) == (
        "NoSuchEntity",
        "The role policy with name p cannot be found.",
    )
    await harness.iam("DeleteRole", RoleName="Build")
    assert await refused(harness.iam("GetRole", RoleName="Build")) == (
        "NoSuchEntity",
        "The role with name Build cannot be found.",
    )


async def test_what_cannot_be_honoured_is_refused_and_changes_nothing(harness):
    await harness.user("ann")
    condition = json.dumps(
        {
            "Statement": {
                "Effect": "Allow",
                "Action": "s3:*",
                "Resource": "*",
                "Condition": {"StringMatches": {"aws:username": "ann"}},
            }
        }
    )
    for put in (
        harness.iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=condition),
        harness.iam("CreatePolicy", PolicyName="p", PolicyDocument=condition),
        harness.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument=ALLOW),
        harness.iam("CreateRole", RoleName="r", AssumeRolePolicyDocument="{"),
        harness.iam(
            "CreateRole",
            RoleName="r",
            AssumeRolePolicyDocument=TRUST.replace(
                '"Service": "codepipeline.amazonaws.com"', '"AWS": "arn:aws:iam::111111111111:user/nobody"'
            ),
        ),
    ):
        assert (await refused(put))[0] == "MalformedPolicyDocument"
    profile = {"UserName": "ann", "Password": "long enough", "PasswordResetRequired": True}
    assert (await refused(harness.iam("CreateLoginProfile", **profile)))[0] == "InvalidInput"
    assert (await refused(harness.iam("GetLoginProfile", UserName="ann")))[0] == "NoSuchEntity"
    reserved = [{"Key": "aws:createdBy", "Value": "x"}]
    assert (await refused(harness.iam("TagUser", UserName="ann", Tags=reserved)))[0] == "InvalidInput"
    assert "Tags" not in (await harness.iam("GetUser", UserName="ann"))["User"]
    assert (await harness.iam("ListUserPolicies", UserName="ann"))["PolicyNames"] == []
    assert (await harness.iam("ListRoles"))["Roles"] == []
    large = json.dumps({"Statement": {"Effect": "Allow", "Action": ["s3:Get" + "x" * 40] * 100, "Resource": "*"}})
    assert await refused(harness.iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=large)) == (
        "LimitExceeded",
        "Maximum policy size of 2048 bytes exceeded for user ann",
    )


async def test_a_policy_counts_from_the_next_request_on(harness):
    ann = await harness.user("ann")
    sentence = (
        "User: arn:aws:iam::111111111111:user/ann is not authorized to perform: s3:GetObject on resource: "
        "arn:aws:s3:::b/k because no identity-based policy allows the s3:GetObject action"
    )
    with pytest.raises(AccessDenied) as caught:
        await harness.may(ann, "s3:GetObject", "arn:aws:s3:::b/k")
    assert caught.value.message == sentence
    await harness.iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=ALLOW)
    await harness.may(ann, "s3:GetObject", "arn:aws:s3:::b/k")
    deny = ALLOW.replace("Allow", "Deny")
    made = await harness.iam("CreatePolicy", PolicyName="no", PolicyDocument=deny)
    await harness.iam("AttachUserPolicy", UserName="ann", PolicyArn=made["Policy"]["Arn"])
    with pytest.raises(
        AccessDenied, match=r"s3:GetObject on resource: \* with an explicit deny in an identity-based policy$"
    ):
        await harness.may(ann, "s3:GetObject")
    version = await harness.iam(
        "CreatePolicyVersion", PolicyArn=made["Policy"]["Arn"], PolicyDocument=ALLOW, SetAsDefault=True
    )
    assert version["PolicyVersion"].items() >= {"VersionId": "v2", "IsDefaultVersion": True}.items()
    assert "Document" not in version["PolicyVersion"]  # the caller has it
    await harness.may(ann, "s3:GetObject")
    await harness.iam("DeleteUserPolicy", UserName="ann", PolicyName="p")
    await harness.iam("DetachUserPolicy", UserName="ann", PolicyArn=made["Policy"]["Arn"])
    with pytest.raises(AccessDenied):
        await harness.may(ann, "s3:GetObject")


@pytest.mark.parametrize("scope", ["All", "Local", "AWS"])
@pytest.mark.parametrize("attached", [False, True])
async def test_pages_of_policies_are_the_list(harness, scope, attached):
    for name in ("Zeta", "alpha", "Mid", "beta"):
        arn = (await harness.iam("CreatePolicy", PolicyName=name, PolicyDocument=ALLOW))["Policy"]["Arn"]
        if name in ("Mid", "beta"):
            await harness.user(name)
            await harness.iam("AttachUserPolicy", UserName=name, PolicyArn=arn)
    given = {"Scope": scope, "OnlyAttached": attached}
    everything = (await harness.iam("ListPolicies", **given))["Policies"]
    local = [one["PolicyName"] for one in everything if one["Arn"].startswith("arn:aws:iam::1")]
    assert sorted(local) == (
        [] if scope == "AWS" else ["Mid", "beta"] if attached else ["Mid", "Zeta", "alpha", "beta"]
    )
    assert all(one["AttachmentCount"] == 1 for one in everything) or not attached
    assert not any("Description" in one for one in everything)
    page, seen = {"IsTruncated": True}, []
    while page["IsTruncated"]:
        more = {"Marker": page["Marker"]} if seen else {}
        page = await harness.iam("ListPolicies", **given, **more, MaxItems=3)
        seen += page["Policies"]
    assert seen == everything


async def test_managed_policies(harness):
    from penstock.identity.managed import POLICIES

    admin_arn = "arn:aws:iam::aws:policy/AdministratorAccess"
    got = (await harness.iam("GetPolicy", PolicyArn=admin_arn))["Policy"]
    assert (got["PolicyName"], got["AttachmentCount"], got["DefaultVersionId"]) == ("AdministratorAccess", 1, "v1")
    version = await harness.iam("GetPolicyVersion", PolicyArn=admin_arn, VersionId="v1")
    assert '"*"' in unquote(version["PolicyVersion"]["Document"])
    role_arn = "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRole"
    await harness.user("ann")
    assert await refused(
        harness.iam("AttachUserPolicy", UserName="ann", PolicyArn="arn:aws:iam::aws:policy/NoSuch")
    ) == (
        "NoSuchEntity",
        "Policy arn:aws:iam::aws:policy/NoSuch does not exist or is not attachable.",
    )

    arn = (await harness.iam("CreatePolicy", PolicyName="Mine", Path="/team/", PolicyDocument=ALLOW))["Policy"]["Arn"]
    assert arn == "arn:aws:iam::111111111111:policy/team/Mine"
    assert await refused(harness.iam("CreatePolicy", PolicyName="mine", PolicyDocument=ALLOW)) == (
        "EntityAlreadyExists",
        "A policy called mine already exists. Duplicate names are not allowed.",
    )
    await harness.iam("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    await harness.iam("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    await harness.iam("AttachUserPolicy", UserName="ann", PolicyArn=role_arn)
    attached = (await harness.iam("ListAttachedUserPolicies", UserName="ann"))["AttachedPolicies"]
    assert attached == [
        {"PolicyName": "Mine", "PolicyArn": arn},
        {"PolicyName": "AWSCodeDeployRole", "PolicyArn": role_arn},
    ]
    only = await harness.iam("ListAttachedUserPolicies", UserName="ann", PathPrefix="/team/")
    assert [one["PolicyName"] for one in only["AttachedPolicies"]] == ["Mine"]
    local = await harness.iam("ListPolicies", Scope="Local")
    assert [(one["PolicyName"], one["AttachmentCount"]) for one in local["Policies"]] == [("Mine", 1)]
    assert len((await harness.iam("ListPolicies", Scope="AWS"))["Policies"]) == len(POLICIES)
    assert (await refused(harness.iam("DeletePolicy", PolicyArn=arn)))[0] == "DeleteConflict"
    for number in range(2, 6):
        await harness.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=ALLOW)
    assert (await refused(harness.iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=ALLOW)))[
        0
    ] == "LimitExceeded"
    await harness.iam("SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v5")
    assert (await refused(harness.iam("DeletePolicyVersion", PolicyArn=arn, VersionId="v5")))[0] == "DeleteConflict"
    await harness.iam("DetachUserPolicy", UserName="ann", PolicyArn=arn)
    assert (await refused(harness.iam("DeletePolicy", PolicyArn=arn)))[0] == "DeleteConflict"
    for number in range(1, 5):
        await harness.iam("DeletePolicyVersion", PolicyArn=arn, VersionId=f"v{number}")
    await harness.iam("DeletePolicy", PolicyArn=arn)
    assert (await refused(harness.iam("GetPolicy", PolicyArn=arn)))[0] == "NoSuchEntity"


@pytest.mark.parametrize("kind", ["User", "Role", "Policy"])
async def test_who_makes_something_with_tags_must_be_allowed_to_tag_it(harness, kind):
    more = {"User": {}, "Role": {"AssumeRolePolicyDocument": TRUST}, "Policy": {"PolicyDocument": ALLOW}}[kind]
    tags = [{"Key": "team", "Value": "staff"}]
    ann = await harness.user("ann", allow(f"iam:Create{kind}"))
    await harness.iam(f"Create{kind}", by=ann, **{f"{kind}Name": "plain"}, **more)
    with pytest.raises(AccessDenied, match=f"iam:Tag{kind}"):
        await harness.iam(f"Create{kind}", by=ann, **{f"{kind}Name": "tagged"}, **more, Tags=tags)
    bob = await harness.user("bob", allow(f"iam:Create{kind}", f"iam:Tag{kind}"))
    made = await harness.iam(f"Create{kind}", by=bob, **{f"{kind}Name": "tagged"}, **more, Tags=tags)
    assert made[kind]["Tags"] == tags


async def test_lists_come_in_pages(harness):
    for number in range(7):
        await harness.iam("CreateUser", UserName=f"user{number}")
    names, marker = [], {}
    for _ in range(10):
        got = await harness.iam("ListUsers", MaxItems=3, **marker)
        names += [one["UserName"] for one in got["Users"]]
        if not got["IsTruncated"]:
            break
        marker = {"Marker": got["Marker"]}
    assert names == ["administrator", *(f"user{number}" for number in range(7))]
    assert await refused(harness.iam("ListUsers", Marker="nonsense")) == ("ValidationError", "Invalid Marker.")
    assert (await refused(harness.iam("ListRoles", Marker=marker["Marker"])))[0] == "ValidationError"


async def test_accounts_are_isolated(harness):
    theirs = await harness.administrator("222222222222")
    await harness.iam("CreateUser", UserName="ann")
    assert (await refused(harness.iam("GetUser", UserName="ann", by=theirs)))[0] == "NoSuchEntity"
    arn = (await harness.iam("CreatePolicy", PolicyName="p", PolicyDocument=ALLOW))["Policy"]["Arn"]
    assert (await refused(harness.iam("AttachUserPolicy", UserName="administrator", PolicyArn=arn, by=theirs)))[
        0
    ] == "NoSuchEntity"
    assert (await refused(harness.iam("GetPolicy", PolicyArn=arn, by=theirs)))[0] == "NoSuchEntity"


async def test_iam_itself_asks_for_permission_on_the_path(harness):
    only = json.dumps(
        {"Statement": {"Effect": "Allow", "Action": "iam:*", "Resource": "arn:aws:iam::111111111111:user/hosts/*"}}
    )
    ann = await harness.user("ann", only)
    await harness.iam("CreateUser", UserName="web1", Path="/hosts/", by=ann)
    await harness.iam("CreateAccessKey", UserName="web1", by=ann)
    with pytest.raises(
        AccessDenied, match="iam:CreateAccessKey on resource: arn:aws:iam::111111111111:user/administrator"
    ):
        await harness.iam("CreateAccessKey", UserName="administrator", by=ann)
    with pytest.raises(AccessDenied):
        await harness.iam("CreateUser", UserName="web2", by=ann)


@pytest.mark.parametrize("kind", ["User", "Role"])
async def test_lists_ask_for_permission_on_the_path(harness, kind):
    everything = f"arn:aws:iam::111111111111:{kind.lower()}"
    ann = await harness.user("ann", allow("iam:List*", resource=f"{everything}/*"))
    assert await harness.iam(f"List{kind}s", by=ann)
    bob = await harness.user("bob", allow("iam:List*", resource=f"{everything}/hosts/*"))
    assert (await harness.iam(f"List{kind}s", PathPrefix="/hosts/", by=bob))[f"{kind}s"] == []
    with pytest.raises(AccessDenied, match=f"iam:List{kind}s on resource: {everything}/ because"):
        await harness.iam(f"List{kind}s", by=bob)
