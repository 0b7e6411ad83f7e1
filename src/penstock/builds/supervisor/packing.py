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

from globs import compiled, covers, is_literal, matches  # pyright: ignore[reportMissingImports]

MAX_FILES = 1_000_000
_EARLIEST, _LATEST = 315_532_800, 4_354_819_198  # 1980 and the end of 2107: the years that a zip can write


class NothingMatched(Exception):
    """No file matched. Its text is the message of the phase."""


def pack(target: IO[bytes], spec: dict, *, source: str, compress: bool, say) -> int:  # noqa: ANN001
    """Write one artifact's files to the zip `target`; how many they are. Raises NothingMatched.

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
    """Names inside the artifact → paths. Raises NothingMatched."""
    base = str(spec.get("base_directory") or ".")
    say(f"Expanding base directory path: {base}")
    say("Assembling file list")
    say(f"Expanding {base}")
    roots = _directories(base, source)
    if not roots:
        raise NothingMatched(f"no matching base directory path found for {base}")
    say(f"Expanding file paths for base directory {base}")
    say("Assembling file list")
    found: dict[str, str] = {}
    for pattern in spec["files"]:
        say(f"Expanding {pattern}")
        count = 0
        for root in roots:
            for name, path in _files(root, pattern, links=bool(spec.get("enable_symlinks"))):
                if not any(covers(excluded, name) for excluded in spec.get("exclude_paths", [])):
                    count += 1
                    found.setdefault(name.rsplit("/", 1)[-1] if spec.get("discard_paths") else name, path)
        say(f"Found {count} file(s)" if count else f"Skipping invalid file path {pattern}")
    if not found:
        raise NothingMatched("no matching artifact paths found")
    return found


def _directories(base: str, source: str) -> list[str]:
    path = os.path.join(source, base)
    if is_literal(base):
        return [path] if os.path.isdir(path) else []
    anchor = "/" if base.startswith("/") else source
    return sorted(path for name, path in _walk(anchor, base, folders=True) if name)


def _files(root: str, pattern: str, *, links: bool) -> list[tuple[str, str]]:
    """Files below `root` that a pattern matches, by their relative name."""
    if pattern.startswith("/"):
        inside = os.path.relpath(pattern, root)
        if inside.startswith(".."):
            return [(name, path) for name, path in _matching("/", pattern.lstrip("/"), links=links)]
        pattern = inside
    if ".." in pattern.split("/"):
        normal = os.path.normpath(pattern)
        if normal.startswith(".."):
            return []
        pattern = normal
    return _matching(root, pattern, links=links)


def _matching(root: str, pattern: str, *, links: bool) -> list[tuple[str, str]]:
    """A link to a folder is no file, unless links are kept as what they are."""
    if is_literal(pattern):
        name = os.path.normpath(pattern)
        path = os.path.join(root, name)
        link = os.path.islink(path) and (links or not os.path.isdir(path))
        return [(name, path)] if link or os.path.isfile(path) else []
    return sorted(_walk(root, pattern, folders=False, links=links))


def _walk(root: str, pattern: str, *, folders: bool, links: bool = False) -> list[tuple[str, str]]:
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
            raise NothingMatched(f"the pattern {pattern} reaches more than {MAX_FILES} files")
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            folder_itself = entry.is_dir(follow_symlinks=False)
            if folder_itself and (endless or depth + 1 < deepest):
                waiting.append((name, entry.path, depth + 1))
            folder = _leads_to_folder(entry) and not (links and entry.is_symlink())
            if folder is folders and matches(pattern, name):
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
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) and not links:
            status = os.stat(path)
    except OSError as error:
        say(f"Skipping {name}: {error.strerror}")
        return
    info = zipfile.ZipInfo(_clean(name), time.gmtime(min(max(status.st_mtime, _EARLIEST), _LATEST))[:6])
    info.external_attr = (status.st_mode & 0xFFFF) << 16
    info.compress_type = archive.compression
    if stat.S_ISLNK(status.st_mode):
        archive.writestr(info, os.readlink(path))
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as source, archive.open(info, "w", force_zip64=status.st_size > 2**31) as sink:
            while chunk := source.read(1 << 20):
                sink.write(chunk)
    else:
        say(f"Skipping {name}: it is not a regular file")


def _clean(name: str) -> str:
    """A name that zip can hold: undecodable bytes are replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
