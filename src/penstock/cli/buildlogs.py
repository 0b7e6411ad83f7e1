"""`penstock logs`: the log of a build, or what the hooks of a deployment printed. AWS's CLI of this version has no `logs tail`."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer
from penstock.cli.terminal import paint, say

_PAUSE_SECONDS = 0.5
_DEPLOYMENT = re.compile(r"d-[A-Z0-9]{9}\Z")
_OWN_LINE = re.compile(r"\[Container\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)? (.*)", re.DOTALL)
# The build's own lines that add something to the run's lines.
_NOTABLE = re.compile(
    r"Running command |Command did not exit|Phase complete: \w+ State: (?!SUCCEEDED)|Phase context status code: \w"
)


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `logs`."""
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="id of a build (project:…), name of a build project (its newest build), or id of a deployment (d-…)",
    )
    parser.add_argument("--follow", "-f", action="store_true", help="print until the build or deployment ends")
    parser.add_argument("--host", default="", metavar="NAME", help="only this host of a deployment")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Print; 2 when what was followed failed."""
    return attempt("logs", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    clients = Clients.found(options.data_dir.absolute())
    if _DEPLOYMENT.match(options.what):
        return _deployment(clients, options.what, host=options.host, follows=options.follow)
    return _build(clients, options.what, follows=options.follow)


class LogStream:
    """Reads a log stream, from where the last read ended."""

    def __init__(self, clients: Clients, arn: str) -> None:
        self._clients = clients
        # arn:PARTITION:logs:REGION:ACCOUNT:log-group:GROUP:log-stream:STREAM; neither name has a colon.
        self._group, _, self._stream = arn.partition(":log-group:")[2].partition(":log-stream:")
        self._cursor = ""

    def new_lines(self) -> Iterator[str]:
        """Lines since the last call; none while there is no log yet."""
        logs = self._clients("logs")
        while True:
            more = {"nextToken": self._cursor} if self._cursor else {}
            try:
                page = logs.get_log_events(
                    logGroupName=self._group, logStreamName=self._stream, startFromHead=True, **more
                )
            except logs.exceptions.ResourceNotFoundException:
                return
            for event in page["events"]:
                yield from event["message"].splitlines()
            before, self._cursor = self._cursor, page["nextForwardToken"]
            if self._cursor == before:
                return


def notable(line: str) -> str | None:
    """A log line for somebody who follows a run: the build's own lines only where they say something; None to leave it out."""
    own = _OWN_LINE.match(line)
    if own is None:
        return line
    text = own[1]
    if not _NOTABLE.match(text):
        return None
    return paint(f"$ {text.removeprefix('Running command ')}", "dim") if text.startswith("Running command ") else text


def _build(clients: Clients, what: str, *, follows: bool) -> int:
    codebuild = clients("codebuild")
    build = what
    if ":" not in what:
        try:
            ids = codebuild.list_builds_for_project(projectName=what)["ids"]
        except codebuild.exceptions.ResourceNotFoundException:
            raise NoServer(
                f"there is no build project {what}. `aws codebuild list-projects` lists them; a run of a pipeline is shown by "
                f"`penstock follow {what}`"
            ) from None
        if not ids:
            raise NoServer(f"the project {what} has not built yet")
        build = ids[0]
    elif not codebuild.batch_get_builds(ids=[build])["builds"]:
        raise NoServer(f"there is no build {build}")
    log: LogStream | None = None
    while True:
        found = codebuild.batch_get_builds(ids=[build])["builds"][0]
        if log is None and (arn := found["logs"].get("cloudWatchLogsArn")):  # none when the project keeps no logs
            log = LogStream(clients, arn)
        for line in log.new_lines() if log else ():
            say(line)
        if found["buildComplete"] or not follows:
            return Exit.DONE if found["buildStatus"] in ("SUCCEEDED", "IN_PROGRESS") else Exit.FAILED
        time.sleep(_PAUSE_SECONDS)


def _deployment(clients: Clients, deployment: str, *, host: str, follows: bool) -> int:
    codedeploy = clients("codedeploy")
    printed: dict[tuple[str, str], str] = {}
    while True:
        status = codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]["status"]
        seen = False
        for target in targets_of(codedeploy, deployment):
            if host in ("", target["targetId"]):
                seen = True
                _hooks(clients, deployment, target, printed)
        ended = status in ("Succeeded", "Failed", "Stopped")
        if host and not seen and (ended or not follows):
            raise NoServer(
                f"{deployment} has no host {host}. `aws deploy list-deployment-targets --deployment-id {deployment}` lists those that it has"
            )
        if ended or not follows:
            return Exit.FAILED if status in ("Failed", "Stopped") else Exit.DONE
        time.sleep(_PAUSE_SECONDS)


def targets_of(codedeploy: Any, deployment: str) -> Iterator[dict[str, Any]]:
    """The instance targets of a deployment; none before it has chosen its hosts."""
    page: dict[str, Any] = {}
    while True:
        try:
            listed = codedeploy.list_deployment_targets(deploymentId=deployment, **page)
        except codedeploy.exceptions.DeploymentNotStartedException:
            return
        ids = listed["targetIds"]
        for start in range(0, len(ids), 25):
            found = codedeploy.batch_get_deployment_targets(deploymentId=deployment, targetIds=ids[start : start + 25])
            yield from (target["instanceTarget"] for target in found["deploymentTargets"])
        if not listed.get("nextToken"):
            return
        page = {"nextToken": listed["nextToken"]}


def _hooks(clients: Clients, deployment: str, target: dict[str, Any], printed: dict[tuple[str, str], str]) -> None:
    for event in target.get("lifecycleEvents", []):
        name, status = event["lifecycleEventName"], event["status"]
        if status in ("Pending", "Skipped"):
            continue
        key = (target["targetId"], name)
        text = clients("penstock").get_hook_log(
            deploymentId=deployment, targetId=target["targetId"], lifecycleEventName=name
        )["log"]
        if key not in printed:
            say(paint(f"{target['targetId']} {name}", "bold"))
            printed[key] = ""
        # The server keeps a tail: when its head has gone, what is new starts where the last known text ends.
        fresh = text.removeprefix(printed[key]) if text.startswith(printed[key]) else text
        if fresh:
            say(fresh.rstrip("\n"))
        printed[key] = text
