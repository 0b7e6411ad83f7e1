"""Git itself, as child processes: scrubbed environment, bounded pipes, an end to every one of them.

Nothing here trusts a repository's own configuration or hooks: settings are given with each command.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from penstock import children, durable
from penstock.pools import FILES
from penstock.repositories.names import is_commit_id

MAX_PUSH = 2 << 30  # bytes that one push may send, unless told otherwise
MAX_MEMORY = 2 << 30  # bytes that the child which takes a push in may have
SECONDS = 3600.0  # longest life of a child
_CHUNK = 64 << 10
_AT_ONCE = 32  # children of one process; more wait

_SETTINGS = (
    "core.bigFileThreshold=64m",  # a larger file is streamed, not held in memory
    "core.hooksPath=/dev/null",
    "core.fsync=committed,loose-object,reference",  # a reference is durable before its row is
    "core.logAllRefUpdates=false",
    "gc.auto=0",  # tidied by a job of ours, never in the wake of a push
    "receive.autogc=false",
    "receive.fsckObjects=true",
    # Old histories have these harmless faults; refusing them would lock real repositories out (as every host knows).
    "receive.fsck.badTimezone=ignore",
    "receive.fsck.missingSpaceBeforeDate=ignore",
    "receive.fsck.zeroPaddedFilemode=ignore",
    "receive.unpackLimit=1",
    "receive.advertisePushOptions=false",
    "receive.denyCurrentBranch=ignore",
    "receive.denyDeleteCurrent=refuse",  # git's default too, which it explains to its pushers as if they could change it
    "safe.directory=*",
    "uploadpack.allowFilter=true",
    "uploadpack.allowAnySHA1InWant=true",
    "uploadpack.keepAlive=5",
)


_DISK = {os.strerror(code): code for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)}


def _failure(complaint: str) -> Exception:
    """What git's complaint means: a fault of the disk may be over at the next try, anything else is git's own."""
    return next((OSError(code, text) for text, code in _DISK.items() if text in complaint), GitFailed(complaint))


class GitFailed(Exception):
    """A git command ended with an error; the message is the start of git's own."""


class GitMissing(Exception):
    """git is not installed."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a reference points."""

    object: str  # a commit, or a tag's own object
    commit: str  # what it leads to


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit, as it is written."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: str  # Name <mail> seconds zone
    committer: str
    message: str


class Git:
    """Runs git on the repositories of one installation."""

    def __init__(self, folder: Path, *, max_push: int = MAX_PUSH, max_memory: int = MAX_MEMORY) -> None:
        self._folder = folder  # the home of commands that have no repository
        self.max_push = max_push  # bytes
        self.max_memory = max_memory  # bytes
        self._program = shutil.which("git")
        self._room = asyncio.Semaphore(_AT_ONCE)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """All that a child knows of the world."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),  # where git finds its own parts
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            # Anyone who may push may write refs/replace/: a commit id must keep meaning the commit that it names.
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            **(more or {}),
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line of a git command. Raises GitMissing."""
        if self._program is None:
            raise GitMissing("git is not installed on the server")
        bounds = (f"receive.maxInputSize={self.max_push}",)
        settings = (part for setting in (*_SETTINGS, *bounds) for part in ("-c", setting))
        return [self._program, *settings, *arguments]

    @contextlib.asynccontextmanager
    async def running(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | int = asyncio.subprocess.PIPE,
        keep: tuple[int, ...] = (),
        bounded: bool = False,
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A child within the block; killed and reaped when the block ends before it.

        It reads the file `stdin` from its beginning. `keep` are file descriptors that it inherits. A `bounded` one, and what
        it starts, fails when it wants more memory than it may have.
        """
        command = self.command(*arguments)
        if bounded:
            # Before git runs: what it starts in the meantime would go without the bound.
            command = ["/bin/sh", "-c", 'ulimit -d "$0" && exec "$@"', str(self.max_memory >> 10), *command]
        if stdin is not None:  # the child shares the descriptor's place, not our buffer's
            stdin.flush()
            os.lseek(stdin.fileno(), 0, os.SEEK_SET)
        async with self._room:
            child = await asyncio.create_subprocess_exec(
                *command,
                env=self.environment(environment),
                cwd=self._folder,
                stdin=stdin if stdin is not None else asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
                limit=_CHUNK,
                pass_fds=keep,
                start_new_session=True,
            )
            try:
                yield child
            finally:
                await children.end(child)

    async def finish(self, child: asyncio.subprocess.Process, *, seconds: float = SECONDS) -> tuple[int, str]:
        """Wait for a child whose output goes elsewhere: its exit code and the head of what it complained."""
        assert child.stderr is not None
        async with asyncio.timeout(seconds):
            complaint = await _head(child.stderr, 4096)
            return await child.wait(), complaint.decode(errors="replace").strip()

    async def output(self, *arguments: str, limit: int = 16 << 20, seconds: float = 60) -> bytes:
        """What a command prints. Raises GitFailed for its errors, and for more than `limit` bytes."""
        async with self.running(*arguments) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            complaining = asyncio.ensure_future(_head(child.stderr, 4096))
            try:
                async with asyncio.timeout(seconds):
                    printed = await _head(child.stdout, limit + 1)
                    code = await child.wait()
                    complaint = await complaining
            finally:
                complaining.cancel()
        if len(printed) > limit:
            raise GitFailed("git printed more than is looked at")
        if code != 0:
            raise _failure(complaint.decode(errors="replace").strip()[:500] or f"git ended with code {code}")
        return printed

    async def create(self, folder: Path) -> None:
        """Make an empty bare repository, on disk when this returns."""
        await FILES.run(durable.make_folder, folder.parent)
        await self.output("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(folder))
        await FILES.run(durable.sync_tree, folder)

    async def references(self, folder: Path) -> dict[str, Pointer]:
        """Every reference below refs/ by its full name."""
        form = "%(objectname) %(*objectname) %(refname)"
        printed = await self.output("-C", str(folder), "for-each-ref", f"--format={form}", limit=256 << 20)
        found: dict[str, Pointer] = {}
        # Not splitlines(): a name may have what Unicode takes for the end of a line.
        for line in printed.decode("utf-8", "surrogateescape").split("\n")[:-1]:
            named, _, rest = line.partition(" ")
            peeled, _, name = rest.partition(" ")
            found[name] = Pointer(named, peeled or named)
        return found

    async def head(self, folder: Path) -> str:
        """The full name of the default branch, which need not exist."""
        return (await self.output("-C", str(folder), "symbolic-ref", "HEAD")).decode().strip()

    async def set_head(self, folder: Path, reference: str) -> None:
        """Choose the default branch."""
        # Not by git's symbolic-ref, which renames the file before its bytes are on disk: without HEAD there is no repository.
        await FILES.run(durable.write, folder / "HEAD", f"ref: {reference}\n".encode())

    async def commit(self, folder: Path, commit_id: str) -> Commit | None:
        """A commit by its id; None when it is missing, or when another kind of object has that id."""
        assert is_commit_id(commit_id)
        try:
            # `cat-file commit` follows a tag to what it names, which has another id.
            if await self.output("-C", str(folder), "cat-file", "-t", commit_id) != b"commit\n":
                return None
            written = await self.output("-C", str(folder), "cat-file", "commit", commit_id, limit=8 << 20)
        except GitFailed:
            return None
        return read_commit(commit_id, written)


def read_commit(commit_id: str, written: bytes) -> Commit:
    """Take a commit object apart."""
    head, _, message = written.partition(b"\n\n")
    fields: dict[str, list[bytes]] = {}
    for line in head.split(b"\n"):
        if line.startswith(b" "):  # continues a signature
            continue
        key, _, value = line.partition(b" ")
        fields.setdefault(key.decode("ascii", "replace"), []).append(value)
    encoding = fields.get("encoding", [b"utf-8"])[0].decode("ascii", "replace")
    if encoding.strip().lower() in ("punycode", "idna"):
        encoding = "utf-8"  # Python knows them too; decoding takes quadratic time, and no commit is written in them

    def text(raw: bytes) -> str:
        try:
            written = raw.decode(encoding)
        except (LookupError, UnicodeError):  # not only of decoding: Python knows an encoding "undefined"
            written = raw.decode(errors="replace")
        # Some encodings write halves of surrogate pairs and NUL, which no answer and no database can hold.
        return written.encode(errors="replace").decode().replace("\0", "")

    return Commit(
        id=commit_id,
        tree=fields.get("tree", [b""])[0].decode("ascii", "replace"),
        parents=tuple(parent.decode("ascii", "replace") for parent in fields.get("parent", [])),
        author=text(fields.get("author", [b""])[0]),
        committer=text(fields.get("committer", [b""])[0]),
        message=text(message),
    )


async def _head(stream: asyncio.StreamReader, limit: int) -> bytes:
    """At most `limit` bytes; the rest is read and thrown away, so that the child does not wait for us."""
    parts: list[bytes] = []
    size = 0
    while chunk := await stream.read(_CHUNK):
        if size < limit:
            parts.append(chunk[: limit - size])
            size += len(parts[-1])
    return b"".join(parts)
