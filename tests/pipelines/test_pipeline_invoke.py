"""Pipelines that start other pipelines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from penstock_waiting import until

ACCOUNT = "111111111111"


def kind(category: str, provider: str) -> dict[str, str]:
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


@pytest.fixture(scope="module")
def role(live: Any) -> str:
    iam, s3 = live.client("iam"), live.client("s3")
    for bucket in ("watched", "artifacts"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="watched", Key="app.zip", Body=b"one")
    trust = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    made = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName="pipeline", PolicyName="all", PolicyDocument=json.dumps({"Statement": [may]}))
    return made["Role"]["Arn"]


SOURCE = {
    "name": "Fetch",
    "actionTypeId": kind("Source", "S3"),
    "configuration": {"S3Bucket": "watched", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
    "outputArtifacts": [{"name": "App"}],
    "namespace": "Src",
}


def approval(name: str = "Ask", **configuration: str) -> dict[str, Any]:
    return {"name": name, "actionTypeId": kind("Approval", "Manual"), "configuration": configuration}


def invoke(child: str, **configuration: str) -> dict[str, Any]:
    return {
        "name": "Go",
        "actionTypeId": kind("Invoke", "CodePipeline"),
        "configuration": {"PipelineName": child, **configuration},
        "namespace": "Child",
    }


def create(live: Any, role: str, name: str, *actions: dict[str, Any], variables: Any = ()) -> None:
    stages = [{"name": "Source", "actions": [SOURCE]}]
    stages += [{"name": f"Stage{number}", "actions": [action]} for number, action in enumerate(actions, start=1)]
    live.client("codepipeline").create_pipeline(
        pipeline={
            "name": name,
            "roleArn": role,
            "artifactStore": {"type": "S3", "location": "artifacts"},
            "pipelineType": "V2",
            "executionMode": "QUEUED",
            "stages": stages,
            "variables": list(variables),
        }
    )


def runs(live: Any, name: str) -> list[dict[str, Any]]:
    return live.client("codepipeline").list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]


def the_action(live: Any, name: str, action: str = "Go") -> dict[str, Any] | None:
    listed = live.client("codepipeline").list_action_executions(pipelineName=name)["actionExecutionDetails"]
    found = [one for one in listed if one["actionName"] == action]
    return found[0] if found and found[0]["status"] != "InProgress" else None


def test_a_run_starts_another_with_its_own_values(live: Any, role: str) -> None:
    declared = [{"name": "Quote", "defaultValue": "none"}]
    create(live, role, "child", approval(CustomData="#{variables.Quote}"), variables=declared)
    (first,) = runs(live, "child")
    values = json.dumps([{"name": "Quote", "value": '"#{Src.ETag}"'}])
    revisions = [{"actionName": "Fetch", "revisionType": "S3_OBJECT_VERSION_ID", "revisionValue": "#{Src.VersionId}"}]
    parts = {"Variables": values, "SourceRevisions": json.dumps(revisions)}
    create(live, role, "parent", invoke("child", **parts), approval(CustomData="#{Child.PipelineExecutionId}"))
    action = until(lambda: the_action(live, "parent"))
    assert action["status"] == "Succeeded"
    (second,) = [run for run in runs(live, "child") if run["pipelineExecutionId"] != first["pipelineExecutionId"]]
    result = action["output"]["executionResult"]
    assert result["externalExecutionId"] == second["pipelineExecutionId"]
    assert result["externalExecutionUrl"].endswith("/console/pipelines/child")
    assert action["output"]["outputVariables"] == {"PipelineExecutionId": second["pipelineExecutionId"]}
    assert second["trigger"] == {
        "triggerType": "StartPipelineExecution",
        "triggerDetail": f"arn:aws:sts::{ACCOUNT}:assumed-role/pipeline/{action['actionExecutionId']}",
    }
    codepipeline = live.client("codepipeline")
    got = codepipeline.get_pipeline_execution(pipelineName="child", pipelineExecutionId=second["pipelineExecutionId"])[
        "pipelineExecution"
    ]
    version = live.client("s3").head_object(Bucket="watched", Key="app.zip")
    assert got["variables"] == [{"name": "Quote", "resolvedValue": version["ETag"]}]
    assert [one["revisionId"] for one in until(lambda: got_revisions(live, second))] == [version["VersionId"]]


def got_revisions(live: Any, run: dict[str, Any]) -> list[dict[str, Any]]:
    got = live.client("codepipeline").get_pipeline_execution(
        pipelineName="child", pipelineExecutionId=run["pipelineExecutionId"]
    )
    return got["pipelineExecution"].get("artifactRevisions", [])


def test_a_run_waits_for_another(live: Any, role: str) -> None:
    codepipeline = live.client("codepipeline")
    create(live, role, "awaited", approval())
    (first,) = runs(live, "awaited")
    codepipeline.stop_pipeline_execution(
        pipelineName="awaited", pipelineExecutionId=first["pipelineExecutionId"], abandon=True
    )
    create(live, role, "awaits", invoke("awaited", WaitForCompletion="true"))

    def asked(known: int) -> tuple[str, str] | None:
        run = runs(live, "awaited")[0]
        state = codepipeline.get_pipeline_state(name="awaited")["stageStates"][1]
        token = state["actionStates"][0].get("latestExecution", {}).get("token")
        return (run["pipelineExecutionId"], token) if len(runs(live, "awaited")) > known and token else None

    def answer(token: str, status: str) -> None:
        codepipeline.put_approval_result(
            pipelineName="awaited", stageName="Stage1", actionName="Ask", token=token,
            result={"summary": "", "status": status},
        )  # fmt: skip

    child, token = until(lambda: asked(1))
    assert the_action(live, "awaits") is None
    answer(token, "Approved")
    action = until(lambda: the_action(live, "awaits"))
    assert (action["status"], action["output"]["outputVariables"]) == ("Succeeded", {"PipelineExecutionId": child})
    again = codepipeline.start_pipeline_execution(name="awaits")["pipelineExecutionId"]
    child, token = until(lambda: asked(2))
    answer(token, "Rejected")

    def failed() -> dict[str, Any] | None:
        found = the_action(live, "awaits")
        return found if found and found["pipelineExecutionId"] == again else None

    error = until(failed)["output"]["executionResult"]["errorDetails"]
    assert error == {"code": "JobFailed", "message": f"Execution {child} of pipeline awaited ended as Failed."}


@pytest.mark.parametrize(
    ("name", "configuration", "says"),
    [
        ("lost", {}, "Account '111111111111' does not have a pipeline with name 'nobody'"),
        ("unknown-variable", {"Variables": '[{"name": "Nope", "value": "1"}]'}, "Nope"),
        ("empty-variable", {"Variables": '[{"name": "Quote", "value": ""}]'}, "variables.1.member.value"),
        ("no-name", {"Variables": '[{"value": "1"}]'}, "variables.1.member.name"),
        (
            "wrong-revision",
            {"SourceRevisions": '[{"actionName": "Fetch", "revisionType": "COMMIT_ID", "revisionValue": "1"}]'},
            "COMMIT_ID cannot be used",
        ),
        ("broken", {"Variables": "[#{Src.ETag}]"}, "cannot be read: "),
    ],
)
def test_what_the_other_pipeline_refuses_fails_the_action(
    live: Any, role: str, name: str, configuration: dict[str, str], says: str
) -> None:
    if name != "lost":
        create(live, role, f"of-{name}", approval(), variables=[{"name": "Quote", "defaultValue": "none"}])
    create(live, role, name, invoke("nobody" if name == "lost" else f"of-{name}", **configuration))
    action = until(lambda: the_action(live, name))
    error = action["output"]["executionResult"]["errorDetails"]
    assert (action["status"], error["code"]) == ("Failed", "ConfigurationError")
    assert says in error["message"]
    if name != "lost":
        assert len(runs(live, f"of-{name}")) == 1


def test_pipelines_that_start_each_other_end(live: Any, role: str) -> None:
    create(live, role, "ping", invoke("pong"))
    until(lambda: the_action(live, "ping"))
    create(live, role, "pong", invoke("ping"))

    def refused() -> str | None:
        for name in ("ping", "pong"):
            listed = live.client("codepipeline").list_action_executions(pipelineName=name)["actionExecutionDetails"]
            for one in listed:
                message = one["output"].get("executionResult", {}).get("errorDetails", {}).get("message", "")
                if "start each other" in message:
                    return message
        return None

    assert "one of more than 10 that start each other" in until(refused)
    all_runs = [run for name in ("ping", "pong") for run in runs(live, name)]
    assert len(all_runs) == 1 + 10  # the first of ping, which found no pong; and that of pong with those that followed


def test_who_started_the_first_run_may_not_approve_the_other(live: Any, role: str) -> None:
    iam = live.client("iam")
    for name in ("ada", "bob"):
        iam.create_user(UserName=name)
        may = {"Effect": "Allow", "Action": "codepipeline:*", "Resource": "*"}
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps({"Statement": [may]}))
    clients = {}
    for name in ("ada", "bob"):
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        clients[name] = live.client("codepipeline", keys=keys)
    create(live, role, "released", approval(AllowSelfApproval="false"))
    create(live, role, "releases", approval("Wait"), invoke("released"))
    (stopped,) = runs(live, "releases")
    ada = clients["ada"]
    ada.stop_pipeline_execution(
        pipelineName="releases", pipelineExecutionId=stopped["pipelineExecutionId"], abandon=True
    )
    (first,) = runs(live, "released")
    ada.stop_pipeline_execution(pipelineName="released", pipelineExecutionId=first["pipelineExecutionId"], abandon=True)

    def token(pipeline: str, run: str) -> str | None:
        state = ada.get_pipeline_state(name=pipeline)["stageStates"][1]
        if state.get("latestExecution", {}).get("pipelineExecutionId") != run:
            return None
        return state["actionStates"][0].get("latestExecution", {}).get("token")

    started = ada.start_pipeline_execution(name="releases")["pipelineExecutionId"]
    answer = {"summary": "", "status": "Approved"}
    clients["bob"].put_approval_result(
        pipelineName="releases", stageName="Stage1", actionName="Wait", result=answer,
        token=until(lambda: token("releases", started)),
    )  # fmt: skip
    action = until(lambda: the_action(live, "releases"))
    child = action["output"]["executionResult"]["externalExecutionId"]
    asked = {"pipelineName": "released", "stageName": "Stage1", "actionName": "Ask", "result": answer}
    asked["token"] = until(lambda: token("released", child))
    with pytest.raises(ada.exceptions.ClientError, match="whoever started the run"):
        ada.put_approval_result(**asked)
    clients["bob"].put_approval_result(**asked)


def test_the_name_of_a_session_alone_is_nobodys_action(live: Any, role: str) -> None:
    """A target of a rule may have any name; only the role of the action that is at work stands for who started its run."""
    iam, sts, codepipeline = live.client("iam"), live.client("sts"), live.client("codepipeline")
    may = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam.create_user(UserName="eve")
    iam.put_user_policy(UserName="eve", PolicyName="all", PolicyDocument=json.dumps({"Statement": [may]}))
    key = iam.create_access_key(UserName="eve")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    eve = live.client("codepipeline", keys=keys)
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    other = iam.create_role(RoleName="other", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]
    iam.put_role_policy(RoleName="other", PolicyName="all", PolicyDocument=json.dumps({"Statement": [may]}))
    both = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.update_assume_role_policy(RoleName="pipeline", PolicyDocument=json.dumps({"Statement": [trust, both]}))
    create(live, role, "guarded", approval(AllowSelfApproval="false"))
    create(live, role, "held", approval("Wait"))
    (created,) = runs(live, "held")
    eve.stop_pipeline_execution(pipelineName="held", pipelineExecutionId=created["pipelineExecutionId"], abandon=True)
    run = eve.start_pipeline_execution(name="held")["pipelineExecutionId"]

    def waiting(pipeline: str, run: str) -> dict[str, Any] | None:
        stage = codepipeline.get_pipeline_state(name=pipeline)["stageStates"][1]
        if stage.get("latestExecution", {}).get("pipelineExecutionId") != run:
            return None
        found = stage["actionStates"][0].get("latestExecution", {})
        return found if found.get("token") else None

    action = until(lambda: waiting("held", run))["actionExecutionId"]

    def start(arn: str) -> str:
        credentials = sts.assume_role(RoleArn=arn, RoleSessionName=action)["Credentials"]

        async def in_process() -> dict[str, Any]:
            found = await live.app.identity.credential(credentials["AccessKeyId"], credentials["SessionToken"])
            asked = {"name": "guarded"}
            return await live.app.invoke(
                found.session, "codepipeline", "StartPipelineExecution", asked, region="us-east-1"
            )

        return live.run(in_process())["pipelineExecutionId"]

    for arn, refused in ((other["Arn"], False), (role, True)):
        for earlier in runs(live, "guarded"):
            if earlier["status"] == "InProgress":
                codepipeline.stop_pipeline_execution(
                    pipelineName="guarded", pipelineExecutionId=earlier["pipelineExecutionId"], abandon=True
                )
        child = start(arn)
        token = until(lambda child=child: waiting("guarded", child))["token"]
        asked = {"pipelineName": "guarded", "stageName": "Stage1", "actionName": "Ask", "token": token}
        asked["result"] = {"summary": "", "status": "Approved"}
        if refused:
            with pytest.raises(eve.exceptions.ClientError, match="whoever started the run"):
                eve.put_approval_result(**asked)
        else:
            eve.put_approval_result(**asked)
