"""Changing the machine's files without following a link that a stranger may have put there.

Every directory on the way to a path is opened by itself, below the one before, and never through a link, unless root or
the agent's own user made the link and nobody else can move it. Whatever is done to a path is then done below the opened
directory: what was checked is what is used, whatever is renamed in the meantime.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections import OrderedDict
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple, TypeVar

from penstock_agent.failures import BECAUSE, InstallFailed, LinkRefused, reason
from penstock_agent.layout import remove_at

MAX_LINKS = 40
_KEPT_OPEN = 64
_ENTER = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_T = TypeVar("_T")


class _Directory(NamedTuple):
    """An open directory and its path without links."""

    descriptor: int
    real: str


class Filesystem:
    """Paths below `base` (as below DESTDIR: absolute links there start at it again) or, without one, of the machine.

    `called` names what temporary names stand for in messages (last part of the path → the path that people know).
    Every method raises InstallFailed with a reason for people, and LinkRefused for a link that is not followed.
    """

    def __init__(self, base: str = "") -> None:
        self.called: Dict[str, str] = {}
        self._trusted = {0, os.geteuid()}
        self._open: OrderedDict[str, _Directory] = OrderedDict()
        self._made: Dict[str, Tuple[int, int]] = {}
        self._links = 0
        self._base = ""
        if base:
            self._base = self._guard(base, "looked up", lambda: self._real(base))

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            os.close(self._open.popitem()[1].descriptor)

    # --- lookups --------------------------------------------------------------------------------------------------

    def lstat(self, path: str) -> Optional[os.stat_result]:
        """What lies at the path, itself and not what it leads to; None when there is nothing."""

        def lookup() -> Optional[os.stat_result]:
            try:
                parent, name = self._parent(path)
                return os.stat(name, dir_fd=parent, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None

        return self._guard(path, "looked up", lookup)

    def is_directory(self, path: str) -> bool:
        """Whether the path is a directory or a trusted link to one."""

        def lookup() -> bool:
            try:
                self._links = 0
                self._directory(path)
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

        return self._guard(path, "looked up", lookup)

    def names(self, path: str) -> List[str]:
        """What a directory holds."""

        def lookup() -> List[str]:
            descriptor = self._readable(path)
            try:
                return os.listdir(descriptor)
            finally:
                os.close(descriptor)

        return self._guard(path, "read", lookup)

    # --- changing -------------------------------------------------------------------------------------------------

    def mkdir(self, path: str) -> None:
        """Make a directory; from now on the path must be this one."""

        def make() -> None:
            parent, name = self._parent(path)
            os.mkdir(name, 0o755, dir_fd=parent)
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            self._made[path] = (found.st_dev, found.st_ino)

        self._guard(path, "made", make)

    def create(self, path: str) -> int:
        """A descriptor to write a new file, readable by nobody else so far."""

        def make() -> int:
            parent, name = self._parent(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(name, flags, 0o600, dir_fd=parent)

        return self._guard(path, "written", make)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""

        def make() -> None:
            parent, name = self._parent(path)
            os.symlink(target, name, dir_fd=parent)

        self._guard(path, "made", make)

    def directory(self, path: str) -> int:
        """A descriptor of the directory itself, to change its mode and owner."""
        return self._guard(path, "opened", lambda: self._readable(path))

    def sync(self, path: str) -> None:
        """Wait until what was made, moved and removed in a directory is on the disk.

        One that is gone is fine. One that we may not read cannot be waited for.
        """

        def wait() -> None:
            self._links = 0
            try:
                above = self._directory(path).descriptor
                descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                return
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

        self._guard(path, "written to the disk", wait)

    def rename(self, path: str, to: str) -> None:
        """Move within one directory, over whatever is there."""

        def move() -> None:
            parent, name = self._parent(path)
            os.rename(name, os.path.basename(to), src_dir_fd=parent, dst_dir_fd=parent)
            # What is open, and what was made, bears other names from now on.
            self.close()
            self._made.clear()

        self._guard(to if os.path.basename(path) in self.called else path, "moved", move)

    def place(self, path: str, to: str) -> bool:
        """Move a file within one directory to a name that must be free; False when it is taken."""

        def move() -> bool:
            parent, name = self._parent(path)
            free = os.path.basename(to)
            try:
                os.link(name, free, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                return False
            except OSError:
                # A file system without hard links; there a name that appears in this moment is overwritten.
                if _there(parent, free):
                    return False
                os.rename(name, free, src_dir_fd=parent, dst_dir_fd=parent)
                return True
            os.unlink(name, dir_fd=parent)
            return True

        return self._guard(to, "installed", move)

    def link(self, path: str, to: str) -> bool:
        """Give a file a second name in its directory; False when the file system has no hard links."""

        def make() -> bool:
            parent, name = self._parent(path)
            try:
                os.link(name, os.path.basename(to), src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EACCES):
                    return False
                raise
            return True

        return self._guard(path, "kept", make)

    def unlink(self, path: str) -> None:
        """Remove a file or link."""

        def remove() -> None:
            parent, name = self._parent(path)
            os.unlink(name, dir_fd=parent)

        self._guard(path, "removed", remove)

    def rmdir(self, path: str) -> bool:
        """Remove a directory; False when it is not there, not empty or not removable."""

        def remove() -> bool:
            try:
                parent, name = self._parent(path)
                os.rmdir(name, dir_fd=parent)
            except OSError:
                return False
            return True

        return self._guard(path, "removed", remove)

    def remove_tree(self, path: str) -> None:
        """Remove whatever is there, with everything below it; nothing there is fine."""

        def remove() -> None:
            try:
                parent, name = self._parent(path)
            except (FileNotFoundError, NotADirectoryError):
                return
            remove_at(parent, name)

        self._guard(path, "removed", remove)

    # --- ways -----------------------------------------------------------------------------------------------------

    def _guard(self, path: str, done: str, action: Callable[[], _T]) -> _T:
        try:
            return action()
        except OSError as error:
            raise InstallFailed(
                BECAUSE + "%s could not be %s: %s." % (self._printable(path), done, reason(error))
            ) from error

    def _printable(self, path: str) -> str:
        head, *rest = path.split("/.penstock-", 1)
        if rest:
            name, _, below = rest[0].partition("/")
            known = self.called.get(".penstock-" + name, head)
            return os.path.join(known, below) if below else known
        return path

    def _parent(self, path: str) -> Tuple[int, str]:
        self._links = 0
        above, name = os.path.split(path)
        return self._directory(above).descriptor, name

    def _readable(self, path: str) -> int:
        parent, name = self._parent(path)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name or ".", flags, dir_fd=parent)
        try:
            self._same(path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _directory(self, path: str) -> _Directory:
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        current = self._open.get("/")
        if current is None:
            current = self._remember("/", _Directory(os.open("/", _ENTER | os.O_DIRECTORY), "/"))
        at = ""
        for name in path.split("/"):
            if not name:
                continue
            at += "/" + name
            current = self._open.get(at) or self._remember(at, self._enter(current, name, at))
        return current

    def _remember(self, path: str, directory: _Directory) -> _Directory:
        twice = self._open.pop(path, None)
        if twice is not None:
            os.close(twice.descriptor)
        self._open[path] = directory
        while len(self._open) > _KEPT_OPEN:
            os.close(self._open.popitem(last=False)[1].descriptor)
        return directory

    def _enter(self, above: _Directory, name: str, path: str) -> _Directory:
        descriptor = os.open(name, _ENTER, dir_fd=above.descriptor)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                self._same(path, found)
                kept, descriptor = descriptor, -1
                return _Directory(kept, os.path.join(above.real, name))
            if not stat.S_ISLNK(found.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            self._check_link(found, os.fstat(above.descriptor), path)
            target = os.readlink("", dir_fd=descriptor)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        self._links += 1
        if self._links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        inside = self._base and os.path.join(above.real, "").startswith(os.path.join(self._base, ""))
        top = self._base if inside else "/"
        leads = self._leads(top if target.startswith("/") else above.real, target, top)
        return _Directory(os.dup(leads.descriptor), leads.real)

    def _leads(self, start: str, target: str, top: str) -> _Directory:
        real = start
        for part in target.split("/"):
            if part == "..":
                real = real if real == top else os.path.dirname(real)
            elif part not in ("", "."):
                real = self._directory(os.path.join(real, part)).real
        return self._directory(real)

    def _real(self, path: str) -> str:
        """The path without links, as far as it exists."""
        missing: List[str] = []
        while True:
            try:
                return os.path.join(self._directory(path).real, *reversed(missing))
            except FileNotFoundError:
                path, name = os.path.split(path)
                missing.append(name)

    def _same(self, path: str, found: os.stat_result) -> None:
        made = self._made.get(path)
        if made is not None and made != (found.st_dev, found.st_ino):
            raise InstallFailed(
                BECAUSE + "somebody replaced the directory %s while it was being installed." % self._printable(path)
            )

    def _check_link(self, link: os.stat_result, above: os.stat_result, path: str) -> None:
        printable = self._printable(path)
        if link.st_uid not in self._trusted:
            raise LinkRefused(
                BECAUSE
                + "%s is a symbolic link that %s made, and the agent writes through links of root and of its own"
                " user only. Put a directory in its place, or let root make the link (chown -h)."
                % (printable, _user(link.st_uid))
            )
        foreign_group = above.st_mode & stat.S_IWGRP and above.st_gid not in (0, os.getegid())
        if above.st_uid not in self._trusted:
            who = _user(above.st_uid)
        elif (foreign_group or above.st_mode & stat.S_IWOTH) and not above.st_mode & stat.S_ISVTX:
            who = "another user"
        else:
            return
        raise LinkRefused(
            BECAUSE + "%s is a symbolic link of %s in a directory where %s can move it, and the agent writes through"
            " links only where nobody else can change them. Put a directory in its place, or name the directory that"
            " it leads to." % (printable, _user(link.st_uid), who)
        )


def _there(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _user(uid: int) -> str:
    try:
        return "the user %s" % pwd.getpwuid(uid).pw_name
    except KeyError:
        return "user id %d" % uid
