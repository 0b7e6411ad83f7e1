"""The console's pages of Logs Insights, asked over HTTP, and what they compute."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest
from penstock_console import Visitor, allow, user
from penstock_waiting import until

from penstock.logs import insights

HOSTILE = "</pre><script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def logs(live: Any) -> Any:
    return live.client("logs")


@pytest.fixture(scope="module")
def jonas(live: Any) -> Visitor:
    user(live, "jonas.lind", allow("*"))
    return Visitor(live, "jonas.lind")


def write(logs: Any, group: str, *texts: str) -> int:
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s<b>")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + at, "message": text} for at, text in enumerate(texts)]
    logs.put_log_events(logGroupName=group, logStreamName="s<b>", logEvents=events)
    return now


def ask(visitor: Visitor, query: str, *groups: str, **more: str) -> Any:
    ticked = {f"group:{name}": "on" for name in groups}
    return visitor.post("insights", {"query": query, "range": "1h", **ticked, **more})


def ended(logs: Any, answer: Any) -> str:
    """The address of the page of a query that was just asked, once it has ended."""
    assert answer.status == 200, answer.text
    path = answer.url.partition("#")[0].partition("/console/")[2]
    id = path.removeprefix("insights/")
    until(lambda: logs.get_query_results(queryId=id)["status"] == "Complete")
    return path


def test_a_query_is_asked_followed_and_read_down_to_the_stream(logs: Any, jonas: Visitor):
    group = "/asked/none"
    logs.create_log_group(logGroupName="/asked/other")
    now = write(logs, "/asked/shop", json.dumps({"level": HOSTILE, "ms": 12}), "second")
    form = jonas.get("insights")
    assert 'name="group:/asked/shop"' in form.text
    assert "Queries and their results are kept for 7 days." in form.text
    answer = ask(
        jonas, "fields @timestamp, level, @message, @log\n| sort @timestamp", "/asked/shop", others="/asked/other\n"
    )
    path = ended(logs, answer)
    with jonas.stream(f"{path}/live") as stream:
        assert stream.receive() == "now"
        assert "2 rows. 2 events matched of 2 scanned" in stream.blocks["result"]
        assert stream.receive() == "end"
    page = jonas.get(path)
    assert "Complete" in page.text
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[U+202E]" in page.text
    assert "data-live=" not in page.text
    for said in ('name="group:/asked/shop" checked', 'name="group:/asked/other" checked', "sort @timestamp</textarea>"):
        assert said in page.text, said
    record = re.findall(r'href="/console/(insights/record[^"]+)"', page.text)[0]
    event = jonas.get(record)
    assert "&lt;/pre&gt;&lt;script&gt;" in event.text
    assert "<td>12</td>" in event.text
    (stream_address,) = re.findall(r'href="/console/(insights/stream[^"]+)"', event.text)
    around = jonas.get(stream_address.replace("&amp;", "&"))
    assert "2 events of /asked/shop around" in around.text
    assert around.text.count('aria-current="true"') == 1
    assert "second" in around.text
    assert "<script>alert" not in around.text + event.text
    assert f"at={now + 1}" in around.text
    far = jonas.get(f"insights/stream?group=/asked/shop&stream=s%3Cb%3E&at={'9' * 15}")
    assert far.status == 200
    assert jonas.get("insights/stream?group=/asked/shop&stream=s%3Cb%3E&at=-x").status == 200
    assert jonas.get(f"insights/stream?group={group}&stream=x&at=1").status == 404
    assert jonas.get("insights/none").status == 404
    assert jonas.get("insights/record?ptr=?").status == 400
    listed = jonas.get("insights")
    assert f'href="/console/{path}"' in listed.text
    assert "jonas.lind" in listed.text


def test_what_a_query_gets_wrong_is_said_with_its_place(logs: Any, jonas: Visitor):
    write(logs, "/wrong", "x")
    wrong = ask(jonas, "fields a\n| <b> x", "/wrong")
    assert wrong.status == 400
    assert "at line 2 and position 3" in wrong.text
    assert "fields a\n| <mark>&lt;</mark>b&gt; x</pre>" in wrong.text
    assert 'name="group:/wrong" checked' in wrong.text
    for fields, said in (
        ({"query": "fields a"}, "Choose a log group."),
        ({"query": "fields a", "others": "/none"}, "does not exist"),
        ({"query": "", "others": "/wrong"}, "no command"),
        ({"query": "fields a | limit 0", "others": "/wrong"}, "<mark>0</mark>"),
        ({"query": "fields a", "others": "/wrong", "range": "own"}, "Say from when to when"),
        ({"query": "fields a", "others": "/wrong", "range": "own", "begins": "0001-01-01T00:00", "ends": "2026-01-01T00:00"}, "startTime"),
        ({"query": "fields a", "others": "\n".join(f"g{n}" for n in range(60))}, "50"),
    ):  # fmt: skip
        refused = jonas.post("insights", {"range": "1h", **fields})
        assert (refused.status, said in refused.text) == (400, True), (fields, refused.text.partition("<main")[2][:900])


def test_queries_are_saved_filled_in_and_deleted(logs: Any, jonas: Visitor):
    write(logs, "/saved", "x")
    kept = jonas.post("insights/definitions", {"query": "fields saved", "group:/saved": "on", "name": "A <b>name"})
    assert "fields saved</textarea>" in kept.text
    assert 'name="group:/saved" checked' in kept.text
    assert "A &lt;b&gt;name" in kept.text
    (id,) = re.findall(r'name="id" value="([^"]+)"', kept.text)
    again = jonas.post("insights/definitions/forget", {"id": id})
    assert "A query that is saved under a name stands here." in again.text
    assert jonas.post("insights/definitions/forget", {"id": id}).status == 404
    assert jonas.post("insights/definitions", {"query": "fields a", "name": ""}).status == 400
    assert "stats count(*) as events by bin(5m)</textarea>" in jonas.get("insights?example=Events+over+time").text


def test_a_query_is_stopped_and_shows_nothing_to_those_who_may_not(live: Any, logs: Any, jonas: Visitor):
    write(logs, "/stopped", "x")
    path = ended(logs, ask(jonas, "display nothing", "/stopped"))
    assert ">Open</a>" in jonas.get(path).text
    assert "Complete" in jonas.post(f"{path}/stop", {}).text
    assert jonas.post("insights/none/stop", {}).status == 404
    user(live, "results.only", allow("logs:GetQueryResults"))
    other = Visitor(live, "results.only")
    assert "display nothing" not in other.get(path).text
    assert other.get("insights/record?ptr=x").status == 403
    token = re.findall(r'name="token" value="([^"]+)"', other.get(path).text)[0]
    refused = other.post("insights", {"query": "fields a", "range": "1h", "others": "/stopped"}, token=token)
    assert refused.status == 403
    user(live, "nobody", None)
    assert Visitor(live, "nobody").get(path).status == 403


def test_a_query_that_runs_says_how_far_it_is_and_is_stopped(
    live: Any, logs: Any, jonas: Visitor, monkeypatch: pytest.MonkeyPatch
):
    async def held(_self: Any, _streams: Any, progress: Any, *_: Any, **__: Any) -> Any:
        while True:
            await progress({"recordsMatched": 3.0, "recordsScanned": 5.0, "bytesScanned": 70.0})
            await asyncio.sleep(0.05)

    monkeypatch.setattr("penstock.logs.logstore.LogStore.query", held)
    write(logs, "/held", "x")
    answer = ask(jonas, "fields a", "/held")
    path = answer.url.partition("#")[0].partition("/console/")[2]
    assert f'data-live="/console/{path}/live"' in answer.text
    assert "Reload the page to see how far it is." in answer.text
    with jonas.stream(f"{path}/live") as stream:
        stream.until(lambda seen: "3 events matched of 5 scanned, 70 bytes so far" in seen.blocks.get("result", ""))
        assert ">Stop</button>" in stream.blocks["result"]
        stopped = jonas.post(f"{path}/stop", {})
        assert "It was stopped after" in stopped.text
        assert "data-live=" not in stopped.text
        stream.until(lambda seen: "It was stopped after" in seen.blocks["result"])


def test_what_is_counted_over_time_is_drawn(logs: Any, jonas: Visitor):
    write(logs, "/drawn", *(json.dumps({"level": level, "ms": 7}) for level in ("</h3><b>", "INFO", "INFO")))
    page = jonas.get(
        ended(logs, ask(jonas, "stats count(*) as many, max(ms) by bin(7d) as week, level", "/drawn"))
    ).text
    assert page.count('<svg class="bars"') == 4
    assert page.count("<rect") == 4 + page.partition("<body")[2].partition('<div class="shell"')[0].count("<rect")
    assert "<h3>many · INFO</h3>" in page
    assert "<h3>max(ms) · &lt;/h3&gt;&lt;b&gt;</h3>" in page
    assert "Values 2 to 2, from 20" in page
    assert 'class="bars"' not in jonas.get(ended(logs, ask(jonas, "stats count(*) by level", "/drawn"))).text
    assert 'class="bars"' not in jonas.get(ended(logs, ask(jonas, "fields ms", "/drawn"))).text


def test_plots_are_bounded_and_take_any_value():
    over = insights.axes("stats count(*), avg(x) as mean by host, bin(5m) | sort mean | limit 5")
    assert over == insights.Axes("bin(5m)", 300_000, ["host"], ["count(*)", "mean"])
    assert (insights.axes("fields a"), insights.axes("| ?"), insights.axes("stats count(*) by a")) == (None, None, None)

    def row(at: str, host: str, value: str) -> list[dict[str, str]]:
        cells = {"bin(5m)": at, "host": host, "count(*)": value, "mean": value}
        return [{"field": name, "value": value} for name, value in cells.items()]

    first = "2026-12-01 06:00:00.000"
    for value in ("nan", "inf", "1e308", "x", ""):
        assert insights.plots([row(first, "a", value)], over) == insights.Plots()
    assert insights.plots([row("9" * 30, "a", "1")], over) == insights.Plots()
    many = insights.plots([row(first, str(host), str(host)) for host in range(5_000)], over)
    assert (len(many.shown), many.left_out) == (6, 600 - 6)
    drawn = insights.plots([row(first, "a", "-4"), row("2026-12-01 06:15:00.000", "a", "12")], over).shown[0]
    assert drawn.label == "Values -4 to 12, from 2026-12-01 06:00 to 2026-12-01 06:15 UTC"
    assert [(one.x, one.y, one.height) for one in drawn.bars.bars] == [(0.0, 72.5, 22.5), (75.0, 5.0, 67.5)]
    wide = insights.plots([row("0001-01-01 00:00:00.000", "a", "0"), row("9999-12-31 23:59:00.000", "a", "0")], over)
    assert [one.height for one in wide.shown[0].bars.bars] == [1.0, 1.0]


def test_tables_and_places_are_bounded():
    wide = [[{"field": f"f{column}", "value": '"' * 9_000} for column in range(300)] for _ in range(100)]
    found = insights.table(wide)
    assert (len(found.columns), found.left_out) == (insights.COLUMNS, 280)
    assert sum(len(cell) for row in found.rows for cell in row.cells) < 100_000
    assert insights.table([]) == insights.Table([], [])
    assert insights.problem("no", "ab", {"startCharOffset": 2, "endCharOffset": 2}).marked == "▲"
    assert insights.message_of("x" * 70_000).endswith("… 6,000 more characters")
    assert len(insights.record_rows({f"f{n}": "x" for n in range(900)})) == 201
    assert [insights.size(count) for count in (0, 999, 1_500, 2_000_000, 5e12)] == [
        "0 bytes", "999 bytes", "1.5 KB", "2.0 MB", "5,000 GB",
    ]  # fmt: skip
    assert (insights.of_local("2026-12-24T18:00"), insights.of_local("x"), insights.local_of(-(10**18))) == (
        1798135200,
        None,
        "",
    )


def test_each_state_of_a_query_is_a_sentence():
    figures = {"recordsMatched": 1.0, "recordsScanned": 2_000.0, "bytesScanned": 1_500.0, "resultCount": 3.0}
    read = "1 event matched of 2,000 scanned, 1.5 KB"
    for status, said in (
        ("Scheduled", "It waits until a server has a place for it."),
        ("Running", f"{read} so far, in 2.0 s."),
        ("Complete", f"3 rows. {read}, in 2.0 s."),
        ("Cancelled", f"It was stopped after 2.0 s: {read}."),
        ("Failed", "It failed. Too much."),
        ("Timeout", f"It was given up: a query may run for an hour. {read}."),
    ):
        found = {"status": status, "statistics": figures}
        assert insights.sentence(found, took=2_000, reason="Too much.") == said
