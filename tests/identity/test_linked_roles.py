"""Service-linked roles: made for a service that has one, changed by nobody, deleted when nothing needs them."""

import json
from urllib.parse import unquote

import pytest
from penstock_certificates import authority
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, refused, trusting

import penstock.certificates
from penstock.app import compose
from penstock.application import Settings
from penstock.identity.managed import POLICIES
from penstock.wire.errors import AccessDenied

SERVICE, NAME = "rolesanywhere.amazonaws.com", "AWSServiceRoleForRolesAnywhere"
POLICY = "arn:aws:iam::aws:policy/aws-service-role/AWSRolesAnywhereServicePolicy"
PROTECTED = (
    "UnmodifiableEntity",
    f"Cannot perform the operation on the protected role '{NAME}' - this role is only modifiable by AWS",
)
MORE = {
    "PolicyDocument": allow("s3:*"),
    "PolicyArn": POLICY,
    "PermissionsBoundary": POLICY,
    "PolicyName": "p",
    "InstanceProfileName": "p",
    "MaxSessionDuration": 7200,
}


@pytest.fixture
def components():
    return (penstock.certificates.component,)


@pytest.fixture
def harness(on_sqlite):
    return on_sqlite


async def made(harness, **more):
    return (await harness.iam("CreateServiceLinkedRole", AWSServiceName=SERVICE, **more))["Role"]


async def anchor(harness):
    admin, root = await harness.administrator(), authority("anchored")
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": root.pem}}
    given = {"name": "a", "source": source, "enabled": True}
    created = await harness.app.invoke(admin, "rolesanywhere", "CreateTrustAnchor", given, region="us-east-1")
    return created["trustAnchor"]


async def test_the_role_of_a_service(harness, clock):
    role = await made(harness, Description="d")
    assert set(role) == {"Path", "RoleName", "RoleId", "Arn", "CreateDate", "AssumeRolePolicyDocument"}
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{SERVICE}/{NAME}"
    trust = json.loads(unquote(role["AssumeRolePolicyDocument"]))
    assert trust["Statement"][0]["Principal"] == {"Service": SERVICE}
    shown = (await harness.iam("GetRole", RoleName=NAME))["Role"]
    assert (shown["Description"], shown["MaxSessionDuration"], shown["RoleLastUsed"]) == ("d", 3600, {})
    (listed,) = (await harness.iam("ListRoles", PathPrefix="/aws-service-role/"))["Roles"]
    assert listed["RoleId"] == role["RoleId"]
    attached = (await harness.iam("ListAttachedRolePolicies", RoleName=NAME))["AttachedPolicies"]
    assert [one["PolicyArn"] for one in attached] == [POLICY]
    assert await refused(made(harness)) == (
        "InvalidInput",
        f"Service role name {NAME} has been taken in this account, please try a different suffix.",
    )
    assert await refused(made(harness, CustomSuffix="x")) == (
        "InvalidInput",
        f"Custom suffix is not allowed for {SERVICE}",
    )
    unknown = harness.iam("CreateServiceLinkedRole", AWSServiceName="codebuild.amazonaws.com", CustomSuffix="x")
    said = "Cannot find Service Linked Role template for codebuild.amazonaws.com"
    assert await refused(unknown) == ("InvalidInput", said)


async def test_nobody_changes_more_of_it_than_its_description_and_tags(harness):
    """Every operation that the model lets answer UnmodifiableEntity; AWS lets descriptions be changed."""
    role = await made(harness)
    service, tried = harness.app.services.get("iam"), 0
    await harness.iam("CreateInstanceProfile", InstanceProfileName="p")
    for operation in harness.app.registry:
        model = service.operation(operation.name) if operation.service == "iam" else None
        if model is None or "UnmodifiableEntityException" not in model.errors:
            continue
        if operation.name == "UpdateRoleDescription":
            continue
        given = {name: value for name, value in MORE.items() if name in model.input.members}
        if operation.name == "UpdateAssumeRolePolicy":
            given["PolicyDocument"] = trusting(AWS=f"arn:aws:iam::{ACCOUNT}:root")
        assert await refused(harness.iam(operation.name, RoleName=NAME, **given)) == PROTECTED, operation.name
        tried += 1
    assert tried == 11
    await harness.iam("UpdateRoleDescription", RoleName=NAME, Description="e")
    await harness.iam("UpdateRole", RoleName=NAME, Description="f")
    await harness.iam("TagRole", RoleName=NAME, Tags=[{"Key": "k", "Value": "v"}])
    shown = (await harness.iam("GetRole", RoleName=NAME))["Role"]
    assert (shown["RoleId"], shown["Description"], shown["MaxSessionDuration"]) == (role["RoleId"], "f", 3600)
    # None is made in its likeness.
    for path in ("/aws-service-role/", f"/aws-service-role/{SERVICE}/"):
        like = harness.iam("CreateRole", RoleName="like", Path=path, AssumeRolePolicyDocument=trusting(Service=SERVICE))
        assert (await refused(like))[0] == "InvalidInput"


async def test_it_stays_while_something_needs_it(either):
    await made(either)
    kept = await anchor(either)
    task = (await either.iam("DeleteServiceLinkedRole", RoleName=NAME))["DeletionTaskId"]
    assert task.startswith(f"task/aws-service-role/{SERVICE}/{NAME}/")
    said = await either.iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task)
    assert said == {
        "Status": "FAILED",
        "Reason": {
            "Reason": f"Resources of {SERVICE} use the role. Delete them, then delete the role again.",
            "RoleUsageList": [{"Region": "us-east-1", "Resources": [kept["trustAnchorArn"]]}],
        },
    }
    await either.iam("GetRole", RoleName=NAME)
    admin = await either.administrator()
    gone = {"trustAnchorId": kept["trustAnchorId"]}
    await either.app.invoke(admin, "rolesanywhere", "DeleteTrustAnchor", gone, region="us-east-1")
    again = (await either.iam("DeleteServiceLinkedRole", RoleName=NAME))["DeletionTaskId"]
    assert await either.iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=again) == {"Status": "SUCCEEDED"}
    assert (await either.iam("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task))["Status"] == "FAILED"
    missing = ("NoSuchEntity", f"The role with name {NAME} cannot be found.")
    assert await refused(either.iam("GetRole", RoleName=NAME)) == missing
    assert await refused(either.iam("DeleteServiceLinkedRole", RoleName=NAME)) == missing
    assert (await either.iam("GetPolicy", PolicyArn=POLICY))["Policy"]["AttachmentCount"] == 0
    await made(either)
    assert (await either.iam("GetPolicy", PolicyArn=POLICY))["Policy"]["AttachmentCount"] == 1


async def test_tasks_and_roles_of_others_are_not_there(harness):
    await made(harness)
    foreign = await harness.administrator(OTHER)
    await harness.role("plain", trusting(Service=SERVICE))
    assert (await refused(harness.iam("DeleteServiceLinkedRole", RoleName="plain")))[0] == "NoSuchEntity"
    assert (await refused(harness.iam("DeleteServiceLinkedRole", RoleName=NAME, by=foreign)))[0] == "NoSuchEntity"
    task = (await harness.iam("DeleteServiceLinkedRole", RoleName=NAME))["DeletionTaskId"]
    status = "GetServiceLinkedRoleDeletionStatus"
    assert (await refused(harness.iam(status, DeletionTaskId=task, by=foreign)))[0] == "NoSuchEntity"
    assert (await refused(harness.iam(status, DeletionTaskId=task.replace(NAME, "other"))))[0] == "NoSuchEntity"
    for bad in ("x", task + "0", task.upper(), f"{task}\n"):
        assert (await refused(harness.iam(status, DeletionTaskId=bad)))[0] == "InvalidInput"


async def test_policies_say_for_which_service(harness):
    own = f"arn:aws:iam::*:role/aws-service-role/{SERVICE}/*"
    create = {"Effect": "Allow", "Action": "iam:CreateServiceLinkedRole", "Resource": own}
    ann = await harness.user("ann", document(create | {"Condition": {"StringLike": {"iam:AWSServiceName": SERVICE}}}))
    bob = await harness.user("bob", document(create | {"Condition": {"StringLike": {"iam:AWSServiceName": "ecs.*"}}}))
    for by, service in ((bob, SERVICE), (ann, "ecs.amazonaws.com")):
        with pytest.raises(AccessDenied):
            await harness.iam("CreateServiceLinkedRole", AWSServiceName=service, by=by)
    await harness.iam("CreateServiceLinkedRole", AWSServiceName=SERVICE, by=ann)


async def test_the_policy_of_every_linked_role_is_there(store, tmp_path):
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    async with compose(settings, store=store) as app:
        linked = list(app.linked_roles.values())
    assert linked
    assert [one.service for one in linked if f"/aws-service-role/{one.policy}" not in POLICIES] == []
