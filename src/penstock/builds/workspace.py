"""A build's directory on this worker's disk: what the supervisor is given there and what it left. Blocking; not for the loop."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from penstock import durable
from penstock.builds.machine import Machine, machine_of, this_machine
from penstock.builds.phases import Status
from penstock.sandbox import kernel
from penstock.sandbox.cgroups import end_groups
from penstock.sandbox.launcher import Launcher
from penstock.sandbox.registry import runtime_named
from penstock.sandbox.relay import credentials_file
from penstock.sandbox.removal import remove_tree
from penstock.sandbox.space import keeps
from penstock.sandbox.specification import Specification

LAUNCHER = Launcher("penstock.builds.supervisor.main")

OWN_TREES = Path("/var/lib/penstock-builds")  # of builds whose user may not enter the data dir; entered by name only


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the supervisor's progress."""

    event: str
    at: int  # ms UTC
    values: dict[str, Any]


Line = tuple[int, str]
"""A line of the log: when (ms UTC), and its text. There are half a million of them a second: no class of its own."""


class Workspace:
    """One build's directory; `tree` below it (or elsewhere, for a user that may not enter the data dir) is the build's own."""

    def __init__(self, path: Path, tree: Path) -> None:
        self.path = path
        self.tree = tree
        self._progress_at = 0
        self._log_at = 0
        self._shipping_to = 0

    @property
    def output(self) -> Path:
        """`/codebuild/output` of the build."""
        return self.tree / "output"

    @property
    def job(self) -> Path:
        """What the supervisor runs."""
        return self.path / "job.json"

    @property
    def wakeup(self) -> Path:
        """The FIFO that the supervisor writes to after each change."""
        return self.path / "wakeup"

    def create(self) -> None:
        """Make it anew; whatever an earlier try left is gone. Only before its supervisor was started."""
        self.remove()
        self._progress_at = self._log_at = self._shipping_to = 0
        self.path.mkdir(mode=0o700, parents=True)
        if self.tree.parent != self.path:
            _own_folder(self.tree.parent, 0o711)
        for folder in (self.tree, *(self.tree / name for name in ("readonly", "output", "output/tmp"))):
            folder.mkdir()
            folder.chmod(0o755)  # whatever the server's umask is: the build's own user has to get in
        self.write_private("machine", this_machine().to_json())
        self.make_wakeup()

    def is_elsewhere(self) -> bool | None:
        """Whether its processes, if any live, are out of this process's sight; None when the directory does not say.

        A machine that restarted has none of its earlier processes; on one kernel, or where the disk's server keeps locks, the
        lock of the supervisor shows whether a container's lives.
        """
        made, here = self._machine(), this_machine()
        if made is None:
            return None
        if (made.boot, made.processes) == (here.boot, here.processes):
            return False
        if made.boot != here.boot and made.name != here.name:
            return True
        return self._is_locked()

    def _is_locked(self) -> bool:
        try:
            with (self.path / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    def _machine(self) -> Machine | None:
        try:
            return machine_of((self.path / "machine").read_bytes())
        except OSError:
            return None

    def make_wakeup(self) -> None:
        """Make the wake-up FIFO, unless it is there."""
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.wakeup, 0o600)

    def remove(self) -> None:
        """Delete it all; harmless when there is nothing."""
        end_groups(str(self.path))
        for path in (self.tree, self.path):  # the folder by which leftovers are found goes last
            if path.exists():
                remove_tree(path)

    def clear(self) -> None:
        """Delete what the build wrote, but not what is known of it; harmless when there is nothing, and when its supervisor did it."""
        end_groups(str(self.path))
        for path in (self.tree, self.path / "root"):
            if path.exists():
                remove_tree(path)

    def end_processes(self) -> None:
        """End what a supervisor that was killed left running. What runs is known by the job that it was given."""
        try:
            specification = Specification.from_json(orjson.loads(self.job.read_bytes())["sandbox"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # only a crash of the machine damages the file, and nothing outlives that
        runtime_named(specification.runtime).end_leftovers(specification)

    def free(self) -> tuple[int, int]:
        """Free bytes of the file system that the build writes to, and those that builds leave free."""
        facts = os.statvfs(self.tree.parent)
        return facts.f_bavail * facts.f_frsize, keeps(facts)

    def write_private(self, name: str, content: bytes) -> None:
        """Replace a file that only we may read."""
        path = self.path / name
        new = path.with_name(name + ".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        new.replace(path)

    def is_under_way(self) -> bool:
        """Whether a supervisor has it, or had it when a command may have started."""
        return self.started or self.supervisor() is not None

    def clear_orphan(self) -> None:
        """End and delete what a supervisor left that was killed, or that ended while nobody looked."""
        if self.started and self.supervisor() is None:
            self.end_processes()
            self.clear()

    def write_session(self, content: bytes) -> None:
        """Lay the role's session down where the supervisor's credentials endpoint reads it."""
        self.write_private(Path(credentials_file(str(self.path))).name, content)

    # --- the supervisor -------------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether a command may have started."""
        return (self.path / "started").exists()

    def supervisor(self) -> int | None:
        """The pid of its living supervisor, known by its start time, or None."""
        made, here = self._machine(), this_machine()
        if made is None or (made.boot, made.processes) != (here.boot, here.processes):
            return None  # its process ids are another kernel's, or another container's
        try:
            known = orjson.loads((self.path / "supervisor.json").read_bytes())
        except (OSError, ValueError):
            return None
        return known["pid"] if kernel.process_start(known["pid"]) == known["start"] else None

    def start(self) -> int:
        """Start a supervisor and leave it to itself; 0, or 3 when another has the build, or 4 when it died at once."""
        return LAUNCHER.start(self.path)

    def halt(self, status: Status) -> None:
        """Have the supervisor end with a status (STOPPED or TIMED_OUT)."""
        self.write_private("control", status.encode())
        pid = self.supervisor()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    # --- what it left ---------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """The progress since the last call."""
        data, self._progress_at = _complete_lines(self.path / "progress", self._progress_at)
        found = []
        for line in data.splitlines():
            record = orjson.loads(line)
            found.append(Step(record.pop("event"), record.pop("at"), record))
        return found

    def lines(self, limit: int = 512 * 1024) -> tuple[list[Line], int]:
        """Log lines that were not shipped (some `limit` bytes at a time), and the offset behind them."""
        if self._log_at < self._shipping_to:  # the same lines as at the last try: what arrived then is known by them
            limit = self._shipping_to - self._log_at
        data, behind = _complete_lines(self.path / "log", self._log_at, limit)
        found: list[Line] = []
        add = found.append
        known, at = "", 0
        for record in data.decode("utf-8", "replace").split("\n")[:-1]:
            stamp, _, text = record.partition(" ")
            if stamp != known:  # most lines have the stamp of the one before
                known, at = stamp, max(int(stamp), at)  # a clock set back must not undo the order
            add((at, text))
        return found, behind

    def resume_log(self) -> None:
        """Go on where the last worker that shipped the log has written down that it was. A power failure may have taken some of that."""
        with contextlib.suppress(FileNotFoundError), (self.path / "log").open("rb") as file:
            self._log_at = min(self._noted("shipped"), durable.sound_lines(file.fileno()))
        self._shipping_to = self._noted("shipping")

    def _noted(self, name: str) -> int:
        try:
            return int((self.path / name).read_text())
        except (OSError, ValueError):
            return 0

    def shipping(self, offset: int) -> None:
        """Write down up to where the log is being shipped, before it is."""
        self.write_private("shipping", str(offset).encode())
        self._shipping_to = offset

    def shipped(self, offset: int) -> None:
        """Write down how much of the log was shipped."""
        self.write_private("shipped", str(offset).encode())
        self._log_at = offset


def _own_folder(path: Path, mode: int) -> None:
    """Make a folder, or take one that is there if nobody else made it or may change it. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=mode)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise OSError(
            errno.EEXIST, f"{path} is not a folder that only this user may write to: look at it, and remove it"
        )
    if stat.S_IMODE(found.st_mode) != mode:
        path.chmod(mode)


def _complete_lines(path: Path, offset: int, limit: int = 1 << 26) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
            while data and b"\n" not in data and b"\0" not in data and (more := file.read(limit)):
                data += more
    except FileNotFoundError:
        return b"", offset
    data = durable.complete_lines(data)
    return data, offset + len(data)


def leftovers(folder: Path) -> Iterator[str]:
    """The names of build directories."""
    if folder.is_dir():
        for entry in folder.iterdir():
            yield entry.name
