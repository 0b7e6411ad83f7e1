"""Parameter Store and Secrets Manager with boto3 and the AWS CLI against a live server, and the calls that Terraform makes."""

import asyncio
import importlib.util
import json
import shlex
import sys
from pathlib import Path

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError
from penstock_live import live_server
from penstock_waiting import until

from penstock.cli import parameters
from penstock.cli.main import parser_of
from penstock.secrets import command
from penstock.secrets.settings import SecretSettings

ROTATION = Path(__file__).resolve().parents[2] / "examples" / "secret-rotation"
FUNCTION = "arn:aws:lambda:us-east-1:111111111111:function:rotate-postgresql"


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    words = shlex.join([sys.executable, str(ROTATION / "rotate_postgresql.py")])
    chosen = SecretSettings(rotation_commands=(f"rotate-postgresql={words}",))
    with live_server(tmp_path_factory.mktemp("live") / "data", components=(chosen,)) as server:
        yield server


@pytest.fixture(scope="module")
def ssm(live):
    return live.client("ssm")


def test_a_round_with_parameters(ssm):
    ssm.put_parameter(Name="/round/a", Value="1", Type="String")
    ssm.put_parameter(Name="/round/b", Value="x,y", Type="StringList")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/round", PaginationConfig={"PageSize": 1})
    assert [one["Value"] for page in pages for one in page["Parameters"]] == ["1", "x,y"]
    with pytest.raises(ssm.exceptions.ParameterNotFound) as caught:
        ssm.get_parameter(Name="/round/c")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError) as refused:
        ssm.describe_instance_information()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_parameters_on_the_command_line(live):
    made = live.aws("ssm", "put-parameter", "--name", "/cli/s", "--value", "hush", "--type", "SecureString")
    assert made == {"Version": 1, "Tier": "Standard"}
    read = live.aws("ssm", "get-parameter", "--name", "/cli/s", "--with-decryption")
    assert read["Parameter"]["Value"] == "hush"


@pytest.mark.parametrize("kind", ["String", "SecureString"])
def test_terraform_makes_reads_and_deletes_a_parameter(ssm, kind):
    """The calls of aws_ssm_parameter, in the provider's order: a plan after an apply finds nothing to do."""
    name, tags = f"/tf/{kind}", [{"Key": "team", "Value": "red"}]
    ssm.put_parameter(Name=name, Value="1", Type=kind, AllowedPattern="", Tags=tags, Overwrite=False)
    found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Type"], found["Version"]) == ("1", kind, 1)
    where = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    (described,) = ssm.describe_parameters(ParameterFilters=where)["Parameters"]
    assert (described["Tier"], described["DataType"]) == ("Standard", "text")
    assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"] == tags
    ssm.put_parameter(Name=name, Value="2", Type=kind, AllowedPattern="", Overwrite=True, Tier="Standard")
    assert ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "2"
    ssm.delete_parameter(Name=name)
    assert ssm.describe_parameters(ParameterFilters=where)["Parameters"] == []


def test_the_operators_command_for_public_parameters(live, ssm, monkeypatch, capsys):
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def typed(*arguments):
        options = parser_of("parameters").parse_args([*arguments, "--data-dir", str(live.data_dir)])
        return parameters.run(options), "".join(capsys.readouterr())

    assert typed("list")[1].startswith("There is no public parameter.")
    arn = "arn:aws:ssm:us-east-1::parameter/aws/service/shop/image"
    assert typed("put", "/aws/service/shop/image", "v1", "--description", "d") == (0, f"{arn} has version 1\n")
    assert typed("put", "/aws/service/shop/image", "v2") == (0, f"{arn} has version 2\n")
    assert typed("list") == (0, "/aws/service/shop/image  version 2  v2\n")
    assert ssm.get_parameter(Name=arn)["Parameter"]["Value"] == "v2"
    code, said = typed("put", "/shop/image", "v")
    assert (code, "begin with /aws/service/" in said) == (1, True)
    assert typed("delete", "/aws/service/shop/image") == (0, "/aws/service/shop/image is gone\n")
    assert typed("list")[1].startswith("There is no public parameter.")


@pytest.fixture(scope="module")
def secrets(live):
    return live.client("secretsmanager")


def test_a_round_with_secrets(live, secrets):
    made = secrets.create_secret(Name="round/a", SecretBinary=b"\x00\xff")
    read = secrets.get_secret_value(SecretId="round/a")
    assert (read["SecretBinary"], read["VersionStages"], "SecretString" in read) == (b"\x00\xff", ["AWSCURRENT"], False)
    again = live.aws("secretsmanager", "put-secret-value", "--secret-id", made["ARN"], "--secret-string", "hush")
    assert again["VersionStages"] == ["AWSCURRENT"]
    shown = secrets.get_secret_value(SecretId="round/a")
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
        secrets.replicate_secret_to_regions(SecretId="round/a", AddReplicaRegions=[{"Region": "eu-west-1"}])
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


@pytest.fixture
def rotated_user(postgresql):
    """A user of PostgreSQL who has to show a password."""
    rules = postgresql.data / "pg_hba.conf"
    trusting = rules.read_text()
    rules.write_text(f"host all rotated 127.0.0.1/32 scram-sha-256\n{trusting}")
    postgresql.sql("CREATE ROLE rotated LOGIN PASSWORD 'the first one'")
    postgresql.sql("SELECT pg_reload_conf()")
    where = {"host": "127.0.0.1", "port": postgresql.port, "dbname": "postgres"}
    until(lambda: not signs_in({**where, "username": "rotated", "password": "wrong"}))
    yield {**where, "username": "rotated", "password": "the first one"}
    rules.write_text(trusting)
    postgresql.sql("SELECT pg_reload_conf()")
    postgresql.sql("DROP ROLE rotated")


def signs_in(value):
    try:
        psycopg.connect(
            host=value["host"],
            port=value["port"],
            dbname=value["dbname"],
            user=value["username"],
            password=value["password"],
        ).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs the example as AWS Lambda runs it, in this process: importing boto3 four times would take seconds."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    example = importlib.util.spec_from_file_location("rotate_postgresql", ROTATION / "rotate_postgresql.py")
    module = importlib.util.module_from_spec(example)
    example.loader.exec_module(module)

    async def run(_words, event, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        await asyncio.to_thread(module.lambda_handler, event, None)
        return command.Ended("", "")

    return lambda: monkeypatch.setattr(command, "run", run)


def test_the_example_rotates_the_password_of_a_postgresql_user(live, rotated_user, in_this_process):
    """As the how-to page does it; with it the calls of aws_secretsmanager_secret_rotation, in the provider's order."""
    iam, secrets = live.client("iam"), live.client("secretsmanager")
    iam.create_role(RoleName="rotate-postgresql", AssumeRolePolicyDocument=(ROTATION / "trust.json").read_text())
    iam.put_role_policy(
        RoleName="rotate-postgresql", PolicyName="rotate", PolicyDocument=(ROTATION / "permissions.json").read_text()
    )
    arn = secrets.create_secret(Name="shop/db", SecretString=json.dumps(rotated_user))["ARN"]
    rules = {"ScheduleExpression": "cron(0 3 ? * SUN *)", "Duration": "2h"}
    asked = {"SecretId": arn, "RotationLambdaARN": FUNCTION, "RotationRules": rules}
    secrets.rotate_secret(**asked, RotateImmediately=False)
    until(lambda: recorded(live, "TestRotationSucceeded"))  # the command itself has run testSecret
    in_this_process()
    version = secrets.rotate_secret(**asked, RotateImmediately=True)["VersionId"]

    def rotated():
        told = secrets.describe_secret(SecretId=arn)
        return "LastRotatedDate" in told and told

    told = until(rotated)
    assert (told["RotationEnabled"], told["RotationLambdaARN"]) == (True, FUNCTION)
    assert rules.items() <= told["RotationRules"].items()
    assert told["VersionIdsToStages"][version] == ["AWSCURRENT"]
    value = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    assert value["password"] != "the first one"
    assert signs_in(value)
    assert not signs_in(rotated_user)
    (record,) = until(lambda: recorded(live, "RotationSucceeded"))
    record = json.loads(record["CloudTrailEvent"])
    assert (record["eventType"], record["additionalEventData"]["SecretId"]) == ("AwsServiceEvent", arn)
    secrets.cancel_rotate_secret(SecretId=arn)
    assert secrets.describe_secret(SecretId=arn)["RotationEnabled"] is False


def recorded(live, name):
    named = [{"AttributeKey": "EventName", "AttributeValue": name}]
    return live.client("cloudtrail").lookup_events(LookupAttributes=named)["Events"]
