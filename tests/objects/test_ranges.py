"""Ranges that no object has are S3's errors, however they are written."""

from __future__ import annotations

import pytest

from penstock.objects.conditions import parse_copied_range, parse_range
from penstock.objects.errors import InvalidArgument, InvalidRange, InvalidRequest


def test_positions_of_any_length():
    assert parse_range("bytes=0-" + "9" * 60_000, 10) == (0, 10)
    assert parse_range("bytes=" + "0" * 60_000 + "3-4", 10) == (3, 5)
    assert parse_range("bytes=-" + "9" * 60_000, 10) == (0, 10)
    with pytest.raises(InvalidRange):
        parse_range("bytes=" + "9" * 60_000 + "-", 10)
    with pytest.raises(InvalidRange):
        parse_range("bytes=-" + "0" * 60_000, 10)


def test_digits_of_other_scripts_are_no_range():
    assert parse_range("bytes=\u0661-\u0662", 10) is None


@pytest.mark.parametrize("header", ["bytes=0-\u00b2", "bytes=5-4", "bytes=0-" + "9" * 60_000, "bytes=0-10", "0-1", ""])
def test_ranges_that_cannot_be_copied(header):
    with pytest.raises(InvalidArgument):
        parse_copied_range(header, 10)


def test_ranges_that_can_be_copied():
    assert parse_copied_range("bytes=0-9", 10) == (0, 10)
    with pytest.raises(InvalidRequest, match="copy range is invalid"):
        parse_copied_range("bytes=10-10", 10)
