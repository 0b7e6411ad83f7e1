"""A harness with identity and deployments, without a port, and hosts that speak the command protocol in process."""

import asyncio
import base64
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import penstock.deployments
import penstock.identity
from penstock.app import compose
from penstock.application import App, Settings
from penstock.deployments.server.model import Timeouts
from penstock.deployments.settings import DeploymentSettings

ACCOUNT, REGION = "111111111111", "us-east-1"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "codedeploy.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def revision(key="app.zip", **more):
    return {"revisionType": "S3", "s3Location": {"bucket": "bundles", "key": key, "bundleType": "zip", **more}}


@dataclass
class Host:
    """A host's agent, played step by step."""

    harness: "Harness"
    name: str
    session: object
    log: list = field(default_factory=list)

    @property
    def identifier(self):
        return self.session.arn

    async def call(self, operation, **input):
        return await self.harness.app.invoke(self.session, "codedeploy-commands", operation, input, region=REGION)

    async def poll(self):
        return (await self.call("PollHostCommand", HostIdentifier=self.identifier)).get("HostCommand")

    async def specification(self, command):
        answer = await self.call(
            "GetDeploymentSpecification",
            DeploymentExecutionId=command["DeploymentExecutionId"],
            HostIdentifier=self.identifier,
        )
        assert answer["DeploymentSystem"] == "CodeDeploy"
        envelope = answer["DeploymentSpecification"]["GenericEnvelope"]
        assert envelope["Format"] == "PKCS7/JSON"
        assert len(envelope["Payload"]) <= 8192
        body = re.fullmatch(r"-----BEGIN PKCS7-----\n(.*)-----END PKCS7-----\n", envelope["Payload"], re.DOTALL)
        raw = base64.b64decode(body[1])
        start = raw.index(b'{"DeploymentId"')
        return json.JSONDecoder().raw_decode(raw[start:].decode("utf-8", "replace"))[0]

    async def acknowledge(self, command, noop=False):
        answer = await self.call(
            "PutHostCommandAcknowledgement",
            HostCommandIdentifier=command["HostCommandIdentifier"],
            Diagnostics={"Format": "JSON", "Payload": json.dumps({"IsCommandNoop": noop})},
        )
        return answer["CommandStatus"]

    async def complete(self, command, code=0, message="", log="", script="a.sh"):
        report = {"error_code": code, "script_name": script if code else "", "message": message, "log": log}
        await self.call(
            "PutHostCommandComplete",
            HostCommandIdentifier=command["HostCommandIdentifier"],
            CommandStatus="Failed" if code else "Succeeded",
            Diagnostics={"Format": "JSON", "Payload": json.dumps(report)},
        )

    async def serve(self, fails=()):
        """Work for ever, as an agent does: `fails` are pairs of revision key and event, or events."""
        while True:
            command = await self.poll()
            if command is None:
                continue
            spec = await self.specification(command)
            if await self.acknowledge(command) != "InProgress":
                continue
            key = spec["Revision"]["S3Revision"]["Key"]
            self.log.append((spec["DeploymentId"], key, command["CommandName"]))
            bad = command["CommandName"] in fails or (key, command["CommandName"]) in fails
            await self.complete(
                command, code=4 if bad else 0, message="failed with exit code 1" if bad else "Succeeded"
            )


@dataclass
class Harness:
    """The application and its administrator."""

    app: App
    admin: object = None
    agents: list = field(default_factory=list)

    async def call(self, operation, session=None, service="codedeploy", **input):
        return await self.app.invoke(session or self.admin, service, operation, input, region=REGION)

    async def session(self, access_key_id, token=""):
        return (await self.app.identity.credential(access_key_id, token)).session

    async def start(self):
        await self.app.work.start(self.app)
        await self.app.events.start()
        lines = (await self.app.identity.bootstrap(ACCOUNT)).splitlines()
        self.admin = await self.session(lines[1].partition(" = ")[2])
        role = await self.call("CreateRole", service="iam", RoleName="deployer", AssumeRolePolicyDocument=TRUST)
        self.role = role["Role"]["Arn"]

    async def user(self, name, *policies):
        await self.call("CreateUser", service="iam", UserName=name)
        for number, policy in enumerate(policies):
            await self.call(
                "PutUserPolicy",
                service="iam",
                UserName=name,
                PolicyName=f"p{number}",
                PolicyDocument=json.dumps(policy),
            )
        key = await self.call("CreateAccessKey", service="iam", UserName=name)
        return await self.session(key["AccessKey"]["AccessKeyId"])

    async def host(self, name, tags=(("role", "web"),)):
        session = await self.user(name)
        await self.call("RegisterOnPremisesInstance", instanceName=name, iamUserArn=session.arn)
        if tags:
            listed = [{"Key": key, "Value": value} for key, value in tags]
            await self.call("AddTagsToOnPremisesInstances", instanceNames=[name], tags=listed)
        return Host(self, name, session)

    async def group(self, hosts=1, config="CodeDeployDefault.OneAtATime", application="shop", group="web", **more):
        """An application, a group and its hosts."""
        await self.call("CreateApplication", applicationName=application)
        await self.call(
            "CreateDeploymentGroup",
            applicationName=application,
            deploymentGroupName=group,
            deploymentConfigName=config,
            serviceRoleArn=self.role,
            onPremisesInstanceTagFilters=[{"Key": "role", "Value": "web", "Type": "KEY_AND_VALUE"}],
            **more,
        )
        return [await self.host(f"web-{number}") for number in range(hosts)]

    def serve(self, *hosts, fails=()):
        for host in hosts:
            self.agents.append(asyncio.create_task(host.serve(fails)))

    async def deploy(self, key="app.zip", **more):
        input = {"applicationName": "shop", "deploymentGroupName": "web", "revision": revision(key), **more}
        return (await self.call("CreateDeployment", **input))["deploymentId"]

    async def get(self, deployment):
        return (await self.call("GetDeployment", deploymentId=deployment))["deploymentInfo"]

    async def until(self, deployment, *statuses):
        """The deployment once it has one of these statuses."""
        wanted = statuses or ("Succeeded", "Failed", "Stopped")
        async with asyncio.timeout(60), self.app.events.tap() as queue:
            while True:
                found = await self.get(deployment)
                if found["status"] in wanted:
                    return found
                await queue.get()

    async def target(self, deployment, name):
        answer = await self.call("GetDeploymentTarget", deploymentId=deployment, targetId=name)
        return answer["deploymentTarget"]["instanceTarget"]

    async def statuses(self, deployment):
        names = (await self.call("ListDeploymentTargets", deploymentId=deployment))["targetIds"]
        return {name: (await self.target(deployment, name))["status"] for name in names}


@asynccontextmanager
async def open_harness(store, clock, tmp_path, *, further=(), chosen=(), **timeouts):
    settings = Settings(
        data_dir=tmp_path,
        master_key_file=tmp_path / "master.key",
        components=(DeploymentSettings(long_poll_seconds=60), *chosen),
    )
    components = (
        penstock.identity.component,
        partial(penstock.deployments.component, timeouts=Timeouts(**timeouts)),
        *further,
    )
    async with compose(settings, components=components, store=store, clock=clock) as app:
        harness = Harness(app)
        await harness.start()
        try:
            yield harness
        finally:
            for agent in harness.agents:
                agent.cancel()
            await asyncio.gather(*harness.agents, return_exceptions=True)
            await app.work.stop(1)
            await app.events.stop()
