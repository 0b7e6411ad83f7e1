"""The numbers of builds that AWS's quotas, the zip format or our reference fix: other tests lower them, or count by their names."""

import importlib

import pytest

from penstock import zips

NUMBERS = {
    "projects": {"DEFAULT_TIMEOUT": 60, "DEFAULT_QUEUED_TIMEOUT": 480, "MAX_SECONDARY": 12},
    "buildspec": {"MAX_SECONDARY": 12},
    "documents": {"MAX_BYTES": 524_288, "MAX_DEPTH": 40, "MAX_NODES": 20_000, "MAX_ALIASES": 200},
    "grammar": {"MAX_WARNINGS": 50},
    "supervisor.log": {"LINE_LIMIT": 204_800, "HOLD_LIMIT": 65_536, "_FULL_S": 20.0},
    "supervisor.globs": {"MAX_ALTERNATIVES": 64},
    "supervisor.packing": {"MAX_FILES": 1_000_000},
    "supervisor.run": {"_ANSWER_LIMIT": 1_048_576},
    "logship": {"LOG_LIMIT": 268_435_456, "BATCH_BYTES": 900_000, "BATCH_EVENTS": 2000, "EVENT_OVERHEAD": 26},
    "sources": {"MAX_BUNDLE": 8_589_934_592, "_GIT_S": 3600, "_GIT_MEMORY": 2_147_483_648},
    "references": {"_MAX_BYTES": 1_048_576, "_MAX_HIDDEN": 2000, "_AT_ONCE": 10},
    "operations.builds": {"_PAGE": 100, "_TOKEN_MS": 300_000, "_STOP_S": 3.0},
    "engine": {"_SUPERVISOR_MS": 30_000, "_GONE_MS": 120_000},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.builds.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]


def test_the_numbers_of_the_zip_format():
    assert {name: vars(zips)[name] for name in ("MAX_NAME", "_TAIL")} == {"MAX_NAME": 4096, "_TAIL": 65_557}
