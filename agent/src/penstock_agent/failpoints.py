"""Named places where the agent may be killed; a test kills it at each of them."""

from __future__ import annotations

import os
import signal

_name, _, _count = os.environ.get("PENSTOCK_AGENT_CRASH_POINT", "").partition(":")
_left = int(_count or 1)


def failpoint(name: str) -> None:
    """Nothing, unless PENSTOCK_AGENT_CRASH_POINT is `name[:n]`: then the n-th pass kills this process with SIGKILL."""
    global _left  # noqa: PLW0603 - set once per process by its environment
    if name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
