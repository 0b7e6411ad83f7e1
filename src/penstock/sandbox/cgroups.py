"""Control groups of one sandbox: memory, processor time and processes, as far as the kernel lets this process make groups.

Version 1 hierarchies get a group below the server's own. In version 2 a group that has processes cannot have limited groups below it, so
a sandbox's stands beside the server's own; a service manager that delegates (systemd: Delegate=yes, DelegateSubgroup=server) lets a server
without root do that too. What cannot be had is in `missing` with the reason, and rlimits stand in for it where the kernel has one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time

from penstock.sandbox.space import size
from penstock.sandbox.specification import Limits

CONTROLLERS = ("memory", "pids", "cpu")
_LIST = "groups"  # in the sandbox's directory: the groups that were made, for whoever has to end them
_PERIOD_US = 100_000


class ControlGroups:
    """The groups of a sandbox; without any of them it runs all the same, and `missing` says what is not limited."""

    def __init__(self, directory: str, limits: Limits, subject: str) -> None:
        self._limits = limits
        self._subject = subject
        self._folders: dict[str, str] = {}  # controller → its group
        self._entries: list[int] = []
        self.missing: dict[str, str] = {}
        name = f"penstock-{subject}-" + os.path.basename(directory)
        wanted: dict[str, str] = {}
        for controller in CONTROLLERS:
            try:
                wanted[controller] = os.path.join(_parent(controller), name)
            except OSError as error:
                self.missing[controller] = error.strerror or str(error)
        with open(os.path.join(directory, _LIST), "w", encoding="utf-8") as file:  # before they are made
            file.write("".join(f"{folder}\n" for folder in dict.fromkeys(wanted.values())))
        for controller, folder in wanted.items():
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o755)
                self._set(controller, folder)
                self._folders[controller] = folder
            except OSError as error:
                self.missing[controller] = f"{folder}: {error.strerror}"
        for folder in dict.fromkeys(self._folders.values()):
            self._entries.append(os.open(os.path.join(folder, "cgroup.procs"), os.O_WRONLY))
        self._seen = self._events()

    def enter(self) -> None:
        """Put this process into the groups, and bound by rlimits what no group bounds. Raises OSError."""
        for entry in self._entries:
            os.write(entry, b"0")
        if "memory" in self.missing or "pids" in self.missing:
            for controller, kind, limit in (
                ("memory", resource.RLIMIT_DATA, self._limits.memory),
                ("pids", resource.RLIMIT_NPROC, self._limits.processes),
            ):
                hard = resource.getrlimit(kind)[1]
                bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
                if controller in self.missing:
                    resource.setrlimit(kind, (bound, bound))

    def exceeded(self) -> str:
        """What the kernel refused or ended since the last call for want of memory or processes; "" when nothing."""
        before, self._seen = self._seen, self._events()
        if self._seen["memory"] > before["memory"]:
            return f"the {self._subject} used more than its {size(self._limits.memory)} of memory"
        if self._seen["pids"] > before["pids"]:
            return f"the {self._subject} had more than its {self._limits.processes} processes at once"
        return ""

    def _events(self) -> dict[str, int]:
        found: dict[str, int] = {"memory": 0, "pids": 0}
        for controller, files, word in (
            ("memory", ("memory.events", "memory.oom_control"), b"oom_kill"),
            ("pids", ("pids.events",), b"max"),
        ):
            for file in files if controller in self._folders else ():
                with contextlib.suppress(OSError):
                    rows = dict(
                        row.split()[:2] for row in _read(os.path.join(self._folders[controller], file)).splitlines()
                    )
                    found[controller] = int(rows.get(word, 0))
        return found

    def _set(self, controller: str, folder: str) -> None:
        unified = os.path.exists(os.path.join(folder, "cgroup.events"))
        if controller == "memory":
            memory = str(self._limits.memory)
            if unified:
                _write(folder, "memory.max", memory)
                with contextlib.suppress(OSError):  # not there without swap accounting
                    _write(folder, "memory.swap.max", "0")
            else:
                _write(folder, "memory.limit_in_bytes", memory)
                with contextlib.suppress(OSError):  # not there without swap accounting
                    _write(folder, "memory.memsw.limit_in_bytes", memory)
        elif controller == "pids":
            _write(folder, "pids.max", str(self._limits.processes))
        else:
            quota = max(int(self._limits.cpus * _PERIOD_US), 1000)
            if self._limits.cpus >= (os.cpu_count() or 1):
                quota = -1
            if unified:
                _write(folder, "cpu.max", f"{quota if quota > 0 else 'max'} {_PERIOD_US}")
            else:
                _write(folder, "cpu.cfs_quota_us", str(quota))


def missing() -> dict[str, str]:
    """The controllers that sandboxes of this process cannot have a group of, with the reasons."""
    found: dict[str, str] = {}
    for controller in CONTROLLERS:
        try:
            parent = _parent(controller)
            if not os.access(parent, os.W_OK):
                found[controller] = f"this user may not make groups in {parent}"
        except OSError as error:
            found[controller] = error.strerror or str(error)
    return found


def _parent(controller: str) -> str:
    """The group below which this process may make one with the controller. Raises OSError with the reason when no group fits."""
    own: dict[str, str] = {}
    for line in _read("/proc/self/cgroup").decode("utf-8", "surrogateescape").splitlines():
        _, names, path = line.split(":", 2)
        own |= dict.fromkeys(names.split(","), path)
    unified = legacy = ""
    for line in _read("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        root, point = left.split(" ")[3:5]
        if kind == "cgroup" and controller in options.split(",") and controller in own:
            legacy = point + _inside(own[controller], root)
        elif kind == "cgroup2" and "" in own:
            unified = point + _inside(own[""], root)
    if legacy:
        return legacy
    if not unified:
        raise OSError("no control groups are mounted")
    parent = os.path.dirname(unified.rstrip("/")) if os.path.exists(os.path.join(unified, "cgroup.events")) else unified
    if controller.encode() not in _read(os.path.join(parent, "cgroup.controllers")).split():
        raise OSError(f"the kernel does not offer {controller} in {parent}")
    if controller.encode() not in _read(os.path.join(parent, "cgroup.subtree_control")).split():
        try:
            _write(parent, "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            raise OSError(f"{parent} does not hand {controller} on: {error.strerror}") from error
    return parent


def _inside(path: str, root: str) -> str:
    """A group's place below a mount point whose root may itself be a group (a container)."""
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    return "" if path == "/" else path


def end_groups(directory: str) -> None:
    """Kill every process of a sandbox's groups and remove these; harmless when they are gone. Blocking."""
    try:
        folders = _read(os.path.join(directory, _LIST)).decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for folder in folders:
        for _ in range(500):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            if not os.path.isdir(folder):
                break
            with contextlib.suppress(OSError):
                for pid in _read(os.path.join(folder, "cgroup.procs")).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.002)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(folder: str, name: str, value: str) -> None:
    descriptor = os.open(os.path.join(folder, name), os.O_WRONLY)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
