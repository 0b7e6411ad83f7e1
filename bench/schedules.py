"""What 10,000 schedules cost: while they wait, and when all of them come in the same minute, in processor time."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import sqlalchemy as sa

import penstock.events
import penstock.identity
import penstock.topics
from bench.run import Row
from penstock.app import compose
from penstock.application import App, Settings
from penstock.events import scheduling
from penstock.events.schedule_records import invocations, schedules
from penstock.store.clock import ManualClock
from penstock.store.leases import Claimant
from penstock.wire.call import Session

SCHEDULES, SHARED = 10_000, 1_000  # how many of them come together
_BAR_MS = 5.0  # for each that comes, with all that it asks
_CLAIMS = 200
_TRUST = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
_MAY = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


async def _furnish(app: App, session: Session) -> None:
    async def call(service: str, operation: str, **input: Any) -> Any:
        return await app.invoke(session, service, operation, input, region="us-east-1")

    role = await call("iam", "CreateRole", RoleName="clock", AssumeRolePolicyDocument=_document(_TRUST))
    await call("iam", "PutRolePolicy", RoleName="clock", PolicyName="p", PolicyDocument=_document(_MAY))
    topic = await call("sns", "CreateTopic", Name="bench")
    target = {"Arn": topic["TopicArn"], "RoleArn": role["Role"]["Arn"], "Input": "x"}
    asked = {"Target": target, "FlexibleTimeWindow": {"Mode": "OFF"}}
    for start in range(0, SCHEDULES, 200):
        made = (
            call(
                "scheduler",
                "CreateSchedule",
                Name=f"s{number:05}",
                ScheduleExpression="cron(0 12 * * ? *)" if number < SHARED else "cron(0 12 1 1 ? 2199)",
                **asked,
            )
            for number in range(start, start + 200)
        )
        await asyncio.gather(*made)


async def _measure(folder: Path) -> tuple[float, float]:
    """Milliseconds of a claim of jobs beside them, and of the processor for each schedule that comes."""
    clock = ManualClock()
    settings = Settings(data_dir=folder / "data", master_key_file=folder / "master.key")
    components = (penstock.identity.component, penstock.topics.component, penstock.events.component)
    async with compose(settings, components=components, clock=clock) as app:
        lines = (await app.identity.bootstrap()).splitlines()
        session = (await app.identity.credential(lines[1].partition(" = ")[2], "")).session
        await _furnish(app, session)
        claimant = Claimant(worker="bench", lease_ms=30_000, regions=())
        began = time.perf_counter()
        for _ in range(_CLAIMS):
            await app.store.write(lambda conn: claimant.claim(conn, {(scheduling.FIRE,): 8}, now=clock.now()))
        claim = (time.perf_counter() - began) / _CLAIMS * 1000
        await app.events.start()
        await app.work.start(app)
        before = time.process_time()
        clock.advance(4 * 3_600_000)
        noon = clock.now()
        late = sa.select(schedules.c.name).where(schedules.c.next == noon)
        left = sa.select(sa.or_(late.exists(), sa.select(invocations.c.id).exists()))
        while await app.store.read(lambda conn: conn.execute(left).scalar_one()):
            await asyncio.sleep(0.05)
        spent = (time.process_time() - before) / SHARED * 1000
        await app.work.stop()
        await app.events.stop()
        return claim, spent


def measure() -> list[Row]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        claim, spent = asyncio.run(_measure(Path(folder)))
    return [
        Row(
            what=f"a claim of jobs while {SCHEDULES:,} schedules wait",
            measured=f"{claim:.2f} ms",
            bar="",
            met=None,
        ),
        Row(
            what=f"{SHARED:,} of {SCHEDULES:,} schedules come together and publish, each",
            measured=f"{spent:.1f} ms of the processor",
            bar=f"≤ {_BAR_MS:.0f} ms",
            met=spent <= _BAR_MS,
        ),
    ]


if __name__ == "__main__":
    for row in measure():
        print(row.what, row.measured, sep=": ")
