"""One build, live: its phases, facts and log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

from starlette.responses import Response, StreamingResponse

from penstock.console.pages import logs
from penstock.console.pages.logs import Line, Place
from penstock.console.pages.runs import run_behind
from penstock.store.events import Event
from penstock.webpages.live import Snapshot
from penstock.webpages.page import Page
from penstock.webpages.view import HEADERS, View
from penstock.webpages.wording import lasted, state
from penstock.wire.errors import error_class

PHASES = (
    "SUBMITTED",
    "QUEUED",
    "PROVISIONING",
    "DOWNLOAD_SOURCE",
    "INSTALL",
    "PRE_BUILD",
    "BUILD",
    "POST_BUILD",
    "UPLOAD_ARTIFACTS",
    "FINALIZING",
)
_SOURCES = {"CODEPIPELINE": "Artifact of the pipeline", "NO_SOURCE": "None"}
_LOG_SECONDS = 0.4  # how often a log that grows is looked at: it has no events
_SHORT = 300  # lines up to which every fold stands open

_NotFound = error_class("BuildNotFoundException", 404)


async def _model(view: View) -> dict[str, Any]:
    id_ = view.path["id"]
    found = (await view.call("codebuild", "BatchGetBuilds", ids=[id_]))["builds"]
    if not found:
        raise _NotFound(f"There is no build {id_}.")
    build = found[0]
    now = view.app.clock.now()
    running = not build.get("buildComplete", False)
    phases = _phases(build, now)
    if "may" not in view.memory:
        view.memory["may"] = await view.may("codebuild", "StopBuild", id=id_)
    return {
        "id": build["id"],
        "project": build["projectName"],
        "number": build.get("buildNumber", ""),
        "build_state": build["buildStatus"],
        "running": running,
        "started": build.get("startTime"),
        "phases": phases,
        "failure": _failure(phases) if build["buildStatus"] != "SUCCEEDED" else None,
        "pipeline": _pipeline(build.get("initiator", "")),
        "run": await run_behind(view, _pipeline(build.get("initiator", "")), id_),
        "by": build.get("initiator", ""),
        "lede": _lede(build, phases, now),
        "facts": _facts(build),
        "log": {"groupName": "", "streamName": "", **build.get("logs", {})},
        "may_stop": view.memory["may"] and running,
    }


def _phases(build: dict[str, Any], now: int) -> list[dict[str, Any]]:
    reported = {phase["phaseType"]: phase for phase in build.get("phases", [])}
    current = build.get("currentPhase", "")
    running = not build.get("buildComplete", False)
    rows = []
    for name in PHASES:
        phase = reported.get(name, {})
        status = phase.get("phaseStatus", "")
        going = running and name == current and status in ("", "IN_PROGRESS")
        if not phase and not running:
            status = "Skipped"
        context = next((one for one in phase.get("contexts", []) if one.get("message")), {})
        rows.append(
            {
                "name": name,
                "state": "InProgress" if going else status,
                "going": going,
                "since": now - phase["startTime"] if going and phase.get("startTime") else None,
                "took": phase["endTime"] - phase["startTime"] if phase.get("endTime") else None,
                "code": context.get("statusCode", ""),
                "message": context.get("message", ""),
            }
        )
    return rows


def _failure(phases: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((phase for phase in phases if state(phase["state"]).name == "Failed"), None)


def _pipeline(initiator: str) -> str:
    return initiator.removeprefix("codepipeline/") if initiator.startswith("codepipeline/") else ""


def _limit(build: dict[str, Any], now: int) -> str:
    """When a running build times out."""
    if not build.get("timeoutInMinutes") or not build.get("startTime"):
        return ""
    left = (build["startTime"] + 60_000 * build["timeoutInMinutes"] - now) / 60_000
    return f", times out in {left:.0f} min" if left >= 1 else ", times out in less than a minute"


def _lede(build: dict[str, Any], phases: list[dict[str, Any]], now: int) -> str:
    took = build["endTime"] - build["startTime"] if build.get("endTime") and build.get("startTime") else None
    match build["buildStatus"]:
        case "IN_PROGRESS":
            phase = build.get("currentPhase", "QUEUED")
            return (
                f"Running {phase}{_limit(build, now)}."
                if phase != "QUEUED"
                else "Queued: it starts when a builder is free."
            )
        case "SUCCEEDED":
            return f"Succeeded{f' in {lasted(took)}' if took is not None else ''}."
        case "STOPPED":
            return f"Stopped{f' after {lasted(took)}' if took is not None else ''}."
        case "TIMED_OUT":
            return f"Timed out: it was ended after {build.get('timeoutInMinutes', '?')} min."
        case _:
            failed = _failure(phases)
            where = f" in {failed['name']}" if failed else ""
            return f"Failed{where}{f' after {lasted(took)}' if took is not None else ''}."


def _facts(build: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, value, and whether a machine reads it."""
    environment, source = build.get("environment", {}), build.get("source", {})
    queued = next((p for p in build.get("phases", []) if p["phaseType"] == "QUEUED"), {})
    artifacts = build.get("artifacts", {})
    key = "" if artifacts.get("encryptionDisabled") or not artifacts.get("location") else build.get("encryptionKey", "")
    exported = ", ".join(f"{one['name']}={one['value']}" for one in build.get("exportedEnvironmentVariables", []))
    facts = [
        (
            "Source",
            source.get("location", "") or _SOURCES.get(source.get("type", ""), ""),
            bool(source.get("location")),
        ),
        ("Revision", build.get("resolvedSourceVersion") or build.get("sourceVersion", ""), True),
        ("Image", environment.get("image", ""), True),
        ("Machine", environment.get("computeType", "").removeprefix("BUILD_GENERAL1_").capitalize(), False),
        ("Started by", build.get("initiator", ""), False),
        ("Queued for", lasted(queued["durationInSeconds"] * 1000) if "durationInSeconds" in queued else "", False),
        ("Timeout", f"{build['timeoutInMinutes']} min" if "timeoutInMinutes" in build else "", False),
        ("Artifacts", artifacts.get("location", ""), True),
        ("Under the key", key, True),
        ("Exported", exported, True),
        ("Id", build["id"], True),
    ]
    return [fact for fact in facts if fact[1]]


def _folds(model: dict[str, Any], lines: list[Line]) -> list[dict[str, Any]]:
    """The log by phase; a phase that comes twice continues where it stood."""
    by_name = {phase["name"]: phase for phase in model["phases"]}
    last = lines[-1].phase if lines else ""
    grouped: dict[str, list[Line]] = {}
    for name, group in groupby(lines, key=lambda line: line.phase):
        grouped.setdefault(name, []).extend(group)
    broken = any(state(by_name[name]["state"]).name == "Failed" for name in grouped if name in by_name)
    folds = []
    for name, found in grouped.items():
        phase = by_name.get(name, _unknown(name))
        failed = state(phase["state"]).name == "Failed"
        folds.append(
            {"phase": phase, "lines": found, "open": failed if broken else len(lines) <= _SHORT or name == last}
        )
    return folds


def _failed_line(model: dict[str, Any], lines: list[Line]) -> int:
    """The line to open a failed build at: the last that its failed phase printed before the build service spoke; 0 for none."""
    failure = model["failure"]
    if failure is None:
        return 0
    ours = [line for line in lines if line.phase == failure["name"]]
    printed = [line.number for line in ours if not line.text.startswith("[Container]") and line.text.strip()]
    return printed[-1] if printed else ours[-1].number if ours else 0


def _unknown(name: str) -> dict[str, Any]:
    return {"name": name, "state": "", "going": False, "since": None, "took": None, "code": "", "message": ""}


async def load(view: View) -> dict[str, Any]:
    """The page's values, with the log as far as a first page shows it."""
    model = await _model(view)
    group, stream = _where(model)
    found = await logs.excerpt(view, group, stream) if group else logs.Excerpt(refusal="This build keeps no log.")
    folds = _folds(model, found.lines)
    return {
        **model,
        "folds": folds,
        "logged": {fold["phase"]["name"] for fold in folds},
        "failed_line": _failed_line(model, found.lines),
        "refusal": found.refusal,
        "left_out": found.left_out,
        "left_out_after": found.lines[499].number if found.left_out else 0,
        "cursor": str(found.place),
    }


def _where(model: dict[str, Any]) -> tuple[str, str]:
    return model["log"].get("groupName", ""), model["log"].get("streamName", "")


async def live(view: View) -> Response:
    """Its stream: phases and facts as blocks, the log at its end."""
    place = Place.from_cursor(view.cursor)
    known = {place.phase} if place.number > 1 else set[str]()
    # The page has these already, and says so, since a stream reads the log only from where the page ended.
    logged = set(view.query.get("logged", "").split(",")) & set(PHASES)
    id_ = view.path["id"]

    async def take() -> Snapshot:
        nonlocal place
        model = await _model(view)
        group, stream = _where(model)
        adds: list[tuple[str, str]] = []
        more = False
        if group and view.memory.get("readable", True):
            lines, place, more = await logs.further(view, group, stream, place)
            adds = _adds(view, model, lines, known)
        every = _LOG_SECONDS if model["running"] else 5
        snapshot = Snapshot(_blocks(view, model, known | logged), adds=adds, more=more, every=every)
        snapshot.cursor = str(place)
        # What the supervisor says last may be shipped after the build has ended: one quiet look more, then it is over.
        quiet = not model["running"] and not snapshot.adds
        snapshot.over = quiet and view.memory.get("was_quiet", False)
        view.memory["was_quiet"] = quiet
        return snapshot

    group = (await _model(view))["log"].get("groupName", "")
    readable = {"logGroupName": group, "logStreamName": ""}
    view.memory["readable"] = bool(group) and await view.may("logs", "GetLogEvents", **readable)

    def concerns(event: Event) -> bool:
        return event.aggregate == f"build/{id_}"

    return view.stream(take, concerns)


def _blocks(view: View, model: dict[str, Any], logged: set[str]) -> dict[str, str]:
    blocks = {
        "build-state": view.fragment("_build_state.html", **model),
        "build-acts": view.fragment("_build_acts.html", **model),
        "lede": view.block("lede", model["lede"]),
        "phases": view.fragment("_phases.html", **model, logged=logged),
        "facts": view.fragment("_facts.html", **model),
        "failure": view.fragment("_failure.html", **model, failed_line=0),
    }
    for phase in model["phases"]:
        if phase["state"] not in ("", "Skipped"):
            blocks[f"fold-{phase['name']}"] = view.fragment("_fold_head.html", phase=phase)
    return blocks


def _adds(view: View, model: dict[str, Any], lines: list[Line], known: set[str]) -> list[tuple[str, str]]:
    by_name = {phase["name"]: phase for phase in model["phases"]}
    adds: list[tuple[str, str]] = []
    for name, group in groupby(lines, key=lambda line: line.phase):
        if name not in known:
            known.add(name)
            fold = {"phase": by_name.get(name, _unknown(name)), "lines": [], "open": True}
            adds.append(("log", view.fragment("_fold.html", fold=fold)))
        adds.append((f"lines-{name}", "".join(line.html for line in group)))
    return adds


async def log_file(view: View) -> Response:
    """The raw log."""
    model = await _model(view)
    group, stream = _where(model)
    if not group:
        raise _NotFound("This build keeps no log.")
    await view.call("logs", "GetLogEvents", logGroupName=group, logStreamName=stream, limit=1)  # refusals as a page

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in logs.raw(view, group, stream):
            yield piece

    return StreamingResponse(pieces(), media_type="text/plain; charset=utf-8", headers=HEADERS)


async def stop(view: View) -> Response:
    """Stop it."""
    await view.call("codebuild", "StopBuild", id=view.path["id"])
    return view.back("builds", view.path["id"], query="said=build-stopping")


PAGES = (
    Page(path="builds/{id}", template="build.html", load=load, live=live, forms={"stop": stop}),
    Page(path="builds/{id}/log", load=log_file),
)
