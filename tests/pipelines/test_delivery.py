"""Deliveries as the tables have them: read after runs with scripted deployments, shown by the operation, the metrics and the page."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from penstock_waiting import eventually
from pipeline_harness import ACCOUNT, BUILD, REGION, SOURCE, action, approval, stage

from penstock.pipelines import dora, measures, production, records
from penstock.pipelines.actions.provider import Failed, Revision, Succeeded
from penstock.wire.errors import AccessDenied, ServiceError, Throttled

LIVE = stage("Live", approval(), action("roll-out", "Deploy", runOrder=2), action("smoke", "Build", runOrder=3))
AFTER = stage("Tidy", action("tidy", "Build"))


def fetches(harness, id: str, created: int) -> None:
    harness.scripted.answers["pull", "start"] = lambda asked: Succeeded(
        outputs=asked.outputs, revision=Revision(id=id, created=created)
    )


async def deliver(harness, name: str, revision: str, *, fails: str = "", created: int = 0) -> str:
    """A run to its end; the id."""
    fetches(harness, revision, created or harness.app.store.clock.now() - 5_000)
    for one in ("roll-out", "smoke"):
        harness.scripted.answers[one, "start"] = Failed(code="JobFailed", message="no") if one == fails else None
    run = (await harness("StartPipelineExecution", name=name))["pipelineExecutionId"]
    await approve(harness, name)
    await harness.ended(run, name)
    return run


async def approve(harness, name: str, status: str = "Approved") -> None:
    token = await harness.open_approval("Live", name=name)
    result = {"summary": "", "status": status}
    await harness("PutApprovalResult", pipelineName=name, stageName="Live", actionName="ok", token=token, result=result)


async def figures_of(harness, **input):
    return await harness.app.invoke(harness.admin, "penstock", "GetDeliveryFigures", input, region=REGION)


@pytest.fixture
def admin():
    from pipeline_harness import ADMIN

    return ADMIN


async def test_runs_of_the_production_stage_are_deployments(any_harness, admin):
    harness = any_harness
    harness.admin = admin
    fetches(harness, "a", harness.app.store.clock.now() - 60_000)
    await harness.create(SOURCE, LIVE, AFTER, name="shop")
    await approve(harness, "shop")
    assert await harness.ended(await harness.first("shop"), "shop") == "Succeeded"
    failed = await deliver(harness, "shop", "b", fails="smoke")
    # Only the check runs again, and the stage succeeds: the deployment is mended.
    harness.scripted.answers["smoke", "start"] = None
    asked = {"pipelineName": "shop", "stageName": "Live", "pipelineExecutionId": failed, "retryMode": "FAILED_ACTIONS"}
    await harness("RetryStageExecution", **asked)
    assert await harness.ended(failed, "shop") == "Succeeded"
    await deliver(harness, "shop", "c", fails="roll-out")
    run = (await harness("StartPipelineExecution", name="shop"))["pipelineExecutionId"]
    await approve(harness, "shop", "Rejected")  # nothing was deployed
    assert await harness.ended(run, "shop") == "Failed"
    await harness.create(SOURCE, BUILD, name="nothing")

    found = await figures_of(harness)
    total = found["total"]
    assert (total["succeededDeployments"], total["failedDeployments"]) == (2, 2)
    assert (total["changeFailureRate"], total["reworkRate"], total["unrecoveredFailures"]) == (0.5, 0.25, 1)
    assert 60 <= total["leadTimeP90Seconds"] < 600
    assert total["recoveryTimeSeconds"] >= 0
    assert [(one["pipelineName"], one["stageName"]) for one in found["pipelines"]] == [("shop", "Live")]
    assert found["pipelines"][0]["figures"] == total
    assert len(found["days"]) == 30
    assert (
        sum(day["deployments"] for day in found["days"]) == sum(day["failedDeployments"] for day in found["days"]) == 2
    )
    assert (await figures_of(harness, pipelineName="shop"))["total"] == total
    assert (await figures_of(harness, pipelineName="nothing"))["pipelines"] == []
    with pytest.raises(ServiceError) as refused:
        await figures_of(harness, pipelineName="gone")
    assert refused.value.wire_code == "PipelineNotFoundException"
    *_, delivery = harness.app.readings
    values = await harness.app.store.scan(delivery.read, harness.app.store.clock.now())
    assert [value[("shop",)] for value in values[2:5:2]] == [0.5, 0.25]
    harness.identity.denied.add("penstock:GetDeliveryFigures")
    with pytest.raises(AccessDenied):
        await figures_of(harness)


async def test_a_rollback_puts_back_what_its_target_brought(any_harness, admin):
    """The deployment that it replaces has failed, though it succeeded; the revisions are not new."""
    harness = any_harness
    harness.admin = admin
    fetches(harness, "a", 1)
    await harness.create(SOURCE, stage("Live", action("roll-out", "Deploy")), name="shop")
    good = await harness.first("shop")
    assert await harness.ended(good, "shop") == "Succeeded"
    fetches(harness, "b", 2)
    run = (await harness("StartPipelineExecution", name="shop"))["pipelineExecutionId"]
    assert await harness.ended(run, "shop") == "Succeeded"
    asked = {"pipelineName": "shop", "stageName": "Live", "targetPipelineExecutionId": good}
    back = (await harness("RollbackStage", **asked))["pipelineExecutionId"]
    assert await harness.ended(back, "shop") == "Succeeded"
    (attempts,) = (await harness.app.store.scan(lambda conn: production.read(conn, since=0))).attempts.values()
    judged = dora.judged(attempts)
    assert [(one.failed, len(one.leads)) for one in judged] == [(False, 1), (True, 1), (False, 0)]


async def test_a_question_reads_a_bounded_number_of_runs(any_harness, admin, monkeypatch):
    harness = any_harness
    harness.admin = admin
    monkeypatch.setattr(production, "MOST", 1)
    fetches(harness, "a", 1)
    await harness.create(SOURCE, stage("Live", action("roll-out", "Deploy")), name="shop")
    assert await harness.ended(await harness.first("shop"), "shop") == "Succeeded"
    run = (await harness("StartPipelineExecution", name="shop"))["pipelineExecutionId"]
    assert await harness.ended(run, "shop") == "Succeeded"
    found = await figures_of(harness)
    assert found["total"]["succeededDeployments"] == 1
    updated = await harness.app.store.scan(
        lambda conn: conn.execute(sa.select(sa.func.max(records.executions.c.updated))).scalar()
    )
    assert found["readSince"] == updated
    # A run that fetched nothing takes its place among those that are read.
    await harness.app.store.write(
        lambda conn: conn.execute(records.actions.delete().where(records.actions.c.execution_id == run))
    )
    found = await figures_of(harness)
    assert (found["total"]["succeededDeployments"], found["readSince"]) == (0, updated)


async def test_it_is_of_one_account_and_region(any_harness, admin):
    harness = any_harness
    harness.admin = admin
    await harness.create(SOURCE, stage("Live", action("roll-out", "Deploy")), name="shop")
    assert await harness.ended(await harness.first("shop"), "shop") == "Succeeded"
    elsewhere = await harness.app.invoke(admin, "penstock", "GetDeliveryFigures", {}, region="eu-west-1")
    assert (elsewhere["pipelines"], elsewhere["total"]["succeededDeployments"]) == ([], 0)

    def read(conn):
        return production.read(conn, since=0, owner=(ACCOUNT, REGION)), production.read(conn, since=0)

    own, every = await harness.app.store.scan(read)
    assert own.attempts == every.attempts
    assert len(own.attempts) == 1
    assert dora.judged(next(iter(own.attempts.values())))[0].succeeded
    assert measures.READINGS[-1].every >= 60


async def test_a_flood_of_questions_is_refused(harness, admin):
    """One is answered at a time, and few wait: shorter scans have the other threads."""
    harness.admin = admin
    async with harness.service.figures_turn:
        waiting = [asyncio.ensure_future(figures_of(harness)) for _ in range(8)]
        await eventually(lambda: harness.service.figures_places._held == 8)
        with pytest.raises(Throttled):
            await figures_of(harness)
    assert [one["pipelines"] for one in await asyncio.gather(*waiting)] == [[]] * 8
    assert harness.service.figures_places._held == 0
