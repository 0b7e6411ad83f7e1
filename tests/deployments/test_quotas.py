"""The numbers of deployments that AWS's quotas or the agents' protocol fix: other tests lower them, or count by their names."""

import importlib

import pytest

NUMBERS = {
    "server.schedule": {"BURST": 100},
    "progress": {"SEEN_LATELY_MS": 180_000},
    "hostcommands.signer": {"_BITS": 3072, "_YEARS": 20, "_MAX_ENVELOPE": 8192},
    "hostcommands.operations": {"_OFFER_MS": 15_000, "_LOG_BYTES": 32_768},
    "liveness": {"AT_ONCE": 500},
    "stuck": {"_NAMED": 5, "_LISTED": 50},
    "operations.instances": {"_MAX_TAGS": 10, "_BATCH": 100},
    "operations": {"PAGE": 100},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.deployments.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]
