"""Notes which lines a process runs, for the test that ran when it was started or forked, while `covering.py` records.

Each process writes at its end what it has run. One that is killed writes nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
from pathlib import Path

import coverage


def note(folder: str, sources: list[str]) -> None:
    """Begin to note, in this process and in each that it forks."""
    running = coverage.Coverage(data_file=None, include=[f"{source}/*" for source in sources], config_file=False)
    tests = [""]  # this process's own is the last

    def begin() -> None:
        with contextlib.suppress(OSError):
            tests.append(Path(folder, "test").read_text())
        running.start()

    def begin_anew() -> None:
        """What ran before a fork is its parent's."""
        running.stop()
        running.erase()
        begin()

    def write() -> None:
        running.stop()
        data = running.get_data()
        lines = {path: data.lines(path) for path in data.measured_files()}
        with contextlib.suppress(OSError):
            Path(folder, f"{os.getpid()}.json").write_text(json.dumps([tests[-1], lines]))

    def leave(code: int) -> None:
        with contextlib.suppress(Exception):  # whatever became of this process, it ends
            write()
        leave_at_once(code)

    begin()
    os.register_at_fork(after_in_child=begin_anew)
    atexit.register(write)
    leave_at_once, os._exit = os._exit, leave  # how forks end
