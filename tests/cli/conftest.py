"""What tests of commands in process share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from penstock.cli.checks.findings import Installation


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing about AWS, colours or proxies."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("NO_PROXY", "no_proxy"):  # what commands set for themselves ends with the test
        monkeypatch.setenv(name, "")


@pytest.fixture
def installation(sqlite_url: str, tmp_path: Path) -> Iterator[Installation]:
    """One with an empty database, for the checks of doctor."""
    tmp_path.chmod(0o700)
    (tmp_path / "penstock.db").chmod(0o600)
    engine = sa.create_engine(sqlite_url)
    yield Installation(
        data_dir=tmp_path, database="", master_key_file=tmp_path.parent / "keys" / "master.key", engine=engine
    )
    engine.dispose()
