"""Secrets Manager with boto3 and the AWS CLI against a live server, and the calls that Terraform makes."""

import json

import pytest
from botocore.exceptions import ClientError
from penstock_waiting import until


@pytest.fixture(scope="module")
def secrets(live):
    return live.client("secretsmanager")


def test_a_round_with_boto3_and_the_command_line(live, secrets):
    made = secrets.create_secret(Name="round/a", SecretBinary=b"\x00\xff")
    read = secrets.get_secret_value(SecretId="round/a")
    assert (read["SecretBinary"], read["VersionStages"], "SecretString" in read) == (b"\x00\xff", ["AWSCURRENT"], False)
    again = live.aws("secretsmanager", "put-secret-value", "--secret-id", made["ARN"], "--secret-string", "hush")
    assert again["VersionStages"] == ["AWSCURRENT"]
    shown = live.aws("secretsmanager", "get-secret-value", "--secret-id", "round/a")
    assert (shown["SecretString"], shown["VersionId"]) == ("hush", again["VersionId"])
    secrets.create_secret(Name="round/b")
    pages = secrets.get_paginator("list_secrets").paginate(
        Filters=[{"Key": "name", "Values": ["round/"]}], PaginationConfig={"PageSize": 1}
    )
    assert [one["Name"] for page in pages for one in page["SecretList"]] == ["round/b", "round/a"]
    with pytest.raises(secrets.exceptions.ResourceNotFoundException) as caught:
        secrets.get_secret_value(SecretId="round/c")
    assert caught.value.response["Error"]["Message"] == "Secrets Manager can't find the specified secret."
    assert caught.value.response["Message"] == caught.value.response["Error"]["Message"]  # as the model spells it
    with pytest.raises(ClientError) as refused:
        secrets.rotate_secret(SecretId="round/a")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert len(secrets.get_random_password(PasswordLength=20)["RandomPassword"]) == 20


def test_terraform_makes_reads_and_deletes_a_secret(secrets):
    """The calls of aws_secretsmanager_secret, _version and _policy in the provider's order: a plan after an apply finds nothing to do."""
    tags = [{"Key": "team", "Value": "red"}]
    arn = secrets.create_secret(Name="tf/a", Description="", Tags=tags, ForceOverwriteReplicaSecret=False)["ARN"]
    described = secrets.describe_secret(SecretId=arn)
    assert (described["Name"], described["Tags"], "KmsKeyId" in described) == ("tf/a", tags, False)
    assert {"RotationEnabled", "VersionIdsToStages", "DeletedDate"}.isdisjoint(described)
    assert "ResourcePolicy" not in secrets.get_resource_policy(SecretId=arn)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:DeleteSecret", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalAccount": "222222222222"}}}]})  # fmt: skip
    secrets.put_resource_policy(SecretId=arn, ResourcePolicy=policy, BlockPublicPolicy=True)
    assert secrets.get_resource_policy(SecretId=arn)["ResourcePolicy"] == policy
    version = secrets.put_secret_value(SecretId=arn, SecretString="1")["VersionId"]
    found = secrets.get_secret_value(SecretId=arn, VersionId=version)
    assert (found["SecretString"], found["VersionStages"]) == ("1", ["AWSCURRENT"])
    secrets.update_secret(SecretId=arn, Description="changed", KmsKeyId="")
    secrets.untag_resource(SecretId=arn, TagKeys=["team"])
    secrets.tag_resource(SecretId=arn, Tags=[{"Key": "team", "Value": "blue"}])
    described = secrets.describe_secret(SecretId=arn)
    assert (described["Description"], described["Tags"]) == ("changed", [{"Key": "team", "Value": "blue"}])
    later = secrets.put_secret_value(SecretId=arn, SecretString="2")["VersionId"]
    secrets.update_secret_version_stage(SecretId=arn, VersionStage="AWSPREVIOUS", RemoveFromVersionId=version)
    assert secrets.describe_secret(SecretId=arn)["VersionIdsToStages"] == {later: ["AWSCURRENT"]}
    secrets.delete_resource_policy(SecretId=arn)
    secrets.delete_secret(SecretId=arn, RecoveryWindowInDays=30)
    assert "DeletedDate" in secrets.describe_secret(SecretId=arn)
    with pytest.raises(ClientError, match="scheduled for deletion"):
        secrets.create_secret(Name="tf/a")
    secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.describe_secret(SecretId=arn)
    assert secrets.create_secret(Name="tf/a")["ARN"] != arn


def test_no_value_stands_in_a_file_of_the_server(live, secrets):
    hushed = "hush-0c6f2c1c-secret"
    secrets.create_secret(Name="canary", SecretString=hushed)
    secrets.put_secret_value(SecretId="canary", SecretBinary=hushed.encode())
    assert secrets.get_secret_value(SecretId="canary")["SecretBinary"] == hushed.encode()
    assert secrets.batch_get_secret_value(SecretIdList=["canary"])["SecretValues"]
    with pytest.raises(ClientError):
        secrets.create_secret(Name="canary", SecretString=hushed)
    password = secrets.get_random_password()["RandomPassword"]
    until(lambda: "GetRandomPassword" in (live.data_dir / "logs" / "requests.jsonl").read_text())
    for file in (path for path in live.data_dir.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert hushed.encode() not in content, file
        assert password.encode() not in content, file
