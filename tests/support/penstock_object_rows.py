"""A bucket, versions and pieces as the store has them, for tests of pure rules of objects."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.objects.blobs import Blob, Piece
from penstock.objects.model import About, Bucket, Version, Versioning

BUCKET = Bucket(
    name="b", account="1" * 12, region="us-east-1", created=0, versioning=Versioning.NEVER, settings={}
)  # fmt: skip


def version(**changes: Any) -> Version:
    made: dict[str, Any] = {
        "bucket": "b", "key": "k", "rank": 0, "version": "null", "account": "1" * 12, "latest": True, "marker": False, "modified": 5,
        "etag": "e", "size": 10, "content": "c", "part_count": None, "about": About(),
    }  # fmt: skip
    return Version(**made | changes)


def refused(error: type[Exception], said: str = "") -> Any:
    return pytest.raises(error, match=said or None)


def piece(length: int, start: int = 0) -> Piece:
    return Piece(blob=Blob(id="x", size=length, key=b""), start=start, length=length)
