"""Runs one build's commands: `python -I -S …/builds/supervisor BUILD_DIRECTORY`.

Without a directory it is what a server forks its supervisors from: each message on its input, a socket, names a directory, and the answer
is one byte, the exit status.

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
    """One build, or as many as are asked for."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(1, os.path.join(os.path.dirname(here), "runtimes"))
    return supervised(os.path.abspath(sys.argv[1])) if sys.argv[1:] else _serve()


def _serve() -> int:
    """Fork a supervisor for each directory, until the server is gone."""
    import gc  # noqa: PLC0415
    import socket  # noqa: PLC0415

    for module in ("run", "relay", "packing", "removal", "overlay", "covers", "bubblewrap", "process"):
        __import__(module)
    gc.collect()
    gc.freeze()  # what all of them share is not written to, so it stays shared
    channel = socket.socket(fileno=0)
    while directory := channel.recv(65536):
        pid = os.fork()
        if not pid:
            code = 4
            try:
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 0)
                os.close(null)
                code = supervised(os.fsdecode(directory))
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        channel.send(bytes([code if code >= 0 else 4]))
    return 0


def supervised(directory: str) -> int:
    """Become a process of its own and run the build; 0 once it is on its way, 3 when another has it."""
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3
    if os.path.exists(os.path.join(directory, "started")):
        return 3
    with open(os.path.join(directory, "job.json"), "rb") as file:
        job = json.load(file)
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
