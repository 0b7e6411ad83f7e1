"""Whose disk and processes a build's run is on: a machine's own name, never one that lies in a folder that machines share. Blocking."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from penstock import durable

log = logging.getLogger("penstock.builds")

_FOLDER = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where processes run."""

    name: str  # of the machine, over its restarts
    boot: str  # of the kernel, until it restarts
    processes: str  # the namespace of process ids: those of a container are seen only in it

    def to_json(self) -> bytes:
        """What a build's directory keeps."""
        return json.dumps(asdict(self)).encode()


@cache
def this_machine() -> Machine:
    """The machine and container of this process."""
    known = f"{_read('/etc/machine-id')}/{os.uname().nodename}"
    return Machine(
        name=hashlib.sha256(known.encode()).hexdigest()[:32],
        boot=_read("/proc/sys/kernel/random/boot_id"),
        processes=str(Path("/proc/self/ns/pid").readlink()),
    )


def machine_of(content: bytes) -> Machine | None:
    """What a build's directory kept; None when that cannot be read."""
    try:
        return Machine(**json.loads(content))
    except (ValueError, TypeError):
        return None


def node_of(folder: Path) -> str:
    """The name of the builds in `folder` on this machine. The folder's own part is made on first use, and durable."""
    durable.make_folder(folder)
    path = folder / "node"
    try:
        kept = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        kept = ""
    if not _FOLDER.match(kept):
        if path.exists():
            log.warning(
                "builds.node_unreadable",
                extra={
                    "file": str(path),
                    "reason": "empty or damaged, as after a crash of the machine: it is made anew",
                },
            )
        kept = _made(path)
    return hashlib.sha256(f"{kept}/{this_machine().name}".encode()).hexdigest()[:32]


def _made(path: Path) -> str:
    """Put a new name into the file, on disk before anybody reads it; another process's when that came first."""
    new = path.with_name(f"node.{secrets.token_hex(4)}")
    durable.create(new, secrets.token_hex(16).encode())
    damaged = path.exists()
    try:
        if damaged:
            new.replace(path)
        else:
            path.hardlink_to(new)
    except FileExistsError:
        pass
    new.unlink(missing_ok=True)
    durable.sync_folder(path.parent)
    return path.read_text().strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
