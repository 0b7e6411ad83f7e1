"""Named places at which a process can be made to die as by kill -9, so that tests can prove what survives."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

_CALL = re.compile(r'(?<![\w.])point\(\s*"([a-z0-9_.]+)"\s*\)')
_wanted, _, _pass = os.environ.get("PENSTOCK_CRASH_POINT", "").partition(":")
_left = int(_pass or 1)


def point(name: str) -> None:
    """Die here, when the process was started with PENSTOCK_CRASH_POINT=name[:n] and this is the n-th pass."""
    if name == _wanted:
        _die()


def _die() -> None:
    global _left  # noqa: PLW0603 - one per process by nature
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()


def points() -> list[str]:
    """Every crash point that the source of this package names, sorted."""
    root = Path(__file__).resolve().parent.parent
    return sorted({name for path in root.rglob("*.py") for name in _CALL.findall(path.read_text(encoding="utf-8"))})
