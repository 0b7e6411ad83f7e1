from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import penstock.objects
from penstock.app import compose
from penstock.application import App, Settings
from penstock.blobs.backend import DiskBackend
from penstock.component import Component
from penstock.objects.blobs import Blobs
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.wire.call import PrincipalKind, Session

ACCOUNT = "111111111111"
ROOT = Session(account=ACCOUNT, kind=PrincipalKind.ROOT, arn=f"arn:aws:iam::{ACCOUNT}:root", principal_id=ACCOUNT)


class PlainSealer:
    """Marks instead of encrypting: what is tested here is below it."""

    def seal(self, plaintext: bytes, context: str) -> bytes:
        return context.encode() + b"\0" + plaintext

    def open(self, sealed: bytes, context: str) -> bytes:
        marked, _, plaintext = sealed.partition(b"\0")
        assert marked == context.encode()
        return plaintext

    def stale(self, _sealed: bytes) -> bool:
        return False

    def renewed(self, _sealed: bytes, _context: str) -> bytes:
        raise AssertionError


class Everyone:
    """An identity that allows everything, and notes what it was asked."""

    store: Store

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def change(self, fn: Any) -> Any:
        return await self.store.write(fn)

    async def authorize(self, call: Any, action: str, resources: Sequence[str]) -> None:
        assert action.startswith("s3:")
        assert all(resource == "*" or resource.startswith("arn:aws:s3:::") for resource in resources)
        self.asked += [(action.removeprefix("s3:"), one.removeprefix("arn:aws:s3:::")) for one in resources]


class Output(dict[str, Any]):
    """What an operation answers: a member that is left out reads as None."""

    def __missing__(self, member: str) -> None:
        return None


@dataclass
class Harness:
    """The component alone, in process."""

    app: App
    blobs: Blobs

    async def asks(self, operation: str, **input: Any) -> list[tuple[str, str]]:
        """Which rights to what an operation asks for."""
        identity: Any = self.app.identity
        identity.asked.clear()
        await self(operation, **input)
        return list(identity.asked)

    async def __call__(self, operation: str, **input: Any) -> dict[str, Any]:
        return Output(await self.app.invoke(ROOT, "s3", operation, input, region="us-east-1"))

    async def read(self, bucket: str, key: str, **more: Any) -> bytes:
        return await (await self("GetObject", Bucket=bucket, Key=key, **more))["Body"].read()

    def files(self) -> set[str]:
        return {name for _, _, names in os.walk(self.app.settings.data_dir / "blobs") for name in names}

    def age(self) -> None:
        """Make every file look old."""
        for folder, _, names in os.walk(self.app.settings.data_dir / "blobs"):
            for name in names:
                os.utime(os.path.join(folder, name), (1, 1))


@contextlib.asynccontextmanager
async def harness_on(store: Store, clock: ManualClock, folder: Path) -> AsyncIterator[Harness]:
    settings = Settings(data_dir=folder, master_key_file=folder / "master.key")
    objects = None

    def component(app: App) -> Component[Blobs]:
        nonlocal objects
        objects = penstock.objects.component(app)
        return objects

    everyone = Everyone()
    everyone.store = store
    stand_in = Component(name="identity", state=None, identity=everyone)  # type: ignore[arg-type]
    async with compose(settings, components=(lambda _app: stand_in, component), store=store, clock=clock) as app:
        assert objects is not None
        for start in app.starts:
            await start()
        try:
            yield Harness(app, objects.state)
        finally:
            objects.state.close()


@pytest.fixture
async def harness(any_store: Store, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Harness]:
    async with harness_on(any_store, clock, tmp_path) as harness:
        yield harness
        assert harness.blobs.unfinished == set()  # of each blob it was decided whether it stays


@pytest.fixture
def backend(tmp_path: Path) -> DiskBackend:
    backend = DiskBackend(tmp_path / "blobs")
    backend.prepare()
    return backend


@pytest.fixture
def blobs(backend: DiskBackend) -> Iterator[Blobs]:
    blobs = Blobs(backend, PlainSealer(), threads=2)
    yield blobs
    blobs.close()


@pytest.fixture
def harness_factory():
    """`harness_factory(store, clock, folder)`: for tests that run the loop themselves."""
    return harness_on


@pytest.fixture(scope="module")
def s3(live):
    return live.client("s3")


@pytest.fixture(scope="module")
def key(live) -> str:
    """The ARN of a key of KMS."""
    return live.client("kms").create_key()["KeyMetadata"]["Arn"]


@pytest.fixture(scope="module")
def bucket(s3) -> str:
    s3.create_bucket(Bucket="plain")
    return "plain"


@pytest.fixture(scope="module")
def versioned(s3) -> str:
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return "versioned"
