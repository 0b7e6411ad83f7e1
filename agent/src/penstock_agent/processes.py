"""The processes of a script: marked before it starts, found by the mark, and ended even after the agent was killed.

Every script gets a variable of its own in its environment, which its children inherit wherever they go. A file with the
name of the mark says that the script runs; one that a dead agent left means that its processes are to be ended.
"""

from __future__ import annotations

import os
import signal
import time
from typing import List, NamedTuple, Set

from penstock_agent import log

VARIABLE = "PENSTOCK_HOOK_ID"
TERM_GRACE_S = 5.0
KILL_LIMIT_S = 5.0
MAX_ENVIRONMENT = 4 << 20


class _Process(NamedTuple):
    pid: int
    session: int
    marked: bool


def start_time(pid: int) -> str:
    """When a process started, in ticks since the machine did, or "". Tells reused numbers apart."""
    fields = _fields(pid)
    return fields[19] if len(fields) > 19 else ""


def _fields(pid: int) -> List[str]:
    """What follows the name in /proc/PID/stat: state, parent, group, session …"""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _is_marked(pid: int, wanted: bytes) -> bool:
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            return wanted in file.read(MAX_ENVIRONMENT).split(b"\0")
    except OSError:
        return False


def members(mark: str, session: int = 0) -> List[int]:
    """Living processes with the mark, and those of a session that one of them belongs to, or of `session`."""
    wanted = (VARIABLE + "=" + mark).encode("ascii")
    own = os.getsid(0)
    found: List[_Process] = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        fields = _fields(int(name))
        if len(fields) > 3 and fields[0] not in ("Z", "X"):
            found.append(_Process(int(name), int(fields[3]), _is_marked(int(name), wanted)))
    sessions: Set[int] = {each.session for each in found if each.marked} | ({session} if session else set())
    sessions -= {0, own}
    return [each.pid for each in found if each.marked or each.session in sessions]


def end(mark: str, *, session: int = 0, until: float) -> None:
    """Wait for what is left of a script, which SIGTERM has reached, until the monotonic time `until`; then SIGKILL."""
    while True:
        left = members(mark, session)
        if not left:
            return
        if time.monotonic() >= until:
            break
        time.sleep(0.05)
    limit = time.monotonic() + KILL_LIMIT_S
    while left and time.monotonic() < limit:
        send(left, signal.SIGKILL)
        time.sleep(0.02)
        left = members(mark, session)
    if left:
        log.error("hook.not_ended", processes=",".join(map(str, left)))


def send(pids: List[int], number: int) -> None:
    """Signal processes; those that are gone, or that this user may not signal, are left out."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


class Marks:
    """The directory of marks: one file for every script that runs."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def set(self) -> str:
        """A new mark, written before its script starts. Raises OSError."""
        mark = os.urandom(12).hex()
        # Not synced: a machine that loses it has lost the processes too.
        descriptor = os.open(self._path(mark), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, ("%d %s" % (os.getpid(), start_time(os.getpid()))).encode("ascii"))
        finally:
            os.close(descriptor)
        return mark

    def clear(self, mark: str) -> None:
        """The script has ended."""
        try:
            os.unlink(self._path(mark))
        except FileNotFoundError:
            pass

    def _path(self, mark: str) -> str:
        return os.path.join(self._directory, mark)

    def end_orphans(self) -> None:
        """End the scripts of agents that are dead, before anything else runs."""
        orphans = [mark for mark in os.listdir(self._directory) if not self._is_owned(mark)]
        for mark in orphans:
            send(members(mark), signal.SIGTERM)
        until = time.monotonic() + TERM_GRACE_S
        for mark in orphans:
            if members(mark):
                log.warning("hook.orphan_ended", mark=mark)
            end(mark, until=until)
            self.clear(mark)

    def _is_owned(self, mark: str) -> bool:
        """Whether the agent that runs this script is alive."""
        try:
            with open(self._path(mark), encoding="ascii", errors="replace") as file:
                pid, _, started = file.read().partition(" ")
        except OSError:
            return False
        return pid.isdecimal() and bool(started) and int(pid) != os.getpid() and start_time(int(pid)) == started
