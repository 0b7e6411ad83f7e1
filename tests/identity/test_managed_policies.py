"""The managed policies of AWS: those that guides, templates and clients name are there, as they are there, and grant what they grant."""

import json
from urllib.parse import unquote

import pytest
from penstock_identity_harness import OTHER, allow, refused, trusting

from penstock.identity.documents import identity_policy
from penstock.identity.managed import POLICIES, managed_policy
from penstock.identity.policy import Verdict, decide

# By path and name: the version that is the default on AWS, where that is known.
NAMED = {
    "/AdministratorAccess": "v1",
    "/AmazonEC2ContainerRegistryPowerUser": None,
    "/AmazonECS_FullAccess": None,
    "/AmazonRoute53FullAccess": None,
    "/AmazonS3ReadOnlyAccess": None,
    "/AmazonSSMManagedInstanceCore": "v2",
    "/AWSCloudFormationFullAccess": "v1",
    "/AWSCodeBuildAdminAccess": "v20",
    "/AWSCodeBuildDeveloperAccess": "v21",
    "/AWSCodeCommitFullAccess": "v13",
    "/AWSCodeCommitPowerUser": "v18",
    "/AWSCodeDeployDeployerAccess": "v6",
    "/AWSCodeDeployFullAccess": "v6",
    "/AWSCodeDeployRoleForECS": "v3",
    "/AWSCodePipeline_FullAccess": "v3",
    "/AWSCodePipelineFullAccess": None,
    "/AWSLambda_FullAccess": None,
    "/CloudWatchFullAccess": None,
    "/ElasticLoadBalancingFullAccess": None,
    "/IAMSelfManageServiceSpecificCredentials": "v1",
    "/IAMUserChangePassword": "v5",
    "/PowerUserAccess": "v12",
    "/service-role/AmazonEC2RoleforAWSCodeDeploy": "v2",
    "/service-role/AmazonEC2RoleforAWSCodeDeployLimited": None,
    "/service-role/AmazonEC2RoleforSSM": None,
    "/service-role/AmazonSSMAutomationRole": None,
    "/service-role/AWSCodeDeployRole": "v11",
    "/service-role/AWSCodeDeployRoleForLambda": "v3",
    "/service-role/AWSLambdaBasicExecutionRole": "v1",
}
ANN = {"aws:username": "ann"}
ANNS, BOBS = "arn:aws:iam::111111111111:user/ann", "arn:aws:iam::111111111111:user/bob"
ROLE = "arn:aws:iam::111111111111:role/r"


@pytest.fixture
def harness(on_sqlite):
    return on_sqlite


def passing(service):
    return {"iam:passedtoservice": f"{service}.amazonaws.com"}


# Policy, action, resource, what the request says, and whether it is allowed.
GRANTS = [
    ("PowerUserAccess", "codebuild:StartBuild", "*", {}, True),
    ("PowerUserAccess", "iam:CreateServiceLinkedRole", ROLE, {}, True),
    ("PowerUserAccess", "iam:ListRoles", "*", {}, True),
    ("PowerUserAccess", "iam:PassRole", ROLE, passing("codepipeline"), False),
    ("PowerUserAccess", "organizations:CreateAccount", "*", {}, False),
    ("IAMUserChangePassword", "iam:ChangePassword", ANNS, ANN, True),
    ("IAMUserChangePassword", "iam:ChangePassword", BOBS, ANN, False),
    ("IAMUserChangePassword", "iam:GetAccountPasswordPolicy", "*", ANN, True),
    ("IAMSelfManageServiceSpecificCredentials", "iam:ResetServiceSpecificCredential", ANNS, ANN, True),
    ("IAMSelfManageServiceSpecificCredentials", "iam:ResetServiceSpecificCredential", BOBS, ANN, False),
    ("IAMSelfManageServiceSpecificCredentials", "iam:ResetServiceSpecificCredential", ANNS, {}, False),
    ("AWSCodePipeline_FullAccess", "iam:PassRole", ROLE, passing("codepipeline"), True),
    ("AWSCodePipeline_FullAccess", "iam:PassRole", ROLE, passing("codebuild"), False),
    ("AWSCodePipeline_FullAccess", "iam:PassRole", f"{ROLE[:-1]}service-role/cwe-role-x", passing("events"), True),
    ("AWSCodePipeline_FullAccess", "iam:PassRole", ROLE, passing("events"), False),
    ("AWSCodePipeline_FullAccess", "s3:GetObject", "arn:aws:s3:::codepipeline-us-east-1-1/a", {}, True),
    ("AWSCodePipeline_FullAccess", "s3:GetObject", "arn:aws:s3:::others/a", {}, False),
    ("AWSCodePipelineFullAccess", "codepipeline:CreatePipeline", "arn:aws:codepipeline:us-east-1:1:p", {}, True),
    ("AWSCodeDeployFullAccess", "codedeploy:DeleteApplication", "*", {}, True),
    ("AWSCodeDeployFullAccess", "iam:PassRole", ROLE, passing("codedeploy"), False),
    ("AWSCodeDeployDeployerAccess", "codedeploy:CreateDeployment", "*", {}, True),
    ("AWSCodeDeployDeployerAccess", "codedeploy:DeleteApplication", "*", {}, False),
    (
        "AWSCodeDeployDeployerAccess",
        "codestar-notifications:Subscribe",
        "*",
        {"codestar-notifications:notificationsforresource": "arn:aws:codedeploy:us-east-1:1:application:a"},
        True,
    ),
    ("AWSCodeDeployDeployerAccess", "codestar-notifications:Subscribe", "*", {}, False),
    ("service-role/AWSCodeDeployRole", "autoscaling:PutWarmPool", "*", {}, True),
    ("service-role/AWSCodeDeployRole", "s3:GetObject", "arn:aws:s3:::b/k", {}, False),
    ("service-role/AWSCodeDeployRole", "lambda:InvokeFunction", "*", {}, False),
    ("service-role/AWSCodeDeployRole", "sns:DeleteTopic", "*", {}, False),
    ("AWSCodeDeployRoleForECS", "iam:PassRole", ROLE, passing("ecs-tasks"), True),
    ("AWSCodeDeployRoleForECS", "iam:PassRole", ROLE, passing("ecs"), False),
    (
        "service-role/AWSCodeDeployRoleForLambda",
        "lambda:InvokeFunction",
        "arn:aws:lambda:us-east-1:1:function:x",
        {},
        False,
    ),
    (
        "service-role/AWSCodeDeployRoleForLambda",
        "lambda:InvokeFunction",
        "arn:aws:lambda:us-east-1:1:function:CodeDeployHook_x",
        {},
        True,
    ),
    ("service-role/AWSCodeDeployRoleForLambda", "s3:GetObject", "arn:aws:s3:::b/CodeDeploy/k", {}, True),
    ("service-role/AmazonEC2RoleforAWSCodeDeploy", "s3:GetObject", "arn:aws:s3:::b/k", {}, True),
    ("service-role/AmazonEC2RoleforAWSCodeDeployLimited", "s3:GetObject", "arn:aws:s3:::b/k", {}, False),
    (
        "service-role/AmazonEC2RoleforAWSCodeDeployLimited",
        "s3:GetObject",
        "arn:aws:s3:::b/k",
        {"s3:existingobjecttag/usewithcodedeploy": "true"},
        True,
    ),
    ("AmazonSSMManagedInstanceCore", "ssm:GetParameters", "*", {}, True),
    ("AmazonSSMManagedInstanceCore", "ssm:PutParameter", "*", {}, False),
    ("AmazonSSMManagedInstanceCore", "s3:GetObject", "arn:aws:s3:::b/k", {}, False),
    ("AWSCodeBuildAdminAccess", "codebuild:DeleteProject", "*", {}, True),
    ("AWSCodeBuildAdminAccess", "iam:PassRole", ROLE, passing("codebuild"), False),
    ("AWSCodeBuildAdminAccess", "ssm:PutParameter", "arn:aws:ssm:us-east-1:1:parameter/CodeBuild/x", {}, True),
    ("AWSCodeBuildDeveloperAccess", "codebuild:StartBuild", "*", {}, True),
    ("AWSCodeBuildDeveloperAccess", "codebuild:UpdateProject", "*", {}, False),
    ("AWSCodeCommitFullAccess", "codecommit:DeleteRepository", "*", {}, True),
    ("AWSCodeCommitFullAccess", "iam:CreateServiceSpecificCredential", ANNS, ANN, True),
    ("AWSCodeCommitPowerUser", "codecommit:GitPush", "*", {}, True),
    ("AWSCodeCommitPowerUser", "codecommit:DeleteRepository", "*", {}, False),
    ("AWSCodeCommitPowerUser", "iam:CreateServiceSpecificCredential", BOBS, ANN, False),
    ("AWSCloudFormationFullAccess", "cloudformation:DeleteStack", "*", {}, True),
    ("AWSCloudFormationFullAccess", "iam:PassRole", ROLE, passing("cloudformation"), False),
    ("AWSLambda_FullAccess", "iam:PassRole", ROLE, passing("lambda"), True),
    ("AWSLambda_FullAccess", "iam:PassRole", ROLE, passing("codebuild"), False),
    # Each of these said otherwise, when the texts were from memory.
    ("AWSCodePipelineApproverAccess", "codepipeline:PutApprovalResult", "*", {}, True),
    ("AWSCodePipelineApproverAccess", "codepipeline:ListActionExecutions", "*", {}, False),
    ("AWSCodePipeline_ReadOnlyAccess", "s3:GetObject", "arn:aws:s3:::codepipeline-x/k", {}, True),
    ("AWSCodePipeline_ReadOnlyAccess", "s3:GetObject", "arn:aws:s3:::others/k", {}, False),
    (
        "AWSCodeBuildAdminAccess",
        "logs:DeleteLogGroup",
        "arn:aws:logs:us-east-1:1:log-group:/aws/codebuild/x",
        {},
        False,
    ),
    ("AWSCodeBuildReadOnlyAccess", "codecommit:ListBranches", "*", {}, False),
    ("AWSCodeBuildDeveloperAccess", "codecommit:ListBranches", "*", {}, True),
    ("AWSCodeCommitReadOnly", "iam:ListServiceSpecificCredentials", ANNS, ANN, True),
    ("AWSCodeCommitReadOnly", "iam:ListServiceSpecificCredentials", BOBS, ANN, False),
    ("AWSCodeCommitReadOnly", "iam:ListUsers", "*", {}, True),
    ("IAMUserChangePassword", "iam:ChangePassword", "arn:aws:iam::1:user/team/ann", ANN, True),
    ("IAMUserChangePassword", "iam:ChangePassword", "arn:aws:iam::1:user/team/bob", ANN, False),
    ("CloudWatchFullAccess", "iam:GetRole", "*", {}, True),
    ("AWSLambda_FullAccess", "kms:DescribeKey", "*", {}, True),
    ("AmazonSSMManagedInstanceCore", "ssm:GetParameter", "*", {}, True),
    ("service-role/AmazonEC2RoleforSSM", "ssm:GetParameter", "*", {}, False),
    ("AmazonECS_FullAccess", "codedeploy:CreateDeployment", "*", {}, True),
    ("AmazonECS_FullAccess", "codedeploy:DeleteApplication", "*", {}, False),
]


@pytest.mark.parametrize(("name", "action", "resource", "context", "allowed"), GRANTS)
def test_what_they_grant(name, action, resource, context, allowed):
    document = POLICIES[f"/{name}"].document("aws")
    verdict = decide([identity_policy(document)], action, resource, context)
    assert verdict is (Verdict.ALLOWED if allowed else Verdict.SILENT)


def test_what_guides_templates_and_clients_name_is_there():
    assert [name for name in NAMED if name not in POLICIES] == []
    found = {name: POLICIES[name].version for name in NAMED}
    assert {name: version for name, version in NAMED.items() if version not in (None, found[name])} == {}
    assert len({policy.policy_id for policy in POLICIES.values()}) == len(POLICIES)
    assert max(len("".join(policy.text.split())) for policy in POLICIES.values()) <= 6144


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_a_policy_speaks_of_its_own_partition(partition):
    for policy in POLICIES.values():
        document = policy.document(partition)
        identity_policy(document)
        named = {part.partition(":")[0] for part in document.split('"arn:')[1:]}
        assert named <= {partition}
        assert managed_policy(policy.arn(partition), partition) is policy


async def test_they_are_read_attached_and_never_changed(harness):
    iam = harness.iam
    arn = "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRole"
    shown = (await iam("GetPolicy", PolicyArn=arn))["Policy"]
    assert shown.pop("CreateDate") == shown.pop("UpdateDate")
    assert shown == {
        "PolicyName": "AWSCodeDeployRole",
        "PolicyId": shown["PolicyId"],
        "Arn": arn,
        "Path": "/service-role/",
        "DefaultVersionId": "v11",
        "AttachmentCount": 0,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "Description": shown["Description"],
        "Tags": [],
    }
    version = (await iam("GetPolicyVersion", PolicyArn=arn, VersionId="v11"))["PolicyVersion"]
    assert (version["VersionId"], version["IsDefaultVersion"]) == ("v11", True)
    assert json.loads(unquote(version["Document"]))["Version"] == "2012-10-17"
    listed = (await iam("ListPolicyVersions", PolicyArn=arn))["Versions"]
    assert listed == [{name: value for name, value in version.items() if name != "Document"}]
    gone = ("NoSuchEntity", f"Policy {arn} version v1 does not exist or is not attachable.")
    assert await refused(iam("GetPolicyVersion", PolicyArn=arn, VersionId="v1")) == gone
    pages = [
        await iam("ListPolicies", Scope="AWS", MaxItems=1000),
        await iam("ListPolicies", Scope="All", MaxItems=1000),
    ]
    assert [[one["Arn"] for one in page["Policies"]] for page in pages] == [
        sorted(policy.arn("aws") for policy in POLICIES.values())
    ] * 2
    below = (await iam("ListPolicies", Scope="AWS", PathPrefix="/service-role/"))["Policies"]
    assert {one["Path"] for one in below} == {"/service-role/"}
    await harness.role("deploys", trusting(Service="codedeploy.amazonaws.com"))
    for _ in range(2):
        await iam("AttachRolePolicy", RoleName="deploys", PolicyArn=arn)
    assert (await iam("GetPolicy", PolicyArn=arn))["Policy"]["AttachmentCount"] == 1
    await iam("DetachRolePolicy", RoleName="deploys", PolicyArn=arn)
    said = await refused(iam("DetachRolePolicy", RoleName="deploys", PolicyArn=arn))
    assert said == ("NoSuchEntity", f"Policy {arn} was not found.")
    theirs = "arn:aws:iam::aws:policy/aws-service-role/AWSRolesAnywhereServicePolicy"
    attach = iam("AttachRolePolicy", RoleName="deploys", PolicyArn=theirs)
    assert await refused(attach) == ("PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role.")


@pytest.mark.parametrize("whose", ["aws", OTHER])
async def test_policies_of_others_are_not_changed(harness, whose):
    arn = f"arn:aws:iam::{whose}:policy/AdministratorAccess"
    for operation, done, more in (
        ("DeletePolicy", "delete policies", {}),
        ("DeletePolicyVersion", "delete policy versions for policies", {"VersionId": "v1"}),
        ("CreatePolicyVersion", "update policies", {"PolicyDocument": allow("s3:*")}),
        ("SetDefaultPolicyVersion", "update policies", {"VersionId": "v1"}),
    ):
        said = ("AccessDenied", f"Cannot {done} outside your own account.")
        assert await refused(harness.iam(operation, PolicyArn=arn, **more)) == said
