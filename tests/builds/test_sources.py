"""Fetching sources: what takes long keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.application import Settings
from penstock.builds import sources
from penstock.builds.sources import Fetch, Location
from penstock.pools import FILES


class Fetched(Fetch):
    """Every object is there at once."""

    async def object(self, location: Location, target: Path) -> dict[str, Any]:  # noqa: ARG002 - as Fetch has it
        target.touch()
        return {"VersionId": location.key}


async def test_sources_that_take_long_to_unpack_hold_no_thread_that_others_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As many builds as run at a time held all of them, and hosts waited for their signed specifications."""
    settings = Settings(data_dir=tmp_path, master_key_file=tmp_path / "master.key")
    app: Any = SimpleNamespace(settings=settings)
    let_go = threading.Event()
    monkeypatch.setattr(sources, "unpack", lambda *_: let_go.wait(60))
    session: Any = None
    fetch = Fetched(app, session, {}, "us-east-1", tmp_path)
    bundles = [Location(bucket="b", key=f"{number}") for number in range(16)]
    unpacking = [asyncio.ensure_future(fetch.bundle(bundle, tmp_path / bundle.key)) for bundle in bundles]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(60):
            assert await FILES.run(int) == 0
    finally:
        let_go.set()
        fetched = await asyncio.gather(*unpacking)
    assert fetched == [bundle.key for bundle in bundles]
