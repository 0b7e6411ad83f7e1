"""Gathers a build's artifacts, as the build itself would see them, into zip files outside of its reach.

Runs in a child that has entered the build's root (and given up the host's), so that a symbolic link of a hostile build
resolves inside of the build's own world.
"""

from __future__ import annotations

import os
import stat
import time
import zipfile
from typing import IO

from penstock.builds.supervisor.globs import compiled, covers, is_literal, matches

MAX_FILES = 1_000_000
_EARLIEST, _LATEST = 315_532_800, 4_354_819_198  # 1980 and the end of 2107: the years that a zip can write
_UTF8 = 0x800


class PackingFailed(Exception):
    """No file matched, or one cannot be read. Its text is the message of the phase."""


def pack(target: IO[bytes], spec: dict, *, source: str, compress: bool, say) -> int:  # noqa: ANN001
    """Write one artifact's files to the zip `target`; how many they are. Raises PackingFailed.

    `spec` is an ArtifactSpec as JSON whose patterns have their variables filled in; `source` is the primary source's directory.
    """
    with zipfile.ZipFile(
        target,
        "w",
        zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED,
        compresslevel=3,
        strict_timestamps=False,
    ) as archive:
        chosen = select(spec, source=source, say=say)
        for name, path in chosen.items():
            _add(archive, name, path, links=bool(spec.get("enable_symlinks")), say=say)
        return len(chosen)


def select(spec: dict, *, source: str, say) -> dict[str, str]:  # noqa: ANN001
    """Names inside the artifact → paths. Raises PackingFailed."""
    base = str(spec.get("base_directory") or ".")
    say(f"Expanding base directory path: {base}")
    say("Assembling file list")
    say(f"Expanding {base}")
    roots = _directories(base, source)
    if not roots:
        raise PackingFailed(f"no matching base directory path found for {base}")
    say(f"Expanding file paths for base directory {base}")
    say("Assembling file list")
    found: dict[str, str] = {}
    for pattern in spec["files"]:
        say(f"Expanding {pattern}")
        count = 0
        for root in roots:
            for name, path in _files(root, pattern):
                if any(covers(excluded, name) for excluded in spec.get("exclude_paths", [])):
                    continue
                count += 1
                packed = name.rsplit("/", 1)[-1] if spec.get("discard_paths") else name
                if found.setdefault(packed, path) != path:
                    say(f"Skipping {path}: the artifact has a file {packed} already, {found[packed]}")
        say(f"Found {count} file(s)" if count else f"Skipping invalid file path {pattern}")
    if not found:
        raise PackingFailed("no matching artifact paths found")
    return found


def _directories(base: str, source: str) -> list[str]:
    path = os.path.join(source, base)
    if is_literal(base):
        return [path] if os.path.isdir(path) else []
    anchor = "/" if base.startswith("/") else source
    return sorted(path for name, path in _walk(anchor, base, folders=True) if name)


def _files(root: str, pattern: str) -> list[tuple[str, str]]:
    """Files below `root` that a pattern matches, by their relative name."""
    if pattern.startswith("/"):
        inside = os.path.relpath(pattern, root)
        if inside.startswith(".."):
            return [(name, path) for name, path in _matching("/", pattern.lstrip("/"))]
        pattern = inside
    if ".." in pattern.split("/"):
        normal = os.path.normpath(pattern)
        if normal.startswith(".."):
            return []
        pattern = normal
    return _matching(root, pattern)


def _matching(root: str, pattern: str) -> list[tuple[str, str]]:
    """Files and links, wherever the links lead."""
    if is_literal(pattern):
        name = os.path.normpath(pattern)
        path = os.path.join(root, name)
        return [(name, path)] if os.path.islink(path) or os.path.isfile(path) else []
    return sorted(_walk(root, pattern, folders=False))


def _walk(root: str, pattern: str, *, folders: bool) -> list[tuple[str, str]]:
    """Walk `root` no deeper than the pattern reaches; links to folders are not followed."""
    alternatives = compiled(pattern)
    deepest = max((len(parts) for parts in alternatives), default=0)
    endless = any("**" in parts for parts in alternatives)
    prefix = [] if len(alternatives) != 1 else _literal_prefix(alternatives[0])
    start = os.path.join(root, *prefix)
    found: list[tuple[str, str]] = []
    waiting = [("/".join(prefix), start, len(prefix))]
    seen = 0
    while waiting:
        below, folder, depth = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        seen += len(entries)
        if seen > MAX_FILES:
            raise PackingFailed(f"the pattern {pattern} reaches more than {MAX_FILES} files")
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            folder_itself = entry.is_dir(follow_symlinks=False)
            if folder_itself and (endless or depth + 1 < deepest):
                waiting.append((name, entry.path, depth + 1))
            if (_leads_to_folder(entry) if folders else not folder_itself) and matches(pattern, name):
                found.append((name, entry.path))
    return found


def _leads_to_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where the build may not look
        return False


def _literal_prefix(parts: list[str]) -> list[str]:
    kept: list[str] = []
    for part in parts[:-1]:
        if not is_literal(part):
            break
        kept.append(part)
    return kept


def _add(archive: zipfile.ZipFile, name: str, path: str, *, links: bool, say) -> None:  # noqa: ANN001
    """Write one file. A link is followed unless `links` are kept; one that leads to no file is kept in any case."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) and not links:
            status = _followed(path) or status
    except OSError as error:
        say(f"Skipping {name}: {error.strerror}")
        return
    info = _Info(name, time.gmtime(min(max(status.st_mtime, _EARLIEST), _LATEST))[:6])
    info.external_attr = (status.st_mode & 0xFFFF) << 16
    info.compress_type = archive.compression
    if stat.S_ISLNK(status.st_mode):
        archive.writestr(info, os.fsencode(os.readlink(path)))
    elif stat.S_ISREG(status.st_mode):
        with _opened(path, name) as source, archive.open(info, "w", force_zip64=status.st_size > 2**31) as sink:
            while chunk := source.read(1 << 20):
                sink.write(chunk)
    else:
        say(f"Skipping {name}: it is not a regular file")


def _opened(path: str, name: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise PackingFailed(f"the artifact's file {name} cannot be read: {error.strerror}") from None


def _followed(path: str) -> os.stat_result | None:
    """The regular file that a link leads to; None for a folder, a device, nothing, what may not be read, or a link to itself."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK) else None


class _Info(zipfile.ZipInfo):
    """An entry whose name is written byte for byte as the file system has it, with the flag for UTF-8 when it is UTF-8."""

    __slots__ = ()

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile calls it so
        name = os.fsencode(self.filename)
        if name.isascii():
            return name, self.flag_bits
        try:
            name.decode("utf-8")
        except UnicodeDecodeError:
            return name, self.flag_bits & ~_UTF8
        return name, self.flag_bits | _UTF8
