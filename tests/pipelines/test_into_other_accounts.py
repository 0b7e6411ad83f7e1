"""Actions that start a pipeline or write to a bucket of another account, with what both accounts have to allow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from penstock_live import Live, live_server
from penstock_waiting import until
from penstock_zips import zip_archive, zip_entry

FIRST, SECOND = "111111111111", "222222222222"


class Second(Live):
    """The server with the keys of the second account's administrator."""

    second: dict[str, str]

    def keys(self) -> dict[str, str]:
        return self.second


def allowed(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]})


def role(live: Live, name: str, principal: dict[str, str], actions: str | list[str]) -> str:
    iam = live.client("iam")
    trust = allowed({"Principal": principal, "Action": "sts:AssumeRole"})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=allowed({"Action": actions, "Resource": "*"}))
    return arn


def kind(category: str, provider: str) -> dict[str, str]:
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


def create(live: Live, name: str, role: str, store: str, *actions: dict[str, Any]) -> None:
    source = {
        "name": "Fetch",
        "actionTypeId": kind("Source", "S3"),
        "configuration": {"S3Bucket": store, "S3ObjectKey": "site.zip", "PollForSourceChanges": "false"},
        "outputArtifacts": [{"name": "Site"}],
    }
    live.client("codepipeline").create_pipeline(
        pipeline={
            "name": name,
            "roleArn": role,
            "pipelineType": "V2",
            "artifactStore": {"type": "S3", "location": store},
            "stages": [{"name": "Source", "actions": [source]}, {"name": "Do", "actions": list(actions)}],
        }
    )


def the_action(live: Live, pipeline: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        listed = live.client("codepipeline").list_action_executions(pipelineName=pipeline)["actionExecutionDetails"]
        return next((one for one in listed if one["stageName"] == "Do" and one["status"] != "InProgress"), None)

    return until(found)


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory):
    with live_server(tmp_path_factory.mktemp("accounts") / "data") as first:
        made = first.client("penstock").create_account(accountId=SECOND)
        second = Second(first.running_app, first.loop, first.data_dir)
        second.second = {
            "aws_access_key_id": made["accessKeyId"],
            "aws_secret_access_key": made["secretAccessKey"],
        }
        for live, store in ((first, "first-store"), (second, "second-store")):
            s3 = live.client("s3")
            s3.create_bucket(Bucket=store)
            s3.put_bucket_versioning(Bucket=store, VersioningConfiguration={"Status": "Enabled"})
            site = zip_archive(zip_entry(b"index.html", b"<h1>"))
            s3.put_object(Bucket=store, Key="site.zip", Body=site)
            role(live, "pipeline", {"Service": "codepipeline.amazonaws.com"}, "*")
        yield first, second


def test_a_pipeline_of_the_account_of_the_role_is_started(accounts: tuple[Live, Second]) -> None:
    first, second = accounts
    asks = {"name": "Ask", "actionTypeId": kind("Approval", "Manual")}
    create(second, "theirs", f"arn:aws:iam::{SECOND}:role/pipeline", "second-store", asks)
    ours = f"arn:aws:iam::{FIRST}:role/pipeline"
    starts = role(second, "starts", {"AWS": ours}, "codepipeline:StartPipelineExecution")
    invoke = {
        "name": "Go",
        "actionTypeId": kind("Invoke", "CodePipeline"),
        "configuration": {"PipelineName": "theirs"},
        "roleArn": starts,
    }
    create(first, "ours", ours, "first-store", invoke)
    action = the_action(first, "ours")
    runs = second.client("codepipeline").list_pipeline_executions(pipelineName="theirs")["pipelineExecutionSummaries"]
    assert action["output"]["executionResult"]["externalExecutionId"] == runs[0]["pipelineExecutionId"]
    assert runs[0]["trigger"] == {
        "triggerType": "StartPipelineExecution",
        "triggerDetail": f"arn:aws:sts::{SECOND}:assumed-role/starts/{action['actionExecutionId']}",
    }
    waits = {**invoke, "configuration": {"PipelineName": "theirs", "WaitForCompletion": "true"}}
    create(first, "may-not-look", ours, "first-store", waits)
    error = the_action(first, "may-not-look")["output"]["executionResult"]["errorDetails"]
    assert (error["code"], "codepipeline:GetPipelineExecution" in error["message"]) == ("PermissionError", True)


def test_a_bucket_of_another_account_is_written_to_by_its_policy(accounts: tuple[Live, Second]) -> None:
    first, second = accounts
    theirs, ours = second.client("s3"), f"arn:aws:iam::{FIRST}:role/pipeline"
    theirs.create_bucket(Bucket="their-site")
    put = {
        "name": "Put",
        "actionTypeId": kind("Deploy", "S3"),
        "configuration": {"BucketName": "their-site", "Extract": "true", "CannedACL": "bucket-owner-full-control"},
        "inputArtifacts": [{"name": "Site"}],
    }
    create(first, "refused", ours, "first-store", put)
    error = the_action(first, "refused")["output"]["executionResult"]["errorDetails"]
    assert error["code"] == "PermissionError"
    assert "index.html" in error["message"]
    assert "Contents" not in theirs.list_objects_v2(Bucket="their-site")
    resource = "arn:aws:s3:::their-site/*"
    policy = allowed({"Principal": {"AWS": ours}, "Action": ["s3:PutObject", "s3:PutObjectAcl"], "Resource": resource})
    theirs.put_bucket_policy(Bucket="their-site", Policy=policy)
    create(first, "let-in", ours, "first-store", put)
    assert the_action(first, "let-in")["status"] == "Succeeded"
    assert theirs.get_object(Bucket="their-site", Key="index.html")["Body"].read() == b"<h1>"
