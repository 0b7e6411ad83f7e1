"""The managed policies that every account finds under `arn:aws:iam::aws:policy/`.

They bear the names that delivery's guides, templates and clients attach, and grant what those grant, as far as it concerns services that
delivery meets; the texts are our own. (AWS: Managed Policy Reference Guide. Versions are those of March 2026.)
"""

from __future__ import annotations

from penstock.identity.managed_delivery import DELIVERY, OWN_CREDENTIALS, OWN_USER
from penstock.identity.managed_policy import ARN, ManagedPolicy, allow, passing, policy

_SSM_AGENT = (
    allow(
        "ssm:DescribeAssociation", "ssm:GetDeployablePatchSnapshotForInstance", "ssm:GetDocument", "ssm:DescribeDocument",
        "ssm:GetManifest", "ssm:GetParameters", "ssm:ListAssociations", "ssm:ListInstanceAssociations",
        "ssm:PutInventory", "ssm:PutComplianceItems", "ssm:PutConfigurePackageResult", "ssm:UpdateAssociationStatus",
        "ssm:UpdateInstanceAssociationStatus", "ssm:UpdateInstanceInformation",
    ),
    allow(
        "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel", "ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:FailMessage",
        "ec2messages:GetEndpoint", "ec2messages:GetMessages", "ec2messages:SendReply",
    ),
)  # fmt: skip
# Of deployments what the console of ECS does for a service with blue and green.
_ECS_DEPLOYS = tuple(
    f"codedeploy:{name}"
    for name in (
        "BatchGetApplicationRevisions", "BatchGetApplications", "BatchGetDeploymentGroups", "BatchGetDeployments", "ContinueDeployment",
        "CreateApplication", "CreateDeployment", "CreateDeploymentGroup", "GetApplication", "GetApplicationRevision", "GetDeployment",
        "GetDeploymentConfig", "GetDeploymentGroup", "GetDeploymentTarget", "ListApplicationRevisions", "ListApplications",
        "ListDeploymentConfigs", "ListDeploymentGroups", "ListDeploymentTargets", "ListDeployments", "RegisterApplicationRevision",
        "StopDeployment",
    )
)  # fmt: skip
_WRITES_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")

_OTHERS = (
    policy("AdministratorAccess", "Everything in the account.", allow("*")),
    policy(
        "PowerUserAccess",
        "Everything but users, roles, policies and accounts.",
        {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"},
        allow(
            "account:GetAccountInformation", "account:GetPrimaryEmail", "account:ListRegions", "iam:CreateServiceLinkedRole",
            "iam:DeleteServiceLinkedRole", "iam:ListRoles", "organizations:DescribeOrganization",
        ),
        version=12,
    ),
    policy("IAMFullAccess", "Users, roles and policies.", allow("iam:*", "organizations:DescribeAccount"), version=2),
    policy(
        "IAMReadOnlyAccess",
        "Reads users, roles and policies.",
        allow("iam:Generate*", "iam:Get*", "iam:List*", "iam:Simulate*"),
        version=4,
    ),
    policy(
        "IAMUserChangePassword",
        "Users change their own passwords.",
        allow("iam:ChangePassword", on=[OWN_USER, OWN_USER.replace("user/", "user/*/")]),
        allow("iam:GetAccountPasswordPolicy"),
        version=5,
    ),
    policy(
        "IAMSelfManageServiceSpecificCredentials",
        "Users make, change and delete their own credentials for services, such as those for Git.",
        OWN_CREDENTIALS,
    ),
    policy("AmazonS3FullAccess", "Every bucket and object.", allow("s3:*"), version=2),
    policy("AmazonS3ReadOnlyAccess", "Reads every bucket and object.", allow("s3:Get*", "s3:List*", "s3:Describe*"), version=3),
    policy(
        "CloudWatchFullAccess",
        "Metrics, alarms and logs.",
        allow("cloudwatch:*", "logs:*", "sns:*", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole"),
        version=4,
    ),
    policy("CloudWatchLogsFullAccess", "Every log.", allow("logs:*"), version=8),
    policy(
        "CloudWatchLogsReadOnlyAccess",
        "Reads every log.",
        allow("logs:Describe*", "logs:Get*", "logs:List*", "logs:FilterLogEvents"),
        version=12,
    ),
    policy("AWSCloudFormationFullAccess", "Every stack.", allow("cloudformation:*")),
    policy(
        "AWSCloudFormationReadOnlyAccess",
        "Looks at stacks.",
        allow("cloudformation:Describe*", "cloudformation:Get*", "cloudformation:List*"),
        version=7,
    ),
    policy(
        "AWSLambda_FullAccess",
        "Every function.",
        allow(
            "lambda:*", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies", "iam:ListRoles", "kms:DescribeKey", "kms:ListAliases", "logs:DescribeLogGroups",
        ),
        passing("lambda"),
        allow(
            "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents", on="arn:aws:logs:*:*:log-group:/aws/lambda/*"
        ),
        version=7,
    ),
    policy("service-role/AWSLambdaBasicExecutionRole", "A function writes its log.", allow(*_WRITES_LOGS)),
    policy(
        "AmazonSSMManagedInstanceCore", "What the agent of a managed host needs.", *_SSM_AGENT, allow("ssm:GetParameter"), version=2
    ),
    policy(
        "service-role/AmazonEC2RoleforSSM",
        "What the agent of a managed host once needed; AmazonSSMManagedInstanceCore took its place.",
        *_SSM_AGENT,
        allow(
            "cloudwatch:PutMetricData", "ec2:DescribeInstanceStatus", "logs:DescribeLogGroups", "logs:DescribeLogStreams", *_WRITES_LOGS,
            "s3:GetBucketLocation", "s3:PutObject", "s3:GetObject", "s3:GetEncryptionConfiguration", "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts", "s3:ListBucket", "s3:ListBucketMultipartUploads",
        ),
        version=8,
    ),
    policy(
        "service-role/AmazonSSMAutomationRole",
        "What automation does with hosts, stacks, functions and topics.",
        allow("lambda:InvokeFunction", on="arn:aws:lambda:*:*:function:Automation*"),
        allow(
            "ec2:CreateImage", "ec2:CopyImage", "ec2:DeregisterImage", "ec2:DescribeImages", "ec2:DeleteSnapshot", "ec2:StartInstances",
            "ec2:RunInstances", "ec2:StopInstances", "ec2:TerminateInstances", "ec2:DescribeInstanceStatus", "ec2:CreateTags",
            "ec2:DeleteTags", "ec2:DescribeTags", "cloudformation:CreateStack", "cloudformation:DescribeStackEvents",
            "cloudformation:DescribeStacks", "cloudformation:UpdateStack", "cloudformation:DeleteStack", "ssm:*",
        ),
        allow("sns:Publish", on="arn:aws:sns:*:*:Automation*"),
        version=8,
    ),
    policy(
        "ElasticLoadBalancingFullAccess",
        "Every load balancer, and what it looks at.",
        allow("elasticloadbalancing:*", "ec2:Describe*", "ec2:GetCoipPoolUsage", "cognito-idp:DescribeUserPoolClient"),
        allow("iam:CreateServiceLinkedRole", StringEquals={"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}),
        version=9,
    ),
    policy(
        "AmazonRoute53FullAccess",
        "Every name, and what names point to.",
        allow(
            "route53:*", "route53domains:*", "cloudfront:ListDistributions", "elasticloadbalancing:DescribeLoadBalancers",
            "elasticbeanstalk:DescribeEnvironments", "s3:ListBucket", "s3:GetBucketLocation", "s3:GetBucketWebsite", "ec2:DescribeVpcs",
            "ec2:DescribeVpcEndpoints", "ec2:DescribeRegions", "sns:ListTopics", "sns:ListSubscriptionsByTopic",
            "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricStatistics",
        ),
        allow("apigateway:GET", on="arn:aws:apigateway:*::/domainnames"),
        version=7,
    ),
    policy(
        "AmazonECS_FullAccess",
        "Every cluster, service and task, and what they run with.",
        allow(
            *_ECS_DEPLOYS, "application-autoscaling:*", "autoscaling:*", "ecs:*", "elasticloadbalancing:*", "servicediscovery:*",
            "cloudformation:CreateStack", "cloudformation:DeleteStack", "cloudformation:DescribeStack*", "cloudformation:UpdateStack",
            "cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricStatistics", "cloudwatch:PutMetricAlarm",
            "ec2:Describe*", "events:DeleteRule", "events:DescribeRule",
            "events:ListRuleNamesByTarget", "events:ListTargetsByRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets",
            "iam:ListAttachedRolePolicies", "iam:ListInstanceProfiles", "iam:ListRoles", "lambda:ListFunctions", "logs:CreateLogGroup",
            "logs:DescribeLogGroups", "logs:FilterLogEvents", "route53:GetHostedZone", "route53:ListHostedZonesByName", "sns:ListTopics",
        ),
        allow("ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath", on="arn:aws:ssm:*:*:parameter/aws/service/ecs*"),
        passing("ecs-tasks"),
        passing("ec2", on="arn:aws:iam::*:role/ecsInstanceRole*"),
        passing("application-autoscaling", on="arn:aws:iam::*:role/ecsAutoscaleRole*"),
        allow(
            "iam:CreateServiceLinkedRole",
            StringLike={"iam:AWSServiceName": ["ecs.amazonaws.com", "autoscaling.amazonaws.com", "ecs.application-autoscaling.amazonaws.com", "spot.amazonaws.com", "spotfleet.amazonaws.com"]},
        ),
        version=21,
    ),
    policy(
        "AmazonEC2ContainerRegistryPowerUser",
        "Reads and writes every repository of images, and deletes none.",
        allow(
            "ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy",
            "ecr:DescribeRepositories", "ecr:ListImages", "ecr:DescribeImages", "ecr:BatchGetImage", "ecr:GetLifecyclePolicy",
            "ecr:GetLifecyclePolicyPreview", "ecr:ListTagsForResource", "ecr:DescribeImageScanFindings", "ecr:InitiateLayerUpload",
            "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
        ),
        version=3,
    ),
    policy(
        "aws-service-role/AWSRolesAnywhereServicePolicy",
        "What IAM Roles Anywhere does under its service-linked role.",
        allow("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": ["AWS/RolesAnywhere", "AWS/Usage"]}),
        allow("acm-pca:GetCertificateAuthorityCertificate", "acm-pca:DescribeCertificateAuthority", on="arn:aws:acm-pca:*:*:*"),
    ),
)  # fmt: skip

POLICIES = {f"{policy.path}{policy.name}": policy for policy in (*_OTHERS, *DELIVERY)}


def managed_policy(arn: str, partition: str) -> ManagedPolicy | None:
    """AWS's managed policy of this ARN in the installation's partition."""
    prefix = f"arn:{partition}{ARN}"
    return POLICIES.get(f"/{arn.removeprefix(prefix)}") if arn.startswith(prefix) else None
