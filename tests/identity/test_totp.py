"""One-time codes."""

from __future__ import annotations

import pytest

from penstock.identity import totp

SEED = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"),
        (2000000000, "69279037"), (20000000000, "65353130"),
    ],
)  # fmt: skip
def test_the_vectors_of_rfc_6238(seconds, code):
    """Appendix B; they have eight digits, of which apps show six."""
    assert totp.code_of(SEED, seconds // 30) == code[2:]


NOW = 1_800_000_000_000
STEP = NOW // totp.STEP_MS


@pytest.mark.parametrize(("away", "known"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
@pytest.mark.parametrize("drift", [0, 7, -7])
def test_a_code_counts_about_its_time(away, known, drift):
    code = totp.code_of(SEED, STEP + drift + away)
    found = totp.step_of(SEED, code, now=NOW, drift=drift, used=0)
    assert found == (STEP + drift + away if known else None)


def test_codes_change_every_thirty_seconds_of_the_epoch():
    for now, ahead in ((1_111_111_109_999, None), (1_111_111_110_000, 37_037_038)):
        assert totp.step_of(SEED, totp.code_of(SEED, 37_037_036), now=now, drift=0, used=0) == 37_037_036
        assert totp.step_of(SEED, totp.code_of(SEED, 37_037_038), now=now, drift=0, used=0) == ahead


@pytest.mark.parametrize("away", [-121, 121])
def test_a_clock_that_is_wrong_by_more_than_an_hour_is_not_found(away):
    first, second = (totp.code_of(SEED, STEP + away + at) for at in (-1, 0))
    assert totp.second_of_two(SEED, first, second, now=NOW, used=0) is None


def test_a_code_counts_once_and_none_before_it_does():
    for away in (-1, 0):
        assert totp.step_of(SEED, totp.code_of(SEED, STEP + away), now=NOW, drift=0, used=STEP) is None
    assert totp.step_of(SEED, totp.code_of(SEED, STEP + 1), now=NOW, drift=0, used=STEP) == STEP + 1


@pytest.mark.parametrize("away", [-120, -1, 0, 1, 120])
def test_two_codes_in_a_row_say_how_wrong_a_clock_is(away):
    first, second = (totp.code_of(SEED, STEP + away + at) for at in (-1, 0))
    assert totp.second_of_two(SEED, first, second, now=NOW, used=0) == STEP + away
    assert totp.second_of_two(SEED, second, first, now=NOW, used=0) is None
    assert totp.second_of_two(SEED, first, first, now=NOW, used=0) is None
    assert totp.second_of_two(SEED, first, second, now=NOW, used=STEP + away - 1) is None  # the first was shown already


@pytest.mark.parametrize("code", ["", "12345", "１２３４５６", "x" * 1000, "\ud800"])
def test_what_is_no_code(code):
    assert totp.step_of(SEED, code, now=NOW, drift=0, used=0) is None
    assert totp.second_of_two(SEED, code, code, now=NOW, used=0) is None


def test_what_an_app_is_told():
    address = totp.address(SEED, "ann b@111111111111")
    assert address == (
        "otpauth://totp/Penstock%3Aann%20b%40111111111111?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Penstock"
    )
