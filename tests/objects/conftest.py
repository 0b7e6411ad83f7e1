from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.objects.backend import DiskBackend
from penstock.objects.blobs import Blobs


class PlainSealer:
    """Marks instead of encrypting: what is tested here is below it."""

    def seal(self, plaintext: bytes, context: str) -> bytes:
        return context.encode() + b"\0" + plaintext

    def open(self, sealed: bytes, context: str) -> bytes:
        marked, _, plaintext = sealed.partition(b"\0")
        assert marked == context.encode()
        return plaintext


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
