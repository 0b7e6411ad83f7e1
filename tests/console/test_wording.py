"""How the console says things."""

from __future__ import annotations

import pytest

from penstock.webpages.wording import ago, capital, exact, first_line, initials, lasted, person, plural, state


@pytest.mark.parametrize(
    ("seconds", "visible_text"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (2.36, "2.4 s"),
        (9.97, "9 s"),
        (48, "48 s"),
        (152, "2 min 32 s"),
        (3600, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_lasted(seconds, visible_text):
    assert lasted(round(seconds * 1000)) == visible_text


@pytest.mark.parametrize(
    ("passed", "visible_text"),
    [
        (-5, "just now"),
        (3, "just now"),
        (41, "41 s ago"),
        (400, "6 min ago"),
        (7_300, "2 h ago"),
        (100_000, "yesterday"),
        (300_000, "3 days ago"),
    ],
)
def test_ago(passed, visible_text):
    assert ago(1_000_000_000_000 - 1000 * passed, 1_000_000_000_000) == visible_text


def test_after_a_week_the_date():
    assert ago(1_000_000_000_000, 1_000_000_000_000 + 8 * 86_400_000) == "9 September 2001"
    assert exact(1_000_000_000_000) == "2001-09-09 01:46:40 UTC"


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
    assert initials("") == "?"
    assert plural(1, "host") == "1 host"
    assert plural(10_000, "host") == "10,000 hosts"
    assert capital("of shop") == "Of shop"
    assert first_line("\n  \n first \n second") == "first"
