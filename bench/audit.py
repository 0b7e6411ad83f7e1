"""LookupEvents among a million records: by each attribute, common and rare, first pages and deep ones, in ranges of time.

The records are those of 300 callers of 24 operations on 1,000 pipelines and as many projects, over the last 80 days. They are made, chained
and moved to the database by what does so in a server, in process; only the calls have not taken place.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

import penstock.audit
import penstock.identity
import penstock.pipelines
from bench.run import Row
from penstock.app import compose
from penstock.application import App, Settings
from penstock.audit.shipping import Shipping
from penstock.store.clock import ManualClock
from penstock.wire.call import Call, PrincipalKind, Session

RECORDS = int(os.environ.get("BENCH_RECORDS", "1000000"))
DAYS = 80
BAR = 100  # ms
LOOKS = 5
DEEP = 40  # pages
ACCOUNT = "111111111111"
ARN = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}"
AT_ONCE = 8_192  # records between two turns of what moves them
DAY = 86_400_000
RARE = {"user": "rare", "pipeline": "rare"}


def measure() -> list[Row]:
    """The rows of the table."""
    return uvloop.run(_measure())


async def _measure() -> list[Row]:
    shipping: list[Shipping] = []

    def audit(app: App) -> Any:
        made = penstock.audit.component(app)
        shipping.append(made.state)
        return made

    clock = ManualClock(time.time_ns() // 1_000_000 - DAYS * DAY)
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        settings = Settings(data_dir=Path(folder) / "data", master_key_file=Path(folder) / "master.key")
        components = (penstock.identity.component, penstock.pipelines.component, audit)
        async with compose(settings, components=components, clock=clock) as app:
            key_id = (await app.identity.bootstrap()).splitlines()[1].partition(" = ")[2]
            administrator = (await app.identity.credential(key_id, "")).session
            for record in _calls(app):
                clock.advance(DAYS * DAY // RECORDS)
                number = record()
                if number % AT_ONCE == 0:
                    app.records.trail.write()
                    await shipping[0].turn()
            app.records.trail.write()
            await shipping[0].turn()
            size = sum(path.stat().st_size for path in settings.data_dir.glob("penstock.db*"))
            pages = await _pages(app, administrator, clock)
    slowest = max(pages, key=lambda name: pages[name])
    said = ", ".join(f"{name} {wall:.0f}/{used:.0f}" for name, (wall, used) in pages.items())
    wall, _ = pages[slowest]
    return [
        Row(
            what=f"LookupEvents among {RECORDS:,} records, a page of 50 (p50, ms on the wall/of processor)",
            measured=f"at most {wall:.0f} ({slowest}): {said}; {size / RECORDS:.0f} bytes of database for a record",
            bar=f"≤ {BAR}",
            met=wall <= BAR,
        ),
    ]


def _callers() -> list[tuple[Session, str, str]]:
    """Sessions, and where each calls from."""
    agents = (
        "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.18 lang/python#3.11.7",
        "aws-cli/2.31.3 md/awscrt#0.27.6",
    )
    found = []
    for number in range(100):
        name = RARE["user"] if number == 99 else f"user-{number}"
        arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
        key = "AKIARARE" if number == 99 else f"AKIA{number:016}"
        user = Session(
            account=ACCOUNT, kind=PrincipalKind.USER, arn=arn, principal_id=f"AIDA{number:016}", access_key_id=key
        )
        found.append((user, f"10.0.{number}.7", agents[number % 2]))
    for number in range(200):
        role = f"arn:aws:iam::{ACCOUNT}:role/service-{number % 20}"
        session = Session(
            account=ACCOUNT,
            kind=PrincipalKind.ROLE,
            arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/service-{number % 20}/run-{number}",
            principal_id=f"AROA{number % 20:016}:run-{number}",
            access_key_id=f"ASIA{number:016}",
            role_arn=role,
        )
        found.append((session, "", ""))
    return found


def _calls(app: App) -> Iterator[Any]:
    """What records the next call, and says its number."""
    chance = random.Random(7)
    callers = _callers()
    weights = [1 / rank for rank in range(1, len(callers) + 1)]
    weights[99] = 60 / RECORDS * sum(weights)
    weights = list(itertools.accumulate(weights))
    names = [one.name for one in app.registry if one.service == "codepipeline"][:24]
    operations = [app.registry.get("codepipeline", name) for name in names]
    model = app.services.get("codepipeline")
    plain = {
        name: "name"
        if model.operation(name).input and "name" in model.operation(name).input.members
        else "pipelineName"
        for name in names
    }
    for number in itertools.count(1):
        if number > RECORDS:
            return
        (session, address, agent) = chance.choices(callers, cum_weights=weights)[0]
        operation = operations[chance.randrange(len(operations))]
        rare = number % (RECORDS // 20) == 0
        pipeline = RARE["pipeline"] if rare else f"pipeline-{int(chance.paretovariate(0.6)) % 1000}"
        call = Call(
            app=app,
            session=session,
            account=ACCOUNT,
            region="us-east-1",
            service="codepipeline",
            operation=operation.name,
            request_id=app.ids.uuid(),
            now=app.clock.now(),
            via="http",
            source_ip=address,
            user_agent=agent,
            memo={"resources": (f"{ARN}:{pipeline}",)},
        )

        def record(
            call: Call[Any] = call, operation: Any = operation, pipeline: str = pipeline, number: int = number
        ) -> int:
            invoked_by = "" if call.source_ip else "codepipeline.amazonaws.com"
            input = {plain[operation.name]: pipeline}
            app.records.call(call, operation, code="", message="", input=input, output={}, invoked_by=invoked_by)
            return number

        yield record


async def _pages(app: App, session: Session, clock: ManualClock) -> dict[str, tuple[float, float]]:
    """How many ms a page takes, by what is looked for: on the wall, and of processor."""
    now = clock.now()

    async def look(**asked: Any) -> dict[str, Any]:
        return await app.invoke(session, "cloudtrail", "LookupEvents", asked, region="us-east-1")

    def by(name: str, value: str) -> dict[str, Any]:
        return {"LookupAttributes": [{"AttributeKey": name, "AttributeValue": value}]}

    somewhere = (await look(StartTime=now - 40 * DAY, EndTime=now - 39 * DAY))["Events"][0]["EventId"]
    wanted: dict[str, dict[str, Any]] = {
        "any": {},
        "EventName": by("EventName", "GetPipelineState"),
        "ReadOnly=false": by("ReadOnly", "false"),
        "EventSource": by("EventSource", "codepipeline.amazonaws.com"),
        "Username": by("Username", "user-50"),
        "rare Username": by("Username", RARE["user"]),
        "AccessKeyId": by("AccessKeyId", f"AKIA{50:016}"),
        "ResourceType": by("ResourceType", "AWS::CodePipeline::Pipeline"),
        "ResourceName": by("ResourceName", "pipeline-500"),
        "rare ResourceName": by("ResourceName", RARE["pipeline"]),
        "EventId": by("EventId", somewhere),
        "nobody": by("Username", "nobody"),
        "a day 70 days ago": {"StartTime": now - 70 * DAY, "EndTime": now - 69 * DAY},
        "Username 70 days ago": {**by("Username", "user-50"), "EndTime": now - 70 * DAY},
    }
    took: dict[str, tuple[float, float]] = {}
    for name, asked in wanted.items():
        found, page = [], {}
        for _ in range(LOOKS):
            began, used = time.perf_counter(), time.process_time()
            page = await look(**asked)
            found.append((time.perf_counter() - began, time.process_time() - used))
        took[name] = _median(found)
        if name not in ("any", "Username", "ResourceName"):
            continue
        for _ in range(DEEP):
            if "NextToken" not in page:
                break
            began, used = time.perf_counter(), time.process_time()
            page = await look(**asked, NextToken=page["NextToken"])
            found.append((time.perf_counter() - began, time.process_time() - used))
        took[f"{name}, pages {DEEP - LOOKS} to {DEEP}"] = _median(found[-LOOKS:])
    return took


def _median(found: list[tuple[float, float]]) -> tuple[float, float]:
    walls, used = zip(*found, strict=True)
    return statistics.median(walls) * 1000, statistics.median(used) * 1000
