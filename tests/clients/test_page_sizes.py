"""A list that fits into its page has no next one; one that does not continues where it ended."""

from __future__ import annotations

from typing import Any

import pytest
from penstock_live import Live, live  # noqa: F401 - the fixture
from penstock_waiting import until

from penstock.wire.pages import Pages

ROLE = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"codepipeline.amazonaws.com"},"Action":"sts:AssumeRole"}}'
DENY = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}'
NAMES = ("p-1", "p-2", "p-3")


@pytest.fixture(scope="module")
def three(live: Live) -> Live:  # noqa: F811
    """Three of everything that is listed."""
    logs, s3, iam = live.client("logs"), live.client("s3"), live.client("iam")
    s3.create_bucket(Bucket="p-1")
    uploads = s3.create_multipart_upload(Bucket="p-1", Key="parts")
    for number, name in enumerate(NAMES, start=1):
        logs.create_log_group(logGroupName=f"/pages/{name}")
        logs.create_log_stream(logGroupName="/pages/p-1" if number > 1 else f"/pages/{name}", logStreamName=name)
        s3.put_object(Bucket="p-1", Key=name, Body=b"x")
        if number > 1:
            s3.create_bucket(Bucket=name)
        s3.upload_part(Bucket="p-1", Key="parts", UploadId=uploads["UploadId"], PartNumber=number, Body=bytes(5 << 20))
        s3.create_multipart_upload(Bucket="p-2" if number > 1 else "p-1", Key=f"upload-{number}")
        iam.create_user(UserName=name, Path="/pages/")
        iam.create_role(RoleName=name, Path="/pages/", AssumeRolePolicyDocument=ROLE)
        iam.create_policy(
            PolicyName=name,
            Path="/pages/",
            PolicyDocument=DENY,
        )
    s3.create_multipart_upload(Bucket="p-2", Key="upload-1")
    live.upload = uploads["UploadId"]  # type: ignore[attr-defined]
    return live


# service, operation, input, the member with the page's size, the one with the list, the one that leads on, and where it is given back
LISTS: list[tuple[str, str, dict[str, Any], str, str, str, str]] = [
    ("logs", "describe_log_groups", {"logGroupNamePrefix": "/pages/"}, "limit", "logGroups", "nextToken", "nextToken"),
    ("logs", "describe_log_streams", {"logGroupName": "/pages/p-1"}, "limit", "logStreams", "nextToken", "nextToken"),
    ("s3", "list_objects_v2", {"Bucket": "p-1"}, "MaxKeys", "Contents", "NextContinuationToken", "ContinuationToken"),
    ("s3", "list_objects", {"Bucket": "p-1", "Delimiter": "/"}, "MaxKeys", "Contents", "NextMarker", "Marker"),
    ("s3", "list_object_versions", {"Bucket": "p-1"}, "MaxKeys", "Versions", "NextKeyMarker", "KeyMarker"),
    ("s3", "list_buckets", {"Prefix": "p-"}, "MaxBuckets", "Buckets", "ContinuationToken", "ContinuationToken"),
    ("s3", "list_parts", {"Bucket": "p-1", "Key": "parts"}, "MaxParts", "Parts", "NextPartNumberMarker", "PartNumberMarker"),
    ("s3", "list_multipart_uploads", {"Bucket": "p-2"}, "MaxUploads", "Uploads", "NextKeyMarker", "KeyMarker"),
    ("iam", "list_users", {"PathPrefix": "/pages/"}, "MaxItems", "Users", "Marker", "Marker"),
    ("iam", "list_roles", {"PathPrefix": "/pages/"}, "MaxItems", "Roles", "Marker", "Marker"),
    ("iam", "list_policies", {"Scope": "Local", "PathPrefix": "/pages/"}, "MaxItems", "Policies", "Marker", "Marker"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "operation", "input", "size", "list_", "next_", "back"), LISTS, ids=[row[1] for row in LISTS]
)
def test_a_page_of_exactly_so_many_is_the_last(three, service, operation, input, size, list_, next_, back):
    call = getattr(three.client(service), operation)
    given = input | ({"UploadId": three.upload} if operation == "list_parts" else {})
    for large in (3, 4):
        page = call(**given, **{size: large})
        assert len(page[list_]) == 3
        assert not page.get("IsTruncated")
        if "IsTruncated" not in page:  # S3 repeats the last marker, whether or not there is more
            assert next_ not in page
    first = call(**given, **{size: 2})
    assert len(first[list_]) == 2
    assert first.get("IsTruncated", True) is True
    rest = call(**given, **{size: 2, back: first[next_]})
    assert len(rest[list_]) == 1
    assert not rest.get("IsTruncated")
    assert [str(item) for item in first[list_] + rest[list_]] == [str(item) for item in page[list_]]


TRUST = ROLE.replace("codepipeline.amazonaws.com", "SERVICE.amazonaws.com")


@pytest.fixture(scope="module")
def lists(live: Live) -> Live:  # noqa: F811
    """Three or more of everything that is listed in pages of a size of ours."""
    iam, s3 = live.client("iam"), live.client("s3")
    roles = {}
    for service in ("codepipeline", "codedeploy", "codebuild"):
        name = f"lists-{service}"
        trust = TRUST.replace("SERVICE", service)
        roles[service] = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    s3.create_bucket(Bucket="lists")
    deploy, build, pipelines = live.client("codedeploy"), live.client("codebuild"), live.client("codepipeline")
    deploy.create_application(applicationName="shop")
    for name in ("l-1", "l-2", "l-3"):
        user = iam.create_user(UserName=name)["User"]["Arn"]
        deploy.create_application(applicationName=name)
        deploy.create_deployment_config(
            deploymentConfigName=name, minimumHealthyHosts={"type": "HOST_COUNT", "value": 1}
        )
        deploy.register_on_premises_instance(instanceName=name, iamUserArn=user)
        deploy.create_deployment_group(
            applicationName="shop", deploymentGroupName=name, serviceRoleArn=roles["codedeploy"]
        )
        revision = {"revisionType": "S3", "s3Location": {"bucket": "lists", "key": name, "bundleType": "zip"}}
        deploy.register_application_revision(applicationName="shop", revision=revision)
        deploy.create_deployment(applicationName="shop", deploymentGroupName=name, revision=revision)
        build.create_project(
            name=name, source={"type": "NO_SOURCE", "buildspec": "version: 0.2"}, artifacts={"type": "NO_ARTIFACTS"},
            environment={"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"},
            serviceRole=roles["codebuild"],
        )  # fmt: skip
        live.client("codecommit").create_repository(repositoryName=name)
        source = {
            "name": "Pull", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
            "configuration": {"S3Bucket": "lists", "S3ObjectKey": "none", "PollForSourceChanges": "false"},
            "outputArtifacts": [{"name": "App"}],
        }  # fmt: skip
        ask = {
            "name": "Ask",
            "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
        }
        pipelines.create_pipeline(
            pipeline={
                "name": name, "roleArn": roles["codepipeline"], "artifactStore": {"type": "S3", "location": "lists"},
                "stages": [{"name": "Source", "actions": [source]}, {"name": "Ask", "actions": [ask]}],
            }
        )  # fmt: skip
    for _ in range(2):
        pipelines.start_pipeline_execution(name="l-1")
    until(lambda: len(pipelines.list_action_executions(pipelineName="l-1")["actionExecutionDetails"]) >= 3)
    return live


# service, operation, input, the member with the list, and what an item is known by (None: itself)
OURS: list[tuple[str, str, dict[str, Any], str, str | None]] = [
    ("codedeploy", "list_applications", {}, "applications", None),
    ("codedeploy", "list_deployment_configs", {}, "deploymentConfigsList", None),
    ("codedeploy", "list_deployment_groups", {"applicationName": "shop"}, "deploymentGroups", None),
    ("codedeploy", "list_on_premises_instances", {}, "instanceNames", None),
    ("codedeploy", "list_application_revisions", {"applicationName": "shop"}, "revisions", "s3Location"),
    ("codedeploy", "list_deployments", {}, "deployments", None),
    ("codebuild", "list_projects", {}, "projects", None),
    ("codecommit", "list_repositories", {}, "repositories", "repositoryName"),
    ("codepipeline", "list_pipelines", {}, "pipelines", "name"),
    ("codepipeline", "list_pipeline_executions", {"pipelineName": "l-1"}, "pipelineExecutionSummaries", "pipelineExecutionId"),
    ("codepipeline", "list_action_executions", {"pipelineName": "l-1"}, "actionExecutionDetails", "actionExecutionId"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "operation", "input", "list_", "known_by"), OURS, ids=[row[1] for row in OURS])
def test_a_list_continues_where_its_page_ended(lists, monkeypatch, service, operation, input, list_, known_by):
    """Whatever the size of a page is, which many operations do not let a client choose."""
    call = getattr(lists.client(service), operation)

    def names(page: dict[str, Any]) -> list[str]:
        found = [str(item[known_by]) if known_by else item for item in page[list_]]
        return [name for name in found if not name.startswith("CodeDeployDefault.")]  # which come with the first page

    whole = call(**input)
    assert "nextToken" not in whole
    everything = names(whole)
    assert len(everything) == len(set(everything)) >= 3
    page_of = Pages.page
    for size in (2, len(everything) - 1, len(everything)):
        monkeypatch.setattr(Pages, "page", lambda *given, size=size, **more: page_of(*given, **more | {"limit": size}))
        found: list[list[str]] = []
        token: dict[str, str] = {}
        while not found or token:
            page = call(**input, **token, **({"maxResults": size} if service == "codepipeline" else {}))
            found.append(names(page))
            token = {"nextToken": page["nextToken"]} if page.get("nextToken") else {}
        assert [len(each) for each in found[:-1]] == [size] * (len(found) - 1)
        assert sum(found, []) == everything  # noqa: RUF017
        assert len(found) == -(-len(everything) // size)
