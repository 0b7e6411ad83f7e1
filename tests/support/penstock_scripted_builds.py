"""Builds and their logs as a script defines them, for pages that must show exactly this."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from penstock.store.events import Event, emit
from penstock.wire.errors import error_class
from penstock.wire.registry import Operation
from penstock.wire.services import Service

NotFound = error_class("ResourceNotFoundException")
GROUP = "/aws/codebuild/shop"


@dataclass
class Builds:
    """What the scripted CodeBuild and CloudWatch Logs know."""

    live: Any
    builds: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)

    def install(self) -> None:
        """Put the scripted operations into the place of the real ones."""
        app = self.live.app
        for service in ("codebuild", "logs"):
            if service not in app.services:
                app.services.add(Service(service))
        for service, name in (
            ("codebuild", "ListBuilds"), ("codebuild", "ListBuildsForProject"), ("codebuild", "BatchGetBuilds"),
            ("codebuild", "ListProjects"), ("codebuild", "StopBuild"), ("logs", "GetLogEvents"),
        ):  # fmt: skip
            app.registry._operations[service, name] = Operation(
                service=service, name=name, handler=getattr(self, name), action=f"{service}:{name}", resource="*"
            )

    def start(self, number: int, **more: Any) -> str:
        """A build that runs."""
        id_ = f"shop:{number:08d}-0000-4000-8000-000000000000"
        now = time.time_ns() // 1_000_000
        self.builds[id_] = {
            "id": id_,
            "arn": f"arn:aws:codebuild:us-east-1:111111111111:build/{id_}",
            "projectName": "shop",
            "buildNumber": number,
            "buildStatus": "IN_PROGRESS",
            "buildComplete": False,
            "currentPhase": "BUILD",
            "startTime": now - 12_000,
            "initiator": "codepipeline/shop-web",
            "resolvedSourceVersion": "a91c04e3b1d2f4a6c8e0a91c04e3b1d2f4a6c8e0",
            "timeoutInMinutes": 60,
            "environment": {
                "image": "host",
                "computeType": "BUILD_GENERAL1_SMALL",
                "type": "LINUX_CONTAINER",
                "environmentVariables": [],
            },
            "source": {"type": "CODEPIPELINE"},
            "phases": [
                *(
                    {
                        "phaseType": name,
                        "phaseStatus": "SUCCEEDED",
                        "startTime": now - 12_000,
                        "endTime": now - 11_000,
                        "durationInSeconds": 1,
                    }
                    for name in ("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD")
                ),
                {"phaseType": "BUILD", "startTime": now - 10_000},
            ],
            "logs": {"groupName": GROUP, "streamName": id_.partition(":")[2]},
            **more,
        }
        self.logs[id_.partition(":")[2]] = []
        return id_

    def say(self, id_: str, *lines: str) -> None:
        """Lines of its log."""
        self.logs[id_.partition(":")[2]].extend(lines)

    def end(self, id_: str, status: str = "SUCCEEDED", **more: Any) -> None:
        """Its end, with its event."""
        build = self.builds[id_]
        now = time.time_ns() // 1_000_000
        build["phases"][-1] |= {"phaseStatus": status, "endTime": now, "durationInSeconds": 10, **more}
        build |= {"buildStatus": status, "buildComplete": True, "currentPhase": "COMPLETED", "endTime": now}
        app = self.live.app
        event = Event(
            type="codebuild.build.state_changed",
            account="111111111111",
            region="us-east-1",
            aggregate=f"build/{id_}",
            payload={"build-id": build["arn"], "project-name": "shop", "build-status": status},
        )
        self.live.run(app.store.write(lambda conn: emit(conn, event, now=app.clock.now(), id=app.ids.uuid())))

    # --- the operations -----------------------------------------------------------------------------------------

    async def ListBuilds(self, call: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"ids": list(reversed(self.builds))}

    ListBuildsForProject = ListBuilds

    async def ListProjects(self, call: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"projects": ["shop"]}

    async def BatchGetBuilds(self, call: Any, input: dict[str, Any]) -> dict[str, Any]:
        return {"builds": [self.builds[id_] for id_ in input["ids"] if id_ in self.builds]}

    async def StopBuild(self, call: Any, input: dict[str, Any]) -> dict[str, Any]:
        self.stopped.append(input["id"])
        return {"build": self.builds[input["id"]]}

    async def GetLogEvents(self, call: Any, input: dict[str, Any]) -> dict[str, Any]:
        lines = self.logs.get(input["logStreamName"])
        if lines is None:
            raise NotFound("The specified log stream does not exist.")
        at = int(input["nextToken"].removeprefix("f/")) if "nextToken" in input else 0
        found = lines[at : at + input.get("limit", 10_000)]
        return {
            "events": [{"timestamp": 1, "message": line, "ingestionTime": 1} for line in found],
            "nextForwardToken": f"f/{at + len(found)}",
            "nextBackwardToken": "b/0",
        }
