"""The numbers of the health pages and of our own lists that the reference promises."""

import importlib

import pytest

NUMBERS = {
    "operations.journals": {"_PAGE": 100, "_READ": 500, "_LOOKED": 5000},
    "operations.jobs": {"_PAGE": 100},
    "health": {"_READY_SECONDS": 4, "_KNOWN_SECONDS": 1.0, "_PROBE_BYTES": 65_536},
    "lag": {"_EVERY": 0.05, "_WINDOW": 30.0},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.fleet.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]
