"""A commit's files as a zip archive: counted before they are packed, and each as it was committed."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from penstock.repositories.errors import CommitTooLargeException
from penstock.repositories.git import Git, GitFailed

_CHUNK = 64 << 10
_LONGEST = 4096 + 100  # bytes of an entry's line: no file system has longer paths
_SECONDS = 1200.0

# The attributes of a repository change what `git archive` writes: files are left out (export-ignore), commit ids are filled in
# (export-subst), line ends and encodings are converted. A source is what was committed, as a clone has it.
_ATTRIBUTES = "* -export-ignore -export-subst -text -ident -filter !working-tree-encoding\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a commit may hold to be packed."""

    entries: int  # files, folders, links and submodules
    size: int  # bytes


async def count(git: Git, folder: Path, commit: str, bounds: Bounds) -> None:
    """Count a commit's tree without unpacking it. Raises CommitTooLargeException as soon as it is too much, or GitFailed.

    A tree of few bytes can have more entries than can be counted, since folders may be the same object. Folders count as entries:
    a tree of nothing but empty folders would otherwise be walked without end.
    """
    arguments = ("-C", str(folder), "ls-tree", "-r", "-t", "-z", "--long", commit)
    entries = size = 0
    async with asyncio.timeout(_SECONDS), git.running(*arguments, bounded=True) as child:
        assert child.stdout is not None
        complaining = asyncio.ensure_future(git.finish(child))
        try:
            held = b""
            while chunk := await child.stdout.read(_CHUNK):
                *lines, held = (held + chunk).split(b"\0")
                entries += len(lines)
                size += sum(_size(line) for line in lines)
                if entries > bounds.entries:
                    raise CommitTooLargeException(
                        f"The commit {commit} has more than {bounds.entries} files and folders. "
                        "The server's option --source-entries raises this limit"
                    )
                if size > bounds.size:
                    raise CommitTooLargeException(
                        f"The files of the commit {commit} have more than {bounds.size / 1024**3:g} GiB. "
                        "The server's option --source-gib raises this limit"
                    )
                if max(map(len, (*lines, held))) > _LONGEST:
                    raise CommitTooLargeException(f"The commit {commit} has a path that is too long for a file")
            code, complaint = await complaining
        finally:
            complaining.cancel()
    if code != 0:
        raise GitFailed(complaint)


def _size(line: bytes) -> int:
    """Bytes of an entry: its content and its path, which a deep tree repeats in each."""
    fields, _, path = line.partition(b"\t")
    content = fields.rsplit(b" ", 1)[-1]
    return (int(content) if content.isdigit() else 0) + len(path)


async def pack(git: Git, folder: Path, commit: str, file: IO[bytes], *, temporary: Path) -> None:
    """Write the zip archive of a commit to a file. The same commit gives the same bytes. Raises GitFailed."""
    with tempfile.TemporaryDirectory(dir=temporary, prefix="git-") as made:
        # A Git directory of our own around the repository's objects: its attributes come before those of the tree.
        own = Path(made)
        for name in ("refs", "info", "objects"):
            (own / name).mkdir()
        (own / "HEAD").write_text("ref: refs/heads/main\n")
        (own / "info" / "attributes").write_text(_ATTRIBUTES)
        environment = {"GIT_OBJECT_DIRECTORY": str(folder / "objects")}
        arguments = (f"--git-dir={own}", "archive", "--format=zip", commit)
        async with git.running(*arguments, environment=environment, stdout=file, bounded=True) as child:
            code, complaint = await git.finish(child, seconds=_SECONDS)
    if code != 0:
        raise GitFailed(complaint)
