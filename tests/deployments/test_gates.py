"""Real signals stop rollouts: a probe that fails, and the counters of a real HAProxy, by socket and by page."""

import tempfile
from pathlib import Path

import penstock_balancers as balancers
import pytest
from penstock_deployments_harness import open_harness
from penstock_waiting import eventually

import penstock.fleet
import penstock.monitoring
from penstock.egress import EgressSettings
from penstock.monitoring.evaluating import Evaluator
from penstock.monitoring.source_settings import MonitoringSettings

READS = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudwatch:DescribeAlarms","Resource":"*"}]}'


@pytest.fixture
def folder():
    """One whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="lb-") as made:
        yield Path(made)


@pytest.fixture
async def gated(store, clock, tmp_path, folder):
    """With a group whose deployments the alarm `gate` stops."""
    chosen = (
        EgressSettings(egress_networks=("127.0.0.0/8",)),
        MonitoringSettings(metric_socket_dirs=(str(folder),)),
    )
    further = (penstock.fleet.component, penstock.monitoring.component)
    async with open_harness(store, clock, tmp_path, further=further, chosen=chosen) as made:
        await made.call("PutRolePolicy", service="iam", RoleName="deployer", PolicyName="p", PolicyDocument=READS)
        await made.group(2, alarmConfiguration={"enabled": True, "alarms": [{"name": "gate"}]})
        yield made


async def watch(harness, namespace, name, dimensions, threshold, operator, statistic):
    await harness.call(
        "PutMetricAlarm", service="cloudwatch", AlarmName="gate", Namespace=namespace, MetricName=name, Statistic=statistic,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()], Period=10, EvaluationPeriods=1,
        Threshold=threshold, ComparisonOperator=operator, TreatMissingData="notBreaching",
    )  # fmt: skip


async def read_again(harness, clock, name, before=None):
    """Let time pass until a source is read; when that was."""

    async def look():
        found = (await harness.call("GetMetricSource", service="penstock", sourceName=name))["source"]
        return found if found.get("lastReadTime") not in (None, before) else None

    if before is not None:
        clock.advance(5_000)
    found = await eventually(look)
    await Evaluator(harness.app).turn()
    return found


async def stopped_by(harness, clock, deployment):
    """The deployment once its alarm has stopped it."""

    async def look():
        clock.advance(2_000)
        found = await harness.get(deployment)
        return found if found["status"] == "Stopped" else None

    found = await eventually(look)
    assert found["errorInformation"]["code"] == "ALARM_ACTIVE"
    return found


async def test_a_probe_that_fails_stops_a_deployment(gated, clock):
    with balancers.shop() as shop:
        await watch(gated, "Penstock/Probes", "Success", {"Source": "shop"}, 1.0, "LessThanThreshold", "Minimum")
        probe = {"url": f"{shop.url}/health", "expectedText": "healthy"}
        await gated.call("PutMetricSource", service="penstock", sourceName="shop", http=probe, intervalSeconds=5)
        first = await read_again(gated, clock, "shop")
        assert first["status"] == "OK"
        deployment = await gated.deploy()
        await gated.until(deployment, "InProgress")
        shop.status = 503
        second = await read_again(gated, clock, "shop", first["lastReadTime"])
        assert second["lastError"] == "The status is 503, and 200-299 was expected."
        found = await stopped_by(gated, clock, deployment)
        assert found["errorInformation"]["message"].endswith("Activated alarms: <gate>")


@pytest.mark.needs("haproxy")
@pytest.mark.parametrize("by", ["socket", "url"])
async def test_what_a_load_balancer_counts_stops_a_deployment(gated, clock, folder, by):
    with balancers.shop() as shop, balancers.haproxy(folder, shop) as balancer:
        where = {"socket": balancer.socket} if by == "socket" else {"url": balancer.statistics}
        dimensions = {"Source": "lb", "Proxy": "web", "Server": "BACKEND"}
        await watch(
            gated, "Penstock/HAProxy", "Responses5xxPercent", dimensions, 10.0, "GreaterThanThreshold", "Average"
        )
        put = {"sourceName": "lb", "haproxy": {**where, "proxies": ["web"]}, "intervalSeconds": 5}
        await gated.call("PutMetricSource", service="penstock", **put)
        first = await read_again(gated, clock, "lb")
        assert first["status"] == "OK", first
        assert [balancers.ask(balancer.url) for _ in range(4)] == [200] * 4
        deployment = await gated.deploy()
        await gated.until(deployment, "InProgress")
        second = await read_again(gated, clock, "lb", first["lastReadTime"])
        assert (await gated.get(deployment))["status"] == "InProgress"
        shop.status = 500
        assert [balancers.ask(balancer.url) for _ in range(2)] == [500] * 2
        await read_again(gated, clock, "lb", second["lastReadTime"])
        await stopped_by(gated, clock, deployment)


@pytest.mark.needs("nginx")
async def test_a_real_nginx_is_read(gated, clock, folder):
    with balancers.nginx(folder) as balancer:
        put = {"sourceName": "web", "nginx": {"url": balancer.statistics}, "intervalSeconds": 5}
        await gated.call("PutMetricSource", service="penstock", **put)
        first = await read_again(gated, clock, "web")
        assert first["status"] == "OK", first
        assert [balancers.ask(balancer.url) for _ in range(3)] == [200] * 3
        await watch(gated, "Penstock/Nginx", "Requests", {"Source": "web"}, 3.0, "GreaterThanThreshold", "Sum")
        await read_again(gated, clock, "web", first["lastReadTime"])
        found = await gated.call("DescribeAlarms", service="cloudwatch", AlarmNames=["gate"])
        assert found["MetricAlarms"][0]["StateValue"] == "ALARM", found  # the request for the counters is one too
