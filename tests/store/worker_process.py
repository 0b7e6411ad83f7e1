"""A process for the tests beside it: works on jobs or writes rows, and says in lines of JSON what it does."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from penstock.store.clock import SystemClock
from penstock.store.database import Store, StoreInUse
from penstock.store.jobs import Job
from penstock.store.records import event_sequences
from penstock.store.work import Work


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def work(options: argparse.Namespace) -> None:
    try:
        store = await Store.open(options.url, clock=SystemClock(), notify=not options.no_notify)
    except StoreInUse as error:
        say(says="refused", why=str(error))
        return
    worker = Work(store, lease_ms=options.lease_ms, poll_ms=options.poll_ms)

    @worker.handler(options.kind)
    async def handle(app: None, job: Job) -> None:
        say(says="begun", job=job.id, attempt=job.attempt, at=time.time())
        if not options.finish and options.kind == "stuck":
            await asyncio.Event().wait()

    await worker.start(None)
    await asyncio.sleep(0.1)  # past the first look into the table, so that what comes next was heard of
    say(says="ready")
    await asyncio.Event().wait()


async def write(options: argparse.Namespace) -> None:
    store = await Store.open(options.url, clock=SystemClock())

    def both(conn, n: int) -> int:
        for part in ("a", "b"):
            conn.execute(
                event_sequences.insert(),
                {"aggregate": f"{n}/{part}", "account": "1", "region": "r", "sequence": n, "at": 1},
            )
        return n

    async def writer(start: int) -> None:
        for n in range(start, 100_000, 4):
            say(answered=await store.write(both, n))

    await asyncio.gather(*map(writer, range(4)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["work", "write"])
    parser.add_argument("url")
    parser.add_argument("--kind", default="k")
    parser.add_argument("--lease-ms", type=int, default=30_000)
    parser.add_argument("--poll-ms", type=int, default=2_000)
    parser.add_argument("--no-notify", action="store_true")
    parser.add_argument("--finish", action="store_true")
    chosen = parser.parse_args()
    asyncio.run({"work": work, "write": write}[chosen.what](chosen))
