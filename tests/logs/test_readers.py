"""Reading processes: they end with whoever waits for them, and their end is an answer, not a hang."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from penstock_logs import no_segments
from penstock_waiting import eventually

from penstock.logfiles.streams import StreamFiles
from penstock.logs import readers as module
from penstock.logs.errors import InvalidParameterException
from penstock.logs.readers import Readers
from penstock.wire.errors import Throttled, Unavailable


@pytest.fixture
async def readers():
    readers = Readers(no_segments)
    yield readers
    await readers.close()


def page(path: Path) -> dict:
    return {"kind": "page", "path": str(path), "direction": "f", "position": None, "start": 0, "end": None, "limit": 10}


def stream(folder: Path) -> Path:
    files = StreamFiles(folder / "a.log")
    files.append([(1, "a line")], 1)
    files.close()
    return files.path


class Held:
    """A stream whose index is a FIFO: who reads it is held until `release`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "held.log"
        self._index = folder / "held.index"
        os.mkfifo(self._index)
        self._writing = -1

    async def reached(self) -> None:
        """Wait until a process has begun to read."""
        self._writing = await asyncio.to_thread(os.open, self._index, os.O_WRONLY)

    def release(self) -> None:
        os.close(self._writing)

    def reader_is_gone(self) -> bool:
        try:
            os.write(self._writing, b"?")
        except BrokenPipeError:
            return True
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def events(answer: dict) -> list[dict]:
    return orjson.loads(orjson.dumps(answer["events"]))


async def test_a_page_is_read(readers: Readers, tmp_path: Path):
    answer = await readers.ask(page(stream(tmp_path)))
    assert events(answer) == [{"timestamp": 1, "message": "a line", "ingestionTime": 1}]
    assert answer["first"] == answer["last"] == [1, 0]
    assert readers._process is not None
    assert (
        os.getsid(readers._process.pid) == readers._process.pid
    )  # what a terminal sends to the server does not reach it


async def test_a_reading_process_that_is_killed_is_an_answer_at_once(readers: Readers, tmp_path: Path):
    held = Held(tmp_path)
    asked = asyncio.ensure_future(readers.ask(page(held.path)))
    await held.reached()
    assert readers._process is not None
    (reading,) = children(readers._process.pid)
    os.kill(reading, signal.SIGKILL)
    with pytest.raises(Unavailable, match="Try again"):
        async with asyncio.timeout(60):
            await asked
    held.release()
    assert events(await readers.ask(page(stream(tmp_path))))


async def test_the_process_that_forks_readers_is_started_again_when_it_is_killed(readers: Readers, tmp_path: Path):
    path = stream(tmp_path)
    await readers.ask(page(path))
    assert readers._process is not None
    first = readers._process
    first.kill()
    await asyncio.to_thread(first.wait)
    assert events(await readers.ask(page(path)))
    assert readers._process.pid != first.pid


async def test_a_caller_that_leaves_while_the_process_starts_leaves_one_process(
    readers: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    began, go = threading.Event(), threading.Event()
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def slow(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
        began.set()
        go.wait(60)
        started.append(popen(*arguments, **more))
        return started[-1]

    monkeypatch.setattr(module.subprocess, "Popen", slow)
    path = stream(tmp_path)
    leaving = asyncio.ensure_future(readers.ask(page(path)))
    assert await asyncio.to_thread(began.wait, 60)
    leaving.cancel()
    staying = asyncio.ensure_future(readers.ask(page(path)))
    for _ in range(5):
        await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert events(await staying)
    assert [process.pid for process in started] == [readers._process.pid]  # type: ignore[union-attr]


async def test_a_caller_that_leaves_ends_its_reader(readers: Readers, tmp_path: Path):
    held = Held(tmp_path)
    asked = asyncio.ensure_future(readers.ask(page(held.path)))
    await held.reached()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await eventually(held.reader_is_gone)


async def test_a_reader_that_takes_too_long_is_ended(readers: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    await readers.ask(page(stream(tmp_path)))
    ends: list[asyncio.Timeout] = []
    real = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda delay: ends.append(real(delay)) or ends[-1])
    held = Held(tmp_path)
    asked = asyncio.ensure_future(readers.ask(page(held.path)))
    await held.reached()
    assert ends[0].when() <= asyncio.get_running_loop().time() + module._LONGEST_S
    ends[0].reschedule(0)  # not before: on a slow machine its time was over before it had begun to read
    with pytest.raises(Unavailable, match="took too long"):
        await asked
    await eventually(held.reader_is_gone)


async def test_a_process_that_forks_no_more_is_replaced(
    readers: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = stream(tmp_path)
    await readers.ask(page(path))
    assert readers._process is not None
    readers._process.send_signal(signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_LONGEST_S", 0.2)
        with pytest.raises(Unavailable, match="took too long"):
            await readers.ask(page(path))
    assert events(await readers.ask(page(path)))


async def test_what_does_not_fit_into_the_queue_is_refused(readers: Readers, tmp_path: Path):
    held = Held(tmp_path)
    most = module._AT_ONCE + module._WAITING
    asked = [asyncio.ensure_future(readers.ask(page(held.path))) for _ in range(most)]
    await held.reached()
    with pytest.raises(Throttled):
        await readers.ask(page(held.path))
    for waiting in asked:
        waiting.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert events(await readers.ask(page(stream(tmp_path))))


async def test_a_read_that_needs_too_much_memory_says_what_to_do(readers: Readers, tmp_path: Path):
    files = StreamFiles(tmp_path / "wide.log")
    for number in range(600):  # each is open at the same time: they overlap, and each holds a megabyte
        files.append([(0, ""), (1000 - number, "x" * 1_000_000), (2000, "")], 1)
    files.close()
    with pytest.raises(InvalidParameterException, match="fewer of them, or a shorter time"):
        await readers.ask(page(files.path) | {"position": [500, 0]})


async def test_a_reader_knows_nothing_of_the_server(readers: Readers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_CANARY", "secret")
    held = Held(tmp_path)
    asked = asyncio.ensure_future(readers.ask(page(held.path)))
    await held.reached()
    assert readers._process is not None
    (reading,) = children(readers._process.pid)
    for pid in (readers._process.pid, reading):
        assert b"PENSTOCK" not in Path(f"/proc/{pid}/environ").read_bytes()
        links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.name != "2"}
        assert {link.partition(":")[0] for link in links} <= {
            "socket",
            "/dev/null",
            str(held.path.with_suffix(".index")),
        }
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max file size")] == [["0", "0"]]
    held.release()
    assert events(await asked) == []


async def test_readers_find_their_packages_wherever_the_server_has_found_them(tmp_path: Path):
    code = (
        "import asyncio, json, sys\n"
        "sys.path[:] = json.loads(sys.argv[1])\n"
        "import orjson\n"
        "from penstock.logs.readers import Readers\n"
        "found = asyncio.run(Readers(None).ask(json.loads(sys.argv[2])))['events']\n"
        "print(orjson.loads(orjson.dumps(found))[0]['message'])"
    )
    command = [sys._base_executable, "-I", "-S", "-c", code, json.dumps(sys.path), json.dumps(page(stream(tmp_path)))]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("a line\n", 0), done.stderr


async def test_an_error_of_a_reader_is_the_servers(readers: Readers, tmp_path: Path):
    (tmp_path / "odd.index").mkdir()
    with pytest.raises(RuntimeError, match="IsADirectoryError"):
        await readers.ask(page(tmp_path / "odd.log"))
