"""The server that runs on this data dir."""

from __future__ import annotations

import datetime as dt
import email.utils
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from penstock.cli.checks.ends import lasts
from penstock.cli.checks.findings import Finding, Installation, Verdict, clock
from penstock.cli.installation import NoServer, on_this_machine, server_facts


def server(examined: Installation) -> Iterator[Finding]:
    """Does the server answer, and with the right time?"""
    if not (examined.data_dir / "server.json").exists():
        return
    try:
        facts = server_facts(examined.data_dir)
    except NoServer as error:
        yield Finding(Verdict.WARN, "server", str(error))
        return
    try:
        context = (
            ssl.create_default_context(cafile=facts["ca_file"] or None) if facts["url"].startswith("https") else None
        )
        with urllib.request.urlopen(facts["url"] + "/readyz", timeout=5, context=context) as answer:  # noqa: S310
            date = answer.headers.get("date", "")
    except urllib.error.HTTPError as error:
        with error:
            for fault in error.read(4096).decode("utf-8", "replace").splitlines() or [f"status {error.code}"]:
                yield Finding(
                    Verdict.FAIL,
                    "server",
                    f"{facts['url']} is not ready: {fault}",
                    "see the server's log, which says why",
                )
    except (urllib.error.URLError, OSError, ValueError) as error:
        yield Finding(
            Verdict.WARN,
            "server",
            f"{facts['url']} does not answer: {getattr(error, 'reason', error)}",
            "start it: penstock up",
        )
    else:
        yield Finding(Verdict.OK, "server", f"{facts['url']} answers")
        if date:
            yield from clock("the server", email.utils.parsedate_to_datetime(date).timestamp())
        yield from _transport(facts)


def _transport(facts: dict[str, Any]) -> Iterator[Finding]:
    """Is what is said to the server kept from others, and for how long? Its own certificate has a check of its own."""
    url = facts["url"]
    if not url.startswith("https"):
        if not on_this_machine(url):
            yield Finding(
                Verdict.WARN,
                "TLS",
                f"{url} is plain http: passwords and keys cross the network readably",
                "serve https: --tls, or --tls-cert and --tls-key; name a proxy's address with --public-url https://…",
            )
    elif not facts["ca_file"]:
        where = urlsplit(url)
        try:
            with (
                socket.create_connection((where.hostname or "", where.port or 443), timeout=5) as plain,
                ssl.create_default_context().wrap_socket(plain, server_hostname=where.hostname) as secured,
            ):
                shown: Any = secured.getpeercert()
        except OSError as error:
            yield Finding(Verdict.WARN, "TLS", f"the certificate of {url} cannot be read: {error}")
            return
        ends = dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), tz=dt.UTC)
        yield from lasts("TLS", f"the certificate of {url}", ends, "renew it, and restart the server with it")
