"""Exit codes of the command line: a contract that scripts rely on."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the process says to its caller."""

    DONE = 0
    USAGE = 1  # usage or network
    FAILED = 2
    STOPPED = 3  # stopped or rolled back
    TIMED_OUT = 4
    WAITS = 5  # waits for an approval
