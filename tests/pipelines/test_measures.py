"""What the metrics say of pipelines: runs that ended and are under way, actions, and approvals that wait."""

from __future__ import annotations

from penstock_waiting import eventually
from pipeline_harness import BUILD, SOURCE, approval, stage

from penstock.metrics import REGISTRY
from penstock.pipelines import measures
from penstock.pipelines.actions.provider import Failed
from penstock.pipelines.model import ActionStatus

GATE = stage("Gate", approval())


def count(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"{metric}_count", labels) or 0


def runs(name: str, result: str) -> float:
    return count(
        "cicd_pipeline_run_duration_seconds",
        cicd_pipeline_name=name,
        cicd_pipeline_run_state="executing",
        cicd_pipeline_result=result,
    )


def errors(type: str) -> float:
    labels = {"cicd_pipeline_name": "measured", "error_type": type}
    return REGISTRY.get_sample_value("cicd_pipeline_run_errors_total", labels) or 0


async def test_runs_actions_and_approvals(any_harness):
    harness = any_harness
    store = harness.app.store
    active, approvals, _ = harness.app.readings
    succeeded = count("penstock_action_seconds", category="Build", result="Succeeded")
    before = {result: runs("measured", result) for result in ("success", "failure", "cancellation")}
    await harness.create(SOURCE, BUILD, GATE, name="measured")
    token = await harness.open_approval(name="measured")
    await eventually(lambda: count("penstock_action_seconds", category="Build", result="Succeeded") == succeeded + 1)
    now = store.clock.now()
    assert list(await store.scan(active.read, now)) == [{("measured", "executing"): 1}]
    waiting, oldest = await store.scan(approvals.read, now + 60_000)
    assert (waiting, 60 <= oldest[()] < 240) == ({(): 1}, True)
    await harness(
        "PutApprovalResult",
        pipelineName="measured",
        stageName="Gate",
        actionName="ok",
        token=token,
        result={"status": "Approved", "summary": "fine"},
    )
    assert await harness.ended(await harness.first("measured"), "measured") == "Succeeded"
    await eventually(lambda: runs("measured", "success") == before["success"] + 1)
    assert list(await store.scan(active.read, now)) == [{}]
    assert list(await store.scan(approvals.read, now)) == [{(): 0}, {(): 0}]

    failed = errors("JobFailed")
    harness.scripted.answers["compile", "start"] = Failed(code="JobFailed", message="no")
    run = (await harness("StartPipelineExecution", name="measured"))["pipelineExecutionId"]
    assert await harness.ended(run, "measured") == "Failed"
    await eventually(lambda: runs("measured", "failure") == before["failure"] + 1)
    assert errors("JobFailed") == failed + 1
    measures.action_ended("measured", "Build", ActionStatus.FAILED, 1, error="of somebody's own")
    assert errors("_other") >= 1


def test_every_end_of_a_run_has_its_result():
    ends = {state for state in measures.EventState if measures.is_end(state)}
    assert ends == {"SUCCEEDED", "FAILED", "STOPPED", "CANCELED", "SUPERSEDED"}
