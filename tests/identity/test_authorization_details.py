"""GetAccountAuthorizationDetails: everything that decides, once, in pages, of one account only."""

import json
from urllib.parse import unquote

from penstock_identity_harness import ACCOUNT, OTHER, allow, refused, trusting

APPROVER = "arn:aws:iam::aws:policy/AWSCodePipelineApproverAccess"
LISTS = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")


async def furnished(harness):
    await harness.user("ann", allow("s3:Get*"))
    own = (await harness.iam("CreatePolicy", PolicyName="own", PolicyDocument=allow("s3:Put*")))["Policy"]["Arn"]
    await harness.iam("CreatePolicyVersion", PolicyArn=own, PolicyDocument=allow("s3:*"), SetAsDefault=True)
    await harness.iam("CreateGroup", GroupName="devs")
    await harness.iam("PutGroupPolicy", GroupName="devs", PolicyName="g", PolicyDocument=allow("s3:List*"))
    await harness.iam("AddUserToGroup", GroupName="devs", UserName="ann")
    await harness.role("host", trusting(AWS=ACCOUNT), allow("logs:*"), PermissionsBoundary=own)
    await harness.iam("AttachRolePolicy", RoleName="host", PolicyArn=APPROVER)
    await harness.iam("CreateInstanceProfile", InstanceProfileName="hosts")
    await harness.iam("AddRoleToInstanceProfile", InstanceProfileName="hosts", RoleName="host")
    await harness.user("stranger", account=OTHER)
    return own


async def test_everything_is_there_with_its_policies(harness):
    own = await furnished(harness)
    details = await harness.iam("GetAccountAuthorizationDetails")
    assert details["IsTruncated"] is False
    administrator, ann = details["UserDetailList"]
    everything = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert administrator["AttachedManagedPolicies"] == [{"PolicyName": "AdministratorAccess", "PolicyArn": everything}]
    assert (ann["UserName"], ann["GroupList"], ann["AttachedManagedPolicies"]) == ("ann", ["devs"], [])
    (inline,) = ann["UserPolicyList"]
    assert (inline["PolicyName"], unquote(inline["PolicyDocument"])) == ("p0", allow("s3:Get*"))
    (devs,) = details["GroupDetailList"]
    assert [one["PolicyName"] for one in devs["GroupPolicyList"]] == ["g"]
    (host,) = details["RoleDetailList"]
    assert (host["RoleName"], host["PermissionsBoundary"]["PermissionsBoundaryArn"]) == ("host", own)
    assert [one["InstanceProfileName"] for one in host["InstanceProfileList"]] == ["hosts"]
    assert [one["PolicyName"] for one in host["RolePolicyList"]] == ["p0"]
    assert json.loads(unquote(host["AssumeRolePolicyDocument"])) == json.loads(trusting(AWS=ACCOUNT))
    # Of AWS's policies those that somebody has; of its own the account sees every version.
    policies = {one["PolicyName"]: one for one in details["Policies"]}
    assert list(policies) == ["own", "AWSCodePipelineApproverAccess", "AdministratorAccess"]
    assert policies["own"]["PermissionsBoundaryUsageCount"] == 1
    versions = policies["own"]["PolicyVersionList"]
    assert [(one["VersionId"], one["IsDefaultVersion"]) for one in versions] == [("v2", True), ("v1", False)]
    assert unquote(versions[0]["Document"]) == allow("s3:*")
    assert policies["AdministratorAccess"]["AttachmentCount"] == 1


async def test_filters_and_pages(harness):
    await furnished(harness)
    complete = await harness.iam("GetAccountAuthorizationDetails")
    for size in (1, 2, 3):
        pages, marker = [], {}
        while not pages or marker:
            answer = await harness.iam("GetAccountAuthorizationDetails", MaxItems=size, **marker)
            marker = {"Marker": answer["Marker"]} if answer["IsTruncated"] else {}
            pages.append(answer)
            assert sum(len(answer[name]) for name in LISTS) == size or not marker
        assert {name: [one for page in pages for one in page[name]] for name in LISTS} == {
            name: complete[name] for name in LISTS
        }
    some = await harness.iam("GetAccountAuthorizationDetails", Filter=["Group", "AWSManagedPolicy"])
    assert [len(some[name]) for name in LISTS] == [0, 1, 0, 2]
    bad = await refused(harness.iam("GetAccountAuthorizationDetails", Filter=["Group"], Marker="x"))
    assert bad == ("ValidationError", "Invalid Marker.")
