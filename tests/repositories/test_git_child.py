"""Git as a child process, without git where a stub says what git would: what is read of it, how it ends, and how much a commit holds."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from penstock_git_child import ScriptedGit, nothing_runs_but

from penstock.repositories import archives
from penstock.repositories import git as running_git
from penstock.repositories.archives import Bounds
from penstock.repositories.errors import CommitTooLargeException
from penstock.repositories.git import Git, GitFailed, GitMissing, Pointer


async def test_what_git_prints_is_read_to_its_limit():
    assert await ScriptedGit(b"x" * 10).output("a", limit=10) == b"x" * 10
    with pytest.raises(GitFailed, match=r"^git printed more than is looked at$"):
        await ScriptedGit(b"x" * 11).output("a", limit=10)
    assert len(await ScriptedGit(b"x" * (16 << 20)).output("a")) == 16 << 20
    with pytest.raises(GitFailed):
        await ScriptedGit(b"x" * ((16 << 20) + 1)).output("a")


@pytest.mark.parametrize(
    ("complaint", "code", "error", "said"),
    [
        (b"", 3, GitFailed, "git ended with code 3"),
        (b" fatal: no\n", 1, GitFailed, "fatal: no"),
        (b"x" * 5000, 1, GitFailed, "x" * 500),
        (b"error: No space left on device", 1, OSError, "[Errno 28] No space left on device"),
        (b"error: Input/output error", 1, OSError, "[Errno 5] Input/output error"),
    ],
)
async def test_what_git_died_of(complaint, code, error, said):
    with pytest.raises(error) as caught:
        await ScriptedGit(b"", complaint, code).output("a")
    assert str(caught.value) == said
    if error is OSError:
        assert caught.value.errno in (errno.ENOSPC, errno.EIO)


async def test_a_git_that_does_not_end_is_given_up_with_all_that_read_it():
    before = asyncio.all_tasks()
    silent = ScriptedGit(ends=False)
    with pytest.raises(TimeoutError):
        await silent.output("a", seconds=0.01)
    with pytest.raises(TimeoutError):
        async with silent.running("a") as child:
            await silent.finish(child, seconds=0.01)
    await nothing_runs_but(before)


async def test_how_a_child_is_started(monkeypatch, tmp_path):
    """Its bound of memory, its place in the input, what it inherits, and no more than 32 of them at a time."""
    started = []

    async def start(*command, **more):
        started.append((command, more))
        return SimpleNamespace(pid=1, returncode=0)

    async def end(_child):
        pass

    monkeypatch.setattr(running_git.asyncio, "create_subprocess_exec", start)
    monkeypatch.setattr(running_git.children, "end", end)
    git = Git(tmp_path, max_push=123, max_memory=5 << 20)
    with (tmp_path / "in").open("w+b") as body:
        body.write(b"abc")
        async with git.running("a", "b", stdin=body, keep=(7,), bounded=True, environment={"X": "y"}):
            assert (tmp_path / "in").read_bytes() == b"abc"
            assert os.lseek(body.fileno(), 0, os.SEEK_CUR) == 0
    command, more = started.pop()
    assert command[:4] == ("/bin/sh", "-c", 'ulimit -d "$0" && exec "$@"', "5120")
    assert command[-4:] == ("-c", "receive.maxInputSize=123", "a", "b")
    assert (more["env"]["X"], more["env"]["HOME"]) == ("y", str(tmp_path))
    assert (more["pass_fds"], more["start_new_session"], more["limit"]) == ((7,), True, 64 << 10)
    async with git.running("a"):
        assert started.pop()[1]["stdin"] == asyncio.subprocess.DEVNULL
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(32):
            await stack.enter_async_context(git.running("a"))
        waiting = asyncio.ensure_future(stack.enter_async_context(git.running("a")))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(started) == 32
        assert not waiting.done()
        waiting.cancel()
    assert Git(tmp_path).max_push == Git(tmp_path).max_memory == 2 << 30


def test_without_git_there_is_no_command(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitMissing, match="git is not installed on the server"):
        Git(tmp_path).command("version")


async def test_a_commit_is_asked_for_by_its_own_id_only():
    assert await ScriptedGit(b"tag\n").commit(Path("/x"), "1" * 40) is None
    assert await ScriptedGit(b"", b"fatal: none", 128).commit(Path("/x"), "1" * 40) is None
    with pytest.raises(AssertionError):
        await ScriptedGit(b"commit\n").commit(Path("/x"), "main")


async def test_references_as_git_lists_them():
    listed = b"11 22 refs/tags/v1\n33  refs/heads/main\n"
    assert await ScriptedGit(listed).references(Path("/x")) == {
        "refs/tags/v1": Pointer("11", "22"),
        "refs/heads/main": Pointer("33", "33"),
    }


def entry(size: int, path: bytes) -> bytes:
    return b"100644 blob %s %d\t%s\0" % (b"1" * 40, size, path)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (entry(7, b"abc") * 2, ""),
        (entry(7, b"abc") * 2 + b"160000 commit 1 -\t\0", "The commit c has more than 2 files and folders. The server's option --source-entries raises this limit"),
        (entry(7, b"abc") + entry(8, b"abc"), "The files of the commit c have more than 1.86265e-08 GiB. The server's option --source-gib raises this limit"),
    ],
)  # fmt: skip
async def test_what_a_commit_holds_is_counted_to_the_byte(listed, said):
    git = ScriptedGit(listed)
    with pytest.raises(CommitTooLargeException) if said else contextlib.nullcontext() as refused:
        await archives.count(git, Path("/x"), "c", Bounds(entries=2, size=20))
    assert git.options == {"bounded": True}
    if said:
        assert refused.value.message == said


@pytest.mark.parametrize("more", [0, 1])
async def test_the_longest_entry_of_a_commit(more):
    path = b"x" * (4196 + more - len(entry(7, b"")) + 1)
    with pytest.raises(CommitTooLargeException, match="too long for a file") if more else contextlib.nullcontext():
        await archives.count(ScriptedGit(entry(7, path)), Path("/x"), "c", Bounds(entries=9, size=9999))


async def test_a_count_that_git_does_not_finish_is_none():
    with pytest.raises(GitFailed, match="fatal: bad"):
        await archives.count(ScriptedGit(b"", b"fatal: bad", 1), Path("/x"), "c", Bounds(entries=9, size=9))


async def test_nothing_goes_on_counting_what_was_refused():
    before = asyncio.all_tasks()
    git = ScriptedGit(entry(7, b"a") * 3)
    git.finish = lambda *_: asyncio.Event().wait()  # type: ignore[method-assign,assignment]
    with pytest.raises(CommitTooLargeException):
        await archives.count(git, Path("/x"), "c", Bounds(entries=2, size=99))
    await nothing_runs_but(before)
