"""What repositories do at the ends of things: children that are left, bodies that are too long, rows whose files are gone."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import penstock.repositories
from penstock.repositories import changes, records, spooling
from penstock.repositories import git as running_git
from penstock.repositories.changes import Changes, RepositoryGone
from penstock.repositories.git import Git, read_commit
from penstock.repositories.operations import shared
from penstock.repositories.spooling import spool


@pytest.mark.parametrize("fails", [False, True])
async def test_a_child_is_ended_whatever_becomes_of_its_block(monkeypatch, tmp_path: Path, fails: bool):
    ended = []
    room = []

    async def start(*_command: str, **_more: Any) -> Any:
        return SimpleNamespace(pid=1)

    async def end(child: Any) -> None:
        ended.append(child.pid)
        room.append(git._room._value)

    monkeypatch.setattr(running_git.asyncio, "create_subprocess_exec", start)
    monkeypatch.setattr(running_git.children, "end", end)
    git = Git(tmp_path)
    with pytest.raises(ValueError) if fails else pytest.raises(KeyError):
        async with git.running("a"):
            assert ended == []
            raise ValueError if fails else KeyError
    assert (ended, room) == ([1], [31])  # its place is given up when it is gone
    assert git._room._value == 32


async def test_a_body_that_is_too_long_is_read_to_its_end():
    """Git reads no answer before it has sent everything."""
    messages = [{"type": "http.request", "body": b"x" * 10, "more_body": number < 4} for number in range(5)]

    async def receive() -> Any:
        return messages.pop(0)

    body = io.BytesIO()
    assert await spool(receive, body, encoding="identity", limit=15, idle=20) is False
    assert messages == []
    assert (body.tell(), body.getvalue()) == (0, b"x" * 16)


@pytest.mark.parametrize("limit", [10, 1000])
async def test_what_is_thrown_away_is_measured_by_the_larger_of_both_bounds(monkeypatch, limit: int):
    monkeypatch.setattr(spooling, "_LEAST_DRAINED", 100)
    sent = [max(4 * limit, 100), 1]

    async def receive() -> Any:
        return {"type": "http.request", "body": bytes(sent.pop(0)), "more_body": bool(sent)}

    with pytest.raises(spooling.Unreadable):
        await spool(receive, io.BytesIO(), encoding="identity", limit=limit, idle=20)
    assert sent == []


def test_fields_behind_a_signature_count():
    written = b"tree t\ngpgsig -----BEGIN-----\n abc\n -----END-----\nencoding ISO-8859-1\nparent p\n\nGr\xfc\xdfe"
    commit = read_commit("4" * 40, written)
    assert (commit.message, commit.parents, commit.tree) == ("Gr\xfc\xdfe", ("p",), "t")


@pytest.mark.parametrize(
    ("there", "settled"),
    [((), []), (("r",), []), (("r", "files"), ["r"])],
    ids=["no row", "no files", "both"],
)
async def test_only_what_has_a_row_and_files_is_settled_at_the_start(tmp_path: Path, there, settled):
    row = SimpleNamespace(id="r", account="1", region="e", name="shop")
    folder = tmp_path / "git" / "1" / "e" / "r.git"
    if "files" in there:
        (folder / "objects" / "tmp_objdir-x").mkdir(parents=True)
        (folder / "objects" / "pack").mkdir()
    abandoned = tmp_path / "tmp" / "git-abandoned"
    abandoned.mkdir(parents=True)
    (tmp_path / "tmp" / "git-file").touch()
    (tmp_path / "tmp" / "other").touch()

    async def scan(fn: Any) -> list[Any]:
        return [SimpleNamespace(repository="r")] if fn is records.open_intents else ["r"]

    async def read(_fn: Any, _repository: str) -> Any:
        return row if "r" in there else None

    app: Any = SimpleNamespace(settings=SimpleNamespace(data_dir=tmp_path), store=SimpleNamespace(scan=scan, read=read))
    made = Changes(app)
    done: list[str] = []

    async def settle(repository: str) -> None:
        assert made._locks["r"].locked()
        assert not list(folder.glob("objects/tmp_objdir-*"))
        done.append(repository)

    made._settle = settle  # type: ignore[method-assign]
    await made.reconcile()
    assert done == settled
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["other"]
    assert (tmp_path / "git").is_dir()


def test_folders_without_a_row_are_kept_for_an_hour(monkeypatch, tmp_path: Path):
    import os

    made = Changes(SimpleNamespace(settings=SimpleNamespace(data_dir=tmp_path)))  # type: ignore[arg-type]
    monkeypatch.setattr(changes, "time", SimpleNamespace(time=lambda: 10_000.0))
    for name, at in (("old", 6399), ("edge", 6400), ("young", 6401), ("known", 0)):
        (tmp_path / "git" / "1" / "e" / f"{name}.git").mkdir(parents=True)
        os.utime(tmp_path / "git" / "1" / "e" / f"{name}.git", (at, at))
        (tmp_path / "git" / "1" / "e" / f"{name}.lock").touch()
    made._sweep({"known"})
    left = {path.name for path in (tmp_path / "git" / "1" / "e").iterdir()}
    assert left == {f"{name}.{kind}" for name in ("edge", "young", "known") for kind in ("git", "lock")}


async def test_a_change_settles_what_was_before_it_and_then_itself(tmp_path: Path):
    steps: list[Any] = []
    row = SimpleNamespace(id="r", account="1", region="e")

    async def write(fn: Any, *arguments: Any) -> None:
        steps.append((fn, arguments))

    app: Any = SimpleNamespace(
        settings=SimpleNamespace(data_dir=tmp_path),
        store=SimpleNamespace(write=write),
        ids=SimpleNamespace(uuid=lambda: "i"),
        clock=SimpleNamespace(now=lambda: 5),
    )
    made = Changes(app)
    made.path(row).parent.mkdir(parents=True)

    async def settle(repository: str) -> None:
        steps.append(repository)

    made._settle = settle  # type: ignore[method-assign]
    async with made.changing(row, "me"):
        steps.append("git")
    intent = (changes._open_intent, ("i", "r", "me", 5))
    assert steps == ["r", intent, "git", "r"]
    steps.clear()
    with pytest.raises(ValueError):
        async with made.changing(row, "me"):
            raise ValueError
    assert steps == ["r", intent, "r"]
    assert not made._locks.get("r") or not made._locks["r"].locked()


async def test_who_goes_away_interrupts_no_publishing():
    published = asyncio.Event()
    may_end = asyncio.Event()

    async def publish() -> None:
        await may_end.wait()
        published.set()

    task = asyncio.ensure_future(changes._shield(publish()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert published.is_set()


async def test_what_publishing_raises_is_raised():
    async def publish() -> None:
        raise RepositoryGone

    with pytest.raises(RepositoryGone):
        await changes._shield(publish())


@pytest.mark.parametrize(
    ("arn", "tags"),
    [
        ("arn:aws:codecommit:us-east-1:111111111111:shop", {"team": "a"}),
        ("arn:aws:codecommit:us-east-1:111111111111:gone", {}),
        ("arn:aws:s3:::shop", {}),
        ("*", {}),
    ],
)
async def test_tags_that_policies_ask_for(arn: str, tags: dict[str, str]):
    asked = []

    async def read(fn: Any, *where: str) -> Any:
        asked.append((fn, where))
        return SimpleNamespace(tags={"team": "a"}) if where[2] == "shop" else None

    app: Any = SimpleNamespace(store=SimpleNamespace(read=read))
    assert await penstock.repositories._tags(app, arn) == tags
    assert asked == (
        [(records.find, ("111111111111", "us-east-1", arn.rpartition(":")[2]))] if "codecommit" in arn else []
    )


@pytest.mark.parametrize("description", ["", "what"])
@pytest.mark.parametrize("branch", ["", "main"])
def test_what_is_said_of_a_repository(description, branch):
    row = SimpleNamespace(
        account="1", id="i", name="r", modified=2, created=1, description=description, default_branch=branch
    )
    call: Any = SimpleNamespace(app=SimpleNamespace(public_url="https://p"), arn=lambda *parts: ":".join(parts))
    said = {
        "accountId": "1", "repositoryId": "i", "repositoryName": "r", "lastModifiedDate": 2, "creationDate": 1,
        "cloneUrlHttp": "https://p/v1/repos/r", "Arn": "codecommit:r",
    }  # fmt: skip
    said |= {"repositoryDescription": description} if description else {}
    assert shared.metadata_of(call, row) == said | ({"defaultBranch": branch} if branch else {})
