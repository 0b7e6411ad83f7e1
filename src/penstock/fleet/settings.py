"""What can be chosen of how the installation is watched."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from penstock.component import Role, option, read_secret


def token_file(path: str) -> str:
    """The token in a file: one line of at least 16 printable characters. Raises ValueError."""
    token = read_secret(path, "the token").strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{path} holds no token: it is one line of at least 16 characters without blanks")
    return token


def collector(url: str) -> str:
    """The address of a collector, without the path of what is sent. Raises ValueError."""
    found = urlsplit(url)
    if found.scheme not in ("http", "https") or not found.hostname or found.query or found.fragment or found.username:
        raise ValueError(f"{url} is no address of a collector, such as http://127.0.0.1:4318")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """Options of metrics and traces."""

    metrics_token: str = option(
        "",
        "the token in this file opens /metrics to other machines; without one only 127.0.0.1 reads it",
        secret=True,
        group="network",
        role=Role.SERVES,
        flag="--metrics-token-file",
        metavar="F",
        parse=token_file,
    )
    otlp_endpoint: str = option(
        "",
        "the collector that gets a trace of each run that ends, by OTLP over HTTP, such as http://127.0.0.1:4318",
        group="network",
        flag="--otlp-endpoint",
        metavar="URL",
        parse=collector,
    )
