"""A process that works pipelines on a database file until the first execution has ended: what crash tests kill.

    crash_child.py DATABASE FOLDER

Prints the final status. Starts of actions are appended to FOLDER/starts, one line `<action> <token>` each.
"""

import asyncio
import sys
from pathlib import Path

from pipeline_harness import BUILD, SOURCE, action, harness, stage

from penstock.pipelines.actions.provider import Succeeded
from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.schema import metadata


async def main(url, folder):
    clock = SystemClock()
    store = await Store.open(url, clock=clock)
    await store.write(lambda conn: metadata.create_all(conn))
    async with harness(store, clock, folder, lease_ms=300) as opened:
        deploy = stage("Deploy", action("roll", "Deploy"), action("check", "Deploy"))

        def noted(started):
            with (folder / "starts").open("a") as notes:
                notes.write(f"{started.name} {started.token}\n")
            return Succeeded(outputs=started.outputs)

        for name in ("pull", "compile", "roll", "check"):
            opened.scripted.answers[name, "start"] = noted
        if not (await opened("ListPipelines"))["pipelines"]:
            await opened.create(SOURCE, BUILD, deploy)
        print(await opened.ended(await opened.first()), flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
