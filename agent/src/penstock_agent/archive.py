"""Unpacking bundles that nobody vouches for: every name, mode and size is checked, and nothing is written through a link.

A bundle is unpacked into a directory of its own. When anything is wrong with it, it is refused before the old release
is touched. Symbolic links are content: they are made as the bundle has them, wherever they lead, and never followed.
Of two entries with one name the last one counts, as with tar and unzip.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from penstock_agent import log
from penstock_agent.config import Limits
from penstock_agent.failures import BundleRefused, reason
from penstock_agent.layout import Syncs

MAX_DEPTH = 100
MAX_NAME = 255
MAX_PATH = 3000
MAX_LINK = 4095  # what the kernel takes as the target of a symbolic link
RATIO_FLOOR = 64 << 20
BLOCK = 256 * 1024
FULL = "The disk is (or was) full during extraction. Make room on this host for the agent's root_dir, and deploy again."
_PACKERS = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf\x27\x1c": "7-Zip"}


class Member(NamedTuple):
    """One entry of an archive as it was written there. `kind`: file, directory, symlink or hardlink."""

    name: bytes
    kind: str
    mode: int
    mtime: float
    link: bytes = b""


def show(name: bytes) -> str:
    """A name for people: bounded, one line."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return '"%s"' % (text if len(text) <= 120 else text[:60] + "…" + text[-50:])


class Unpacker:
    """Writes checked members below `root`, which must be an empty directory that belongs to this process."""

    def __init__(self, root: str, packed_bytes: int, limits: Limits) -> None:
        self._root = os.fsencode(root)
        self._syncs = Syncs()
        self._limits = limits
        self._packed = packed_bytes
        self._kinds: Dict[bytes, str] = {b"": "directory"}
        self._directories: Dict[bytes, Any] = {}
        self._written = 0
        self._entries = 0
        found = os.statvfs(root)
        self._free = found.f_bavail * found.f_frsize

    def add(self, member: Member, data: Iterator[bytes]) -> None:
        """Write one member. Raises BundleRefused."""
        self._entries += 1
        if self._entries > self._limits.entries:
            raise beyond("has more than %d entries" % self._limits.entries, "entries")
        name = self._checked_name(member.name)
        if not name:
            if member.kind != "directory":
                raise BundleRefused("The bundle has an entry without a name.")
            return
        before = self._kinds.get(name)
        if before is not None and (before == "directory") != (member.kind == "directory"):
            raise BundleRefused("The bundle holds %s both as a directory and as something else." % show(name))
        self._parents(name)
        path = os.path.join(self._root, name)
        if member.kind == "directory":
            if before is None:
                self._make(name)
            self._directories[name] = (member.mode, member.mtime)
        elif member.kind == "hardlink":
            self._copy(name, path, member)
        else:
            if before is not None:
                os.unlink(path)
            if member.kind == "symlink":
                self._link(name, path, member.link)
            else:
                self._file(name, path, member, data)
            self._kinds[name] = member.kind

    def _checked_name(self, raw: bytes) -> bytes:
        if raw.startswith(b"/"):
            raise BundleRefused("The bundle holds an absolute path: %s." % show(raw))
        parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise BundleRefused("The bundle holds a path that leaves it: %s." % show(raw))
        if b"\0" in raw:
            raise BundleRefused("The bundle holds a name with a NUL character: %s." % show(raw))
        if len(parts) > MAX_DEPTH:
            raise BundleRefused("The bundle is nested deeper than %d directories: %s." % (MAX_DEPTH, show(raw)))
        if any(len(part) > MAX_NAME for part in parts) or len(raw) > MAX_PATH:
            raise BundleRefused("The bundle holds a name that is too long: %s." % show(raw))
        return b"/".join(parts)

    def _parents(self, name: bytes) -> None:
        at = name.rpartition(b"/")[0]
        missing = []
        while at not in self._kinds:
            missing.append(at)
            at = at.rpartition(b"/")[0]
        if self._kinds[at] != "directory":
            raise BundleRefused("The bundle holds %s below %s, which is not a directory." % (show(name), show(at)))
        for each in reversed(missing):
            self._entries += 1
            self._make(each)
            self._kinds[each] = "directory"
            self._directories[each] = (0o755, None)

    def _make(self, name: bytes) -> None:
        try:
            os.mkdir(os.path.join(self._root, name), 0o700)
        except FileExistsError:
            raise _folded(name) from None
        self._kinds[name] = "directory"

    def _link(self, name: bytes, path: bytes, target: bytes) -> None:
        if not target or len(target) > MAX_LINK or b"\0" in target:
            raise BundleRefused("The bundle holds a symbolic link %s with an unusable target." % show(name))
        try:
            os.symlink(target, path)
        except FileExistsError:
            raise _folded(name) from None

    def _file(self, name: bytes, path: bytes, member: Member, data: Iterator[bytes]) -> None:
        # Whoever may write a file that root runs or installs is root: write bits of others stay behind, like the set-uid,
        # set-gid and sticky bits. The agent must be able to read what it installs.
        mode = member.mode & 0o755 | 0o400
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise _folded(name) from None
        try:
            for block in data:
                self._grow(len(block))
                view = memoryview(block)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode)
            os.utime(descriptor, (member.mtime, member.mtime))
            self._syncs.add(descriptor)
        finally:
            os.close(descriptor)

    def _copy(self, name: bytes, path: bytes, member: Member) -> None:
        target = self._checked_name(member.link)
        if target == name and name in self._kinds:
            return
        kind = self._kinds.get(target)
        if kind not in ("file", "symlink"):
            raise BundleRefused(
                "The bundle holds a hard link %s to %s, which is no file before it in the bundle."
                % (show(name), show(member.link))
            )
        if name in self._kinds:
            os.unlink(path)
        source = os.path.join(self._root, target)
        if kind == "symlink":
            self._link(name, path, os.readlink(source))
        else:
            found = os.lstat(source)
            with open(source, "rb") as file:
                blocks = iter(lambda: file.read(BLOCK), b"")
                self._file(name, path, member._replace(mode=stat.S_IMODE(found.st_mode), mtime=found.st_mtime), blocks)
        self._kinds[name] = kind

    def _grow(self, size: int) -> None:
        self._written += size
        if self._written > self._limits.unpacked_bytes:
            raise beyond("unpacks to more than %d bytes" % self._limits.unpacked_bytes, "unpacked_bytes")
        if self._written > max(RATIO_FLOOR, self._packed * self._limits.ratio):
            raise beyond("unpacks to more than %d times its size" % self._limits.ratio, "ratio")
        if self._written > self._free:
            raise BundleRefused(FULL)

    def finish(self) -> bytes:
        """Give directories their modes, and wait for the disk; the directory that is the revision's root."""
        root = self._root
        entries = os.listdir(root)
        # A bundle made of a folder instead of the folder's contents.
        if len(entries) == 1 and self._kinds.get(entries[0]) == "directory":
            inner = os.path.join(root, entries[0])
            if any(b"appspec" in entry for entry in os.listdir(inner)):
                root = inner
        for name, (mode, mtime) in self._directories.items():
            path = os.path.join(self._root, name)
            os.chmod(path, mode & 0o755 | 0o700)
            if mtime is not None:
                os.utime(path, (mtime, mtime))
            self._sync(path)
        self._sync(self._root)
        self._syncs.end()
        return root

    def _sync(self, directory: bytes) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._syncs.add(descriptor)
        finally:
            os.close(descriptor)


def beyond(what: str, setting: str) -> BundleRefused:
    """The refusal of a bundle that is over the limit `setting`."""
    return BundleRefused(
        "The bundle %s. When that is right, raise limits.%s in the agent's configuration." % (what, setting)
    )


def _folded(name: bytes) -> BundleRefused:
    return BundleRefused(
        "The bundle holds %s, which this file system cannot distinguish from another of its names." % show(name)
    )


def kind_of(head: bytes, declared: str) -> str:
    """What an archive really is by its first bytes: tar, tgz or zip; `declared` when they do not say.

    Raises:
        BundleRefused: a kind that no bundle may have.
    """
    if head.startswith(b"\x1f\x8b"):
        return "tgz"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    for magic, name in _PACKERS.items():
        if head.startswith(magic):
            raise BundleRefused("The bundle is packed with %s. Make it a tar, tgz (gzip) or zip archive." % name)
    return declared


def unpack(bundle: str, declared: str, into: str, limits: Limits) -> str:
    """Unpack `bundle` into the new directory `into`; the path of the revision's root inside it.

    The archive's first bytes say what it is; `declared` (tar, tgz or zip) counts only when they do not.

    Raises:
        BundleRefused: the archive is damaged, hostile or over a limit. What was written is left for the caller.
    """
    try:
        os.mkdir(into, 0o755)
        size = os.path.getsize(bundle)
        if not size:
            raise BundleRefused(
                "The bundle is empty: the object has no bytes. Upload the revision again, and deploy it."
            )
        unpacker = Unpacker(into, size, limits)
        with open(bundle, "rb") as file:
            kind = kind_of(file.read(512), declared)
            file.seek(0)
            if kind != declared:
                log.info("bundle.kind", declared=declared, found=kind)
            if kind == "zip":
                from penstock_agent.zips import members

                found = members(file, limits)
            else:
                from penstock_agent.tars import members as tar_members

                found = tar_members(file, compressed=kind == "tgz")
            for member, data in found:
                unpacker.add(member, data)
        return os.fsdecode(unpacker.finish())
    except OSError as error:
        raise _unpackable(error) from error


def _unpackable(error: OSError) -> BundleRefused:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BundleRefused(FULL)
    return BundleRefused("The bundle cannot be unpacked: %s." % reason(error))


def copy_directory(source: str, into: str, limits: Limits) -> str:
    """Copy a local directory under the same rules as an archive; the path of the copy."""
    try:
        if os.path.join(os.path.realpath(into), "").startswith(os.path.join(os.path.realpath(source), "")):
            raise BundleRefused("The directory %s cannot be copied into itself, to %s." % (source, into))
        os.mkdir(into, 0o755)
        unpacker = Unpacker(into, limits.unpacked_bytes, limits)
        top = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _copy_level(unpacker, top, b"")
        finally:
            os.close(top)
        unpacker.finish()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BundleRefused(FULL) from error
        raise BundleRefused("The directory %s cannot be copied: %s." % (source, reason(error))) from error
    return into


def _copy_level(unpacker: Unpacker, directory: int, above: bytes) -> None:
    """Add what is in the open directory. Names are opened below it, so that nobody can put a link in their place."""
    directories: List[Tuple[bytes, bytes]] = []
    for name in sorted(os.fsencode(each) for each in os.listdir(directory)):
        inner = os.path.join(above, name)
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            unpacker.add(Member(inner, "symlink", 0o777, 0, os.readlink(name, dir_fd=directory)), iter(()))
        elif stat.S_ISDIR(found.st_mode):
            unpacker.add(Member(inner, "directory", found.st_mode, found.st_mtime), iter(()))
            directories.append((name, inner))
        elif stat.S_ISREG(found.st_mode):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(name, flags, dir_fd=directory), "rb") as file:
                blocks = iter(lambda file=file: file.read(BLOCK), b"")
                unpacker.add(Member(inner, "file", found.st_mode, found.st_mtime), blocks)
        else:
            raise BundleRefused("The directory holds %s, which is no file, directory or link." % show(inner))
    for name, inner in directories:
        lower = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            _copy_level(unpacker, lower, inner)
        finally:
            os.close(lower)
