"""Alarms stop deployments in process: by data of a metric, with a rollback where the group says so, and when nobody can read them."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from penstock_deployments_harness import open_harness
from penstock_waiting import eventually

import penstock.monitoring
from penstock.deployments.alarms import ALARMS
from penstock.monitoring.evaluating import Evaluator
from penstock.store.records import jobs
from penstock.wire.errors import AccessDenied, ServiceError

READS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"}],
}
WATCHED = {"alarmConfiguration": {"enabled": True, "alarms": [{"name": "errors"}]}}


@pytest.fixture
async def alarmed(store, clock, tmp_path):
    """With CloudWatch, and an alarm on errors that the service role may read."""
    async with open_harness(store, clock, tmp_path, further=(penstock.monitoring.component,)) as made:
        await permit(made, READS)
        await made.call(
            "PutMetricAlarm", service="cloudwatch", AlarmName="errors", Namespace="Shop", MetricName="Errors", Statistic="Sum", Period=60,
            EvaluationPeriods=1, Threshold=3.0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
        )  # fmt: skip
        yield made


async def permit(harness, policy):
    document = json.dumps(policy)
    await harness.call("PutRolePolicy", service="iam", RoleName="deployer", PolicyName="p", PolicyDocument=document)


async def put(harness, value):
    await harness.call(
        "PutMetricData", service="cloudwatch", Namespace="Shop", MetricData=[{"MetricName": "Errors", "Value": value}]
    )
    await Evaluator(harness.app).turn()


async def look_again(harness, clock, deployment):
    """Let the alarms of a deployment be asked for once more, and wait until they were; whether the job goes on."""

    def job(conn):
        rows = conn.execute(sa.select(jobs.c.state, jobs.c.due, jobs.c.payload).where(jobs.c.kind == ALARMS)).all()
        return next((row for row in rows if row.payload["deployment"] == deployment), None)

    async def rests():
        found = await harness.app.store.read(job)
        return found is not None and (found.state == "done" or (found.state == "ready" and found.due > clock.now()))

    await eventually(rests)
    found = await harness.app.store.read(job)
    if found.state == "done":
        return False
    clock.advance(found.due - clock.now())
    await eventually(rests)
    return True


async def test_a_deployment_is_stopped_and_rolled_back_by_data_of_a_metric(alarmed, clock):
    on_alarm = {"autoRollbackConfiguration": {"enabled": True, "events": ["DEPLOYMENT_STOP_ON_ALARM"]}}
    hosts = await alarmed.group(2, **WATCHED, **on_alarm)
    alarmed.serve(*hosts)
    first = await alarmed.deploy("v1.zip")
    assert (await alarmed.until(first))["status"] == "Succeeded"
    for agent in alarmed.agents:
        agent.cancel()
    await asyncio.gather(*alarmed.agents, return_exceptions=True)
    second = await alarmed.deploy("v2.zip")
    await alarmed.until(second, "InProgress")
    polls = [asyncio.create_task(host.poll()) for host in hosts]  # they go one at a time, in an order of their own
    (polled,), waiting = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
    for poll in waiting:
        poll.cancel()
    command, host = polled.result(), hosts[polls.index(polled)]
    assert await host.acknowledge(command) == "InProgress"
    await put(alarmed, 3.0)
    assert await look_again(alarmed, clock, second)
    assert (await alarmed.get(second))["status"] == "InProgress"
    await put(alarmed, 1.0)
    await look_again(alarmed, clock, second)
    await host.complete(command)  # what runs is awaited
    found = await alarmed.until(second)
    assert (found["status"], found["errorInformation"]) == (
        "Stopped",
        {
            "code": "ALARM_ACTIVE",
            "message": "One or more alarms have been activated according to the Amazon CloudWatch metrics you selected, and the affected"
            " deployments have been stopped. Activated alarms: <errors>",
        },
    )
    back = found["rollbackInfo"]["rollbackDeploymentId"]
    alarmed.serve(*hosts)
    # It is not stopped by the alarm that led to it.
    assert (await alarmed.until(back))["status"] == "Succeeded"


async def test_an_alarm_that_is_active_already_stops_what_begins(alarmed):
    await alarmed.group(1, **WATCHED)
    await put(alarmed, 9.0)
    found = await alarmed.until(await alarmed.deploy())
    assert (found["status"], found["errorInformation"]["code"], found.get("rollbackInfo")) == (
        "Stopped",
        "ALARM_ACTIVE",
        None,
    )


@pytest.mark.parametrize(
    ("names", "policy", "reason"),
    [
        (["errors", "none"], READS, "there is no alarm none."),
        (
            ["errors"],
            {**READS, "Statement": [{**READS["Statement"][0], "Action": "s3:*"}]},
            "not authorized to perform: cloudwatch:DescribeAlarms",
        ),
    ],
)
async def test_what_cannot_be_read_stops_unless_the_group_ignores_it(alarmed, clock, names, policy, reason):
    await permit(alarmed, policy)
    asked = {"enabled": True, "alarms": [{"name": name} for name in names]}
    await alarmed.group(1, alarmConfiguration=asked)
    found = await alarmed.until(await alarmed.deploy())
    assert (found["status"], found["errorInformation"]["code"]) == ("Stopped", "ALARM_ACTIVE")
    assert reason in found["errorInformation"]["message"]
    assert "set ignorePollAlarmFailure" in found["errorInformation"]["message"]
    override = asked | {"ignorePollAlarmFailure": True}
    deployment = await alarmed.deploy(overrideAlarmConfiguration=override)
    await alarmed.until(deployment, "InProgress")
    assert await look_again(alarmed, clock, deployment)
    found = await alarmed.get(deployment)
    assert (found["status"], found["overrideAlarmConfiguration"]) == ("InProgress", override)


async def test_a_configuration_that_is_switched_off_is_kept_and_ignored(alarmed):
    off = {"enabled": False, "alarms": [{"name": "errors"}], "ignorePollAlarmFailure": False}
    hosts = await alarmed.group(1, alarmConfiguration=off)
    await put(alarmed, 9.0)
    alarmed.serve(*hosts)
    assert (await alarmed.until(await alarmed.deploy()))["status"] == "Succeeded"
    shown = await alarmed.call("GetDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    assert shown["deploymentGroupInfo"]["alarmConfiguration"] == off


async def test_a_group_has_ten_alarms_and_who_goes_past_them_may_change_it(alarmed):
    many = {"enabled": True, "alarms": [{"name": f"a{number}"} for number in range(11)]}
    with pytest.raises(ServiceError) as refused:
        await alarmed.group(0, alarmConfiguration=many)
    assert (refused.value.wire_code, refused.value.message) == (
        "AlarmsLimitExceededException",
        "The maximum number of alarms for a deployment group (10) was exceeded.",
    )
    statement = {"Effect": "Allow", "Action": ["codedeploy:CreateDeployment", "codedeploy:Get*"], "Resource": "*"}
    ada = await alarmed.user("ada", {"Version": "2012-10-17", "Statement": [statement]})
    await alarmed.call(
        "CreateDeploymentGroup", applicationName="shop", deploymentGroupName="web", serviceRoleArn=alarmed.role,
        onPremisesInstanceTagFilters=[{"Key": "role", "Value": "web", "Type": "KEY_AND_VALUE"}], **WATCHED,
    )  # fmt: skip
    with pytest.raises(AccessDenied, match="codedeploy:UpdateDeploymentGroup"):
        await alarmed.deploy(session=ada, overrideAlarmConfiguration={"enabled": False})
