"""The console's pages about metric sources: which there are and how they are, and one with its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from penstock.webpages.detail import Detail, Part
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural

_STATES = {"OK": "Succeeded", "FAILING": "Failed", "WAITING": "Pending", "DISABLED": "Stopped"}
"""A source's status → the state of the API that the console shows it as."""


async def listing(view: View) -> Listing:
    """The sources of the account and region."""
    answer = await view.call("penstock", "ListMetricSources", **view.listed_from())
    found = answer["sources"]
    failing = sum(one["status"] == "FAILING" for one in found)
    return Listing(
        lede=f"{plural(len(found), 'metric source')} on this page, {failing or 'none'} failing.",
        columns=(
            Column("Source"),
            Column("Kind"),
            Column("State", wide=True),
            Column("Asks", "clip"),
            Column("Last read", "num"),
        ),
        rows=[_row(one) for one in found],
        empty=Empty(
            icon="box",
            title="No metric sources yet",
            text="A metric source is a probe, a Prometheus or a load balancer that is read at an interval, so that alarms on it stop rollouts.",
            command="aws penstock put-metric-source --source-name shop --http url=https://shop.example.com/health",
        ),
        behind="ListMetricSources",
        command="aws penstock list-metric-sources",
        next_page=following(answer.get("nextToken", "")),
    )


def _row(one: Mapping[str, Any]) -> Row:
    name, asks = one["sourceName"], _address(one)
    return Row(
        (
            Cell(text=name, href=f"/console/metric-sources/{part(name)}"),
            one["kind"],
            Cell(state=_STATES[one["status"]], below=one.get("lastError", "")),
            Cell(text=asks, title=asks),
            Cell(at=one.get("lastReadTime")),
        )
    )


def _address(one: Mapping[str, Any]) -> str:
    asked = one[one["kind"]]
    return asked.get("url") or asked["socket"]


async def source(view: View) -> Detail:
    """One source."""
    found = (await view.call("penstock", "GetMetricSource", sourceName=view.path["name"]))["source"]
    name = found["sourceName"]
    interval = plural(found["intervalSeconds"], "second")
    lede = f"Read every {interval}." if found["enabled"] else "It is not read."
    return Detail(
        title=name,
        list_title="Metric sources",
        list_path="metric-sources",
        lede=lede,
        warning=found.get("lastError", ""),
        facts=[
            ("State", Cell(state=_STATES[found["status"]])),
            ("Description", found["description"]),
            ("ARN", found["sourceArn"]),
            ("Namespace of its metrics", found["namespace"]),
            ("Credentials", "Kept sealed" if found["hasCredentials"] else "None"),
            *((what, Cell(at=found[member])) for what, member in _TIMES if member in found),
            ("Failed reads since then", str(found["failures"]) if found["failures"] else ""),
        ],
        parts=[Part(title="Settings", text=json.dumps(found[found["kind"]], indent=2, ensure_ascii=False))],
        behind="GetMetricSource",
        command=f"aws cloudwatch list-metrics --namespace {found['namespace']} --dimensions Name=Source,Value={name}",
    )


_TIMES = (("Last read", "lastReadTime"), ("Last read that succeeded", "lastSuccessTime"))

PAGES = (
    Page(
        path="metric-sources",
        title="Metric sources",
        load=listing,
        nav=Nav(group=Group.WATCH, service="penstock", operation="ListMetricSources"),
    ),
    Page(path="metric-sources/{name}", load=source),
)
