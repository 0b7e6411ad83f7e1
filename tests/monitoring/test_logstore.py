"""Streams that are held open leave descriptors to everybody else."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from penstock.monitoring.logstore import LogStore
from penstock.store.database import Store


@pytest.mark.parametrize(("limit", "most"), [(256, 2 * 16), (64, 2 * 4)])
async def test_open_streams_follow_the_limit_on_descriptors(
    any_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, most: int
):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, limit))
    store = LogStore(tmp_path / "streams", any_store)
    for n in range(40):
        await store.append(f"{n:032x}", [(n, "a line")], n)
        await store._sync()
    held = [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path / "streams") in _target(link)]
    assert 0 < len(held) <= most
    await store._sync()
    for n in range(40):  # what was closed is opened again
        assert await store.look(f"{n:032x}", lambda files: len(files.batches())) == 1


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""
