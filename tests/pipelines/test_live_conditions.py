"""Conditions and rollbacks as their customers use them: boto3 against the complete application, with a real alarm and a real build."""

from __future__ import annotations

import json

import pytest
from penstock_console import allow, bucket, kind, role, source, zipped
from penstock_waiting import until

SPEC = "{version: 0.2, phases: {build: {commands: ['test -f index.html', 'test $WANTED = yes']}}}"


def rule(name, provider, **configuration):
    found = {"name": name, "ruleTypeId": kind("Rule", provider), "configuration": configuration}
    if provider == "CodeBuild":
        found["inputArtifacts"] = [{"name": "App"}]
    return found


def one(result, *rules):
    return {"conditions": [{"result": result, "rules": list(rules)}]}


@pytest.fixture(scope="module")
def world(live):
    """A pipeline whose stage Check is entered while an alarm is calm, and left when a build has succeeded; its client."""
    arn = role(live, "codepipeline")
    builder = role(live, "codebuild")
    iam = live.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    looks = iam.create_role(RoleName="looks", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    for name in ("releases", "artifacts"):
        bucket(live, name)
    live.client("s3").put_object(Bucket="releases", Key="app.zip", Body=zipped(index__html="one"))
    live.client("cloudwatch").put_metric_alarm(
        AlarmName="errors", Namespace="shop", MetricName="errors", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    live.client("codebuild").create_project(
        name="smoke", serviceRole=builder, source={"type": "NO_SOURCE", "buildspec": SPEC},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "local", "computeType": "BUILD_GENERAL1_SMALL"},
    )  # fmt: skip
    gate = {
        "name": "Check",
        "actions": [{"name": "Ask", "actionTypeId": kind("Approval", "Manual")}],
        "beforeEntry": one("FAIL", {**rule("calm", "CloudWatchAlarm", AlarmName="errors"), "roleArn": looks}),
        "onSuccess": one("ROLLBACK", rule("smoke", "CodeBuild", ProjectName="smoke", EnvironmentVariables='[{"name": "WANTED", "value": "#{variables.Wanted}"}]')),
    }  # fmt: skip
    pipelines = live.client("codepipeline")
    pipelines.create_pipeline(
        pipeline={
            "name": "gated",
            "roleArn": arn,
            "artifactStore": {"type": "S3", "location": "artifacts"},
            "pipelineType": "V2",
            "variables": [{"name": "Wanted", "defaultValue": "yes"}],
            "stages": [source("app.zip"), gate],
        }
    )
    return pipelines


def stage(pipelines):
    return pipelines.get_pipeline_state(name="gated")["stageStates"][1]


def runs(pipelines):
    return pipelines.list_pipeline_executions(pipelineName="gated")["pipelineExecutionSummaries"]


def ended(pipelines, execution):
    def now():
        got = pipelines.get_pipeline_execution(pipelineName="gated", pipelineExecutionId=execution)["pipelineExecution"]
        return got if got["status"] not in ("InProgress", "Stopping") else None

    return until(now, why=lambda: stage(pipelines))


def approve(pipelines):
    token = until(
        lambda: stage(pipelines)["actionStates"][0].get("latestExecution", {}).get("token"),
        why=lambda: stage(pipelines),
    )
    pipelines.put_approval_result(
        pipelineName="gated", stageName="Check", actionName="Ask", token=token,
        result={"status": "Approved", "summary": "fine"},
    )  # fmt: skip


def rule_state(pipelines, gate):
    return stage(pipelines)[gate]["conditionStates"][0]["ruleStates"][0]["latestExecution"]


def test_an_alarm_before_and_a_build_after_a_stage_decide_on_it(live, world):
    pipelines, alarms = world, live.client("cloudwatch")
    (first,) = (run["pipelineExecutionId"] for run in runs(pipelines))
    got = ended(pipelines, first)  # the rule's role may not look yet
    assert got["statusSummary"] == "The condition BEFORE_ENTRY of stage Check failed: calm."
    error = rule_state(pipelines, "beforeEntryConditionState")["errorDetails"]
    assert error["code"] == "PermissionError"
    assert "cloudwatch:DescribeAlarms" in error["message"]
    live.client("iam").put_role_policy(
        RoleName="looks", PolicyName="may", PolicyDocument=json.dumps(allow("cloudwatch:DescribeAlarms"))
    )
    alarms.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="a test")
    again = {"pipelineName": "gated", "stageName": "Check", "pipelineExecutionId": first}
    pipelines.retry_stage_execution(**again, retryMode="ALL_ACTIONS")
    assert ended(pipelines, first)["status"] == "Failed"
    assert rule_state(pipelines, "beforeEntryConditionState")["errorDetails"]["message"] == "The alarm errors is ALARM."
    pipelines.override_stage_condition(**again, conditionType="BEFORE_ENTRY")
    assert stage(pipelines)["beforeEntryConditionState"]["latestExecution"]["status"] == "Overridden"
    approve(pipelines)
    assert ended(pipelines, first)["status"] == "Succeeded"
    build = rule_state(pipelines, "onSuccessConditionState")
    assert (build["status"], build["externalExecutionId"].partition(":")[0]) == ("Succeeded", "smoke")

    alarms.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="a test")
    given = [{"name": "Wanted", "value": "no"}]
    bad = pipelines.start_pipeline_execution(name="gated", variables=given)["pipelineExecutionId"]
    approve(pipelines)
    got = ended(pipelines, bad)
    assert (got["status"], got["statusSummary"]) == ("Failed", "The condition ON_SUCCESS of stage Check failed: smoke.")
    approve(pipelines)  # the rollback's
    back = runs(pipelines)[0]
    assert (back["executionType"], back["rollbackMetadata"]) == (
        "ROLLBACK",
        {"rollbackTargetPipelineExecutionId": first},
    )
    assert back["trigger"] == {"triggerType": "AutomatedRollback", "triggerDetail": bad}
    assert ended(pipelines, back["pipelineExecutionId"])["status"] == "Succeeded"  # with the variable of its target
    listed = pipelines.get_paginator("list_action_executions").paginate(pipelineName="gated")
    assert {one["actionName"] for page in listed for one in page["actionExecutionDetails"]} == {"App", "Ask"}
    rules = pipelines.list_rule_executions(pipelineName="gated")["ruleExecutionDetails"]
    assert [(one["ruleName"], one["status"]) for one in rules[:4]] == [
        ("smoke", "Succeeded"),
        ("calm", "Succeeded"),
        ("smoke", "Failed"),
        ("calm", "Succeeded"),
    ]
