"""The numbers of certificates that documents promise: other tests lower them, or count by their names."""

import importlib

import pytest

NUMBERS = {
    "chains": {"MAX_ROOTS": 10, "_MAX_VERIFIED": 16},
    "mappings": {"MAX_RULES": 50},
    "subjects": {"_PREFIXED": 61},
    "authority": {"_DAYS": 3650},
    "operations": {"MAX_RESOURCES": 250, "_PAGE": 50},
    "operations.lists": {"MAX_LISTS": 10},
    "operations.hosts": {"LASTS_MS": 86_400_000, "_MAX_TOKEN": 2048},
    "operations.profiles": {"DEFAULT_SECONDS": 3600, "_MAX_POLICY_ARNS": 10},
    "operations.subjects": {"MAX_SUBJECTS": 10_000, "_KEPT": 10, "_YEAR_MS": 31_536_000_000},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.certificates.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]
