"""The row of an action that its decision hands over to who starts it: what is saved by it, and that nothing else is different."""

import asyncio
import threading

import pytest
import sqlalchemy as sa
from pipeline_harness import ACCOUNT, BUILD, REGION, SOURCE, action, approval, declared, stage

from penstock.pipelines import records, work
from penstock.pipelines.actions.provider import Running
from penstock.pipelines.aggregate import apply
from penstock.pipelines.inputs import ActionSucceeded
from penstock.pipelines.model import Key
from penstock.pipelines.preparation import prepare_row
from penstock.store import jobs, sqlite
from penstock.store.jobs import JobState
from penstock.wire.errors import ServiceError

PLAIN = stage("Plain", action("plain"))
TWO = stage("Two", action("first", runOrder=1), action("second", runOrder=2))


@pytest.fixture
def starts(monkeypatch):
    """The starts that were handed a row: that row, and what reading gives at that moment, by the action's name."""
    found, started = {}, work._started

    async def compared(service, job):
        handed = job.hold.handed
        if handed is not None:
            found[handed.action] = handed, await service.app.store.lookup(records.ACTION, x=handed.id)
        return await started(service, job)

    monkeypatch.setattr(work, "_started", compared)
    return found


async def run_until(harness, condition):
    """Run the pipeline until then: whether a job is taken where it is made depends on what else the worker does."""
    async with asyncio.timeout(60):
        while not condition():
            run = await harness("StartPipelineExecution", name="demo")
            await harness.until(lambda: at_rest(harness))
            await harness.status(run["pipelineExecutionId"])


async def at_rest(harness):
    """Whether nothing is under way, nor due."""
    table = jobs.jobs
    waiting = sa.select(table.c.id).where(
        table.c.state.in_([JobState.READY, JobState.LEASED]), table.c.due <= harness.app.clock.now()
    )
    return not harness.app.work.running and await harness.app.store.read(lambda conn: conn.execute(waiting).all()) == []


async def test_what_is_handed_over_is_what_reading_would_give(any_harness, starts):
    await any_harness.create(SOURCE, BUILD, PLAIN, stage("Gate", approval("ok")), executionMode="PARALLEL")
    await run_until(any_harness, lambda: starts.keys() == {"pull", "compile", "plain", "ok"})
    for handed, read in starts.values():
        assert vars(handed) == read._asdict()


async def test_a_start_reads_what_it_cannot_be_handed_and_nothing_else(any_harness, monkeypatch):
    reads, asked, store, started = {}, {}, any_harness.app.store, work._started

    async def counted(service, job):
        handed, task = job.hold.handed, asyncio.current_task()
        asked[task] = 0
        prepared = await started(service, job)
        if handed is not None:
            reads.setdefault(handed.action, set()).add(asked[task])
        return prepared

    def counting(ask):
        async def asking(*args, **kwargs):
            if asyncio.current_task() in asked:
                asked[asyncio.current_task()] += 1
            return await ask(*args, **kwargs)

        return asking

    await any_harness.create(SOURCE, BUILD, PLAIN)
    await any_harness.until(lambda: at_rest(any_harness))  # from now on the declaration is in memory
    for name in ("read", "lookup", "scan", "write", "write_together"):
        monkeypatch.setattr(store, name, counting(getattr(store, name)))
    monkeypatch.setattr(work, "_started", counted)
    await run_until(any_harness, lambda: len(reads) == 3)
    assert reads == {"pull": {1}, "compile": {1}, "plain": {0}}


async def test_a_row_whose_pipeline_is_gone_starts_nothing(any_harness, starts):
    await any_harness.create(SOURCE, BUILD, PLAIN)
    await run_until(any_harness, lambda: "pull" in starts)
    await any_harness("DeletePipeline", name="demo")
    assert await any_harness.app.store.read(prepare_row, any_harness.service.versions, starts["pull"][0]) is None


# --- what commits together with the decision that starts an action ----------------------------------------------------------------


class Together:
    """Requests that wait for SQLite's writer in the order in which they are made, and then share a COMMIT."""

    def __init__(self, store, monkeypatch):
        self.store, self.waiting = store, set()
        submit = store._backend.submit

        def noted(write):
            submit(write)
            self.waiting.add(asyncio.current_task())

        monkeypatch.setattr(store._backend, "submit", noted)
        monkeypatch.setattr(sqlite, "_GROUP_SECONDS", 60)

    async def __call__(self, *requests):
        """What came of them: "", or the code of the refusal."""
        free = threading.Event()
        tasks = [asyncio.create_task(self.store.write(lambda _: free.wait(60)))]
        try:
            for request in requests:
                tasks.append(asyncio.create_task(request))
                while tasks[-1] not in self.waiting and not tasks[-1].done():
                    await asyncio.sleep(0)
        finally:
            free.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return [
            answer.wire_code
            if isinstance(answer, ServiceError)
            else ""
            if not isinstance(answer, Exception)
            else repr(answer)
            for answer in answers[1:]
        ]


async def what_came_of(harness, together, name, order):
    """Run a pipeline until its first action runs; its end and further requests share a COMMIT. What can be seen then."""
    harness.scripted.started.clear()
    await harness.create(SOURCE, TWO, name=name)
    await harness.until(lambda: at_rest(harness))
    run, (_, first) = await harness.first(name), harness.scripted.started
    key = Key(account=ACCOUNT, region=REGION, name=name, id="")
    ended = ActionSucceeded(execution=run, action=first.id)
    stop = {"pipelineName": name, "pipelineExecutionId": run}
    requests = {
        "end": lambda: harness.app.store.write_together(
            key.lock, apply, harness.service.versions, key, ended, now=1, seed=harness.app.ids.seed()
        ),
        "abandon": lambda: harness("StopPipelineExecution", **stop, abandon=True),
        "stop": lambda: harness("StopPipelineExecution", **stop),
        "delete": lambda: harness("DeletePipeline", name=name),
        "update": lambda: harness("UpdatePipeline", pipeline=declared(SOURCE, PLAIN, name=name)),
    }
    answers = await together(*(requests[request]() for request in order))
    await harness.until(lambda: at_rest(harness))
    columns = records.actions.c
    seen = sa.select(columns.action, columns.status).where(columns.pipeline == name).order_by(columns.ordinal)
    left = await harness.app.store.read(lambda conn: [tuple(row) for row in conn.execute(seen)])
    return answers, [started.name for started in harness.scripted.started], left


@pytest.mark.parametrize("beside", ["abandon", "stop", "delete", "update"])
async def test_who_is_handed_a_row_starts_what_who_reads_it_would(harness, monkeypatch, beside):
    """Whatever is decided about the pipeline in the same COMMIT as the start of its second action."""
    harness.scripted.answers |= {
        ("first", moment): Running(external_id="1", check_after=10**9) for moment in ("start", "observe")
    }
    together, made = Together(harness.app.store, monkeypatch), records.new_action
    others = ["abandon", "stop", "delete", "update"]
    orders = [(beside, "end"), ("end", beside), *(("end", beside, other) for other in others if other != beside)]
    for number, order in enumerate(orders):
        monkeypatch.setattr(records, "new_action", made)
        handed = await what_came_of(harness, together, f"handed{number}", order)
        monkeypatch.setattr(records, "new_action", lambda columns: None)
        assert handed == await what_came_of(harness, together, f"read{number}", order), order
        _, started, left = handed
        assert started[2:] == ["second"] * (("second", "Succeeded") in left), order
