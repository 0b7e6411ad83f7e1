"""The job table against a naive model: never two holders of one lease, no job lost, no completion by a former holder."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from penstock.store import dead_letters, jobs, leases, outside
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.store.jobs import Fenced, Job, JobState
from penstock.store.records import jobs as table

LEASE, OFFER = 1_000, 300


def revive(conn, id):
    return dead_letters.revive(conn, id, accounts=["1"], region="r")


class Known:
    """What the model knows of a job."""

    def __init__(self, kind: str, dedup: str | None, due: int, topic: str) -> None:
        self.kind, self.dedup, self.due, self.topic = kind, dedup, due, topic
        self.state, self.attempt = "ready", 0
        self.until: int | None = None
        self.fence = ""

    @property
    def live(self) -> bool:
        return self.state in ("ready", "offered", "leased")


class JobTable(RuleBasedStateMachine):
    """Random orders of what workers, hosts, operators and time can do."""

    url: str = ""
    held = Bundle("held")
    offered = Bundle("offered")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.model: dict[str, Known] = {}

    @initialize()
    def open(self) -> None:
        self.store = self.loop.run_until_complete(Store.open(self.url, clock=self.clock, notify=False, connections=2))
        self.write(lambda conn: conn.execute(table.delete()))

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()

    def write(self, fn, *args, **kw):
        return self.loop.run_until_complete(self.store.write(fn, *args, **kw))

    @rule(
        kind=st.sampled_from(["inside", "outside"]), dedup=st.sampled_from([None, "x", "y"]), wait=st.integers(0, 500)
    )
    def enqueue(self, kind: str, dedup: str | None, wait: int) -> None:
        due = self.clock.now() + wait
        id = self.write(
            lambda conn: jobs.enqueue(
                conn, kind=kind, payload={}, account="1", region="r", due=due, dedup=dedup,
                topic=f"host-{wait % 2}" if kind == "outside" else "",
            )
        )  # fmt: skip
        twin = [i for i, k in self.model.items() if k.live and dedup is not None and (k.kind, k.dedup) == (kind, dedup)]
        assert [id] == twin if twin else id not in self.model
        self.model.setdefault(id, Known(kind, dedup, due, f"host-{wait % 2}"))

    @rule(target=held, worker=st.sampled_from(["a", "b"]), free=st.integers(1, 3))
    def claim(self, worker: str, free: int) -> list[Job]:
        now = self.clock.now()
        claimant = leases.Claimant(worker=worker, lease_ms=LEASE)
        taken = self.write(claimant.claim, {("inside",): free}, now=now)
        could = [i for i, k in self.model.items() if k.kind == "inside" and k.state == "ready" and k.due <= now]
        assert len(taken) == min(free, len(could))
        for job in taken:
            assert job.id in could, "two holders of one lease"
            self.hold(job, "leased", now + LEASE)
        return taken

    @rule(target=offered, topics=st.sampled_from([["host-0"], ["host-1", "host-0"], ["host-1", "none", "host-1"]]))
    def offer(self, topics: list[str]) -> list[Job]:
        now = self.clock.now()
        got = self.write(outside.offer, kind="outside", topics=topics, offer_ms=OFFER, now=now)
        could: dict[str, list[tuple[int, str]]] = {}
        for i, k in self.model.items():
            free = k.state == "ready" or (k.state == "offered" and (k.until or 0) <= now)
            if k.kind == "outside" and k.due <= now and free and k.topic in topics:
                could.setdefault(k.topic, []).append((k.due, i))
        assert {topic: job.id for topic, job in got.items()} == {topic: min(jobs)[1] for topic, jobs in could.items()}
        for job in got.values():
            self.hold(job, "offered", now + OFFER)
        return list(got.values())

    def hold(self, job: Job, state: str, until: int | None) -> None:
        known = self.model[job.id]
        known.state, known.until, known.fence = state, until, job.fence
        known.attempt += 1
        assert job.attempt == known.attempt

    @rule(target=held, offers=offered, ends=st.booleans())
    def acknowledge(self, offers: list[Job], ends: bool) -> list[Job]:
        now = self.clock.now()
        newest = {job.id: job for job in offers}  # of a job that was offered again, both nonces are known
        valid = {
            id
            for id, job in newest.items()
            if self.model[id].fence == job.nonce and self.model[id].state in ("ready", "offered", "leased")
        }
        said = [(job.id, job.nonce) for job in newest.values()]
        taken = self.write(outside.acknowledge, said, lease_ms=LEASE if ends else None, now=now)
        assert set(taken) == valid
        for id in taken:
            self.model[id].state, self.model[id].until = "leased", now + LEASE if ends else None
        return list(taken.values())

    @rule(offers=st.lists(offered, min_size=2, max_size=3))
    def confuse(self, offers: list[list[Job]]) -> None:
        """One job with the nonce of another's offer."""
        said = [job for several in offers for job in several]
        for one, other in zip(said, said[1:], strict=False):
            if one.id != other.id and one.nonce != other.nonce:
                assert not self.write(outside.acknowledge, [(one.id, other.nonce)], lease_ms=None, now=self.clock.now())
                assert other.id not in self.write(
                    outside.acknowledge,
                    [(one.id, other.nonce), (other.id, one.nonce)],
                    lease_ms=None,
                    now=self.clock.now(),
                )

    @rule(jobs_held=held, how=st.sampled_from(["complete", "retry", "dead_letter"]))
    def settle(self, jobs_held: list[Job], how: str) -> None:
        for job in jobs_held:
            known = self.model[job.id]
            mine = known.state == "leased" and known.fence == job.fence
            try:
                if how == "complete":
                    self.write(jobs.complete, job)
                elif how == "retry":
                    self.write(jobs.retry, job, due=self.clock.now() + 5)
                else:
                    self.write(jobs.dead_letter, job, error="hopeless")
            except Fenced:
                assert not mine, "the holder was fenced off"
                continue
            assert mine, "a former holder ended the job"
            known.state = {"complete": "done", "retry": "ready", "dead_letter": "dead"}[how]
            known.until = None
            if how == "retry":
                known.due, known.fence = self.clock.now() + 5, ""

    @rule(jobs_held=held)
    def renew(self, jobs_held: list[Job]) -> None:
        if not jobs_held:
            return
        now = self.clock.now()
        kept = self.write(leases.renew, jobs_held, lease_ms=LEASE, now=now)
        for job in jobs_held:
            known = self.model[job.id]
            mine = known.state == "leased" and known.fence == job.fence
            assert (job.id in kept) == mine
            if mine:
                known.until = now + LEASE

    @rule(ms=st.integers(1, 1_500))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule()
    def lapse(self) -> None:
        now = self.clock.now()
        gone = [
            k
            for k in self.model.values()
            if k.state in ("offered", "leased") and k.until is not None and k.until <= now
        ]
        assert self.write(leases.lapse, now=now) == len(gone)
        for known in gone:
            known.fence = known.fence if known.state == "offered" else ""
            known.state, known.until = "ready", None

    @rule(data=st.data(), how=st.sampled_from([jobs.finish, jobs.cancel_id, revive]))
    def from_outside(self, data: st.DataObject, how) -> None:
        if not self.model:
            return
        id = data.draw(st.sampled_from(sorted(self.model)))
        known = self.model[id]
        twin = any(
            k.live and k.dedup is not None and (k.kind, k.dedup) == (known.kind, known.dedup)
            for k in self.model.values()
        )
        did = self.write(how, id)
        assert did == (known.state == "dead" and not twin if how is revive else known.live)
        if did:
            known.state = {"finish": "done", "cancel_id": "cancelled", "revive": "ready"}[how.__name__]
            known.until = None
            if how is revive:
                known.due, known.fence = self.clock.now(), ""

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "store"):
            return
        rows = self.loop.run_until_complete(self.store.scan(lambda conn: conn.execute(table.select()).all()))
        assert {row.id: (JobState(row.state), row.attempt) for row in rows} == {
            id: (JobState(known.state), known.attempt) for id, known in self.model.items()
        }


def test_the_job_table_agrees_with_a_naive_model_on_sqlite(sqlite_url: str):
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        shutil.copy(sqlite_url.removeprefix("sqlite:///"), folder / "jobs.db")
        check(f"sqlite:///{folder}/jobs.db", examples=60)
    finally:
        shutil.rmtree(folder)


@pytest.mark.needs("postgresql")
def test_the_job_table_agrees_with_a_naive_model_on_postgresql(postgresql_url: str):
    check(postgresql_url, examples=15)


def check(url: str, *, examples: int) -> None:
    machine = type("JobTableHere", (JobTable,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
