"""Changes of references: an intent first, then git, then the rows and their events in one transaction.

Git's files say which references there are; the rows say which of them have been published. Whatever changes git's files
holds the repository's lock and has left an intent, so that after any crash the differences between the two are exactly what
was not published yet: one change, one event.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import sqlalchemy as sa

from penstock import durable
from penstock.pools import FILES, REMOVALS
from penstock.repositories import records
from penstock.repositories.events import REFERENCE_UPDATED
from penstock.repositories.git import SECONDS, Git, GitFailed, Pointer
from penstock.repositories.names import HEADS, is_reference, kind_of
from penstock.store import jobs
from penstock.store.events import Event, emit
from penstock.store.failpoints import failpoint
from penstock.store.ids import ordered_uuid
from penstock.wire.call import partition_of

if TYPE_CHECKING:
    from penstock.application import App

TIDY = "repositories.tidy"
TIDY_PACKS = 50  # every push leaves one; git's own gc.autoPackLimit
LOCK_SECONDS = 300.0  # how long a change waits for the one before it
_CLOCKS_DIFFER_MS = 2000  # the time of a file is coarser than ours
_ABANDONED_SECONDS = 3600  # folders without a row that are older than this were left by a crash
_log = logging.getLogger("penstock.repositories")


class RepositoryBusy(Exception):
    """Another change of the repository does not end."""


class RepositoryGone(Exception):
    """The repository was deleted meanwhile."""


@dataclass(frozen=True, slots=True)
class Change:
    """One reference that is not where its row says."""

    name: str  # in full
    old: Pointer | None
    new: Pointer | None


class Changes:
    """The repositories of one installation on this node's disk."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.folder = app.settings.data_dir / "git"
        self.temporary = app.settings.data_dir / "tmp"
        self.git = Git(self.folder)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def path(self, row: Any) -> Path:
        """The bare repository of a row."""
        return self.folder / row.account / row.region / f"{row.id}.git"

    @contextlib.asynccontextmanager
    async def locked(self, row: Any) -> AsyncIterator[int]:
        """Hold the repository against every other change, of any process on this disk; gives the lock's descriptor.

        Who inherits the descriptor holds the lock too: a git that outlives a killed server keeps it until it ends.
        Raises RepositoryBusy.
        """
        lock = self._locks.get(row.id)
        if lock is None:
            lock = self._locks[row.id] = asyncio.Lock()
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await lock.acquire()
        except TimeoutError:
            raise RepositoryBusy from None
        try:
            descriptor = await self._file_lock(self.path(row).with_suffix(".lock"))
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        finally:
            lock.release()

    @contextlib.asynccontextmanager
    async def changing(self, row: Any, caller: str) -> AsyncIterator[int]:
        """A block in which git changes references on behalf of `caller` (an ARN); gives the lock's descriptor.

        When it ends, well or not, what changed is written and published; only then may anybody be answered.
        """
        async with self.locked(row) as descriptor:
            await self._settle(row.id)  # what an earlier change could not finish is its, not ours
            intent = self._app.ids.uuid()
            await self._app.store.write(_open_intent, intent, row.id, caller, self._app.clock.now())
            failpoint("repositories.intent_written")
            try:
                yield descriptor
            finally:
                failpoint("repositories.references_changed")
                await _shield(self._settle(row.id))
                failpoint("repositories.references_published")

    async def reconcile(self) -> None:
        """Settle what was under way when the process ended, and remove folders that never got a row or lost it."""
        self.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        await FILES.run(durable.make_folder, self.folder)
        left = await self._app.store.scan(records.open_intents)
        for repository in {intent.repository for intent in left}:
            row = await self._app.store.read(records.by_id, repository)
            if row is not None and self.path(row).is_dir():
                async with self.locked(row):
                    await REMOVALS.run(_clear_quarantine, self.path(row))
                    await self._settle(repository)
                _log.info("repositories.reconciled", extra={"repository": row.name})
        kept = set(await self._app.store.scan(_all_ids))
        await REMOVALS.run(self._sweep, kept)

    async def create(self, row: Mapping[str, Any]) -> None:
        """Make the bare repository of a row that is about to be written."""
        await self.git.create(self.folder / row["account"] / row["region"] / f"{row['id']}.git")

    async def tidy(self, repository_id: str) -> None:
        """Join a repository's packs. No object is dropped: a pipeline may ask for a commit that no branch has any more."""
        row = await self._app.store.read(records.by_id, repository_id)
        if row is None or not self.path(row).is_dir():
            return
        folder = str(self.path(row))
        await self.git.output("-C", folder, "repack", "-a", "-d", "-k", "-q", seconds=SECONDS)
        await self.git.output("-C", folder, "pack-refs", "--all", "--prune")

    async def remove(self, row: Any) -> None:
        """Remove the files of a repository whose row is gone."""
        await REMOVALS.run(shutil.rmtree, self.path(row), ignore_errors=True)
        self.path(row).with_suffix(".lock").unlink(missing_ok=True)

    async def _settle(self, repository_id: str) -> None:
        """Publish what changed since the rows were written. The lock is held."""
        open_intents = await self._app.store.read(records.open_intents, repository_id)
        if not open_intents:
            return
        row = await self._app.store.read(records.by_id, repository_id)
        if row is None:
            raise RepositoryGone
        folder = self.path(row)
        found = await self.git.references(folder)
        branch = await self._default_branch(row, folder, found)
        crowded = await FILES.run(_packs, folder) > TIDY_PACKS
        await FILES.run(_sync_names, folder, min(intent.at for intent in open_intents) - _CLOCKS_DIFFER_MS)
        failpoint("repositories.references_compared")
        await self._app.store.write(
            _publish,
            repository_id=repository_id,
            found=found,
            intents=[intent.id for intent in open_intents],
            caller=open_intents[-1].caller,
            branch=branch,
            tidy=crowded,
            app=self._app,
        )

    async def _default_branch(self, row: Any, folder: Path, found: Mapping[str, Pointer]) -> str | None:
        """The default branch: the first one that was ever pushed (AWS CodeCommit), until UpdateDefaultBranch moves HEAD."""
        if row.default_branch is not None:
            return (await self.git.head(folder)).removeprefix(HEADS)
        branches = sorted(name for name in found if name.startswith(HEADS) and is_reference(name))
        if not branches:
            return None
        preferred = [name for name in (f"{HEADS}main", f"{HEADS}master") if name in found]
        chosen = (preferred or branches)[0]
        await self.git.set_head(folder, chosen)
        return chosen.removeprefix(HEADS)

    async def _file_lock(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        ends = time.monotonic() + LOCK_SECONDS
        pause = 0.005
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > ends:
                    os.close(descriptor)
                    raise RepositoryBusy from None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.2)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                return descriptor

    def _sweep(self, kept: set[str]) -> None:
        before = time.time() - _ABANDONED_SECONDS
        for path in self.folder.glob("*/*/*.git"):
            if path.stem not in kept and path.stat().st_mtime < before:
                shutil.rmtree(path, ignore_errors=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
        for path in self.folder.glob("*/*/*.lock"):
            if path.stem not in kept and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
        for path in self.temporary.glob("git-*"):  # one process serves a data folder: whose they were is gone
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _clear_quarantine(folder: Path) -> None:
    """Objects of a push that never became part of the repository. The lock is held: no push is under way."""
    for path in (folder / "objects").glob("tmp_objdir-*"):
        shutil.rmtree(path, ignore_errors=True)


async def _shield(publishing: Coroutine[Any, Any, None]) -> None:
    """Await to the end: a caller that goes away interrupts neither the publishing nor the lock."""
    task = asyncio.ensure_future(publishing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def differences(rows: Sequence[Any], found: Mapping[str, Pointer]) -> list[Change]:
    """The changes to publish, by name. Pure."""
    known = {row.name: Pointer(row.object, row.commit) for row in rows}
    names = sorted(name for name in known.keys() | found.keys() if is_reference(name))
    return [Change(name, known.get(name), found.get(name)) for name in names if known.get(name) != found.get(name)]


def _open_intent(conn: sa.Connection, intent: str, repository_id: str, caller: str, now: int) -> None:
    row = records.by_id(conn, repository_id, lock=True)
    if row is None:
        raise RepositoryGone
    conn.execute(
        records.intents.insert().values(
            id=intent, repository=repository_id, account=row.account, region=row.region, caller=caller, at=now
        )
    )


def _publish(
    conn: sa.Connection,
    *,
    repository_id: str,
    found: Mapping[str, Pointer],
    intents: list[str],
    caller: str,
    branch: str | None,
    tidy: bool,
    app: App,
) -> None:
    row = records.by_id(conn, repository_id, lock=True)
    if row is None:
        raise RepositoryGone
    table = records.references
    now = app.clock.now()
    changes = differences(conn.execute(sa.select(table).where(table.c.repository == repository_id)).all(), found)
    for change in changes:
        this = (table.c.repository == repository_id) & (table.c.name == change.name)
        if change.new is None:
            conn.execute(table.delete().where(this))
        elif change.old is None:
            conn.execute(
                table.insert().values(
                    repository=repository_id,
                    name=change.name,
                    account=row.account,
                    region=row.region,
                    object=change.new.object,
                    commit=change.new.commit,
                )
            )
        else:
            conn.execute(table.update().where(this).values(object=change.new.object, commit=change.new.commit))
        event = _event(row, change, caller)
        if event is not None:
            emit(conn, event, now=now, id=ordered_uuid())
    if changes or branch != row.default_branch:
        values: dict[str, Any] = {"default_branch": branch, "modified": now}
        conn.execute(records.repositories.update().where(records.repositories.c.id == repository_id).values(values))
    conn.execute(records.intents.delete().where(records.intents.c.id.in_(intents)))
    if tidy:
        where = {"account": row.account, "region": row.region}
        jobs.enqueue(conn, kind=TIDY, payload={"repository": row.id}, dedup=row.id, **where)
    failpoint("repositories.references_written")


def _event(row: Any, change: Change, caller: str) -> Event | None:
    kind, short = kind_of(change.name)
    if not kind:
        return None
    what = "referenceUpdated"
    if change.old is None:
        what = "referenceCreated"
    elif change.new is None:
        what = "referenceDeleted"
    payload = {
        "repositoryName": row.name,
        "repositoryId": row.id,
        "repositoryArn": repository_arn(row),
        "event": what,
        "referenceType": kind,
        "referenceName": short,
        "referenceFullName": change.name,
        "callerUserArn": caller,
    }
    if change.new is not None:
        payload["commitId"] = change.new.commit
    if change.old is not None:
        payload["oldCommitId"] = change.old.commit
    return Event(
        type=REFERENCE_UPDATED.name,
        account=row.account,
        region=row.region,
        aggregate=f"repository/{row.account}/{row.region}/{row.name}",
        payload=payload,
        actor=caller,
    )


def repository_arn(row: Any) -> str:
    """The ARN of a repository's row."""
    return f"arn:{partition_of(row.region)}:codecommit:{row.region}:{row.account}:{row.name}"


def _sync_names(folder: Path, since: int) -> None:
    """Wait until the packs and references that appeared since then (ms) are on disk by name: git syncs only what is in them."""
    for path in (folder / "objects" / "pack", folder):
        durable.sync_folder(path)
    for path, _, _ in os.walk(folder / "refs"):
        if Path(path).stat().st_mtime_ns >= since * 1_000_000:
            durable.sync_folder(Path(path))


def _packs(folder: Path) -> int:
    return sum(1 for _ in (folder / "objects" / "pack").glob("*.pack"))


def _all_ids(conn: sa.Connection) -> list[str]:
    return list(conn.execute(sa.select(records.repositories.c.id)).scalars())


__all__ = ["Change", "Changes", "GitFailed", "RepositoryBusy", "RepositoryGone", "differences", "repository_arn"]
