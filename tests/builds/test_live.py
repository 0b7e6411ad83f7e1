"""How builds run, as boto3 and the AWS CLI see it on a live server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import uuid

import pytest
from botocore.exceptions import ClientError
from penstock_builder import Builder, commands, failure, phases
from penstock_waiting import until


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def message(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Message"]


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
    id_ = builder.start(builder.project(commands("echo early", "sleep 600")))
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


def test_values_from_parameters_and_secrets_reach_commands_and_nothing_else(builder: Builder):
    """Decrypted under the build's role; the build shows what it refers to, and no file but the build's own ever has a value."""
    ssm = builder.live.client("ssm")
    name = f"/build/{uuid.uuid4().hex}"
    secret, line = f"hush-{uuid.uuid4().hex}", f"key-{uuid.uuid4().hex}"
    ssm.put_parameter(Name=f"{name}/token", Value=secret, Type="SecureString")
    ssm.put_parameter(Name=f"{name}/key", Value=f"-----BEGIN-----\n{line}\n", Type="SecureString")
    ssm.put_parameter(Name=f"{name}/host", Value="shop.example", Type="String")
    password = f"pass-{uuid.uuid4().hex}"
    database = builder.live.client("secretsmanager").create_secret(
        Name=name, SecretString=json.dumps({"user": "shop", "password": password})
    )["ARN"]
    spec = commands(
        'test "$TOKEN" = "$(echo $SPELT | tr + -)"; echo "token $TOKEN, host $HOST_NAME, first $FIRST"',
        'test "$FIRST" = shop.example || exit 1; echo "$KEY"',
        'echo "${#DB_PASSWORD} characters: $DB_PASSWORD"',
        env={
            "parameter-store": {"TOKEN": f"{name}/token", "KEY": f"{name}/key", "HOST_NAME": "/none"},
            "secrets-manager": {"DB_PASSWORD": f"{database}:password"},
            "exported-variables": ["TOKEN", "DB_PASSWORD"],
        },
    )
    environment = {
        "type": "LINUX_CONTAINER",
        "image": "i",
        "computeType": "BUILD_GENERAL1_SMALL",
        "environmentVariables": [
            {"name": "HOST_NAME", "value": "plain"},
            {"name": "FIRST", "value": f"{name}/host:1", "type": "PARAMETER_STORE"},
            {"name": "SPELT", "value": secret.replace("-", "+")},
        ],
    }
    role = builder.make_role("logs:*", "ssm:GetParameters", "secretsmanager:GetSecretValue")
    build = builder.run(builder.project(spec, environment=environment, serviceRole=role))
    assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
    assert build["environment"]["environmentVariables"][1] == environment["environmentVariables"][1]
    assert "exportedEnvironmentVariables" not in build
    log = builder.log(build["id"])
    assert "token ***, host plain, first ***" in log
    assert f"{len(password)} characters: ***" in log
    uuid_ = build["id"].partition(":")[2]
    until(lambda: not (builder.live.data_dir / "builds" / uuid_).exists())
    for file in (path for path in builder.live.data_dir.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for hushed in (secret, line, password):
            assert hushed.encode() not in content, (hushed, file)
    assert line not in log


@pytest.mark.parametrize(
    ("section", "kind", "action", "resource"),
    [
        ("parameter-store", "Decrypted Variables Error", "ssm:GetParameters", "ssm:us-east-1:111111111111:parameter/secret"),
        ("secrets-manager", "Secrets Manager Error", "secretsmanager:GetSecretValue", "secretsmanager:us-east-1:111111111111:secret:/secret-??????"),
    ],
)  # fmt: skip
def test_a_role_that_may_not_read_a_value_fails_the_download(
    builder: Builder, section: str, kind: str, action: str, resource: str
):
    build = builder.run(builder.project(commands("true", env={section: {"A": "/secret"}})))
    code, message = failure(build, "DOWNLOAD_SOURCE")
    assert code == kind
    assert message.startswith("AccessDeniedException: User: arn:aws:sts::")
    assert f"is not authorized to perform: {action} on resource: arn:aws:{resource} because" in message
    assert "INSTALL" not in phases(build)


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
    stopped = builder.start(name, environmentVariablesOverride=[{"name": "N", "value": "600"}])
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
