"""The numbers of IAM and STS that AWS's quotas, RFCs or SECURITY.md fix: other tests lower them, or count by their names."""

import importlib

import pytest

NUMBERS = {
    "passwords": {"LONGEST": 128},
    "password_policy": {"MOST_FORMER": 24},
    "sessions": {"MAX_TOKEN": 16_384, "MAX_PACKED": 4096},
    "tries": {"TRIES": 5, "PAUSE_MS": 300_000, "LONGEST_PAUSE_MS": 3_600_000},
    "totp": {"STEP_MS": 30_000, "_DIGITS": 6, "_AROUND": 1},
    "ceremonies": {"LASTS_MS": 300_000, "_MAX_ID": 1023, "_CHALLENGE_BYTES": 32},
    "invitations": {"LASTS_MS": 86_400_000},
    "web_tokens": {"MAX_KEYS": 100, "SKEW_S": 300},
    "issuers": {"TIMEOUT_S": 5.0, "FRESH_MS": 3_600_000, "STALE_MS": 86_400_000, "UNKNOWN_MS": 60_000, "FAILED_MS": 10_000},
    "single_sign_on": {"_LASTS_MS": 600_000, "_MAX_TOKEN": 20_000},
    "operations.users": {"MAX_KEYS": 2},
    "operations.groups": {"MAX_GROUPS": 10},
    "operations.managed_policies": {"MAX_SIZE": 6144},
    "operations.policy_versions": {"MAX_VERSIONS": 5},
    "operations.policies": {"MAX_ATTACHED": 20, "MAX_INLINE": {"User": 2048, "Group": 5120, "Role": 10_240}},
    "operations.roles": {"MAX_TRUST": 4096, "DEFAULT_SESSION": 3600},
    "operations.session_requests": {"MAX_POLICY": 2048, "MAX_POLICY_ARNS": 10},
    "operations.assumed_roles": {"DEFAULT_SECONDS": 3600, "CHAINED_SECONDS": 3600},
    "operations.security_tokens": {"DEFAULT_SECONDS": 43_200},
    "operations.oidc_providers": {"MAX_PROVIDERS": 100, "MAX_CLIENTS": 100, "MAX_THUMBPRINTS": 5},
    "operations.mfa_devices": {"MAX_DEVICES": 8, "_LONGEST": 256, "_SEED_BYTES": 40},
    "operations.service_credentials": {"MAX_CREDENTIALS": 2},
    "operations.organizations": {"MAX_ACCOUNTS": 10_000, "_LIMIT": 20},
}  # fmt: skip


@pytest.mark.parametrize("module", NUMBERS)
def test_a_number_is_the_one_that_others_count_on(module):
    found = vars(importlib.import_module(f"penstock.identity.{module}"))
    assert {name: found[name] for name in NUMBERS[module]} == NUMBERS[module]
