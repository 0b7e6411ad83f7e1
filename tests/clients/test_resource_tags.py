"""`aws:ResourceTag/…` of every service whose resources have tags: who may work on what is tagged so, and on nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

REGION, ACCOUNT = "us-east-1", "111111111111"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {
                    "Service": [f"{name}.amazonaws.com" for name in ("codepipeline", "codebuild", "codedeploy")]
                },
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


@dataclass(frozen=True)
class Case:
    """How a resource is made with a tag, tagged and read. Functions take a client and the resource's name."""

    service: str
    make: Callable[[Any, str, str], Any]
    read: Callable[[Any, str], Any]
    tag: Callable[[Any, str, str], Any]
    arn: str  # with {name}


def _upper(value: str) -> list[dict[str, str]]:
    return [{"Key": "Team", "Value": value}]


def _lower(value: str) -> list[dict[str, str]]:
    return [{"key": "Team", "value": value}]


def _pipeline(name: str, role: str) -> dict[str, Any]:
    source = {
        "name": "S",
        "actions": [
            {
                "name": "S",
                "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
                "configuration": {"S3Bucket": "tagged", "S3ObjectKey": "x.zip", "PollForSourceChanges": "false"},
                "outputArtifacts": [{"name": "out"}],
            }
        ],
    }
    approve = {
        "name": "A",
        "actions": [
            {
                "name": "A",
                "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
            }
        ],
    }
    store = {"type": "S3", "location": "tagged"}
    return {"name": name, "roleArn": role, "artifactStore": store, "stages": [source, approve]}


ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
ROLE = f"arn:aws:iam::{ACCOUNT}:role/tagged"


def _project(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        "serviceRole": ROLE,
    }


_ALARM = {
    "Namespace": "x", "MetricName": "x", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}  # fmt: skip

CASES = {
    "pipeline": Case(
        "codepipeline",
        lambda c, name, value: c.create_pipeline(pipeline=_pipeline(name, ROLE), tags=_lower(value)),
        lambda c, name: c.get_pipeline_state(name=name),
        lambda c, arn, value: c.tag_resource(resourceArn=arn, tags=_lower(value)),
        f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{{name}}",
    ),
    "stage of a pipeline": Case(
        "codepipeline",
        lambda c, name, value: c.create_pipeline(pipeline=_pipeline(name, ROLE), tags=_lower(value)),
        lambda c, name: c.disable_stage_transition(
            pipelineName=name, stageName="A", transitionType="Inbound", reason="test"
        ),
        lambda c, arn, value: c.tag_resource(resourceArn=arn, tags=_lower(value)),
        f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{{name}}",
    ),
    "project": Case(
        "codebuild",
        lambda c, name, value: c.create_project(**_project(name), tags=_lower(value)),
        lambda c, name: c.batch_get_projects(names=[name]),
        lambda c, arn, value: c.update_project(name=arn.rpartition("/")[2], tags=_lower(value)),
        f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{{name}}",
    ),
    "application": Case(
        "codedeploy",
        lambda c, name, value: c.create_application(applicationName=name, tags=_upper(value)),
        lambda c, name: c.get_application(applicationName=name),
        lambda c, arn, value: c.tag_resource(ResourceArn=arn, Tags=_upper(value)),
        f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:application:{{name}}",
    ),
    "deployment group": Case(
        "codedeploy",
        lambda c, name, value: (
            c.create_application(applicationName=name),
            c.create_deployment_group(
                applicationName=name, deploymentGroupName="g", serviceRoleArn=ROLE, tags=_upper(value)
            ),
        ),
        lambda c, name: c.get_deployment_group(applicationName=name, deploymentGroupName="g"),
        lambda c, arn, value: c.tag_resource(ResourceArn=arn, Tags=_upper(value)),
        f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:deploymentgroup:{{name}}/g",
    ),
    "repository": Case(
        "codecommit",
        lambda c, name, value: c.create_repository(repositoryName=name, tags={"Team": value}),
        lambda c, name: c.get_repository(repositoryName=name),
        lambda c, arn, value: c.tag_resource(resourceArn=arn, tags={"Team": value}),
        f"arn:aws:codecommit:{REGION}:{ACCOUNT}:{{name}}",
    ),
    "log group": Case(
        "logs",
        lambda c, name, value: c.create_log_group(logGroupName=name, tags={"Team": value}),
        lambda c, name: c.describe_log_streams(logGroupName=name),
        lambda c, arn, value: c.tag_resource(resourceArn=arn, tags={"Team": value}),
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}",
    ),
    "alarm": Case(
        "cloudwatch",
        lambda c, name, value: c.put_metric_alarm(AlarmName=name, **_ALARM, Tags=_upper(value)),
        lambda c, name: c.describe_alarms(AlarmNames=[name]),
        lambda c, arn, value: c.tag_resource(ResourceARN=arn, Tags=_upper(value)),
        f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}",
    ),
    "user": Case(
        "iam",
        lambda c, name, value: c.create_user(UserName=name, Path="/team/", Tags=_upper(value)),
        lambda c, name: c.get_user(UserName=name),
        lambda c, arn, value: c.tag_user(UserName=arn.rpartition("/")[2], Tags=_upper(value)),
        f"arn:aws:iam::{ACCOUNT}:user/team/{{name}}",
    ),
    "role": Case(
        "iam",
        lambda c, name, value: c.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=_upper(value)),
        lambda c, name: c.get_role(RoleName=name),
        lambda c, arn, value: c.tag_role(RoleName=arn.rpartition("/")[2], Tags=_upper(value)),
        f"arn:aws:iam::{ACCOUNT}:role/{{name}}",
    ),
    "instance profile": Case(
        "iam",
        lambda c, name, value: c.create_instance_profile(InstanceProfileName=name, Tags=_upper(value)),
        lambda c, name: c.get_instance_profile(InstanceProfileName=name),
        lambda c, arn, value: c.tag_instance_profile(InstanceProfileName=arn.rpartition("/")[2], Tags=_upper(value)),
        f"arn:aws:iam::{ACCOUNT}:instance-profile/{{name}}",
    ),
}


@pytest.fixture(scope="module")
def red(live) -> dict[str, str]:
    """The keys of a user who may do everything with what is tagged Team=red."""
    iam = live.client("iam")
    iam.create_user(UserName="red")
    condition = {"StringEquals": {"aws:ResourceTag/team": "red"}}
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="red", PolicyName="red", PolicyDocument=policy)
    iam.create_role(RoleName="tagged", AssumeRolePolicyDocument=TRUST)
    live.client("s3").create_bucket(Bucket="tagged")
    key = iam.create_access_key(UserName="red")["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def _refused(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(*arguments)
    return caught.value.response["Error"]["Code"]


@pytest.mark.parametrize("kind", CASES)
def test_a_policy_can_ask_for_the_tags_of_a_resource(live, red, kind):
    case = CASES[kind]
    by_admin, by_red = live.client(case.service), live.client(case.service, keys=red)
    name = f"t-{kind.replace(' ', '-')}"
    case.make(by_admin, f"{name}-red", "red")
    case.make(by_admin, f"{name}-blue", "blue")
    case.read(by_red, f"{name}-red")
    assert _refused(case.read, by_red, f"{name}-blue") in ("AccessDenied", "AccessDeniedException")
    assert _refused(case.read, by_red, f"{name}-none") in ("AccessDenied", "AccessDeniedException")
    # Tags count from the next call on.
    case.tag(by_admin, case.arn.format(name=f"{name}-blue"), "red")
    case.read(by_red, f"{name}-blue")
    case.tag(by_admin, case.arn.format(name=f"{name}-blue"), "green")
    assert _refused(case.read, by_red, f"{name}-blue") in ("AccessDenied", "AccessDeniedException")


def test_a_policy_of_iam_can_ask_by_the_older_name_too(live):
    iam = live.client("iam")
    iam.create_user(UserName="older")
    statement = {
        "Effect": "Allow",
        "Action": "iam:GetUser",
        "Resource": "*",
        "Condition": {"StringEquals": {"iam:ResourceTag/Team": "red"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="older", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="older")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    by = live.client("iam", keys=keys)
    for name, value in (("of-red", "red"), ("of-blue", "blue")):
        iam.create_user(UserName=name, Tags=_upper(value))
    assert by.get_user(UserName="of-red")["User"]["UserName"] == "of-red"
    assert _refused(lambda: by.get_user(UserName="of-blue")) == "AccessDenied"


@dataclass(frozen=True)
class Making:
    """A call that makes something and may give it tags, and the action that those need beside the call's own."""

    service: str
    operation: str
    input: dict[str, Any]
    tags: dict[str, Any]
    action: str


MAKING = [
    Making("iam", "create_user", {"UserName": "plain"}, {"Tags": _upper("red")}, "iam:TagUser"),
    Making("iam", "create_role", {"RoleName": "plain", "AssumeRolePolicyDocument": TRUST}, {"Tags": _upper("red")}, "iam:TagRole"),
    Making("iam", "create_policy", {"PolicyName": "plain", "PolicyDocument": ANYTHING}, {"Tags": _upper("red")}, "iam:TagPolicy"),
    Making("iam", "create_instance_profile", {"InstanceProfileName": "plain"}, {"Tags": _upper("red")}, "iam:TagInstanceProfile"),
    Making("iam", "create_open_id_connect_provider", {"Url": "https://plain.example", "ThumbprintList": ["0" * 40]}, {"Tags": _upper("red")}, "iam:TagOpenIDConnectProvider"),
    Making("kms", "create_key", {}, {"Tags": [{"TagKey": "Team", "TagValue": "red"}]}, "kms:TagResource"),
    Making("ssm", "put_parameter", {"Name": "plain", "Value": "v", "Type": "String"}, {"Tags": _upper("red")}, "ssm:AddTagsToResource"),
    Making("secretsmanager", "create_secret", {"Name": "plain", "SecretString": "s"}, {"Tags": _upper("red")}, "secretsmanager:TagResource"),
    Making("rolesanywhere", "create_profile", {"name": "plain", "roleArns": [ROLE]}, {"tags": _lower("red")}, "rolesanywhere:TagResource"),
    Making("cloudwatch", "put_metric_alarm", {"AlarmName": "plain", **_ALARM}, {"Tags": _upper("red")}, "cloudwatch:TagResource"),
    Making("s3", "put_object", {"Bucket": "tagged", "Key": "plain", "Body": b"x"}, {"Tagging": "Team=red"}, "s3:PutObjectTagging"),
    Making("s3", "create_multipart_upload", {"Bucket": "tagged", "Key": "plain"}, {"Tagging": "Team=red"}, "s3:PutObjectTagging"),
    Making("s3", "copy_object", {"Bucket": "tagged", "Key": "copy", "CopySource": "tagged/plain"}, {"Tagging": "Team=red", "TaggingDirective": "REPLACE"}, "s3:PutObjectTagging"),
]  # fmt: skip


def test_what_is_made_with_tags_needs_the_permission_to_tag(live, red):
    iam = live.client("iam")
    iam.create_user(UserName="untagging")
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": [*{making.action for making in MAKING}], "Resource": "*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="untagging", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="untagging")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    wrong = {}
    for making in MAKING:
        make = getattr(live.client(making.service, keys=keys), making.operation)
        try:
            make(**making.input, **making.tags)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException"):
                wrong[making.operation] = str(error)
        else:
            wrong[making.operation] = f"{making.action} was not asked for"
        make(**making.input)  # without tags it may
    assert wrong == {}
