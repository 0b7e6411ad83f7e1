"""What IAM says of an account as a whole, and of who has a policy."""

import json
from urllib.parse import unquote

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, refused, trusting

from penstock.identity.errors import AccessDeniedException
from penstock.wire.errors import AccessDenied

READ_ONLY = "arn:aws:iam::aws:policy/IAMReadOnlyAccess"


async def test_an_account_has_one_alias_that_no_other_has(harness):
    iam = harness.iam
    assert await iam("ListAccountAliases") == {"AccountAliases": [], "IsTruncated": False}
    await iam("CreateAccountAlias", AccountAlias="acme")
    await iam("CreateAccountAlias", AccountAlias="acme")
    foreign = await harness.administrator(OTHER)
    assert await refused(iam("CreateAccountAlias", AccountAlias="acme", by=foreign)) == (
        "EntityAlreadyExists",
        "The account alias acme already exists.",
    )
    await iam("CreateAccountAlias", AccountAlias="acme-2")
    assert (await iam("ListAccountAliases"))["AccountAliases"] == ["acme-2"]
    await iam("CreateAccountAlias", AccountAlias="acme", by=foreign)
    assert await refused(iam("DeleteAccountAlias", AccountAlias="acme")) == (
        "NoSuchEntity",
        "The account alias with name acme cannot be found.",
    )
    await iam("DeleteAccountAlias", AccountAlias="acme-2")
    assert (await iam("ListAccountAliases"))["AccountAliases"] == []
    assert (await iam("ListAccountAliases", by=foreign))["AccountAliases"] == ["acme"]


async def test_the_summary_counts_what_the_account_has(harness):
    await harness.user("ann")
    await harness.administrator(OTHER)
    await harness.user("theirs", account=OTHER)
    await harness.role("web", trusting(Service="ec2.amazonaws.com"))
    made = await harness.iam("CreatePolicy", PolicyName="p", PolicyDocument=allow("s3:*"))
    await harness.iam("CreatePolicyVersion", PolicyArn=made["Policy"]["Arn"], PolicyDocument=allow("sns:*"))
    for _ in range(2):
        await harness.iam("CreateInstanceProfile", InstanceProfileName=f"p{_}")
    summary = (await harness.iam("GetAccountSummary"))["SummaryMap"]
    counts = {"Users": 2, "Groups": 0, "Roles": 1, "Policies": 1, "PolicyVersionsInUse": 2, "InstanceProfiles": 2}
    assert {name: summary[name] for name in counts} == counts
    assert (summary["AccessKeysPerUserQuota"], summary["PolicySizeQuota"], summary["MFADevices"]) == (2, 6144, 0)
    theirs = await harness.iam("GetAccountSummary", by=await harness.administrator(OTHER))
    assert (theirs["SummaryMap"]["Users"], theirs["SummaryMap"]["PolicyVersionsInUse"]) == (2, 0)


async def test_who_has_a_policy_and_what_for(harness):
    iam = harness.iam
    arn = (await iam("CreatePolicy", PolicyName="p", PolicyDocument=allow("s3:*")))["Policy"]["Arn"]
    for name in ("ann", "bob", "cat"):
        await harness.user(name)
    await harness.role("web", trusting(Service="ec2.amazonaws.com"), Path="/x/")
    await iam("CreateGroup", GroupName="crew")
    await iam("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    await iam("AttachGroupPolicy", GroupName="crew", PolicyArn=arn)
    for name in ("ann", "bob"):
        await iam("PutUserPermissionsBoundary", UserName=name, PermissionsBoundary=arn)
    await iam("PutRolePermissionsBoundary", RoleName="web", PermissionsBoundary=arn)

    async def who(**more):
        found = {"User": [], "Group": [], "Role": []}
        marker = {}
        while True:
            page = await iam("ListEntitiesForPolicy", PolicyArn=arn, MaxItems=1, **marker, **more)
            for kind, names in found.items():
                names += [one[f"{kind}Name"] for one in page[f"Policy{kind}s"]]
            if not page["IsTruncated"]:
                return {kind: sorted(names) for kind, names in found.items()}
            marker = {"Marker": page["Marker"]}

    assert await who() == {"User": ["ann", "bob"], "Group": ["crew"], "Role": ["web"]}
    assert await who(EntityFilter="User") == {"User": ["ann", "bob"], "Group": [], "Role": []}
    assert await who(EntityFilter="AWSManagedPolicy") == {"User": [], "Group": [], "Role": []}
    assert await who(PolicyUsageFilter="PermissionsPolicy") == {"User": ["ann"], "Group": ["crew"], "Role": []}
    assert await who(PolicyUsageFilter="PermissionsBoundary") == {"User": ["ann", "bob"], "Group": [], "Role": ["web"]}
    assert await who(PathPrefix="/x/") == {"User": [], "Group": [], "Role": ["web"]}
    counted = (await iam("GetPolicy", PolicyArn=arn))["Policy"]
    assert (counted["AttachmentCount"], counted["PermissionsBoundaryUsageCount"], counted["Tags"]) == (2, 3, [])
    for filtered, present in (("PermissionsPolicy", True), ("PermissionsBoundary", True)):
        listed = (await iam("ListPolicies", PolicyUsageFilter=filtered, Scope="Local"))["Policies"]
        assert [one["Arn"] for one in listed] == ([arn] if present else [])
    await iam("DetachUserPolicy", UserName="ann", PolicyArn=arn)
    await iam("DetachGroupPolicy", GroupName="crew", PolicyArn=arn)
    assert (await iam("ListPolicies", PolicyUsageFilter="PermissionsPolicy", Scope="Local"))["Policies"] == []
    conflict = ("DeleteConflict", "Cannot delete a policy attached to entities.")
    assert await refused(iam("DeletePolicy", PolicyArn=arn)) == conflict
    for name in ("ann", "bob"):
        await iam("DeleteUserPermissionsBoundary", UserName=name)
    assert await refused(iam("DeletePolicy", PolicyArn=arn)) == conflict
    await iam("DeleteRolePermissionsBoundary", RoleName="web")
    await iam("DeletePolicy", PolicyArn=arn)
    said = await refused(iam("ListEntitiesForPolicy", PolicyArn=arn))
    assert said == ("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")


async def test_policies_of_aws_say_who_of_the_account_has_them(harness):
    await harness.user("ann")
    foreign = await harness.administrator(OTHER)
    await harness.user("theirs", account=OTHER)
    await harness.iam("AttachUserPolicy", UserName="ann", PolicyArn=READ_ONLY)
    await harness.iam("PutUserPermissionsBoundary", UserName="theirs", PermissionsBoundary=READ_ONLY, by=foreign)
    ours = await harness.iam("ListEntitiesForPolicy", PolicyArn=READ_ONLY)
    theirs = await harness.iam("ListEntitiesForPolicy", PolicyArn=READ_ONLY, by=foreign)
    names = [[one["UserName"] for one in answer["PolicyUsers"]] for answer in (ours, theirs)]
    assert names == [["ann"], ["theirs"]]
    bounding = await harness.iam("ListPolicies", PolicyUsageFilter="PermissionsBoundary", by=foreign)
    assert [one["Arn"] for one in bounding["Policies"]] == [READ_ONLY]
    policy = (await harness.iam("GetPolicy", PolicyArn=READ_ONLY))["Policy"]
    assert (policy["AttachmentCount"], policy["PermissionsBoundaryUsageCount"]) == (1, 0)


async def test_a_user_with_another_name_is_the_same_user(harness):
    iam = harness.iam
    ann = await harness.user("ann", allow("sts:AssumeRole"))
    arn = f"arn:aws:iam::{ACCOUNT}:user/ann"
    role = await harness.role("r", trusting(AWS=arn))
    await harness.assumed(role, by=ann)
    await iam("UpdateUser", UserName="ann", NewUserName="Anna", NewPath="/team/")
    found = (await iam("GetUser", UserName="anna"))["User"]
    now = f"arn:aws:iam::{ACCOUNT}:user/team/Anna"
    assert (found["Arn"], found["UserId"]) == (now, ann.principal_id)
    assert (await refused(iam("GetUser", UserName="ann")))[0] == "NoSuchEntity"
    anna = await harness.session(ann.access_key_id)
    assert anna.arn == now
    await harness.assumed(role, by=anna)
    trust = json.loads(unquote((await iam("GetRole", RoleName="r"))["Role"]["AssumeRolePolicyDocument"]))
    assert trust["Statement"][0]["Principal"] == {"AWS": now}
    listed = (await iam("ListRoles"))["Roles"]
    assert [json.loads(unquote(one["AssumeRolePolicyDocument"])) for one in listed] == [trust]
    # Whoever gets the name later is somebody else.
    namesake = await harness.user("ann", allow("sts:AssumeRole"))
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role, by=namesake)
    await iam("UpdateUser", UserName="anna", NewUserName="anna")
    assert await refused(iam("UpdateUser", UserName="anna", NewUserName="ANN")) == (
        "EntityAlreadyExists",
        "User with name ANN already exists.",
    )


async def test_who_renames_must_be_allowed_to_change_both_names(harness):
    for kind in ("user", "group"):
        member = f"{kind.title()}Name"
        await harness.iam(f"Create{kind.title()}", **{member: f"old-{kind}"})
        statement = {"Effect": "Allow", "Action": "iam:Update*", "Resource": f"arn:aws:iam::{ACCOUNT}:{kind}/old-*"}
        by = await harness.user(f"renames-{kind}", document(statement))
        update = f"Update{kind.title()}"
        with pytest.raises(AccessDenied, match=f"{kind}/new"):
            await harness.iam(update, **{member: f"old-{kind}", f"New{member}": "new"}, by=by)
        await harness.iam(update, **{member: f"old-{kind}", f"New{member}": f"old-{kind}-2"}, by=by)


async def test_who_is_gone_is_shown_by_id_and_trusted_no_more(harness):
    iam = harness.iam
    made = (await iam("CreateUser", UserName="gone"))["User"]
    await harness.role("kept", trusting(AWS="*"))
    role = await harness.role("r", trusting(AWS=[made["Arn"], f"arn:aws:iam::{ACCOUNT}:role/kept"]))
    await iam("DeleteUser", UserName="gone")
    trust = json.loads(unquote((await iam("GetRole", RoleName="r"))["Role"]["AssumeRolePolicyDocument"]))
    assert trust["Statement"][0]["Principal"]["AWS"] == [made["UserId"], f"arn:aws:iam::{ACCOUNT}:role/kept"]
    again = await harness.user("gone", allow("sts:AssumeRole"))
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role, by=again)


async def test_a_description_is_changed_by_either_operation(harness):
    await harness.role("r", trusting(Service="ec2.amazonaws.com"), Description="old")
    answer = await harness.iam("UpdateRoleDescription", RoleName="r", Description="new")
    assert answer["Role"] == (await harness.iam("GetRole", RoleName="r"))["Role"]
    assert answer["Role"]["Description"] == "new"
    await harness.iam("UpdateRole", RoleName="r", MaxSessionDuration=7200)
    role = (await harness.iam("GetRole", RoleName="r"))["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 7200)
