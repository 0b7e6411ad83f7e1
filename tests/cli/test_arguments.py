"""What options take, at the bounds of each."""

import argparse

import pytest

from penstock.cli import arguments, journal
from penstock.component import ip_network

LEAST_3 = arguments.count(3)


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (arguments.account, ["1" * 12, "0" * 12], ["1" * 11, "1" * 13, "", "1" * 12 + "\n", "\u0661" * 12, "a" * 12]),
        (arguments.region, ["us-east-1", "a", "1" + "x" * 31], ["", "x" * 33, "-a", "US", "a_b", "a\n"]),
        (LEAST_3, ["3", "003", "999999"], ["2", "", "-3", "3.0", "1000000", "\u0663", " 3"]),
        (arguments.port, ["0", "1", "65535", "00080"], ["65536", "-1", "", "100000", "000080", "x"]),
        (
            arguments.public_url,
            ["", "http://a", "https://a:1", "https://[::1]:65535/"],
            ["a", "ftp://a", "http://", "http://a:0", "http://a:65536", "http://a:x", "//a"],
        ),
        (
            arguments.database,
            ["", "postgresql://a/b", "postgres://a/b", "postgresql+psycopg://a/b", "sqlite:///x"],
            ["x", "mysql://a/b", "postgresql://a:x/b", "://"],
        ),
    ],
)
def test_what_an_option_takes(read, good, bad):
    for text in good:
        read(text)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            read(text)
        assert str(refused.value)


def test_what_an_option_of_a_component_takes_as_a_network():
    for text in ("10.0.0.0/8", "192.0.2.1", "::/0"):
        ip_network(text)
    for text in ("10.0.0.1/8", "10.0.0.0/33", "", "x"):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is what the user reads
            ip_network(text)
        assert str(refused.value)


def test_options_are_what_was_typed():
    assert (arguments.account("1" * 12), arguments.region("eu"), arguments.public_url("http://a")) == (
        "1" * 12,
        "eu",
        "http://a",
    )
    assert (LEAST_3("04"), arguments.port("080"), ip_network("192.0.2.1")) == (4, 80, "192.0.2.1/32")
    assert arguments.database("sqlite:///x") == "sqlite:///x"


def test_a_refused_database_is_not_shown():
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        arguments.database("mysql://me:secret@host/x")
    assert "secret" not in str(refused.value)


def test_values_of_a_journal_are_cut_at_sixty():
    assert journal._short("x" * 60) == "x" * 60
    assert journal._short("x" * 61) == "x" * 59 + "\u2026"
    assert journal._short({"a": "\u00e9"}) == '{"a": "\u00e9"}'
    assert journal._short("a\n\t b") == "a b"
    described = journal._describe({"v": 1, "type": "Ended", "phase": "BUILD", "n": 2})
    assert described == "Ended phase=BUILD n=2"
