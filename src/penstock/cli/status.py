"""`penstock status`: does the server answer, what waits for a person, what failed, which hosts are silent."""

from __future__ import annotations

import argparse
import datetime as dt
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import orjson

from penstock import __version__
from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer
from penstock.cli.terminal import lasted, paint, say


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `status`."""
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Print it; 1 when the server does not answer, 2 when it answers but is not ready."""
    return attempt("status", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    clients = Clients.found(options.data_dir.absolute())
    found = overview(clients)
    if options.json:
        say(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found)
    return Exit.DONE if found["ready"] else Exit.FAILED


def overview(clients: Clients) -> dict[str, Any]:
    """What the command prints, from registered operations and `/readyz`."""
    pipelines = list(_pipelines(clients))
    hosts = _listed(clients("penstock"), "list_hosts", "hosts")
    return {
        "url": clients.url,
        "version": __version__,
        "ready": _ready(clients),
        "caller": clients("sts").get_caller_identity()["Arn"],
        "pipelines": len(pipelines),
        "waiting": [approval for pipeline in pipelines for approval in pipeline["approvals"]],
        "failed": [
            {"pipeline": pipeline["name"], "stage": stage} for pipeline in pipelines for stage in pipeline["failed"]
        ],
        "running": [
            {"pipeline": pipeline["name"], "stage": stage} for pipeline in pipelines for stage in pipeline["running"]
        ],
        "hosts": len(hosts),
        "silent": [host["name"] for host in hosts if not host.get("connected")],
    }


def _ready(clients: Clients) -> bool:
    try:
        with urllib.request.urlopen(clients.url + "/readyz", timeout=5, context=clients.tls_context()) as answer:  # noqa: S310
            return answer.status == 200
    except urllib.error.HTTPError:
        return False
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise NoServer(f"{clients.url} does not answer: {getattr(error, 'reason', error)}") from None


def _listed(client: Any, operation: str, member: str) -> list[dict[str, Any]]:
    return [one for page in client.get_paginator(operation).paginate() for one in page.get(member, [])]


def _pipelines(clients: Clients) -> Iterator[dict[str, Any]]:
    codepipeline = clients("codepipeline")
    for summary in _listed(codepipeline, "list_pipelines", "pipelines"):
        name = summary["name"]
        try:
            stages = codepipeline.get_pipeline_state(name=name)["stageStates"]
        except codepipeline.exceptions.PipelineNotFoundException:  # deleted since it was listed
            continue
        status = {stage["stageName"]: stage.get("latestExecution", {}).get("status", "") for stage in stages}
        yield {
            "name": name,
            "failed": [stage for stage, state in status.items() if state == "Failed"],
            "running": [stage for stage, state in status.items() if state == "InProgress"],
            "approvals": [
                {
                    "pipeline": name,
                    "stage": stage["stageName"],
                    "action": action["actionName"],
                    "since": action["latestExecution"]["lastStatusChange"],
                }
                for stage in stages
                for action in stage["actionStates"]
                if action.get("latestExecution", {}).get("token")
                and action["latestExecution"].get("status") == "InProgress"
            ],
        }


def _print(found: dict[str, Any]) -> None:
    word = paint("ready", "green") if found["ready"] else paint("not ready: `penstock doctor` says why", "red")
    say(f"server     {found['url']} {word}")
    say(f"you are    {found['caller']}")
    say(f"pipelines  {found['pipelines']}")
    now = dt.datetime.now(dt.UTC)
    for one in found["waiting"]:
        since = lasted((now - one["since"]).total_seconds())
        say(f"  {paint('waits', 'violet')}    {one['pipeline']} / {one['stage']} / {one['action']} for {since}")
    for one in found["failed"]:
        say(f"  {paint('failed', 'red')}   {one['pipeline']} / {one['stage']}")
    for one in found["running"]:
        say(f"  {paint('running', 'blue')}  {one['pipeline']} / {one['stage']}")
    silent = found["silent"]
    if found["hosts"]:
        names = ", ".join(silent[:5]) + (f" and {len(silent) - 5} more" if len(silent) > 5 else "")
        say(f"hosts      {found['hosts']}" + (f", silent: {paint(names, 'amber')}" if silent else ""))
