"""Starting and ending processes. A supervisor forks, and reaps what it adopted: more than the subprocess module knows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a sandbox's programs are looked for."""

_DYING_S = 0.02
_started: dict[int, Started] = {}


class Started:
    """A child of this process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        _started[pid] = self

    def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        if self.code is None:
            _, status = os.waitpid(self.pid, 0)
            self._ended(status)
        assert self.code is not None
        return self.code

    def _ended(self, status: int) -> None:
        self.code = os.waitstatus_to_exitcode(status)
        del _started[self.pid]

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Signal it, unless it was waited for already."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)


def reap() -> bool:
    """Take note of every child that has ended, orphans that this process adopted included; whether there are others.

    Unreaped, they count as processes.
    """
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return True
            if pid in _started:
                _started[pid]._ended(status)  # noqa: SLF001
    except ChildProcessError:
        return False


def start(
    argv: list[str],
    *,
    output: int,
    descriptors: dict[int, int],
    env: dict[str, str],
    cwd: str,
    before: Callable[[], None] = lambda: None,
) -> Started:
    """Start a program in a session of its own: input from nothing, both outputs to `output`, `descriptors` by number.

    `before` runs in the child just before the program.
    """
    pid = os.fork()
    if pid:
        return Started(pid)
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        wanted = {0: os.open(os.devnull, os.O_RDONLY), 1: output, 2: output, **descriptors}
        # First out of the way of each other, then to their numbers.
        moved = {number: fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, 64) for number, held in wanted.items()}
        for number, held in moved.items():
            os.dup2(held, number, inheritable=True)
        os.chdir(cwd)
        before()
        os.execvpe(argv[0], argv, env)  # noqa: S606
    except BaseException as error:  # noqa: BLE001 - said where the output goes
        os.write(2, f"cannot start {argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def end_user(user: int) -> None:
    """Kill every process of a user id."""
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def descendants(pid: int) -> list[int]:
    """Every living process below `pid`."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
                if fields[0] != b"Z":
                    parents[int(name)] = int(fields[1])
    found: list[int] = []
    for one in parents:
        above = one
        while above in parents:
            above = parents[above]
            if above == pid:
                found.append(one)
                break
    return found


def end_descendants() -> None:
    """Kill and reap every process below this one; it must adopt orphans."""
    for child in list(_started.values()):
        child.kill()
    # Those that it started and a sandbox end by that: searching the machine's processes is for what is left then.
    deadline = time.monotonic() + _DYING_S
    while reap():
        if time.monotonic() > deadline:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)  # they need the processor to die


def end_naming(path: str) -> None:
    """Kill every process with this path among its arguments: what a supervisor that was killed left of its sandbox."""
    argument = os.fsencode(path)
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    named = argument in file.read().split(b"\0")
                if named:
                    os.kill(int(name), signal.SIGKILL)
