"""The console's pages of Logs Insights: ask a question of log groups, see how far it is and what it finds, and the stream around an event."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from penstock.logs import insights, query_records
from penstock.pools import LOGS
from penstock.webpages.detail import Detail, Part
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row
from penstock.webpages.live import Snapshot
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View
from penstock.webpages.wording import exact, person, plural
from penstock.wire.errors import ServiceError

if TYPE_CHECKING:
    from starlette.responses import Response

_TEMPLATE = "logs/insights.html"
_ROWS = 100  # of a page of results
_LISTED = 50  # groups that can be ticked
_RECENT = 20
_KEPT = 1_000  # definitions, as many as an account has
_AROUND = 50  # events before and after a time
_LINE = 1_000  # characters of an event of a stream
_SECONDS = 1.0  # between two looks at a query that runs
_DEFAULT_RANGE = "1h"
_OPEN = ("Scheduled", "Running")
_TICKED = "group:"  # how the names of the ticked fields begin


async def ask(view: View) -> Mapping[str, Any]:
    """The form of a new query, perhaps filled in by an example or a definition; queries of the last days, and those that are kept."""
    asked = {
        "query": insights.EXAMPLES[0][1],
        "range": _DEFAULT_RANGE,
        "groups": view.request.query_params.getlist("group"),
    }
    named = view.query.get("example", "")
    asked["query"] = dict(insights.EXAMPLES).get(named, asked["query"])
    kept = await view.allowed("logs", "DescribeQueryDefinitions", maxResults=_KEPT)
    for one in (kept or {}).get("queryDefinitions", ()):
        if one["queryDefinitionId"] == view.query.get("definition"):
            asked |= {"query": one["queryString"], "groups": one.get("logGroupNames", []), "name": one["name"]}
    return await _form(view, asked, definitions=kept)


async def _form(
    view: View,
    asked: Mapping[str, Any],
    *,
    problem: insights.Problem | None = None,
    definitions: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The values of the template."""
    listed = await view.allowed("logs", "DescribeLogGroups", limit=_LISTED)
    names = [one["logGroupName"] for one in (listed or {}).get("logGroups", ())]
    if definitions is None and result is None:
        definitions = await view.allowed("logs", "DescribeQueryDefinitions", maxResults=_KEPT)
    recent = None if result else await view.allowed("logs", "DescribeQueries", maxResults=_RECENT)
    return {
        "groups": [(name, name in asked["groups"]) for name in names],
        "more_groups": "nextToken" in (listed or {}),
        "others": "\n".join(name for name in asked["groups"] if name not in names),
        "query": asked["query"],
        "name": asked.get("name", ""),
        "ranges": [(key, said) for key, (said, _) in insights.RANGES.items()],
        "chosen": asked["range"],
        "begins": asked.get("begins", ""),
        "ends": asked.get("ends", ""),
        "examples": [(name, urlencode({"example": name})) for name, _ in insights.EXAMPLES],
        "problem": problem,
        "result": result,
        "recent": _recent((recent or {}).get("queries", ())),
        "definitions": _definitions((definitions or {}).get("queryDefinitions", ())),
        "may_keep": await view.may("logs", "PutQueryDefinition", name="x", queryString="x"),
        "may_ask": await _may_ask(view, names),
        "command": "aws logs start-query --help",
    }  # fmt: skip


async def _may_ask(view: View, names: Sequence[str]) -> bool:
    """Whether the visitor may query the first of the groups; a group that is typed in is refused when it is sent."""
    return not names or any([await view.may("logs", "StartQuery", logGroupNames=[name]) for name in names[:5]])


def _recent(found: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Column], Sequence[Row]]:
    columns = (
        Column("Query"),
        Column("State"),
        Column("First group", "clip"),
        Column("Asked by", "by"),
        Column("When", "num"),
    )
    rows = [
        Row(
            (
                Cell(text=_short(one["queryString"]), href=f"/console/insights/{one['queryId']}"),
                Cell(state=one["status"]),
                Cell(text=one["logGroupName"], title=one["logGroupName"]),
                Cell(person=person(one["userIdentity"])) if one.get("userIdentity") else None,
                Cell(at=one["createTime"]),
            )
        )
        for one in found
    ]
    return columns, rows


def _short(query: str) -> str:
    line = " ".join(query.split())
    return line[:120] + ("…" if len(line) > 120 else "") or "(empty)"


def _definitions(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": one["queryDefinitionId"],
            "name": one["name"],
            "query": _short(one["queryString"]),
            "groups": plural(len(one.get("logGroupNames", ())), "group"),
            "href": f"/console/insights?{urlencode({'definition': one['queryDefinitionId']})}",
        }
        for one in found
    ]


def _asked(view: View) -> dict[str, Any]:
    """What a form says."""
    ticked = [name.removeprefix(_TICKED) for name in view.form if name.startswith(_TICKED)]
    typed = [line.strip() for line in view.form.get("others", "").splitlines() if line.strip()]
    return {
        "query": view.form.get("query", ""),
        "groups": list(dict.fromkeys([*ticked, *typed])),
        "range": view.form.get("range", ""),
        "begins": view.form.get("begins", ""),
        "ends": view.form.get("ends", ""),
        "name": view.form.get("name", ""),
    }


def _seconds(view: View, asked: Mapping[str, Any]) -> tuple[int, int] | None:
    """The range of a form; None when it cannot be read."""
    if asked["range"] in insights.RANGES:
        now = view.app.clock.now() // 1_000
        return now - insights.RANGES[asked["range"]][1], now
    begins, ends = insights.of_local(asked["begins"]), insights.of_local(asked["ends"])
    return None if begins is None or ends is None else (begins, ends)


async def _again(view: View, asked: Mapping[str, Any], problem: insights.Problem) -> Response:
    """The form once more with what was written in it."""
    return view.render(_TEMPLATE, status=400, **await _form(view, asked, problem=problem))


async def start(view: View) -> Response:
    """Run a query as the visitor, and lead to its page."""
    asked = _asked(view)
    if not asked["groups"]:
        return await _again(view, asked, insights.Problem("Choose a log group."))
    times = _seconds(view, asked)
    if times is None:
        return await _again(view, asked, insights.Problem("Say from when to when, as 2026-12-24T18:00."))
    try:
        made = await view.call(
            "logs", "StartQuery", logGroupNames=asked["groups"], queryString=asked["query"], startTime=times[0], endTime=times[1]
        )  # fmt: skip
    except ServiceError as refused:
        compiled = refused.values.get("queryCompileError")
        place = compiled["location"] if compiled else None
        return await _again(view, asked, insights.problem(refused.message, asked["query"], place))
    return view.back("insights", made["queryId"], at="result")


async def keep(view: View) -> Response:
    """Keep the query of the form under a name."""
    asked = _asked(view)
    if not asked["name"].strip():
        return await _again(view, asked, insights.Problem("Give the query a name to keep it under."))
    try:
        made = await view.call(
            "logs", "PutQueryDefinition", name=asked["name"], queryString=asked["query"], logGroupNames=asked["groups"]
        )  # fmt: skip
    except ServiceError as refused:
        return await _again(view, asked, insights.Problem(refused.message))
    return view.back("insights", query=urlencode({"definition": made["queryDefinitionId"]}))


async def forget(view: View) -> Response:
    """Delete a definition."""
    await view.call("logs", "DeleteQueryDefinition", queryDefinitionId=view.form.get("id", ""))
    return view.back("insights")


async def _look(view: View) -> tuple[dict[str, Any], dict[str, Any]]:
    """A query as its page shows it, and what was asked. Raises the errors of GetQueryResults."""
    id = view.path["id"]
    found = await view.call("logs", "GetQueryResults", queryId=id, maxItems=_ROWS, **view.listed_from())
    row = await view.app.store.read(query_records.find_query, id)
    asked: dict[str, Any] = {"query": "", "groups": [], "range": _DEFAULT_RANGE}
    took, reason, may_stop = None, "", False
    if row is not None:
        took = None if row.started is None else (row.ended or view.app.clock.now()) - row.started
        reason = row.reason or ""
        may_stop = found["status"] in _OPEN and await view.may("logs", "StopQuery", queryId=id)
        # GetQueryResults says nothing of what was asked: that is DescribeQueries' to show.
        if row.caller == view.visitor.session.arn or await view.may("logs", "DescribeQueries"):
            asked |= {"query": row.query, "groups": row.groups, "range": insights.OWN}
            asked |= {"begins": insights.local_of(row.begin), "ends": insights.local_of(row.end + 59_999)}
    result = {
        "id": id,
        "status": found["status"],
        "open": found["status"] in _OPEN,
        "sentence": insights.sentence(found, took=took, reason=reason),
        "table": insights.table(found["results"]),
        "plots": insights.Plots() if row is None else await _plots(view, row.query, found),
        "may_stop": may_stop,
        "more": urlencode({"from": found["nextToken"]}) if "nextToken" in found else "",
    }
    return result, asked


async def _plots(view: View, query: str, found: Mapping[str, Any]) -> insights.Plots:
    """The first results over time, on the first page of them."""
    over = await LOGS.run(insights.axes, query) if found["results"] and not view.listed_from() else None
    if over is None:
        return insights.Plots()
    more = await view.call("logs", "GetQueryResults", queryId=view.path["id"], maxItems=insights.DRAWN)
    return insights.plots(more["results"], over)


async def query(view: View) -> Mapping[str, Any]:
    """A query: how far it is, what it has found, and the form to ask again."""
    result, asked = await _look(view)
    values = await _form(view, asked, result=result)
    return {**values, "command": f"aws logs get-query-results --query-id {result['id']}"}


async def progress(view: View) -> Response:
    """The live stream of a query, until it has ended."""

    async def take() -> Snapshot:
        result, _ = await _look(view)
        block = view.fragment("logs/_result.html", result=result)
        return Snapshot({"result": block}, every=_SECONDS, over=not result["open"])

    return view.stream(take, lambda _event: False)


async def stop(view: View) -> Response:
    """Stop a query."""
    try:
        await view.call("logs", "StopQuery", queryId=view.path["id"])
    except ServiceError as refused:
        if refused.wire_code != "InvalidParameterException":  # it has ended meanwhile
            raise
    return view.back("insights", view.path["id"], at="result")


async def record(view: View) -> Detail:
    """All fields of an event, and the way to its stream."""
    pointer = view.query.get("ptr", "")
    found = (await view.call("logs", "GetLogRecord", logRecordPointer=pointer))["logRecord"]
    at = insights.ms_of(found["@timestamp"]) or 0
    group, stream_name = found["@log"].partition(":")[2], found["@logStream"]
    return Detail(
        title="Log event",
        list_title="Logs Insights",
        list_path="insights",
        lede=f"Written to {stream_name} at {exact(at)}.",
        facts=[
            ("Stream", Cell(text=stream_name, href=insights.stream_address(group, stream_name, at))),
            ("Group", group),
            ("Time", Cell(at=at)),
        ],
        parts=[
            Part(title="Message", text=insights.message_of(found["@message"]), none="It is empty."),
            Part(title="Fields", columns=(Column("Field"), Column("Value")), rows=insights.record_rows(found)),
        ],
        behind="GetLogRecord",
        command=f"aws logs get-log-record --log-record-pointer {shlex.quote(pointer)}",
    )


async def stream(view: View) -> Listing:
    """The events of a stream around a time."""
    group, name = view.query.get("group", ""), view.query.get("stream", "")
    at = insights.ms_of(view.query.get("at", ""))
    at = view.app.clock.now() if at is None else at
    named = {"logGroupName": group, "logStreamName": name, "limit": _AROUND}
    before = (await view.call("logs", "GetLogEvents", **named, endTime=at + 1, startFromHead=False))["events"]
    behind = (await view.call("logs", "GetLogEvents", **named, startTime=at + 1, startFromHead=True))["events"]
    events = [*before, *behind]
    return Listing(
        heading=name,
        filtered=name,
        lede=f"{plural(len(events), 'event')} of {group} around {exact(at)}.",
        columns=(Column("Time"), Column("Message")),
        rows=[_event(one, at, group, name) for one in events],
        empty=Empty(icon="box", title="No events then", text="The stream has no events around this time."),
        behind="GetLogEvents",
        command=shlex.join(["aws", "logs", "get-log-events", "--log-group-name", group, "--log-stream-name", name]),
        next_page=urlencode({"group": group, "stream": name, "at": behind[-1]["timestamp"]}) if behind else "",
        next_label="Later",
    )


def _event(one: Mapping[str, Any], at: int, group: str, name: str) -> Row:
    when, message = one["timestamp"], insights.line_of(one["message"], _LINE)
    return Row((Cell(text=exact(when), href=insights.stream_address(group, name, when)), message), chosen=when == at)


PAGES = (
    Page(
        path="insights",
        title="Logs Insights",
        load=ask,
        template=_TEMPLATE,
        nav=Nav(group=Group.WATCH, service="logs", operation="DescribeQueries"),
        forms={"": start, "definitions": keep, "definitions/forget": forget},
    ),
    Page(path="insights/record", load=record),
    Page(path="insights/stream", title="Logs Insights", load=stream),
    Page(path="insights/{id}", load=query, template=_TEMPLATE, live=progress, forms={"stop": stop}),
)
