"""A port that a test's server comes back to is the test's own, also while nobody listens."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from penstock_ports import reserved_port

TESTS = Path(__file__).parent


def test_a_reserved_port_goes_to_nobody_but_a_server_that_asks_for_it():
    port = reserved_port()
    assert reserved_port() != port
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    for _ in range(2):  # and again when it has died
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port), 20):
            pass


def test_nobody_looks_for_a_free_port_and_gives_it_back():
    """A number that was free a moment ago is another's on a busy machine."""
    looked = re.compile(r"\.bind\(\(.*, 0\)\)")
    found = {path.name for path in TESTS.rglob("*.py") if looked.search(path.read_text())}
    assert found == {"penstock_ports.py"}
