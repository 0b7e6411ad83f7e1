"""Deployments, the newest first."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from penstock.console.pages import sentences
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part

_GOING = ("Created", "Queued", "InProgress", "Baking", "Ready")


_COLUMNS = (
    Column("Deployment"),
    Column("State", wide=True),
    Column("To"),
    Column("What", "clip"),
    Column("Hosts done", "num"),
    Column("Created", "num"),
    Column("Took", "num"),
)


async def load(view: View) -> Listing:
    """Those to all groups, or to one."""
    application, group = view.query.get("application", ""), view.query.get("group", "")
    narrowed = {"applicationName": application, "deploymentGroupName": group} if application and group else {}
    listed = await view.call("codedeploy", "ListDeployments", **narrowed, **view.listed_from())
    ids = listed.get("deployments", [])
    found = (await view.call("codedeploy", "BatchGetDeployments", deploymentIds=ids))["deploymentsInfo"] if ids else []
    answer = await view.allowed("codedeploy", "ListApplications") if not ids else None
    applications = (answer or {}).get("applications", [])
    filters = {"application": application, "group": group} if narrowed else {}
    return Listing(
        lede=_lede(found),
        columns=_COLUMNS,
        rows=[_row(info) for info in found],
        empty=Empty(
            icon="host",
            title="No deployments yet",
            text="A deployment puts one version on a group of hosts, some at a time, and rolls back when too many fail. "
            + ("A pipeline creates one, or this command:" if applications else "It needs an application first:"),
            command=f"aws deploy create-deployment --application-name {applications[0]} --deployment-group-name GROUP "
            "--s3-location bucket=BUCKET,key=KEY,bundleType=zip"
            if applications
            else "aws deploy create-application --application-name NAME --compute-platform Server",
        ),
        behind="ListDeployments, BatchGetDeployments",
        command="aws deploy list-deployments"
        + (f" --application-name {application} --deployment-group-name {group}" if narrowed else ""),
        heading=f"{application} to {group}" if narrowed else "",
        filtered=f"{application}, {group}" if narrowed else "",
        next_page=following(listed.get("nextToken") or "", **filters),
        next_label="Older deployments",
    )


def _row(info: dict[str, Any]) -> Row:
    overview = info.get("deploymentOverview", {})
    total, failed = sum(overview.values()), overview.get("Failed", 0)
    began, ended = info.get("startTime"), info.get("completeTime")
    application, group, revision = (
        info["applicationName"],
        info["deploymentGroupName"],
        revision_label(info.get("revision", {})),
    )
    rollback = info.get("creator") == "codeDeployRollback"
    return Row(
        (
            Cell(code=info["deploymentId"], href=f"/console/deployments/{part(info['deploymentId'])}"),
            Cell(
                state=info["status"],
                below="a rollback" if rollback else info.get("errorInformation", {}).get("code", ""),
            ),
            Cell(text=f"{application}, {group}", href=f"?{urlencode({'application': application, 'group': group})}"),
            Cell(text=revision, title=revision),
            Cell(
                text=f"{overview.get('Succeeded', 0)} of {total}" if total else "",
                below=f"{failed} failed" if failed else "",
            ),
            Cell(at=info.get("createTime")),
            Cell(
                since=began if info["status"] in _GOING else None,
                took=ended - began if began and ended else None,
            ),
        )
    )


def revision_label(revision: dict[str, Any]) -> str:
    """The shortest label of what is deployed."""
    where = revision.get("s3Location")
    if where:
        version = f", version {where['version'][:8]}" if where.get("version") else ""
        return f"{where.get('bucket', '')}/{where.get('key', '')}{version}"
    github = revision.get("gitHubLocation")
    if github:
        return f"{github.get('repository', '')} {github.get('commitId', '')[:8]}"
    return revision.get("revisionType", "")


def _lede(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Nothing has been deployed yet."
    going = sum(info["status"] in _GOING for info in found)
    failed = sum(info["status"] == "Failed" for info in found)
    return sentences.newest(len(found), "deployment", running=going, failed=failed)


PAGE = Page(
    path="deployments",
    title="Deployments",
    load=load,
    nav=Nav(group=Group.DELIVER, service="codedeploy", operation="ListDeployments", key="d"),
    events="codedeploy.",
)
