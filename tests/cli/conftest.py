"""What tests of commands in process share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing about AWS, colours or proxies."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("NO_PROXY", "no_proxy"):  # what commands set for themselves ends with the test
        monkeypatch.setenv(name, "")
