"""An explicit Deny holds however a caller spells what it names: every operation that takes an ARN, found in the registry."""

from __future__ import annotations

import json
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session
import pytest

from penstock.wire.errors import SignatureMismatch
from penstock.wire.regions import Scope, region_of_call

ACCOUNT, OTHER = "111111111111", "222222222222"
TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": ["codepipeline.amazonaws.com", "codebuild.amazonaws.com"]},
        "Action": "sts:AssumeRole",
    },
}
# ARNs that are handed over to be kept or are checked against the row of exactly this ARN; tests/identity and test_pass_role
# have their own tests.
HANDED_OVER = {
    "codedeploy:RegisterOnPremisesInstance", "penstock:RegisterInstance", "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity",
    "codedeploy:CreateDeploymentGroup", "codedeploy:UpdateDeploymentGroup",
    "iam:AddClientIDToOpenIDConnectProvider", "iam:DeleteOpenIDConnectProvider", "iam:GetOpenIDConnectProvider",
    "iam:ListOpenIDConnectProviderTags", "iam:RemoveClientIDFromOpenIDConnectProvider", "iam:TagOpenIDConnectProvider",
    "iam:UntagOpenIDConnectProvider", "iam:UpdateOpenIDConnectProviderThumbprint",
    "rolesanywhere:ImportCrl", "rolesanywhere:ListTagsForResource", "rolesanywhere:TagResource", "rolesanywhere:UntagResource",
    "rolesanywhere-sessions:CreateSession", "penstock:InviteHost", "penstock:RenewHostCertificate",
    "iam:SimulateCustomPolicy", "iam:SimulatePrincipalPolicy",  # CallerArn is read by no one but the policies that are given
    "cloudtrail:CreateTrail", "cloudtrail:UpdateTrail",  # refused: trails go to buckets only
    "secretsmanager:CreateSecret",  # refused: secrets have no replicas
    # A connection in exactly one spelling, with its id; it is authorised when it is made.
    "events:CreateApiDestination", "events:ListApiDestinations", "events:UpdateApiDestination",
    # A bus or an archive of the caller's, in exactly one spelling.
    "events:CreateArchive", "events:ListArchives", "events:ListReplays", "events:StartReplay",
    "events:ListRuleNamesByTarget", "events:PutRule",  # a target that is compared, and a role that is passed
    "penstock:ListMessageDeadLetters",  # a topic whose own dead letters are listed
    "logs:PutSubscriptionFilter",  # a destination that decides by its policy, and a role that is passed; tests/logs/test_subscriptions.py
    "scheduler:CreateSchedule", "scheduler:UpdateSchedule",  # KmsKeyArn is refused, and a role is passed
    "sns:Subscribe",  # ReturnSubscriptionArn is a yes or no
    "secretsmanager:RotateSecret",  # of a function, in exactly one spelling; tests/secrets/test_rotation.py
}  # fmt: skip


def arn(service: str, resource: str, *, region: str = "us-east-1") -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


REAL = {
    ("cloudwatch", "ResourceARN"): arn("cloudwatch", "alarm:spelt"),
    ("codecommit", "resourceArn"): arn("codecommit", "spelt"),
    ("codepipeline", "resourceArn"): arn("codepipeline", "spelt"),
    ("codedeploy", "ResourceArn"): arn("codedeploy", "application:spelt"),
    ("iam", "PolicySourceArn"): arn("iam", "user/spelt", region=""),
    ("iam", "PolicyArn"): arn("iam", "policy/spelt", region=""),
    ("logs", "logGroupIdentifier"): arn("logs", "log-group:/spelt"),
    ("logs", "resourceArn"): arn("logs", "log-group:/spelt"),
    ("logs", "logGroupIdentifiers"): arn("logs", "log-group:/spelt"),
    ("codebuild", "names"): arn("codebuild", "project/spelt"),
    ("codebuild", "name"): arn("codebuild", "project/spelt"),
    ("codebuild", "projectName"): arn("codebuild", "project/spelt"),
    ("secretsmanager", "SecretId"): arn("secretsmanager", "secret:spelt"),  # without the end that it was given
    ("codestar-notifications", "Arn"): arn("codestar-notifications", "notificationrule/spelt"),
    ("events", "ResourceARN"): arn("events", "rule/spelt"),
    ("scheduler", "ResourceArn"): arn("scheduler", "schedule-group/spelt"),
    ("sns", "TopicArn"): arn("sns", "spelt"),
    ("sns", "ResourceArn"): arn("sns", "spelt"),
    ("sns", "TargetArn"): arn("sns", "spelt"),
    ("sns", "SubscriptionArn"): arn("sns", "spelt:0"),
}
_DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError")
TOKEN = {"ClientRequestToken": "0123456789abcdef0123456789abcdef"}
MORE: dict[str, dict[str, Any]] = {
    "codestar-notifications:Subscribe": {"Target": {"TargetType": "SNS", "TargetAddress": arn("sns", "spelt")}},
    "codestar-notifications:TagResource": {"Tags": {"a": "b"}},
    "codestar-notifications:Unsubscribe": {"TargetAddress": arn("sns", "spelt")},
    "logs:GetLogEvents": {"logStreamName": "s"},
    "logs:PutLogGroupDeletionProtection": {"deletionProtectionEnabled": True},
    "logs:PutRetentionPolicy": {"retentionInDays": 7},
    "logs:StartQuery": {"startTime": 1, "endTime": 2, "queryString": "fields @message"},
    "logs:TagResource": {"tags": {"a": "b"}},
    "iam:AttachRolePolicy": {"RoleName": "spelt"},
    "iam:DetachRolePolicy": {"RoleName": "spelt"},
    "iam:AttachUserPolicy": {"UserName": "mallory"},
    "iam:AttachGroupPolicy": {"GroupName": "none"},
    "iam:DetachGroupPolicy": {"GroupName": "none"},
    "iam:DetachUserPolicy": {"UserName": "mallory"},
    "secretsmanager:GetSecretValue": {"VersionId": None, "VersionStage": "AWSCURRENT"},
    "secretsmanager:PutSecretValue": {"SecretString": "v", **TOKEN},
    "secretsmanager:UpdateSecret": {"SecretString": "v", **TOKEN},
    "secretsmanager:UpdateSecretVersionStage": {"VersionStage": "x"},
    "secretsmanager:RotateSecret": TOKEN,
    "secretsmanager:PutResourcePolicy": {"ResourcePolicy": "{}"},
    "secretsmanager:ValidateResourcePolicy": {"ResourcePolicy": "{}"},
    "sns:AddPermission": {"Label": "l", "AWSAccountId": [OTHER], "ActionName": ["Publish"]},
    "sns:ConfirmSubscription": {"Token": "x"},
    "sns:Publish": {"Message": "m"},
    "sns:PublishBatch": {"PublishBatchRequestEntries": [{"Id": "a", "Message": "m"}]},
    "sns:RemovePermission": {"Label": "l"},
    "sns:SetSubscriptionAttributes": {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"},
    "sns:Subscribe": {"Protocol": "http", "Endpoint": "http://a.test/"},
    "sns:SetTopicAttributes": {"AttributeName": "DisplayName", "AttributeValue": "x"},
}
FILLED = {
    "tags": [{"key": "a", "value": "b"}], "tagKeys": ["a"], "Tags": [{"Key": "a", "Value": "b"}], "TagKeys": ["a"],
    "ActionNames": ["s3:GetObject"], "PolicyInputList": [],
    "VersionId": "v1", "PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": []}),
}  # fmt: skip
# What they change or show is authorised on the role or user that they name, not on the policy.
ON_ANOTHER = {
    "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:AttachGroupPolicy", "iam:DetachGroupPolicy", "iam:AttachUserPolicy", "iam:DetachUserPolicy",
    "logs:DescribeLogGroups",
    "sns:ConfirmSubscription",  # its token alone decides
    # Refused, or about nothing: policies are those of accounts.
    "logs:DeleteResourcePolicy", "logs:DescribeResourcePolicies", "logs:PutResourcePolicy",
}  # fmt: skip


def spellings(real: str) -> list[str]:
    parts = real.split(":", 5)

    def having(index: int, text: str) -> str:
        return ":".join([*parts[:index], text, *parts[index + 1 :]])

    odd = [having(1, partition) for partition in ("aws-cn", "aws-us-gov", "AWS", "aws-iso", "", "*")]
    odd += [having(3, region) for region in ("eu-west-1", "US-EAST-1", "*", "us-east-1 ") if parts[3] != region]
    odd += [having(4, account) for account in (OTHER, "", "*", "aws")]
    odd += [real.upper(), real.replace("spelt", "SPELT"), "ARN" + real[3:], having(2, parts[2].upper()), " " + real]
    odd += [real + end for end in ("\n", " ", ":", "/", ":*", "/x", ":x")]
    odd += [real.replace("rule/", "rule/default/")] if "rule/" in real else []
    odd += [having(5, "/" + parts[5]), having(5, "./" + parts[5]), real.replace("spelt", "sp%65lt"), having(5, "*")]
    return odd


@pytest.fixture(scope="module")
def mallory(live):
    iam, made = live.client("iam"), live.client("codecommit").create_repository(repositoryName="spelt")
    assert made["repositoryMetadata"]["Arn"] == REAL["codecommit", "resourceArn"]
    iam.create_role(RoleName="spelt", AssumeRolePolicyDocument=json.dumps(TRUST))
    allow = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    iam.put_role_policy(RoleName="spelt", PolicyName="p", PolicyDocument=json.dumps(allow))
    iam.create_policy(PolicyName="spelt", PolicyDocument=json.dumps(allow))
    live.client("codedeploy").create_application(applicationName="spelt")
    live.client("cloudwatch").put_metric_alarm(
        AlarmName="spelt", Namespace="x", MetricName="x", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    logs = live.client("logs")
    logs.create_log_group(logGroupName="/spelt")
    logs.create_log_stream(logGroupName="/spelt", logStreamName="s")
    role = f"arn:aws:iam::{ACCOUNT}:role/spelt"
    live.client("codebuild").create_project(
        name="spelt",
        source={"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases: {build: {commands: ['true']}}"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=role,
    )
    live.client("s3").create_bucket(Bucket="spelt-artifacts")
    live.client("s3").put_bucket_versioning(Bucket="spelt-artifacts", VersioningConfiguration={"Status": "Enabled"})

    def stage(name: str, provider: str, category: str, **more: Any) -> dict[str, Any]:
        type_ = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": name, "actions": [{"name": name, "actionTypeId": type_, **more}]}

    source = stage(
        "Source", "S3", "Source", outputArtifacts=[{"name": "o"}],
        configuration={"S3Bucket": "spelt-artifacts", "S3ObjectKey": "k", "PollForSourceChanges": "false"},
    )  # fmt: skip
    live.client("codepipeline").create_pipeline(
        pipeline={
            "name": "spelt", "roleArn": role, "artifactStore": {"type": "S3", "location": "spelt-artifacts"},
            "stages": [source, stage("Wait", "Manual", "Approval")],
        }
    )  # fmt: skip
    iam.create_user(UserName="spelt")
    iam.create_user(UserName="mallory")
    live.client("secretsmanager").create_secret(Name="spelt", SecretString="v")
    live.client("sns").create_topic(Name="spelt")
    live.client("events").put_rule(Name="spelt", EventPattern='{"source": ["x"]}')
    live.client("scheduler").create_schedule_group(Name="spelt")
    denied = [
        *REAL.values(),
        arn("secretsmanager", "secret:spelt-??????"),
        arn("logs", "log-group:/spelt:*"),
        "arn:aws:s3:::spelt-artifacts/*",
    ]
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": sorted(denied)},
        ],
    }
    iam.put_user_policy(UserName="mallory", PolicyName="p", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="mallory")["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def operations_on_arns(live) -> list[tuple[str, str, str]]:
    """(service, operation, member) of every registered operation that gets what it works on as an ARN."""
    found = []
    for operation in live.app.registry:
        model = live.app.services.get(operation.service).operation(operation.name)
        members = model.input.members if model.input is not None else {}
        named = [name for name in members if (operation.service, name) in REAL]
        arns = [name for name in members if name.lower().endswith("arn") and name not in named]
        label = f"{operation.service}:{operation.name}"
        assert not arns or label in HANDED_OVER, f"{label} takes {arns}: say here what it may name"
        found += [(operation.service, operation.name, name) for name in named]
    return found


def test_no_spelling_of_an_arn_gets_round_a_deny(live, mallory):
    clients = {service: live.client(service, keys=mallory, parameter_validation=False) for service, _ in REAL}
    asked = operations_on_arns(live)
    assert {(service, member) for service, _, member in asked} == set(REAL)
    for service, operation, member in asked:
        label = f"{service}:{operation}"
        if label in ("codebuild:CreateProject", "codebuild:UpdateProject"):
            continue  # names a new project, or needs all of its members
        client, real = clients[service], REAL[service, member]
        shape = client.meta.service_model.operation_model(operation).input_shape
        call = getattr(client, {name: method for method, name in client.meta.method_to_api_mapping.items()}[operation])
        filled = {name: FILLED[name] for name in shape.members if name in FILLED}
        if service == "codecommit" and "tags" in filled:
            filled["tags"] = {"a": "b"}
        filled |= MORE.get(label, {})
        filled = {name: value for name, value in filled.items() if value is not None}
        for text in [real, *spellings(real)]:
            given = [text] if shape.members[member].type_name == "list" else text
            try:
                answer = call(**filled | {member: given})
            except botocore.exceptions.ClientError as error:
                code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
                assert status < 500, (label, text, code)
                assert text != real or label in ON_ANOTHER or code in _DENIED, label
                continue
            answer.pop("ResponseMetadata")
            got = {name: value for name, value in answer.items() if "NotFound" not in name and value != text}
            assert label in ON_ANOTHER or not any(got.values()), (label, text, answer)
    tags = live.client("codedeploy").list_tags_for_resource(ResourceArn=REAL["codedeploy", "ResourceArn"])["Tags"]
    assert tags == []


def sign_for(context: dict[str, Any], region: str) -> None:
    context.setdefault("signing", {})["region"] = region


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1", "eu-west-3", "US-EAST-1", "aws-global"])
@pytest.mark.parametrize(
    ("service", "operation", "input"),
    [
        ("s3", "get_object", {"Bucket": "spelt-artifacts", "Key": "k"}),
        ("s3", "put_object", {"Bucket": "spelt-artifacts", "Key": "k", "Body": b"x"}),
        ("sts", "get_caller_identity", {}),
        ("iam", "list_users", {}),
        ("codepipeline", "list_pipelines", {}),
        ("logs", "describe_log_groups", {}),
    ],
)
def test_a_signature_for_a_region_that_is_not_configured_is_refused_by_every_service(
    live, mallory, region, service, operation, input
):
    session = botocore.session.get_session()
    config = botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    client = session.create_client(
        service, region_name="us-east-1", endpoint_url=live.url, config=config, **mallory
    )  # fmt: skip
    client.meta.events.register("choose-signer.*", lambda context, **_: sign_for(context, region))
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        getattr(client, operation)(**input)
    error = caught.value.response["Error"]
    assert error["Code"] in ("SignatureDoesNotMatch", "InvalidSignatureException")
    assert (
        f"The region '{region}' is not configured on this installation; configured are: us-east-1" in error["Message"]
    )


def test_iam_and_sts_take_their_global_region_and_nobody_else_does():
    configured = ("eu-central-1", "plant-7")
    assert region_of_call(configured, Scope.GLOBAL, "us-east-1") == "us-east-1"
    assert region_of_call(configured, Scope.GLOBAL, "plant-7") == "us-east-1"
    assert region_of_call(configured, Scope.BOTH, "us-east-1") == "us-east-1"
    assert region_of_call(configured, Scope.BOTH, "plant-7") == "plant-7"
    with pytest.raises(SignatureMismatch, match="'us-east-1' is not configured"):
        region_of_call(configured, Scope.REGIONAL, "us-east-1")


def test_an_installation_is_of_one_partition(live_factory):
    from penstock.app import RegionsUnusable

    with (
        pytest.raises(RegionsUnusable, match="us-east-1, cn-north-1 are of several partitions"),
        live_factory(regions=("cn-north-1",)),
    ):
        pass
