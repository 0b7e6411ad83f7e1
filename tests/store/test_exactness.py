"""The store at its exact bounds: the last millisecond of what is kept, forms of ids and keys, and what each error is called."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import sqlite3
import time
import uuid
from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from penstock.store import dead_letters, errors, events, ids, jobs, masterkeys, records
from penstock.store.clock import ManualClock, SystemClock
from penstock.store.codec import Forms, UnknownForm
from penstock.store.database import Store
from penstock.store.events import Events
from penstock.store.jobs import JobState
from penstock.store.masterkeys import MasterKeyError
from penstock.store.resealing import Resealer
from penstock.store.retention import Expiring, Retention, Sweeper
from penstock.store.sealing import Sealer, SealError
from penstock.store.work import Retry, Work, backoff_ms

WHERE = {"account": "111111111111", "region": "us-east-1"}
DAY = 86_400_000

# --- what is kept -----------------------------------------------------------------------------------------------------


def test_how_long_rows_are_kept():
    kept = Retention()
    assert (kept.jobs, kept.dead_jobs, kept.events, kept.dead_deliveries, kept.journal) == (
        DAY, 90 * DAY, 7 * DAY, 90 * DAY, 366 * DAY,
    )  # fmt: skip
    assert (kept.batch, kept.every) == (1000, 600_000)


async def test_rows_stay_to_their_last_millisecond(any_store: Store, clock: ManualClock):
    now = clock.now()
    keep = Retention(jobs=10, dead_jobs=20, events=30, dead_deliveries=40, journal=50, batch=2)
    made = {"kind": "k", "topic": "work", **WHERE, "payload": {}, "attempt": 0, "failures": 0, "due": 0, "created": 0}
    states = {JobState.DONE: 10, JobState.CANCELLED: 10, JobState.DEAD: 20, JobState.READY: 1}

    def fill(conn: sa.Connection) -> None:
        for state, kept in states.items():
            for late in range(4):
                row = {"id": f"{state}-{late}", "state": state, "ended": now - kept - late}
                conn.execute(records.jobs.insert(), made | row)
        for late in (0, 1):
            aggregate = {"aggregate": f"a/{late}", **WHERE}
            conn.execute(records.event_sequences.insert(), aggregate | {"sequence": 1, "at": now - 30 - late})
            old = aggregate | {"at": now - 50 - late}
            entry = {"sequence": 1, "seed": 0, "input": {}, "effects": [], "actor": "", "cause": ""}
            conn.execute(records.journal.insert(), old | entry)
            conn.execute(records.former_aggregates.insert(), old | {"name": "a", "about": "", "arn": ""})

    await any_store.write(fill)
    swept = await Sweeper(any_store, keep).sweep()

    def left(conn: sa.Connection) -> tuple[set[str], list[list[str]]]:
        tables = (records.event_sequences, records.journal, records.former_aggregates)
        return (
            set(conn.execute(sa.select(records.jobs.c.id)).scalars()),
            [list(conn.execute(sa.select(table.c.aggregate)).scalars()) for table in tables],
        )

    every_ready = {f"{JobState.READY}-{late}" for late in range(4)}
    assert await any_store.scan(left) == ({f"{state}-0" for state in states} | every_ready, [["a/0"]] * 3)
    assert swept == dict.fromkeys(swept, 0) | {"jobs": 9, "event_sequences": 1, "journal": 1, "former_aggregates": 1}


async def test_a_sweep_goes_on_while_its_batches_are_full(store: Store, clock: ManualClock):
    made = {"kind": "k", "topic": "work", **WHERE, "payload": {}, "attempt": 0, "failures": 0, "due": 0, "created": 0}
    rows = [made | {"id": str(number), "state": JobState.DEAD, "ended": 5} for number in range(6)]
    await store.write(lambda conn: conn.execute(records.jobs.insert(), rows) and None)
    rule = Expiring(table=records.jobs, over=lambda now: records.jobs.c.ended < now - clock.now() + 6)
    assert (await Sweeper(store, Retention(batch=2, dead_jobs=10 * clock.now()), [rule]).sweep())["jobs"] == 6


async def test_what_was_given_up_is_listed_latest_first_for_its_owner(any_store: Store, clock: ManualClock):
    ended: list[str] = []
    for number in range(3):
        clock.advance(1)
        id = await any_store.write(lambda conn: jobs.enqueue(conn, kind="k", payload={}, **WHERE))
        made = {"state": JobState.DEAD, "ended": clock.now(), "failures": 20}
        await any_store.write(
            lambda conn: conn.execute(records.jobs.update().where(records.jobs.c.id == id).values(made)) and None
        )  # noqa: B023
        ended.append(id)
        assert await any_store.scan(dead_letters.count_dead) == number + 1

    async def listed(**more: Any) -> list[str]:
        where: dict[str, Any] = {"accounts": ["111111111111"], "region": "us-east-1"}
        return [job.id for job in await any_store.scan(dead_letters.dead, **where | more)]

    assert await listed() == ended[::-1]
    assert await listed(limit=2) == ended[:0:-1]
    last = await any_store.read(jobs.get, ended[1])
    assert last is not None
    assert await listed(after=[last.ended, last.id]) == ended[:1]
    assert await listed(accounts=["2" * 12]) == await listed(region="eu-west-1") == []
    others = ({"accounts": ["2" * 12], "region": "us-east-1"}, {"accounts": ["111111111111"], "region": "eu-west-1"})
    for where in others:
        assert not await any_store.write(dead_letters.revive, ended[0], **where)
    mine = {"accounts": ["2" * 12, "111111111111"], "region": "us-east-1"}
    assert [await any_store.write(dead_letters.revive, ended[0], **mine) for _ in range(2)] == [True, False]
    revived = await any_store.read(jobs.get, ended[0])
    assert revived is not None
    assert (revived.state, revived.failures, revived.due, revived.ended) == (JobState.READY, 0, clock.now(), None)


# --- the worker -------------------------------------------------------------------------------------------------------


async def settled(store: Store, id: str, *, tried: bool = True) -> jobs.Job:
    """The job, once nobody has it in hands any more."""
    async with asyncio.timeout(60):
        while True:
            job = await store.read(jobs.get, id)
            assert job is not None
            if job.state is not JobState.LEASED and (job.attempt or not tried):
                return job
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("raised", "failures", "state", "counted", "after", "error"),
    [
        (LookupError("no"), 0, JobState.READY, 1, None, "LookupError: no"),
        (LookupError("no"), 1, JobState.DEAD, 2, 0, "LookupError: no"),
        (Retry(), 0, JobState.READY, 1, None, "to be tried again"),
        (Retry(7, "later"), 0, JobState.READY, 1, 7, "later"),
        (Retry(7, "later"), 1, JobState.DEAD, 2, 0, "later"),
        (Retry(7, "look", counts=False), 1, JobState.READY, 1, 7, "look"),
        (asyncio.CancelledError(), 0, JobState.READY, 1, None, "its handler was cancelled"),
        (asyncio.CancelledError(), 1, JobState.DEAD, 2, 0, "its handler was cancelled"),
        (None, 0, JobState.DONE, 0, 0, None),
        (None, 2, JobState.DEAD, 3, 0, "its worker died each time"),
    ],
)
async def test_what_becomes_of_a_job(
    store: Store,
    clock: ManualClock,
    raised: BaseException | None,
    failures: int,
    state: JobState,
    counted: int,
    after: int | None,
    error: str | None,
):
    work = Work(store)
    ran: list[str] = []

    @work.handler("k", max_attempts=2)
    async def handle(app: None, job: jobs.Job) -> None:
        ran.append(job.id)
        if raised is not None:
            raise raised

    id = await store.write(lambda conn: jobs.enqueue(conn, kind="k", payload={}, **WHERE))
    if failures:
        changed = records.jobs.update().where(records.jobs.c.id == id).values(failures=failures)
        await store.write(lambda conn: conn.execute(changed) and None)
    await work.start(None)
    job = await settled(store, id)
    await work.stop(0)
    assert (job.state, job.failures, job.error) == (state, counted, error)
    assert bool(ran) is (failures < 2)
    if state is JobState.READY:
        assert job.due == clock.now() + (backoff_ms(counted, id) if after is None else after)


@pytest.mark.parametrize(
    ("what", "state", "error"),
    [("completes", JobState.DONE, None), ("fails", JobState.READY, "LookupError: no"), ("nothing", JobState.DEAD, "LookupError: no")],
)  # fmt: skip
async def test_what_on_dead_makes_of_a_job(
    store: Store, clock: ManualClock, what: str, state: JobState, error: str | None
):
    work = Work(store)

    async def on_dead(app: None, job: jobs.Job, error: str) -> None:
        assert error == "LookupError: no"
        if what == "completes":
            await store.write(jobs.complete, job)
        if what == "fails":
            raise RuntimeError("not now")

    @work.handler("k", max_attempts=1, on_dead=on_dead)
    async def handle(app: None, job: jobs.Job) -> None:
        raise LookupError("no")

    await work.start(None)
    id = await store.write(lambda conn: jobs.enqueue(conn, kind="k", payload={}, **WHERE))
    job = await settled(store, id)
    await work.stop(0)
    assert (job.state, job.error) == (state, error)
    if state is JobState.READY:
        assert (job.failures, job.due) == (0, clock.now() + 300_000)


async def test_slots_are_reserved_for_what_this_worker_can_run_now(store: Store):
    work = Work(store, slots=1, regions=["us-east-1"])
    with pytest.raises(ValueError, match="jobs of kind k have two handlers"):
        for _ in range(2):

            @work.handler("k")
            async def handle(app: None, job: jobs.Job) -> None: ...

    assert work.kinds == {"k"}
    assert work.reserve("k", "us-east-1") is None  # it has not looked yet
    await work.start(None)
    async with asyncio.timeout(60):
        while work._hungry:
            await asyncio.sleep(0.002)
    assert work.reserve("other", "us-east-1") is None
    assert work.reserve("k", "eu-west-1") is None
    assert work.reserve("k", "us-east-1") is not None
    assert work.reserve("k", "us-east-1") is None
    work.release("k")
    assert work.reserve("k", "us-east-1") is not None
    work.release("k")
    await work.stop(0)
    assert work.reserve("k", "us-east-1") is None


def test_what_a_worker_is_made_with():
    clock = ManualClock()

    class Of:
        pass

    of: Any = Of()
    of.clock = clock
    work = Work(of)
    assert (work._shared.size, work.lease_ms, work._poll_ms, work._regions, work.running) == (8, 30_000, 2_000, (), ())
    assert [backoff_ms(failures, "x") // 100 for failures in (0, 1, 2)] == [backoff_ms(1, "x") // 100] * 2 + [
        backoff_ms(2, "x") // 100
    ]


# --- clocks, ids, forms ------------------------------------------------------------------------------------------------


async def test_a_manual_clock_stops_at_each_alarm_in_its_turn():
    clock = ManualClock()
    began, seen = clock.now(), []
    for after in (20, 10, 10):
        clock.call_at(began + after, lambda after=after: seen.append((after, clock.now() - began)))
    cancelled = clock.call_at(began + 5, lambda: seen.append("cancelled"))
    cancelled.cancel()
    clock.advance(9)
    assert seen == []
    clock.advance(1)
    assert seen == [(10, 10), (10, 10)]
    clock.advance(100)
    assert (seen[2:], clock.now() - began) == ([(20, 20)], 110)
    clock.call_at(clock.now(), lambda: seen.append("now"))
    await clock.wait_until(clock.now())
    await asyncio.sleep(0)
    assert seen[-1] == "now"
    waiting = asyncio.ensure_future(clock.sleep(1.5))
    await asyncio.sleep(0)
    clock.advance(1499)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(1)
    await asyncio.wait_for(waiting, 60)


async def test_the_clock_of_the_machine_is_in_milliseconds():
    clock = SystemClock()
    before, now, after = time.time(), clock.now(), time.time()
    assert before * 1000 - 1 <= now <= after * 1000 + 1
    reached = asyncio.Event()
    began = clock.now()
    clock.call_at(began + 30, reached.set)
    await asyncio.wait_for(reached.wait(), 60)
    assert 29 <= clock.now() - began < 30_000
    began = clock.now()
    await asyncio.wait_for(clock.wait_until(began + 20), 60)
    assert clock.now() >= began + 20
    await asyncio.wait_for(clock.sleep(0.01), 60)
    past = asyncio.Event()
    clock.call_at(0, past.set)
    await asyncio.wait_for(past.wait(), 60)


def test_ids_have_their_forms():
    for made in (ids.Ids(), ids.SeededIds(3)):
        for _ in range(50):
            text = made.uuid()
            assert (str(uuid.UUID(text)), uuid.UUID(text).version, uuid.UUID(text).variant) == (text, 4, uuid.RFC_4122)
        assert [len(made.hex(n)) for n in (1, 2, 31, 32, 33, 64)] == [1, 2, 31, 32, 33, 64]
        assert [len(base64.urlsafe_b64decode(made.token(n) + "==")) for n in (1, 16, 17)] == [1, 16, 17]
        assert len(made.token()) == 43
        seeds = [made.seed() for _ in range(50)]
        assert max(seeds) < 1 << 63
        assert max(seeds) >= 1 << 61
    before = time.time_ns() // 1_000_000
    ordered = uuid.UUID(ids.ordered_uuid())
    assert before <= ordered.int >> 80 <= time.time_ns() // 1_000_000
    assert (ordered.version, ordered.variant) == (7, uuid.RFC_4122)


def test_fine_times_order_ids_within_a_millisecond(monkeypatch: pytest.MonkeyPatch):
    made = []
    for nanoseconds in (0, 250, 500_000, 999_999):
        monkeypatch.setattr(
            time, "time_ns", lambda nanoseconds=nanoseconds: 1_800_000_000_000 * 1_000_000 + nanoseconds
        )
        made.append(uuid.UUID(ids.ordered_uuid()))
    assert [each.int >> 64 & 0xFFF for each in made] == [0, 1, 2048, 4095]
    assert {each.int >> 80 for each in made} == {1_800_000_000_000}


def test_forms_of_other_versions_are_led_up_or_refused():
    forms = Forms("a thing", {1: lambda old: old | {"b": old["a"]}, 2: lambda old: old | {"c": old["b"]}})
    assert forms.version == 3
    assert forms.present({"a": 1}, 1) == {"a": 1, "b": 1, "c": 1}
    assert forms.present({"b": 1}, 2) == {"b": 1, "c": 1}
    assert forms.present({"a": 1}, 3) == {"a": 1}
    for version in (0, 4, None, "1", 1.0):
        with pytest.raises(
            UnknownForm, match="a thing is stored in version .*, and this release knows the versions up to 3"
        ):
            forms.present({}, version)
    for broken in ({2: dict}, {0: dict}, {1: dict, 3: dict}):
        with pytest.raises(ValueError, match="the upcasters of x must lead from every version to the next"):
            Forms("x", broken)


# --- keys --------------------------------------------------------------------------------------------------------------


def test_sealed_values_have_their_form_and_only_their_key_opens_them():
    key = masterkeys.new_key()
    assert [len(part) for part in key[:2]] == [4, 32]
    sealer = Sealer([masterkeys.new_key(), key])
    sealed = sealer.seal(b"x" * 10, "c")
    assert (sealed[:1], sealed[1:5], len(sealed)) == (b"\x01", key[0], 1 + 4 + 12 + 10 + 16)
    assert sealer.seal(b"x" * 10, "c") != sealed
    with pytest.raises(SealError, match="it was sealed under a master key that is not in the key file"):
        Sealer([masterkeys.new_key()]).open(sealed, "c")
    with pytest.raises(SealError, match="it was changed, or sealed for another place"):
        sealer.open(sealed, "d")
    for cut in (b"", sealed[:3], b"\x02" + sealed[1:]):
        with pytest.raises(SealError, match="it was sealed under a master key that is not in the key file"):
            sealer.open(cut, "c")
    with pytest.raises(MasterKeyError, match="there is no master key"):
        Sealer([])
    assert len(sealer.derive("a")) == 32
    assert sealer.derive("a") == Sealer([key]).derive("a") != sealer.derive("b")


def test_key_files_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keys = [masterkeys.new_key(), masterkeys.new_key()]
    path = tmp_path / "a" / "k"
    masterkeys.write_key_file(path, keys)
    assert masterkeys.read_key_file(path) == keys
    assert [each.name for each in path.parent.iterdir()] == ["k"]
    masterkeys.write_key_file(path, [masterkeys.new_key()])
    assert masterkeys.read_key_file(path) == keys  # another process's file is left as it is
    id, key = keys[0][0].hex(), base64.b64encode(keys[0][1]).decode()
    for text, good in (
        (f"# c\n\n{id} {key}\n", True), ("", False), (f"{id}00 {key}", False), (f"{id[2:]} {key}", False), (f"{id} {key[4:]}", False),
        (f"{id} {key} more", False), (f"{id} {key}\u00e9", False), (f"{id} {key[:-2]}!=", False),
    ):  # fmt: skip
        path.write_text(text)
        if good:
            assert masterkeys.read_key_file(path) == keys[:1]
        else:
            with pytest.raises(MasterKeyError, match="not a master key file"):
                masterkeys.read_key_file(path)
    for mode in (0o610, 0o601, 0o604):
        os.chmod(path, mode)
        with pytest.raises(MasterKeyError, match="may be read by others"):
            masterkeys.read_key_file(path)
    for home, expected in (
        (str(tmp_path), tmp_path),
        ("", Path.home() / ".config"),
        ("relative", Path.home() / ".config"),
    ):
        monkeypatch.setenv("XDG_CONFIG_HOME", home)
        assert masterkeys.default_path() == expected / "penstock" / "master.key"


# --- errors ------------------------------------------------------------------------------------------------------------


def from_sqlite(code: int) -> Exception:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return exc.OperationalError("SELECT", {}, error)


def from_postgresql(state: str | None, kind: type[exc.DBAPIError] = exc.OperationalError) -> Exception:
    class Original(Exception):
        sqlstate = state

    return kind("SELECT", {}, Original("it failed"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (from_sqlite(13), errors.StoreFull), (from_sqlite(5), errors.StoreBusy), (from_sqlite(6), errors.StoreBusy),
        (from_sqlite(10), errors.StoreUnavailable), (from_sqlite(10 | 3 << 8), errors.StoreUnavailable), (from_sqlite(14), errors.StoreUnavailable),
        (from_sqlite(8), errors.StoreUnavailable), (from_sqlite(11), errors.StoreDamaged), (from_sqlite(26), errors.StoreDamaged),
        (from_sqlite(19), None), (from_sqlite(1), None),
        (from_postgresql("53100"), errors.StoreFull), (from_postgresql("53200"), errors.StoreUnavailable),
        (from_postgresql("53300"), errors.StoreUnavailable), (from_postgresql("55P03"), errors.StoreBusy), (from_postgresql("57014"), errors.StoreBusy),
        (from_postgresql("40001"), errors.StoreBusy), (from_postgresql("40P01"), errors.StoreBusy), (from_postgresql("25006"), errors.StoreUnavailable),
        (from_postgresql("08006"), errors.StoreUnavailable), (from_postgresql("57P01"), errors.StoreUnavailable),
        (from_postgresql(None), errors.StoreUnavailable), (from_postgresql(None, exc.IntegrityError), None), (from_postgresql("23505"), None),
        (exc.TimeoutError(), errors.StoreUnavailable), (LookupError("mine"), None), (errors.StoreClosed("x"), None),
    ],
)  # fmt: skip
def test_errors_of_drivers_are_the_stores_own(error: Exception, kind: type[Exception] | None):
    explained = errors.explain(error)
    if kind is None:
        assert explained is error
        with pytest.raises(type(error)) as raised:
            errors.raise_explained(error)
        assert (raised.value, raised.value.__cause__) == (error, None)
        return
    assert type(explained) is kind
    assert re.fullmatch(rf"{re.escape(kind.__doc__ or '')} \(.*(it failed|became free).*\)", str(explained), re.DOTALL)
    with pytest.raises(kind) as raised:
        errors.raise_explained(error)
    assert raised.value.__cause__ is error


def test_whoever_waits_for_a_future_gets_what_left_a_transaction():
    assert isinstance(errors.explain(StopIteration(5)), RuntimeError)
    assert errors.lost(LookupError()) is False
    assert errors.lost(exc.DBAPIError("S", {}, Exception(), connection_invalidated=True)) is True
    assert errors.lost(exc.DBAPIError("S", {}, Exception())) is False


async def test_a_store_is_closed_once(tmp_path: Path):
    store = await Store.open(f"sqlite:///{tmp_path}/penstock.db", clock=SystemClock())
    await store.close()
    await store.close()


async def test_what_seals_again_stops_with_its_loop_and_holds_nothing_then():
    done: list[Any] = []

    async def stop(loop: Any) -> None:
        done.append(loop)

    async def end() -> None:
        done.append("released")

    one: Any = object.__new__(Resealer)
    one._store, one._loop = SimpleNamespace(loops=SimpleNamespace(stop=stop)), "the loop"
    one._holding = SimpleNamespace(end=end)
    await one.stop()
    assert done == ["the loop", "released"]


async def test_a_gap_is_waited_for_until_its_time(clock: ManualClock):
    async def read(_fn: Any, _last: int, gaps: list[int]) -> list[Any]:
        asked.append(gaps)
        return []

    asked: list[list[int]] = []
    one: Any = object.__new__(Events)
    one._store, one._taps, one._last = SimpleNamespace(read=read, clock=clock), {object()}, 9
    one._gaps = {5: clock.now(), 6: clock.now() + 1}
    await one._follow()
    await one._follow()
    assert asked == [[5, 6], [6]]


async def test_events_that_were_seen_longest_ago_are_forgotten_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "_SEEN", 2)
    one: Any = object.__new__(Events)
    one._seen, one._taps = OrderedDict(), set()
    for name in "abc":
        one._publish(SimpleNamespace(id=name))
    assert list(one._seen) == ["b", "c"]


@pytest.mark.parametrize(("since", "stopping", "fails"), [(99, False, False), (100, True, False), (100, False, True)])
async def test_a_worker_tends_each_time_and_renews_after_a_third_of_a_lease(clock: ManualClock, since, stopping, fails):
    done: list[str] = []

    async def note(name: str) -> None:
        done.append(name)
        if fails:
            raise LookupError

    one: Any = object.__new__(Work)
    one._clock, one.lease_ms, one._renewed, one._stopping = clock, 300, clock.now() - since, stopping
    one._wakeup = SimpleNamespace(set=lambda: done.append("woken"))
    one._renew, one.tend_once = partial(note, "renewed"), partial(note, "tended")
    with pytest.raises(LookupError) if fails else contextlib.nullcontext():
        await one._tend()
    assert done == ["renewed"] * (since == 100) + ["tended"] * (not fails) + ["woken"] * (not stopping)
    assert (one._renewed == clock.now()) is (since == 100 and not fails)
