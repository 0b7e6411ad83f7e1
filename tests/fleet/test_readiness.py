"""What /readyz says of a process that cannot do its work, and how often it looks."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock.fleet import health
from penstock.fleet.health import Health, Readiness
from penstock.store.database import Store, StoreUnavailable
from penstock.store.records import subscriptions


class Fake:
    """An application whose store does what it is told, and counts."""

    def __init__(self, folder: Path) -> None:
        self.settings = SimpleNamespace(data_dir=folder, of=lambda _kind: SimpleNamespace(metrics_token=""))
        self.store = self
        self.loops = SimpleNamespace(failing=lambda: self.failing)
        self.failing: list[str] = []
        self.written = 0
        self.fault: BaseException | None = None

    async def write(self, _function: Any) -> None:
        self.written += 1
        if self.fault is not None:
            raise self.fault


async def hang(*_: object) -> None:
    await asyncio.sleep(3600)


async def nothing(*_: object) -> None:
    """What answers at once, however busy the machine is."""


async def test_a_process_that_can_is_ready_and_asks_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    app, now = Fake(tmp_path), [100.0]
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: now[0]))
    readiness = Readiness(app)  # type: ignore[arg-type]
    for moment, written in ((100.0, 1), (100.999, 1), (101.0, 2), (101.5, 2)):
        now[0] = moment
        assert await readiness.faults() == []
        assert app.written == written
    app.failing = ["store.listen", "x"]
    assert await readiness.faults() == [
        "the background loop store.listen fails; the server's log says why",
        "the background loop x fails; the server's log says why",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (StoreUnavailable("gone"), "the database takes no writes"),
        (sa.exc.InterfaceError("UPDATE", {}, Exception("read-only")), "the database takes no writes"),
        (TimeoutError(), "the database does not answer"),
    ],
)
async def test_what_the_database_lacks(tmp_path: Path, fault: BaseException, said: str):
    app = Fake(tmp_path)
    app.fault = fault
    status, text = await Health(app)._readyz({})  # type: ignore[arg-type]
    assert (status, text) == (503, f"{said}\n")
    app.fault = None
    assert await Health(app)._readyz({}) == (200, "ready\n")  # type: ignore[arg-type]


async def test_a_store_or_a_disk_that_is_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "_READY_SECONDS", 0.01)
    app = Fake(tmp_path)
    monkeypatch.setattr(app, "write", hang)
    monkeypatch.setattr(health, "FILES", SimpleNamespace(run=nothing))
    assert await Readiness(app).faults() == ["the database does not answer"]  # type: ignore[arg-type]
    monkeypatch.setattr(health, "FILES", SimpleNamespace(run=hang))
    assert await Readiness(app).faults() == [  # type: ignore[arg-type]
        "the database does not answer",
        "the data dir does not answer",
    ]


async def test_what_the_disk_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    app = Fake(tmp_path / "gone")
    assert await Readiness(app).faults() == [  # type: ignore[arg-type]
        "the data dir takes no writes: No such file or directory"
    ]

    class Full:
        """A file that takes one byte less than it is given."""

        removed = False

        def open(self, mode: str, buffering: int) -> Any:
            assert (mode, buffering) == ("wb", 0)
            return contextlib.nullcontext(SimpleNamespace(write=lambda data: len(data) - 1))

        def unlink(self, *, missing_ok: bool) -> None:
            self.removed = missing_ok

    full = Full()
    with pytest.raises(OSError, match="No space left on device"):
        health._write(full)  # type: ignore[arg-type]
    assert full.removed


async def test_what_is_written_to_find_out_changes_nothing(any_store: Store):
    def read(conn: sa.Connection) -> list[Any]:
        return list(conn.execute(sa.select(subscriptions)).all())

    row = {column.name: 7 if column.type.python_type is int else "x" for column in subscriptions.c}
    await any_store.write(lambda conn: conn.execute(subscriptions.insert().values(row)))
    before = await any_store.read(read)
    statements = []
    await any_store.write(lambda conn: (sa.event.listen(conn, "after_cursor_execute", lambda *seen: statements.append(seen[2])), health._touch(conn)))  # fmt: skip
    assert [text.split()[0] for text in statements] == ["UPDATE"]
    assert await any_store.read(read) == before
