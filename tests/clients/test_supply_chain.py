"""What was approved is what is deployed: attackers with real keys, against a pipeline that builds, asks and deploys."""

import asyncio
import base64
import hashlib
import http.client
import http.server
import io
import json
import threading
import uuid
import zipfile
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import botocore.exceptions
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from penstock_agents import agents
from penstock_waiting import until

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
HOOK = "hooks:\n  AfterInstall:\n    - location: fail.sh\n      timeout: 10\n"
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


def zipped(text, *, fails=False):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("appspec.yml", APPSPEC + (HOOK if fails else ""))
        if fails:
            script = zipfile.ZipInfo("fail.sh")
            script.create_system, script.external_attr = 3, 0o100755 << 16
            archive.writestr(script, "#!/bin/sh\nexit 1\n")
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
        self.declare(name, bucket, *stages)
        until(lambda: self.token(name))
        (run,) = self.pipelines.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
        return name, run["pipelineExecutionId"]

    def declare(self, name, bucket, *stages):
        """A pipeline of stages with one action each."""
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
        def found_now():
            found = self.pipelines.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)
            status = found["pipelineExecution"]["status"]
            return status if status not in ("InProgress", "Stopping") else None

        return until(found_now)

    def actions(self, name):
        found = self.pipelines.list_action_executions(pipelineName=name)["actionExecutionDetails"]
        return {one["actionName"]: one for one in reversed(found)}

    def key(self, name, action):
        (artifact,) = self.actions(name)[action]["output"]["outputArtifacts"]
        return artifact["s3location"]["key"]

    def deploy(self, bucket, key, **more):
        location = {"bucket": bucket, "key": key, "bundleType": "zip"}
        return self.live.client("codedeploy").create_deployment(
            applicationName="shop",
            deploymentGroupName="web",
            revision={"revisionType": "S3", "s3Location": location},
            **more,
        )["deploymentId"]

    def deployed(self, deployment):
        """The deployment once it is over."""

        def found_now():
            found = self.live.client("codedeploy").get_deployment(deploymentId=deployment)["deploymentInfo"]
            return found if found["status"] in ("Succeeded", "Failed", "Stopped") else None

        return until(found_now)

    def why(self, deployment, event="DownloadBundle"):
        """What the host said of an event."""
        client = self.live.client("codedeploy")
        (name,) = client.list_deployment_targets(deploymentId=deployment)["targetIds"]
        target = client.get_deployment_target(deploymentId=deployment, targetId=name)["deploymentTarget"]
        found = {one["lifecycleEventName"]: one for one in target["instanceTarget"]["lifecycleEvents"]}[event]
        return found["diagnostics"]["message"]

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


def test_a_user_who_may_start_builds_cannot_speak_for_a_pipeline(world):
    """Neither by naming an action of it nor by a session of its role that bears the action's name."""
    bucket = world.bucket(versioned=True)
    name, execution = world.start(bucket, "still approved")
    place = world.s3.head_object(Bucket=bucket, Key=world.key(name, "Compile"))["VersionId"]
    made = world.actions(name)["Compile"]["actionExecutionId"]
    as_user = world.live.client("codebuild", keys=world.user("codebuild:StartBuild"))
    of_a_pipeline = {"sourceTypeOverride": "CODEPIPELINE", "artifactsOverride": {"type": "CODEPIPELINE"}}
    for claim in ({}, {"idempotencyToken": made}, of_a_pipeline | {"idempotencyToken": made}):
        with pytest.raises(botocore.exceptions.ClientError, match="can only be started by a pipeline"):
            as_user.start_build(projectName="compile", **claim)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        world.live.client("penstock").get_action_job(actionExecutionId=made)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert world.s3.head_object(Bucket=bucket, Key=world.key(name, "Compile"))["VersionId"] == place
    world.approve(name)
    assert world.ended(name, execution) == "Succeeded"
    assert world.released == "still approved"


# Two blocks of the same MD5, which differ in six bits (X. Wang, H. Yu: How to break MD5 and other hash functions, 2005).
BLOCK = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a"
    "085125e8f7cdc99fd91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
TWIN = bytes(byte ^ 0x80 if place in (19, 45, 59, 83, 109, 123) else byte for place, byte in enumerate(BLOCK))


def test_a_twin_of_the_same_etag_that_is_put_after_the_last_look_is_not_deployed(world, monkeypatch):
    """CreateDeployment learns the SHA-256 of the write from the pipeline, not from what lies there by now."""
    before, bucket, name = world.released, world.bucket(versioned=False), f"twins-{uuid.uuid4().hex[:8]}"
    packed = zipped("a twin")  # once: it holds the time of day
    approved, twin = BLOCK + packed, TWIN + packed
    assert hashlib.md5(approved).digest() == hashlib.md5(twin).digest()
    assert approved != twin
    world.s3.put_object(Bucket="watched", Key=f"{name}.zip", Body=approved)

    async def looked(action):
        if action.name == "Roll":
            (app,) = action.inputs
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, lambda: world.s3.put_object(Bucket=bucket, Key=app.key, Body=twin))

    monkeypatch.setattr("penstock.pipelines.work.changed_input", looked)
    source = {"S3Bucket": "watched", "S3ObjectKey": f"{name}.zip", "PollForSourceChanges": "false"}
    deploy = {"ApplicationName": "shop", "DeploymentGroupName": "web"}
    world.declare(
        name,
        bucket,
        ("Source", "Fetch", kind("Source", "S3"), source, [], ["App"]),
        ("Deploy", "Roll", kind("Deploy", "CodeDeploy"), deploy, ["App"], []),
    )
    assert until(lambda: world.actions(name).get("Roll", {}).get("status") == "Failed")
    deployment = world.actions(name)["Roll"]["output"]["executionResult"]["externalExecutionId"]
    assert hashlib.sha256(approved).hexdigest() in world.why(deployment)
    assert world.released == before


def seal(content):
    """An envelope of somebody who has a key of their own."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Penstock deployment signer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    signing = pkcs7.PKCS7SignatureBuilder().set_data(content)
    signing = signing.add_signer(builder.sign(key, hashes.SHA256()), key, hashes.SHA256())
    return signing.sign(serialization.Encoding.PEM, [pkcs7.PKCS7Options.Binary]).decode()


ROLLBACK = {"autoRollbackConfiguration": {"enabled": True, "events": ["DEPLOYMENT_FAILURE"]}}


@pytest.mark.parametrize("versioned", [True, False])
def test_a_rollback_installs_what_ran_before_also_when_only_a_key_was_named(world, versioned):
    bucket = world.bucket(versioned=versioned)
    world.s3.put_object(Bucket=bucket, Key="app.zip", Body=zipped("first"))
    first = world.deployed(world.deploy(bucket, "app.zip"))
    assert first["status"] == "Succeeded"
    assert set(first["revision"]["s3Location"]) == {"bucket", "key", "bundleType"}
    assert set(first["revision"]) == {"revisionType", "s3Location"}
    world.s3.put_object(Bucket=bucket, Key="app.zip", Body=zipped("second", fails=True))
    failed = world.deployed(world.deploy(bucket, "app.zip", **ROLLBACK))
    assert failed["status"] == "Failed"
    back = failed["rollbackInfo"]["rollbackDeploymentId"]
    if versioned:
        assert world.deployed(back)["status"] == "Succeeded"
        assert world.released == "first"
    else:  # the bytes that ran are gone, and others are not taken for them
        assert world.deployed(back)["status"] == "Failed"
        assert "its SHA-256 is" in world.why(back)


@pytest.mark.parametrize("versioned", [True, False])
def test_a_bundle_that_is_replaced_after_the_deployment_was_created(world, versioned):
    before, bucket = world.released, world.bucket(versioned=versioned)
    world.s3.put_object(Bucket=bucket, Key="app.zip", Body=zipped("meant"))
    world.agent.stop()
    deployment = world.deploy(bucket, "app.zip")
    world.s3.put_object(Bucket=bucket, Key="app.zip", Body=zipped("swapped"))
    world.agent.start()
    assert world.deployed(deployment)["status"] == ("Succeeded" if versioned else "Failed")
    assert world.released == ("meant" if versioned else before)


def test_a_bundle_that_is_not_there_is_missed_by_the_host(world):
    deployment = world.deploy(world.bucket(versioned=True), "absent.zip")
    assert world.deployed(deployment)["status"] == "Failed"
    assert "could not be downloaded: NoSuchKey" in world.why(deployment)


def test_the_digest_of_an_object_in_parts(world):
    """It is asked for by whoever may read the object, computed once, and left out where reading is too much."""
    bucket, own = world.bucket(versioned=True), world.live.client("penstock")
    data = bytes(range(256)) * 4096 * 6
    upload = world.s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(data), 5 << 20), 1):
        part = {"PartNumber": number, "UploadId": upload, "Body": data[start : start + (5 << 20)]}
        parts.append({"PartNumber": number, "ETag": world.s3.upload_part(Bucket=bucket, Key="big", **part)["ETag"]})
    made = world.s3.complete_multipart_upload(
        Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    where = {"bucketName": bucket, "objectKey": "big"}
    assert "sha256" not in own.get_object_digest(**where, maximumSize=1000)
    world.s3.put_object_tagging(Bucket=bucket, Key="big", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    found = own.get_object_digest(**where)
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert (found["versionId"], found["size"]) == (made["VersionId"], len(data))
    assert own.get_object_digest(**where, maximumSize=1000)["sha256"] == found["sha256"]
    assert world.s3.get_object_tagging(Bucket=bucket, Key="big")["TagSet"] == [{"Key": "a", "Value": "b"}]
    nobody = world.live.client("penstock", keys=world.user("s3:PutObject"))
    with pytest.raises(botocore.exceptions.ClientError, match="s3:GetObject"):
        nobody.get_object_digest(**where)


class Between(http.server.ThreadingHTTPServer):
    """Somebody who holds the connection between a host and the server. `tamper` sees every answer and may change it."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.target = urlsplit(target).netloc
        self.tamper = lambda operation, body, answer: answer
        self.commands = []  # answers to polls that the server never gave
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # a host that was stopped


class _Forwarding(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.headers.get("X-Amz-Target", "GetObject").rpartition(".")[2]
        if operation == "PollHostCommand" and self.server.commands:
            self._answer(200, self.server.commands.pop(), {"Content-Type": "application/x-amz-json-1.1"})
            return
        upstream = http.client.HTTPConnection(self.server.target, timeout=90)
        upstream.request(self.command, self.path, body, dict(self.headers))
        response = upstream.getresponse()
        answer = [response.status, response.read(), dict(response.getheaders())]
        upstream.close()
        self._answer(*self.server.tamper(operation, body, answer))

    def _answer(self, status, data, headers):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _forward


@pytest.fixture
def between(world):
    """The host's agent pins the server's signer, and its connection is in somebody else's hands."""
    agent, honest = world.agent, world.agent.config.read_text()
    pem = agent.folder / "signer.pem"
    pem.write_text(world.live.client("penstock").get_deployment_signer()["certificate"])
    proxy = Between(world.live.url)
    agent.stop()
    agent.config.write_text(honest.replace(world.live.url, proxy.url) + f"signer_certificate: {pem}\n")
    agent.start()
    yield proxy
    agent.stop()
    agent.config.write_text(honest)
    agent.start()
    proxy.shutdown()
    proxy.server_close()


def specification(found):
    return lambda operation, _, answer: [200, found, answer[2]] if operation == "GetDeploymentSpecification" else answer


def test_a_host_with_a_pinned_signer_behind_somebody_who_holds_the_connection(world, between):
    bucket, seen = world.bucket(versioned=True), {}
    world.s3.put_object(Bucket=bucket, Key="good.zip", Body=zipped("good"))
    world.s3.put_object(Bucket=bucket, Key="next.zip", Body=zipped("next"))

    def listen(operation, _, answer):
        if operation == "PollHostCommand" and b"DownloadBundle" in answer[1]:
            seen["command"] = answer[1]
        if operation == "GetDeploymentSpecification":
            seen["specification"] = answer[1]
        return answer

    between.tamper = listen
    first = world.deploy(bucket, "good.zip")
    assert world.deployed(first)["status"] == "Succeeded"
    assert world.released == "good"
    old = dict(seen)

    def swap(operation, _, answer):
        return [200, zipped("swapped"), answer[2]] if operation == "GetObject" else answer

    def redirect(operation, _, answer):
        elsewhere = {"Location": f"{world.live.url}/{bucket}/good.zip"}
        return [302, b"", elsewhere] if operation == "GetObject" else answer

    def forged(change):
        def change_it(operation, _, answer):
            if operation != "GetDeploymentSpecification":
                return answer
            document = json.loads(answer[1])
            envelope = document["DeploymentSpecification"]["GenericEnvelope"]
            change(envelope)
            return [200, json.dumps(document).encode(), answer[2]]

        return change_it

    def resealed(envelope):
        lines = envelope["Payload"].split("\n")
        raw = base64.b64decode("".join(lines[1:-2]))
        at = raw.index(b'{"DeploymentId"')
        content = json.JSONDecoder().raw_decode(raw[at:].decode("utf-8", "replace"))[0]
        del content["Revision"]["S3Revision"]["Sha256"], content["IssuedFor"]
        envelope["Payload"] = seal(json.dumps(content).encode())

    attacks = {
        "swapped bundle": (swap, "DownloadBundle", "is not the one that was deployed"),
        "redirect": (redirect, "DownloadBundle", "could not be downloaded"),
        "old specification": (specification(old["specification"]), "ApplicationStop", "for another deployment"),
        "no digest, another signer": (forged(resealed), "ApplicationStop", "the signer is not the pinned one"),
        "another format": (
            forged(lambda envelope: envelope.update(Format="TEXT/JSON", Payload="{}")),
            "ApplicationStop",
            "Unsupported DeploymentSpecification format",
        ),
    }
    for name, (tamper, event, message) in attacks.items():
        between.tamper = tamper
        deployment = world.deploy(bucket, "next.zip")
        assert world.deployed(deployment)["status"] == "Failed", name
        assert message in world.why(deployment, event), name
        assert world.released == "good", name
    between.tamper = listen
    second = world.deploy(bucket, "next.zip")
    assert world.deployed(second)["status"] == "Succeeded"
    replayed = []

    def replay(operation, body, answer):  # the first deployment once more, command and all
        if operation == "GetDeploymentSpecification":
            return [200, old["specification"], answer[2]]
        if operation == "PutHostCommandComplete":
            replayed.append(json.loads(body))
        return answer

    world.agent.stop()  # a fresh agent has no specification in its memory, only what is on its disk
    between.tamper = replay
    command = json.loads(old["command"])
    identifier = command["HostCommand"]["HostCommandIdentifier"]
    command["HostCommand"]["HostCommandIdentifier"] = identifier.rpartition(".")[0] + ".abcdef"
    between.commands.append(json.dumps(command).encode())
    world.agent.start()
    until(lambda: replayed)
    assert replayed[0]["CommandStatus"] == "Failed"
    assert f"deployment {first} is older than {second}" in replayed[0]["Diagnostics"]["Payload"]
    assert world.released == "next"
