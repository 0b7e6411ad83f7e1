"""`penstock follow`: prints what a pipeline run does, as it does it, and exits as it ended."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import botocore.exceptions

from penstock.cli.clients import Clients, add_data_dir
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer
from penstock.cli.terminal import lasted, paint, say, step

_PAUSE_SECONDS = 0.25
_COLOURS = {"Succeeded": "green", "Failed": "red", "Stopped": "amber", "Abandoned": "amber", "InProgress": "blue"}
_ENDS = {
    "Succeeded": Exit.DONE,
    "Failed": Exit.FAILED,
    "Stopped": Exit.STOPPED,
    "Superseded": Exit.STOPPED,
    "Cancelled": Exit.STOPPED,
}
# A deployment's end arrives with the action's; before that its hosts are worth showing.
_HOST_ENDS = frozenset({"Succeeded", "Failed", "Skipped", "Unknown"})

Approve = Callable[[str, dict[str, Any]], bool]


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `follow`."""
    parser.add_argument("pipeline", help="name of the pipeline")
    parser.add_argument("--execution", default="", metavar="ID", help="which run; default: the newest")
    parser.add_argument(
        "--timeout", type=float, default=0, metavar="S", help="give up after S seconds with exit code 4"
    )
    parser.add_argument(
        "--wait-approval", action="store_true", help="keep waiting at an approval instead of exit code 5"
    )
    parser.add_argument("--no-log", action="store_true", help="leave the lines of builds out")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Follow until the run ends, waits for an approval, or the time is over."""
    try:
        clients = Clients.found(options.data_dir.absolute())
        follower = Follower(clients, options.pipeline, log=not options.no_log)
        execution = options.execution or follower.newest()
        if not execution:
            print(f"penstock follow: {options.pipeline} has not run yet", file=sys.stderr)
            return Exit.USAGE
        waits = None if options.wait_approval else (lambda _stage, _action: False)
        return follower.until_end(execution, timeout=options.timeout, approve=waits)
    except (NoServer, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        print(f"penstock follow: {error}", file=sys.stderr)
        return Exit.USAGE


@dataclass
class Follower:
    """Follows the runs of one pipeline through the public operations."""

    clients: Clients
    pipeline: str
    log: bool = True
    _said: set[tuple[str, ...]] = field(default_factory=set)
    _cursors: dict[str, str] = field(default_factory=dict)
    _places: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._codepipeline = self.clients("codepipeline")

    def newest(self) -> str:
        """Id of the newest run, or "" when there is none."""
        found = self._codepipeline.list_pipeline_executions(pipelineName=self.pipeline, maxResults=1)
        summaries = found["pipelineExecutionSummaries"]
        return summaries[0]["pipelineExecutionId"] if summaries else ""

    def until_end(self, execution: str, *, timeout: float = 0, approve: Approve | None = None) -> Exit:
        """Print progress until the run ends.

        `timeout` in seconds, 0 for none. `approve(stage, action state)` is asked once per open approval: True keeps waiting, False ends
        with `Exit.WAITS`.
        """
        ends = time.monotonic() + timeout if timeout else None
        while True:
            status = self._look(execution)
            state = self._codepipeline.get_pipeline_state(name=self.pipeline)
            self._door(state, execution)
            waiting = _open_approval(state, execution)
            if waiting and approve and self._once("approval", waiting[1]["token"]) and not approve(*waiting):
                return Exit.WAITS
            if status in _ENDS:
                say(f"          run {execution[:8]} {paint(status.lower(), _COLOURS.get(status, 'amber'))}")
                return _ENDS[status]
            if ends and time.monotonic() > ends:
                return Exit.TIMED_OUT
            time.sleep(_PAUSE_SECONDS)

    def _look(self, execution: str) -> str:
        # The status is read before the actions, so that what ended the run is printed before its end.
        found = self._codepipeline.get_pipeline_execution(pipelineName=self.pipeline, pipelineExecutionId=execution)
        for action in self._actions(execution):
            self._action(action)
        return found["pipelineExecution"]["status"]

    def _actions(self, execution: str) -> Iterator[dict[str, Any]]:
        pages = self._codepipeline.get_paginator("list_action_executions").paginate(
            pipelineName=self.pipeline, filter={"pipelineExecutionId": execution}
        )
        details = [detail for page in pages for detail in page["actionExecutionDetails"]]
        return iter(sorted(details, key=lambda detail: detail["startTime"]))

    def _action(self, action: dict[str, Any]) -> None:
        provider = action["input"]["actionTypeId"]["provider"]
        result = action.get("output", {}).get("executionResult", {})
        external = result.get("externalExecutionId", "")
        if self._once(action["actionExecutionId"], "InProgress"):
            step(f"{action['stageName']:<10} {action['actionName']} {paint('(' + provider + ')', 'dim')} started")
        if external and provider == "CodeBuild" and self.log:
            self._build_log(external)
        if external and provider == "CodeDeploy":
            self._hosts(external)
        status = action["status"]
        if status != "InProgress" and self._once(action["actionExecutionId"], status):
            took = (action["lastUpdateTime"] - action["startTime"]).total_seconds()
            word = paint(status.lower(), _COLOURS.get(status, "amber"))
            step(f"{action['stageName']:<10} {action['actionName']} {word} in {lasted(took)}{_why(result)}")

    @cached_property
    def _codebuild(self) -> Any:
        return self.clients("codebuild")

    @cached_property
    def _logs(self) -> Any:
        return self.clients("logs")

    def _log_of(self, build: str) -> dict[str, Any]:
        """Where a build's log is: a project may name group and stream, or have none."""
        if build not in self._places:
            found = self._codebuild.batch_get_builds(ids=[build])["builds"]
            self._places[build] = found[0]["logs"] if found else {}
        return self._places[build]

    def _build_log(self, build: str) -> None:
        place = self._log_of(build)
        if not place.get("groupName"):
            return
        while True:
            cursor = self._cursors.get(build)
            more = {"nextToken": cursor} if cursor else {}
            try:
                page = self._logs.get_log_events(
                    logGroupName=place["groupName"], logStreamName=place["streamName"], startFromHead=True, **more
                )
            except self._logs.exceptions.ResourceNotFoundException:
                return
            for event in page["events"]:
                for line in event["message"].splitlines():
                    say(f"          {paint('│', 'dim')} {line}")
            self._cursors[build] = page["nextForwardToken"]
            if page["nextForwardToken"] == cursor:
                return

    def _hosts(self, deployment: str) -> None:
        codedeploy = self.clients("codedeploy")
        try:
            ids = codedeploy.list_deployment_targets(deploymentId=deployment)["targetIds"]
        except codedeploy.exceptions.DeploymentNotStartedException:
            return
        for start in range(0, len(ids), 25):
            targets = codedeploy.batch_get_deployment_targets(
                deploymentId=deployment, targetIds=ids[start : start + 25]
            )
            for target in targets["deploymentTargets"]:
                host = target["instanceTarget"]
                for event in host.get("lifecycleEvents", []):
                    self._host_event(deployment, host["targetId"], event)
                if host["status"] in _HOST_ENDS and self._once(deployment, host["targetId"], host["status"]):
                    word = paint(host["status"].lower(), _COLOURS.get(host["status"], "amber"))
                    say(f"          {paint('│', 'dim')} {host['targetId']} {word}")

    def _host_event(self, deployment: str, host: str, event: dict[str, Any]) -> None:
        name, status = event["lifecycleEventName"], event["status"]
        if status == "Failed" and self._once(deployment, host, name, status):
            diagnostics = event.get("diagnostics", {})
            say(
                f"          {paint('│', 'dim')} {host} {name} {paint('failed', 'red')}: {diagnostics.get('message', '')}"
            )
            for line in diagnostics.get("logTail", "").splitlines()[-8:]:
                say(f"          {paint('│', 'dim')}   {line}")

    def _door(self, state: dict[str, Any], execution: str) -> None:
        """Say in front of which stage the run waits, and for what."""
        for stage in state["stageStates"]:
            waiting = [one["pipelineExecutionId"] for one in stage.get("inboundExecutions", [])]
            if execution not in waiting:
                continue
            transition = stage.get("inboundTransitionState", {})
            if not transition.get("enabled", True):
                why = f"the transition is closed: {transition.get('disabledReason', '')}"
            else:
                inside = stage.get("latestExecution", {}).get("pipelineExecutionId", "")
                why = f"run {inside[:8]} is inside"
            if self._once("door", stage["stageName"], why):
                step(f"{stage['stageName']:<10} waits in front; {why}")

    def _once(self, *what: str) -> bool:
        if what in self._said:
            return False
        self._said.add(what)
        return True


def _why(result: dict[str, Any]) -> str:
    error = result.get("errorDetails", {})
    words = error.get("message") or result.get("externalExecutionSummary") or ""
    return f": {words.splitlines()[0]}" if words else ""


def _open_approval(state: dict[str, Any], execution: str) -> tuple[str, dict[str, Any]] | None:
    for stage in state["stageStates"]:
        if stage.get("latestExecution", {}).get("pipelineExecutionId") != execution:
            continue
        for action in stage["actionStates"]:
            latest = action.get("latestExecution", {})
            if latest.get("token") and latest.get("status") == "InProgress":
                return stage["stageName"], {"actionName": action["actionName"], "token": latest["token"]}
    return None
