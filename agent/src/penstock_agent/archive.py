"""Unpacking bundles that nobody vouches for: every name, link, mode and size is checked, and nothing is written through a link.

A bundle is unpacked into a directory of its own. When anything is wrong with it, it is refused in words before the
old release is touched.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, Iterator, NamedTuple

from penstock_agent.config import Limits
from penstock_agent.failures import BundleRefused

MAX_DEPTH = 100
MAX_NAME = 255
MAX_PATH = 3000
RATIO_FLOOR = 64 << 20
BLOCK = 256 * 1024


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
            raise BundleRefused("The bundle has more than %d entries." % self._limits.entries)
        name = self._checked_name(member.name)
        if not name:
            if member.kind != "directory":
                raise BundleRefused("The bundle has an entry without a name.")
            return
        before = self._kinds.get(name)
        if before is not None and not (before == member.kind == "directory"):
            raise BundleRefused("The bundle holds %s more than once." % show(name))
        self._parents(name)
        path = os.path.join(self._root, name)
        if member.kind == "directory":
            if before is None:
                os.mkdir(path, 0o700)
            self._directories[name] = (member.mode, member.mtime)
        elif member.kind == "symlink":
            self._link(name, path, member.link)
        elif member.kind == "hardlink":
            self._copy(name, path, member)
        else:
            self._file(name, path, member, data)
        self._kinds[name] = member.kind if member.kind != "hardlink" else "file"

    def _checked_name(self, raw: bytes) -> bytes:
        if raw.startswith(b"/"):
            raise BundleRefused("The bundle holds an absolute path: %s." % show(raw))
        parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise BundleRefused("The bundle holds a path that leaves it: %s." % show(raw))
        if any(byte < 32 or byte == 127 for byte in raw):
            raise BundleRefused("The bundle holds a name with a control character: %s." % show(raw))
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
            try:
                os.mkdir(os.path.join(self._root, each), 0o700)
            except FileExistsError:
                raise _folded(each) from None
            self._kinds[each] = "directory"
            self._directories[each] = (0o755, None)

    def _link(self, name: bytes, path: bytes, target: bytes) -> None:
        if not target or len(target) > MAX_PATH or any(byte < 32 or byte == 127 for byte in target):
            raise BundleRefused("The bundle holds a symbolic link %s with an unusable target." % show(name))
        if target.startswith(b"/"):
            raise BundleRefused("The symbolic link %s leads out of the bundle, to %s." % (show(name), show(target)))
        depth = name.count(b"/")
        for part in target.split(b"/"):
            depth += -1 if part == b".." else 0 if part in (b"", b".") else 1
            if depth < 0:
                raise BundleRefused("The symbolic link %s leads out of the bundle, to %s." % (show(name), show(target)))
        try:
            os.symlink(target, path)
        except FileExistsError:
            raise _folded(name) from None

    def _file(self, name: bytes, path: bytes, member: Member, data: Iterator[bytes]) -> None:
        # The set-uid, set-gid and sticky bits never come out of a bundle; the agent must be able to read what it installs.
        mode = member.mode & 0o777 | 0o400
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
        finally:
            os.close(descriptor)

    def _copy(self, name: bytes, path: bytes, member: Member) -> None:
        target = self._checked_name(member.link)
        if self._kinds.get(target) != "file":
            raise BundleRefused(
                "The bundle holds a hard link %s to %s, which is no file before it in the bundle."
                % (show(name), show(member.link))
            )
        source = os.path.join(self._root, target)
        found = os.lstat(source)
        with open(source, "rb") as file:
            blocks = iter(lambda: file.read(BLOCK), b"")
            self._file(name, path, member._replace(mode=stat.S_IMODE(found.st_mode), mtime=found.st_mtime), blocks)

    def _grow(self, size: int) -> None:
        self._written += size
        if self._written > self._limits.unpacked_bytes:
            raise BundleRefused("The bundle unpacks to more than %d bytes." % self._limits.unpacked_bytes)
        if self._written > max(RATIO_FLOOR, self._packed * self._limits.ratio):
            raise BundleRefused("The bundle unpacks to more than %d times its size." % self._limits.ratio)
        if self._written > self._free:
            raise BundleRefused("The disk is (or was) full during extraction.")

    def finish(self) -> bytes:
        """Check where links really lead, give directories their modes; the directory that is the revision's root."""
        root = self._root
        entries = os.listdir(root)
        # A bundle made of a folder instead of the folder's contents.
        if len(entries) == 1 and self._kinds.get(entries[0]) == "directory":
            inner = os.path.join(root, entries[0])
            if any(b"appspec" in entry for entry in os.listdir(inner)):
                root = inner
        real = os.path.realpath(root)
        for name, kind in self._kinds.items():
            if kind == "symlink":
                path = os.path.join(self._root, name)
                leads = os.path.realpath(path)
                if leads != real and not leads.startswith(real + b"/"):
                    raise BundleRefused(
                        "The symbolic link %s leads out of the bundle, to %s." % (show(name), show(os.readlink(path)))
                    )
        for name in sorted(self._directories, reverse=True):
            mode, mtime = self._directories[name]
            path = os.path.join(self._root, name)
            os.chmod(path, mode & 0o777 | 0o700)
            if mtime is not None:
                os.utime(path, (mtime, mtime))
        return root


def _folded(name: bytes) -> BundleRefused:
    return BundleRefused(
        "The bundle holds %s, which this file system does not tell from another of its names." % show(name)
    )


def unpack(bundle: str, kind: str, into: str, limits: Limits) -> str:
    """Unpack `bundle` (tar, tgz or zip) into the new directory `into`; the path of the revision's root inside it.

    Raises:
        BundleRefused: the archive is damaged, hostile or over a limit. What was written is left for the caller.
    """
    os.mkdir(into, 0o755)
    unpacker = Unpacker(into, os.path.getsize(bundle), limits)
    try:
        with open(bundle, "rb") as file:
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
        import errno

        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BundleRefused("The disk is (or was) full during extraction.") from error
        raise BundleRefused("The bundle cannot be unpacked: %s." % (error.strerror or error)) from error


def copy_directory(source: str, into: str, limits: Limits) -> str:
    """Copy a local directory under the same rules as an archive; the path of the copy."""
    os.mkdir(into, 0o755)
    if os.path.realpath(into).startswith(os.path.join(os.path.realpath(source), "")):
        raise BundleRefused("The directory %s cannot be copied into itself, to %s." % (source, into))
    unpacker = Unpacker(into, limits.unpacked_bytes, limits)
    base = os.fsencode(source)
    pending = [b""]
    try:
        while pending:
            relative = pending.pop()
            for entry in sorted(os.scandir(os.path.join(base, relative)), key=lambda each: each.name):
                name = os.path.join(relative, entry.name)
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    unpacker.add(Member(name, "symlink", 0o777, 0, os.readlink(entry.path)), iter(()))
                elif stat.S_ISDIR(found.st_mode):
                    unpacker.add(Member(name, "directory", found.st_mode, found.st_mtime), iter(()))
                    pending.append(name)
                elif stat.S_ISREG(found.st_mode):
                    with open(entry.path, "rb") as file:
                        blocks = iter(lambda file=file: file.read(BLOCK), b"")
                        unpacker.add(Member(name, "file", found.st_mode, found.st_mtime), blocks)
                else:
                    raise BundleRefused("The directory holds %s, which is no file, directory or link." % show(name))
        unpacker.finish()
    except OSError as error:
        raise BundleRefused("The directory %s cannot be copied: %s." % (source, error)) from error
    return into
