"""Log streams below a folder of their own, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.blobs.backend import DiskBackend
from penstock.logs.logstore import LogStore
from penstock.logs.packing import Packer
from penstock.store.sealing import Sealer

SEALER = Sealer([(b"1234", b"k" * 32)])


def log_store(folder: Path, store: Any) -> LogStore:
    """Streams in a folder; their segments lie beside them."""
    return LogStore(folder, store, Packer(store, SEALER, DiskBackend(segments_of(folder))))


def segments_of(folder: Path) -> Path:
    """The folder of their segments."""
    return folder.with_name(f"{folder.name}-segments")


async def no_segments(path: str, offset: int) -> bytes:
    """What readers get that ask for a segment where there are none."""
    raise AssertionError((path, offset))
