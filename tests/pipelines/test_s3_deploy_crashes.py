"""kill -9 in the middle of a deployment to a bucket: the next server puts all of it, and the action ends once."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import botocore.exceptions
import pytest
from penstock_crashing import Crashing
from penstock_waiting import until
from penstock_zips import zip_archive, zip_entry

FILES = {f"f/{number:02}.txt": f"content {number}".encode() for number in range(40)}


def kind(category: str, provider: str) -> dict[str, str]:
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


def furnish(server: Crashing) -> None:
    iam, s3 = server.client("iam"), server.client("s3")
    trust = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    made = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName="pipeline", PolicyName="all", PolicyDocument=json.dumps({"Statement": [may]}))
    for bucket in ("in", "artifacts", "site"):
        s3.create_bucket(Bucket=f"the-{bucket}")
    s3.put_bucket_versioning(Bucket="the-in", VersioningConfiguration={"Status": "Enabled"})
    site = zip_archive(*(zip_entry(name.encode(), content) for name, content in FILES.items()))
    s3.put_object(Bucket="the-in", Key="site.zip", Body=site)
    source = {
        "name": "Fetch",
        "actionTypeId": kind("Source", "S3"),
        "configuration": {"S3Bucket": "the-in", "S3ObjectKey": "site.zip", "PollForSourceChanges": "false"},
        "outputArtifacts": [{"name": "Site"}],
    }
    deploy = {
        "name": "Put",
        "actionTypeId": kind("Deploy", "S3"),
        "configuration": {"BucketName": "the-site", "Extract": "true"},
        "inputArtifacts": [{"name": "Site"}],
    }
    with contextlib.suppress(botocore.exceptions.HTTPClientError):  # it may die before it answers
        server.client("codepipeline").create_pipeline(
            pipeline={
                "name": "site",
                "roleArn": made["Role"]["Arn"],
                "artifactStore": {"type": "S3", "location": "the-artifacts"},
                "stages": [{"name": "Source", "actions": [source]}, {"name": "Deploy", "actions": [deploy]}],
            }
        )


@pytest.mark.parametrize(
    "crash",
    [
        "objects.bytes_durable:10",
        "objects.object_committed:25",
        "pipelines.after_start:1",  # of the source
        "pipelines.after_start:2",  # of the deployment
        "pipelines.after_commit:2",
    ],
)
def test_a_deployment_survives_its_server(tmp_path: Path, crash: str) -> None:
    first = Crashing(tmp_path, crash)
    try:
        furnish(first)
        assert first.process.wait(60) != 0
    finally:
        first.end()
    second = Crashing(tmp_path)
    try:
        codepipeline, s3 = second.client("codepipeline"), second.client("s3")

        def ended() -> str | None:
            (run,) = codepipeline.list_pipeline_executions(pipelineName="site")["pipelineExecutionSummaries"]
            return None if run["status"] == "InProgress" else run["status"]

        assert until(ended, why=lambda: second.log.read_text()[-2_000:]) == "Succeeded"
        listed = codepipeline.list_action_executions(pipelineName="site")["actionExecutionDetails"]
        assert [one["actionName"] for one in listed] == ["Put", "Fetch"]
        found = s3.list_objects_v2(Bucket="the-site")["Contents"]
        got = {one["Key"]: s3.get_object(Bucket="the-site", Key=one["Key"])["Body"].read() for one in found}
        assert got == FILES
    finally:
        second.end()
