"""The console's pages about alarms: which there are, and what one of them watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from penstock.monitoring.errors import ResourceNotFound
from penstock.monitoring.evaluation import OPERATORS, breaches, number
from penstock.monitoring.queries import period_of
from penstock.webpages.bars import drawn
from penstock.webpages.detail import Detail, Part, tag_facts
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View
from penstock.webpages.wording import plural

_BOTH = ["MetricAlarm", "CompositeAlarm"]
_PAGE = 50
_BARS = 60  # periods of a plot
_HEIGHT = 120  # pixels


def _address(name: str) -> str:
    return f"/console/alarms/alarm?{urlencode({'name': name})}"


async def alarms(view: View) -> Listing:
    """The alarms of the account and region by name, those that are composed of others behind them; of a page those in alarm come first."""
    token = view.query.get("from", "")
    answer = await view.call(
        "cloudwatch", "DescribeAlarms", AlarmTypes=_BOTH, MaxRecords=_PAGE, **({"NextToken": token} if token else {})
    )
    found = [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
    found.sort(key=lambda one: one["StateValue"] != "ALARM")  # what is wrong comes first
    active = sum(one["StateValue"] == "ALARM" for one in found)
    return Listing(
        lede=f"{plural(len(found), 'alarm')} on this page, {active} in alarm.",
        columns=(Column("Alarm"), Column("State"), Column("Why", "clip"), Column("Since", "num")),
        rows=[
            Row(
                (
                    Cell(text=one["AlarmName"], href=_address(one["AlarmName"])),
                    Cell(state=one["StateValue"]),
                    one["StateReason"],
                    Cell(at=one["StateTransitionedTimestamp"]),
                )
            )
            for one in found
        ],
        empty=Empty(
            icon="box",
            title="No alarms yet",
            text="An alarm compares a metric with a threshold. It notifies topics, and stops the deployments of groups that name it.",
            command="aws cloudwatch put-metric-alarm --alarm-name errors --namespace Shop --metric-name Errors --statistic Sum --period 60"
            " --evaluation-periods 3 --threshold 5 --comparison-operator GreaterThanThreshold",
        ),
        behind="DescribeAlarms",
        command="aws cloudwatch describe-alarms --alarm-types MetricAlarm CompositeAlarm",
        next_page=following(answer.get("NextToken", "")),
    )


async def alarm(view: View) -> Mapping[str, Any]:
    """One alarm: its state, what it watches, the data of that beside its threshold, and its history."""
    name = view.query.get("name", "")
    answer = await view.call("cloudwatch", "DescribeAlarms", AlarmNames=[name], AlarmTypes=_BOTH) if name else {}
    found = [*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())]
    if not found:
        raise ResourceNotFound
    one = found[0]
    past = await view.allowed("cloudwatch", "DescribeAlarmHistory", AlarmName=name, AlarmTypes=_BOTH, MaxRecords=20)
    tags = await view.allowed("cloudwatch", "ListTagsForResource", ResourceARN=one["AlarmArn"])
    parts = [
        Part(
            title="History",
            columns=(Column("What"), Column("When", "num")),
            rows=[
                Row((item["HistorySummary"], Cell(at=item["Timestamp"])))
                for item in (past or {}).get("AlarmHistoryItems", ())
            ],
            none="A policy does not let you see the history." if past is None else "Nothing has happened yet.",
        )
    ]
    if "AlarmRule" in one:
        children = await view.allowed("cloudwatch", "DescribeAlarms", ChildrenOfAlarmName=name)
        parts.insert(0, _children(children))
    detail = Detail(
        title=name,
        list_title="Alarms",
        list_path="alarms",
        lede=one["StateReason"],
        facts=[
            ("State", Cell(state=one["StateValue"])),
            ("Since", Cell(at=one["StateTransitionedTimestamp"])),
            ("Description", one.get("AlarmDescription", "")),
            *_facts(one),
            ("Actions", "" if one["ActionsEnabled"] else "Switched off"),
            ("Suppressed", one.get("ActionsSuppressedReason", "")),
            *(
                (f"On {state}", ", ".join(one[member]))
                for state, member in (("ALARM", "AlarmActions"), ("OK", "OKActions"))
            ),
            *tag_facts(tags or {}),
            ("ARN", one["AlarmArn"]),
        ],
        parts=parts,
        behind="DescribeAlarms, GetMetricData, DescribeAlarmHistory",
        command=f"aws cloudwatch describe-alarms --alarm-types MetricAlarm CompositeAlarm --alarm-names '{name}'",
    )
    return {"detail": detail, "plot": None if "AlarmRule" in one else await _plot(view, one)}


def _children(found: Mapping[str, Any] | None) -> Part:
    listed = [*(found or {}).get("MetricAlarms", ()), *(found or {}).get("CompositeAlarms", ())]
    return Part(
        title="Alarms of its rule",
        columns=(Column("Alarm"), Column("State")),
        rows=[
            Row((Cell(text=one["AlarmName"], href=_address(one["AlarmName"])), Cell(state=one["StateValue"])))
            for one in listed
        ],
        none="A policy does not let you see them." if found is None else "Its rule names no alarm.",
    )


_MISSING = {
    "missing": "Left out of the count",
    "breaching": "Count as breaching",
    "notBreaching": "Count as within the threshold",
    "ignore": "Keep the state",
}


def _facts(one: Mapping[str, Any]) -> list[tuple[str, Cell | str]]:
    if "AlarmRule" in one:
        return [("Rule", one["AlarmRule"]), ("Actions suppressed by", one.get("ActionsSuppressor", ""))]
    periods, breaching = one["EvaluationPeriods"], one.get("DatapointsToAlarm", one["EvaluationPeriods"])
    watched = [("Metric", f"{one['Namespace']} {one['MetricName']}")] if "MetricName" in one else []
    watched += [(f"Query {query['Id']}", _query(query)) for query in one.get("Metrics", ())]
    watched += [(each["Name"], each["Value"]) for each in one.get("Dimensions", ())]
    return [
        *watched,
        ("Statistic", one.get("Statistic", one.get("ExtendedStatistic", ""))),
        (
            "In alarm when",
            f"{breaching} of {plural(periods, 'period')} are {OPERATORS[one['ComparisonOperator']]} {_amount(one['Threshold'])}",
        ),
        ("Period", f"{_period(one)} s"),
        ("Periods without data", _MISSING[one.get("TreatMissingData", "missing")]),
    ]


def _amount(value: float) -> str:
    return f"{value:,.12g}" if abs(value) < 1e6 else number(value)


def _query(query: Mapping[str, Any]) -> str:
    if "Expression" in query:
        return query["Expression"]
    stated = query["MetricStat"]
    return f"{stated['Stat']} of {stated['Metric']['Namespace']} {stated['Metric']['MetricName']}"


def _period(one: Mapping[str, Any]) -> int:
    return one["Period"] if "Period" in one else period_of(one["Metrics"])


async def _plot(view: View, one: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The last periods as bars beside the threshold; None where policy does not let the visitor see data."""
    period = _period(one)
    end = view.app.clock.now() // (period * 1000) * period + period
    start = end - _BARS * period
    own = {name: one[name] for name in ("Unit",) if name in one}
    metric = {name: one[name] for name in ("Namespace", "MetricName", "Dimensions") if name in one}
    stat = one.get("Statistic", one.get("ExtendedStatistic"))
    queries = one.get("Metrics") or [
        {"Id": "m", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat, **own}}
    ]
    found = await view.allowed(
        "cloudwatch", "GetMetricData", MetricDataQueries=queries, StartTime=start * 1000, EndTime=end * 1000
    )
    if found is None:
        return None
    points = [
        ((at // 1000 - start) // period, value)
        for result in found["MetricDataResults"]
        for at, value in zip(result["Timestamps"], result["Values"], strict=True)
    ]
    tones = [
        (slot, value, "bad" if breaches(one["ComparisonOperator"], value, one["Threshold"]) else "good")
        for slot, value in points
    ]
    plot = drawn(tones, slots=_BARS, height=_HEIGHT, mark=one["Threshold"])
    return {"label": _label(points, one), "bars": plot, "minutes": _BARS * period // 60}


def _label(points: Sequence[tuple[int, float]], one: Mapping[str, Any]) -> str:
    return f"{plural(len(points), 'period')} with data, the threshold is {_amount(one['Threshold'])}"


PAGES = (
    Page(
        path="alarms",
        title="Alarms",
        load=alarms,
        nav=Nav(group=Group.WATCH, service="cloudwatch", operation="DescribeAlarms"),
        events="cloudwatch.alarm.",
    ),
    Page(path="alarms/alarm", load=alarm, template="monitoring/alarm.html"),
)
