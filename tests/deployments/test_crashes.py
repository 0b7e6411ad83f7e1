"""kill -9 of the server at each named crash point, in the middle of a deployment that a real agent carries out."""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
from pathlib import Path

import boto3
import botocore.config
import pytest
from penstock_agents import Agent, bundle
from penstock_ports import reserved_port
from penstock_starter import PENSTOCK, Program, start
from penstock_waiting import until

from penstock.deployments.progress import WATCH
from penstock.deployments.server import schedule
from penstock.store import failpoints

POINTS = [name for name in failpoints.points() if name.startswith("deployments.")]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "codedeploy.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
FINAL = ("Succeeded", "Failed", "Stopped")
SERVER = Program(str(Path(__file__).with_name("crash_server.py")), PENSTOCK.imports)


class Server:
    """A server in a process of its own, always on the same port and data."""

    def __init__(self, folder):
        self.folder = folder
        self.port = reserved_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self, crash_point=""):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        if crash_point:
            environment["PENSTOCK_CRASH_POINT"] = crash_point
        with (self.folder / "server.log").open("ab") as log:
            self.process = start(
                SERVER, str(self.folder), str(self.port), env=environment, stdout=log, stderr=log, cwd=self.folder
            )
        until(self._answers)

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)

    def client(self, service):
        lines = (self.folder / "data" / "credentials").read_text().splitlines()
        keys = dict(line.split(" = ", 1) for line in lines if " = " in line)
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=keys["aws_access_key_id"],
            aws_secret_access_key=keys["aws_secret_access_key"],
            config=botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A server with an application whose group `web` has a host with an agent, `dead` one without, and `many` more than one burst."""
    folder = tmp_path_factory.mktemp("crash")
    server = Server(folder)
    server.start()
    deploy, iam, s3 = server.client("codedeploy"), server.client("iam"), server.client("s3")
    role = iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    deploy.create_application(applicationName="shop")
    for group in ("web", "dead", "many"):
        tags = [] if group == "web" else [{"Key": "penstock:agent-timeout-seconds", "Value": "1"}]
        deploy.create_deployment_group(
            applicationName="shop", deploymentGroupName=group, serviceRoleArn=role, tags=tags,
            deploymentConfigName="CodeDeployDefault.AllAtOnce",
            onPremisesInstanceTagFilters=[{"Key": "role", "Value": group, "Type": "KEY_AND_VALUE"}],
        )  # fmt: skip
    many = [f"many-{number}" for number in range(schedule.BURST + 1)]
    for name in many:
        deploy.register_on_premises_instance(instanceName=name, iamUserArn=f"arn:aws:iam::111111111111:user/{name}")
    for names in (many[:60], many[60:]):
        deploy.add_tags_to_on_premises_instances(instanceNames=names, tags=[{"Key": "role", "Value": "many"}])
    keys = {}
    for name, group in (("web-1", "web"), ("dead-1", "dead")):
        user = iam.create_user(UserName=name)["User"]
        keys[name] = (user["Arn"], iam.create_access_key(UserName=name)["AccessKey"])
        deploy.register_on_premises_instance(instanceName=name, iamUserArn=user["Arn"])
        deploy.add_tags_to_on_premises_instances(instanceNames=[name], tags=[{"Key": "role", "Value": group}])
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
    iam.put_user_policy(UserName="web-1", PolicyName="s3", PolicyDocument=json.dumps(policy))
    source = bundle(folder / "source", "one")
    (source / "BeforeInstall.sh").write_text(f"#!/bin/sh\nwhile test -e {folder}/hold; do sleep 0.05; done\n")
    archive = folder / "one.tar"
    subprocess.run(["tar", "-cf", archive, "-C", source, "."], check=True)
    s3.create_bucket(Bucket="bundles")
    s3.put_object(Bucket="bundles", Key="one.tar", Body=archive.read_bytes())
    arn, key = keys["web-1"]
    config = folder / "onpremises.yml"
    config.write_text(
        f"region: us-east-1\niam_user_arn: {arn}\naws_access_key_id: {key['AccessKeyId']}\n"
        f"aws_secret_access_key: {key['SecretAccessKey']}\n"
    )
    agent = Agent(folder / "agent", server.url, config)
    agent.start()
    try:
        yield server, agent
    finally:
        agent.stop()
        server.stop()


def attempt(call, **input):
    """The answer, or None when the server died meanwhile."""
    try:
        return call(**input)
    except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError):
        return None


def check_earlier_deployments(server):
    """Let the last look at each deployment that is over happen now: it would meet the crash point of the next one's."""
    server.stop()
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "penstock.db", isolation_level=None)) as database:
        database.execute("UPDATE jobs SET due = 0 WHERE kind = ?", [WATCH])
        server.start()
        live = "SELECT count(*) FROM jobs WHERE kind = ? AND state IN ('ready', 'leased')"
        until(lambda: database.execute(live, [WATCH]).fetchone() == (0,))


@pytest.mark.parametrize("point", POINTS)
def test_a_deployment_survives(shop, point):
    server, agent = shop
    if "watch" in point:
        check_earlier_deployments(server)
    server.stop()
    server.start(point)
    deploy = server.client("codedeploy")
    group = "dead" if "watch" in point else "many" if "proceed" in point else "web"
    wanted = {
        "applicationName": "shop", "deploymentGroupName": group,
        "revision": {
            "revisionType": "S3", "s3Location": {"bucket": "bundles", "key": "one.tar", "bundleType": "tar"},
        },
    }  # fmt: skip
    stops, hold = "stop" in point, server.folder / "hold"
    if stops:
        hold.touch()
    answer = attempt(deploy.create_deployment, **wanted)
    if stops:
        until(
            lambda: (
                deploy.get_deployment(deploymentId=answer["deploymentId"])["deploymentInfo"]["status"] == "InProgress"
            )
        )
        assert attempt(deploy.stop_deployment, deploymentId=answer["deploymentId"]) is None
    assert server.process.wait(60) == -9
    server.start()
    deploy = server.client("codedeploy")
    if answer is None and "before_create" in point:
        answer = deploy.create_deployment(**wanted)
    if stops:
        deploy.stop_deployment(deploymentId=answer["deploymentId"])
        hold.unlink()
    listed = deploy.list_deployments(applicationName="shop", deploymentGroupName=group)["deployments"]
    deployment = answer["deploymentId"] if answer else listed[0]

    def ended():
        found = deploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
        return found if found["status"] in FINAL else None

    found = until(ended)
    expected = "Stopped" if stops else "Succeeded" if group == "web" else "Failed"
    assert found["status"] == expected, agent.log.read_text()[-3000:]
    if group == "many":
        assert found["deploymentOverview"]["Failed"] == schedule.BURST + 1
        return
    (target,) = deploy.list_deployment_targets(deploymentId=deployment)["targetIds"]
    events = deploy.get_deployment_target(deploymentId=deployment, targetId=target)["deploymentTarget"][
        "instanceTarget"
    ]
    statuses = [event["status"] for event in events["lifecycleEvents"]]
    if expected == "Succeeded":
        assert statuses == ["Succeeded"] * 7
    elif group == "dead":
        assert statuses == ["Failed"] + ["Skipped"] * 6
    after = deploy.get_deployment_group(applicationName="shop", deploymentGroupName=group)["deploymentGroupInfo"]
    assert after["lastAttemptedDeployment"]["status"] in FINAL
