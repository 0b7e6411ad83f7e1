"""GetJournal of long journals, and what `penstock journal` prints of texts that others chose."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.cli import journal as command
from penstock.fleet.operations import journals
from penstock.store import journal
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.store.journal import Entry, Found
from penstock.store.retention import Retention, Sweeper

OWNER = {"account": "111111111111", "region": "us-east-1"}


@pytest.mark.parametrize("about", ["e1", "never-named"])
async def test_the_entries_of_one_execution_are_looked_for_in_parts_and_beside_the_event_loop(
    any_store: Store, monkeypatch: pytest.MonkeyPatch, about: str
):
    named = {1, 2, 2500, 2501, 6900}
    entries = [
        Entry(aggregate="pipeline/p", sequence=n, at=n, seed=n, input={"execution": "e1" if n in named else "e2"}, **OWNER)
        for n in range(1, 7001)
    ]  # fmt: skip
    await any_store.write(journal.append, entries)

    def read(*_: object) -> None:
        pytest.fail("on SQLite, a read runs on the event loop")

    monkeypatch.setattr(any_store, "read", read)
    tokens = SimpleNamespace(
        seal=lambda _call, _filters, keyset: json.dumps(keyset), open=lambda *args: json.loads(args[2])
    )
    call = SimpleNamespace(app=SimpleNamespace(store=any_store, page_tokens=tokens), **OWNER)
    call.memo = {"journal": Found(aggregate="pipeline/p", arn="", about=about)}
    found, pages, token = [], 0, {}
    while True:
        page = await journals.get_journal(None, call, {"id": about, "maxResults": 2, **token})
        found += [entry["sequence"] for entry in page["entries"]]
        pages += 1
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert found == (sorted(named) if about == "e1" else [])
    assert pages == (3 if about == "e1" else 2)


async def test_the_pages_of_an_aggregate_hold_each_entry_once(any_store: Store):
    entries = [Entry(aggregate="build/b", sequence=n, at=n, seed=n, input={}, **OWNER) for n in range(1, 6)]
    await any_store.write(journal.append, entries)
    call = SimpleNamespace(**OWNER)
    found = Found(aggregate="build/b", arn="")
    pages = [await any_store.scan(journals._page, call, found, after=after, limit=2) for after in (0, 2, 4, 5)]
    assert [([entry.sequence for entry in page], more) for page, more in pages] == [
        ([1, 2], 2), ([3, 4], 4), ([5], None), ([], None),
    ]  # fmt: skip


async def test_what_was_deleted_is_found_by_its_names_and_the_newest_of_a_name(any_store: Store, clock: ManualClock):
    async def remember(aggregate: str, **more: Any) -> int:
        clock.advance(1000)
        await any_store.write(
            lambda conn: journal.remember(conn, aggregate, **OWNER, arn=f"arn of {aggregate}", **more)
        )
        return clock.now()

    async def former(name: str, kind: str = "pipeline", account: str = OWNER["account"]) -> Found | None:
        return await any_store.read(journal.former, account, OWNER["region"], name, kind=kind)

    first = await remember("pipeline/1", names=("p", "1"), about=("e1", "e2"))
    second = await remember("pipeline/2", names=("p", "2"))
    await remember("build/b", names=("p:b",))
    assert await former("p") == Found(aggregate="pipeline/2", arn="arn of pipeline/2", deleted=second)
    assert await former("1") == Found(aggregate="pipeline/1", arn="arn of pipeline/1", deleted=first)
    assert await former("e2") == Found(aggregate="pipeline/1", arn="arn of pipeline/1", about="e2", deleted=first)
    assert await former("p:b") is None
    assert await former("p", account="2" * 12) is None
    assert (await former("p:b", kind="build")).aggregate == "build/b"  # type: ignore[union-attr]
    clock.advance(2000)
    sweeper = Sweeper(any_store, Retention(journal=3500))
    assert (await sweeper.sweep())["former_aggregates"] == 4  # the journal's entries go at the same time
    assert await former("1") is None
    assert await former("2") is not None


def test_what_would_let_a_reader_approve_is_withheld():
    """The token of an approval, and the seed that it was drawn from."""
    found = dict(aggregate="pipeline/p", at=1, seed=7, **OWNER)
    started = {"type": "ActionStarted", "action": "a", "token": "s3cret"}
    none = {"type": "ActionStarted", "action": "b", "token": ""}
    entry = Entry(sequence=1, input={"type": "StageEntered"}, effects=[started, none], **found)
    answer = journals._to_api(entry, frozenset({"token"}))
    assert "s3cret" not in json.dumps(answer)
    assert answer["seed"] is None
    assert [json.loads(effect)["token"] for effect in answer["effects"]] == ["***", ""]
    plain = Entry(sequence=2, input={"type": "ApprovalAnswered", "token": "s3cret"}, **found)
    assert json.loads(journals._to_api(plain, frozenset({"token"}))["input"])["token"] == "***"
    assert (
        journals._to_api(Entry(sequence=3, input={"type": "X"}, effects=[none], **found), frozenset({"token"}))["seed"]
        == 7
    )


def test_texts_that_others_chose_do_nothing_to_the_terminal():
    entry = {
        "sequence": 1,
        "time": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "input": json.dumps({"type": "Submitted", "summary": "a\x1b]0;title\x07b", "list": ["\x9b2J", "\u202egnp"]}),
        "effects": [json.dumps({"type": "Told", "text": "fine — ünïcode\x1b[1A"})],
        "actor": "arn:aws:sts::1:assumed-role/r/\x1b[2J",
    }
    answer = command._as_text(entry)
    assert all(line.isprintable() for line in answer.splitlines())
    assert r"summary=a\x1b]0;title\x07b" in answer
    assert "fine — ünïcode" in answer
