"""A live server with a role and helpers for builds."""

from __future__ import annotations

from typing import Any

import pytest
from penstock_builder import Builder


@pytest.fixture(scope="module")
def builder(live: Any) -> Builder:
    return Builder(live)
