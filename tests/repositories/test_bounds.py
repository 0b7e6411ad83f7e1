"""Git and its endpoint at their exact bounds, without git where a stub says what git would: limits, clocks, ends and answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import fcntl
import gzip
import hashlib
import hmac
import io
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.repositories import access, archives, changes, git_login, names, records, smart_http, spooling
from penstock.repositories import git as running_git
from penstock.repositories.archives import Bounds
from penstock.repositories.changes import Change, Changes, RepositoryBusy, RepositoryGone
from penstock.repositories.errors import CommitTooLargeException, RepositoryDoesNotExistException
from penstock.repositories.git import Git, GitFailed, GitMissing, Pointer
from penstock.repositories.operations import repositories
from penstock.repositories.pktline import pkt
from penstock.repositories.smart_http import Answer, GitServer
from penstock.repositories.spooling import ClientLeft, Unreadable, spool
from penstock.store.errors import StoreUnavailable
from penstock.wire.call import ANONYMOUS, Origin, PrincipalKind, Session
from penstock.wire.errors import SignatureExpired, SignatureMismatch, UnknownAccessKey


async def nothing_runs_but(tasks) -> None:
    """What was cancelled has had its turns to end."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


SIGNED = 1_767_225_600_000  # 2026-01-01T00:00:00Z in ms

# --- logins -----------------------------------------------------------------------------------------------------------


def login_at(stamp: str = "20260101T000000", host: str = "h", path: str = "/v1/repos/x") -> git_login.GitLogin:
    """What the helper makes of the secret `s` for us-east-1."""
    request = hashlib.sha256(f"GIT\n{path}\n\nhost:{host}\n\nhost\n".encode()).hexdigest()
    key = b"AWS4s"
    for part in (stamp[:8], "us-east-1", "codecommit", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{stamp[:8]}/us-east-1/codecommit/aws4_request\n{request}"
    login = git_login.parse_git_login("AKIDX", f"{stamp}Z{hmac.digest(key, text.encode(), 'sha256').hex()}")
    assert login is not None
    return login


def verify(login, *, now: int = SIGNED, host: str = "h") -> None:
    git_login.verify_git_login(login, secret="s", region="us-east-1", host=host, path="/v1/repos/x", now=now)


@pytest.mark.parametrize("late", [-300_000, 0, 900_000])
def test_a_login_lives_from_five_minutes_before_its_time_to_fifteen_behind_it(late):
    verify(login_at(), now=SIGNED + late)


@pytest.mark.parametrize("late", [-300_001, 900_001])
def test_a_login_of_another_time_says_both_times(late):
    with pytest.raises(SignatureExpired, match=r"made at 20260101T000000Z; it is 202\d{5}T\d{6}Z\."):
        verify(login_at(), now=SIGNED + late)


@pytest.mark.parametrize(
    ("signed", "host", "good"),
    [("h", "h:8470", True), ("h", "h", True), ("::1", "::1", True), ("h", "h:1:2", False), ("h:1", "h:1", False)],
)
def test_the_port_of_a_host_is_not_signed(signed, host, good):
    with contextlib.nullcontext() if good else pytest.raises(SignatureMismatch):
        verify(login_at(host=signed), host=host)


@pytest.mark.parametrize(
    "password",
    ["20260101T000000Z" + "a" * 63, "20260101T000000Z" + "a" * 65, "20260101T000000Z" + "A" * 64, "20260101T000000" + "a" * 64],
)  # fmt: skip
def test_whatever_else_is_an_ordinary_password(password):
    assert git_login.parse_git_login("k", password) is None


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "This repository needs Git credentials or an access key."),
        ("Bearer x", "Git signs in by basic authentication here."),
        ("Basic", "The Authorization header cannot be read."),
        ("Basic !!!", "The Authorization header cannot be read."),
        ("Basic " + base64.b64encode(b"nocolon").decode(), "The Authorization header cannot be read."),
        ("Basic " + base64.b64encode(b"\xff:").decode(), "The Authorization header cannot be read."),
        ("Basic " + base64.b64encode(b"a:" + b"b" * 24_575).decode(), "Git signs in by basic authentication here."),
    ],
)
def test_why_a_header_is_no_login(header, said):
    with pytest.raises(access.Unauthenticated) as refused:
        access._basic(header)
    assert str(refused.value) == said


def test_the_longest_header_and_any_case_of_its_scheme_are_read():
    encoded = base64.b64encode(b"a:" + b"b" * 24_574).decode()
    assert len(encoded) == 32_768
    assert access._basic(f"BASIC {encoded}") == ("a", "b" * 24_574)
    assert access._basic("basic " + base64.b64encode(b"a:b:c").decode() + " ") == ("a", "b:c")


@pytest.mark.parametrize(
    ("host", "regions"),
    [
        ("git-codecommit.eu-west-1.amazonaws.com", ("eu-west-1",)),
        ("git-codecommit-fips.eu-west-1.amazonaws.com", ("eu-west-1",)),
        ("git-codecommit.eu-west-9.amazonaws.com", ("us-east-1", "eu-west-1")),
        ("x.git-codecommit.eu-west-1.amazonaws.com", ("us-east-1", "eu-west-1")),
        ("localhost", ("us-east-1", "eu-west-1")),
    ],
)
def test_a_host_name_of_aws_names_the_region(host, regions):
    app = SimpleNamespace(settings=SimpleNamespace(all_regions=lambda: ("us-east-1", "eu-west-1")))
    assert access._regions(app, host) == regions  # type: ignore[arg-type]


def test_a_login_is_for_the_region_that_it_was_signed_for(monkeypatch):
    monkeypatch.setattr(access.time, "time", lambda: SIGNED / 1000)
    credential = SimpleNamespace(secret="s")
    arguments = (credential, ("eu-west-1", "us-east-1", "eu-west-2"), "h", "/v1/repos/x")
    assert access._signed_region(login_at(), *arguments) == "us-east-1"  # type: ignore[arg-type]
    with pytest.raises(SignatureMismatch):
        access._signed_region(login_at(), credential, ("eu-west-1",), "h", "/v1/repos/x")  # type: ignore[arg-type]


async def test_a_repository_is_looked_for_in_every_region_in_turn():
    asked = []

    async def read(_find, account, region, name):
        asked.append((account, region, name))
        return "row" if region == "eu-west-1" and name == "there" else None

    app = SimpleNamespace(store=SimpleNamespace(read=read))
    visitor = access.Visitor(ANONYMOUS, ("us-east-1", "eu-west-1", "eu-west-2"))
    assert await access.repository(app, visitor, "there") == ("row", "eu-west-1")  # type: ignore[arg-type]
    assert await access.repository(app, visitor, "gone") == (None, "us-east-1")  # type: ignore[arg-type]
    assert [region for _, region, _ in asked] == ["us-east-1", "eu-west-1", "us-east-1", "eu-west-1", "eu-west-2"]


async def test_what_is_asked_before_git_runs():
    asked = []

    async def authorize(call, action, resources):
        asked.append((call.operation, call.via, call.source_ip, call.secure, call.now, action, resources))

    app = SimpleNamespace(
        identity=SimpleNamespace(authorize=authorize, used=lambda *_: None),
        ids=SimpleNamespace(uuid=lambda: "u"),
        clock=SimpleNamespace(now=lambda: 5),
    )
    session = Session(account="1" * 12, kind=PrincipalKind.ROOT, arn="a", principal_id="1")
    origin = Origin(via="git", source_ip="10.0.0.1", secure=False)
    await access.authorize(
        app,  # type: ignore[arg-type]
        access.Visitor(session, ("cn-north-1",)),
        action="codecommit:GitPush",
        name="x",
        region="cn-north-1",
        origin=origin,
    )
    arn = "arn:aws-cn:codecommit:cn-north-1:111111111111:x"
    assert asked == [("GitPush", "git", "10.0.0.1", False, 5, "codecommit:GitPush", [arn])]


class Unlocked:
    """A connection without rows that says whether the rows that it was asked for were to be locked."""

    def __init__(self) -> None:
        self.locks: list[bool] = []

    def execute(self, statement):
        self.locks.append(statement._for_update_arg is not None)
        return SimpleNamespace(first=lambda: None)


def test_a_repository_that_changes_is_locked_and_one_that_went_is_missed():
    conn = Unlocked()
    with pytest.raises(RepositoryGone):
        changes._open_intent(conn, "i", "r", "me", 5)  # type: ignore[arg-type]
    with pytest.raises(RepositoryGone):
        changes._publish(
            conn,
            repository_id="r",
            found={},
            intents=[],
            caller="",
            branch=None,
            tidy=False,
            app=None,  # type: ignore[arg-type]
        )
    assert conn.locks == [True, True]


async def test_tags_of_a_repository_that_went_are_those_of_none():
    conn = Unlocked()

    async def read(*_):
        return SimpleNamespace(id="i", name="shop")

    async def write(transaction):
        transaction(conn)

    call = SimpleNamespace(
        partition="aws", region="r", account="1", app=SimpleNamespace(store=SimpleNamespace(read=read, write=write))
    )
    with pytest.raises(RepositoryDoesNotExistException, match="shop does not exist"):
        await repositories._retag(call, "arn:aws:codecommit:r:1:shop", dict)  # type: ignore[arg-type]
    assert conn.locks == [True]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("refs/heads/" + "/".join(["a" * 166] * 3), True),  # 511 characters
        ("refs/heads/" + "/".join(["a" * 166, "a" * 166, "a" * 167]), True),
        ("refs/heads/" + "/".join(["a" * 166, "a" * 167, "a" * 167]), False),
        ("refs/heads/" + "é" * 125, True),
        ("refs/heads/" + "é" * 125 + "a", False),
        ("refs/main", False),
        ("refs/h/m", True),
        ("heads/x/main", False),
    ],
)
def test_how_long_a_reference_may_be(name, good):
    assert names.is_reference(name) is good


def test_how_long_a_branch_name_may_be():
    assert names.is_branch_name("a" * 128 + "/" + "b" * 127)
    assert not names.is_branch_name("a" * 128 + "/" + "b" * 128)
    assert names.is_branch_name("a")
    assert not names.is_branch_name("")


@pytest.mark.parametrize(("name", "good"), [("...", False), (".a", True), (".git", False), ("agit", True)])
def test_periods_of_repository_names(name, good):
    assert names.is_repository_name(name) is good


# --- git as a child ---------------------------------------------------------------------------------------------------


def stream(*pieces: bytes, ends: bool = True) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    if ends:
        reader.feed_eof()
    return reader


class Told(Git):
    """Git whose children print what a test says, and end with `code`."""

    def __init__(self, printed: bytes = b"", complaint: bytes = b"", code: int = 0, *, ends: bool = True) -> None:
        super().__init__(Path("/"))
        self.printed, self.complaint, self.code, self.ends = printed, complaint, code, ends
        self.asked: list[tuple[str, ...]] = []

    @contextlib.asynccontextmanager
    async def running(self, *arguments, **more):
        self.asked.append(arguments)
        self.options = more

        async def wait() -> int:
            return self.code

        yield SimpleNamespace(
            stdout=stream(self.printed, ends=self.ends), stderr=stream(self.complaint, ends=self.ends), wait=wait
        )


async def test_what_git_prints_is_read_to_its_limit():
    assert await Told(b"x" * 10).output("a", limit=10) == b"x" * 10
    with pytest.raises(GitFailed, match=r"^git printed more than is looked at$"):
        await Told(b"x" * 11).output("a", limit=10)
    assert len(await Told(b"x" * (16 << 20)).output("a")) == 16 << 20
    with pytest.raises(GitFailed):
        await Told(b"x" * ((16 << 20) + 1)).output("a")


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
        await Told(b"", complaint, code).output("a")
    assert str(caught.value) == said
    if error is OSError:
        assert caught.value.errno in (errno.ENOSPC, errno.EIO)


async def test_a_git_that_does_not_end_is_given_up_with_all_that_read_it():
    before = asyncio.all_tasks()
    silent = Told(ends=False)
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
    assert await Told(b"tag\n").commit(Path("/x"), "1" * 40) is None
    assert await Told(b"", b"fatal: none", 128).commit(Path("/x"), "1" * 40) is None
    with pytest.raises(AssertionError):
        await Told(b"commit\n").commit(Path("/x"), "main")


async def test_references_as_git_lists_them():
    listed = b"11 22 refs/tags/v1\n33  refs/heads/main\n"
    assert await Told(listed).references(Path("/x")) == {
        "refs/tags/v1": Pointer("11", "22"),
        "refs/heads/main": Pointer("33", "33"),
    }


# --- the size of a commit ---------------------------------------------------------------------------------------------


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
    git = Told(listed)
    with pytest.raises(CommitTooLargeException) if said else contextlib.nullcontext() as refused:
        await archives.count(git, Path("/x"), "c", Bounds(entries=2, size=20))
    assert git.options == {"bounded": True}
    if said:
        assert refused.value.message == said


@pytest.mark.parametrize("more", [0, 1])
async def test_the_longest_entry_of_a_commit(more):
    path = b"x" * (4196 + more - len(entry(7, b"")) + 1)
    with pytest.raises(CommitTooLargeException, match="too long for a file") if more else contextlib.nullcontext():
        await archives.count(Told(entry(7, path)), Path("/x"), "c", Bounds(entries=9, size=9999))


async def test_a_count_that_git_does_not_finish_is_none():
    with pytest.raises(GitFailed, match="fatal: bad"):
        await archives.count(Told(b"", b"fatal: bad", 1), Path("/x"), "c", Bounds(entries=9, size=9))


async def test_nothing_goes_on_counting_what_was_refused():
    before = asyncio.all_tasks()
    git = Told(entry(7, b"a") * 3)
    git.finish = lambda *_: asyncio.Event().wait()  # type: ignore[method-assign,assignment]
    with pytest.raises(CommitTooLargeException):
        await archives.count(git, Path("/x"), "c", Bounds(entries=2, size=99))
    await nothing_runs_but(before)


# --- bodies -----------------------------------------------------------------------------------------------------------


async def spooled(*pieces: bytes, encoding: str = "identity", limit: int = 1000, ends: bool = True):
    """Whether the body was complete, and what is in the file."""
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, start=1)
    ]
    if not ends:
        messages[-1] = {"type": "http.disconnect"}
    waiting = iter(messages)

    async def receive():
        return next(waiting)

    with tempfile.TemporaryFile() as file:
        complete = await spool(receive, file, encoding=encoding, limit=limit, idle=20)
        return complete, file.read()


@pytest.mark.parametrize("encoding", ["identity", "gzip", "X-GZIP"])
@pytest.mark.parametrize(("size", "complete", "kept"), [(999, True, 999), (1000, True, 1000), (1001, False, 1001), (9000, False, 1001)])  # fmt: skip
async def test_a_body_is_kept_to_one_byte_above_its_limit(encoding, size, complete, kept):
    content = os.urandom(size)
    body = content if encoding == "identity" else gzip.compress(content)
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    assert await spooled(*pieces, encoding=encoding) == (complete, content[:kept])


async def test_a_large_piece_is_written_whole():
    content = os.urandom(300_000)
    assert await spooled(content, limit=1 << 20) == (True, content)
    assert await spooled(gzip.compress(bytes(300_000)), b"", encoding="gzip", limit=1 << 20) == (True, bytes(300_000))


async def test_only_large_pieces_are_written_off_the_loop(monkeypatch):
    written = []

    async def run(write, piece):
        written.append(len(piece))
        return write(piece)

    monkeypatch.setattr(spooling.FILES, "run", run)
    await spooled(bytes(65_536), bytes(65_537), limit=1 << 20)
    assert written == [65_537]


@pytest.mark.parametrize(("limit", "drained"), [(10, 100), (50, 200)])
async def test_more_than_can_be_thrown_away_is_not_read(monkeypatch, limit, drained):
    """Four times the limit, and a least number of bytes that is 256 MiB."""
    assert spooling._LEAST_DRAINED == 268_435_456
    monkeypatch.setattr(spooling, "_LEAST_DRAINED", 100)
    assert await spooled(bytes(drained), limit=limit) == (False, bytes(limit + 1))
    with pytest.raises(Unreadable, match="much larger than a push may be") as refused:
        await spooled(bytes(drained), b"x", limit=limit)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("pieces", "encoding", "status", "said"),
    [
        ([b"x"], "br" * 30, 415, f"The content encoding {'br' * 20} is not read here."),
        ([b"no gzip"], "gzip", 400, "The request's gzip stream is damaged."),
        ([gzip.compress(b"abc")[:-3]], "gzip", 400, "The request's gzip stream ends in its middle."),
        ([b""], "gzip", 400, "The request's gzip stream ends in its middle."),
    ],
)
async def test_bodies_that_cannot_be_read(pieces, encoding, status, said):
    with pytest.raises(Unreadable) as refused:
        await spooled(*pieces, encoding=encoding)
    assert (refused.value.status, str(refused.value)) == (status, said)


async def test_a_client_that_left_or_says_nothing():
    with pytest.raises(ClientLeft):
        await spooled(b"a", b"", ends=False)

    async def never():
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await spool(never, io.BytesIO(), encoding="identity", limit=1, idle=0.01)


# --- changes ----------------------------------------------------------------------------------------------------------


def repositories_in(folder: Path) -> Changes:
    return Changes(SimpleNamespace(settings=SimpleNamespace(data_dir=folder)))  # type: ignore[arg-type]


async def test_how_often_a_lock_of_another_process_is_asked_for(tmp_path, monkeypatch):
    """Soon at first, five times a second later; and not for longer than five minutes."""
    assert changes.LOCK_SECONDS == 300
    now, pauses = [1000.0], []

    async def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(changes, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(changes, "LOCK_SECONDS", 1.0)
    path = tmp_path / "x.lock"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(changes.asyncio, "sleep", sleep)
        opened = set(os.listdir("/proc/self/fd"))
        with pytest.raises(RepositoryBusy):
            await repositories_in(tmp_path)._file_lock(path)
        monkeypatch.undo()
        assert set(os.listdir("/proc/self/fd")) == opened
    assert pauses == pytest.approx([0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.2, 0.2, 0.2, 0.2])
    descriptor = await repositories_in(tmp_path)._file_lock(path)
    os.close(descriptor)


async def test_a_lock_that_cannot_be_had_leaves_nothing_open(tmp_path, monkeypatch):
    def broken(_descriptor, _how):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(changes.fcntl, "flock", broken)
    opened = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no locks"):
        await repositories_in(tmp_path)._file_lock(tmp_path / "x.lock")
    assert set(os.listdir("/proc/self/fd")) == opened


async def test_who_waits_too_long_in_this_process_is_told_so_and_the_next_one_is_not(tmp_path, monkeypatch):
    held = repositories_in(tmp_path)
    row = SimpleNamespace(id="i", account="1", region="r")
    held.path(row).parent.mkdir(parents=True)
    async with held.locked(row):
        monkeypatch.setattr(changes, "LOCK_SECONDS", 0.01)
        with pytest.raises(RepositoryBusy):
            async with held.locked(row):
                pass
    monkeypatch.undo()
    async with held.locked(row) as descriptor:
        os.fstat(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_what_is_published_of_a_change():
    row = SimpleNamespace(id="i", account="1" * 12, region="eu-west-1", name="shop")
    old, new = Pointer("o", "1"), Pointer("o", "2")
    said = {
        (before, after): changes._event(row, Change("refs/tags/v", before, after), "me")
        for before, after in ((None, new), (old, new), (old, None))
    }
    assert [event.payload["event"] for event in said.values()] == [
        "referenceCreated", "referenceUpdated", "referenceDeleted",
    ]  # fmt: skip
    assert said[old, new].payload == {
        "repositoryName": "shop",
        "repositoryId": "i",
        "repositoryArn": "arn:aws:codecommit:eu-west-1:111111111111:shop",
        "event": "referenceUpdated",
        "referenceType": "tag",
        "referenceName": "v",
        "referenceFullName": "refs/tags/v",
        "callerUserArn": "me",
        "commitId": "2",
        "oldCommitId": "1",
    }
    assert "oldCommitId" not in said[None, new].payload
    assert "commitId" not in said[old, None].payload
    assert changes._event(row, Change("refs/notes/x", None, new), "me") is None
    assert {event.actor for event in said.values()} == {"me"}
    assert {event.aggregate for event in said.values()} == {"repository/111111111111/eu-west-1/shop"}


def test_only_folders_of_references_that_changed_since_are_waited_for(tmp_path, monkeypatch):
    """To the millisecond; the folder of packs and the repository's own always."""
    for name in ("objects/pack", "refs/old", "refs/at", "refs/new"):
        (tmp_path / name).mkdir(parents=True)
    for name, at in (("old", 4_999), ("at", 5_000), ("new", 5_001)):
        os.utime(tmp_path / "refs" / name, ns=(at * 1_000_000,) * 2)
    os.utime(tmp_path / "refs", ns=(0, 0))
    synced: list[Path] = []
    monkeypatch.setattr(changes.durable, "sync_folder", synced.append)
    changes._sync_names(tmp_path, 5_000)
    assert [str(path.relative_to(tmp_path)) for path in sorted(synced)] == [".", "objects/pack", "refs/at", "refs/new"]


async def test_what_has_no_lock_is_removed_like_the_rest(tmp_path):
    kept = repositories_in(tmp_path)
    row = SimpleNamespace(id="i", account="1", region="r")
    for name in ("i", "left"):
        kept.path(SimpleNamespace(id=name, account="1", region="r")).mkdir(parents=True)
    await kept.remove(row)
    await kept.remove(row)
    os.utime(tmp_path / "git" / "1" / "r" / "left.git", (0, 0))
    kept._sweep(set())
    assert list((tmp_path / "git" / "1" / "r").iterdir()) == []


async def test_what_is_gone_is_not_tidied(tmp_path):
    async def read(_find, repository_id):
        return SimpleNamespace(id="i", account="1", region="r") if repository_id == "i" else None

    kept = Changes(SimpleNamespace(settings=SimpleNamespace(data_dir=tmp_path), store=SimpleNamespace(read=read)))  # type: ignore[arg-type]
    kept.git = git = Told()
    await kept.tidy("none")
    await kept.tidy("i")
    assert git.asked == []
    (tmp_path / "git" / "1" / "r" / "i.git").mkdir(parents=True)
    await kept.tidy("i")
    assert [asked[2] for asked in git.asked] == ["repack", "pack-refs"]


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "method", "query", "kind", "answer"),
    [
        ("info/refs", "GET", "service=git-upload-pack", "", "git-upload-pack"),
        ("info/refs", "HEAD", "a=b&service=git-receive-pack&c", "", "git-receive-pack"),
        ("info/refs", "PUT", "service=git-upload-pack", "", (405, "info/refs is read by GET.", b"GET")),
        ("info/refs", "GET", "xservice=git-upload-pack", "", (403, "This server speaks git's smart protocol only; git 1.6.6 and later do.", b"")),
        ("info/refs", "GET", "service=git-upload-packs", "", (403, "This server speaks git's smart protocol only; git 1.6.6 and later do.", b"")),
        ("git-upload-pack", "GET", "", "", (405, "git-upload-pack is written by POST.", b"POST")),
        ("git-receive-pack", "POST", "", "application/x-git-upload-pack-request", (415, "The content type must be application/x-git-receive-pack-request.", b"")),
        ("git-receive-pack", "POST", "", "application/x-git-receive-pack-request", "git-receive-pack"),
    ],
)  # fmt: skip
def test_which_service_is_meant(action, method, query, kind, answer):
    scope = {"method": method, "query_string": query.encode()}
    exchange = SimpleNamespace(scope=scope, action=action, headers={"content-type": kind})
    if isinstance(answer, str):
        assert smart_http._service(exchange) == answer  # type: ignore[arg-type]
        return
    with pytest.raises(Answer) as refused:
        smart_http._service(exchange)  # type: ignore[arg-type]
    said = dict(refused.value.headers)
    assert (refused.value.status, str(refused.value), said.get(b"allow", b"")) == answer


async def served(error: BaseException | None, *, started: bool = False):
    """The status and text that are sent, and the status in the log, when serving ends with an error."""
    sent, logged = [], []

    async def send(message):
        sent.append(message)

    def add(_session, **line):
        logged.append(line)

    app = SimpleNamespace(
        requests=SimpleNamespace(add=add), clock=SimpleNamespace(now=lambda: 5), ids=SimpleNamespace(uuid=lambda: "u")
    )
    server = GitServer(app, None)  # type: ignore[arg-type]

    async def serve(exchange):
        exchange.started = started
        if error is not None:
            raise error

    server._serve = serve  # type: ignore[method-assign]
    scope = {"headers": [(b"host", b"h")], "path": "/v1/repos/x", "client": ("10.0.0.1", 5)}
    try:
        await server(scope, lambda: None, send)  # type: ignore[arg-type,return-value]
    finally:
        [line] = logged
        assert (line["via"], line["source"], line["at"], line["id"]) == ("git", "10.0.0.1", 5, "u")
    return (sent[0]["status"], sent[1]["body"].decode()) if sent else None, line["status"]


BUSY = "The repository cannot be served at the moment; try again.\n"


@pytest.mark.parametrize(
    ("error", "answer", "status"),
    [
        (None, None, 200),
        (Answer(403, "No."), (403, "No.\n"), 403),
        (ClientLeft(), None, 499),
        (StoreUnavailable("x"), (503, BUSY), 503),
        (RepositoryBusy(), (503, BUSY), 503),
        (GitFailed("x"), (500, BUSY), 500),
        (GitMissing("x"), (500, BUSY), 500),
        (TimeoutError(), (500, BUSY), 500),
    ],
)
async def test_every_end_of_a_request_is_answered_and_in_the_log(error, answer, status):
    assert await served(error) == (answer, status)


@pytest.mark.parametrize(("action", "limit"), [("git-upload-pack", 64 << 20), ("git-receive-pack", 5)])
async def test_how_much_of_a_request_is_taken(tmp_path, monkeypatch, action, limit):
    limits, sent = [], []

    async def spool(_receive, _body, **more):
        limits.append((more["limit"], more["idle"], more["encoding"]))
        return False

    async def admit(_exchange, _action):
        return "row"

    async def send(message):
        sent.append(message)

    monkeypatch.setattr(smart_http, "spool", spool)
    kept = SimpleNamespace(path=lambda _row: "x", temporary=tmp_path, git=SimpleNamespace(max_push=5))
    server = GitServer(SimpleNamespace(records=SimpleNamespace(trail=SimpleNamespace(takes_lines=lambda: True))), kept)  # type: ignore[arg-type]
    server._admit = admit  # type: ignore[method-assign]
    headers = {"content-type": f"application/x-{action}-request"}
    scope = {"path": f"/v1/repos/x/{action}", "method": "POST"}
    exchange = smart_http._Exchange(scope, None, send, headers, "", "", "")  # type: ignore[arg-type]
    if action == "git-upload-pack":
        with pytest.raises(Answer, match="The request is larger than 64 MiB") as refused:
            await server._serve(exchange)
        assert refused.value.status == 413
    else:
        await server._serve(exchange)
        assert [message.get("body") for message in sent] == [None, b""]
    assert limits == [(limit, 120.0, "identity")]


async def test_half_an_answer_breaks_off():
    with pytest.raises(GitFailed):
        await served(GitFailed("x"), started=True)


async def test_a_refusal_is_not_kept_by_caches():
    sent = []

    async def send(message):
        sent.append(message)

    await smart_http._refuse(send, Answer(405, "No.", [(b"allow", b"GET")]))
    assert sent[0]["headers"][2:] == [
        (b"expires", b"Fri, 01 Jan 1980 00:00:00 GMT"),
        (b"pragma", b"no-cache"),
        (b"cache-control", b"no-cache, max-age=0, must-revalidate"),
        (b"allow", b"GET"),
    ]


async def test_reading_ends_when_the_client_leaves():
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def read():
        return b"x"

    assert await smart_http._unless(left, read()) == b"x"
    left.set_result(None)
    before = asyncio.all_tasks()
    with pytest.raises(ClientLeft):
        await smart_http._unless(left, asyncio.Event().wait())
    await nothing_runs_but(before)


@pytest.mark.parametrize(
    ("printed", "complaint", "code", "sent"),
    [
        (b"", b"", 0, [b"HEAD", b""]),
        (b"ab", b"", 0, [b"HEADab", b""]),
        (b"", b"fatal: x", 1, []),
        (b"ab", b"", 2, [b"HEADab"]),
    ],
)
async def test_an_answer_is_complete_when_git_says_so(printed, complaint, code, sent):
    wrote = []

    async def send(message):
        wrote.append(message)

    async def receive():
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    server = GitServer(None, SimpleNamespace(git=Told(printed, complaint, code)))  # type: ignore[arg-type]
    exchange = smart_http._Exchange({}, receive, send, {}, "x", "", "info/refs")  # type: ignore[arg-type]
    with pytest.raises(GitFailed, match="fatal: x|ended with code 2") if code else contextlib.nullcontext():
        await server._stream(exchange, ("a",), "text/x", environment={}, head=b"HEAD")
    assert [message["body"] for message in wrote if "body" in message] == sent
    assert [message["more_body"] for message in wrote if "body" in message] == [True] * (len(sent) - (not code)) + [
        False
    ] * (not code)
    assert exchange.started is bool(sent)
    await nothing_runs_but(before)


async def test_nothing_of_git_is_read_for_a_client_that_left():
    async def send(_message):
        pass

    async def receive():
        return {"type": "http.disconnect"}

    before = asyncio.all_tasks()
    server = GitServer(None, SimpleNamespace(git=Told(ends=False)))  # type: ignore[arg-type]
    exchange = smart_http._Exchange({}, receive, send, {}, "x", "", "info/refs")  # type: ignore[arg-type]
    with pytest.raises(ClientLeft):
        await server._stream(exchange, ("a",), "text/x", environment={})
    await nothing_runs_but(before)


# --- what is published ------------------------------------------------------------------------------------------------


async def test_rows_say_what_git_says_when_a_change_is_published(store, monkeypatch):
    emitted, queued = [], []
    monkeypatch.setattr(
        changes,
        "emit",
        lambda _conn, event, **more: emitted.append((event.payload["event"], event.payload["referenceName"], more)),
    )
    monkeypatch.setattr(changes.jobs, "enqueue", lambda _conn, **more: queued.append(more["dedup"]))
    where = {"account": "1" * 12, "region": "us-east-1"}
    row = {
        "id": "r",
        "name": "shop",
        "description": None,
        "default_branch": None,
        "tags": {},
        "created": 1,
        "modified": 1,
    } | where
    now = [100]
    app: Any = SimpleNamespace(clock=SimpleNamespace(now=lambda: now[0]), ids=SimpleNamespace(uuid=lambda: "event"))
    await store.write(lambda conn: conn.execute(records.repositories.insert().values(row)) and None)
    await store.write(changes._open_intent, "i1", "r", "me", 5)
    await store.write(changes._open_intent, "i2", "r", "me", 6)

    async def publish(
        found: dict[str, Pointer], *, intents: list[str], branch: str | None = "main", tidy: bool = False
    ) -> Any:
        await store.write(
            changes._publish,
            repository_id="r",
            found=found,
            intents=intents,
            caller="me",
            branch=branch,
            tidy=tidy,
            app=app,
        )
        now[0] += 1

        def read(conn: Any) -> Any:
            found = conn.execute(records.references.select().order_by(records.references.c.name)).all()
            kept = records.by_id(conn, "r")
            left = [one.id for one in records.open_intents(conn, "r")]
            return [(one.name, one.object, one.commit) for one in found], kept.default_branch, kept.modified, left

        return await store.read(read)

    main, tag = Pointer("c1", "c1"), Pointer("t1", "c1")
    assert await publish({"refs/heads/main": main, "refs/tags/v1": tag, "refs/notes/x": main}, intents=["i1"]) == (
        [("refs/heads/main", "c1", "c1"), ("refs/notes/x", "c1", "c1"), ("refs/tags/v1", "t1", "c1")], "main", 100, ["i2"],
    )  # fmt: skip
    assert emitted == [
        ("referenceCreated", "main", {"now": 100, "id": "event"}), ("referenceCreated", "v1", {"now": 100, "id": "event"}),
    ]  # fmt: skip
    emitted.clear()
    same = {"refs/heads/main": main, "refs/tags/v1": tag, "refs/notes/x": main}
    assert (await publish(same, intents=[]))[1:] == ("main", 100, ["i2"])
    assert (await publish(same, intents=[], branch="next", tidy=True))[1:] == ("next", 102, ["i2"])
    assert (emitted, queued) == ([], ["r"])
    after = await publish({"refs/heads/main": Pointer("c2", "c2")}, intents=["i2"], branch="next")
    assert after == ([("refs/heads/main", "c2", "c2")], "next", 103, [])
    assert [event[:2] for event in emitted] == [("referenceUpdated", "main"), ("referenceDeleted", "v1")]


def settling(tmp_path: Path, rows: dict[str, Any], intents: list[Any], written: list[Any]) -> Changes:
    """Changes of a repository that has these intents."""

    async def read(fn: Any, *arguments: Any) -> Any:
        return intents if fn is records.open_intents else rows.get(arguments[0])

    async def write(_fn: Any, **more: Any) -> None:
        written.append(more)

    app: Any = SimpleNamespace(
        settings=SimpleNamespace(data_dir=tmp_path), store=SimpleNamespace(read=read, write=write, scan=read)
    )
    made = Changes(app)
    made.git = Told(b"11  refs/heads/side\n22  refs/heads/master\n")
    return made


@pytest.mark.parametrize(
    ("default", "listed", "branch", "head"),
    [
        (None, b"11  refs/heads/side\n22  refs/heads/master\n", "master", "refs/heads/master"),
        (None, b"11  refs/heads/side\n22  refs/heads/master\n33  refs/heads/main\n", "main", "refs/heads/main"),
        (None, b"11  refs/heads/side\n22  refs/heads/other\n", "other", "refs/heads/other"),
        (None, b"11  refs/tags/v1\n", None, None),
        ("old", b"refs/heads/chosen\n", "chosen", None),
    ],
)
async def test_the_branch_that_a_clone_checks_out(tmp_path, default, listed, branch, head):
    chosen = []

    async def set_head(_folder, reference):
        chosen.append(reference)

    made = settling(tmp_path, {}, [], [])
    made.git = git = Told(listed)
    git.set_head = set_head  # type: ignore[method-assign]
    found = {} if default else await git.references(tmp_path)
    assert await made._default_branch(SimpleNamespace(default_branch=default), tmp_path, found) == branch
    assert chosen == ([head] if head else [])


async def test_what_is_settled_is_whose_it_was_and_what_was_not_settled(tmp_path, monkeypatch):
    synced, written = [], []
    monkeypatch.setattr(changes, "_sync_names", lambda _folder, since: synced.append(since))
    row = SimpleNamespace(id="r", account="1", region="e", default_branch=None, name="shop")
    folder = tmp_path / "git" / "1" / "e" / "r.git"
    folder.mkdir(parents=True)
    intents = [SimpleNamespace(id="i1", at=9_000, caller="ann"), SimpleNamespace(id="i2", at=8_000, caller="bo")]
    made = settling(tmp_path, {"r": row}, intents, written)
    await made._settle("r")
    assert synced == [6_000]
    [one] = written
    assert (one["intents"], one["caller"], one["branch"], one["tidy"]) == (["i1", "i2"], "bo", "master", False)
    assert sorted(one["found"]) == ["refs/heads/master", "refs/heads/side"]
    assert (folder / "HEAD").read_text() == "ref: refs/heads/master\n"
    written.clear()
    await settling(tmp_path, {"r": row}, [], written)._settle("r")
    assert written == []
    with pytest.raises(RepositoryGone):
        await settling(tmp_path, {}, intents, written)._settle("r")


# --- who calls --------------------------------------------------------------------------------------------------------


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "asked", "said"),
    [
        (basic("K", "s"), ("K", ""), ""), (basic("K%a%2Fb", "s"), ("K", "a/b"), ""), (basic("K", "wrong"), ("K", ""), "does not match"),
        (basic("gone", "s"), ("gone", ""), "is invalid"),
    ],
)  # fmt: skip
async def test_who_signs_in_with_a_key(authorization, asked, said):
    keys = []

    async def credential(key, token):
        keys.append((key, token))
        if key == "gone":
            raise UnknownAccessKey
        return SimpleNamespace(secret="s", session="the session")

    settings = SimpleNamespace(all_regions=lambda: ("us-east-1", "eu-west-1"))
    app: Any = SimpleNamespace(identity=SimpleNamespace(credential=credential), settings=settings)
    with pytest.raises(access.Unauthenticated, match=said) if said else contextlib.nullcontext():
        found = await access.visitor(app, authorization=authorization, host="h", path="/v1/repos/x")
        assert (found.session, found.regions) == ("the session", ("us-east-1", "eu-west-1"))
    assert keys == [asked]


async def test_who_signs_in_by_the_helper(monkeypatch):
    keys = []

    async def credential(key, token):
        keys.append((key, token))
        return SimpleNamespace(secret="s", session="the session")

    monkeypatch.setattr(access.time, "time", lambda: SIGNED / 1000)
    login = login_at()
    settings = SimpleNamespace(all_regions=lambda: ("eu-west-1", "us-east-1"))
    app: Any = SimpleNamespace(identity=SimpleNamespace(credential=credential), settings=settings)
    header = basic("AKIDX%to%2Fken", f"{login.timestamp}Z{login.signature}")
    found = await access.visitor(app, authorization=header, host="h", path="/v1/repos/x")
    assert (found.session, found.regions, keys) == ("the session", ("us-east-1",), [("AKIDX", "to/ken")])
    with pytest.raises(access.Unauthenticated, match="does not match"):
        await access.visitor(app, authorization=header, host="h", path="/v1/repos/y")


# --- pushes -----------------------------------------------------------------------------------------------------------

COMMAND = b"0" * 40 + b" " + b"1" * 40 + b" "


@pytest.mark.parametrize(
    ("references", "complete", "report"),
    [
        ([], True, b""),
        ([b"refs/heads/a"], False, b"ng refs/heads/a a push may have 2 MiB at most"),
        ([b"refs/heads/a", b"refs/heads/-b"], True, b"ng refs/heads/a another reference of this push was refused"),
        ([b"refs/heads/a"], True, b"the report of git"),
    ],
)
async def test_what_a_push_is_answered(references, complete, report):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive_pack(_row, _body, caller, protocol):
        assert (caller, protocol) == ("me", {"a": "b"})
        return io.BytesIO(b"the report of git")

    server = GitServer(None, SimpleNamespace(git=SimpleNamespace(max_push=2 << 20)))  # type: ignore[arg-type]
    server._receive_pack = receive_pack  # type: ignore[method-assign,assignment]
    lines = [pkt(COMMAND + name + b"\0report-status") for name in references]
    body = io.BytesIO(b"".join(lines) + b"0000")
    exchange = smart_http._Exchange({}, None, send, {}, "x", "", "git-receive-pack")  # type: ignore[arg-type]
    await server._push(exchange, "row", body, "me", {"a": "b"}, complete=complete)
    assert sent[0]["headers"][0] == (b"content-type", b"application/x-git-receive-pack-result")
    assert report in b"".join(message["body"] for message in sent[1:])
    assert [message["more_body"] for message in sent[1:]][-1] is False
    assert bool(b"".join(message["body"] for message in sent[1:])) is bool(report)


@pytest.mark.parametrize(
    ("body", "error", "status", "said"),
    [(b"zzzz", None, 400, "the list of references cannot be read"), (pkt(COMMAND + b"refs/heads/a") + b"0000", RepositoryGone(), 404, "repository x does not exist")],
)  # fmt: skip
async def test_pushes_that_are_none(body, error, status, said):
    async def receive_pack(*_):
        raise error

    server = GitServer(None, SimpleNamespace(git=SimpleNamespace(max_push=1)))  # type: ignore[arg-type]
    server._receive_pack = receive_pack  # type: ignore[method-assign]
    exchange = smart_http._Exchange({}, None, None, {}, "x", "", "git-receive-pack")  # type: ignore[arg-type]
    with pytest.raises(Answer, match=said) as refused:
        await server._push(exchange, "row", io.BytesIO(body), "me", {}, complete=True)
    assert refused.value.status == status
    assert exchange.started is False


@pytest.mark.parametrize("fails", [False, True])
async def test_what_receive_pack_says_is_given_back_when_it_is_true(tmp_path, monkeypatch, fails):
    steps: list[Any] = []
    opened: list[Any] = []
    real = tempfile.TemporaryFile

    def temporary(**more):
        opened.append(real(**more))
        return opened[-1]

    class Asked(Told):
        @contextlib.asynccontextmanager
        async def running(self, *arguments, **more):
            steps.append((arguments[:2], more["keep"], more["bounded"]))
            more["stdout"].write(b"report")
            if fails:
                raise GitFailed("no")
            yield SimpleNamespace()

        async def finish(self, _child, **_more):
            steps.append("finished")
            return 1, "complaint"

    @contextlib.asynccontextmanager
    async def changing(_row, caller):
        steps.append(caller)
        try:
            yield 7
        finally:
            steps.append("published")

    monkeypatch.setattr(smart_http.tempfile, "TemporaryFile", temporary)
    kept: Any = SimpleNamespace(temporary=tmp_path, path=lambda _row: "folder", git=Asked(), changing=changing)
    row = SimpleNamespace(name="shop", account="1")
    taking = GitServer(None, kept)._receive_pack(row, io.BytesIO(), "me", {})  # type: ignore[arg-type]
    if fails:
        with pytest.raises(GitFailed):
            await taking
        assert opened[0].closed
        return
    answer = await taking
    assert answer.read() == b"report"
    assert steps == ["me", (("receive-pack", "--stateless-rpc"), (7,), True), "finished", "published"]
    answer.close()
