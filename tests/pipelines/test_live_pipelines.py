"""Pipelines as their customers use them: boto3 and the AWS CLI against the complete application."""

from __future__ import annotations

import io
import json
import shutil
import zipfile

import botocore.exceptions
import pytest
from penstock_agents import agents
from penstock_agents import bundle as release
from penstock_git import Clone, git_environment, with_key
from penstock_starter import PENSTOCK, run
from penstock_waiting import until

ACCOUNT = "111111111111"


def wait_for(found_now, what):
    return until(found_now, why=lambda: f"({what})")


@pytest.fixture(scope="module")
def world(live):
    """A role for pipelines, a versioned bucket to watch and one for artifacts."""
    iam, s3 = live.client("iam"), live.client("s3")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="pipeline", PolicyName="all", PolicyDocument=json.dumps(may))
    for bucket in ("watched", "artifacts"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return role


def bundle(text):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.html", text)
    return packed.getvalue()


def kind(category, provider):
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


def source(provider, **configuration):
    return {
        "name": "Source",
        "actions": [
            {
                "name": "Fetch",
                "actionTypeId": kind("Source", provider),
                "configuration": configuration,
                "outputArtifacts": [{"name": "App"}],
                "namespace": "Src",
            }
        ],
    }


GATE = {
    "name": "Gate",
    "actions": [
        {
            "name": "Approve",
            "actionTypeId": kind("Approval", "Manual"),
            "configuration": {"CustomData": "run #{codepipeline.PipelineExecutionId}"},
        }
    ],
}


def declared(name, role, *stages):
    return {
        "name": name,
        "roleArn": role,
        "artifactStore": {"type": "S3", "location": "artifacts"},
        "stages": list(stages),
    }


def executions(client, name):
    return client.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]


def status_of(client, name, execution):
    got = client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)
    return got["pipelineExecution"]["status"]


def token_of(client, name):
    state = client.get_pipeline_state(name=name)
    return state["stageStates"][1]["actionStates"][0].get("latestExecution", {}).get("token")


def test_an_object_goes_through_an_approval(live, world):
    pipelines, s3 = live.client("codepipeline"), live.client("s3")
    s3.put_object(Bucket="watched", Key="app.zip", Body=bundle("one"))
    made = pipelines.create_pipeline(
        pipeline=declared("web", world, source("S3", S3Bucket="watched", S3ObjectKey="app.zip"), GATE)
    )
    assert made["pipeline"]["version"] == 1
    (first,) = executions(pipelines, "web")
    token = wait_for(lambda: token_of(pipelines, "web"), "the approval")
    got = pipelines.get_pipeline_execution(pipelineName="web", pipelineExecutionId=first["pipelineExecutionId"])
    (revision,) = got["pipelineExecution"]["artifactRevisions"]
    assert revision["name"] == "App"
    answered = pipelines.put_approval_result(
        pipelineName="web",
        stageName="Gate",
        actionName="Approve",
        result={"summary": "good", "status": "Approved"},
        token=token,
    )
    assert answered["approvedAt"].year > 2020
    wait_for(lambda: status_of(pipelines, "web", first["pipelineExecutionId"]) == "Succeeded", "success")
    details = pipelines.list_action_executions(pipelineName="web")["actionExecutionDetails"]
    (artifact,) = details[1]["output"]["outputArtifacts"]
    stored = s3.get_object(Bucket="artifacts", Key=artifact["s3location"]["key"])["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(stored)).read("index.html") == b"one"
    assert details[0]["input"]["resolvedConfiguration"]["CustomData"] == f"run {first['pipelineExecutionId']}"
    assert details[0]["startTime"] >= details[1]["startTime"]


def test_the_journal_of_an_execution_is_shown(live, world):
    pipelines = live.client("codepipeline")
    live.client("s3").put_object(Bucket="watched", Key="journal.zip", Body=bundle("one"))
    stages = (source("S3", S3Bucket="watched", S3ObjectKey="journal.zip"), GATE)
    pipelines.create_pipeline(pipeline=declared("journalled", world, *stages))
    (first,) = executions(pipelines, "journalled")
    id = first["pipelineExecutionId"]
    token = wait_for(lambda: token_of(pipelines, "journalled"), "the approval")
    answer = {"summary": "good", "status": "Approved"}
    pipelines.put_approval_result(
        pipelineName="journalled", stageName="Gate", actionName="Approve", result=answer, token=token
    )
    wait_for(lambda: status_of(pipelines, "journalled", id) == "Succeeded", "success")
    described = run(PENSTOCK, "journal", id, "--json", env=live.environment())
    assert described.returncode == 0, described.stderr
    entries = [json.loads(line) for line in described.stdout.splitlines()]
    assert [entry["input"]["type"] for entry in entries] == [
        "StartRequested", "ActionSucceeded", "ActionReported", "ApprovalAnswered",
    ]  # fmt: skip
    me = live.client("sts").get_caller_identity()["Arn"]
    assert [entry.get("actor", "") for entry in entries] == [me, "", "", me]
    assert entries[1]["input"]["details"]["revision"]["id"]
    plain = run(PENSTOCK, "journal", id, env=live.environment()).stdout
    assert f"ApprovalAnswered execution={id}" in plain
    assert "→ ActionEnded execution=" in plain
    complete = run(PENSTOCK, "journal", "journalled", "--json", env=live.environment())
    assert json.loads(complete.stdout.splitlines()[0])["input"]["type"] == "PipelineCreated"


def test_a_new_object_starts_it(live, world):
    pipelines, s3 = live.client("codepipeline"), live.client("s3")
    s3.put_object(Bucket="watched", Key="auto.zip", Body=bundle("one"))
    pipelines.create_pipeline(
        pipeline=declared("auto", world, source("S3", S3Bucket="watched", S3ObjectKey="auto.zip"), GATE)
    )
    wait_for(lambda: token_of(pipelines, "auto"), "the first run")
    version = s3.put_object(Bucket="watched", Key="auto.zip", Body=bundle("two"))["VersionId"]
    wait_for(lambda: len(executions(pipelines, "auto")) == 2, "the second run")
    newest = executions(pipelines, "auto")[0]
    assert newest["trigger"] == {"triggerType": "PollForSourceChanges", "triggerDetail": "Fetch"}
    described = wait_for(lambda: executions(pipelines, "auto")[0]["sourceRevisions"], "the fetch")
    assert described[0]["revisionId"] == version


def test_the_aws_cli(live, world, tmp_path):
    live.client("s3").put_object(Bucket="watched", Key="cli.zip", Body=bundle("one"))
    file = tmp_path / "pipeline.json"
    document = {"pipeline": declared("cli", world, source("S3", S3Bucket="watched", S3ObjectKey="cli.zip"), GATE)}
    file.write_text(json.dumps(document))
    live.aws("codepipeline", "create-pipeline", "--cli-input-json", f"file://{file}")
    token = wait_for(lambda: token_of(live.client("codepipeline"), "cli"), "the approval")
    live.aws(
        "codepipeline", "put-approval-result", "--pipeline-name", "cli", "--stage-name", "Gate", "--action-name",
        "Approve", "--result", "summary=no,status=Rejected", "--token", token,
    )  # fmt: skip
    state = live.aws("codepipeline", "get-pipeline-state", "--name", "cli")
    assert state["stageStates"][1]["latestExecution"]["status"] == "Failed"
    started = live.aws("codepipeline", "start-pipeline-execution", "--name", "cli")
    stopped = live.aws(
        "codepipeline", "stop-pipeline-execution", "--pipeline-name", "cli", "--pipeline-execution-id",
        started["pipelineExecutionId"], "--abandon", "--reason", "enough",
    )  # fmt: skip
    assert stopped == started
    names = [p["name"] for p in live.aws("codepipeline", "list-pipelines")["pipelines"]]
    assert "cli" in names
    live.aws("codepipeline", "delete-pipeline", "--name", "cli")
    failed = live.aws("codepipeline", "get-pipeline", "--name", "cli", check=False)
    assert f"Account '{ACCOUNT}' does not have a pipeline with name 'cli'" in failed.stderr


def test_a_role_that_trusts_someone_else_is_refused(live, world):
    iam, pipelines = live.client("iam"), live.client("codepipeline")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    other = iam.create_role(RoleName="builder", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    stages = (source("S3", S3Bucket="watched", S3ObjectKey="x.zip"), GATE)
    for role in (other, f"arn:aws:iam::{ACCOUNT}:role/nobody"):
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            pipelines.create_pipeline(pipeline=declared("never", role, *stages))
        assert refused.value.response["Error"] == {
            "Code": "InvalidStructureException",
            "Message": f"CodePipeline is not authorized to perform AssumeRole on role {role}",
        }


def test_a_missing_object_fails_with_a_reason(live, world):
    pipelines = live.client("codepipeline")
    pipelines.create_pipeline(
        pipeline=declared("lost", world, source("S3", S3Bucket="watched", S3ObjectKey="lost.zip"), GATE)
    )
    (run,) = executions(pipelines, "lost")
    wait_for(lambda: status_of(pipelines, "lost", run["pipelineExecutionId"]) == "Failed", "failure")
    detail = pipelines.list_action_executions(pipelineName="lost")["actionExecutionDetails"][0]
    error = detail["output"]["executionResult"]["errorDetails"]
    assert error["code"] == "ConfigurationError"
    assert "The object with key 'lost.zip' does not exist" in error["message"]


def test_what_an_action_calls_is_in_the_request_log(live, world):
    pipelines, s3 = live.client("codepipeline"), live.client("s3")
    s3.put_object(Bucket="watched", Key="logged.zip", Body=bundle("one"))
    build = {
        "name": "Build",
        "actions": [
            {
                "name": "Compile",
                "actionTypeId": kind("Build", "CodeBuild"),
                "configuration": {"ProjectName": "nowhere"},
                "inputArtifacts": [{"name": "App"}],
            }
        ],
    }
    stages = (source("S3", S3Bucket="watched", S3ObjectKey="logged.zip"), build)
    pipelines.create_pipeline(pipeline=declared("logged", world, *stages))
    (run,) = executions(pipelines, "logged")
    wait_for(lambda: status_of(pipelines, "logged", run["pipelineExecutionId"]) == "Failed", "the failure")

    def called(operation):
        lines = map(json.loads, (live.data_dir / "logs" / "requests.jsonl").read_text().splitlines())
        return [line for line in lines if line["via"] == "invoke" and line["operation"] == operation]

    (started,) = wait_for(lambda: called("StartBuild"), "the line of StartBuild")
    assert (started["service"], started["status"], started["code"]) == ("codebuild", 400, "ResourceNotFoundException")
    assert started["origin"] == "codepipeline.amazonaws.com"
    assert ":assumed-role/pipeline/" in started["principal"]
    assert {line["status"] for line in called("CopyObject")} == {200}


def test_a_push_goes_to_a_deployment(live, world, tmp_path):
    pipelines, deploy = live.client("codepipeline"), live.client("codedeploy")
    made = live.client("codecommit").create_repository(repositoryName="shop")["repositoryMetadata"]
    url = with_key(made["cloneUrlHttp"], live.keys())
    work = Clone(tmp_path, git_environment(tmp_path))
    work("init", "-q", "-b", "main")
    work.commit("one")
    work("push", "-q", url, "main")
    deploy.create_application(applicationName="shop", computePlatform="Server")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "codedeploy.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam = live.client("iam")
    role = iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    deploy.create_deployment_group(
        applicationName="shop",
        deploymentGroupName="live",
        serviceRoleArn=role,
        onPremisesInstanceTagFilters=[{"Key": "Name", "Value": "nobody", "Type": "KEY_AND_VALUE"}],
    )
    rollout = {
        "name": "Deploy",
        "actions": [
            {
                "name": "Roll",
                "actionTypeId": kind("Deploy", "CodeDeploy"),
                "configuration": {"ApplicationName": "shop", "DeploymentGroupName": "live"},
                "inputArtifacts": [{"name": "App"}],
            }
        ],
    }
    fetch = source("CodeCommit", RepositoryName="shop", BranchName="main")
    pipelines.create_pipeline(pipeline=declared("shop", world, fetch, rollout))
    (run,) = executions(pipelines, "shop")

    def ended():
        return status_of(pipelines, "shop", run["pipelineExecutionId"]) != "InProgress"

    wait_for(ended, "the end")
    rolled, fetched = pipelines.list_action_executions(pipelineName="shop")["actionExecutionDetails"]
    head = work("rev-parse", "HEAD").stdout.strip()
    assert fetched["output"]["outputVariables"]["CommitId"] == head
    assert fetched["output"]["outputVariables"]["BranchName"] == "main"
    result = rolled["output"]["executionResult"]
    deployment = deploy.get_deployment(deploymentId=result["externalExecutionId"])["deploymentInfo"]
    assert deployment["revision"]["s3Location"]["bundleType"] == "zip"
    assert deployment["status"] == "Failed"  # nobody is in the group
    assert rolled["status"] == "Failed"
    assert result["errorDetails"]["message"] == deployment["errorInformation"]["message"]
    work.commit("two")
    work("push", "-q", url, "main")
    wait_for(lambda: len(executions(pipelines, "shop")) == 2, "the second run")
    newest = executions(pipelines, "shop")[0]
    assert newest["trigger"]["triggerType"] == "PollForSourceChanges"


def test_the_hosts_of_a_deploy_action_are_listed(live, world, tmp_path):
    pipelines, deploy = live.client("codepipeline"), live.client("codedeploy")
    live.client("s3").create_bucket(Bucket="bundles")
    live.client("s3").put_bucket_versioning(Bucket="bundles", VersioningConfiguration={"Status": "Enabled"})
    folder = release(tmp_path / "release", "1.0")
    packed = shutil.make_archive(str(tmp_path / "release"), "zip", folder)
    live.client("s3").upload_file(packed, "bundles", "app.zip")
    deploy.create_application(applicationName="hosts", computePlatform="Server")
    deploy.create_deployment_group(
        applicationName="hosts",
        deploymentGroupName="live",
        serviceRoleArn=service_role(live, "hosts-deployer", "codedeploy.amazonaws.com"),
        deploymentConfigName="CodeDeployDefault.AllAtOnce",
        onPremisesInstanceTagFilters=[{"Key": "role", "Value": "listed", "Type": "KEY_AND_VALUE"}],
    )
    roll = {
        "name": "Roll",
        "actionTypeId": kind("Deploy", "CodeDeploy"),
        "configuration": {"ApplicationName": "hosts", "DeploymentGroupName": "live"},
        "inputArtifacts": [{"name": "App"}],
    }
    fetch = source("S3", S3Bucket="bundles", S3ObjectKey="app.zip", PollForSourceChanges="false")
    with agents(live, tmp_path / "hosts", "one", "three", "two", tags="Key=role,Value=listed"):
        pipelines.create_pipeline(pipeline=declared("hosts", world, fetch, {"name": "Deploy", "actions": [roll]}))
        (run,) = executions(pipelines, "hosts")
        wait_for(lambda: status_of(pipelines, "hosts", run["pipelineExecutionId"]) == "Succeeded", "the end")
    rolled, fetched = pipelines.list_action_executions(pipelineName="hosts")["actionExecutionDetails"]
    of = {"pipelineName": "hosts", "actionExecutionId": rolled["actionExecutionId"]}
    answer = pipelines.list_deploy_action_execution_targets(**of)
    assert "nextToken" not in answer
    assert [one["targetId"] for one in answer["targets"]] == ["one", "three", "two"]
    first = answer["targets"][0]
    assert (first["targetType"], first["status"]) == ("InstanceTarget", "Succeeded")
    assert first["startTime"] <= first["events"][0]["startTime"] <= first["events"][-1]["endTime"] <= first["endTime"]
    assert {"name": "Install", "status": "Succeeded"}.items() <= next(
        one for one in first["events"] if one["name"] == "Install"
    ).items()
    pages = pipelines.get_paginator("list_deploy_action_execution_targets").paginate(
        actionExecutionId=rolled["actionExecutionId"], PaginationConfig={"PageSize": 2}
    )
    assert [[one["targetId"] for one in page["targets"]] for page in pages] == [["one", "three"], ["two"]]

    def having(*statuses):
        filters = [{"name": "TARGET_STATUS", "values": list(statuses)}]
        found = pipelines.list_deploy_action_execution_targets(**of, filters=filters)
        return len(found["targets"])

    assert (having("Succeeded", "Failed"), having("Failed"), having("Nonsense")) == (3, 0, 0)
    fetching = {**of, "actionExecutionId": fetched["actionExecutionId"]}
    assert pipelines.list_deploy_action_execution_targets(**fetching)["targets"] == []
    with pytest.raises(pipelines.exceptions.ActionExecutionNotFoundException):
        pipelines.list_deploy_action_execution_targets(**{**of, "pipelineName": "shop"})


BUILDSPEC = """\
version: 0.2
env:
  exported-variables: [GREETING]
phases:
  build:
    commands:
      - export GREETING="hello from $WHO"
      - cat file.txt > built.txt
artifacts:
  files: [built.txt]
"""


def service_role(live, name, service):
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam = live.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(may))
    return arn


def test_a_push_is_built(live, world, tmp_path):
    pipelines, s3 = live.client("codepipeline"), live.client("s3")
    made = live.client("codecommit").create_repository(repositoryName="lib")["repositoryMetadata"]
    url = with_key(made["cloneUrlHttp"], live.keys())
    work = Clone(tmp_path, git_environment(tmp_path))
    work("init", "-q", "-b", "main")
    (tmp_path / "buildspec.yml").write_text(BUILDSPEC)
    work.commit("one")
    work("push", "-q", url, "main")
    live.client("codebuild").create_project(
        name="lib",
        source={"type": "CODEPIPELINE"},
        artifacts={"type": "CODEPIPELINE"},
        environment={"type": "LINUX_CONTAINER", "image": "standard", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=service_role(live, "lib-build", "codebuild.amazonaws.com"),
    )
    build = {
        "name": "Build",
        "actions": [
            {
                "name": "Make",
                "actionTypeId": kind("Build", "CodeBuild"),
                "configuration": {
                    "ProjectName": "lib",
                    "EnvironmentVariables": json.dumps([{"name": "WHO", "value": "#{Src.CommitId}"}]),
                },
                "inputArtifacts": [{"name": "App"}],
                "outputArtifacts": [{"name": "Built"}],
                "namespace": "Made",
            }
        ],
    }
    gate = {
        "name": "Gate",
        "actions": [
            {
                "name": "Approve",
                "actionTypeId": kind("Approval", "Manual"),
                "configuration": {"CustomData": "#{Made.GREETING}"},
            }
        ],
    }
    fetch = source("CodeCommit", RepositoryName="lib", BranchName="main")
    pipelines.create_pipeline(pipeline=declared("lib", world, fetch, build, gate))

    def made_it():
        details = pipelines.list_action_executions(pipelineName="lib")["actionExecutionDetails"]
        failed = [d for d in details if d["status"] == "Failed"]
        assert not failed, failed[0]["output"]["executionResult"]
        found = {d["actionName"]: d for d in details}
        approve = found.get("Approve", {}).get("input", {}).get("resolvedConfiguration", {}).get("CustomData", "")
        return found if approve.startswith("hello") else None

    found = wait_for(made_it, "the approval after the build")
    head = work("rev-parse", "HEAD").stdout.strip()
    assert found["Approve"]["input"]["resolvedConfiguration"]["CustomData"] == f"hello from {head}"
    output = found["Make"]["output"]
    assert output["outputVariables"] == {"GREETING": f"hello from {head}"}
    assert output["executionResult"]["externalExecutionId"].startswith("lib:")
    (artifact,) = output["outputArtifacts"]
    stored = s3.get_object(Bucket="artifacts", Key=artifact["s3location"]["key"])["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(stored)).read("built.txt") == b"one"
    (build_id,) = live.client("codebuild").list_builds_for_project(projectName="lib")["ids"]
    described = live.client("codebuild").batch_get_builds(ids=[build_id])["builds"][0]
    assert described["initiator"] == "codepipeline/lib"


def test_who_may_not_pass_the_role_may_not_use_it(live, world):
    iam = live.client("iam")
    iam.create_user(UserName="dev")
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "codepipeline:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="dev", PolicyName="may", PolicyDocument=json.dumps(may))
    key = iam.create_access_key(UserName="dev")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    pipelines = live.client("codepipeline", keys=keys)
    stages = (source("S3", S3Bucket="watched", S3ObjectKey="x.zip"), GATE)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        pipelines.create_pipeline(pipeline=declared("dev", world, *stages))
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert f"is not authorized to perform: iam:PassRole on resource: {world}" in error["Message"]
