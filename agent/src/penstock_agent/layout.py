"""Where things lie below the agent's root directory. The names are those of AWS's agent, so that its users feel at home.

<group id>/<deployment id>/{bundle.tar, deployment-archive/, logs/scripts.log}
running/    a file for each script that runs
deployment-instructions/<group id>{-cleanup, -journal, _last_successful_install, _most_recent_install}
spool/      commands taken and answers owed      lock, state.json      of the running agent
"""

from __future__ import annotations

import os
import stat
import time
from typing import List, Optional

from penstock_agent import log
from penstock_agent.failures import ConfigInvalid
from penstock_agent.processes import Marks
from penstock_agent.reach import Reach, close

_FEW = 200  # syncs of single files; a disk needs milliseconds for each, and revisions may have 100,000 files
_READ = 1 << 20
_LEVEL = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_durably(path: str, data: bytes) -> None:
    """Replace the file by `data` atomically; it is on the disk when this returns."""
    temporary = path + ".writing"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Wait until what was created, renamed and removed in a directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_lines(descriptor: int, lines: bytes) -> None:
    """Append lines; of one that the disk has no room for nothing stays, since the next would be added to it. Raises OSError."""
    written = 0
    try:
        while written < len(lines):
            written += os.write(descriptor, memoryview(lines)[written:])
    except OSError:
        half = written - (lines.rfind(b"\n", 0, written) + 1)
        if half:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - half)
        raise


def open_lines(path: str) -> int:
    """A descriptor to append lines with. Half a line that a crash left goes, and zeros that a power failure left, with what is behind them."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    size = os.fstat(descriptor).st_size
    at = end = 0
    while at < size:
        data = os.pread(descriptor, _READ, at)
        gap = data.find(b"\0")
        newline = data.rfind(b"\n", 0, gap if gap >= 0 else len(data))
        if newline >= 0:
            end = at + newline + 1
        if gap >= 0 or not data:
            break
        at += len(data)
    if end < size:
        os.ftruncate(descriptor, end)
    return descriptor


class Syncs:
    """Waits until files are on the disk: one by one while they are few, and all at once in the end when they are many."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, descriptor: int) -> None:
        """A file that is written, or a directory that nothing more comes into."""
        self._count += 1
        if self._count <= _FEW:
            os.fsync(descriptor)

    def end(self) -> None:
        """Return when all of them are on the disk."""
        if self._count > _FEW:
            os.sync()


def read_text(path: str) -> str:
    """The file's text, or "" when it is missing."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def remove_tree(path: str) -> None:
    """Remove a directory and everything below it without following links; nothing there is fine."""
    above, name = os.path.split(os.path.abspath(path))
    try:
        parent = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(parent, name)
    finally:
        os.close(parent)


def remove_at(parent: int, name: str) -> None:
    """Remove `name` from the open directory `parent`, with everything below it; no link is followed, whenever it was made."""
    try:
        # A file system that is read-only says so even of what is not there.
        os.stat(name, dir_fd=parent, follow_symlinks=False)
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass
    try:
        descriptor = os.open(name, _LEVEL, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)  # scripts may leave directories without rights for their owner
        descriptor = os.open(name, _LEVEL, dir_fd=parent)
    try:
        for inner in os.listdir(descriptor):
            try:
                remove_at(descriptor, inner)
            except PermissionError:
                os.fchmod(descriptor, 0o700)
                remove_at(descriptor, inner)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)


class Group:
    """The paths of one deployment group."""

    def __init__(self, root: str, group_id: str) -> None:
        instructions = os.path.join(root, "deployment-instructions")
        self.directory = os.path.join(root, group_id)
        self.instructions = instructions
        self.cleanup = os.path.join(instructions, group_id + "-cleanup")
        self.journal = os.path.join(instructions, group_id + "-journal")
        self._last = os.path.join(instructions, group_id + "_last_successful_install")
        self._recent = os.path.join(instructions, group_id + "_most_recent_install")

    def last_successful(self) -> Optional[Deployment]:
        """The deployment whose Install succeeded last, when it is still on the disk."""
        return self._named(self._last)

    def most_recent(self) -> Optional[Deployment]:
        """The deployment whose bundle was downloaded last, when it is still on the disk."""
        return self._named(self._recent)

    def _named(self, path: str) -> Optional[Deployment]:
        directory = read_text(path).strip()
        return Deployment(directory) if directory and os.path.isdir(directory) else None

    def set_last_successful(self, deployment: Deployment) -> None:
        """Remember it."""
        write_durably(self._last, os.fsencode(deployment.directory))

    def set_most_recent(self, deployment: Deployment) -> None:
        """Remember it."""
        write_durably(self._recent, os.fsencode(deployment.directory))

    def installed(self) -> List[str]:
        """What the last Install made, in order: the paths of the cleanup file."""
        try:
            with open(self.cleanup, "rb") as file:
                # Names in a bundle may hold every byte but NUL: only that can stand between two paths.
                return [os.fsdecode(path) for path in file.read().split(b"\0") if path]
        except FileNotFoundError:
            return []

    def retain(self, current: Deployment, keep: int) -> None:
        """Remove the oldest revisions beyond `keep`, never the current or the last successful one."""
        last = self.last_successful()
        spared = {current.directory, last.directory if last else ""}
        found = [entry for entry in os.scandir(self.directory) if entry.is_dir(follow_symlinks=False)]
        found.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
        surplus = len(found) - keep
        for entry in found:
            if surplus <= 0:
                break
            if entry.path not in spared:
                try:
                    remove_tree(entry.path)
                except OSError as error:
                    log.warning("revision.kept", path=entry.path, reason=error)
                surplus -= 1


class Deployment:
    """The paths of one deployment."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.bundle = os.path.join(directory, "bundle.tar")
        self.unpacking = os.path.join(directory, "unpacking")
        self.archive = os.path.join(directory, "deployment-archive")
        self.logs = os.path.join(directory, "logs")
        self.script_log = os.path.join(self.logs, "scripts.log")

    def make(self) -> None:
        """Make its directories. Raises OSError."""
        os.makedirs(self.logs, exist_ok=True)
        os.chmod(self.logs, 0o700)
        # A script that runs as another user reaches its revision, and nothing beside it.
        for directory in (os.path.dirname(self.directory), self.directory):
            os.chmod(directory, 0o711)  # noqa: S103 - root_dir above is closed


class Layout:
    """The root directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.reach = Reach(root)
        self.marks = Marks(os.path.join(root, "running"))

    def prepare(self, *, alone: bool = False) -> None:
        """Make the directories that everything needs, closed to all other users. `alone`: no script runs in here.

        Raises:
            ConfigInvalid: the directory belongs to somebody else, or is shared.
        """
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        found = os.stat(self.root)
        if found.st_uid != os.geteuid() or found.st_mode & stat.S_ISVTX:
            raise ConfigInvalid(
                "root_dir: %s belongs to user id %d%s. Whoever owns the agent's directory decides what it runs: name one"
                " that belongs to the agent's user alone"
                % (self.root, found.st_uid, " and is shared" if found.st_mode & stat.S_ISVTX else "")
            )
        if alone or found.st_mode & 0o067:
            close(self.root)
        for name in ("deployment-instructions", "spool", "running", os.path.join("spool", "done")):
            os.makedirs(os.path.join(self.root, name), exist_ok=True)
            os.chmod(os.path.join(self.root, name), 0o700)

    def group(self, group_id: str) -> Group:
        """Paths of a deployment group."""
        return Group(self.root, group_id)

    def deployment(self, group_id: str, deployment_id: str) -> Deployment:
        """Paths of a deployment."""
        return Deployment(os.path.join(self.root, group_id, deployment_id))

    def journals(self) -> List[str]:
        """Ids of the groups that have an install journal left over."""
        directory = os.path.join(self.root, "deployment-instructions")
        return [name[: -len("-journal")] for name in os.listdir(directory) if name.endswith("-journal")]


def stamp(now: float) -> str:
    """Local time as scripts.log bears it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
