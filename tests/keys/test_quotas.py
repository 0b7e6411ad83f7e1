"""The numbers of KMS that AWS's quotas fix: other tests lower them, or count by their names."""

import importlib

import pytest

NUMBERS = {
    "granting": {"MAX_GRANTS": 50_000, "MAX_GRANTS_OF_ONE": 500, "_MAX_PAIRS": 8, "_MAX_VALUE": 384},
    "engine": {"DAY_MS": 86_400_000, "ROTATION_DAYS": 365, "MAX_ON_DEMAND": 25, "WINDOW_DAYS": (7, 30)},
    "operations": {"LIMIT": 100},
    "operations.life": {"MAX_KEYS": 100_000},
    "operations.crypto": {"_MAX_CONTEXT": 8192},
    "operations.aliases": {"MAX_ALIASES": 50},
    "operations.policies": {"_MAX_POLICY": 32_768},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.keys.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]
