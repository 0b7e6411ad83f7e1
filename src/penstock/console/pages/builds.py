"""The builds of all projects, the newest first."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from penstock.console.pages import sentences
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural

_COLUMNS = (
    Column("Build"),
    Column("State", wide=True),
    Column("Project"),
    Column("Revision", "clip"),
    Column("Started by", "by"),
    Column("Started", "num"),
    Column("Took", "num"),
)


async def load(view: View) -> Listing:
    """Those of all projects, or of one."""
    project = view.query.get("project", "")
    if project:
        listed = await view.call(
            "codebuild", "ListBuildsForProject", projectName=project, sortOrder="DESCENDING", **view.listed_from()
        )
    else:
        listed = await view.call("codebuild", "ListBuilds", sortOrder="DESCENDING", **view.listed_from())
    ids = listed.get("ids", [])  # as many as BatchGetBuilds takes
    found = (await view.call("codebuild", "BatchGetBuilds", ids=ids))["builds"] if ids else []
    place = {id_: at for at, id_ in enumerate(ids)}
    found.sort(key=lambda build: place[build["id"]])
    answer = await view.allowed("codebuild", "ListProjects", sortBy="NAME") if not project else None
    projects = (answer or {}).get("projects", [])
    return Listing(
        lede=_lede(found, projects, project),
        columns=_COLUMNS,
        rows=[_row(build) for build in found],
        empty=Empty(
            icon="box",
            title="No builds yet",
            text="A build runs the commands of a buildspec.yml on a change and keeps the result. "
            + (f"Start one of {plural(len(projects), 'project')}:" if projects else "It needs a project first:"),
            command=f"aws codebuild start-build --project-name {projects[0]}"
            if projects
            else "aws codebuild create-project --cli-input-json file://project.json",
        ),
        behind="ListBuilds, BatchGetBuilds",
        command=f"aws codebuild list-builds-for-project --project-name {project}"
        if project
        else "aws codebuild list-builds",
        heading=f"Builds of {project}" if project else "",
        filtered=project,
        next_page=following(listed.get("nextToken", ""), project=project),
        next_label="Older builds",
    )


def _row(build: dict[str, Any]) -> Row:
    running = not build.get("buildComplete", False)
    project, began, ended = build["projectName"], build.get("startTime"), build.get("endTime")
    phase = build.get("currentPhase", "") if running else _failed_phase(build)
    revision = build.get("resolvedSourceVersion") or build.get("sourceVersion", "")
    return Row(
        (
            Cell(
                text=f"{project}\N{NO-BREAK SPACE}{build.get('buildNumber', '')}",
                href=f"/console/builds/{part(build['id'])}",
            ),
            Cell(state=build["buildStatus"], below=f"in {phase}" if phase else ""),
            Cell(text=project, href=f"?{urlencode({'project': project})}"),
            Cell(code=revision[:40] if "/" in revision else revision[:8], title=revision),
            build.get("initiator", ""),
            Cell(at=began),
            Cell(since=began if running else None, took=ended - began if began and ended else None),
        )
    )


def _failed_phase(build: dict[str, Any]) -> str:
    for phase in build.get("phases", []):
        if phase.get("phaseStatus") not in (None, "SUCCEEDED", "STOPPED"):
            return phase["phaseType"]
    return ""


def _lede(builds: list[dict[str, Any]], projects: list[str], project: str) -> str:
    alone = project or (projects[0] if len(projects) == 1 else "")
    where = f" of {alone}" if alone else f" of {plural(len(projects), 'project')}" if projects else ""
    if not builds:
        return f"Nothing has been built{where}."
    running = sum(not build.get("buildComplete", False) for build in builds)
    failed = sum(build["buildStatus"] in ("FAILED", "FAULT", "TIMED_OUT") for build in builds)
    return sentences.newest(len(builds), "build", where, running=running, failed=failed)


PAGE = Page(
    path="builds",
    title="Builds",
    load=load,
    nav=Nav(group=Group.DELIVER, service="codebuild", operation="ListBuilds", key="b"),
    events="codebuild.",
)
