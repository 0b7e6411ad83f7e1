"""Named places at which a process can be made to die as by kill -9, so that tests can prove what survives."""

from __future__ import annotations

import functools
import os
import re
import signal
from pathlib import Path

_CALL = re.compile(r'(?<![\w.])failpoint\(\s*"([a-z0-9_.]+)"\s*\)')


def _parse(text: str) -> dict[str, int]:
    """`name[:n],…` → passes left before each."""
    chosen = (item.partition(":") for item in text.split(",") if item)
    return {name: int(passes or 1) for name, _, passes in chosen}


_wanted = _parse(os.environ.get("PENSTOCK_CRASH_POINT", ""))


def failpoint(name: str) -> None:
    """Die here, when the process was started with PENSTOCK_CRASH_POINT=name[:n][,name…] and this is the n-th pass."""
    if name in _wanted:
        _die(name)


def _die(name: str) -> None:
    _wanted[name] -= 1
    if _wanted[name] == 0:
        os.write(2, f"crash point {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()


@functools.cache
def points() -> tuple[str, ...]:
    """Every crash point that the source of this package names, sorted."""
    root = Path(__file__).resolve().parent.parent
    sources = (path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    return tuple(sorted({name for source in sources if "failpoint(" in source for name in _CALL.findall(source)}))
