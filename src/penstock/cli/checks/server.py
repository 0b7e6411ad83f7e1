"""The server that runs on this data dir."""

from __future__ import annotations

import email.utils
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

from penstock.cli.checks.findings import Finding, Installation, Verdict, clock
from penstock.cli.installation import NoServer, server_facts


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
