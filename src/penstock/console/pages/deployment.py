"""One deployment, live: what must stay healthy, every host, and what a chosen host does."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import orjson
from markupsafe import Markup
from starlette.responses import Response

from penstock.console.pages import budgets
from penstock.console.pages.deployments import revision_label
from penstock.console.pages.hosts import CODES, SILENT, Fleet, fleet, quiet, silence, silent_hosts
from penstock.console.pages.hostview import NO_HOST, host_model, host_state
from penstock.console.pages.runs import run_behind
from penstock.store.events import Event
from penstock.webpages.listing import Cell, Column, Row
from penstock.webpages.live import Snapshot
from penstock.webpages.page import Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import lasted, plural, state

_ROWS = 200  # hosts of a page of the table
_HOST_COLUMNS = (Column("Host"), Column("State"))
_GOING = ("Created", "Queued", "InProgress", "Baking", "Ready")
_FOLLOWED = 12  # hosts
_BY_PIPELINE = re.compile(r"Pipeline ([A-Za-z0-9.@_-]{1,100}), execution [0-9a-f-]{36}")
# How often a host that is being changed is polled: there are no events for its lifecycle events and its hook's output.
_HOST_SECONDS = 0.5
_QUIET_SECONDS = 15  # otherwise


async def _model(view: View) -> dict[str, Any]:
    id_ = view.path["id"]
    info = (await view.call("codedeploy", "GetDeployment", deploymentId=id_))["deploymentInfo"]
    going = info["status"] in _GOING
    started = info["status"] not in ("Created", "Queued")
    overview = {name: count for name, count in info.get("deploymentOverview", {}).items() if count}
    hosts = await fleet(view, id_, overview) if started and overview else Fleet(names=[], statuses={})
    # Silent hosts matter until the deployment is over.
    silent = await silent_hosts(view, info["applicationName"], info["deploymentGroupName"]) if going else []
    unheard: dict[str, int] = {}
    if started:
        responding = hosts
        hosts = quiet(responding, silent)
        silent = [name for name in silent if hosts.statuses.get(name) == SILENT]
        unheard = dict(Counter(responding.statuses[name] for name in silent))
    page = min(max(_number(view.query.get("page", "1")), 1), max(1, -(-len(hosts.names) // _ROWS)))
    chosen = _chosen(view, hosts)
    if "may" not in view.memory:
        view.memory["may"] = await view.may("codedeploy", "StopDeployment", deploymentId=id_)
    config = await _config(view, info)
    rows = hosts.names[(page - 1) * _ROWS : page * _ROWS]
    return {
        "id": id_,
        "info": info,
        "going": going,
        "deployment_state": info["status"],
        "application": info["applicationName"],
        "group": info["deploymentGroupName"],
        "revision": revision_label(info.get("revision", {})),
        "previous": revision_label(info.get("previousRevision") or {}),
        "budget": budgets.budget(info, silent=unheard),
        "silence": silence(silent, where=info["deploymentGroupName"], total=len(hosts.names)),
        "lede": budgets.lede(
            info, revision_label(info.get("revision", {})), revision_label(info.get("previousRevision") or {})
        ),
        "run": await run_behind(view, _pipeline(info), id_),
        "banner": await _banner(view, info),
        "hosts": hosts,
        "counts": _counts(hosts, overview),
        "page": page,
        "pages": max(1, -(-len(hosts.names) // _ROWS)),
        "rows": rows,
        "host_columns": _HOST_COLUMNS,
        "host_rows": [
            _host_row(id_, name, hosts.statuses[name], at=at, page=page, chosen=name == chosen)
            for at, name in enumerate(rows, (page - 1) * _ROWS)
        ],
        "chosen": chosen,
        "host": await host_model(
            view, id_, chosen, view.query.get("event", ""), silent=hosts.statuses.get(chosen) == SILENT
        )
        if chosen
        else NO_HOST,
        "facts": _facts(info, config),
        "may_stop": view.memory["may"] and going,
        "rolls_back": _rolls_back(info),
        "refusal": {"code": "", "message": "", **info.get("errorInformation", {})},
    }


def _host_row(deployment: str, name: str, status: str, *, at: int, page: int, chosen: bool) -> Row:
    query = urlencode({"host": name} | ({"page": str(page)} if page > 1 else {}))
    link = f"/console/deployments/{part(deployment)}?{query}#the-host"
    return Row((Cell(text=name, href=link), Cell(state=status)), id=f"host-{at}", chosen=chosen)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 6 else 1


def _chosen(view: View, hosts: Fleet) -> str:
    """The host that is shown: the one asked for, else the first that failed, else the first that changes, else the first."""
    asked = view.query.get("host", "")
    if asked in hosts.statuses:
        return asked
    kept = view.memory.get("chosen", "")
    # A page of a few hosts follows the work from host to host; one of many stays where it is, or it would flicker.
    if kept in hosts.statuses and (len(hosts.names) > _FOLLOWED or hosts.statuses[kept] in ("Failed", "InProgress")):
        return kept
    for status in ("Failed", "InProgress"):
        found = next((name for name in hosts.names if hosts.statuses[name] == status), "")
        if found:
            view.memory["chosen"] = found
            return found
    if kept in hosts.statuses:
        return kept
    return hosts.names[0] if hosts.names else ""


def _pipeline(info: dict[str, Any]) -> str:
    """The pipeline that the description of a deployment names; "" for none."""
    found = _BY_PIPELINE.fullmatch(info.get("description") or "")
    return found[1] if found else ""


def _counts(hosts: Fleet, overview: dict[str, int]) -> dict[str, int]:
    """Hosts by status. The overview does not know who is silent."""
    counts = dict.fromkeys(CODES, 0)
    return counts | (dict(Counter(hosts.statuses.values())) if hosts.names else overview)


async def _config(view: View, info: dict[str, Any]) -> dict[str, Any]:
    name = info.get("deploymentConfigName", "")
    if ("config", name) not in view.memory:
        found = await view.allowed("codedeploy", "GetDeploymentConfig", deploymentConfigName=name)
        view.memory["config", name] = (found or {}).get("deploymentConfigInfo", {})
    return view.memory["config", name]


async def _banner(view: View, info: dict[str, Any]) -> dict[str, Any] | None:
    """What a rollback did or does, shown on both deployments."""
    links = info.get("rollbackInfo") or {}
    if links.get("rollbackDeploymentId"):
        other = links["rollbackDeploymentId"]
        answer = await view.allowed("codedeploy", "GetDeployment", deploymentId=other)
        back = (answer or {}).get("deploymentInfo")
        counts = (back or {}).get("deploymentOverview") or {}
        done, total = counts.get("Succeeded", 0), sum(counts.values())
        target = revision_label((back or {}).get("revision", {})) or "the version before"
        status = (back or {}).get("status", "")
        label = {
            "Succeeded": f"Rolled back to {target}.",
            "Failed": f"The rollback to {target} failed.",
            "Stopped": f"The rollback to {target} was stopped.",
        }.get(status, f"Rolling back to {target}{f': {_back(done, total)}' if total else ''}.")
        return {
            "tone": "warn" if status in ("", *_GOING) else "bad",
            "title": label,
            "text": (info.get("errorInformation") or {}).get("message", "") or "The deployment was stopped.",
            "other": other,
            "act": "Follow" if status in _GOING else "View",
        }
    if links.get("rollbackTriggeringDeploymentId"):
        other = links["rollbackTriggeringDeploymentId"]
        return {
            "tone": "warn",
            "title": "This deployment is a rollback.",
            "text": f"It puts {revision_label(info.get('revision', {}))} back on the hosts that {other} had started on.",
            "other": other,
            "act": "View",
        }
    return None


def _back(done: int, total: int) -> str:
    return f"{done:,} of {plural(total, 'host')} {'is' if 1 in (done, total) else 'are'} back"


def _rolls_back(info: dict[str, Any]) -> bool:
    return bool((info.get("autoRollbackConfiguration") or {}).get("enabled"))


def _facts(info: dict[str, Any], config: dict[str, Any]) -> list[tuple[str, str, bool]]:
    minimum = config.get("minimumHealthyHosts") or {}
    count = minimum.get("value", 0)
    least = {"HOST_COUNT": plural(count, "host"), "FLEET_PERCENT": f"{count} % of the hosts"}
    rollback = info.get("autoRollbackConfiguration") or {}
    events = {
        "DEPLOYMENT_FAILURE": "failure",
        "DEPLOYMENT_STOP_ON_ALARM": "alarm",
        "DEPLOYMENT_STOP_ON_REQUEST": "stop",
    }
    on = (
        ", ".join(f"on {events.get(one, one)}" for one in rollback.get("events", [])) if rollback.get("enabled") else ""
    )
    began, ended = info.get("startTime"), info.get("completeTime")
    facts = [
        ("Revision", revision_label(info.get("revision", {})), True),
        ("Replaces", revision_label(info.get("previousRevision") or {}), True),
        ("Configuration", info.get("deploymentConfigName", "").removeprefix("CodeDeployDefault."), False),
        ("Minimum", least.get(minimum.get("type", ""), ""), False),
        (
            "Rolls back",
            f"{on} (set in the deployment)" if on else "as set in the group" if not rollback else "no",
            False,
        ),
        ("Existing files", info.get("fileExistsBehavior", "").capitalize(), False),
        ("Description", info.get("description") or "", False),
        ("Took", lasted(ended - began) if began and ended else "", False),
        ("Id", info["deploymentId"], True),
    ]
    return [fact for fact in facts if fact[1]]


def grid(model: dict[str, Any]) -> Markup:
    """The hosts for the canvas, as JSON that cannot end its element."""
    hosts: Fleet = model["hosts"]
    data = {
        "names": hosts.names,
        "codes": hosts.codes,
        "chosen": model["chosen"],
        "labels": {code: state(status).word for status, code in CODES.items()},
    }
    text = orjson.dumps(data).decode().replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - JSON without < and &


async def load(view: View) -> dict[str, Any]:
    """The page's values."""
    model = await _model(view)
    return {**model, "grid": grid(model), "host_state": host_state}


async def live(view: View) -> Response:
    """Its stream."""
    aggregate = f"deployment/{view.path['id']}"

    async def take() -> Snapshot:
        model = await _model(view)
        snapshot = Snapshot(_blocks(view, model), every=_HOST_SECONDS if model["host"]["going"] else _QUIET_SECONDS)
        # A rollback in progress is shown here too, and it is another aggregate.
        if model["banner"] is not None and model["banner"]["act"] == "Follow":
            snapshot.every = min(snapshot.every, 1)
        return snapshot

    def concerns(event: Event) -> bool:
        return event.aggregate == aggregate

    return view.stream(take, concerns)


def _blocks(view: View, model: dict[str, Any]) -> dict[str, str]:
    blocks = {
        "deployment-state": view.fragment("_deployment_state.html", **model),
        "deployment-acts": view.fragment("_deployment_acts.html", **model),
        "banner": view.fragment("_banner.html", **model),
        "budget": view.fragment("_budget.html", **model),
        "silence": view.fragment("_silence.html", **model),
        "lede": view.block("lede", model["lede"]),
        "facts": view.fragment("_deployment_facts.html", **model),
        "grid-head": view.fragment("_grid_head.html", **model),
    }
    if model["hosts"].names:
        # The grid redraws the cells that differ; only letters travel.
        blocks["host-codes"] = f'<span id="host-codes" hidden>{model["hosts"].codes}</span>'
    if view.memory.get("listed") != model["rows"]:
        view.memory["listed"] = model["rows"]
        blocks["host-table"] = view.fragment("_host_table.html", **model)
        blocks["zones"] = view.fragment("_zones.html", grid=grid(model), **model)
    blocks |= view.rows(_HOST_COLUMNS, model["host_rows"])
    return blocks | {
        "stop-message": view.fragment("_stop_message.html", **model),
        "host-head": view.fragment("_host_head.html", **model),
        "host-steps": view.fragment("_host_steps.html", **model),
        "host-hook": view.fragment("_host_hook.html", **model),
    }


async def stop(view: View) -> Response:
    """Stop it; hosts that are being changed end what they do. Roll back or leave as it is."""
    id_ = view.path["id"]
    rolls_back = view.form.get("how") == "back"
    await view.call("codedeploy", "StopDeployment", deploymentId=id_, autoRollbackEnabled=rolls_back)
    return view.back("deployments", id_, query="said=deployment-stopping")


PAGE = Page(path="deployments/{id}", template="deployment.html", load=load, live=live, forms={"stop": stop})
