"""Trails with records, moved to a database as a server moves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from penstock.audit import records
from penstock.audit.shipping import LINES, block_of
from penstock.store.sealing import Sealer
from penstock.trail import Trail

ACCOUNT = "111111111111"
AT = 1_800_000_000_000


def record(number: int, **members: Any) -> bytes:
    """A record of a call."""
    return orjson.dumps(
        {
            "userIdentity": {"type": "IAMUser", "userName": f"user-{number % 7}", "accessKeyId": f"AKIA{number % 5}"},
            "eventSource": "codepipeline.amazonaws.com",
            "eventName": f"Act{number % 11}",
            "awsRegion": "us-east-1",
            "eventID": f"{number:032x}",
            "readOnly": number % 2 == 0,
            "resources": [{"ARN": f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:p{number % 13}"}],
            "recipientAccountId": ACCOUNT,
        }
        | members
    )


def lines_of(folder: Path, found: list[tuple[int, bytes]]) -> tuple[str, list[bytes]]:
    """A chain with these records: its name, and its lines."""
    trail = Trail(folder)
    for at, one in found:
        trail.keep(at, one)
    assert trail.write()
    assert trail.path is not None
    return trail.chain, trail.path.read_bytes().split(b"\n")[:-1]


def move(
    conn: Any, sealer: Sealer, chain: str, lines: list[bytes], *, state: str = records.CLOSED, size: int = LINES
) -> None:
    """Write a chain to the database in blocks of `size` lines."""
    kept = records.begin(conn, sealer, chain, writer="elsewhere:/there", now=AT)
    for start in range(0, len(lines), size):
        made = block_of(lines[start : start + size], start)
        kept = records.add(conn, sealer, kept, [made], state=state)
