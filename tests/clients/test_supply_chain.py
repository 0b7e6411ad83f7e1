"""What was approved is what is deployed: attackers with real keys, against a pipeline that builds, asks and deploys."""

import io
import json
import uuid
import zipfile

import botocore.exceptions
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from penstock_agents import agents, until

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
APPSPEC = """version: 0.0
os: linux
files:
  - source: release
    destination: /srv
file_exists_behavior: OVERWRITE
"""
BUILDSPEC = json.dumps(
    {
        "version": "0.2",
        "phases": {"build": {"commands": ["cp input release"]}},
        "artifacts": {"files": ["appspec.yml", "release"]},
    }
)


def zipped(text):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("appspec.yml", APPSPEC)
        archive.writestr("input", text)
        archive.writestr("release", text)
    return packed.getvalue()


def kind(category, provider):
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


class World:
    """Roles, a project, a host with an agent, and pipelines on buckets with and without versions."""

    def __init__(self, live, agent):
        self.live, self.agent = live, agent
        self.pipelines, self.s3, self.builds = (live.client(n) for n in ("codepipeline", "s3", "codebuild"))
        iam, codedeploy = live.client("iam"), live.client("codedeploy")
        roles = {}
        for name in ("codepipeline", "codebuild", "codedeploy"):
            principal = {"Service": f"{name}.amazonaws.com"}
            statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
            trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            roles[name] = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
            iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(ALL))
        self.role = roles["codepipeline"]
        self.builds.create_project(
            name="compile",
            source={"type": "CODEPIPELINE", "buildspec": BUILDSPEC},
            artifacts={"type": "CODEPIPELINE"},
            environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
            serviceRole=roles["codebuild"],
        )
        codedeploy.create_application(applicationName="shop")
        codedeploy.create_deployment_group(
            applicationName="shop",
            deploymentGroupName="web",
            serviceRoleArn=roles["codedeploy"],
            onPremisesInstanceTagFilters=[{"Key": "role", "Value": "web", "Type": "KEY_AND_VALUE"}],
        )
        self.s3.create_bucket(Bucket="watched")
        self.s3.put_bucket_versioning(Bucket="watched", VersioningConfiguration={"Status": "Enabled"})

    def bucket(self, *, versioned):
        name = f"artifacts-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=name)
        if versioned:
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def user(self, *actions):
        """The keys of a user who may do this and nothing else."""
        iam, name = self.live.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def start(self, bucket, text):
        """A pipeline's first run, up to its approval: (pipeline, execution)."""
        name = f"demo-{uuid.uuid4().hex[:8]}"
        self.s3.put_object(Bucket="watched", Key=f"{name}.zip", Body=zipped(text))
        source = {"S3Bucket": "watched", "S3ObjectKey": f"{name}.zip", "PollForSourceChanges": "false"}
        again = {"ProjectName": "compile"}
        deploy = {"ApplicationName": "shop", "DeploymentGroupName": "web"}
        stages = [
            ("Source", "Fetch", kind("Source", "S3"), source, [], ["App"]),
            ("Build", "Compile", kind("Build", "CodeBuild"), {"ProjectName": "compile"}, ["App"], ["Built"]),
            ("Gate", "Approve", kind("Approval", "Manual"), {}, [], []),
            ("Check", "Again", kind("Test", "CodeBuild"), again, ["App"], ["Checked"]),
            ("Deploy", "Roll", kind("Deploy", "CodeDeploy"), deploy, ["Built"], []),
        ]
        declared = [
            {
                "name": stage,
                "actions": [
                    {
                        "name": action,
                        "actionTypeId": type_,
                        "configuration": configuration,
                        "inputArtifacts": [{"name": n} for n in inputs],
                        "outputArtifacts": [{"name": n} for n in outputs],
                    }
                ],
            }
            for stage, action, type_, configuration, inputs, outputs in stages
        ]
        store = {"type": "S3", "location": bucket}
        self.pipelines.create_pipeline(
            pipeline={"name": name, "roleArn": self.role, "artifactStore": store, "stages": declared}
        )
        until(lambda: self.token(name), 60)
        (run,) = self.pipelines.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
        return name, run["pipelineExecutionId"]

    def token(self, name):
        stage = self.pipelines.get_pipeline_state(name=name)["stageStates"][2]
        return stage["actionStates"][0].get("latestExecution", {}).get("token")

    def approve(self, name):
        self.pipelines.put_approval_result(
            pipelineName=name,
            stageName="Gate",
            actionName="Approve",
            result={"summary": "as built", "status": "Approved"},
            token=self.token(name),
        )

    def ended(self, name, execution):
        def look():
            found = self.pipelines.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)
            status = found["pipelineExecution"]["status"]
            return status if status not in ("InProgress", "Stopping") else None

        return until(look, 60)

    def actions(self, name):
        found = self.pipelines.list_action_executions(pipelineName=name)["actionExecutionDetails"]
        return {one["actionName"]: one for one in reversed(found)}

    def key(self, name, action):
        (artifact,) = self.actions(name)[action]["output"]["outputArtifacts"]
        return artifact["s3location"]["key"]

    @property
    def released(self):
        path = self.agent.root / "srv" / "release"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def world(live, tmp_path_factory):
    with agents(live, tmp_path_factory.mktemp("hosts"), "web-1") as (agent,):
        yield World(live, agent)


@pytest.mark.parametrize("artifact", ["Compile", "Fetch"])
def test_an_artifact_that_is_overwritten_while_its_approval_waits_is_not_what_runs(world, artifact):
    bucket = world.bucket(versioned=True)
    name, execution = world.start(bucket, "approved")
    attacker = world.live.client("s3", keys=world.user("s3:PutObject"))
    attacker.put_object(Bucket=bucket, Key=world.key(name, artifact), Body=zipped("swapped"))
    world.approve(name)
    assert world.ended(name, execution) == "Succeeded", world.actions(name)
    assert world.released == "approved"
    checked = world.s3.get_object(Bucket=bucket, Key=world.key(name, "Again"))["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(checked)).read("release") == b"approved"


@pytest.mark.parametrize(("artifact", "victim"), [("Compile", "Roll"), ("Fetch", "Again")])
def test_without_versions_an_overwritten_artifact_fails_the_action_that_reads_it(world, artifact, victim):
    before = world.released
    bucket = world.bucket(versioned=False)
    name, execution = world.start(bucket, "approved too")
    attacker = world.live.client("s3", keys=world.user("s3:PutObject"))
    attacker.put_object(Bucket=bucket, Key=world.key(name, artifact), Body=zipped("swapped"))
    world.approve(name)
    assert world.ended(name, execution) == "Failed"
    failed = world.actions(name)[victim]
    error = failed["output"]["executionResult"]["errorDetails"]
    assert error["code"] == "RevisionOutOfSync"
    made = "Built" if artifact == "Compile" else "App"
    assert error["message"].startswith(
        f"The artifact {made} (s3://{bucket}/{world.key(name, artifact)}) was changed at 20"
    )
    assert "is not used" in error["message"]
    world.pipelines.retry_stage_execution(
        pipelineName=name,
        stageName=failed["stageName"],
        pipelineExecutionId=execution,
        retryMode="FAILED_ACTIONS",
    )
    assert world.ended(name, execution) == "Failed"
    assert world.released == before


def signed(live, keys, service, target, document):
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
    request = AWSRequest("POST", live.url + "/", data=json.dumps(document), headers=headers)
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    return httpx.post(live.url + "/", content=request.data, headers=dict(request.headers))


def test_a_user_who_may_start_builds_cannot_speak_for_a_pipeline(world):
    bucket = world.bucket(versioned=True)
    name, execution = world.start(bucket, "still approved")
    keys = world.user("codebuild:StartBuild")
    place = {"bucket": bucket, "key": world.key(name, "Compile")}
    context = {
        "pipelineName": name,
        "executionId": execution,
        "actionExecutionId": "a",
        "inputArtifacts": [{"name": "App", "location": {"bucket": "watched", "key": f"{name}.zip"}}],
        "outputArtifacts": [{"name": "Built", "location": place}],
    }
    answer = signed(
        world.live,
        keys,
        "codebuild",
        "CodeBuild_20161006.StartBuild",
        {"projectName": "compile", "pipelineContext": context},
    )
    assert answer.status_code == 400
    assert answer.json()["__type"] == "InvalidInputException"
    assert "may be sent by codepipeline.amazonaws.com only" in answer.json()["message"]
    with pytest.raises(botocore.exceptions.ClientError, match="can only be started by a pipeline"):
        world.live.client("codebuild", keys=keys).start_build(projectName="compile")
    world.approve(name)
    assert world.ended(name, execution) == "Succeeded"
    assert world.released == "still approved"


def test_no_reserved_member_is_taken_from_outside(world):
    """Whatever service declares one: a signed request with it is refused, and so is a call in process by anybody else."""
    live, tried = world.live, 0
    admin = live.run(live.app.identity.credential(live.keys()["aws_access_key_id"], "")).session
    for service in live.app.services:
        for operation in service.model.operation_names:
            for member, principal in service.operation(operation).reserved:
                tried += 1
                assert principal.endswith(".amazonaws.com")
                target = f"{service.target_prefixes[0]}.{operation}"
                answer = signed(live, live.keys(), service.signing_name, target, {member: {}})
                assert answer.status_code == 400, (service.name, operation, member)
                assert f"may be sent by {principal} only" in answer.json()["message"]
                call = live.app.invoke(admin, service.name, operation, {member: {}}, region="us-east-1")
                with pytest.raises(Exception, match="may be sent by"):
                    live.run(call)
    assert tried >= 2
