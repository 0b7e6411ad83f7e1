"""Lists agree with a naive model, and cost what they show, not what they skip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.objects import listing, records
from penstock.objects.listing import Selection, after_prefix
from penstock.objects.operations.lists import _behind, _objects, _versions
from penstock.store.schema import create_all

ALPHABET = "ab/-é\U0001f600"
KEYS = st.text(ALPHABET, min_size=1, max_size=6)


def row(bucket: str, key: str, rank: int, *, latest: bool = True) -> dict:
    return {
        "bucket": bucket, "key": key.encode(), "rank": rank, "version": f"v{rank}", "account": "1", "region": "r",
        "latest": latest, "live": latest, "marker": False, "modified": 0, "etag": "", "size": 0, "content": "", "about": {},
    }  # fmt: skip


def connection(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    create_all(engine)
    with engine.connect() as conn:
        yield conn
        conn.rollback()
    engine.dispose()


@pytest.fixture(scope="module")
def memory() -> Iterator[sa.Connection]:
    yield from connection("sqlite://")


@pytest.fixture(params=["sqlite", "postgresql"])
def conn(request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    yield from connection(request.getfixturevalue("postgresql_url") if request.param == "postgresql" else "sqlite://")


def naive(keys: set[str], prefix: str, delimiter: str) -> list[str]:
    """Every entry, in order: keys, and groups with a star."""
    entries: dict[bytes, str] = {}
    for key in keys:
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            entries[key.encode()] = key
        else:
            group = key[: at + len(delimiter)]
            entries[group.encode()] = group + "*"
    return [entries[key] for key in sorted(entries)]


def entries_of(page: listing.Page) -> list[str]:
    return [e.decode() + "*" if isinstance(e, bytes) else e.key.decode() for e in page.entries]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.sets(KEYS, max_size=25),
    prefix=st.text(ALPHABET, max_size=3),
    delimiter=st.sampled_from(["", "/", "a", "//", "é"]),
    limit=st.integers(1, 7),
)
def test_pages_put_together_are_the_list(memory, keys: set[str], prefix: str, delimiter: str, limit: int) -> None:
    memory.execute(sa.delete(records.versions))
    if keys:
        memory.execute(sa.insert(records.versions), [row("b", key, 0) for key in keys])
    selection = Selection(prefix=prefix.encode(), delimiter=delimiter.encode(), limit=limit)
    expected = naive(keys, prefix, delimiter)
    seen: list[str] = []
    start, inclusive = (b"",), False
    for _ in range(40):
        page = _objects(memory, "b", start, inclusive, selection)
        assert len(page.entries) <= limit
        seen += entries_of(page)
        if not page.truncated:
            break
        last = page.entries[-1]
        # As version 2's tokens continue, and as version 1's markers do: both say the same.
        start, inclusive = ((last,), True) if isinstance(last, bytes) else ((last.key,), False)
        marker = last if isinstance(last, bytes) else last.key
        assert entries_of(_objects(memory, "b", start, inclusive, selection)) == entries_of(
            _objects(memory, "b", *_behind(marker, selection), selection)
        )
    assert seen == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.dictionaries(KEYS, st.integers(1, 4), max_size=10),
    delimiter=st.sampled_from(["", "/"]),
    limit=st.integers(1, 5),
)
def test_versions_go_on_behind_a_version(memory, counts: dict[str, int], delimiter: str, limit: int) -> None:
    memory.execute(sa.delete(records.versions))
    rows = [row("b", key, -n, latest=n == count - 1) for key, count in counts.items() for n in range(count)]
    if rows:
        memory.execute(sa.insert(records.versions), rows)
    selection = Selection(delimiter=delimiter.encode(), limit=limit)
    expected: list[str] = []
    for entry in naive(set(counts), "", delimiter):
        expected += [entry] if entry.endswith("*") else [f"{entry}:v{-n}" for n in reversed(range(counts[entry]))]
    seen: list[str] = []
    key, version = "", ""
    for _ in range(60):
        page = _versions(memory, "b", key, version, selection)
        for entry in page.entries:
            seen.append(entry.decode() + "*" if isinstance(entry, bytes) else f"{entry.key.decode()}:{entry.version}")
        if not page.truncated:
            break
        last = page.entries[-1]
        key, version = (last.decode(), "") if isinstance(last, bytes) else (last.key.decode(), last.version)
    assert seen == expected


def test_both_databases_order_by_bytes(conn) -> None:
    keys = ["a", "B", "é", "z", "\U0001f600", "ﬀ", "a/b", "A", "~", "\x01"]
    conn.execute(sa.insert(records.versions), [row("b", key, 0) for key in keys])
    page = _objects(conn, "b", (b"",), False, Selection())
    assert entries_of(page) == sorted(keys, key=str.encode)


def test_groups_are_skipped_not_scanned(conn) -> None:
    rows = [row("b", f"logs/{day:02}/{n:05}", 0) for day in range(20) for n in range(500)]
    conn.execute(sa.insert(records.versions), rows)
    read = 0
    question = listing.objects_from(conn, "b")

    def counted(start, inclusive, size):
        nonlocal read
        found = question(start, inclusive, size)
        read += len(found)
        return found

    selection = Selection(prefix=b"logs/", delimiter=b"/", limit=100)
    page = listing.page(counted, lambda r: (r.key,), (b"",), inclusive=False, selection=selection)
    assert entries_of(page) == [f"logs/{day:02}/*" for day in range(20)]
    assert read < 101 + 20 * 20


def test_the_end_of_a_prefix() -> None:
    assert after_prefix(b"a") == b"b"
    assert after_prefix(b"a\xff") == b"b"
    assert after_prefix(b"\xff") is None
    assert after_prefix(b"") is None
