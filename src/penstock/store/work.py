"""The worker: runs the handlers of due jobs, as many at a time as it has slots, and keeps their leases alive."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from penstock.loops import SYSTEM_ERRORS, Loop
from penstock.store import jobs, leases, metrics
from penstock.store.clock import Alarm
from penstock.store.database import Store, StoreError
from penstock.store.dead_letters import count_dead
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Fenced, Job
from penstock.store.transaction import Wakeup, transaction_of

_log = logging.getLogger("penstock.work")
_FIRST_BACKOFF_MS = 500
_LAST_BACKOFF_MS = 300_000
_CONTENDED_S = 0.05  # until a due job that somebody else holds locked is looked at again

JobHandler = Callable[[Any, Job], Awaitable[None]]
OnDead = Callable[[Any, Job, str], Awaitable[None]]


class Retry(Exception):
    """Raised by a handler: put the job back and run it again after `after_ms` (None: by the back-off).

    `counts=False` says that nothing went wrong, the handler only looks again later: it may do so for ever.
    """

    def __init__(self, after_ms: int | None = None, error: str = "", *, counts: bool = True) -> None:
        super().__init__(error or "to be tried again")
        self.after_ms = after_ms
        self.counts = counts


@dataclass(slots=True, kw_only=True)
class _Kind:
    name: str
    run: JobHandler
    max_attempts: int
    concurrency: int | None
    on_dead: OnDead | None


@dataclass(slots=True)
class _Pool:
    size: int
    kinds: list[str] = field(default_factory=list)
    busy: int = 0


def backoff_ms(failures: int, key: str) -> int:
    """How long to wait after the n-th failure: 0.5 s doubling up to 5 min, moved by up to a fifth either way by `key`."""
    base = min(_LAST_BACKOFF_MS, _FIRST_BACKOFF_MS << min(max(failures - 1, 0), 20))
    return base * (80 + zlib.crc32(key.encode()) % 41) // 100


class Work:
    """The handlers of this process and the jobs in its hands.

    Kinds declared with `concurrency` have slots of their own; all others share `slots`. A handler's effects can happen
    twice, since a lease may be lost at any moment: it derives tokens from the payload, never from randomness.
    """

    def __init__(
        self,
        store: Store,
        *,
        slots: int = 8,
        lease_ms: int = 30_000,
        poll_ms: int = 2_000,
        regions: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._clock = store.clock
        self.lease_ms = lease_ms
        self._poll_ms = poll_ms
        self._regions = tuple(regions)
        self._worker = secrets.token_hex(8)
        self._claimant = leases.Claimant(worker=self._worker, lease_ms=lease_ms, regions=self._regions)
        self._kinds: dict[str, _Kind] = {}
        self._shared = _Pool(slots)
        self._pools: list[_Pool] = [self._shared]
        self._pool_of: dict[str, _Pool] = {}
        self._running: dict[asyncio.Task[None], Job] = {}
        self._returning: set[asyncio.Task[None]] = set()  # those that only put a job back
        self._lost: set[str] = set()  # ids of running jobs whose lease went to somebody else
        self._dispatching: Loop | None = None
        self._tending: Loop | None = None
        self._renewed = 0
        self._wakeup: Wakeup | None = None
        self._alarm: Alarm | None = None
        self._contended: asyncio.TimerHandle | None = None
        self._lock = threading.Lock()  # of the pools' counts and of _hungry
        self._hungry = True  # there may be more due than the last claim could take
        self._claiming = False
        self._stopping = False
        self._app: Any = None

    def handler(
        self, kind: str, *, max_attempts: int = 20, concurrency: int | None = None, on_dead: OnDead | None = None
    ) -> Callable[[JobHandler], JobHandler]:
        """Declare `async def h(app, job)` as the handler of a kind.

        After `max_attempts` failures the job is dead; `on_dead(app, job, error)` is called first (its own failure postpones
        the dead-lettering) and may complete the job itself.
        """

        def declare(run: JobHandler) -> JobHandler:
            if kind in self._kinds:
                raise ValueError(f"jobs of kind {kind} have two handlers")
            self._kinds[kind] = _Kind(
                name=kind, run=run, max_attempts=max_attempts, concurrency=concurrency, on_dead=on_dead
            )
            pool = self._shared
            if concurrency is not None:
                pool = _Pool(concurrency)
                self._pools.append(pool)
            pool.kinds.append(kind)
            self._pool_of[kind] = pool
            return run

        return declare

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that this process can run."""
        return frozenset(self._kinds)

    @property
    def running(self) -> tuple[Job, ...]:
        """The jobs in this process's hands."""
        return tuple(self._running.values())

    async def start(self, app: Any) -> None:
        """Begin to take jobs; handlers are given `app`."""
        self._app = app
        self._stopping = False
        self._store.dispatch = self
        wakeup = self._wakeup = self._store.wakeup(jobs.WORK)
        self._renewed = self._clock.now()
        pause = min(self._poll_ms, self.lease_ms // 3) / 1000
        self._dispatching = self._store.loops.start("work.dispatch", self._take, wakeup.wait)
        pool = self._shared
        metrics.WORKERS.labels("busy").set_function(lambda: pool.busy)
        metrics.WORKERS.labels("available").set_function(lambda: pool.size - pool.busy)
        self._tending = self._store.loops.start("work.tend", self._tend, lambda: self._clock.sleep(pause))

    async def stop(self, grace_s: float = 10.0) -> None:
        """Take no more; wait `grace_s` seconds for what runs, then put the rest back for others."""
        with self._lock:
            self._stopping = True
        self._store.dispatch = None
        # The dispatcher only: leases are kept alive while handlers finish.
        await self._store.loops.stop(self._dispatching)
        self._forget_alarms()
        await asyncio.sleep(0)  # a handler that has not begun cannot put its job back when it is cancelled
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        while self._running:
            for task in self._running:
                if task not in self._returning:
                    task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        await self._store.loops.stop(self._tending)

    # --- taking jobs ------------------------------------------------------------------------------------------------

    async def _take(self) -> None:
        with self._lock:
            self._hungry = True
            pools = {tuple(pool.kinds): pool.size - pool.busy for pool in self._pools if pool.kinds}
        if all(free <= 0 for free in pools.values()):
            return
        # Shielded: a claim that commits while we are being stopped must still be given back below.
        self._forget_alarms()  # this claim is what they would have woken us for; `due` below sets the next one
        self._claiming = True
        asked = self._clock.now()
        claim = asyncio.ensure_future(self._store.write(self._claim, pools, asked))
        try:
            taken, due = await asyncio.shield(claim)
        except asyncio.CancelledError:
            taken, due = await claim
        finally:
            self._claiming = False
        for job in taken:
            with self._lock:
                self._pool_of[job.kind].busy += 1
            self._begin(job)
        with self._lock:
            self._hungry = any(pool.kinds and pool.busy >= pool.size for pool in self._pools)
        if due is None or self._stopping:
            return
        assert self._wakeup is not None
        if due > asked:
            self._alarm = self._clock.call_at(due, self._wakeup.set)
        else:  # how long somebody holds it locked is a matter of real time, whatever the clock of the jobs says
            self._contended = asyncio.get_running_loop().call_later(_CONTENDED_S, self._wakeup.set)

    def _forget_alarms(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if self._contended is not None:
            self._contended.cancel()

    # --- a job that this process makes itself (store.transaction.LocalDispatch) ------------------------------------------------

    def reserve(self, kind: str, region: str) -> str | None:
        """Reserve a slot for a job that is being made, unless other jobs wait for it."""
        pool = self._pool_of.get(kind)
        if pool is None or (self._regions and region not in self._regions):
            return None
        with self._lock:
            if self._stopping or self._hungry or pool.busy >= pool.size:
                return None
            pool.busy += 1
        return self._worker

    def release(self, kind: str) -> None:
        """The transaction was rolled back: the slot is free again."""
        with self._lock:
            self._pool_of[kind].busy -= 1

    def accept(self, job: Job) -> None:
        """The job is durable, and leased to us."""
        self._begin(job)

    def withdraw(self, kind: str, about: Mapping[str, str]) -> None:
        """Let the handlers that have not looked yet read for themselves. None of another process was handed anything."""
        for job in self._running.values():
            if job.kind == kind and about.items() <= job.payload.items():
                job.hold.handed = None

    def refill(self, conn: sa.Connection, ended: Sequence[str]) -> None:
        """Refill the slots of jobs that end: waiting jobs are leased in the same transaction, which saves a claim."""
        freed: dict[tuple[str, ...], int] = {}
        with self._lock:
            if self._stopping or not self._hungry:
                return
            for kind in ended:
                # Slots of its own are for a kind that may not run more often: its handler may continue when its job has ended.
                if self._pool_of.get(kind) is self._shared:
                    kinds = tuple(self._pool_of[kind].kinds)
                    freed[kinds] = freed.get(kinds, 0) + 1
        dispatched = transaction_of(conn).dispatched

        def on_rows(taken: list[Job]) -> None:
            with self._lock:
                for job in taken:
                    self._pool_of[job.kind].busy += 1  # one too many until the job that ends has ended
            dispatched.extend(taken)

        for kinds, count in freed.items():
            self._claimant.claim_later(conn, kinds, count, now=self._clock.now(), on_rows=on_rows)

    def _claim(self, conn: sa.Connection, pools: dict[tuple[str, ...], int], now: int) -> tuple[list[Job], int | None]:
        taken = self._claimant.claim(conn, pools, now=now)
        left = dict(pools)
        for job in taken:
            left[tuple(self._pool_of[job.kind].kinds)] -= 1
        idle = [kind for kinds, free in left.items() if free > 0 for kind in kinds]
        return taken, self._claimant.next_due(conn, idle) if idle else None

    def _begin(self, job: Job) -> None:
        if self._stopping:
            task = asyncio.create_task(self._give_back(job), name=f"give back {job.kind} {job.id}")
            self._returning.add(task)
        else:
            task = asyncio.create_task(self._run(self._kinds[job.kind], job), name=f"job {job.kind} {job.id}")
        self._running[task] = job
        metrics.JOBS_RUNNING(job.kind).inc()
        metrics.JOB_LATENCY(job.kind).observe(max(0, self._clock.now() - job.due) / 1000)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        job = self._running.pop(task)
        self._returning.discard(task)
        self._lost.discard(job.id)
        pool = self._pool_of[job.kind]
        with self._lock:
            pool.busy -= 1
        metrics.JOBS_RUNNING(job.kind).dec()
        if self._hungry and pool.busy < pool.size and not self._stopping and self._wakeup is not None:
            self._wakeup.set()

    # --- running one ------------------------------------------------------------------------------------------------

    async def _run(self, kind: _Kind, job: Job) -> None:
        started = time.monotonic()
        try:
            outcome = await self._attempt(kind, job)
        except StoreError as error:
            outcome = "unsettled"  # its lease runs out and somebody takes it again
            _log.warning("work.unsettled", extra={"job": job.id, "kind": job.kind, "error": str(error)})
        except asyncio.CancelledError:
            outcome = await self._cancel(kind, job)
        metrics.JOBS_RUN(job.kind, outcome).inc()
        metrics.JOB_SECONDS(job.kind).observe(time.monotonic() - started)

    async def _cancel(self, kind: _Kind, job: Job) -> str:
        if job.hold.settled:
            return "done"
        if job.id in self._lost:
            return "lost"
        if self._stopping:
            await self._give_back(job)
            return "put_back"
        error = "its handler was cancelled"  # by something of its own
        if job.failures + 1 >= kind.max_attempts:
            return await self._dead_letter(kind, job, error)
        return await self._put_back(job, backoff_ms(job.failures + 1, job.id), error, counts=True)

    async def _give_back(self, job: Job) -> None:
        try:
            await self._settle(job, jobs.retry, due=self._clock.now(), counts=False)
        except StoreError as error:
            _log.warning("work.not_given_back", extra={"job": job.id, "kind": job.kind, "error": str(error)})

    async def _attempt(self, kind: _Kind, job: Job) -> str:
        failpoint("work.before_handler")
        try:
            if job.failures >= kind.max_attempts:  # worn out by lapsed leases: it may be what kills the workers
                return await self._dead_letter(kind, job, job.error or "its worker died each time")
            await kind.run(self._app, job)
        except Fenced:
            _log.info("work.fenced", extra={"job": job.id, "kind": job.kind})
            return "fenced"
        except Retry as retry:
            if job.hold.settled:
                return "done"
            after = backoff_ms(job.failures + 1, job.id) if retry.after_ms is None else retry.after_ms
            if retry.counts and job.failures + 1 >= kind.max_attempts:
                return await self._dead_letter(kind, job, str(retry))
            return await self._put_back(job, after, str(retry), counts=retry.counts)
        except Exception as error:  # noqa: BLE001 - a handler may fail with anything; its job must not be lost
            if job.hold.settled:
                _log.exception("work.failed_after_completion", extra={"job": job.id, "kind": job.kind})
                return "done"
            SYSTEM_ERRORS.labels(job.kind, type(error).__name__).inc()
            _log.warning("work.failed", exc_info=True, extra={"job": job.id, "kind": job.kind})
            message = f"{type(error).__name__}: {error}"
            if job.failures + 1 >= kind.max_attempts:
                return await self._dead_letter(kind, job, message)
            return await self._put_back(job, backoff_ms(job.failures + 1, job.id), message, counts=True)
        failpoint("work.after_handler")
        if job.hold.settled:
            return "done"
        return "done" if await self._settle(job, jobs.complete) else "fenced"

    async def _put_back(self, job: Job, after_ms: int, error: str, *, counts: bool) -> str:
        due = self._clock.now() + after_ms
        return "retried" if await self._settle(job, jobs.retry, due=due, error=error, counts=counts) else "fenced"

    async def _dead_letter(self, kind: _Kind, job: Job, error: str) -> str:
        if kind.on_dead is not None:
            try:
                await kind.on_dead(self._app, job, error)
            except Fenced:
                return "fenced"
            except Exception:  # noqa: BLE001 - as above
                _log.exception("work.on_dead_failed", extra={"job": job.id, "kind": job.kind})
                return await self._put_back(job, _LAST_BACKOFF_MS, error, counts=False)
            if job.hold.settled:
                return "dead"
        if not await self._settle(job, jobs.dead_letter, error=error):
            return "fenced"
        _log.error("work.dead", extra={"job": job.id, "kind": job.kind, "error": error})
        return "dead"

    async def _settle(self, job: Job, how: Callable[..., None], **values: Any) -> bool:
        """End our hold of the job; False when we had lost it already."""
        try:
            await self._store.write(how, job, **values)
        except Fenced:
            return False
        return True

    # --- the slow query behind the wake-ups ---------------------------------------------------------------------------

    async def _tend(self) -> None:
        assert self._wakeup is not None
        try:
            if self._clock.now() - self._renewed >= self.lease_ms // 3:
                await self._renew()
                self._renewed = self._clock.now()
            await self.tend_once()
        finally:
            if not self._stopping:
                self._wakeup.set()

    async def tend_once(self) -> None:
        """Take back what ran out, and count what nobody here can run."""
        now = self._clock.now()
        with self._lock:
            under_way = self._claiming or sum(pool.busy for pool in self._pools) > len(self._running)
        held = [job.id for job in self._running.values()]
        worker = self._worker if under_way else None
        lapsed = await self._store.write(leases.lapse, now=now, held=held, worker=worker)
        if lapsed:
            metrics.LEASES_LAPSED.inc(lapsed)
            _log.warning("work.lapsed", extra={"jobs": lapsed})
        waiting, dead = await self._store.scan(self._count, now)
        metrics.JOBS_UNKNOWN.clear()
        for kind, count in waiting.items():
            metrics.JOBS_UNKNOWN.labels(kind).set(count)
        metrics.JOBS_DEAD.set(dead)

    def _count(self, conn: sa.Connection, now: int) -> tuple[dict[str, int], int]:
        return leases.unknown(conn, self._kinds, now=now), count_dead(conn)

    async def _renew(self) -> None:
        held = {job.id: task for task, job in self._running.items()}
        ours = [job for job in self._running.values() if not job.hold.settled]
        if not ours:
            return
        kept = await self._store.write(leases.renew, ours, lease_ms=self.lease_ms, now=self._clock.now())
        for job in ours:
            if job.id not in kept and not job.hold.settled and job.id in held:
                _log.warning("work.lease_lost", extra={"job": job.id, "kind": job.kind})
                self._lost.add(job.id)
                held[job.id].cancel()
