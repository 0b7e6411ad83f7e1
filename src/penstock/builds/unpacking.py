"""Unpacks source bundles from outside: nothing leaves the target folder, and size, number and nesting are bounded."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from penstock.builds.errors import PhaseFailed

MAX_ENTRIES = 200_000
MAX_BYTES = 16 * 1024**3  # unpacked
MAX_RATIO = 400  # of a bundle of more than 10 MiB unpacked
_SMALL = 10 * 1024**2
_CHUNK = 1 << 20
_LINK = 4096  # bytes of a link's destination: no file system keeps more


class UnsafeBundle(PhaseFailed):
    """The bundle is refused, in words."""


def unpack(bundle: Path, target: Path) -> int:
    """Unpack a zip file below `target`, which exists; how many files. Raises UnsafeBundle."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            return _unpack(archive, target, bundle.stat().st_size)
    except zipfile.BadZipFile as error:
        raise UnsafeBundle(f"The source is not a zip file: {error}") from None
    except (NotImplementedError, RuntimeError) as error:  # encrypted, or packed in a way that zipfile does not know
        raise UnsafeBundle(f"The source zip cannot be read: {error}") from None
    except OSError as error:  # its text has paths of this host
        raise UnsafeBundle(f"The source zip cannot be unpacked: {error.strerror}") from None
    except (ValueError, EOFError, zlib.error, lzma.LZMAError, struct.error) as error:
        raise UnsafeBundle(f"The source zip cannot be unpacked: {error}") from None


def _unpack(archive: zipfile.ZipFile, target: Path, packed: int) -> int:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise UnsafeBundle(f"The source zip has more than {MAX_ENTRIES} entries")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES:
        raise UnsafeBundle(f"The source zip unpacks to more than {MAX_BYTES // 1024**3} GiB")
    if total > _SMALL and total > packed * MAX_RATIO:
        raise UnsafeBundle("The source zip unpacks to an implausible size")
    left = total
    links: list[tuple[Path, str]] = []
    files = 0
    for entry in entries:
        path = target / _name(entry.filename)
        mode = entry.external_attr >> 16
        if entry.is_dir():
            path.mkdir(parents=True, exist_ok=True)
        elif stat.S_ISLNK(mode):
            if entry.file_size > _LINK:
                raise UnsafeBundle(f"The source zip holds a link of implausible length: {path.name[:200]!r}")
            links.append((path, archive.read(entry).decode("utf-8", "surrogateescape")))
        elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
            path.parent.mkdir(parents=True, exist_ok=True)
            left = _write(archive, entry, path, left)
            path.chmod(0o755 if mode & 0o100 else 0o644)
            files += 1
        else:
            raise UnsafeBundle(f"The source zip holds {entry.filename[:200]!r}, which is neither file, folder nor link")
    # Links come last, so that no file is ever written through one.
    for path, destination in links:
        _link(path, destination, target)
    return files + len(links)


def _name(name: str) -> Path:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or not parts or len(name) > 4096:
        raise UnsafeBundle(f"The source zip holds the unsafe name {name[:200]!r}")
    return Path(*parts)


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    with archive.open(entry) as source, path.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise UnsafeBundle("The source zip unpacks to more than it says")
            sink.write(chunk)
    return left


def _link(path: Path, destination: str, target: Path) -> None:
    inside = os.path.normpath(path.parent.relative_to(target) / destination)
    if destination.startswith("/") or inside == ".." or inside.startswith("../") or "\0" in destination:
        raise UnsafeBundle(f"The source zip holds a link out of the source: {path.name[:200]!r}")
    for parent in path.relative_to(target).parents:
        if (target / parent).is_symlink():
            raise UnsafeBundle(f"The source zip holds a link below a link: {path.name[:200]!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        raise UnsafeBundle(f"The source zip holds {path.name[:200]!r} twice")
    path.symlink_to(destination)
