"""What an operator can choose of metric sources."""

from __future__ import annotations

import os
from dataclasses import dataclass

from penstock.component import option


def folder(text: str) -> str:
    """A folder by its absolute path. Raises ValueError."""
    if not text.startswith("/") or os.path.normpath(text) == "/":
        raise ValueError(f"{text!r} is not the absolute path of a folder, such as /run/haproxy")
    return os.path.normpath(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSettings:
    """Options of metric sources."""

    metric_socket_dirs: tuple[str, ...] = option(
        (),
        "a folder with sockets of HAProxy that metric sources of every account may read, such as /run/haproxy; may be repeated",
        group="network",
        flag="--metric-socket-dir",
        metavar="DIR",
        parse=folder,
    )
