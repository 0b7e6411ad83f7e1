"""`penstock follow`: prints what a pipeline run does, as it does it, and exits as it ended."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import botocore.exceptions

from penstock.cli.buildlogs import LogStream, notable, targets_of
from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.runs import meant
from penstock.cli.telling import Documents, Lines
from penstock.cli.terminal import complain, lasted, paint

_EXAMPLES = "examples: penstock follow shop               the newest run of the pipeline shop\n          penstock follow 0b0c6f0e-0000-4000-8000-000000000002 --json"
_PAUSE_SECONDS = 0.25
_ROLLBACK_SECONDS = 600
_SILENCE_SECONDS = 120  # for which a server may not answer once it has
_SILENT = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
_COLOURS = {"Succeeded": "green", "Failed": "red", "Stopped": "amber", "Abandoned": "amber", "InProgress": "blue"}
_GATES = {"beforeEntry": "before entry", "onSuccess": "on success", "onFailure": "on failure"}
_ENDS = {
    "Succeeded": Exit.DONE,
    "Failed": Exit.FAILED,
    "Stopped": Exit.STOPPED,
    "Superseded": Exit.STOPPED,
    "Cancelled": Exit.STOPPED,
}
# A deployment's end arrives with the action's; before that its hosts are worth showing.
_DEPLOYMENT = "codedeploy:deployment"
_HOST_ENDS = frozenset({"Succeeded", "Failed", "Skipped", "Unknown"})

Approve = Callable[["Approval"], bool]


@dataclass(frozen=True, slots=True)
class Approval:
    """An open approval of a run."""

    pipeline: str
    stage: str
    action: str
    token: str

    def command(self, status: str) -> str:
        """The command line that answers it."""
        return (
            f"aws codepipeline put-approval-result --pipeline-name {shlex.quote(self.pipeline)} "
            f"--stage-name {shlex.quote(self.stage)} --action-name {shlex.quote(self.action)} "
            f"--token {self.token} --result status={status},summary=TEXT"
        )


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `follow`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_EXAMPLES}\n\n{parser.epilog}"
    parser.add_argument("run", metavar="EXECUTION|PIPELINE", help="id of a run, or the pipeline whose newest is meant")
    parser.add_argument(
        "--timeout", type=float, default=0, metavar="S", help="give up after S seconds with exit code 4"
    )
    parser.add_argument(
        "--wait-approval", action="store_true", help="keep waiting at an approval instead of exit code 5"
    )
    parser.add_argument("--no-log", action="store_true", help="leave out what builds print")
    parser.add_argument("--all-lines", action="store_true", help="print the build service's own log lines too")
    parser.add_argument("--json", action="store_true", help="a JSON document in a line for each thing that happens")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Follow until the run ends, waits for an approval, or the time is over."""
    return attempt("follow", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    clients = Clients.found(options.data_dir.absolute())
    pipeline, execution = meant(clients, options.run)
    if not execution:
        complain(f"penstock follow: {pipeline} has not run yet")
        return Exit.USAGE
    teller = Documents() if options.json else Lines()
    follower = Follower(
        clients, pipeline, log=not options.no_log, all_lines=options.all_lines, teller=teller, announces=True
    )
    waits = None if options.wait_approval else _leave
    try:
        return follower.until_end(execution, timeout=options.timeout, approve=waits)
    except KeyboardInterrupt:
        teller.idle()
        complain(
            f"penstock follow: nobody follows run {execution[:8]} any more, but it runs on. To follow it again: "
            f"penstock follow {execution}"
        )
        raise
    finally:
        teller.idle()


def _leave(_approval: Approval) -> bool:
    return False


class _Rule(NamedTuple):
    stage: str
    when: str  # its condition is checked
    state: dict[str, Any]  # the shape RuleState


@dataclass
class Follower:
    """Follows the runs of one pipeline through the public operations."""

    clients: Clients
    pipeline: str
    log: bool = True
    all_lines: bool = False
    teller: Lines | Documents = field(default_factory=Lines)
    announces: bool = False  # says itself what an approval asks for, before `approve` is asked
    _said: set[tuple[str, ...]] = field(default_factory=set)
    _logs: dict[str, LogStream] = field(default_factory=dict)
    _deploying: set[tuple[str, str]] = field(default_factory=set)  # stage and action
    _deployments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._codepipeline = self.clients("codepipeline")

    def newest(self) -> str:
        """Id of the newest run, or "" when it is missing."""
        found = self._codepipeline.list_pipeline_executions(pipelineName=self.pipeline, maxResults=1)
        summaries = found["pipelineExecutionSummaries"]
        return summaries[0]["pipelineExecutionId"] if summaries else ""

    def until_end(self, execution: str, *, timeout: float = 0, approve: Approve | None = None) -> Exit:
        """Print progress until the run ends.

        `timeout` in seconds, 0 for none. `approve` is asked once per open approval: True keeps waiting, False ends with
        `Exit.WAITS`.
        """
        ends = time.monotonic() + timeout if timeout else None
        self._deploying = self._actions_that_deploy(execution)
        answered = time.monotonic()
        while True:
            try:
                end = self._look(execution, ends, approve)
                answered = time.monotonic()
            except _SILENT:
                # A server that restarts is back within seconds, and the run is where it was.
                if time.monotonic() - answered > _SILENCE_SECONDS:
                    raise
                end = None
                if self._once("silent", str(answered)):
                    complain("penstock follow: the server does not answer; asking again")
            if end is not None:
                return end
            if ends and time.monotonic() > ends:
                return Exit.TIMED_OUT
            time.sleep(_PAUSE_SECONDS)

    def _look(self, execution: str, ends: float | None, approve: Approve | None) -> Exit | None:
        """Print what is new; how the run ended, or None when it has not."""
        # Status and state are read before the actions, so that what led to an end or an approval is printed before it.
        found = self._codepipeline.get_pipeline_execution(pipelineName=self.pipeline, pipelineExecutionId=execution)
        status, mode = found["pipelineExecution"]["status"], found["pipelineExecution"].get("executionMode")
        state = self._codepipeline.get_pipeline_state(name=self.pipeline)
        actions = self._actions(execution)
        self._waits_in_front(state, execution)
        self._in_order(actions, list(self._rules(state, execution)))
        open_approvals = self._parallel_approvals(actions) if mode == "PARALLEL" else self._approvals(state, execution)
        for approval in open_approvals:
            if approve and self._once("approval", approval.token):
                if self.announces:
                    self._announce(approval)
                if not approve(approval):
                    return Exit.WAITS
        if status in _ENDS:
            if self._once("end", execution, status):
                word = paint(status.lower(), _COLOURS.get(status, "amber"))
                self.teller.tell("end", f"          run {execution[:8]} {word}", status=status)
            self._rollbacks(ends)
            return _ENDS[status]
        self.teller.progress(state, actions)
        return None

    def _actions_that_deploy(self, execution: str) -> set[tuple[str, str]]:
        """Stage and name of the actions that start deployments."""
        found = self.clients("penstock").describe_pipeline_actions(
            pipelineName=self.pipeline, pipelineExecutionId=execution
        )
        return {
            (action["stageName"], action["actionName"])
            for action in found["actions"]
            if action.get("executionType") == _DEPLOYMENT
        }

    def _actions(self, execution: str) -> list[dict[str, Any]]:
        pages = self._codepipeline.get_paginator("list_action_executions").paginate(
            pipelineName=self.pipeline, filter={"pipelineExecutionId": execution}
        )
        details = [detail for page in pages for detail in page["actionExecutionDetails"]]
        return sorted(details, key=lambda detail: detail["startTime"])

    def _action(self, action: dict[str, Any]) -> None:
        provider = action["input"]["actionTypeId"]["provider"]
        result = action.get("output", {}).get("executionResult", {})
        external = result.get("externalExecutionId", "")
        if self._once(action["actionExecutionId"], "InProgress"):
            self.teller.tell(
                "action",
                f"{action['stageName']:<10} {action['actionName']} {paint('(' + provider + ')', 'dim')} started",
                at=action["startTime"],
                **self._named(action, "InProgress"),
            )
        if self.log and result.get("logStreamARN"):
            self._log(result["logStreamARN"])
        if external and (action["stageName"], action["actionName"]) in self._deploying:
            self._hosts(external)
        status = action["status"]
        if status != "InProgress" and self._once(action["actionExecutionId"], status):
            took = (action["lastUpdateTime"] - action["startTime"]).total_seconds()
            word = paint(status.lower(), _COLOURS.get(status, "amber"))
            self.teller.tell(
                "action",
                f"{action['stageName']:<10} {action['actionName']} {word} in {lasted(took)}{_why(result)}",
                at=action["lastUpdateTime"],
                **self._named(action, status),
                message=_why(result).removeprefix(": "),
            )

    @staticmethod
    def _named(action: dict[str, Any], status: str) -> dict[str, Any]:
        provider = action["input"]["actionTypeId"]["provider"]
        named = {"stage": action["stageName"], "action": action["actionName"], "provider": provider}
        return named | {"actionExecutionId": action["actionExecutionId"], "status": status}

    def _log(self, stream: str) -> None:
        log = self._logs.setdefault(stream, LogStream(self.clients, stream))
        for line in log.new_lines():
            printed = line if self.all_lines else notable(line)
            if printed is not None:
                self.teller.detail("log", printed, logStream=stream, message=printed)

    def _hosts(self, deployment: str) -> None:
        if deployment not in self._deployments:
            self._deployments.append(deployment)
        for host in targets_of(self.clients("codedeploy"), deployment):
            for event in host.get("lifecycleEvents", []):
                self._host_event(deployment, host["targetId"], event)
            if host["status"] in _HOST_ENDS and self._once(deployment, host["targetId"], host["status"]):
                word = paint(host["status"].lower(), _COLOURS.get(host["status"], "amber"))
                self.teller.detail(
                    "host",
                    f"{host['targetId']} {word}",
                    at=host.get("lastUpdatedAt"),
                    deployment=deployment,
                    host=host["targetId"],
                    status=host["status"],
                )

    def _host_event(self, deployment: str, host: str, event: dict[str, Any]) -> None:
        name, status = event["lifecycleEventName"], event["status"]
        if status == "Failed" and self._once(deployment, host, name, status):
            diagnostics = event.get("diagnostics", {})
            tail = diagnostics.get("logTail", "").splitlines()[-8:]
            lines = [
                f"{host} {name} {paint('failed', 'red')}: {diagnostics.get('message', '')}",
                *(f"  {line}" for line in tail),
            ]
            self.teller.detail(
                "hook",
                "\n".join(lines),
                at=event.get("endTime"),
                deployment=deployment,
                host=host,
                hook=name,
                status=status,
                message=diagnostics.get("message", ""),
            )

    def _rollbacks(self, ends: float | None) -> None:
        """Say how the rollbacks of the run's failed deployments end: what is live afterwards is what matters."""
        codedeploy = self.clients("codedeploy")
        for failed in self._deployments:
            info = codedeploy.get_deployment(deploymentId=failed)["deploymentInfo"]
            rollback = info.get("rollbackInfo", {}).get("rollbackDeploymentId")
            if not rollback:
                continue
            deadline = min(ends or float("inf"), time.monotonic() + _ROLLBACK_SECONDS)
            while True:
                info = codedeploy.get_deployment(deploymentId=rollback)["deploymentInfo"]
                if info["status"] in ("Succeeded", "Failed", "Stopped") or time.monotonic() > deadline:
                    break
                time.sleep(_PAUSE_SECONDS)
            word = paint(info["status"].lower(), _COLOURS.get(info["status"], "amber"))
            message = info.get("errorInformation", {}).get("message", "")
            text = (
                f"rolled back: deployment {rollback} put the earlier revision back"
                if info["status"] == "Succeeded"
                else f"rollback {rollback} {word}: {message}"
            )
            at = info.get("completeTime") if info["status"] == "Succeeded" else None
            self.teller.tell(
                "rollback", text, at=at, now=True, deployment=rollback, status=info["status"], message=message
            )

    def _waits_in_front(self, state: dict[str, Any], execution: str) -> None:
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
            if self._once("transition", stage["stageName"], why):
                text = f"{stage['stageName']:<10} waits in front; {why}"
                self.teller.tell("waits", text, now=True, stage=stage["stageName"], message=why)

    def _in_order(self, actions: list[dict[str, Any]], rules: list[_Rule]) -> None:
        """Say what became of actions and rules in the order of time: a rule before the action that it lets begin."""
        first = dt.datetime.min.replace(tzinfo=dt.UTC)
        said: list[tuple[dt.datetime, int, Callable[[], None]]] = [
            (rule.state.get("latestExecution", {}).get("lastStatusChange", first), 0, partial(self._rule, rule))
            for rule in rules
        ]
        said += [(action["startTime"], 1, partial(self._action, action)) for action in actions]
        for _, _, say in sorted(said, key=lambda one: one[:2]):
            say()

    def _rules(self, state: dict[str, Any], execution: str) -> Iterator[_Rule]:
        """The rules of the conditions of the stages that the run is in, or was in last."""
        for stage in state["stageStates"]:
            if stage.get("latestExecution", {}).get("pipelineExecutionId") != execution:
                continue
            for gate, when in _GATES.items():
                conditions = stage.get(f"{gate}ConditionState", {}).get("conditionStates", [])
                for rule in (rule for condition in conditions for rule in condition["ruleStates"]):
                    yield _Rule(stage["stageName"], when, rule)

    def _rule(self, found: _Rule) -> None:
        stage, when, rule = found
        latest = rule.get("latestExecution", {})
        status = latest.get("status", "")
        if status and self._once(latest["ruleExecutionId"], status, latest.get("summary", "")):
            word = "is checked" if status == "InProgress" else paint(status.lower(), _COLOURS.get(status, "amber"))
            why = latest.get("errorDetails", {}).get("message", "") or latest.get("summary", "")
            text = f"{stage:<10} {rule['ruleName']} {paint(f'({when})', 'dim')} {word}{f': {why}' if why else ''}"
            self.teller.tell(
                "rule", text, now=True, stage=stage, rule=rule["ruleName"], condition=when, status=status, message=why
            )

    def _approvals(self, state: dict[str, Any], execution: str) -> list[Approval]:
        return [
            Approval(self.pipeline, stage["stageName"], action["actionName"], action["latestExecution"]["token"])
            for stage in state["stageStates"]
            if stage.get("latestExecution", {}).get("pipelineExecutionId") == execution
            for action in stage["actionStates"]
            if action.get("latestExecution", {}).get("token")
            and action["latestExecution"].get("status") == "InProgress"
        ]

    def _parallel_approvals(self, actions: list[dict[str, Any]]) -> list[Approval]:
        """AWS: the state of a PARALLEL pipeline shows no run; the external execution id of the action is the token."""
        return [
            Approval(
                self.pipeline,
                action["stageName"],
                action["actionName"],
                action["output"]["executionResult"]["externalExecutionId"],
            )
            for action in actions
            if action["status"] == "InProgress"
            and action["input"]["actionTypeId"]["category"] == "Approval"
            and action.get("output", {}).get("executionResult", {}).get("externalExecutionId")
        ]

    def _announce(self, approval: Approval) -> None:
        said = paint(f"          {approval.stage} waits for an approval ({approval.action}). To approve:", "violet")
        command = approval.command("Approved")
        named: dict[str, Any] = {
            "stage": approval.stage,
            "action": approval.action,
            "token": approval.token,
            "command": command,
        }
        self.teller.tell("approval", f"{said}\n          {command}", **named)

    def _once(self, *what: str) -> bool:
        if what in self._said:
            return False
        self._said.add(what)
        return True


def _why(result: dict[str, Any]) -> str:
    error = result.get("errorDetails", {})
    reason = error.get("message") or result.get("externalExecutionSummary") or ""
    return f": {reason.splitlines()[0]}" if reason else ""
