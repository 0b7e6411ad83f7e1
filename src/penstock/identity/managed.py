"""The managed policies that every account finds under `arn:aws:iam::aws:policy/`.

They bear the names that delivery's guides, templates and clients attach, and grant what their names say to the services that are
served here; the texts are our own. None has a condition.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

_ARN = ":iam::aws:policy/"


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """One of them."""

    name: str
    path: str  # "/", "/service-role/" or "/aws-service-role/"
    description: str
    document: str

    @property
    def policy_id(self) -> str:
        """A policy id that is the same in every installation."""
        return "ANPA" + base64.b32encode(hashlib.sha256(self.name.encode()).digest()).decode()[:17]

    def arn(self, partition: str) -> str:
        """Its ARN in a partition."""
        return f"arn:{partition}{_ARN}{self.path[1:]}{self.name}"


def _allow(*actions: str) -> dict[str, object]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def _policy(name: str, description: str, *statements: dict[str, object]) -> ManagedPolicy:
    path, _, short = name.rpartition("/")
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=4)
    return ManagedPolicy(short, f"/{path}/" if path else "/", description, document)


_DEPLOY_READ = ("codedeploy:BatchGet*", "codedeploy:Get*", "codedeploy:List*")
_BUILD_READ = (
    "codebuild:BatchGet*", "codebuild:Describe*", "codebuild:GetResourcePolicy", "codebuild:List*", "codecommit:GetBranch",
    "codecommit:GetCommit", "codecommit:GetRepository", "codecommit:ListBranches", "logs:GetLogEvents",
)  # fmt: skip
_GIT_READ = (
    "codecommit:BatchGet*",
    "codecommit:Get*",
    "codecommit:Describe*",
    "codecommit:List*",
    "codecommit:GitPull",
)
_PIPELINE_READ = (
    "codepipeline:GetPipeline", "codepipeline:GetPipelineState", "codepipeline:GetPipelineExecution",
    "codepipeline:ListPipelineExecutions", "codepipeline:ListActionExecutions", "codepipeline:ListActionTypes",
    "codepipeline:ListPipelines", "codepipeline:ListTagsForResource", "codepipeline:ListRuleExecutions",
)  # fmt: skip
_PASS = _allow("iam:PassRole", "iam:GetRole", "iam:ListRoles")
_AGENT = ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket")

_ALL = (
    _policy("AdministratorAccess", "Everything in the account.", _allow("*")),
    _policy(
        "PowerUserAccess",
        "Everything but users, roles and policies.",
        {"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"},
        _allow("iam:ListRoles", "iam:GetRole"),
    ),
    _policy("IAMFullAccess", "Users, roles and policies.", _allow("iam:*")),
    _policy("IAMReadOnlyAccess", "Reads users, roles and policies.", _allow("iam:Get*", "iam:List*")),
    _policy(
        "AWSCodePipeline_FullAccess",
        "Makes, changes and runs pipelines, and looks at what their actions name.",
        _allow(
            "codepipeline:*",
            "codebuild:BatchGetProjects",
            "codebuild:CreateProject",
            "codebuild:ListProjects",
            "codecommit:GetReferences",
            "codecommit:ListBranches",
            "codecommit:ListRepositories",
            "codedeploy:BatchGetDeploymentGroups",
            "codedeploy:ListApplications",
            "codedeploy:ListDeploymentGroups",
            "events:*",
            "s3:CreateBucket",
            "s3:GetBucketPolicy",
            "s3:GetBucketVersioning",
            "s3:GetObjectVersion",
            "s3:ListAllMyBuckets",
            "s3:ListBucket",
            "s3:PutBucketPolicy",
            "sns:ListTopics",
        ),
        _PASS,
    ),
    _policy("AWSCodePipeline_ReadOnlyAccess", "Looks at pipelines.", _allow(*_PIPELINE_READ, "s3:ListAllMyBuckets")),
    _policy(
        "AWSCodePipelineApproverAccess",
        "Looks at pipelines, and answers approvals.",
        _allow(*_PIPELINE_READ, "codepipeline:PutApprovalResult"),
    ),
    _policy(
        "AWSCodePipelineCustomActionAccess",
        "What a job worker of custom actions needs.",
        _allow(
            "codepipeline:AcknowledgeJob",
            "codepipeline:GetJobDetails",
            "codepipeline:PollForJobs",
            "codepipeline:PutJobFailureResult",
            "codepipeline:PutJobSuccessResult",
        ),
    ),
    _policy("AWSCodeDeployFullAccess", "Everything of deployments.", _allow("codedeploy:*")),
    _policy(
        "AWSCodeDeployDeployerAccess",
        "Registers revisions and deploys them.",
        _allow(*_DEPLOY_READ, "codedeploy:CreateDeployment", "codedeploy:RegisterApplicationRevision"),
    ),
    _policy("AWSCodeDeployReadOnlyAccess", "Looks at deployments.", _allow(*_DEPLOY_READ)),
    _policy(
        "service-role/AWSCodeDeployRole",
        "What the deployment service does with hosts, balancers, alarms and topics.",
        _allow(
            "autoscaling:*",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:PutMetricAlarm",
            "ec2:Describe*",
            "ec2:TerminateInstances",
            "elasticloadbalancing:DeregisterInstancesFromLoadBalancer",
            "elasticloadbalancing:DeregisterTargets",
            "elasticloadbalancing:Describe*",
            "elasticloadbalancing:RegisterInstancesWithLoadBalancer",
            "elasticloadbalancing:RegisterTargets",
            "sns:*",
            "tag:GetResources",
        ),
    ),
    _policy("service-role/AmazonEC2RoleforAWSCodeDeploy", "A host fetches its revisions.", _allow(*_AGENT)),
    _policy("AWSCodeBuildAdminAccess", "Everything of builds.", _allow("codebuild:*", *_BUILD_READ, "iam:PassRole")),
    _policy(
        "AWSCodeBuildDeveloperAccess",
        "Starts, stops and looks at builds.",
        _allow(
            "codebuild:RetryBuild*", "codebuild:StartBuild*", "codebuild:StopBuild*", "codebuild:UpdateProject", *_BUILD_READ
        ),
    ),
    _policy("AWSCodeBuildReadOnlyAccess", "Looks at builds.", _allow(*_BUILD_READ)),
    _policy("AWSCodeCommitFullAccess", "Everything of repositories.", _allow("codecommit:*")),
    _policy(
        "AWSCodeCommitPowerUser",
        "Everything of repositories but deleting them.",
        _allow("codecommit:*"),
        {"Effect": "Deny", "Action": ["codecommit:DeleteRepository"], "Resource": "*"},
    ),
    _policy("AWSCodeCommitReadOnly", "Reads repositories.", _allow(*_GIT_READ)),
    _policy("AmazonS3FullAccess", "Every bucket and object.", _allow("s3:*")),
    _policy("AmazonS3ReadOnlyAccess", "Reads every bucket and object.", _allow("s3:Get*", "s3:List*", "s3:Describe*")),
    _policy("CloudWatchFullAccess", "Metrics, alarms and logs.", _allow("cloudwatch:*", "logs:*", "sns:*")),
    _policy("CloudWatchLogsFullAccess", "Every log.", _allow("logs:*")),
    _policy("CloudWatchLogsReadOnlyAccess", "Reads every log.", _allow("logs:Describe*", "logs:Get*", "logs:List*", "logs:FilterLogEvents")),
    _policy("AWSCloudFormationFullAccess", "Every stack.", _allow("cloudformation:*")),
    _policy("AWSCloudFormationReadOnlyAccess", "Looks at stacks.", _allow("cloudformation:Describe*", "cloudformation:Get*", "cloudformation:List*")),
    _policy("AWSLambda_FullAccess", "Every function.", _allow("lambda:*", "logs:*", "iam:PassRole", "iam:GetRole", "iam:ListRoles")),
    _policy(
        "aws-service-role/AWSRolesAnywhereServicePolicy",
        "What IAM Roles Anywhere does under its service-linked role.",
        _allow("cloudwatch:PutMetricData"),
    ),
    _policy(
        "service-role/AWSLambdaBasicExecutionRole",
        "A function writes its log.",
        _allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
    ),
)  # fmt: skip

POLICIES = {f"{policy.path}{policy.name}": policy for policy in _ALL}


def managed_policy(arn: str, partition: str) -> ManagedPolicy | None:
    """AWS's managed policy of this ARN in the installation's partition."""
    prefix = f"arn:{partition}{_ARN}"
    return POLICIES.get(f"/{arn.removeprefix(prefix)}") if arn.startswith(prefix) else None
