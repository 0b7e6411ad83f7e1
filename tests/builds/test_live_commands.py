"""Commands of pipelines' actions and rules, which run as builds without a project, on a live server."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from penstock_builder import Builder, commands, sleeping
from penstock_console import Visitor, allow, user
from penstock_pipeline_commands import Pipeline, result, run_commands, stage, store_of, zipped
from penstock_waiting import until

from penstock.builds.model import Key
from penstock.builds.session import assume
from penstock.wire.errors import AccessDenied

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


def test_hostile_commands_end_their_action_and_nothing_else(builder: Builder, bucket: str):
    long = "x" * 1000
    pipeline = Pipeline(
        builder, bucket,
        stage(
            "Build",
            run_commands("Quote", "echo 'open", "echo never"),
            run_commands("Yaml", "echo '{a: b}' # - [", "echo : ; echo '%' \"\\x\" é☃ >&2", f"true {long[:990]}"),
            run_commands("Large", *[f"true {'#{variables.Long}' * 50}"] * 50),
            run_commands("Outside", "true", outputArtifacts=[{"name": "Out", "files": ["../../../../../../etc/passwd*"]}]),
            run_commands("Injected", "echo #{variables.Bad}"),
            run_commands("Quoted", 'test "$BAD" = "x; exit 3"', environmentVariables=[
                {"name": "BAD", "value": "#{variables.Bad}"}]),
        ),
        variables=[{"name": "Long", "defaultValue": long}, {"name": "Bad", "defaultValue": "x; exit 3"}],
    )  # fmt: skip
    failed = "Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: Error while executing command: "
    for name, code, message in (
        ("Quote", "JobFailed", f"{failed}echo 'open. Reason: exit status 2"),
        ("Large", "ConfigurationError", "is larger than 102400 bytes after its variables are resolved"),
        ("Outside", "JobFailed", "no matching artifact paths found"),
        # As on AWS: what replaces a reference is a part of the command. In a variable of the environment it is not.
        ("Injected", "JobFailed", f"{failed}echo x; exit 3. Reason: exit status 3"),
    ):
        found = result(pipeline.ended(name))["errorDetails"]
        assert (found["code"], message in found["message"]) == (code, True), found
    for name in ("Yaml", "Quoted"):
        assert pipeline.ended(name)["status"] == "Succeeded", pipeline.actions()


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


@pytest.mark.parametrize("how", ["abandon", "delete", "stop-build", "rule", "delete-rule"])
def test_an_action_that_is_given_up_takes_its_processes_with_it(builder: Builder, bucket: str, how: str):
    seconds = str(uuid.uuid4().int % 10**9 + 10**9)
    line = f"(trap '' TERM HUP; sleep {seconds} & sleep {seconds}) & sleep {seconds}"
    kind = {"category": "Rule", "owner": "AWS", "provider": "Commands", "version": "1"}
    rules = [{"name": "Slow", "ruleTypeId": kind, "commands": [line]}]
    gate = {"beforeEntry": {"conditions": [{"result": "FAIL", "rules": rules}]}} if how.endswith("rule") else {}
    pipeline = Pipeline(builder, bucket, stage("Build", run_commands("Slow", line), **gate))
    id_ = pipeline.started_rule() if gate else pipeline.started("Slow")
    builder.until(id_, lambda build: build["currentPhase"] == "BUILD")
    until(lambda: sleeping(seconds) == 3)
    if how in ("abandon", "rule"):
        run = pipeline.actions()[0]["pipelineExecutionId"]
        pipeline.client.stop_pipeline_execution(
            pipelineName=pipeline.name, pipelineExecutionId=run, abandon=how == "abandon"
        )
    elif how.startswith("delete"):
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
    live.client("iam").update_assume_role_policy(
        RoleName=pipeline.role.rpartition("/")[2],
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    keys = live.client("sts").assume_role(RoleArn=pipeline.role, RoleSessionName=id_.rpartition(":")[2])["Credentials"]

    async def twice() -> list[dict[str, Any]]:
        return await asyncio.gather(*(in_process("StartActionCommands", {}) for _ in range(2)))

    assert [answer["run"]["id"] for answer in live.run(twice())] == [id_, id_]
    assert builder.get(id_)["buildStatus"] == "IN_PROGRESS"
    assert builder.codebuild.list_builds_for_project(projectName=f"commands.{pipeline.name}")["ids"] == [id_]
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


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "commands"


def test_the_example_runs_with_the_permissions_that_it_names(builder: Builder):
    client = builder.live.client
    iam, pipelines = client("iam"), client("codepipeline")
    for name in ("site-source", "site-artifacts", "site-web"):
        builder.s3.create_bucket(Bucket=name)
    builder.s3.put_bucket_versioning(Bucket="site-source", VersioningConfiguration={"Status": "Enabled"})
    iam.create_role(RoleName="site", AssumeRolePolicyDocument=(EXAMPLE / "trust.json").read_text())
    iam.put_role_policy(RoleName="site", PolicyName="site", PolicyDocument=(EXAMPLE / "permissions.json").read_text())
    source = {path.name: path.read_text() for path in (EXAMPLE / "source").iterdir()}
    builder.s3.put_object(Bucket="site-source", Key="source.zip", Body=zipped(**source))
    pipelines.create_pipeline(**json.loads((EXAMPLE / "pipeline.json").read_text()))
    title = 'It\'s <new> & "$(id)"'
    second = pipelines.start_pipeline_execution(name="site", variables=[{"name": "Title", "value": title}])

    def ended() -> list[str] | None:
        found = pipelines.list_pipeline_executions(pipelineName="site")["pipelineExecutionSummaries"]
        statuses = {one["pipelineExecutionId"]: one["status"] for one in found}
        over = all(status not in ("InProgress", "Stopping") for status in statuses.values())
        return [statuses[second["pipelineExecutionId"]]] if over else None

    def why() -> object:
        return pipelines.get_pipeline_state(name="site")

    assert until(ended, why=why) == ["Succeeded"], why()
    (page,) = builder.s3.list_objects_v2(Bucket="site-web")["Contents"]
    assert page["Key"].startswith("1.0-")
    assert page["Key"].endswith("/public/index.html")
    shown = builder.s3.get_object(Bucket="site-web", Key=page["Key"])["Body"].read().decode()
    assert '<title>It\'s &lt;new&gt; &amp; "$(id)"</title>' in shown


def test_a_rule_that_builds_starts_in_its_primary_source(builder: Builder, bucket: str):
    reads = {"type": "CODEPIPELINE"}
    spec = commands('cat lib "$CODEBUILD_SRC_DIR_app/main"', 'test "$WANTED" = "a \'b\'"')
    project = builder.project(spec, source=reads, artifacts=reads)
    kind = {"category": "Rule", "owner": "AWS", "provider": "CodeBuild", "version": "1"}
    wanted = json.dumps([{"name": "WANTED", "value": "#{variables.Wanted}"}])
    rule = {
        "name": "Looks",
        "ruleTypeId": kind,
        "configuration": {"ProjectName": project, "PrimarySource": "lib", "EnvironmentVariables": wanted},
        "inputArtifacts": [{"name": "app"}, {"name": "lib"}],
    }
    entry = {"conditions": [{"result": "FAIL", "rules": [rule]}]}
    more = {"role": builder.make_role("logs:*", "s3:*", "codebuild:*", service="codepipeline.amazonaws.com")}
    declared = {"variables": [{"name": "Wanted", "defaultValue": "a 'b'"}]}
    pipeline = Pipeline(
        builder, bucket, stage("Build", run_commands("Make", "true"), beforeEntry=entry), **more, **declared
    )
    assert pipeline.ended("Make")["status"] == "Succeeded"
    (found,) = pipeline.client.list_rule_executions(pipelineName=pipeline.name)["ruleExecutionDetails"]
    assert "libmain" in builder.log(result(found)["externalExecutionId"])
    for given, message in (
        ({}, "Rule configuration for rule 'Looks' is missing required configuration 'PrimarySource'"),
        ({"PrimarySource": "none"}, "PrimarySource 'none' of rule 'Looks' is not one of its input artifacts"),
    ):
        bad = {**rule, "configuration": {"ProjectName": project, **given}}
        entry = {"conditions": [{"result": "FAIL", "rules": [bad]}]}
        with pytest.raises(ClientError, match=message):
            Pipeline(builder, bucket, stage("Build", run_commands("Make", "true"), beforeEntry=entry), **more)


def test_an_action_that_has_ended_gives_its_role_to_nobody(builder: Builder):
    """So that a build that was asked for in its last moment does not begin."""
    key = Key(ACCOUNT, "us-east-1", f"commands.shop:{uuid.uuid4()}")
    request: Any = SimpleNamespace(key=key, commands={})
    with pytest.raises(AccessDenied, match=f"There is no running action '{key.uuid}'"):
        builder.live.run(assume(builder.live.app, request))
