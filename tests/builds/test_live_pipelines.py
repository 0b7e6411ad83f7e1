"""Builds that pipelines start, on a live server."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from penstock_builder import Builder, commands
from penstock_waiting import until

from penstock.builds.errors import InvalidInputException


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return content.getvalue()


@pytest.fixture(scope="module")
def artifacts(builder: Builder) -> str:
    """A bucket with versions, where pipelines find and keep artifacts."""
    name = f"artifacts-{uuid.uuid4().hex[:8]}"
    builder.s3.create_bucket(Bucket=name)
    builder.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for key, packed in (("app.zip", zipped(main="main")), ("lib.zip", zipped(lib="lib"))):
        builder.s3.put_object(Bucket=name, Key=key, Body=packed)
    return name


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
    spec = commands("sleep 600")
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


def test_everything_that_an_action_may_tell_its_build(builder: Builder, artifacts: str):
    """Several inputs and outputs, variables of every type, and what later actions learn of it."""
    ssm, secrets, codepipeline = (builder.live.client(name) for name in ("ssm", "secretsmanager", "codepipeline"))
    own = uuid.uuid4().hex[:8]
    ssm.put_parameter(Name=f"/build/{own}", Type="SecureString", Value="from a parameter")
    secrets.create_secret(Name=f"build-{own}", SecretString=json.dumps({"key": "from a secret"}))
    lines = (
        "cat main $CODEBUILD_SRC_DIR_lib/lib > first",
        'printf "%s, %s, %s" "$PLAIN" "$PARAMETER" "$SECRET" > second',
        'export TAG="v-$(cat first)" EMPTY=',
    )
    spec = commands(
        *lines,
        env={"exported-variables": ["TAG", "EMPTY", "PLAIN"]},
        artifacts={
            "files": "not-used",
            "secondary-artifacts": {"One": {"files": "first"}, "Two_2": {"files": "second"}},
        },
    )
    project = builder.project(
        spec,
        source={"type": "CODEPIPELINE"},
        artifacts={"type": "CODEPIPELINE"},
        serviceRole=builder.make_role("*"),
    )
    told = [
        {"name": "PLAIN", "value": 'the "#{Lib.ObjectKey}" of #{codepipeline.PipelineExecutionId}'},
        {"name": "PARAMETER", "value": f"/build/{own}", "type": "PARAMETER_STORE"},
        {"name": "SECRET", "value": f"build-{own}:key", "type": "SECRETS_MANAGER"},
    ]
    name, _ = pipeline_of(builder, artifacts, project, "lib.zip", "app.zip", PrimarySource="app")
    declared = codepipeline.get_pipeline(name=name)["pipeline"]
    declared["stages"][0]["actions"][0]["namespace"] = "Lib"
    build = declared["stages"][1]["actions"][0]
    build["configuration"] = {"ProjectName": project, "PrimarySource": "app", "EnvironmentVariables": json.dumps(told)}
    build |= {"outputArtifacts": [{"name": "One"}, {"name": "Two_2"}], "namespace": "Build"}
    asks = {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}
    said = {"CustomData": "#{Build.TAG}[#{Build.EMPTY}]#{Build.PLAIN}"}
    declared["stages"].append(
        {"name": "Ask", "actions": [{"name": "Ask", "actionTypeId": asks, "configuration": said}]}
    )
    codepipeline.update_pipeline(pipeline=declared)
    run = codepipeline.start_pipeline_execution(name=name)["pipelineExecutionId"]
    made = action_of(builder, name, lambda one: one["pipelineExecutionId"] == run and one["status"] != "InProgress")
    assert made["status"] == "Succeeded", builder.log(made["output"]["executionResult"]["externalExecutionId"])
    plain = f'the "lib.zip" of {run}'
    assert made["output"]["outputVariables"] == {"TAG": "v-mainlib", "EMPTY": "", "PLAIN": plain}
    assert "from a" not in json.dumps(made, default=str)
    found = {}
    for artifact in made["output"]["outputArtifacts"]:
        place = artifact["s3location"]
        written = builder.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
        with zipfile.ZipFile(io.BytesIO(written)) as archive:
            found[artifact["name"]] = {entry: archive.read(entry).decode() for entry in archive.namelist()}
    assert found == {"One": {"first": "mainlib"}, "Two_2": {"second": f"{plain}, from a parameter, from a secret"}}
    asked = until(
        lambda: next(
            (
                one["input"]["resolvedConfiguration"]
                for one in codepipeline.list_action_executions(pipelineName=name)["actionExecutionDetails"]
                if one["actionName"] == "Ask" and "#{" not in one["input"]["resolvedConfiguration"]["CustomData"]
            ),
            None,
        )
    )
    assert asked == {"CustomData": f"v-mainlib[]{plain}"}


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        ({"PrimarySource": "#{variables.Given}"}, "PrimarySource 'other' of action 'Make' is not one of its input artifacts"),
        ({"BatchEnabled": "#{variables.True}"}, "Penstock does not run batch builds from pipelines yet. Remove BatchEnabled"),
        ({"EnvironmentVariables": "#{variables.Given}"}, "EnvironmentVariables of action 'Make' cannot be read: "),
        ({"ProjectName": "#{variables.Given}"}, "(Service: AWSCodeBuild; Status Code: 400; Error Code: ResourceNotFoundException)"),
        ({"BuildspecOverride": "#{Src.Nope}"}, "Action name=[Make]. This can result when a variable is referenced that does not"),
    ],
)  # fmt: skip
def test_values_that_no_build_can_begin_with(builder: Builder, artifacts: str, configuration: dict, says: str):
    codepipeline = builder.live.client("codepipeline")
    name, _ = pipeline_of(builder, artifacts, "p", "lib.zip", "app.zip", PrimarySource="app")
    declared = codepipeline.get_pipeline(name=name)["pipeline"]
    declared["pipelineType"] = "V2"
    declared["variables"] = [{"name": "Given", "defaultValue": "other"}, {"name": "True", "defaultValue": "true"}]
    declared["stages"][0]["actions"][0]["namespace"] = "Src"
    declared["stages"][1]["actions"][0]["configuration"] |= configuration
    codepipeline.update_pipeline(pipeline=declared)
    run = codepipeline.start_pipeline_execution(name=name)["pipelineExecutionId"]
    made = action_of(builder, name, lambda one: one["pipelineExecutionId"] == run and one["status"] != "InProgress")
    assert made["status"] == "Failed"
    assert says in made["output"]["executionResult"]["errorDetails"]["message"]
