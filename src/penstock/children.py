"""The end of child processes that run on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal


async def end(child: asyncio.subprocess.Process) -> None:
    """Kill a child that leads its own session, and what it started, unless it has ended; reap it and close our ends of its pipes.

    A pipe whose output nobody read any more is paused. Its end is never seen then: uvloop would leave it open, and asyncio's own loop
    would wait for ever.
    """
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    for descriptor in (0, 1, 2):
        if pipe := child._transport.get_pipe_transport(descriptor):  # type: ignore[attr-defined] # noqa: SLF001 - Process shows readers only
            pipe.close()
    await child.wait()
