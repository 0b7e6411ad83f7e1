"""Unpacks source bundles from outside: nothing leaves the target folder, and size, number and nesting are bounded.

Links are content: they are kept wherever they lead, and nothing is ever written through one.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.application import Settings
from penstock.builds.errors import PhaseFailed
from penstock.zips import MAX_NAME, BadZip, Entry, ZipReader, printable

_SLICE_S = 0.005
_SMALL = 10 * 1024**2  # bytes that any bundle may unpack to, however small it is


class UnsafeBundle(PhaseFailed):
    """The bundle is refused; its text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a source may hold. The names of the settings stand in every refusal."""

    entries: int = 200_000  # files, folders and links
    size: int = 16 * 1024**3  # bytes unpacked
    ratio: int = 400  # unpacked to packed

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        """Those of an installation."""
        return cls(entries=settings.source_entries, size=settings.source_gib * 1024**3, ratio=settings.source_ratio)

    def check(self, what: str, *, entries: int, size: int) -> None:
        """Raises UnsafeBundle for more than a source may hold; `what` is its name in the message."""
        if entries > self.entries:
            raise UnsafeBundle(
                f"{what} has more than {self.entries} entries. The server's option --source-entries raises this limit"
            )
        if size > self.size:
            raise UnsafeBundle(
                f"{what} unpacks to more than {self.size / 1024**3:g} GiB. "
                "The server's option --source-gib raises this limit"
            )

    def check_ratio(self, what: str, *, size: int, packed: int) -> None:
        """Raises UnsafeBundle for what unpacks to much more than it is."""
        if size > _SMALL and size > packed * self.ratio:
            raise UnsafeBundle(
                f"{what} unpacks to more than {self.ratio} times its size, which is not plausible. "
                "The server's option --source-ratio raises this limit"
            )


DEFAULT = Bounds()


def unpack(bundle: Path, target: Path, bounds: Bounds = DEFAULT) -> int:
    """Unpack a zip file below `target`, an empty folder; how many files and links. Raises UnsafeBundle.

    Of entries with one name the last counts.
    """
    try:
        # Two places in one file: the directory is read on while entries are unpacked.
        with bundle.open("rb") as directory, bundle.open("rb") as contents:
            listing, reader = ZipReader(directory), ZipReader(contents)
            bounds.check("The source zip", entries=listing.count, size=0)
            total = sum(entry.size for entry in listing.entries())
            bounds.check("The source zip", entries=0, size=total)
            bounds.check_ratio("The source zip", size=total, packed=bundle.stat().st_size)
            tree = Tree(target, bounds)
            return sum(_put(tree, reader, entry) for entry in _with_pauses(listing.entries()))
    except BadZip as error:
        raise UnsafeBundle(
            f"The source is not a zip archive that can be read: {error}. Pack it anew as a zip archive, as `zip -r` does"
        ) from None
    except OSError as error:  # its text has paths of this host
        raise UnsafeBundle(f"The source zip cannot be unpacked: {error.strerror}") from None


def _with_pauses(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, with pauses as long as the work on them: the event loop takes turns with this thread."""
    began = time.perf_counter()
    for entry in entries:
        yield entry
        took = time.perf_counter() - began
        if took > _SLICE_S:
            time.sleep(took)
            began = time.perf_counter()


def _put(tree: Tree, reader: ZipReader, entry: Entry) -> int:
    kind = stat.S_IFMT(entry.mode)
    parts = _parts(entry)
    try:
        if entry.folder:
            tree.folder(parts)
            return 0
        if kind == stat.S_IFLNK:
            if entry.size >= MAX_NAME:
                raise UnsafeBundle(f"The source zip holds a link of implausible length: {printable(entry.name)}")
            tree.link(parts, b"".join(reader.data(entry)))
        elif kind in (0, stat.S_IFREG):
            tree.file(parts, reader.data(entry), executable=bool(entry.mode & 0o100))
        else:
            raise UnsafeBundle(f"The source zip holds {printable(entry.name)}, which is neither file, folder nor link")
    except OSError as error:
        raise UnsafeBundle(f"The source zip cannot be unpacked: {error.strerror} at {printable(entry.name)}") from None
    return 1


def _parts(entry: Entry) -> list[bytes]:
    name = entry.name
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if name.startswith(b"/") or b".." in parts or b"\0" in name or not (parts or entry.folder):
        raise UnsafeBundle(f"The source zip holds the unsafe name {printable(name)}")
    return parts


class Tree:
    """A folder that entries are written below. Every parent is a folder made here, so that no link is followed."""

    def __init__(self, top: Path, bounds: Bounds) -> None:
        self._top = top
        self._bounds = bounds
        self._folders = {b""}
        self._made = 0

    def folder(self, parts: list[bytes]) -> Path:
        """Make a folder and those above it; its path. Raises UnsafeBundle, OSError."""
        known = len(parts)
        while known and b"/".join(parts[:known]) not in self._folders:
            known -= 1
        for end in range(known + 1, len(parts) + 1):
            name = b"/".join(parts[:end])
            path = self._top / os.fsdecode(name)
            self._count()
            try:
                path.mkdir()
            except FileExistsError:
                raise UnsafeBundle(
                    f"The source zip holds {printable(name)} as a file or link, and entries below it"
                ) from None
            path.chmod(0o755)
            self._folders.add(name)
        return self._top / os.fsdecode(b"/".join(parts))

    def file(self, parts: list[bytes], content: Iterable[bytes], *, executable: bool) -> None:
        """Write a file. Raises UnsafeBundle, OSError."""
        path = self._free(parts)
        with path.open("xb") as sink:
            os.fchmod(sink.fileno(), 0o755 if executable else 0o644)
            for chunk in content:
                sink.write(chunk)

    def link(self, parts: list[bytes], destination: bytes) -> None:
        """Make a symbolic link, wherever it leads. Raises UnsafeBundle, OSError."""
        if not destination or b"\0" in destination:
            raise UnsafeBundle(f"The source zip holds a link that leads nowhere: {printable(b'/'.join(parts))}")
        os.symlink(destination, os.fsencode(self._free(parts)))  # noqa: PTH211 - Path would tidy what the link says

    def _free(self, parts: list[bytes]) -> Path:
        """The path of a new file or link; an earlier one of that name goes."""
        self._count()
        path = self.folder(parts[:-1]) / os.fsdecode(parts[-1])
        if b"/".join(parts) in self._folders:
            raise UnsafeBundle(f"The source zip holds {printable(b'/'.join(parts))} both as a folder and as a file")
        path.unlink(missing_ok=True)
        return path

    def _count(self) -> None:
        self._made += 1
        # Each entry was counted before: this also counts the folders that long names make on their way.
        self._bounds.check("The source zip", entries=self._made, size=0)
