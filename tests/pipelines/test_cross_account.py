"""The example of a pipeline that deploys into another account, taken as it is, and what happens without each of its permissions."""

from __future__ import annotations

import contextlib
import json
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from penstock_agents import Agent, agents, bundle
from penstock_live import Live, live_server
from penstock_waiting import until

from penstock.deployments.server.ids import id_for_action

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cross-account"
SECOND = "222222222222"


class Second(Live):
    """The server with the keys of the second account's administrator."""

    second: dict[str, str]

    def keys(self) -> dict[str, str]:
        return self.second


@dataclass
class World:
    live: Live
    second: Second
    host: Agent
    folder: Path

    def put(self, version: str) -> None:
        """Put a source into the pipeline's bucket."""
        source = bundle(self.folder / version, version)
        archive = self.folder / f"{version}.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for path in source.iterdir():
                packed.write(path, path.name)
        self.live.client("s3").put_object(Bucket="shop-source", Key="source.zip", Body=archive.read_bytes())

    def ended(self, number: int) -> tuple[str, str]:
        """How the execution of a number ended: its status, and why its last action did not succeed."""
        pipelines = self.live.client("codepipeline")

        def found() -> Any:
            executions = pipelines.list_pipeline_executions(pipelineName="shop")["pipelineExecutionSummaries"]
            executions.sort(key=lambda one: one["startTime"])
            return (
                executions[number]
                if len(executions) > number and executions[number]["status"] in ("Succeeded", "Failed")
                else None
            )

        execution = until(found)
        actions = pipelines.list_action_executions(
            pipelineName="shop", filter={"pipelineExecutionId": execution["pipelineExecutionId"]}
        )["actionExecutionDetails"]
        result = actions[0].get("output", {}).get("executionResult", {})
        return execution["status"], result.get("errorDetails", {}).get("message", "")

    @property
    def installed(self) -> str:
        return (self.host.root / "srv/site/index.html").read_text()


def commands() -> list[list[str]]:
    """The lines for the AWS CLI in the README."""
    return [
        shlex.split(line)[1:] for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith("aws ")
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(live_server(folder / "data"))
        made = live.client("penstock").create_account(accountId=SECOND)
        second = Second(live.running_app, live.loop, live.data_dir)
        second.second = {
            "aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"],
        }  # fmt: skip
        host: Agent | None = None
        found, key_id = World(live, second, None, folder), ""  # pyright: ignore[reportArgumentType]
        for command in commands():
            profile = command[command.index("--profile") + 1]
            if "web-1" in command and host is None:
                (host,) = stack.enter_context(agents(second, folder / "hosts", "web-1"))
            if "create-pipeline" in command:
                found.put("one")
            said = (live if profile == "first" else second).aws(
                *[key_id if part == "KEY_ID" else part for part in command if part not in ("--profile", profile)],
                cwd=EXAMPLE,
            )
            key_id = said.strip() if "create-key" in command else key_id
        assert host is not None
        found.host = host
        yield found


def test_the_pipeline_deploys_into_the_other_account(world):
    assert world.ended(0) == ("Succeeded", "")
    assert world.installed == "one"
    codedeploy = world.second.client("codedeploy")
    group = {"applicationName": "shop", "deploymentGroupName": "web"}
    (deployment,) = codedeploy.list_deployments(**group)["deployments"]
    assert world.live.client("codedeploy").list_applications()["applications"] == []
    # It is the deployment of that action, however often it is asked for: the job of the action is known in the account of its role.
    (action, _) = world.live.client("codepipeline").list_action_executions(pipelineName="shop")[
        "actionExecutionDetails"
    ]
    known = codedeploy.get_deployment_group(**group)["deploymentGroupInfo"]["deploymentGroupId"]
    assert deployment == id_for_action(known, action["actionExecutionId"])


def test_and_does_not_without_any_one_of_the_three(world):
    iam, s3, kms = world.second.client("iam"), world.live.client("s3"), world.live.client("kms")
    key = kms.describe_key(KeyId="alias/shop-artifacts")["KeyMetadata"]["KeyId"]
    policies = {name: (EXAMPLE / f"{name}-policy.json").read_text() for name in ("bucket", "key")}
    own = json.loads(policies["key"])
    own["Statement"] = [one for one in own["Statement"] if one["Sid"] == "Own"]
    trust = (EXAMPLE / "deploy-trust.json").read_text()
    nobody = trust.replace("arn:aws:iam::111111111111:role/shop-pipeline", f"arn:aws:iam::{SECOND}:root")

    iam.update_assume_role_policy(RoleName="deploy-shop", PolicyDocument=nobody)
    world.put("without-trust")
    status, why = world.ended(1)
    assert status == "Failed"
    assert "not authorized to perform AssumeRole on role arn:aws:iam::222222222222:role/deploy-shop" in why
    iam.update_assume_role_policy(RoleName="deploy-shop", PolicyDocument=trust)

    s3.delete_bucket_policy(Bucket="shop-artifacts")
    world.put("without-bucket")
    assert world.ended(2)[0] == "Failed"
    s3.put_bucket_policy(Bucket="shop-artifacts", Policy=policies["bucket"])

    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(own))
    world.put("without-key")
    assert world.ended(3)[0] == "Failed"
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policies["key"])
    assert world.installed == "one"

    world.put("with-all")
    assert world.ended(4) == ("Succeeded", "")
    assert world.installed == "with-all"
