"""A fleet whose hooks do as a test says: each host's hook waits until the test lets it end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock_agents import Agent, agents
from penstock_console import role, zipped

APPSPEC = """version: 0.0
os: linux
files:
  - source: index.html
    destination: /srv/site
file_exists_behavior: OVERWRITE
hooks:
  ApplicationStart:
    - location: start.sh
      timeout: 60
"""


class Fleet:
    """An application and a group of one host at a time, with rollback."""

    def __init__(self, live: Any, folder: Path, agents: list[Agent]) -> None:
        self.live = live
        self.agents = agents
        self.gate = folder / "gate"
        self.gate.mkdir(parents=True)

    def release(self, version: str, *, printed: str = "starting", code: int = 0, waits: bool = True) -> str:
        """A deployment whose hook prints a text, waits for `let_go(version)` and ends with a code."""
        wait = f"while [ ! -e {self.gate}/{version} ]; do sleep 0.05; done\n" if waits else ""
        script = f"#!/bin/sh\nprintf '%s\\n' '{printed}'\n{wait}echo finished\nexit {code}\n"
        body = zipped(appspec__yml=APPSPEC, start__sh=script, index__html=version)
        self.live.client("s3").put_object(Bucket="bundles", Key=f"{version}.zip", Body=body)
        location = {"bucket": "bundles", "key": f"{version}.zip", "bundleType": "zip"}
        answer = self.live.client("codedeploy").create_deployment(
            applicationName="checkout-api",
            deploymentGroupName="production",
            revision={"revisionType": "S3", "s3Location": location},
        )
        return answer["deploymentId"]

    def let_go(self, version: str) -> None:
        (self.gate / version).touch()

    def pause(self, *, go_on: bool = False) -> None:
        """Stop the agents where they are, or let them continue."""
        for agent in self.agents:
            assert agent.process is not None
            agent.process.send_signal(signal.SIGCONT if go_on else signal.SIGSTOP)

    def status(self, deployment: str) -> str:
        return self.live.client("codedeploy").get_deployment(deploymentId=deployment)["deploymentInfo"]["status"]


@contextlib.contextmanager
def fleet(live: Any, folder: Path, *names: str) -> Iterator[Fleet]:
    live.client("s3").create_bucket(Bucket="bundles")
    codedeploy = live.client("codedeploy")
    codedeploy.create_application(applicationName="checkout-api", computePlatform="Server")
    codedeploy.create_deployment_group(
        applicationName="checkout-api",
        deploymentGroupName="production",
        deploymentConfigName="CodeDeployDefault.OneAtATime",
        serviceRoleArn=role(live, "codedeploy"),
        onPremisesInstanceTagFilters=[{"Key": "role", "Value": "web", "Type": "KEY_AND_VALUE"}],
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
    )
    with agents(live, folder, *names) as running:
        yield Fleet(live, folder, running)
