"""Runs one build's commands.

The build's directory holds `job.json` (what to run). Written to it: `supervisor.json` (pid and start time), `log`, `progress`, `packed-*.zip`.
`control` beside a SIGTERM says why to end early (STOPPED or TIMED_OUT). The first command starts only after `started` is on
disk, and a directory with that file is never run again: a command's effect happens at most once.
"""

from __future__ import annotations

import fcntl
import json
import os

from penstock.builds.supervisor.run import supervise
from penstock.sandbox import registry
from penstock.sandbox.kernel import process_start

registry.every()  # imported once, before this process is forked for a build

TAKEN, DIED = 3, 4


def main(directory: str) -> int:
    """Become a process of its own and run the build; 0 once it is on its way, 3 when another has it, 4 when it died at once."""
    directory = os.path.abspath(directory)
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return TAKEN
    if os.path.exists(os.path.join(directory, "started")):
        return TAKEN
    with open(os.path.join(directory, "job.json"), "rb") as file:
        job = json.load(file)
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return 0 if os.read(reading, 1) else DIED
    os.close(reading)
    os.setsid()
    identity = {"pid": os.getpid(), "start": process_start(os.getpid())}
    new = os.path.join(directory, "supervisor.json.new")
    with open(new, "w", encoding="ascii") as file:
        json.dump(identity, file)
    os.replace(new, os.path.join(directory, "supervisor.json"))
    os.write(writing, b"!")
    os.close(writing)
    return supervise(job, directory)
