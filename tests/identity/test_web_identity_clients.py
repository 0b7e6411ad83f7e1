"""Clients that have a token of an issuer and nothing else: boto3 and the AWS CLI by themselves, and requests that attack."""

import http.client
import json
import os
import time
import urllib.parse

import boto3
import botocore.config
import botocore.exceptions
import pytest
from penstock_issuer import issuer_at
from penstock_live import live_server
from penstock_starter import AWS, run

from penstock.egress import EgressSettings

ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    with issuer_at(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def live(tmp_path_factory, issuer):
    chosen = EgressSettings(egress_networks=("127.0.0.0/8",), egress_ca_file=str(issuer.ca_file))
    with live_server(tmp_path_factory.mktemp("live") / "data", components=(chosen,)) as live:
        iam = live.client("iam")
        provider = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["sts.amazonaws.com"])
        statement = {
            "Effect": "Allow", "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer.provider}:sub": "somebody"}},
        }  # fmt: skip
        trust = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam.create_role(RoleName="ci", AssumeRolePolicyDocument=trust)
        may = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
        iam.put_role_policy(RoleName="ci", PolicyName="p", PolicyDocument=json.dumps(may))
        yield live


def unsigned(live):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, signature_version=botocore.UNSIGNED)
    return boto3.session.Session().client("sts", region_name="us-east-1", endpoint_url=live.url, config=config)


def test_boto3_gets_a_session_for_a_token(live, issuer):
    made = unsigned(live).assume_role_with_web_identity(
        RoleArn=ROLE, RoleSessionName="run-1", WebIdentityToken=issuer.token()
    )
    assert made["SubjectFromWebIdentityToken"] == "somebody"
    keys = {
        "aws_access_key_id": made["Credentials"]["AccessKeyId"],
        "aws_secret_access_key": made["Credentials"]["SecretAccessKey"],
        "aws_session_token": made["Credentials"]["SessionToken"],
    }
    said = live.client("sts", keys=keys).get_caller_identity()
    assert said["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/run-1"


def test_who_showed_a_token_is_on_record_and_the_token_is_not(live, issuer):
    token = issuer.token()
    made = unsigned(live).assume_role_with_web_identity(
        RoleArn=ROLE, RoleSessionName="recorded", WebIdentityToken=token
    )
    given = [{"AttributeKey": "EventName", "AttributeValue": "AssumeRoleWithWebIdentity"}]
    event = live.client("cloudtrail").lookup_events(LookupAttributes=given)["Events"][0]
    record = json.loads(event["CloudTrailEvent"])
    assert event["Username"] == "somebody"
    assert record["userIdentity"]["type"] == "WebIdentityUser"
    assert record["userIdentity"]["principalId"] == f"{made['Provider']}:{made['Audience']}:somebody"
    assert record["userIdentity"]["identityProvider"] == made["Provider"]
    assert record["responseElements"]["credentials"]["accessKeyId"] == made["Credentials"]["AccessKeyId"]
    assert record["resources"] == [{"ARN": ROLE}]
    for secret in (token, made["Credentials"]["SecretAccessKey"], made["Credentials"]["SessionToken"]):
        assert secret not in event["CloudTrailEvent"]


def test_the_cli_finds_its_way_from_a_file_with_a_token(live, issuer, tmp_path):
    (tmp_path / "token").write_text(issuer.token())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": live.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_ROLE_ARN": ROLE, "AWS_ROLE_SESSION_NAME": "by-cli",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "HOME": str(tmp_path),
    }  # fmt: skip
    done = run(AWS, "sts", "get-caller-identity", env=environment, timeout=90)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/by-cli"


def test_refusals_are_those_of_aws(live, issuer):
    sts = unsigned(live)
    for token, code, status in (
        (issuer.token(sub="other"), "AccessDenied", 403),
        (issuer.token(exp=1), "ExpiredTokenException", 400),
        (issuer.token(aud="x"), "InvalidIdentityToken", 400),
        (issuer.token() + "x", "InvalidIdentityToken", 400),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="run-1", WebIdentityToken=token)
        answer = caught.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
        assert token not in answer["Error"]["Message"]


@pytest.mark.parametrize("size", [20_001, 1 << 20, 2 << 20])
def test_a_token_that_is_too_long_is_refused_and_not_repeated(live, size):
    form = urllib.parse.urlencode(
        {
            "Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": "run-1",
            "WebIdentityToken": "e" * size,
        }
    )  # fmt: skip
    address = urllib.parse.urlsplit(live.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    try:
        connection.request("POST", "/", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        body = answer.read()
    except BrokenPipeError:  # answered before all of it was read
        return
    finally:
        connection.close()
    assert 400 <= answer.status < 500
    assert len(body) < 2000


def test_no_token_is_in_a_log(live, issuer):
    token = issuer.token(sub="other")
    with pytest.raises(botocore.exceptions.ClientError):
        unsigned(live).assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="run-1", WebIdentityToken=token)
    log = live.data_dir / "logs" / "strangers.jsonl"
    deadline = time.monotonic() + 60
    while "AssumeRoleWithWebIdentity" not in (text := log.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
    for file in log.parent.iterdir():
        assert token.rpartition(".")[2] not in file.read_text()
