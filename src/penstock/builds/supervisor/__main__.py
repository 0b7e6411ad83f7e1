"""Runs one build's commands: `python -I -S …/builds/supervisor BUILD_DIRECTORY`.

The directory holds `job.json` (what to run). Written to it: `supervisor.json` (pid and start time), `log`, `progress`, `packed-*.zip`.
`control` beside a SIGTERM says why to end early (STOPPED or TIMED_OUT). The first command starts only after `started` is on
disk, and a directory with that file is never run again: a command's effect happens at most once.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys


def main() -> int:
    """Become a process of its own and run the build; 0 once it is on its way, 3 when another has it."""
    directory = os.path.abspath(sys.argv[1])
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3
    if os.path.exists(os.path.join(directory, "started")):
        return 3
    with open(os.path.join(directory, "job.json"), "rb") as file:
        job = json.load(file)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(1, os.path.join(os.path.dirname(here), "runtimes"))

    from kernel import process_start  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return 0 if os.read(reading, 1) else 4
    os.close(reading)
    os.setsid()
    identity = {"pid": os.getpid(), "start": process_start(os.getpid())}
    new = os.path.join(directory, "supervisor.json.new")
    with open(new, "w", encoding="ascii") as file:
        json.dump(identity, file)
    os.replace(new, os.path.join(directory, "supervisor.json"))
    os.write(writing, b"!")
    os.close(writing)

    from run import supervise  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    return supervise(job, directory)


if __name__ == "__main__":
    os._exit(main())
