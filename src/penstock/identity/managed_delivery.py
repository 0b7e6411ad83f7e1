"""The managed policies of pipelines, builds, deployments and repositories."""

from __future__ import annotations

from penstock.identity.managed_policy import allow, notifying, passing, policy

_DEPLOY_READ = ("codedeploy:Batch*", "codedeploy:Get*", "codedeploy:List*")
_BUILD_LOOKS = (
    "codecommit:GetBranch", "codecommit:GetCommit", "codecommit:GetRepository",
    "cloudwatch:GetMetricStatistics", "events:DescribeRule", "events:ListTargetsByRule", "events:ListRuleNamesByTarget",
    "logs:GetLogEvents",
)  # fmt: skip
_BUILD_READ = (
    "codebuild:BatchGet*",
    "codebuild:Describe*",
    "codebuild:GetResourcePolicy",
    "codebuild:List*",
    *_BUILD_LOOKS,
)
_BUILD_PARAMETERS = allow("ssm:PutParameter", on="arn:aws:ssm:*:*:parameter/CodeBuild/*")
_GIT_READ = (
    "codecommit:BatchGet*", "codecommit:BatchDescribe*", "codecommit:Get*", "codecommit:Describe*",
    "codecommit:EvaluatePullRequestApprovalRules", "codecommit:List*", "codecommit:GitPull",
)  # fmt: skip
_GIT_WRITE = (
    *_GIT_READ, "codecommit:AssociateApprovalRuleTemplateWithRepository",
    "codecommit:BatchAssociateApprovalRuleTemplateWithRepositories", "codecommit:BatchDisassociateApprovalRuleTemplateFromRepositories",
    "codecommit:Create*", "codecommit:DeleteBranch", "codecommit:DeleteFile", "codecommit:DisassociateApprovalRuleTemplateFromRepository",
    "codecommit:Merge*", "codecommit:OverridePullRequestApprovalRules", "codecommit:Put*", "codecommit:Post*", "codecommit:TagResource",
    "codecommit:Test*", "codecommit:UntagResource", "codecommit:Update*", "codecommit:GitPush",
)  # fmt: skip
OWN_USER = "arn:aws:iam::*:user/${aws:username}"
OWN_CREDENTIALS = allow(
    "iam:CreateServiceSpecificCredential", "iam:ListServiceSpecificCredentials", "iam:UpdateServiceSpecificCredential",
    "iam:DeleteServiceSpecificCredential", "iam:ResetServiceSpecificCredential", on=OWN_USER,
)  # fmt: skip
_GIT_MORE = (
    allow(
        "events:DeleteRule", "events:DescribeRule", "events:DisableRule", "events:EnableRule", "events:PutRule", "events:PutTargets",
        "events:RemoveTargets", "events:ListTargetsByRule", on="arn:aws:events:*:*:rule/codecommit*",
    ),
    allow("sns:ListTopics", "sns:ListSubscriptionsByTopic", "sns:GetTopicAttributes", "lambda:ListFunctions", "iam:ListUsers"),
    allow(
        "iam:ListAccessKeys", "iam:DeleteSSHPublicKey", "iam:GetSSHPublicKey", "iam:ListSSHPublicKeys", "iam:UpdateSSHPublicKey",
        "iam:UploadSSHPublicKey", on=OWN_USER,
    ),
    OWN_CREDENTIALS,
)  # fmt: skip
_NOTIFICATIONS = (
    allow(
        "codestar-notifications:ListNotificationRules", "codestar-notifications:ListTargets",
        "codestar-notifications:ListTagsforResource", "codestar-notifications:ListEventTypes", "sns:ListTopics",
    ),
    allow("sns:CreateTopic", "sns:SetTopicAttributes", on="arn:aws:sns:*:*:codestar-notifications*"),
)  # fmt: skip
_PIPELINE_READ = (
    "codepipeline:GetPipeline", "codepipeline:GetPipelineState", "codepipeline:GetPipelineExecution",
    "codepipeline:ListPipelineExecutions", "codepipeline:ListActionExecutions", "codepipeline:ListActionTypes",
    "codepipeline:ListPipelines", "codepipeline:ListTagsForResource", "codepipeline:ListRuleExecutions",
)  # fmt: skip
_PIPELINES = (
    allow(
        "codepipeline:*", "cloudformation:DescribeStacks", "cloudformation:ListStacks", "cloudformation:ListChangeSets",
        "cloudtrail:DescribeTrails", "codebuild:BatchGetProjects", "codebuild:CreateProject", "codebuild:ListCuratedEnvironmentImages",
        "codebuild:ListProjects", "codecommit:GetReferences", "codecommit:ListBranches", "codecommit:ListRepositories",
        "codedeploy:BatchGetDeploymentGroups", "codedeploy:ListApplications", "codedeploy:ListDeploymentGroups",
        "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs", "ecr:DescribeRepositories", "ecr:ListImages",
        "ecs:ListClusters", "ecs:ListServices", "events:DescribeRule", "events:ListRules", "events:ListTargetsByRule", "iam:GetRole",
        "iam:ListRoles", "lambda:ListFunctions", "s3:ListAllMyBuckets", "states:ListStateMachines",
    ),
    allow(
        "s3:GetObject", "s3:ListBucket", "s3:GetBucketPolicy", "s3:GetBucketVersioning", "s3:GetObjectVersion", "s3:CreateBucket",
        "s3:PutBucketPolicy", on="arn:aws:s3::*:codepipeline-*",
    ),
    allow(
        "cloudtrail:PutEventSelectors", "cloudtrail:CreateTrail", "cloudtrail:GetEventSelectors", "cloudtrail:StartLogging",
        on="arn:aws:cloudtrail:*:*:trail/codepipeline-source-trail",
    ),
    passing("events", on="arn:aws:iam::*:role/service-role/cwe-role-*"),
    passing("codepipeline"),
    allow(
        "events:PutRule", "events:PutTargets", "events:DeleteRule", "events:DisableRule", "events:RemoveTargets",
        on="arn:aws:events:*:*:rule/codepipeline-*",
    ),
    notifying("arn:aws:codepipeline:*", "DeleteNotificationRule"),
    *_NOTIFICATIONS,
)  # fmt: skip
_AGENT = ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket")
_TAGGED_FOR_DEPLOYMENT = {"s3:ExistingObjectTag/UseWithCodeDeploy": "true"}

DELIVERY = (
    policy(
        "AWSCodePipeline_FullAccess",
        "Makes, changes and runs pipelines, and looks at what their actions name.",
        *_PIPELINES,
        version=3,
    ),
    policy("AWSCodePipelineFullAccess", "The former name of AWSCodePipeline_FullAccess, which guides still attach.", *_PIPELINES),
    policy(
        "AWSCodePipeline_ReadOnlyAccess",
        "Looks at pipelines.",
        allow(*_PIPELINE_READ, "s3:ListAllMyBuckets"),
        allow("s3:GetBucketPolicy", "s3:GetObject", "s3:ListBucket", on="arn:aws:s3::*:codepipeline-*"),
    ),
    policy(
        "AWSCodePipelineApproverAccess",
        "Looks at pipelines, and answers approvals.",
        allow(
            "codepipeline:GetPipeline", "codepipeline:GetPipelineState", "codepipeline:GetPipelineExecution",
            "codepipeline:ListPipelineExecutions", "codepipeline:ListPipelines", "codepipeline:PutApprovalResult",
        ),
        version=3,
    ),
    policy(
        "AWSCodePipelineCustomActionAccess",
        "What a job worker of custom actions needs.",
        allow(
            "codepipeline:AcknowledgeJob", "codepipeline:GetJobDetails", "codepipeline:PollForJobs", "codepipeline:PutJobFailureResult",
            "codepipeline:PutJobSuccessResult",
        ),
    ),
    policy(
        "AWSCodeDeployFullAccess",
        "Everything of deployments.",
        allow("codedeploy:*"),
        notifying("arn:aws:codedeploy:*", "DeleteNotificationRule"),
        *_NOTIFICATIONS,
        version=6,
    ),
    policy(
        "AWSCodeDeployDeployerAccess",
        "Registers revisions and deploys them.",
        allow(*_DEPLOY_READ, "codedeploy:CreateDeployment", "codedeploy:RegisterApplicationRevision"),
        notifying("arn:aws:codedeploy:*"),
        version=6,
    ),
    policy("AWSCodeDeployReadOnlyAccess", "Looks at deployments.", allow(*_DEPLOY_READ), version=6),
    policy(
        "service-role/AWSCodeDeployRole",
        "What the deployment service does with hosts, balancers, alarms and topics.",
        allow(
            "autoscaling:CompleteLifecycleAction", "autoscaling:DeleteLifecycleHook", "autoscaling:DescribeAutoScalingGroups",
            "autoscaling:DescribeLifecycleHooks", "autoscaling:PutLifecycleHook", "autoscaling:RecordLifecycleActionHeartbeat",
            "autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags", "autoscaling:UpdateAutoScalingGroup",
            "autoscaling:EnableMetricsCollection", "autoscaling:DescribePolicies", "autoscaling:DescribeScheduledActions",
            "autoscaling:DescribeNotificationConfigurations", "autoscaling:SuspendProcesses", "autoscaling:ResumeProcesses",
            "autoscaling:AttachLoadBalancers", "autoscaling:AttachLoadBalancerTargetGroups", "autoscaling:PutScalingPolicy",
            "autoscaling:PutScheduledUpdateGroupAction", "autoscaling:PutNotificationConfiguration", "autoscaling:PutWarmPool",
            "autoscaling:DescribeScalingActivities", "autoscaling:DeleteAutoScalingGroup", "ec2:DescribeInstances",
            "ec2:DescribeInstanceStatus", "ec2:TerminateInstances", "tag:GetResources", "sns:Publish", "cloudwatch:DescribeAlarms",
            "cloudwatch:PutMetricAlarm", "elasticloadbalancing:DescribeLoadBalancers",
            "elasticloadbalancing:DescribeLoadBalancerAttributes", "elasticloadbalancing:DescribeInstanceHealth",
            "elasticloadbalancing:RegisterInstancesWithLoadBalancer", "elasticloadbalancing:DeregisterInstancesFromLoadBalancer",
            "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetGroupAttributes",
            "elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets",
        ),
        version=11,
    ),
    policy(
        "AWSCodeDeployRoleForECS",
        "What the deployment service does with services of containers, listeners and hooks.",
        allow(
            "ecs:DescribeServices", "ecs:CreateTaskSet", "ecs:UpdateServicePrimaryTaskSet", "ecs:DeleteTaskSet",
            "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:ModifyListener",
            "elasticloadbalancing:DescribeRules", "elasticloadbalancing:ModifyRule", "lambda:InvokeFunction",
            "cloudwatch:DescribeAlarms", "sns:Publish", "s3:GetObject", "s3:GetObjectVersion",
        ),
        allow("iam:PassRole", StringLike={"iam:PassedToService": ["ecs-tasks.amazonaws.com"]}),
        version=3,
    ),
    policy(
        "service-role/AWSCodeDeployRoleForLambda",
        "What the deployment service does with functions, hooks and alarms.",
        allow(
            "cloudwatch:DescribeAlarms", "lambda:UpdateAlias", "lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "sns:Publish"
        ),
        allow("s3:GetObject", "s3:GetObjectVersion", on="arn:aws:s3:::*/CodeDeploy/*"),
        allow("s3:GetObject", "s3:GetObjectVersion", StringEquals=_TAGGED_FOR_DEPLOYMENT),
        allow("lambda:InvokeFunction", on="arn:aws:lambda:*:*:function:CodeDeployHook_*"),
        version=3,
    ),
    policy("service-role/AmazonEC2RoleforAWSCodeDeploy", "A host fetches its revisions.", allow(*_AGENT), version=2),
    policy(
        "service-role/AmazonEC2RoleforAWSCodeDeployLimited",
        "A host fetches revisions that lie below CodeDeploy/ or are tagged for deployment.",
        allow(*_AGENT, on="arn:aws:s3:::*/CodeDeploy/*"),
        allow("s3:GetObject", "s3:GetObjectVersion", StringEquals=_TAGGED_FOR_DEPLOYMENT),
        version=2,
    ),
    policy(
        "AWSCodeBuildAdminAccess",
        "Everything of builds.",
        allow(
            "codebuild:*", *_BUILD_LOOKS, "codecommit:ListBranches", "codecommit:ListRepositories", "ec2:DescribeVpcs", "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets", "ecr:DescribeRepositories", "ecr:ListImages", "elasticfilesystem:DescribeFileSystems",
            "events:DeleteRule", "events:DisableRule", "events:EnableRule", "events:PutRule", "events:PutTargets",
            "events:RemoveTargets", "s3:GetBucketLocation", "s3:ListAllMyBuckets",
        ),
        allow("logs:DeleteLogGroup", on="arn:aws:logs:*:*:log-group:/aws/codebuild/*:log-stream:*"),
        _BUILD_PARAMETERS,
        notifying("arn:aws:codebuild:*", "DeleteNotificationRule"),
        *_NOTIFICATIONS,
        version=20,
    ),
    policy(
        "AWSCodeBuildDeveloperAccess",
        "Starts, stops and looks at builds.",
        allow(
            "codebuild:StartBuild", "codebuild:StartBuildBatch", "codebuild:StopBuild", "codebuild:StopBuildBatch", "codebuild:RetryBuild",
            "codebuild:RetryBuildBatch", *_BUILD_READ, "codecommit:ListBranches", "s3:GetBucketLocation", "s3:ListAllMyBuckets",
        ),
        _BUILD_PARAMETERS,
        notifying("arn:aws:codebuild:*"),
        version=21,
    ),
    policy("AWSCodeBuildReadOnlyAccess", "Looks at builds.", allow(*_BUILD_READ), version=15),
    policy("AWSCodeCommitFullAccess", "Everything of repositories.", allow("codecommit:*"), *_GIT_MORE, version=13),
    policy("AWSCodeCommitPowerUser", "Everything of repositories but deleting them.", allow(*_GIT_WRITE), *_GIT_MORE, version=18),
    policy(
        "AWSCodeCommitReadOnly",
        "Reads repositories.",
        allow(*_GIT_READ),
        allow("events:DescribeRule", "events:ListTargetsByRule", on="arn:aws:events:*:*:rule/codecommit*"),
        allow("iam:ListUsers", "lambda:ListFunctions", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:ListTopics"),
        allow(
            "iam:GetSSHPublicKey", "iam:ListAccessKeys", "iam:ListSSHPublicKeys", "iam:ListServiceSpecificCredentials", on=OWN_USER
        ),
        version=14,
    ),
)  # fmt: skip
