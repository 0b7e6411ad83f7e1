"""Changes of a repository: who waits for its lock, what is published, and what is settled after a kill."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_git_child import ScriptedGit

from penstock.repositories import changes, records
from penstock.repositories.changes import Change, Changes, RepositoryBusy, RepositoryGone
from penstock.repositories.errors import RepositoryDoesNotExistException
from penstock.repositories.git import Pointer
from penstock.repositories.operations import repositories
from penstock.store.ids import time_of


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
    kept.git = git = ScriptedGit()
    await kept.tidy("none")
    await kept.tidy("i")
    assert git.asked == []
    (tmp_path / "git" / "1" / "r" / "i.git").mkdir(parents=True)
    await kept.tidy("i")
    assert [asked[2] for asked in git.asked] == ["repack", "pack-refs"]


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
    app: Any = SimpleNamespace(clock=SimpleNamespace(now=lambda: now[0]))
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
    assert [(*event[:2], event[2]["now"]) for event in emitted] == [
        ("referenceCreated", "main", 100),
        ("referenceCreated", "v1", 100),
    ]
    assert all(
        time_of(event[2]["id"]) for event in emitted
    )  # a trace begins with the push, at the time that is in its event's id
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
    made.git = ScriptedGit(b"11  refs/heads/side\n22  refs/heads/master\n")
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
    made.git = git = ScriptedGit(listed)
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
