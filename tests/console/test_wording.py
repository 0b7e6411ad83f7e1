"""How the console says things."""

from __future__ import annotations

import pytest

from penstock.webpages.wording import (
    ago,
    capital,
    every,
    exact,
    first_line,
    initials,
    iso,
    lasted,
    person,
    plural,
    state,
)

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("ms", "visible_text"),
    [
        (-1_000, "0.0 s"), (40, "0.0 s"), (940, "0.9 s"), (2_360, "2.4 s"), (9_949, "9.9 s"), (9_950, "9 s"), (10_000, "10 s"), (59_999, "59 s"),
        (MINUTE, "1 min 0 s"), (152_000, "2 min 32 s"), (HOUR - 1, "59 min 59 s"), (HOUR, "1 h 0 min"), (DAY - 1, "23 h 59 min"),
        (DAY, "1 d 0 h"), (90_000_000, "1 d 1 h"), (2 * DAY - 1, "1 d 23 h"),
    ],
)  # fmt: skip
def test_lasted(ms, visible_text):
    assert lasted(ms) == visible_text


@pytest.mark.parametrize(
    ("passed", "visible_text"),
    [
        (0, "just now"), (9_999, "just now"), (10_000, "10 s ago"), (59_999, "59 s ago"), (MINUTE, "1 min ago"), (HOUR - 1, "59 min ago"),
        (HOUR, "1 h ago"), (DAY - 1, "23 h ago"), (DAY, "yesterday"), (2 * DAY - 1, "yesterday"), (2 * DAY, "2 days ago"),
        (7 * DAY - 1, "6 days ago"), (7 * DAY, "9 September 2001"), (-MINUTE, "just now"), (-MINUTE - 1, "in 1 min"), (-HOUR + 1, "in 59 min"),
        (-HOUR, "in 1 h"), (-2 * DAY + 1, "in 47 h"), (-2 * DAY, "in 2 days"), (-7 * DAY - HOUR + 1, "in 7 days"),
        (-7 * DAY - HOUR, "9 September 2001"),
    ],
)  # fmt: skip
def test_ago(passed, visible_text):
    assert ago(1_000_000_000_000, 1_000_000_000_000 + passed) == visible_text


def test_exact_times():
    assert iso(1_000_000_000_999) == "2001-09-09T01:46:40+00:00"
    assert exact(1_000_000_000_999) == "2001-09-09 01:46:40 UTC"


def test_unknown_states_are_shown_idle_with_their_name():
    assert state("Levitating") == ("None", "s-none", "Levitating")
    assert state("") == state(None) == ("None", "s-none", "Not started")
    assert state("FAILED").name == "Failed"


@pytest.mark.parametrize(
    ("arn", "who"),
    [
        ("arn:aws:iam::111111111111:user/demo/jonas.lind", "jonas.lind"),
        ("arn:aws:sts::111111111111:assumed-role/deployer/session", "deployer"),
        ("arn:aws:iam::111111111111:root", "root"),
        ("", ""),
    ],
)
def test_person(arn, who):
    assert person(arn) == who


def test_small_formatting():
    assert initials("jonas.lind") == "JL"
    assert [initials(name) for name in ("anna-maria_de.luca", "zoë", "._-")] == ["AM", "Z", "?"]
    assert initials("") == "?"
    assert [plural(count, "host") for count in (0, 1, 2)] == ["0 hosts", "1 host", "2 hosts"]
    assert [plural(count, "entry", "entries") for count in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
    assert plural(10_000, "host") == "10,000 hosts"
    assert (every(1), every(2)) == ("every day", "every 2 days")
    assert capital("of shop") == "Of shop"
    assert [capital(text) for text in ("", "a", "ofShop")] == ["", "A", "OfShop"]
    assert first_line("\n  \n first \n second") == "first"
    assert first_line(" \n") == ""
