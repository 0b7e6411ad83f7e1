"""Commands of pipelines' actions and rules, which run as builds without a project, on a live server."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from penstock_builder import Builder
from penstock_console import Visitor, allow, user
from penstock_pipeline_commands import Pipeline, result, run_commands, stage, store_of
from penstock_waiting import until

ACCOUNT = "111111111111"
SECRET = "tr0ub4dor&3-correct-horse"


@pytest.fixture(scope="module")
def bucket(builder: Builder) -> str:
    """Where pipelines find and keep artifacts."""
    return store_of(builder)


def test_commands_from_their_artifacts_to_a_later_stage(builder: Builder, bucket: str):
    """Variables, secrets, artifacts, output variables, the log and its links."""
    kept = builder.live.client("secretsmanager").create_secret(
        Name=f"token-{uuid.uuid4().hex[:8]}", SecretString=json.dumps({"token": SECRET})
    )["Name"]
    make = run_commands(
        "Make",
        "mkdir -p out/deep && cat main $CODEBUILD_SRC_DIR_lib/lib > out/both",
        'echo "$GREETING" > out/deep/greeting; echo "secret $TOKEN"; echo "${#TOKEN}" > out/length; touch left-out',
        "cd out",
        "export VERSION=1.$(cat length)",
        "export QUOTED='a \"b\" $(false) #'",
        inputs=("app", "lib"),
        outputArtifacts=[{"name": "Out", "files": ["out/both", "out/deep/**", "**/length", "none/*.jar"]}],
        outputVariables=["VERSION", "QUOTED", "TOKEN", "AWS_DEFAULT_REGION", "CODEBUILD_BUILD_ID", "UNSET"],
        environmentVariables=[
            {"name": "GREETING", "value": "hello #{variables.Who}"},
            {"name": "TOKEN", "value": f"{kept}:token", "type": "SECRETS_MANAGER"},
        ],
        namespace="made",
    )
    use = run_commands(
        "Use",
        "cat out/both out/deep/greeting; ls -R; echo version=#{made.VERSION}",
        'test "$QUOTED" = \'a "b" $(false) #\' && echo kept as it was',
        inputs=("Out",),
        environmentVariables=[{"name": "QUOTED", "value": "#{made.QUOTED}"}],
    )
    pipeline = Pipeline(
        builder, bucket, stage("Build", make), stage("Use", use),
        variables=[{"name": "Who", "defaultValue": "$(hostname) `id` 'all'"}],
    )  # fmt: skip
    made = pipeline.ended("Make")
    id_ = result(made)["externalExecutionId"]
    assert made["status"] == "Succeeded", (made, pipeline.log(id_))
    assert id_ == f"commands.{pipeline.name}:{made['actionExecutionId']}"
    assert result(made)["externalExecutionUrl"].endswith(f"/console/builds/{id_}")
    stream = f"log-group:/aws/codepipeline/{pipeline.name}:log-stream:{made['actionExecutionId']}"
    assert result(made)["logStreamARN"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:{stream}"
    length = len(SECRET)
    assert made["output"]["outputVariables"] == {
        "VERSION": f"1.{length}",
        "QUOTED": 'a "b" $(false) #',
        "AWS_DEFAULT_REGION": "us-east-1",
        "CODEBUILD_BUILD_ID": id_,
    }
    place = made["output"]["outputArtifacts"][0]["s3location"]
    written = builder.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert sorted(archive.namelist()) == ["out/both", "out/deep/greeting", "out/length"]
        assert archive.read("out/deep/greeting") == b"hello $(hostname) `id` 'all'\n"
    assert "secret ***" in pipeline.log(id_)
    assert SECRET not in pipeline.log(id_)
    used = pipeline.ended("Use")
    said = pipeline.log(result(used)["externalExecutionId"])
    assert used["status"] == "Succeeded", said
    assert f"\nversion=1.{length}\n" in said
    assert "\nkept as it was" in said
    assert "mainlibhello" in said
    build = builder.get(id_)
    assert (build["initiator"], build["projectName"]) == (f"codepipeline/{pipeline.name}", f"commands.{pipeline.name}")
    assert build["serviceRole"] == pipeline.role
    user(builder.live, "commander", allow("*"))
    page = Visitor(builder.live, "commander").get(f"builds/{id_}")
    assert page.status == 200
    assert f"/console/pipelines/{pipeline.name}" in page.text
    assert " $ cd out " in page.visible_text
    project = build["projectName"]
    assert Visitor(builder.live, "commander").get(f"builds?project={project}").status == 200
    assert builder.codebuild.list_builds_for_project(projectName=project)["ids"] == [
        result(used)["externalExecutionId"],
        id_,
    ]
    with pytest.raises(ClientError, match="retried by its pipeline"):
        builder.codebuild.retry_build(id=id_)


def test_what_commands_cannot_do_fails_with_the_reason(builder: Builder, bucket: str):
    outputs = [{"name": "Out", "files": ["*.jar", "none/**"]}]
    pipeline = Pipeline(
        builder, bucket,
        stage(
            "Build",
            run_commands("Fails", "echo before; false", "echo never"),
            run_commands("Empty", "true", outputArtifacts=outputs),
            run_commands("Secret", "true", environmentVariables=[
                {"name": "TOKEN", "value": "not-there", "type": "SECRETS_MANAGER"}]),
            run_commands("Reserved", "true", environmentVariables=[{"name": "CODEBUILD_X", "value": "1"}]),
            run_commands("Windows", "true", configuration={"EnvironmentType": "WINDOWS_SERVER_2022_CONTAINER"}),
            run_commands("Whole", "echo > more", outputArtifacts=[{"name": "All"}]),
        ),
    )  # fmt: skip
    start = "Build terminated with state: FAILED. Phase: "
    for name, code, message in (
        (
            "Fails",
            "JobFailed",
            f"{start}BUILD, Code: COMMAND_EXECUTION_ERROR, Message: Error while executing command: echo before; false. "
            "Reason: exit status 1",
        ),
        (
            "Empty",
            "JobFailed",
            f"{start}UPLOAD_ARTIFACTS, Code: CLIENT_ERROR, Message: no matching artifact paths found",
        ),
        (
            "Reserved",
            "ConfigurationError",
            "Environment variable names starting with CODEBUILD_ are reserved: CODEBUILD_X",
        ),
        (
            "Windows",
            "ConfigurationError",
            "Environments of type WINDOWS_SERVER_2022_CONTAINER are not served: builds run on Linux",
        ),
    ):
        assert result(pipeline.ended(name))["errorDetails"] == {"code": code, "message": message}
    refused = result(pipeline.ended("Secret"))["errorDetails"]["message"]
    assert refused.startswith(
        f"{start}DOWNLOAD_SOURCE, Code: Secrets Manager Error, Message: ResourceNotFoundException"
    )
    assert "never" not in pipeline.log(result(pipeline.ended("Fails"))["externalExecutionId"])
    whole = pipeline.ended("Whole")
    place = whole["output"]["outputArtifacts"][0]["s3location"]
    written = builder.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert sorted(archive.namelist()) == ["main", "more"]


def test_the_role_of_the_action_is_what_its_commands_have(builder: Builder, bucket: str):
    """The pipeline's role assumes it; its permissions are those of the commands, the artifacts and the log."""
    pipelines = builder.make_role("s3:*", "sts:AssumeRole", service="codepipeline.amazonaws.com")
    acts_as = builder.make_role("logs:*", "s3:*")
    allow = {"Effect": "Allow", "Principal": {"AWS": pipelines}, "Action": "sts:AssumeRole"}
    builder.live.client("iam").update_assume_role_policy(
        RoleName=acts_as.rpartition("/")[2], PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    pipeline = Pipeline(
        builder, bucket,
        stage(
            "Build",
            run_commands("Mine", "aws sts get-caller-identity --query Arn --output text", roleArn=acts_as),
            run_commands("Silent", "true"),
        ),
        role=pipelines,
    )  # fmt: skip
    mine = pipeline.ended("Mine")
    said = pipeline.log(result(mine)["externalExecutionId"])
    assert mine["status"] == "Succeeded", said
    assert f":assumed-role/{acts_as.rpartition('/')[2]}/commands-{mine['actionExecutionId']}" in said
    silent = result(pipeline.ended("Silent"))["errorDetails"]
    assert silent["code"] == "JobFailed"
    assert "logs:CreateLogStream" in silent["message"]


def sleeping(seconds: str) -> int:
    """How many processes of this machine sleep for so long."""
    asked = f"sleep\0{seconds}\0".encode()
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += path.read_bytes() == asked
    return found


@pytest.mark.parametrize("how", ["abandon", "delete", "stop-build", "rule"])
def test_an_action_that_is_given_up_takes_its_processes_with_it(builder: Builder, bucket: str, how: str):
    seconds = str(uuid.uuid4().int % 10**9 + 10**9)
    line = f"(trap '' TERM HUP; sleep {seconds} & sleep {seconds}) & sleep {seconds}"
    kind = {"category": "Rule", "owner": "AWS", "provider": "Commands", "version": "1"}
    rules = [{"name": "Slow", "ruleTypeId": kind, "commands": [line]}]
    gate = {"beforeEntry": {"conditions": [{"result": "FAIL", "rules": rules}]}} if how == "rule" else {}
    pipeline = Pipeline(builder, bucket, stage("Build", run_commands("Slow", line), **gate))
    id_ = pipeline.started_rule() if gate else pipeline.started("Slow")
    builder.until(id_, lambda build: build["currentPhase"] == "BUILD")
    until(lambda: sleeping(seconds) == 3)
    if how in ("abandon", "rule"):
        run = pipeline.actions()[0]["pipelineExecutionId"]
        pipeline.client.stop_pipeline_execution(
            pipelineName=pipeline.name, pipelineExecutionId=run, abandon=how == "abandon"
        )
    elif how == "delete":
        pipeline.client.delete_pipeline(name=pipeline.name)
    else:
        builder.codebuild.stop_build(id=id_)
    build = builder.ended(id_)
    assert build["buildStatus"] == "STOPPED"
    assert sleeping(seconds) == 0
    if how == "abandon":
        assert pipeline.ended("Slow")["status"] == "Abandoned"
    if how == "stop-build":
        ended = result(pipeline.ended("Slow"))["errorDetails"]["message"]
        assert ended.startswith("Build terminated with state: STOPPED")


def test_nobody_but_an_action_runs_commands(builder: Builder, bucket: str):
    """Over HTTP nobody is an action, whatever a session is called, and in process only the role of the build."""
    pipeline = Pipeline(builder, bucket, stage("Build", run_commands("Slow", "sleep 600")))
    id_ = pipeline.started("Slow")
    named = {"pipelineName": pipeline.name}
    live = builder.live
    ours = live.client("penstock")
    for operation, given in (
        (ours.start_action_commands, {}),
        (ours.get_action_commands, named),
        (ours.stop_action_commands, named),
    ):
        with pytest.raises(ClientError, match="Only a running action of a pipeline has commands"):
            operation(**given)
    another = builder.make_role("*")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    live.client("iam").update_assume_role_policy(
        RoleName=another.rpartition("/")[2], PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    keys = live.client("sts").assume_role(RoleArn=another, RoleSessionName=id_.rpartition(":")[2])["Credentials"]

    async def in_process(operation: str, given: dict[str, str]) -> dict[str, Any]:
        found = await live.app.identity.credential(keys["AccessKeyId"], keys["SessionToken"])
        return await live.app.invoke(found.session, "penstock", operation, given, region="us-east-1")

    for operation, given in (
        ("StartActionCommands", {}),
        ("GetActionCommands", named),
        ("StopActionCommands", named),
    ):
        with pytest.raises(Exception, match="Only a running action of a pipeline has commands"):
            live.run(in_process(operation, given))
    assert builder.get(id_)["buildStatus"] == "IN_PROGRESS"
    builder.codebuild.stop_build(id=id_)
    builder.ended(id_)


def test_a_rule_holds_where_its_commands_succeed(builder: Builder, bucket: str):
    kind = {"category": "Rule", "owner": "AWS", "provider": "Commands", "version": "1"}

    def rule(name: str, *lines: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "ruleTypeId": kind, "commands": list(lines), **more}

    entry = {"conditions": [{"result": "FAIL", "rules": [
        rule("Holds", "grep main main; test '#{variables.Go}' = yes", inputArtifacts=[{"name": "app"}]),
        rule("Bare", 'test -z "$(ls)"'),
    ]}]}  # fmt: skip
    after = {"conditions": [{"result": "FAIL", "rules": [rule("Breaks", "exit 7")]}]}
    pipeline = Pipeline(
        builder, bucket,
        stage("Build", run_commands("Make", "true"), beforeEntry=entry, onSuccess=after),
        variables=[{"name": "Go", "defaultValue": "yes"}],
    )  # fmt: skip

    def rules() -> dict[str, Any]:
        found = pipeline.client.list_rule_executions(pipelineName=pipeline.name)["ruleExecutionDetails"]
        return {one["ruleName"]: one for one in found if one["status"] != "InProgress"}

    found = until(lambda: ready if len(ready := rules()) == 3 else None, why=rules)
    assert {name: one["status"] for name, one in found.items()} == {
        "Holds": "Succeeded",
        "Bare": "Succeeded",
        "Breaks": "Failed",
    }
    details = found["Breaks"]["output"]["executionResult"]
    assert "Reason: exit status 7" in details["errorDetails"]["message"]
    assert pipeline.log(details["externalExecutionId"])
