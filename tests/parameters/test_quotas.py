"""The numbers of Parameter Store that AWS's quotas and models fix: other tests lower them, or count by their names."""

import importlib

import pytest

NUMBERS = {
    "names": {"MAX_LEVELS": 15, "_MAX_ARN": 1011},
    "engine": {"MAX_VERSIONS": 100, "MAX_LABELS": 10},
    "pages": {"_PAGE": 50, "_VERSIONS": 100},
    "operations.listing": {"_SCANNED": 500, "_BY_PATH": 10, "_DESCRIBED": 50},
    "operations.reading": {"_LIMIT": 50, "_LONGEST": 18},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.parameters.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]
