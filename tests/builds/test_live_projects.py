"""Projects, and what is done with their builds, as boto3 uses them on a live server."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError
from penstock_builder import Builder, commands


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def message(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Message"]


def test_projects_are_kept_and_listed(builder: Builder):
    name = builder.project(commands("true"), tags=[{"key": "a", "value": "b"}], description="d")
    project = builder.codebuild.batch_get_projects(names=[name, "nope"])
    assert project["projectsNotFound"] == ["nope"]
    assert project["projects"][0]["timeoutInMinutes"] == 60
    assert name in builder.codebuild.list_projects()["projects"]
    updated = builder.codebuild.update_project(name=name, tags=[], timeoutInMinutes=10)["project"]
    assert "tags" not in updated
    assert (updated["timeoutInMinutes"], updated["description"]) == (10, "d")
    with pytest.raises(ClientError) as twice:
        builder.codebuild.create_project(
            **{k: project["projects"][0][k] for k in ("name", "source", "artifacts", "environment", "serviceRole")}
        )
    assert code(twice) == "ResourceAlreadyExistsException"
    builder.codebuild.delete_project(name=name)
    builder.codebuild.delete_project(name=name)
    with pytest.raises(ClientError) as gone:
        builder.start(name)
    assert code(gone) == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source": {"type": "GITHUB", "location": "https://github.com/a/b"}}, "not served yet"),
        ({"badgeEnabled": True}, "badges are not served"),
        ({"autoRetryLimit": -1}, "autoRetryLimit must be"),
        ({"source": {"type": "S3"}}, "location is required"),
        ({"source": {"type": "NO_SOURCE"}}, "needs its buildspec inline"),
        ({"source": {"type": "NO_SOURCE", "buildspec": "buildspec.yml"}}, "needs its buildspec inline"),
        ({"artifacts": {"type": "CODEPIPELINE"}}, "must both be CODEPIPELINE"),
        ({"artifacts": {"type": "S3"}}, "location must be a bucket"),
        ({"serviceRole": "arn:aws:iam::111111111111:role/none"}, "sts:AssumeRole"),
        ({"name": "a"}, "at 'name'"),
        ({"timeoutInMinutes": 1}, "timeoutInMinutes"),
        ({"environment": {"type": "WINDOWS_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"}}, "builds run on Linux"),
        ({"secondarySources": [{"type": "NO_SOURCE"}]}, "sourceIdentifier"),
    ],
)  # fmt: skip
def test_bad_projects_are_refused_and_nothing_is_kept(builder: Builder, change: dict, reason: str):
    before = builder.codebuild.list_projects()["projects"]
    with pytest.raises(ClientError) as refused:
        builder.project(commands("true") if "source" not in change else None, **change)
    assert code(refused) == "InvalidInputException"
    assert reason in message(refused)
    assert builder.codebuild.list_projects()["projects"] == before


def test_a_role_that_trusts_others_is_refused(builder: Builder):
    with pytest.raises(ClientError) as refused:
        builder.project(commands("true"), serviceRole=builder.make_role(service="ec2.amazonaws.com"))
    assert code(refused) == "InvalidInputException"


def test_a_token_starts_one_build(builder: Builder):
    name = builder.project(commands("true"))
    first = builder.start(name, idempotencyToken="t1")
    assert builder.start(name, idempotencyToken="t1") == first
    with pytest.raises(ClientError) as refused:
        builder.start(name, idempotencyToken="t1", imageOverride="other")
    assert code(refused) == "InvalidInputException"
    builder.ended(first)


def test_builds_are_listed_retried_and_deleted(builder: Builder):
    name = builder.project(commands("echo $A"))
    first = builder.run(name, environmentVariablesOverride=[{"name": "A", "value": "kept"}])
    second = builder.ended(builder.codebuild.retry_build(id=first["id"])["build"]["id"])
    assert second["buildNumber"] == 2
    assert "\nkept" in builder.log(second["id"])
    assert builder.codebuild.list_builds_for_project(projectName=name)["ids"] == [second["id"], first["id"]]
    ascending = builder.codebuild.list_builds_for_project(projectName=name, sortOrder="ASCENDING")["ids"]
    assert ascending == [first["id"], second["id"]]
    assert second["id"] in builder.codebuild.list_builds()["ids"]
    deleted = builder.codebuild.batch_delete_builds(ids=[first["id"], f"{name}:none"])
    assert deleted["buildsDeleted"] == [first["arn"]]
    assert deleted["buildsNotDeleted"] == [{"id": f"{name}:none", "statusCode": "BUILD_NOT_FOUND"}]
    found = builder.codebuild.batch_get_builds(ids=[first["id"], second["arn"]])
    assert [b["id"] for b in found["builds"]] == [second["id"]]
    assert found["buildsNotFound"] == [first["id"]]


def test_a_limit_of_concurrent_builds(builder: Builder):
    name = builder.project(commands("sleep 600"), concurrentBuildLimit=1)
    id_ = builder.start(name)
    kept = builder.codebuild.batch_delete_builds(ids=[id_])
    assert (kept["buildsDeleted"], kept["buildsNotDeleted"]) == ([], [{"id": id_, "statusCode": "BUILD_IN_PROGRESS"}])
    with pytest.raises(ClientError) as refused:
        builder.start(name)
    assert code(refused) == "AccountLimitExceededException"
    builder.codebuild.stop_build(id=id_)
    builder.ended(id_)
    again = builder.codebuild.retry_build(id=id_)["build"]["id"]
    with pytest.raises(ClientError) as refused:
        builder.codebuild.retry_build(id=id_)
    assert code(refused) == "AccountLimitExceededException"
    builder.codebuild.stop_build(id=again)
    builder.ended(again)


def test_who_may_not_is_reported_so(builder: Builder):
    iam = builder.live.client("iam")
    user = f"user-{uuid.uuid4().hex[:6]}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    allow = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "codebuild:BatchGetBuilds", "Resource": "*"}],
    }
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(allow))
    client = builder.live.client(
        "codebuild", keys={"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    )
    with pytest.raises(ClientError) as refused:
        client.start_build(projectName="any")
    assert code(refused) == "AccessDeniedException"
    assert client.batch_get_builds(ids=["any:1"])["buildsNotFound"] == ["any:1"]
