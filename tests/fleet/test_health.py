"""Who may read the metrics, and what the console promises over TLS."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from penstock.console.strict_transport import strict_transport
from penstock.fleet.health import Health, _may_scrape

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize(
    ("client", "headers", "token", "may"),
    [
        ("127.0.0.1", {}, "", True),
        ("::ffff:127.0.0.1", {}, "", True),
        ("127.77.0.1", {}, "", False),  # a build
        ("127.0.0.2", {}, "", False),
        ("192.0.2.1", {}, "", False),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, "", False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, "", False),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.9"}, "", False),
        ("192.0.2.1", {"Authorization": f"Bearer {TOKEN}"}, TOKEN, True),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {TOKEN}"}, TOKEN, True),
        ("192.0.2.1", {"Authorization": f"Bearer {TOKEN}x"}, TOKEN, False),
        ("192.0.2.1", {"Authorization": "Bearer \xff"}, TOKEN, False),
        ("192.0.2.1", {"Authorization": TOKEN}, TOKEN, False),
        ("192.0.2.1", {"Authorization": "Bearer "}, "", False),
        ("192.0.2.1", {}, TOKEN, False),
    ],
)
def test_who_may_read_the_metrics(client, headers, token, may):
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert _may_scrape({"client": (client, 1), "headers": sent}, token) is may


@pytest.mark.parametrize(
    ("scheme", "host", "promised"),
    [
        ("https", "penstock.example.com:8470", True),
        ("https", "penstock.example.com", True),
        ("http", "penstock.example.com", False),
        ("https", "localhost:8470", False),
        ("https", "127.0.0.1:8470", False),
        ("https", "[::1]:8470", False),
        ("https", "", False),
    ],
)
async def test_https_stays_https(scheme, host, promised):
    async def page(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    sent = []

    async def send(message):
        sent.append(message)

    await strict_transport(page)({"scheme": scheme, "headers": [(b"host", host.encode())]}, None, send)
    names = [name for name, _ in sent[0]["headers"]]
    assert names == ([b"a", b"strict-transport-security"] if promised else [b"a"])


@pytest.mark.parametrize(("client", "status"), [("127.0.0.1", 200), ("10.0.0.1", 403)])
async def test_metrics_are_for_this_machine(client, status):
    """Those of our own are on the page, and the page of strangers says how to become none."""
    health: Any = object.__new__(Health)
    health._token, health.readings = "", SimpleNamespace(refresh=AsyncMock())
    answered, text = await health._metrics({"client": (client, 1), "headers": []})
    assert (answered, "penstock_" in text, "--metrics-token-file" in text) == (status, status == 200, status == 403)
    assert health.readings.refresh.await_count == (status == 200)
