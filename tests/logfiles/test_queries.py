"""The language of Logs Insights, over files."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.logfiles.queries import aggregating, grammar, running
from penstock.logfiles.search import answer
from penstock.logfiles.streams import StreamFiles

EVENTS = [
    *(
        (60_000 * at + 1, f'{{"level":"{("INFO", "ERROR")[at % 2]}","ms":{at * 10},"a":{{"b":"x{at % 3}"}}}}')
        for at in range(10)
    ),
    (600_000, "user=bob took 12.5 ms"),
]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("queries") / "a.log"
    files = StreamFiles(path)
    files.append(EVENTS[:6], 700_000)
    files.append(EVENTS[6:], 700_001)
    return path


def ask(path: Path, query: str, *, start: int = 0, end: int = 10**12, limit: int = 1_000) -> Any:
    request = {"kind": "query", "streams": [("1:g", "s", str(path), start)], "query": query, "end": end, "limit": limit}
    return answer(request)


def rows(path: Path, query: str, **more: Any) -> list[tuple[str, ...]]:
    found = ask(path, query, **more)
    return [
        tuple(cell["value"] for cell in row if cell["field"] != "@ptr")
        for _, _, part in found["parts"]
        for row in orjson.loads(part)
    ]


CASES: list[tuple[str, list[tuple[str, ...]]]] = [
    ("fields @timestamp | limit 1", [("1970-01-01 00:10:00.000",)]),
    ('filter level = "ERROR" | stats count(*), avg(ms), min(ms), max(ms), sum(ms), pct(ms, 50)', [("5", "50", "10", "90", "250", "50")]),
    ("stats count(*) as n by bin(5m) as t | sort t", [("1970-01-01 00:00:00.000", "5"), ("1970-01-01 00:05:00.000", "5"), ("1970-01-01 00:10:00.000", "1")]),
    ("filter ispresent(a.b) | stats count_distinct(a.b) + 1 as n", [("4",)]),
    ("stats count() by a.b | sort `count()` desc, a.b desc | limit 2", [("x0", "4"), ("x2", "3")]),
    ('parse @message "user=* took * ms" as u, t | filter ispresent(u) | display u, t * 2', [("bob", "25")]),
    (r"parse @message /user=(?<who>\w+)/ | filter who like 'bo' | display who", [("bob",)]),
    (r"parse @message /(\w+)=(\w+)/ as k, v | filter k = 'user' | display v, k", [("bob", "user")]),
    ("filter ms in [10, 20] and a.b not like /x2/ | display ms", [("10",)]),
    ("filter @message =~ /(?i)^USER/ | display strlen(@message)", [("21",)]),
    ("filter not ispresent(level) | display @logStream, @log", [("s", "1:g")]),
    ("filter ms > 50 and ms <= 80 or level = 'x' # comment\n| display ms", [("80",), ("70",), ("60",)]),
    ("sort ms desc | limit 3 | display ms | filter ms != 80", [("90",), ("70",)]),
    ("fields ms / 0 as x, ms % 4 as y, 2 ^ 3 as z, -ms as w | filter ms = 70 | display x, y, z, w", [("2", "8", "-70")]),
    ("filter ispresent(level) | dedup level | display level, ms", [("ERROR", "90"), ("INFO", "80")]),
    ("stats earliest(ms) as e, latest(ms) as l, stddev(ms) as d", [("0", "90", "30.27650354")]),
    ("stats count(*) as n by level | filter n > 4 | stats sum(n) as total", [("10",)]),
    ("display toupper(substr(level, 0, 2)), concat(a.b, '-', ms), coalesce(zz, 'none') | sort ms desc | limit 1", [("ER", "x0-90", "none")]),
    ("filter strcontains(a.b, 'x') and ms < 10 | display replace(level, 'N', 'M'), trim('  a '), datefloor(@timestamp, 1h)", [("IMFO", "a", "1970-01-01 00:00:00.000")]),
    ("filter level = 'NONE' | stats count(*)", [("0",)]),
    ("filter level = 'NONE' | stats count(*) by ms", []),
    ("filter @message like 'nowhere'", []),
    ("filter zz like '' | stats count(*)", [("0",)]),
    ("filter isempty(zz) and isblank(zz) and not isempty(level) and not isblank(level) | stats count(*)", [("10",)]),
    ("filter zz = '' or zz = ms | stats count(*)", [("0",)]),
    ("filter ms = 90 | stats count(*) by bin(1ms)", [("1970-01-01 00:09:00.001", "1")]),
    ("filter ms = 90 | display coalesce(level), greatest(ms), concat(level), tomillis(@timestamp)", [("ERROR", "90", "ERROR", "540001")]),
    ("filter @logStream = 's' and level = 'INFO' | stats count(*)", [("5",)]),
]  # fmt: skip


def test_what_queries_find(stream: Path):
    for query, expected in CASES:
        assert rows(stream, query) == expected, query


def test_bounds_and_statistics(stream: Path):
    assert rows(stream, "display ms", start=60_001, end=180_001) == [("20",), ("10",)]
    assert len(rows(stream, "display @message", limit=4)) == 4
    found = ask(stream, "filter @message like 'ERROR'")
    size = stream.stat().st_size
    assert found["statistics"] == {
        "recordsMatched": 5.0, "recordsScanned": 11.0, "bytesScanned": float(size), "logGroupsScanned": 1.0, "resultCount": 5.0,
    }  # fmt: skip


def test_how_far_a_query_is_is_reported(stream: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(running, "_TELL_S", -1.0)
    reports: list[Any] = []
    request = {
        "kind": "query",
        "streams": [("1:g", "s", str(stream), 0)],
        "query": "fields ms",
        "end": 10**12,
        "limit": 5,
    }
    answer(request, lambda statistics: reports.append(dict(statistics)))
    assert 0 < reports[0]["recordsScanned"] <= reports[-1]["recordsScanned"] <= 11


def test_the_fields_of_events_and_one_event_with_all_of_its_own(stream: Path):
    found = answer({"kind": "fields", "streams": [("1:g", "s", str(stream))], "start": 0, "end": 10**12})
    own = dict.fromkeys(("level", "ms", "a.b"), 10)
    assert (found["total"], dict(found["fields"])) == (
        11, dict.fromkeys(("@timestamp", "@ingestionTime", "@message", "@log", "@logStream"), 11) | own,
    )  # fmt: skip
    asked = {"kind": "record", "log": "1:g", "name": "s", "path": str(stream)}
    record = answer({**asked, "offset": 0})["record"]
    assert {name: value for name, value in record.items() if name[0] != "@"} == {
        "level": "INFO",
        "ms": "0",
        "a.b": "x0",
    }
    assert (record["@timestamp"], record["@ingestionTime"], record["@log"]) == ("1", "700000", "1:g")
    assert answer({**asked, "offset": 1})["record"] == {}


def test_a_value_is_found_however_json_writes_it(tmp_path: Path):
    files = StreamFiles(tmp_path / "j.log")
    files.append([(1, '{"a": "\\u0078y"}'), (2, '{"a": "xy"}'), (3, '{"a": "z"}'), (4, "xy"), (5, '{"a": true}')], 5)
    assert rows(files.path, "filter a = 'xy' | stats count(*)") == [("2",)]
    assert rows(files.path, "filter a = 'true' | stats count(*)") == [("1",)]


def test_what_is_held_is_bounded(stream: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aggregating, "MAX_ENTRIES", 5)
    monkeypatch.setattr(aggregating.Budget.__init__, "__defaults__", (5,))
    for query in ("stats count(*) by ms", "stats count_distinct(ms)", "dedup ms", "stats pct(ms, 9)"):
        assert "more than a million" in ask(stream, query)["fails"], query
    monkeypatch.setattr(running, "_HELD", 50)
    assert "too large together" in ask(stream, "fields @message")["fails"]
    monkeypatch.setattr(running, "_HELD", 1 << 20)
    monkeypatch.setattr(running, "MAX_RESULTS", 50)
    assert "larger than 64 MB" in ask(stream, "fields @message")["fails"]


def test_many_values_have_percentiles_within_a_percent(tmp_path: Path):
    files = StreamFiles(tmp_path / "p.log")
    files.append([(1, f'{{"v": {value}}}') for value in range(1, 2001)], 5)
    ((low, high, none),) = rows(files.path, "stats pct(v, 10), pct(v, 99), pct(v, 0)")
    assert abs(float(low) - 200) < 2
    assert abs(float(high) - 1980) < 20
    assert abs(float(none) - 1) < 0.01


@given(st.text(max_size=60) | st.lists(st.sampled_from("fields filter stats parse sort | ( ) [ ] , a @m 1 'x' \"* = like / /a/ as by count not in 5m - ^ *".split()), max_size=25).map(" ".join))  # fmt: skip
def test_every_text_is_read_or_refused_at_its_place(query: str):
    begins = ends = 0
    try:
        list(running.Query(grammar.read(query), 10).rows())
    except grammar.BadQuery as bad:
        begins, ends = bad.begins, bad.ends
    assert 0 <= begins <= ends <= len(query)


def test_what_is_refused_says_why():
    for query, said in (
        ("stats ms", "each item of stats has an aggregate: one of"),
        ("stats count(*) + ms", "fields stand within aggregates only, which take part in arithmetic and functions"),
        ("limit 0", "a limit is a number from 1 to 100,000"),
        ("stats pct(ms, 101)", "the second argument of pct is a number from 0 to 100"),
        ("display coalesce()", "coalesce takes 1 to 20 arguments"),
        ("filter ms like /(/", "the regular expression cannot be read: missing )"),
        (
            "filter ms like /(abcdefgh){900}/",
            "the regular expression cannot be read: it repeats more than can be searched",
        ),
        ("limit 1 2", "'|' or the end of the query is expected"),
        ("filter " + "-ms + " * 201 + "1", "a command has 200 operators at most"),
        (r"parse @message /(\w+)=(?<v>\w+)/", "each group of the regular expression has a name"),
        (r"parse @message /(\w+)/", "each group of the regular expression has a name"),
        ("parse @message /x/", "each group of the regular expression has a name"),
        ("parse @message '* *' as a", "the glob has 2 '*', and 1 names are given"),
        ("parse @message '*'", "'as' is expected, with a name for each '*'"),
        ("display strlen()", "strlen takes 1 argument"),
    ):
        with pytest.raises(grammar.BadQuery, match=f": {re.escape(said)}"):
            grammar.read(query)


def test_long_queries_take_little_time():
    began = time.thread_time()
    for query in (
        "fields " + ",a" * 4_000,
        "fields a" + "+a" * 4_900,
        "filter " + "not " * 2_400,
        "(" * 9_000,
        "fields a" + " " * 9_000 + ", b",
    ):
        try:
            running.Query(grammar.read(query), 10)
        except grammar.BadQuery:
            pass
    assert time.thread_time() - began < 5
