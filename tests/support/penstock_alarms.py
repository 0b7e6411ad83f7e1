"""Alarms in process, with a stand-in for SNS: what tests of them share. Import the fixtures by name."""

import json
from types import ModuleType

import penstock_identity_harness
import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT

import penstock.monitoring
from penstock.component import Component, operations_of
from penstock.monitoring.evaluating import Evaluator
from penstock.store import records as store_records
from penstock.store.database import Store
from penstock.wire.registry import Access
from penstock.wire.services import Service

REGION = "us-east-1"
NS = "Shop/Checkout"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts"
ARN = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:errors"


class Topics:
    """Stands for SNS: what was published, and the error that the next call answers."""

    def __init__(self):
        self.published = []
        self.error = None

    def component(self, _app):
        published = self

        async def publish(_state, call, input):
            if published.error is not None:
                raise published.error
            published.published.append((call.session.arn, call.session.source_arn, input))
            return {"MessageId": "1"}

        module = ModuleType("topics_for_tests")
        publish.__module__ = module.__name__
        module.publish = operations_of("sns")("Publish", access=Access.AUTHENTICATED)(publish)
        return Component(name="topics", state=None, services=(Service("sns"),), operations=(module,))


@pytest.fixture
def topics():
    return Topics()


BOTH = pytest.mark.parametrize("alarmed", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def alarmed(request, clock, tmp_path, topics):
    """With a stand-in for SNS; on SQLite, and with BOTH on either database."""
    url = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")
    components = (penstock.monitoring.component, topics.component)
    store = await Store.open(url, clock=clock)
    async with penstock_identity_harness.harness_on(store, clock, tmp_path, *components) as made:
        for stop in made.app.stops:  # tests evaluate by themselves
            await stop()
        yield made
    await store.close()


@pytest.fixture
async def owner(alarmed):
    return await alarmed.administrator()


@pytest.fixture
def now(clock):
    """The beginning of an hour, in seconds; the clock stands there."""
    clock.advance(-clock.now() % 3_600_000)
    return clock.now() // 1000


async def cloudwatch(harness, by, operation, **input):
    return await harness.app.invoke(by, "cloudwatch", operation, input, region=REGION)


ERRORS = {
    "AlarmName": "errors", "Namespace": NS, "MetricName": "Errors", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
    "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
}  # fmt: skip


async def make(harness, by, **more):
    await cloudwatch(harness, by, "PutMetricAlarm", **(ERRORS | more))


async def put(harness, by, value, at=None, name="Errors", **more):
    datum = {"MetricName": name, "Value": value, **({} if at is None else {"Timestamp": at * 1000}), **more}
    await cloudwatch(harness, by, "PutMetricData", Namespace=NS, MetricData=[datum])


async def shown(harness, by, name="errors"):
    (found,) = (await cloudwatch(harness, by, "DescribeAlarms", AlarmNames=[name]))["MetricAlarms"]
    return found


async def state(harness, by, name="errors"):
    return (await shown(harness, by, name))["StateValue"]


async def turn(harness):
    await Evaluator(harness.app).turn()


async def emitted(harness, kind):
    """The contents of events of a type as text, in order."""
    events = store_records.events
    rows = await harness.app.store.scan(lambda conn: conn.execute(sa.select(events).order_by(events.c.position)).all())
    return [json.dumps(row.content) for row in rows if f"cloudwatch.alarm.{kind}" in row.content]


async def actions(harness):
    """The jobs that run actions, in order."""
    jobs = store_records.jobs
    return await harness.app.store.scan(
        lambda conn: conn.execute(sa.select(jobs).where(jobs.c.kind == "monitoring.action").order_by(jobs.c.id)).all()
    )


async def history(harness, by, **input):
    found = await cloudwatch(harness, by, "DescribeAlarmHistory", **input)
    return [(one["HistoryItemType"], one["HistorySummary"]) for one in found["AlarmHistoryItems"]]
