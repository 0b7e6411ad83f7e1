"""Reads the buildspec as a file: of a source, or fetched from S3. When it is not there, the message names the file that was probably meant."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from penstock.builds.documents import MAX_BYTES
from penstock.builds.errors import PhaseFailed
from penstock.zips import printable

YAML_ERROR = "YAML_FILE_ERROR"
_LISTED = 1000  # entries of a folder that are looked at for a suggestion
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, name: str) -> str:
    """The text of a buildspec, UTF-8, or UTF-16 with a byte order mark. Raises PhaseFailed."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PhaseFailed(f"The buildspec {name} is larger than {MAX_BYTES // 1024} KiB", code=YAML_ERROR)
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PhaseFailed(
            f"The buildspec {name} is not written in UTF-8: byte 0x{data[error.start]:02x} at line {line}. Save it as UTF-8",
            code=YAML_ERROR,
        ) from None


def read_below(root: Path, name: str, display_path: str) -> str:
    """A file of the source; links may not lead out of it. Raises PhaseFailed."""
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise PhaseFailed(f"The buildspec {name} is outside of the source", code=YAML_ERROR)
        found, folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:  # a name too long; links in a circle (a RuntimeError until Python 3.13)
        reason = error.strerror if isinstance(error, OSError) else "too many levels of symbolic links"
        raise PhaseFailed(f"stat {display_path[:200]}: {reason}", code=YAML_ERROR) from None
    if folder:
        raise PhaseFailed(f"The buildspec {name} is a folder of the source, not a file", code=YAML_ERROR)
    if not found:
        raise PhaseFailed(f"stat {display_path}: no such file or directory{_suggestion(root, name)}", code=YAML_ERROR)
    return read_text(path, name)


def _suggestion(root: Path, name: str) -> str:
    """A sentence about a file that is nearly the one that was asked for, or about what the source holds instead."""
    wanted, plain = _plain(Path(name).name), "/" not in name
    top = list(_names(root / Path(name).parent))
    if not top:
        return ". The source is empty" if plain else ""
    for other in top:
        if _plain(other) == wanted:
            path = printable(os.fsencode(Path(name).parent / other))
            return f". The source has {path}: rename it, or name it as the buildspec of the project"
    for folder in top if plain else ():
        for other in _names(root / folder):
            if _plain(other) == wanted:
                path = printable(os.fsencode(Path(folder) / other))
                return f". The source has {path}: pack what is inside of its folder, or name it as the buildspec of the project"
    return ""


def _plain(name: str) -> str:
    return name.lower().removesuffix(".yaml").removesuffix(".yml")


def _names(folder: Path) -> Iterator[str]:
    try:
        # What a commit leaves beside its files says nothing about them.
        yield from itertools.islice((name for name in os.listdir(folder) if name != ".git"), _LISTED)  # noqa: PTH208
    except OSError:
        return
