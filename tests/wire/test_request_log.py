"""The request log: what a line has, when lines are written, and how much of the disk they may take."""

from __future__ import annotations

import asyncio
import json
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.wire import requestlog
from penstock.wire.call import ANONYMOUS, PrincipalKind, Session
from penstock.wire.requestlog import RequestLog

SESSION = Session(account="1" * 12, kind=PrincipalKind.ROOT, arn="arn:aws:iam::111111111111:root", principal_id="1")


def line_of(text: str) -> dict[str, Any]:
    return {"at": 1, "id": text}


def size_of(lines: list[dict[str, Any]]) -> int:
    return sum(len(json.dumps(line, separators=(",", ":"))) + 1 for line in lines)


@pytest.mark.parametrize("more", [0, 1])
def test_a_log_is_rotated_when_it_is_larger_than_it_may_be(tmp_path, more):
    lines = [line_of("a")] * 3
    file = requestlog._File(tmp_path / "requests.jsonl", size_of(lines) - more)
    file.write(lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests.1.jsonl" if more else "requests.jsonl"]


def test_four_logs_are_kept_and_the_oldest_gives_way(tmp_path):
    file = requestlog._File(tmp_path / "requests.jsonl", 1)
    for number in range(7):
        file.write([line_of(str(number))])
    kept = {path.name: json.loads(path.read_text())["id"] for path in tmp_path.iterdir()}
    assert kept == {"requests.1.jsonl": "6", "requests.2.jsonl": "5", "requests.3.jsonl": "4", "requests.4.jsonl": "3"}
    opened = set(os.listdir("/proc/self/fd"))
    file.write([])
    file.write([line_of("7")])
    assert set(os.listdir("/proc/self/fd")) == opened


def fill(log: RequestLog, session: Session = SESSION, **changes: Any) -> None:
    line = {"at": 7, "id": "i", "service": "s", "operation": "o", "region": "r", "status": 200, "code": "c", "began": time.perf_counter(),
            "via": "http", "source": "10.0.0.1"}  # fmt: skip
    log.add(session, **line | changes)


async def test_what_a_line_has(tmp_path):
    log = RequestLog(tmp_path / "logs" / "requests.jsonl")
    async with log.writing():
        fill(log, operation="x" * 1025, code="y" * 1024, origin="codebuild", began=time.perf_counter() - 1.5)
        fill(log, ANONYMOUS)
    assert oct((tmp_path / "logs").stat().st_mode & 0o777) == "0o700"
    line = json.loads(log.path.read_text())
    taken = line.pop("ms")
    assert 1500 <= taken < 60_000
    assert taken == round(taken, 2)
    assert line == {
        "at": 7, "id": "i", "service": "s", "operation": "x" * 1024, "principal": SESSION.arn, "account": "1" * 12, "region": "r",
        "status": 200, "code": "y" * 1024, "via": "http", "source": "10.0.0.1", "origin": "codebuild",
    }  # fmt: skip
    stranger = json.loads((tmp_path / "logs" / "strangers.jsonl").read_text())
    assert (stranger["principal"], stranger["origin"]) == ("", "")


async def test_how_many_lines_wait_and_when_they_are_written(tmp_path, monkeypatch):
    """A fifth of a second, and 20,000 lines at most; while a slow disk still writes, nothing more is handed to it."""
    log = RequestLog(tmp_path / "requests.jsonl")
    later = []
    loop = SimpleNamespace(call_later=lambda seconds, run: later.append((seconds, run)) or SimpleNamespace())
    with monkeypatch.context() as patched:
        patched.setattr(requestlog, "asyncio", SimpleNamespace(get_running_loop=lambda: loop))
        for _ in range(20_001):
            fill(log)
        assert (len(log._known.lines), len(later)) == (20_000, 1)
        assert later[0][0] == 0.2
        log._writing = SimpleNamespace(done=lambda: False)  # type: ignore[assignment]
        later.pop()[1]()
        assert (len(log._known.lines), [seconds for seconds, _ in later]) == (20_000, [0.2])
        log._writing = SimpleNamespace(done=lambda: True)  # type: ignore[assignment]
        later.pop()[1]()
        assert (log._known.lines, log._pending, later) == ([], None, [])
        fill(log)
        assert len(later) == 1
    await asyncio.wrap_future(log._writing)  # type: ignore[arg-type]
    assert len(log.path.read_bytes().splitlines()) == 20_000
    log._pending = None
    async with log.writing():
        pass
    assert len(log.path.read_bytes().splitlines()) == 20_001


def test_strangers_have_an_eighth_of_the_room(tmp_path):
    log = RequestLog(tmp_path / "requests.jsonl")
    assert (log._known._rotate_bytes, log._strangers._rotate_bytes) == (67_108_864, 8_388_608)
    log._thread.shutdown()
