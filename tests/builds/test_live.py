"""CodeBuild as boto3 and the AWS CLI use it, on a live server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import stat
import subprocess
import threading
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from penstock_builder import Builder, commands, failure, phases
from penstock_waiting import until

from penstock.builds.errors import InvalidInputException
from penstock.builds.unpacking import Bounds


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return content.getvalue()


@pytest.fixture(scope="module")
def bucket(builder: Builder) -> str:
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    builder.s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def artifacts(builder: Builder) -> str:
    """A bucket with versions, where pipelines find and keep artifacts."""
    name = f"artifacts-{uuid.uuid4().hex[:8]}"
    builder.s3.create_bucket(Bucket=name)
    builder.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for key, packed in (("app.zip", zipped(main="main")), ("lib.zip", zipped(lib="lib"))):
        builder.s3.put_object(Bucket=name, Key=key, Body=packed)
    return name


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def message(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Message"]


# --- builds -------------------------------------------------------------------------------------------------------------


def test_a_build_runs_and_its_log_is_there(builder: Builder):
    build = builder.run(builder.project(commands("echo hello $CODEBUILD_BUILD_NUMBER", "pwd")))
    assert (build["buildStatus"], build["currentPhase"], build["buildNumber"]) == ("SUCCEEDED", "COMPLETED", 1)
    assert list(phases(build)) == [
        "SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD",
        "UPLOAD_ARTIFACTS", "FINALIZING", "COMPLETED",
    ]  # fmt: skip
    log = builder.log(build["id"])
    assert "\nhello 1\n" in log
    assert "Phase complete: UPLOAD_ARTIFACTS State: SUCCEEDED" in log
    assert build["logs"]["groupName"] == f"/aws/codebuild/{build['projectName']}"
    assert build["initiator"] == "administrator"


def test_a_finally_that_fails_fails_its_phase(builder: Builder):
    """And what follows is decided as after failed commands: `on-failure` lets the next phase run."""
    names = ("install", "pre_build", "build", "post_build")
    phase = {"commands": ["echo good"], "finally": ["exit 3"], "on-failure": "CONTINUE"}
    build = builder.run(builder.project({"version": "0.2", "phases": dict.fromkeys(names, phase)}))
    assert build["buildStatus"] == "FAILED"
    for name in names:
        assert phases(build)[name.upper()] == "FAILED"
        assert failure(build, name.upper())[0] == "COMMAND_EXECUTION_ERROR"
        assert "exit 3" in failure(build, name.upper())[1]


def test_the_log_can_be_read_while_it_runs(builder: Builder):
    id_ = builder.start(builder.project(commands("echo early", "sleep 30")))
    until(lambda: "\nearly" in builder.log(id_))
    # A line is there as soon as it is written, and the phase when the server has heard of it.
    builder.until(id_, lambda build: build["currentPhase"] == "BUILD")
    build = builder.codebuild.stop_build(id=id_)["build"]
    assert build["id"] == id_
    assert (build["buildStatus"], build["buildComplete"], build["currentPhase"]) == ("STOPPED", True, "COMPLETED")
    assert phases(build)["BUILD"] == "STOPPED"
    assert phases(build)["FINALIZING"] == "SUCCEEDED"
    assert builder.codebuild.stop_build(id=build["arn"])["build"]["buildStatus"] == "STOPPED"


def test_a_build_is_stopped_while_it_fetches_its_source(builder: Builder, monkeypatch: pytest.MonkeyPatch):
    async def never(*_: object) -> None:
        fetching.set()
        await asyncio.Event().wait()

    fetching = threading.Event()
    monkeypatch.setattr("penstock.builds.sources.Fetch.bundle", never)
    bucket = f"slow-{uuid.uuid4().hex[:6]}"
    builder.s3.create_bucket(Bucket=bucket)
    id_ = builder.start(builder.project(source={"type": "S3", "location": f"{bucket}/source.zip"}))
    assert fetching.wait(30)
    builder.codebuild.stop_build(id=id_)
    build = builder.ended(id_)
    assert build["buildStatus"] == "STOPPED"
    assert phases(build)["DOWNLOAD_SOURCE"] == "STOPPED"
    assert "BUILD" not in phases(build)
    folder = builder.live.data_dir / "builds" / id_.rpartition(":")[2]
    builder.until(id_, lambda _: not folder.exists())


def test_the_command_line_starts_and_reads(builder: Builder):
    name = builder.project(commands("for i in 1 2 3; do echo tick $i; done"))
    id_ = builder.live.aws("codebuild", "start-build", "--project-name", name)["build"]["id"]
    builder.ended(id_)
    where = ("--log-group-name", f"/aws/codebuild/{name}", "--log-stream-name", id_.rpartition(":")[2])
    events = builder.live.aws("logs", "get-log-events", *where, "--start-from-head")["events"]
    assert [e["message"] for e in events if e["message"].startswith("tick")] == ["tick 1", "tick 2", "tick 3"]


def test_a_running_build_can_be_followed(builder: Builder):
    """As `aws logs tail --follow` of version 2 does it: FilterLogEvents from the last time stamp on."""
    name = builder.project(commands("echo started", "sleep 0.5; echo done"))
    id_ = builder.start(name)
    seen: dict[str, str] = {}
    since = 0

    def follow() -> bool:
        nonlocal since
        request = {"logGroupName": f"/aws/codebuild/{name}", "startTime": since, "limit": 3}
        with contextlib.suppress(builder.logs.exceptions.ResourceNotFoundException):
            while True:
                page = builder.logs.filter_log_events(**request)
                for event in page["events"]:
                    assert event["timestamp"] >= since
                    seen[event["eventId"]] = event["message"]
                    since = event["timestamp"]
                if "nextToken" not in page:
                    break
                request["nextToken"] = page["nextToken"]
        return "done" in seen.values()

    until(follow)
    builder.ended(id_)
    texts = list(seen.values())
    assert texts.index("started") < texts.index("done")


def test_a_failing_build_says_why(builder: Builder):
    build = builder.run(builder.project(commands("exit 4")))
    assert build["buildStatus"] == "FAILED"
    assert failure(build, "BUILD") == (
        "COMMAND_EXECUTION_ERROR",
        "Error while executing command: exit 4. Reason: exit status 4",
    )
    assert phases(build)["POST_BUILD"] == phases(build)["UPLOAD_ARTIFACTS"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            "version: 0.2\nphases:\n  build:\n    commands: a: b",
            "mapping values are not allowed in this context at line 4. "
            "Quote a value that holds a colon and a space; a key needs a space after its colon",
        ),
        ("version: 0.9\nphases: {}", "Invalid version: 0.9. Supported versions are 0.1 and 0.2"),
    ],
)
def test_a_bad_buildspec_fails_the_download(builder: Builder, spec: str, reason: str):
    build = builder.run(builder.project(spec))
    assert failure(build, "DOWNLOAD_SOURCE") == ("YAML_FILE_ERROR", reason)
    assert list(phases(build))[-2:] == ["FINALIZING", "COMPLETED"]
    assert "INSTALL" not in phases(build)


def test_secrets_refused_with_a_reason(builder: Builder):
    build = builder.run(builder.project(commands("true", env={"parameter-store": {"A": "/a"}})))
    assert "Parameter Store" in failure(build, "DOWNLOAD_SOURCE")[1]


def test_what_a_project_does_not_get_is_said_in_the_log(builder: Builder):
    environment = {
        "type": "LINUX_CONTAINER",
        "image": "i",
        "computeType": "BUILD_GENERAL1_SMALL",
        "privilegedMode": True,
    }
    wanted = {
        "cache": {"type": "S3", "location": "bucket/cache"},
        "logsConfig": {"s3Logs": {"status": "ENABLED", "location": "bucket/logs"}},
        "vpcConfig": {"vpcId": "vpc-1", "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
        "environment": environment,
        "source": {"type": "NO_SOURCE", "gitSubmodulesConfig": {"fetchSubmodules": True}},
    }
    id_ = builder.run(builder.project(commands("true"), **wanted), debugSessionEnabled=True)["id"]
    warnings = [
        line.partition(" The project's ")[2] for line in builder.log(id_).splitlines() if " The project's " in line
    ]
    assert sorted(warnings) == [
        "cache has no effect: nothing is cached between builds",
        "debugSessionEnabled has no effect: there are no debug sessions",
        "environment.privilegedMode has no effect: commands have no more privileges than those of other builds",
        "logsConfig.s3Logs has no effect: logs go to CloudWatch Logs only",
        "source.gitSubmodulesConfig has no effect: submodules are not fetched: their folders are empty",
        "vpcConfig has no effect: builds use the network of their worker",
    ]
    plain = builder.log(builder.run(builder.project(commands("true")))["id"])
    assert "The project's" not in plain


def test_a_failed_build_is_retried_as_often_as_its_project_says(builder: Builder):
    name = builder.project(commands("echo try $A; test $CODEBUILD_BUILD_NUMBER = 3"), autoRetryLimit=5)
    first = builder.start(name, environmentVariablesOverride=[{"name": "A", "value": "kept"}])
    builder.until(first, lambda build: "nextAutoRetry" in build["autoRetryConfig"])
    ids = builder.codebuild.list_builds_for_project(projectName=name, sortOrder="ASCENDING")["ids"]
    second = builder.ended(ids[1])
    builder.until(ids[1], lambda build: "nextAutoRetry" in build["autoRetryConfig"])
    third = builder.ended(builder.codebuild.list_builds_for_project(projectName=name)["ids"][0])
    assert (second["buildStatus"], third["buildStatus"]) == ("FAILED", "SUCCEEDED")
    assert "\ntry kept" in builder.log(third["id"])
    assert [build["autoRetryConfig"] for build in (builder.get(first), builder.get(ids[1]), third)] == [
        {"autoRetryLimit": 5, "autoRetryNumber": 0, "nextAutoRetry": second["arn"]},
        {"autoRetryLimit": 5, "autoRetryNumber": 1, "nextAutoRetry": third["arn"], "previousAutoRetry": builder.get(first)["arn"]},
        {"autoRetryLimit": 5, "autoRetryNumber": 2, "previousAutoRetry": second["arn"]},
    ]  # fmt: skip


def test_a_build_is_not_retried_beyond_its_limit_nor_when_it_was_stopped(builder: Builder):
    name = builder.project(commands("sleep $N; false"), autoRetryLimit=1)
    stopped = builder.start(name, environmentVariablesOverride=[{"name": "N", "value": "60"}])
    builder.until(stopped, lambda build: build["currentPhase"] == "BUILD")
    builder.codebuild.stop_build(id=stopped)
    none = builder.run(name, environmentVariablesOverride=[{"name": "N", "value": "0"}], autoRetryLimitOverride=0)
    assert "autoRetryConfig" not in none
    failed = builder.start(name, environmentVariablesOverride=[{"name": "N", "value": "0"}])
    again = builder.until(failed, lambda build: "nextAutoRetry" in build["autoRetryConfig"])["autoRetryConfig"][
        "nextAutoRetry"
    ]
    assert builder.ended(again.partition(":build/")[2])["autoRetryConfig"]["autoRetryNumber"] == 1
    assert len(builder.codebuild.list_builds_for_project(projectName=name)["ids"]) == 4
    assert "nextAutoRetry" not in builder.get(stopped)["autoRetryConfig"]


@pytest.mark.parametrize("id_", ["", "no-colon", "project:none", "arn:aws:codebuild:us-east-1:111111111111:project/p"])
def test_what_is_no_id_of_a_build_is_said_to_be_none(builder: Builder, id_: str):
    for call in (builder.codebuild.stop_build, builder.codebuild.retry_build):
        with pytest.raises(ClientError) as refused:
            call(id=id_)
        assert code(refused) == "InvalidInputException"
    with pytest.raises(ClientError) as missing:
        builder.codebuild.stop_build(id=f"project:{uuid.uuid4()}")
    assert code(missing) == "ResourceNotFoundException"


def test_overrides_count_for_one_build(builder: Builder):
    name = builder.project(commands("echo $A-$B-$C", env={"variables": {"A": "spec", "B": "spec", "C": "spec"}}))
    builder.codebuild.update_project(
        name=name,
        environment={
            "type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [{"name": "B", "value": "project"}, {"name": "C", "value": "project"}],
        },
    )  # fmt: skip
    build = builder.run(name, environmentVariablesOverride=[{"name": "C", "value": "start"}], imageOverride="y")
    assert "\nspec-project-start" in builder.log(build["id"])
    assert build["environment"]["image"] == "y"
    assert builder.codebuild.batch_get_projects(names=[name])["projects"][0]["environment"]["image"] == "x"


def test_the_build_acts_as_its_role(builder: Builder):
    build = builder.run(builder.project(commands("aws sts get-caller-identity --query Arn --output text")))
    role = builder.role.rpartition("/")[2]
    assert f":assumed-role/{role}/AWSCodeBuild-{build['id'].rpartition(':')[2]}" in builder.log(build["id"])
    assert build["buildStatus"] == "SUCCEEDED"


def test_exported_variables(builder: Builder):
    spec = commands("export TAG=v1; N=2", env={"exported-variables": ["TAG", "N", "MISSING"]})
    build = builder.run(builder.project(spec))
    assert build["exportedEnvironmentVariables"] == [{"name": "TAG", "value": "v1"}, {"name": "N", "value": "2"}]


def test_a_role_without_logs_fails_the_build_in_the_queue(builder: Builder):
    role = builder.make_role("s3:*", "logs:CreateLogGroup", "logs:PutLogEvents")
    build = builder.run(builder.project(commands("true"), serviceRole=role))
    assert (build["buildStatus"], build["phases"][-1]["phaseType"]) == ("FAILED", "COMPLETED")
    assert [kind for kind, status in phases(build).items() if status == "FAILED"] == ["QUEUED"]
    assert "PROVISIONING" not in phases(build)
    status, reason = failure(build, "QUEUED")
    assert status == "ACCESS_DENIED"
    assert reason.startswith(
        f"Service role {role} does not allow AWS CodeBuild to create Amazon CloudWatch Logs log streams for build {build['arn']}. "
        "Error message: "
    )
    assert "logs:CreateLogStream" in reason


def test_a_build_without_cloudwatch_logs_needs_no_right_to_them(builder: Builder):
    name = builder.project(
        commands("true"),
        serviceRole=builder.make_role(),
        logsConfig={"cloudWatchLogs": {"status": "DISABLED"}},
    )
    assert builder.run(name)["buildStatus"] == "SUCCEEDED"


@pytest.mark.parametrize("group", [True, False])
def test_a_log_that_is_deleted_in_mid_build_is_made_again(builder: Builder, group: bool):
    name = builder.project(commands("touch here; echo before", "until test -e go; do sleep 0.02; done", "echo after"))
    id_ = builder.start(name)
    until(lambda: "\nbefore" in builder.log(id_))
    names = {"logGroupName": f"/aws/codebuild/{name}"}
    if group:
        builder.logs.delete_log_group(**names)
    else:
        builder.logs.delete_log_stream(**names, logStreamName=id_.partition(":")[2])
    builder.file(id_, "here").with_name("go").touch()
    assert builder.ended(id_)["buildStatus"] == "SUCCEEDED"
    assert "\nafter" in builder.log(id_)
    assert "\nbefore" not in builder.log(id_)


# --- sources and artifacts ----------------------------------------------------------------------------------------------


def test_a_source_from_s3_and_artifacts_to_s3(builder: Builder, bucket: str):
    spec = "version: 0.2\nphases:\n  build:\n    commands: ['cat lib/b.txt > out.txt; ls']\nartifacts:\n  files: ['*.txt', lib/**/*]\n  name: built-$CODEBUILD_BUILD_NUMBER\n"
    builder.s3.put_object(
        Bucket=bucket, Key="in/app.zip", Body=zipped(**{"buildspec.yml": spec, "lib__b.txt": "content", "a.txt": "a"})
    )
    name = builder.project(
        source={"type": "S3", "location": f"{bucket}/in/app.zip"},
        artifacts={"type": "S3", "location": bucket, "path": "out", "packaging": "ZIP", "name": "app.zip"},
    )
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
    assert build["artifacts"]["location"] == f"arn:aws:s3:::{bucket}/out/app.zip"
    found = builder.s3.get_object(Bucket=bucket, Key="out/app.zip")
    data = found["Body"].read()
    assert found["Metadata"]["codebuild-buildarn"] == build["arn"]
    import hashlib

    assert build["artifacts"]["sha256sum"] == hashlib.sha256(data).hexdigest()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(archive.namelist()) == ["a.txt", "lib/b.txt", "out.txt"]
        assert archive.read("out.txt") == b"content"
    assert build["resolvedSourceVersion"]

    builder.codebuild.update_project(
        name=name,
        artifacts={
            "type": "S3",
            "location": bucket,
            "path": "plain",
            "namespaceType": "BUILD_ID",
            "name": "x",
            "overrideArtifactName": True,
        },
    )
    build = builder.run(name)
    uuid_ = build["id"].rpartition(":")[2]
    keys = {item["Key"] for item in builder.s3.list_objects_v2(Bucket=bucket, Prefix="plain/")["Contents"]}
    assert keys == {f"plain/{uuid_}/built-2/{file}" for file in ("a.txt", "lib/b.txt", "out.txt")}
    assert "sha256sum" not in build["artifacts"]


def test_secondary_sources_and_artifacts(builder: Builder, bucket: str):
    builder.s3.put_object(Bucket=bucket, Key="second.zip", Body=zipped(**{"x.txt": "second"}))
    spec = commands(
        "cp $CODEBUILD_SRC_DIR_other/x.txt one.txt",
        artifacts={
            "files": "one.txt",
            "secondary-artifacts": {"extra": {"files": ["x.txt"], "base-directory": "$CODEBUILD_SRC_DIR_other"}},
        },
    )
    name = builder.project(
        spec,
        secondarySources=[{"type": "S3", "location": f"{bucket}/second.zip", "sourceIdentifier": "other"}],
        artifacts={"type": "S3", "location": bucket, "name": "first.zip", "packaging": "ZIP"},
        secondaryArtifacts=[
            {"type": "S3", "location": bucket, "name": "extra.zip", "packaging": "ZIP", "artifactIdentifier": "extra"}
        ],
    )
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
    assert [a["artifactIdentifier"] for a in build["secondaryArtifacts"]] == ["extra"]
    with zipfile.ZipFile(io.BytesIO(builder.s3.get_object(Bucket=bucket, Key="extra.zip")["Body"].read())) as archive:
        assert archive.namelist() == ["x.txt"]


def test_a_missing_source_and_nothing_to_upload_fails_with_a_reason(builder: Builder, bucket: str):
    build = builder.run(builder.project(commands("true"), source={"type": "S3", "location": f"{bucket}/none.zip"}))
    status, reason = failure(build, "DOWNLOAD_SOURCE")
    assert status == "CLIENT_ERROR"
    assert "NoSuchKey" in reason
    name = builder.project(commands("true", artifacts={"files": "*.jar"}), artifacts={"type": "S3", "location": bucket})
    build = builder.run(name)
    assert (build["buildStatus"], failure(build, "UPLOAD_ARTIFACTS")) == (
        "FAILED",
        ("CLIENT_ERROR", "no matching artifact paths found"),
    )


def test_a_buildspec_that_is_not_there(builder: Builder, bucket: str):
    builder.s3.put_object(Bucket=bucket, Key="empty.zip", Body=zipped(a="a"))
    build = builder.run(
        builder.project(source={"type": "S3", "location": f"{bucket}/empty.zip", "buildspec": "ci/none.yml"})
    )
    status, reason = failure(build, "DOWNLOAD_SOURCE")
    assert status == "YAML_FILE_ERROR"
    assert reason.endswith("ci/none.yml: no such file or directory")
    for address in ("arn:aws:s3:::", "arn:aws:sns:topic/x", f"s3://{bucket}/spec.yml"):
        build = builder.run(build["projectName"], buildspecOverride=address)
        status, message = failure(build, "DOWNLOAD_SOURCE")
        assert status == "YAML_FILE_ERROR"
        assert message == f"The buildspec {address} is not the ARN of an object. Name one as arn:aws:s3:::BUCKET/KEY"


def test_hostile_sources_end_the_build_with_a_reason_without_paths_of_the_host(builder: Builder, bucket: str):
    def put(key: str, body: bytes) -> dict[str, str]:
        builder.s3.put_object(Bucket=bucket, Key=key, Body=body)
        return {"type": "S3", "location": f"{bucket}/{key}"}

    circle = io.BytesIO()
    with zipfile.ZipFile(circle, "w") as archive:
        for name, to in (("buildspec.yml", "other"), ("other", "buildspec.yml")):
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, to)
    put("both/a", b"a file")
    put("both/a/b", b"and a folder")
    put("long/" + "x" * 300, b"")
    for source in (
        put("circle.zip", circle.getvalue()),
        put("some.zip", zipped(a="")) | {"buildspec": "x" * 300},
        {"type": "S3", "location": f"{bucket}/both/"},
        {"type": "S3", "location": f"{bucket}/long/"},
    ):
        build = builder.run(builder.project(None, source=source))
        assert build["buildStatus"] == "FAILED"
        code_, reason = failure(build, "DOWNLOAD_SOURCE")
        assert code_ in ("YAML_FILE_ERROR", "CLIENT_ERROR")
        assert reason
        assert str(builder.live.app.settings.data_dir) not in reason


def assumable(builder: Builder, role: str) -> str:
    """The role, which whoever may assume roles may assume now."""
    allow = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    builder.live.client("iam").update_assume_role_policy(RoleName=role.rpartition("/")[2], PolicyDocument=trust)
    return role


def pipeline_of(
    builder: Builder, bucket: str, project: str, *keys: str, acts_as: str = "", **configuration: str
) -> tuple[str, str]:
    """A pipeline that fetches an object for each artifact and builds; its name and its role."""
    role = builder.make_role("*", service="codepipeline.amazonaws.com")

    def action(name: str, category: str, provider: str, **more: object) -> dict[str, object]:
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": name, "actionTypeId": kind, **more}

    sources = [
        action(key.partition(".")[0], "Source", "S3", outputArtifacts=[{"name": key.partition(".")[0]}],
               configuration={"S3Bucket": bucket, "S3ObjectKey": key, "PollForSourceChanges": "false"})
        for key in keys
    ]  # fmt: skip
    build = action(
        "Make", "Build", "CodeBuild",
        configuration={"ProjectName": project, **configuration},
        inputArtifacts=[{"name": key.partition(".")[0]} for key in keys], outputArtifacts=[{"name": "Out"}],
        **({"roleArn": acts_as} if acts_as else {}),
    )  # fmt: skip
    name = f"pipeline-{uuid.uuid4().hex[:8]}"
    stages = [{"name": "Source", "actions": sources}, {"name": "Build", "actions": [build]}]
    store = {"type": "S3", "location": bucket}
    builder.live.client("codepipeline").create_pipeline(
        pipeline={"name": name, "roleArn": role, "artifactStore": store, "stages": stages}
    )
    return name, role


def action_of(builder: Builder, pipeline: str, found: Callable[[dict], bool]) -> dict:
    """The execution of the action Make, once it is as wanted."""
    codepipeline = builder.live.client("codepipeline")

    def listed() -> list[dict]:
        return codepipeline.list_action_executions(pipelineName=pipeline)["actionExecutionDetails"]

    return until(
        lambda: next((one for one in listed() if one["actionName"] == "Make" and found(one)), None), why=listed
    )


@pytest.mark.parametrize("own", ["CODEPIPELINE", "S3"])
def test_a_build_of_a_pipeline(builder: Builder, artifacts: str, own: str):
    """Its artifacts take the place of what the project itself reads and writes, as on AWS."""
    reads, writes = {"type": own}, {"type": own}
    acts_as = assumable(builder, builder.make_role("codebuild:*", "s3:*")) if own == "S3" else ""
    if own == "S3":
        reads["location"], writes["location"] = f"{artifacts}/not-there.zip", artifacts
    spec = commands("cat main $CODEBUILD_SRC_DIR_lib/lib > both", artifacts={"files": "both"})
    project = builder.project(spec, source=reads, artifacts=writes)
    name, _ = pipeline_of(builder, artifacts, project, "lib.zip", "app.zip", acts_as=acts_as, PrimarySource="app")
    made = action_of(builder, name, lambda one: one["status"] != "InProgress")
    (id_,) = builder.codebuild.list_builds_for_project(projectName=project)["ids"]
    build = builder.get(id_)
    assert build["buildStatus"] == "SUCCEEDED", builder.log(id_)
    assert (build["initiator"], build["source"]["type"]) == (f"codepipeline/{name}", "CODEPIPELINE")
    assert made["status"] == "Succeeded", made
    assert made["output"]["executionResult"]["externalExecutionId"] == id_ == f"{project}:{made['actionExecutionId']}"
    place = made["output"]["outputArtifacts"][0]["s3location"]
    written = builder.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert archive.read("both") == b"mainlib"
    with pytest.raises(ClientError, match="retried by its pipeline"):
        builder.codebuild.retry_build(id=id_)


def test_only_the_session_of_the_running_action_is_a_pipelines(builder: Builder, artifacts: str):
    """A session of the pipeline's role that bears the action's name counts in process only, where the pipelines make it."""
    live, sts = builder.live, builder.live.client("sts")
    spec = commands("sleep 60")
    project, other = (
        builder.project(spec, source={"type": "CODEPIPELINE"}, artifacts={"type": "CODEPIPELINE"}) for _ in range(2)
    )
    name, role = pipeline_of(builder, artifacts, project, "app.zip")
    action = action_of(
        builder, name, lambda one: "externalExecutionId" in one.get("output", {}).get("executionResult", {})
    )
    build, id_ = action["output"]["executionResult"]["externalExecutionId"], action["actionExecutionId"]
    another = assumable(builder, builder.make_role("*"))
    assumable(builder, role)

    def session(arn: str, called: str) -> dict[str, str]:
        return sts.assume_role(RoleArn=arn, RoleSessionName=called)["Credentials"]

    async def in_process(credentials: dict[str, str], **more: object) -> dict:
        found = await live.app.identity.credential(credentials["AccessKeyId"], credentials["SessionToken"])
        request = {"projectName": project, **more}
        return await live.app.invoke(found.session, "codebuild", "StartBuild", request, region="us-east-1")

    mine = session(role, id_)
    keys = {
        "aws_access_key_id": mine["AccessKeyId"],
        "aws_secret_access_key": mine["SecretAccessKey"],
        "aws_session_token": mine["SessionToken"],
    }
    only = "can only be started by a pipeline"
    with pytest.raises(ClientError, match=only):
        live.client("codebuild", keys=keys).start_build(projectName=project, idempotencyToken=id_)
    for refused, more in (
        (session(another, id_), {}),
        (session(role, "some-session"), {}),
        (session(role, str(uuid.uuid4())), {}),
        (mine, {"projectName": other}),
    ):
        with pytest.raises(InvalidInputException, match=only):
            live.run(in_process(refused, **more))
    assert live.run(in_process(mine))["build"]["id"] == build  # however often it asks
    builder.codebuild.stop_build(id=build)
    action_of(builder, name, lambda one: one["status"] == "Failed")
    with pytest.raises(InvalidInputException, match=only):
        live.run(in_process(mine))
    assert builder.codebuild.list_builds_for_project(projectName=project)["ids"] == [build]


def test_a_source_from_a_repository_of_this_server(builder: Builder, tmp_path: Path):
    codecommit = builder.live.client("codecommit")
    repository = f"repo-{uuid.uuid4().hex[:8]}"
    url = codecommit.create_repository(repositoryName=repository)["repositoryMetadata"]["cloneUrlHttp"]
    keys = builder.live.keys()
    with_keys = f"{builder.live.url}/v1/repos/{repository}".replace(
        "//", f"//{quote(keys['aws_access_key_id'])}:{quote(keys['aws_secret_access_key'], safe='')}@", 1
    )
    work = tmp_path / "work"
    work.mkdir()
    (work / "buildspec.yml").write_text("version: 0.2\nphases: {build: {commands: [git log --format=%s, cat file]}}")
    (work / "file").write_text("first")

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=work, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "the first commit")
    git("push", "-q", with_keys, "main")
    first = git("rev-parse", "HEAD").strip()
    (work / "file").write_text("second")
    git("commit", "-qam", "the second commit")
    git("push", "-q", with_keys, "main", "main:other")
    name = builder.project(source={"type": "CODECOMMIT", "location": url})
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", (build["phases"], builder.log(build["id"]))
    assert build["resolvedSourceVersion"] == git("rev-parse", "HEAD").strip()
    assert "\nthe first commit" in builder.log(build["id"])
    assert "\nsecond" in builder.log(build["id"])
    build = builder.run(name, sourceVersion=first)
    assert build["resolvedSourceVersion"] == first
    assert "\nfirst\n" in builder.log(build["id"])
    build = builder.run(name, sourceVersion="refs/heads/other", gitCloneDepthOverride=1)
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    build = builder.run(name, sourceVersion="nowhere")
    assert failure(build, "DOWNLOAD_SOURCE")[0] == "CLIENT_ERROR"
    assert failure(build, "DOWNLOAD_SOURCE")[1].startswith(
        "reference not found for primary source and source version nowhere: "
    )


def test_artifacts_that_are_not_zipped_are_objects_with_the_names_of_files(builder: Builder, bucket: str):
    made = (
        r"""mkdir o; printf x >"o/$(printf 'caf\351')"; printf y >"o/$(printf 'caf\303\251')"; ln -s /nowhere o/link"""
    )
    spec = commands(made, artifacts={"files": "*", "base-directory": "o"})
    build = builder.run(builder.project(spec, artifacts={"type": "S3", "location": bucket, "name": "unzipped"}))
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    keys = {found["Key"] for found in builder.s3.list_objects_v2(Bucket=bucket, Prefix="unzipped/")["Contents"]}
    assert keys == {"unzipped/caf\ufffd", "unzipped/caf\u00e9"}
    assert "Skipping the link link: an object cannot be one" in builder.log(build["id"])


def test_a_build_that_ends_before_its_source_leaves_no_directory(builder: Builder, monkeypatch: pytest.MonkeyPatch):
    def full(_: object) -> None:
        raise OSError(28, "No space left on device", "/some/path/of/the/server")

    monkeypatch.setattr("penstock.builds.workspace.Workspace.make_wakeup", full)
    build = builder.run(builder.project(commands("true")))
    assert build["buildStatus"] == "FAULT"
    assert failure(build, "PROVISIONING") == (
        "INTERNAL_ERROR",
        "The build's directory could not be made: No space left on device",
    )
    folder = builder.live.data_dir / "builds" / build["id"].rpartition(":")[2]
    builder.until(build["id"], lambda _: not folder.exists())


def test_a_folder_of_sources_is_bounded(builder: Builder, bucket: str, monkeypatch: pytest.MonkeyPatch):
    for key in ("tree/buildspec.yml", "tree/a", "tree/b"):
        builder.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(commands("ls")))
    name = builder.project(source={"type": "S3", "location": f"{bucket}/tree/"})
    assert builder.run(name)["buildStatus"] == "SUCCEEDED"
    monkeypatch.setattr("penstock.builds.sources.Bounds.of", lambda _: Bounds(entries=2))
    status, reason = failure(builder.run(name), "DOWNLOAD_SOURCE")
    assert status == "CLIENT_ERROR"
    assert reason.endswith("/tree/ has more than 2 entries. The server's option --source-entries raises this limit")


def test_a_commit_that_cannot_be_counted_is_not_checked_out(builder: Builder, tmp_path):
    made = builder.live.client("codecommit").create_repository(repositoryName="bomb")["repositoryMetadata"]
    url = made["cloneUrlHttp"]
    keys = builder.live.keys()
    scheme, _, rest = url.partition("://")
    with_keys = f"{scheme}://{keys['aws_access_key_id']}:{quote(keys['aws_secret_access_key'], safe='')}@{rest}"

    def git(*arguments: str, given: str = "") -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True, input=given
        ).stdout.strip()

    git("init", "-q")
    below, kind = git("hash-object", "-w", "--stdin", given="x"), "100644 blob"
    for _ in range(12):
        below = git("mktree", given="".join(f"{kind} {below}\t{number:02}\n" for number in range(16)))
        kind = "040000 tree"
    commit = git("commit-tree", "-m", "bomb", below)
    git("push", "-q", with_keys, f"{commit}:refs/heads/main")
    build = builder.run(builder.project(commands("true"), source={"type": "CODECOMMIT", "location": url}))
    assert failure(build, "DOWNLOAD_SOURCE") == (
        "CLIENT_ERROR",
        f"The commit {commit} of bomb has more than 200000 entries. The server's option --source-entries raises this limit",
    )


def test_git_in_a_build_has_the_credentials_of_its_role_when_the_buildspec_says_so(builder: Builder):
    builder.live.client("codecommit").create_repository(repositoryName="wanted")
    clone = "git clone -q $AWS_ENDPOINT_URL/v1/repos/wanted clone && ls -d clone/.git"
    asked = "printf 'protocol=http\nhost=elsewhere.example\n\n' | GIT_TERMINAL_PROMPT=0 git credential fill || echo none for others"
    build = builder.run(builder.project(commands(clone, asked, env={"git-credential-helper": "yes"})))
    log = builder.log(build["id"])
    assert build["buildStatus"] == "SUCCEEDED", log
    assert "\nclone/.git" in log
    assert "\nnone for others" in log
    assert "password=" not in log
    without = builder.run(builder.project(commands(f"GIT_TERMINAL_PROMPT=0; {clone}")))
    assert without["buildStatus"] == "FAILED"
    role = builder.make_role("logs:*")
    denied = builder.run(builder.project(commands(clone, env={"git-credential-helper": True}), serviceRole=role))
    assert denied["buildStatus"] == "FAILED"


def test_names_and_links_go_through_a_build_as_they_are(builder: Builder, bucket: str):
    class Raw(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):  # noqa: N802
            return os.fsencode(self.filename), 0

    names = {"caf\udce9": b"latin", "caf\u00e9": b"utf", "d/\udcff\udcfe": b"noise"}
    links = {"localtime": b"/usr/share/zoneinfo/UTC", "up": b"../../up", "loop": b"loop"}
    spec = commands("ls | wc -l", artifacts={"files": ["**/*"], "enable-symlinks": "yes"})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in names.items():
            archive.writestr(Raw(name), content)
        for name, content in links.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
        archive.writestr("buildspec.yml", json.dumps(spec))
    builder.s3.put_object(Bucket=bucket, Key="in/names.zip", Body=packed.getvalue())
    name = builder.project(
        source={"type": "S3", "location": f"{bucket}/in/names.zip"},
        artifacts={"type": "S3", "location": bucket, "name": "names.zip", "packaging": "ZIP"},
    )
    build = builder.run(name)
    assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
    out = builder.s3.get_object(Bucket=bucket, Key="names.zip")["Body"].read()
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        found = {
            info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"): archive.read(info)
            for info in archive.infolist()
        }
        assert stat.S_ISLNK(archive.getinfo("localtime").external_attr >> 16)
    assert found.pop(b"buildspec.yml")
    assert found == {os.fsencode(name): content for name, content in (names | links).items()}


# --- operations ---------------------------------------------------------------------------------------------------------


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
    name = builder.project(commands("sleep 20"), concurrentBuildLimit=1)
    id_ = builder.start(name)
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
