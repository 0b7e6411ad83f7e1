"""The numbers of pipelines that AWS's limits fix: other tests lower them, or count by their names."""

import importlib

import pytest

NUMBERS = {
    "model": {"MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000, "APPROVAL_TIMEOUT": 604_800_000, "CONCURRENT_EXECUTIONS": 50},
    "actions.provider": {"DEFAULT_CHECK": 60_000},
    "actions.codecommit_source": {"MESSAGE_LIMIT": 102_400},
    "work": {"FIRST_CHECK": 1_000, "START_ATTEMPTS": 8, "RESOLVED_LIMIT": 102_400, "VARIABLES_LIMIT": 122_880},
    "links": {"LONGEST": 2_048},
    "triggers": {"LONGEST_SUBJECT": 1_200},
    "operations.addressing": {"PAGE": 100},
    "retention": {"EVERY": 21_600_000, "BATCH": 500},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.pipelines.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]
