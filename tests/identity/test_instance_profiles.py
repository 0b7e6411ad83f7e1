"""Instance profiles: a role under a name of its own."""

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, refused, trusting

from penstock.wire.errors import AccessDenied

HOSTS = trusting(Service="ec2.amazonaws.com")


async def test_a_profile_is_read_back_as_it_was_made(harness):
    iam = harness.iam
    made = (await iam("CreateInstanceProfile", InstanceProfileName="Web", Path="/hosts/"))["InstanceProfile"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/hosts/Web"
    assert made["InstanceProfileId"].startswith("AIPA")
    assert (made["Roles"], "Tags" in made) == ([], False)
    await harness.role("web", HOSTS, Path="/hosts/", Description="of hosts")
    await iam("AddRoleToInstanceProfile", InstanceProfileName="web", RoleName="Web")
    found = (await iam("GetInstanceProfile", InstanceProfileName="WEB"))["InstanceProfile"]
    role = (await iam("GetRole", RoleName="web"))["Role"]
    shown = ("Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument")
    assert found == made | {"Roles": [{name: role[name] for name in shown}], "Tags": []}
    listed = {name: value for name, value in found.items() if name != "Tags"}
    assert (await iam("ListInstanceProfiles", PathPrefix="/hosts/"))["InstanceProfiles"] == [listed]
    assert (await iam("ListInstanceProfiles", PathPrefix="/other/"))["InstanceProfiles"] == []
    assert (await iam("ListInstanceProfilesForRole", RoleName="web"))["InstanceProfiles"] == [listed]
    await iam("RemoveRoleFromInstanceProfile", InstanceProfileName="web", RoleName="web")
    assert (await iam("ListInstanceProfilesForRole", RoleName="web"))["InstanceProfiles"] == []
    await iam("DeleteInstanceProfile", InstanceProfileName="web")
    assert (await iam("ListInstanceProfiles"))["InstanceProfiles"] == []


async def test_the_profiles_of_a_role_come_in_pages(harness):
    await harness.role("web", HOSTS)
    for name in ("b", "A", "c"):
        await harness.iam("CreateInstanceProfile", InstanceProfileName=name)
        await harness.iam("AddRoleToInstanceProfile", InstanceProfileName=name, RoleName="web")
    first = await harness.iam("ListInstanceProfilesForRole", RoleName="web", MaxItems=2)
    rest = await harness.iam("ListInstanceProfilesForRole", RoleName="web", MaxItems=2, Marker=first["Marker"])
    names = [[one["InstanceProfileName"] for one in page["InstanceProfiles"]] for page in (first, rest)]
    assert (names, first["IsTruncated"], rest["IsTruncated"]) == ([["A", "b"], ["c"]], True, False)


async def test_tags_of_a_profile(harness):
    iam = harness.iam
    made = await iam("CreateInstanceProfile", InstanceProfileName="web", Tags=[{"Key": "Team", "Value": "a"}])
    assert made["InstanceProfile"]["Tags"] == [{"Key": "Team", "Value": "a"}]
    tags = [{"Key": "team", "Value": "b"}, {"Key": "x", "Value": ""}]
    await iam("TagInstanceProfile", InstanceProfileName="web", Tags=tags)
    assert (await iam("ListInstanceProfileTags", InstanceProfileName="web"))["Tags"] == tags
    await iam("UntagInstanceProfile", InstanceProfileName="web", TagKeys=["TEAM"])
    assert (await iam("GetInstanceProfile", InstanceProfileName="web"))["InstanceProfile"]["Tags"] == tags[1:]
    maker = await harness.user("maker", allow("iam:CreateInstanceProfile"))
    await iam("CreateInstanceProfile", InstanceProfileName="bare", by=maker)
    with pytest.raises(AccessDenied, match="iam:TagInstanceProfile on resource: .*:instance-profile/p/tagged"):
        await iam("CreateInstanceProfile", InstanceProfileName="tagged", Path="/p/", Tags=tags, by=maker)


async def test_who_gives_a_profile_its_role_must_be_allowed_to_pass_it_to_hosts(harness):
    await harness.role("web", HOSTS, Path="/hosts/")
    await harness.iam("CreateInstanceProfile", InstanceProfileName="p")
    passing = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": f"arn:aws:iam::{ACCOUNT}:role/hosts/*",
        "Condition": {
            "StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"},
            "ArnLike": {"iam:AssociatedResourceArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/*"},
        },
    }
    adding = {"Effect": "Allow", "Action": "iam:AddRoleToInstanceProfile", "Resource": "*"}
    for_builds = passing | {"Condition": {"StringEquals": {"iam:PassedToService": "iam.amazonaws.com"}}}
    for name, statements in (("none", [adding]), ("other", [adding, for_builds])):
        user = await harness.user(name, document(*statements))
        with pytest.raises(AccessDenied, match="iam:PassRole on resource: .*:role/hosts/web"):
            await harness.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="web", by=user)
    assert (await harness.iam("GetInstanceProfile", InstanceProfileName="p"))["InstanceProfile"]["Roles"] == []
    user = await harness.user("may", document(adding, passing))
    await harness.iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="web", by=user)


async def test_what_profiles_refuse(harness):
    iam = harness.iam
    await harness.role("web", HOSTS)
    await harness.role("other", HOSTS)
    await iam("CreateInstanceProfile", InstanceProfileName="p")
    assert await refused(iam("CreateInstanceProfile", InstanceProfileName="P")) == (
        "EntityAlreadyExists",
        "Instance Profile P already exists.",
    )
    for operation, more in (
        ("GetInstanceProfile", {}),
        ("DeleteInstanceProfile", {}),
        ("ListInstanceProfileTags", {}),
        ("AddRoleToInstanceProfile", {"RoleName": "web"}),
        ("RemoveRoleFromInstanceProfile", {"RoleName": "web"}),
    ):
        said = await refused(iam(operation, InstanceProfileName="none", **more))
        assert said == ("NoSuchEntity", "Instance Profile none cannot be found."), operation
    missing = ("NoSuchEntity", "The role with name none cannot be found.")
    assert await refused(iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="none")) == missing
    assert await refused(iam("ListInstanceProfilesForRole", RoleName="none")) == missing
    await iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName="web")
    for role in ("web", "other"):
        assert await refused(iam("AddRoleToInstanceProfile", InstanceProfileName="p", RoleName=role)) == (
            "LimitExceeded",
            "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
        )
    assert await refused(iam("RemoveRoleFromInstanceProfile", InstanceProfileName="p", RoleName="other")) == (
        "NoSuchEntity",
        "Role other in Instance Profile p cannot be found.",
    )
    conflict = ("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
    assert await refused(iam("DeleteInstanceProfile", InstanceProfileName="p")) == conflict
    assert await refused(iam("DeleteRole", RoleName="web")) == conflict
    # Another account has names of its own.
    foreign = await harness.administrator(OTHER)
    assert (await refused(iam("GetInstanceProfile", InstanceProfileName="p", by=foreign)))[0] == "NoSuchEntity"
    await iam("CreateInstanceProfile", InstanceProfileName="p", by=foreign)
