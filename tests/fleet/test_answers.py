"""What the health pages and our own operations of jobs and journals answer, beside the server: codes, texts, pages, who is told what."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import penstock.fleet
from penstock.fleet import errors, health, lag, readings
from penstock.fleet.health import Health
from penstock.fleet.operations import jobs, journals
from penstock.fleet.settings import token_file
from penstock.store import dead_letters
from penstock.store.journal import Entry, Found

# --- the pages --------------------------------------------------------------------------------------------------------


def pages(*, token: str = "", failing: list[str] | None = None) -> Any:
    """The health pages of an application whose stores take every write."""

    async def write(_fn: Any) -> None:
        """At once."""

    settings = SimpleNamespace(of=lambda _kind: SimpleNamespace(metrics_token=token), data_dir=Path("/nowhere"))
    loops = SimpleNamespace(failing=lambda: failing or [])
    return Health(SimpleNamespace(settings=settings, store=SimpleNamespace(write=write, loops=loops), readings=[]))  # type: ignore[arg-type]


async def got(app: Any, path: str, client: str = "127.0.0.1") -> tuple[int, str]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app.mounts[path]({"client": (client, 5), "headers": []}, None, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


async def test_what_the_pages_say(monkeypatch):
    async def run(*_: Any) -> None:
        """The disk takes what it is given."""

    async def usage(*_: Any) -> Any:
        return SimpleNamespace(free=1, total=2)

    monkeypatch.setattr(health, "FILES", SimpleNamespace(run=run))
    monkeypatch.setattr(readings, "FILES", SimpleNamespace(run=usage))

    assert await got(pages(), "/healthz") == (200, "ok\n")
    assert await got(pages(), "/readyz") == (200, "ready\n")
    assert await got(pages(failing=["a", "b"]), "/readyz") == (
        503,
        "the background loop a fails; the server's log says why\nthe background loop b fails; the server's log says why\n",
    )
    status, text = await got(pages(), "/metrics")
    assert (status, "penstock_loop_lag_worst_seconds" in text) == (200, True)
    assert await got(pages(), "/metrics", client="10.0.0.1") == (
        403,
        "Metrics can be read from 127.0.0.1 only, or with `Authorization: Bearer TOKEN` and the token of the server's option "
        "--metrics-token-file.\n",
    )


def test_how_much_is_written_and_waited_for(tmp_path: Path):
    """What a disk does not take at once it may not take at all: 64 KB at a time."""
    assert (health._READY_SECONDS, health._PROBE_BYTES) == (4, 65_536)
    written: list[int] = []
    removed: list[bool] = []

    class Probe:
        def open(self, _mode: str, buffering: int) -> Any:
            assert buffering == 0
            return contextlib.nullcontext(SimpleNamespace(write=lambda data: written.append(len(data)) or len(data)))

        def unlink(self, *, missing_ok: bool) -> None:
            removed.append(missing_ok)

    health._write(Probe())  # type: ignore[arg-type]
    assert (written, removed) == ([65_536], [True])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a" * 16, ""),
        (b"  " + b"a" * 16 + b"\n", ""),
        (b"a" * 15, "holds no token: it is one line of at least 16 characters without blanks"),
        (b"a" * 15 + b"\n", "holds no token"),
        (b"a" * 16 + b" b", "holds no token"),
        (b"a" * 16 + b"\nb", "holds no token"),
        (b"a" * 16 + b"\x7f", "holds no token"),
        (b"a" * 16 + b"\xe9", "it is no text"),
        (("a" * 16 + "é").encode(), "holds no token"),
        (b"a" * 4_096 + b"\n\n", "it has more than 4,096 characters"),
        (None, "No such file or directory"),
    ],
)
def test_a_token_of_metrics_is_one_line(tmp_path: Path, content: bytes | None, said: str):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    if not said:
        assert token_file(str(path)) == "a" * 16
        return
    with pytest.raises(ValueError, match=said) as refused:
        token_file(str(path))
    assert str(path) in str(refused.value)


async def test_how_late_the_loop_is_asked_while_it_is_started():
    started: list[Any] = []
    stopped: list[Any] = []

    class Loops:
        def start(self, *given: Any) -> str:
            started.append(given)
            return "the loop"

        async def stop(self, loop: Any) -> None:
            stopped.append(loop)

    asking = lag.Lag(SimpleNamespace(store=SimpleNamespace(loops=Loops())))  # type: ignore[arg-type]
    await asking.start()
    assert started == [("fleet.lag", asking._turn, lag._nothing)]
    await asking.stop()
    assert stopped == ["the loop"]
    await asyncio.wait_for(lag._nothing(), 60)


# --- jobs that were given up ------------------------------------------------------------------------------------------


class Pages:
    """Page tokens in plain."""

    def seal(self, _call: Any, _filters: Any, keyset: Any) -> str:
        return json.dumps(keyset)

    def open(self, *given: Any) -> Any:
        return json.loads(given[2])


def calling(store: Any, *, account: str = "1", first: str = "1") -> Any:
    app = SimpleNamespace(store=store, settings=SimpleNamespace(account=first), page_tokens=Pages())
    return SimpleNamespace(
        app=app, account=account, region="r", memo={}, arn=lambda service, rest: f"arn:{service}:{rest}"
    )


def job(number: int) -> Any:
    return SimpleNamespace(id=f"j{number}", kind="k", error="e", failures=3, created=1, ended=number)


@pytest.mark.parametrize(("account", "accounts"), [("1", ("1", "")), ("2", ("2",))])
async def test_jobs_of_no_account_are_the_first_ones(account, accounts):
    asked: list[Any] = []

    async def read(fn: Any, **given: Any) -> list[Any]:
        asked.append((fn, given))
        return [job(number) for number in range(101, 0, -1)]

    call = calling(SimpleNamespace(read=read), account=account)
    answer = await jobs.list_dead_jobs(None, call, {})  # type: ignore[arg-type]
    assert asked == [(dead_letters.dead, {"accounts": accounts, "region": "r", "after": None, "limit": 101})]
    assert (len(answer["jobs"]), answer["jobs"][-1]["jobId"]) == (100, "j2")
    assert answer["jobs"][0] == {
        "jobId": "j101",
        "kind": "k",
        "error": "e",
        "failures": 3,
        "createTime": 1,
        "endTime": 101,
    }
    again = await jobs.list_dead_jobs(None, call, {"nextToken": answer["nextToken"]})  # type: ignore[arg-type]
    assert asked[1][1]["after"] == [2, "j2"]
    assert again["jobs"]


@pytest.mark.parametrize("there", [True, False])
async def test_a_job_that_is_not_there_is_not_revived(there):
    async def write(fn: Any, id_: str, **given: Any) -> bool:
        assert (fn, id_, given) == (dead_letters.revive, "j", {"accounts": ("1", ""), "region": "r"})
        return there

    call = calling(SimpleNamespace(write=write))
    if there:
        assert await jobs.revive_job(None, call, {"jobId": "j"}) == {}  # type: ignore[arg-type]
        return
    with pytest.raises(errors.JobNotFoundException) as refused:
        await jobs.revive_job(None, call, {"jobId": "j"})  # type: ignore[arg-type]
    assert refused.value.message == "There is no job j that was given up, or a newer one does its work."


# --- journals ---------------------------------------------------------------------------------------------------------

FOUND = Found(aggregate="build/b", arn="arn:of:build")


async def test_a_journal_is_of_whoever_knows_its_id_first():
    """An id that names nothing has an ARN of its own."""
    asked: list[str] = []

    def finder(name: str, found: Found | None) -> Any:
        def find(_conn: Any, account: str, region: str, id: str) -> Found | None:
            assert (account, region, id) == ("1", "r", "b")
            asked.append(name)
            return found

        return find

    async def read(fn: Any, *given: Any) -> Any:
        return fn("conn", *given)

    call = calling(SimpleNamespace(read=read))
    call.app.journals = [finder("none", None), finder("one", FOUND), finder("never", FOUND)]
    assert await journals._resource(call, {"id": "b"}) == "arn:of:build"
    assert (asked, call.memo["journal"]) == (["none", "one"], FOUND)
    call.app.journals = [finder("none", None)]
    assert await journals._resource(call, {"id": "b"}) == "arn:penstock:journal/b"
    with pytest.raises(errors.JournalNotFoundException) as refused:
        await journals.get_journal(None, call, {"id": "b"})  # type: ignore[arg-type]
    assert refused.value.message == (
        "There is no journal of b: nothing has this id or name, or its journal is not kept any more."
    )


@pytest.mark.parametrize(("deleted", "more"), [(None, None), (7, None), (None, 9), (0, 0)])
async def test_a_page_of_a_journal(deleted, more):
    entry = Entry(
        aggregate="build/b",
        sequence=3,
        at=5,
        seed=9,
        input={"type": "X"},
        effects=[{"type": "Y"}],
        account="1",
        region="r",
        cause="c",
    )
    asked: list[Any] = []

    async def scan(fn: Any, *given: Any, **where: Any) -> Any:
        asked.append((fn, given[1:], where))
        return [entry], more

    call = calling(SimpleNamespace(scan=scan))
    call.memo["journal"] = Found(aggregate="build/b", arn="", deleted=deleted)
    answer = await journals.get_journal(None, call, {"id": "b"})  # type: ignore[arg-type]
    assert asked == [(journals._page, (call.memo["journal"],), {"after": 0, "limit": 100})]
    assert answer == {
        "aggregate": "build/b",
        "entries": [{"sequence": 3, "time": 5, "seed": 9, "input": '{"type":"X"}', "effects": ['{"type":"Y"}'], "actor": None, "cause": "c"}],
        **({} if deleted is None else {"deleted": deleted}),
        **({} if more is None else {"nextToken": f"[{more}]"}),
    }  # fmt: skip
    if more is not None:
        await journals.get_journal(None, call, {"id": "b", "nextToken": answer["nextToken"], "maxResults": 2})  # type: ignore[arg-type]
        assert asked[1][2] == {"after": more, "limit": 2}


def test_our_own_service_has_its_model():
    assert penstock.fleet.MODEL.exists()


class Pipeline:
    """The journal of a pipeline with so many entries; every `named`th is of the execution."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, entries: int, named: int) -> None:
        self.read: list[tuple[int, int]] = []
        self.entries = entries
        monkeypatch.setattr(journals.journal, "read", self.some)
        monkeypatch.setattr(journals.journal, "names", lambda entry, _about: entry.sequence % named == 0)

    def some(self, _conn: Any, _aggregate: str, *, account: str, region: str, after: int, limit: int) -> list[Any]:
        assert (account, region) == ("1", "r")
        self.read.append((after, limit))
        return [SimpleNamespace(sequence=n) for n in range(after + 1, min(after + limit, self.entries) + 1)]

    def page(self, *, about: str, after: int, limit: int) -> tuple[list[int], int | None]:
        call: Any = SimpleNamespace(account="1", region="r")
        found: Any = SimpleNamespace(aggregate="p", about=about)
        entries, more = journals._page(None, call, found, after=after, limit=limit)  # type: ignore[arg-type]
        return [entry.sequence for entry in entries], more


def test_a_page_of_an_execution_looks_through_five_thousand_entries(monkeypatch):
    pipeline = Pipeline(monkeypatch, 20_000, 7000)
    assert pipeline.page(about="e", after=0, limit=2) == ([], 5000)
    assert pipeline.read == [(after, 500) for after in range(0, 5000, 500)]
    assert pipeline.page(about="e", after=5000, limit=2) == ([7000], 10_000)
    assert pipeline.page(about="e", after=19_000, limit=2) == ([], None)


def test_a_page_that_is_full_goes_on_behind_its_last_entry(monkeypatch):
    pipeline = Pipeline(monkeypatch, 10, 3)
    assert pipeline.page(about="e", after=0, limit=2) == ([3, 6], 8)
    assert pipeline.page(about="e", after=8, limit=2) == ([9], None)
    assert pipeline.page(about="", after=0, limit=4) == ([1, 2, 3, 4], 4)
    assert pipeline.page(about="", after=4, limit=6) == ([5, 6, 7, 8, 9, 10], None)
    assert pipeline.read[-2:] == [(0, 5), (4, 7)]
