"""Whoever may do everything but use a key reads nothing that is under it, by whatever way; and whom the key lets reads it by all of them."""

import base64
import hashlib
import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from penstock_builder import Builder

CANARY = "canary-5b1c0f7e"
SHA256 = base64.b64encode(hashlib.sha256(CANARY.encode()).digest()).decode()
OBJECT = {"Bucket": "kept", "Key": "a"}
SOURCE = {"Bucket": "kept", "CopySource": "kept/a"}


@pytest.fixture(scope="module")
def clients(live):
    """Clients of the owner and of the reader, by service: `clients[who](service)`."""
    iam = live.client("iam")
    iam.create_user(UserName="reads-all")
    may = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    iam.put_user_policy(UserName="reads-all", PolicyName="all", PolicyDocument=json.dumps(may))
    made = iam.create_access_key(UserName="reads-all")["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    return {"owner": live.client, "reader": lambda service: live.client(service, keys=keys)}


@pytest.fixture(scope="module")
def kept(live):
    """Something of each kind under a key that is for its owner alone."""
    owner = live.client("sts").get_caller_identity()["Arn"]
    mine = {"Effect": "Allow", "Principal": {"AWS": owner}, "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [mine]})
    key = live.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"]
    s3, ssm = live.client("s3"), live.client("ssm")
    s3.create_bucket(Bucket="kept")
    under = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    s3.put_object(**OBJECT, **under, Body=CANARY.encode(), ChecksumAlgorithm="SHA256")
    for tier in ("Standard", "Advanced"):
        ssm.put_parameter(Name=f"/kept/{tier}", Value=CANARY, Type="SecureString", KeyId=key, Tier=tier)
    live.client("secretsmanager").create_secret(Name="kept", SecretString=CANARY, KmsKeyId=key)
    live.client("logs").create_log_group(logGroupName="for-builds")
    return key


def body(answer):
    return answer["Body"].read().decode()


def presigned(client):
    with urllib.request.urlopen(client("s3").generate_presigned_url("get_object", Params=OBJECT)) as answer:
        return answer.read().decode()


def copied(client):
    client("s3").copy_object(**SOURCE, Key="copy")
    return body(client("s3").get_object(Bucket="kept", Key="copy"))


def copied_part(client):
    s3, at = client("s3"), {"Bucket": "kept", "Key": "part"}
    at["UploadId"] = s3.create_multipart_upload(**at)["UploadId"]
    part = s3.upload_part_copy(**at, PartNumber=1, CopySource="kept/a")["CopyPartResult"]
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    return body(s3.get_object(Bucket="kept", Key="part"))


def deciphered(client):
    ciphertext = base64.b64decode(client("ssm").get_parameter(Name="/kept/Standard")["Parameter"]["Value"])
    context = {"PARAMETER_ARN": "arn:aws:ssm:us-east-1:111111111111:parameter/kept/Standard"}
    return client("kms").decrypt(CiphertextBlob=ciphertext, EncryptionContext=context)["Plaintext"].decode()


WAYS = {
    "GetObject": lambda client: body(client("s3").get_object(**OBJECT)),
    "a range": lambda client: body(client("s3").get_object(**OBJECT, Range="bytes=0-")),
    "a presigned URL": presigned,
    "CopyObject": copied,
    "UploadPartCopy": copied_part,
    "HeadObject": lambda client: client("s3").head_object(**OBJECT, ChecksumMode="ENABLED")["ChecksumSHA256"],
    "GetObjectAttributes": lambda client: str(
        client("s3").get_object_attributes(**OBJECT, ObjectAttributes=["Checksum"])
    ),
    "GetObjectDigest": lambda client: client("penstock").get_object_digest(bucketName="kept", objectKey="a")["sha256"],
    "GetParameter": lambda client: str(client("ssm").get_parameter(Name="/kept/Advanced", WithDecryption=True)),
    "GetParameters": lambda client: str(client("ssm").get_parameters(Names=["/kept/Standard"], WithDecryption=True)),
    "GetParametersByPath": lambda client: str(client("ssm").get_parameters_by_path(Path="/kept", WithDecryption=True)),
    "GetParameterHistory": lambda client: str(
        client("ssm").get_parameter_history(Name="/kept/Standard", WithDecryption=True)
    ),
    "Decrypt": deciphered,
    "GetSecretValue": lambda client: str(client("secretsmanager").get_secret_value(SecretId="kept")),
    "BatchGetSecretValue": lambda client: str(client("secretsmanager").batch_get_secret_value(SecretIdList=["kept"])),
    "a secret as a parameter": lambda client: str(
        client("ssm").get_parameter(Name="/aws/reference/secretsmanager/kept", WithDecryption=True)
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_asks_the_key(clients, kept, way):
    shown = CANARY, SHA256, base64.b64decode(SHA256).hex()
    try:
        found = WAYS[way](clients["reader"])
    except (ClientError, urllib.error.HTTPError) as refused:
        found = refused.read().decode() if isinstance(refused, urllib.error.HTTPError) else str(refused.response)
    assert "AccessDenied" in found or (way == "HeadObject" and "Forbidden" in found)  # which answers no body
    assert not any(one in found for one in shown)
    assert any(one in WAYS[way](clients["owner"]) for one in shown)


def test_a_build_whose_role_the_key_does_not_let_gets_nothing(live, kept):
    builder = Builder(live)
    role = builder.make_role("*")
    variables = [{"name": "V", "value": "kept", "type": "SECRETS_MANAGER"}]
    environment = {
        "type": "LINUX_CONTAINER",
        "image": "aws/codebuild/standard:7.0",
        "computeType": "BUILD_GENERAL1_SMALL",
    }
    for more in (
        {"source": {"type": "S3", "location": "kept/a"}},
        {"environment": {**environment, "environmentVariables": variables}},
    ):
        spec = 'version: 0.2\nphases: {build: {commands: ["echo $V; cat *"]}}'
        build = builder.run(builder.project(spec, serviceRole=role, **more))
        assert build["buildStatus"] == "FAILED"
        said = json.dumps(build, default=str) + "".join(builder.log(build["id"]))
        assert "AccessDenied" in said or "not authorized" in said
        assert CANARY not in said


def test_nothing_of_it_is_on_record(live, clients, kept):
    found = live.client("cloudtrail").get_paginator("lookup_events").paginate()
    assert all(CANARY not in str(page) for page in found)
    for file in (path for path in live.data_dir.rglob("*") if path.is_file()):
        assert CANARY.encode() not in file.read_bytes(), file
