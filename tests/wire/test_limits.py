"""What docs/reference/limits.md says of requests, and the rate of one key."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.application import Settings
from penstock.store.sealing import Sealer
from penstock.wire import arriving, budget, exchange, http
from penstock.wire.errors import Throttled
from penstock.wire.http import Timeouts
from penstock.wire.rates import Rates
from penstock.wire.tls import KEY_LABEL, own_authority, server_context

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "limits.md"
KIB, MIB = 1 << 10, 1 << 20
LIMITS = {
    "head of a request, with its address": http._HEADER_BYTES / KIB,
    "head, from its first byte to its last": Timeouts().head,
    "connection on which nothing is asked": Timeouts().silence,
    "pause within a body": Timeouts().body,
    "answer of which nothing is taken": Timeouts().answer,
    "body of a call in JSON or CBOR": exchange._JSON_BYTES / MIB,
    "body of a form (IAM, STS)": exchange._FORM_BYTES / MIB,
    "body in XML (S3)": exchange._XML_BYTES / MIB,
    "such a body, until all of it has arrived": arriving._SECONDS,
    "such bodies at a time, of all keys": budget._ALL_BYTES / MIB,
    "such bodies at a time, of one key": budget._ONE_BYTES / MIB,
    "calls at work at a time": exchange._IN_FLIGHT,
    "calls of one access key": Settings(data_dir=Path()).requests_per_second,
    "TLS": 1.2,
}


def test_the_page_has_the_numbers_of_the_code():
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    said = {row[0].removeprefix("| "): re.match(r"[0-9.]*", row[1])[0] for row in rows}
    assert {name: float(number) for name, number in said.items() if number} == LIMITS


def test_a_key_may_make_ten_seconds_worth_at_once_and_its_rate_from_there():
    allowed = Rates(5)
    for _ in range(50):
        allowed.take("a", 100.0)
    for _ in range(2):  # what is refused does not count
        with pytest.raises(Throttled):
            allowed.take("a", 100.0)
    allowed.take("b", 100.0)
    for _ in range(5):
        allowed.take("a", 101.0)
    with pytest.raises(Throttled):
        allowed.take("a", 101.0)
    for _ in range(50):
        allowed.take("a", 1000.0)


def test_a_rate_of_none_is_no_limit():
    for _ in range(10_000):
        Rates(0).take("a", 1.0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 400)), max_size=200))
def test_no_key_makes_more_than_its_bucket_and_its_rate_allow_whatever_the_others_do(asked):
    allowed, now, taken = Rates(2), 0.0, {"a": 0, "b": 0}
    for key, pause in asked:
        now += pause / 1000
        with contextlib.suppress(Throttled):
            allowed.take(key, now)
            taken[key] += 1
        assert taken[key] <= 20.5 + 2 * now


def test_a_bucket_may_hold_more_or_less_than_ten_seconds_worth():
    allowed = Rates(2, burst=3)
    for _ in range(3):
        allowed.take("a", 10.0)
    with pytest.raises(Throttled):
        allowed.take("a", 10.0)
    allowed.take("a", 10.5)
    with pytest.raises(Throttled):
        allowed.take("a", 10.5)
    for _ in range(3):
        allowed.take("a", 1_000.0)
    with pytest.raises(Throttled):
        allowed.take("a", 1_000.0)


def test_no_more_keys_are_remembered_than_there_is_room_for():
    allowed = Rates(1, keys=3)
    for key in "abcabdabe":
        allowed.take(key, 1.0)
    assert list(allowed._full) == ["a", "b", "e"]


@pytest.mark.parametrize(("version", "known"), [(1, False), (2, False), (3, True)])
def test_no_handshake_begins_below_tls_1_2(tmp_path, version, known):
    sealer = Sealer([(b"oldk", b"o" * 32)])
    _, cert, key = own_authority(tmp_path, ("localhost",), sealer, now=dt.datetime.now(tz=dt.UTC))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context(cert, key, sealer.derive(KEY_LABEL)).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(_client_hello(version))
    with pytest.raises(ssl.SSLError) as refused:
        server.do_handshake()
    assert (refused.value.reason == "UNSUPPORTED_PROTOCOL") is not known


def _client_hello(minor: int) -> bytes:
    """Of the version 3.minor, with suites of each version and no extensions."""
    suites = bytes.fromhex("c013c014c009c00ac02bc02f002f")
    hello = bytes((3, minor)) + bytes(32) + b"\0" + len(suites).to_bytes(2) + suites + b"\1\0"
    message = b"\1" + len(hello).to_bytes(3) + hello
    return b"\x16\3\1" + len(message).to_bytes(2) + message
