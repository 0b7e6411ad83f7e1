"""Log events into a server and out of it again: 1 GB of lines of 100 bytes by PutLogEvents, then FilterLogEvents and queries for terms that few lines have.

BENCH_LOG_MB=100 python bench/run.py logs    with less
"""

from __future__ import annotations

import os
import time
from typing import Any

from bench.run import Row
from bench.served import Served, peak_mb, served

MB = int(os.environ.get("BENCH_LOG_MB", "1000"))
_LINE = 100
_HOT = 24_000_000  # bytes that a stream's file may take when all else is packed
_PACKING_S = 120
_BATCH = 8_000  # lines
_INGESTS = ((10, 1_000_000), (1_000, 300_000))  # bytes of a line, lines
_LEVELS = ("INFO", "WARN", "DEBUG")
_SEARCHES = {
    "a term that no line has": "needle",
    "a term in one of 100,000 lines": "seldom",
    "JSON": '{ $.level = "FATAL" && $.n > 5 }',
    "a regular expression": r"%FATAL\s\d+%",
}
_QUERIES = {
    "a term in one of 100,000 lines": 'filter @message like "seldom"',
    "a regular expression": "filter @message like /FATAL.{0,9}often/",
    "a count of all by level": "stats count(*) by level",
}
_FAST = {"a term that no line has", "a term in one of 100,000 lines"}


def measure() -> list[Row]:
    """The rows of the table."""
    with served() as server:
        logs = server.clients()("logs")
        for group in ("bench", "ingest"):
            logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName="bench", logStreamName="s")
        before = peak_mb(server.process.pid)
        into = _write(logs, server)
        rows = [
            Row(
                what=f"{MB:,} MB of lines of {_LINE} bytes by PutLogEvents, one client",
                measured=f"{into}; {peak_mb(server.process.pid) - before:.0f} MB of memory",
                bar="",
                met=None,
            )
        ]
        for name, pattern in _SEARCHES.items():
            began, found, pages = time.perf_counter(), 0, 0
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName="bench", filterPattern=pattern):
                found, pages = found + len(page["events"]), pages + 1
            took = time.perf_counter() - began
            bar = {"bar": "≥ 200 MB/s", "met": MB / took >= 200} if name in _FAST else {"bar": "", "met": None}
            rows.append(
                Row(
                    what=f"FilterLogEvents through them for {name}",
                    measured=f"{MB / took:.0f} MB/s, {found} found in {pages} pages",
                    **bar,  # type: ignore[arg-type]
                )
            )
        rows += _packed(logs, server)
        rows += [_ingest(logs, server, length, many) for length, many in _INGESTS]
        return rows + [_query(logs, name, query) for name, query in _QUERIES.items()]


def _packed(logs: Any, server: Served) -> list[Row]:
    """What is packed by now, what room it takes, and how it is searched: all but the newest few megabytes."""
    files = server.data_dir / "log-events"
    file = max(files.rglob("*.log"), key=lambda path: path.stat().st_size)
    size = file.stat().st_size
    until = time.monotonic() + _PACKING_S
    while file.stat().st_blocks * 512 > _HOT and time.monotonic() < until:
        time.sleep(0.2)
    room = sum(path.stat().st_size for path in (server.data_dir / "log-segments").rglob("*") if path.is_file())
    rows = [
        Row(
            what="the same stream, packed into segments",
            measured=f"{size / 1e6:.0f} MB → {room / 1e6:.0f} MB in segments, {file.stat().st_blocks * 512 / 1e6:.0f} MB in its file",
            bar="",
            met=None,
        )
    ]
    for name, pattern in _SEARCHES.items():
        began = time.perf_counter()
        pages = sum(
            1 for _ in logs.get_paginator("filter_log_events").paginate(logGroupName="bench", filterPattern=pattern)
        )
        rate = MB / (time.perf_counter() - began)
        bar = {"bar": "≥ 200 MB/s", "met": rate >= 200} if name in _FAST else {"bar": "", "met": None}
        rows.append(
            Row(
                what=f"FilterLogEvents through the segments for {name}",
                measured=f"{rate:.0f} MB/s in {pages} pages",
                **bar,
            )
        )  # type: ignore[arg-type]
    began = time.perf_counter()
    for _ in range(20):
        logs.get_log_events(logGroupName="bench", logStreamName="s", startFromHead=True, limit=100)
    took = (time.perf_counter() - began) / 20 * 1000
    rows.append(Row(what="a page of 100 lines out of a segment", measured=f"{took:.0f} ms", bar="", met=None))
    return rows


def _ingest(logs: Any, server: Served, length: int, many: int) -> Row:
    """Lines of one length into a stream of their own, in batches as large as they may be."""
    stream = f"of-{length}"
    logs.create_log_stream(logGroupName="ingest", logStreamName=stream)
    batch = min(10_000, 1_048_576 // (length + 26))
    now = time.time_ns() // 1_000_000
    events = [{"timestamp": now, "message": f"{number:010}".ljust(length, "x")} for number in range(batch)]
    cpu = server.cpu_seconds()
    for _ in range(many // batch):
        logs.put_log_events(logGroupName="ingest", logStreamName=stream, logEvents=events)
    used, sent = server.cpu_seconds() - cpu, many // batch * batch
    megabytes = sent * length / 1_000_000
    short = length < _LINE
    return Row(
        what=f"lines of {length:,} bytes by PutLogEvents, for each second of the server's processor",
        measured=f"{sent / used:,.0f} lines, {megabytes / used:.0f} MB",
        bar="≥ 500,000 lines" if short else "≥ 100 MB",
        met=sent / used >= 500_000 if short else megabytes / used >= 100,
    )


def _query(logs: Any, name: str, query: str) -> Row:
    began = time.perf_counter()
    id = logs.start_query(logGroupName="bench", startTime=0, endTime=2**31, queryString=query)["queryId"]
    while (found := logs.get_query_results(queryId=id))["status"] in ("Scheduled", "Running"):
        time.sleep(0.02)
    took = time.perf_counter() - began
    bar = {"bar": "≥ 200 MB/s", "met": MB / took >= 200} if name in _FAST else {"bar": "", "met": None}
    return Row(
        what=f"a query of Logs Insights through them for {name}",
        measured=f"{MB / took:.0f} MB/s, {found['status']}, {len(found['results'])} rows",
        **bar,  # type: ignore[arg-type]
    )


def _write(logs: Any, server: Served) -> str:
    lines = MB * 1_000_000 // _LINE
    cpu, began = server.cpu_seconds(), time.perf_counter()
    now = time.time_ns() // 1_000_000
    for first in range(0, lines, _BATCH):
        events = [{"timestamp": now, "message": _line(number)} for number in range(first, min(first + _BATCH, lines))]
        logs.put_log_events(logGroupName="bench", logStreamName="s", logEvents=events)
    took, used = time.perf_counter() - began, server.cpu_seconds() - cpu
    return f"{MB / took:.0f} MB/s with the client's own work, {MB / used:.0f} MB and {lines / used:,.0f} lines for each second of the server's processor"


def _line(number: int) -> str:
    word = "seldom" if number % 100_000 == 0 else "often"
    begins = f'{{"level": "{_LEVELS[number % 3]}", "n": {number}, "text": "{word}", "more": "'
    return begins.ljust(_LINE - 2, "x") + '"}'
