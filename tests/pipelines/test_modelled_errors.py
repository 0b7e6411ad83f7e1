"""Each error that the model declares of an operation of CodePipeline, as boto3 gets it.

A row below is a call that ends with the error. What has no row is in `EXPLAINED`, with the reason; an operation that is registered and has
an error in neither fails the last test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from penstock_live import Live
from penstock_waiting import until

from penstock.pipelines.operations import custom_action_types, webhooks

ACCOUNT = "111111111111"
ARN = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}"
NOBODY = "00000000-0000-4000-8000-000000000000"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
COUNTS = {"minimumCount": 0, "maximumCount": 1}
CUSTOM = {"category": "Build", "owner": "Custom", "provider": "make", "version": "1"}
THIRD = {"category": "Build", "owner": "ThirdParty", "provider": "made", "version": "1"}
THIRD_TYPE = {
    "id": THIRD,
    "executor": {
        "type": "JobWorker",
        "configuration": {"jobWorkerExecutorConfiguration": {"pollingAccounts": [ACCOUNT]}},
    },
    "inputArtifactDetails": COUNTS,
    "outputArtifactDetails": COUNTS,
    "permissions": {"allowedAccounts": [ACCOUNT]},
}
FAILURE = {"type": "JobFailed", "message": "no"}
FALSE = {
    "name": "never",
    "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1"},
    "configuration": {"Variable": "a", "Value": "b", "Operator": "EQ"},
}
UNKNOWN = {
    "actionName": "App",
    "actionRevision": {"revisionId": "1", "revisionChangeId": "1", "created": 1_700_000_000},
}


class World:
    """Pipelines in the states that the rows need, and the clients to call with."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.codepipeline = live.client("codepipeline")
        iam, s3 = live.client("iam"), live.client("s3")
        service = {
            "Effect": "Allow",
            "Principal": {"Service": "codepipeline.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        trust = json.dumps({"Version": "2012-10-17", "Statement": [service]})
        self.role = iam.create_role(RoleName="errors", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName="errors", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
        s3.create_bucket(Bucket="errors")
        s3.put_bucket_versioning(Bucket="errors", VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket="errors", Key="app.zip", Body=b"PK\5\6" + bytes(18))
        self.codepipeline.create_custom_action_type(
            category="Build", provider="make", version="1", inputArtifactDetails=COUNTS, outputArtifactDetails=COUNTS
        )
        penstock = live.client("penstock")
        penstock.register_action_type(actionType=THIRD_TYPE)
        self.client_token = penstock.create_action_type_client(**THIRD)["clientToken"]
        self.create("shop", self.gate())
        self.token = self.waits("shop")
        self.run = self.newest("shop")

    def declared(self, name: str, *stages: dict[str, Any], mode: str = "QUEUED") -> dict[str, Any]:
        source = {
            "name": "App",
            "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
            "configuration": {"S3Bucket": "errors", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
            "outputArtifacts": [{"name": "App"}],
        }
        return {
            "name": name,
            "roleArn": self.role,
            "artifactStore": {"type": "S3", "location": "errors"},
            "pipelineType": "V2",
            "executionMode": mode,
            "stages": [{"name": "Source", "actions": [source]}, *stages],
        }

    def gate(self, **more: Any) -> dict[str, Any]:
        kind = {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}
        return {"name": "Gate", "actions": [{"name": "Ok", "actionTypeId": kind}], **more}

    def create(self, name: str, *stages: dict[str, Any]) -> None:
        self.codepipeline.create_pipeline(pipeline=self.declared(name, *stages))

    def newest(self, name: str) -> str:
        listed = self.codepipeline.list_pipeline_executions(pipelineName=name, maxResults=1)
        return listed["pipelineExecutionSummaries"][0]["pipelineExecutionId"]

    def status(self, name: str, run: str) -> str:
        answer = self.codepipeline.get_pipeline_execution(pipelineName=name, pipelineExecutionId=run)
        return answer["pipelineExecution"]["status"]

    def waits(self, name: str, *, but: str = "") -> str:
        """The token of the gate, once it is open and another one than `but`."""

        def token() -> str:
            stage = self.codepipeline.get_pipeline_state(name=name)["stageStates"][1]
            found = stage["actionStates"][0].get("latestExecution", {}).get("token", "")
            return "" if found == but else found

        return until(token)

    def answer(self, name: str, token: str, status: str) -> str:
        """Answer the gate; the run that was in it, when it has ended."""
        run = self.newest(name)
        result = {"status": status, "summary": ""}
        self.codepipeline.put_approval_result(
            pipelineName=name, stageName="Gate", actionName="Ok", token=token, result=result
        )
        until(lambda: self.status(name, run) != "InProgress")
        return run

    def full(self, name: str, **more: Any) -> dict[str, str]:
        """A pipeline with a failed run in its gate, and fifty that wait before it."""
        self.create(name, self.gate(**more))
        failed = self.answer(name, self.waits(name), "Approved" if more else "Rejected")
        gate: dict[str, Any] = {"pipelineName": name, "stageName": "Gate"}
        self.codepipeline.disable_stage_transition(**gate, transitionType="Inbound", reason="full")
        for _ in range(50):
            self.codepipeline.start_pipeline_execution(name=name)
        return {**gate, "pipelineExecutionId": failed}

    def overtaken(self, name: str, **more: Any) -> dict[str, Any]:
        """A failed run, after which another one has entered the stage."""
        self.create(name, self.gate(**more))
        token = self.waits(name)
        failed = self.answer(name, token, "Approved" if more else "Rejected")
        self.codepipeline.start_pipeline_execution(name=name)
        self.waits(name, but=token)
        return {"pipelineName": name, "stageName": "Gate", "pipelineExecutionId": failed}

    def job(self, name: str) -> dict[str, str]:
        """A job of the custom type that nobody has acknowledged."""
        made = {"name": "Make", "actionTypeId": CUSTOM, "inputArtifacts": [{"name": "App"}]}
        self.create(name, {"name": "Make", "actions": [made]})
        (job,) = until(lambda: self.codepipeline.poll_for_jobs(actionTypeId=CUSTOM)["jobs"])
        return job

    def third_job(self, name: str) -> dict[str, str]:
        """A job of the third party's type, as its worker names it."""
        made = {"name": "Make", "actionTypeId": THIRD, "inputArtifacts": [{"name": "App"}]}
        self.create(name, {"name": "Make", "actions": [made]})
        (job,) = until(lambda: self.codepipeline.poll_for_third_party_jobs(actionTypeId=THIRD)["jobs"])
        return {"jobId": job["jobId"], "clientToken": self.client_token}


@pytest.fixture(scope="module")
def world(live):
    return World(live)


Row = Callable[[World], object]
ROWS: dict[tuple[str, str], Row] = {}


def row(operation: str, error: str) -> Callable[[Row], Row]:
    def add(call: Row) -> Row:
        ROWS[operation, error] = call
        return call

    return add


def _operation(client: Any, name: str) -> Callable[..., Any]:
    return getattr(
        client, next(method for method, operation in client.meta.method_to_api_mapping.items() if operation == name)
    )


# What names a pipeline that there is not, or one of its parts.

GATE = {"pipelineName": "shop", "stageName": "Gate"}
OF_PIPELINE: dict[str, dict[str, Any]] = {
    "DisableStageTransition": {**GATE, "transitionType": "Inbound", "reason": "because"},
    "EnableStageTransition": {**GATE, "transitionType": "Inbound"},
    "GetPipeline": {"name": "shop"},
    "GetPipelineExecution": {"pipelineName": "shop", "pipelineExecutionId": NOBODY},
    "GetPipelineState": {"name": "shop"},
    "ListActionExecutions": {"pipelineName": "shop"},
    "ListPipelineExecutions": {"pipelineName": "shop"},
    "ListRuleExecutions": {"pipelineName": "shop"},
    "OverrideStageCondition": {**GATE, "pipelineExecutionId": NOBODY, "conditionType": "ON_SUCCESS"},
    "PutActionRevision": {"pipelineName": "shop", "stageName": "Source", **UNKNOWN},
    "PutApprovalResult": {**GATE, "actionName": "Ok", "token": NOBODY, "result": {"status": "Approved", "summary": ""}},
    "RetryStageExecution": {**GATE, "pipelineExecutionId": NOBODY, "retryMode": "FAILED_ACTIONS"},
    "RollbackStage": {**GATE, "targetPipelineExecutionId": NOBODY},
    "StartPipelineExecution": {"name": "shop"},
    "StopPipelineExecution": {"pipelineName": "shop", "pipelineExecutionId": NOBODY},
}  # fmt: skip


def _asked(operation: str, **other: Any) -> Row:
    return lambda world: _operation(world.codepipeline, operation)(**{**OF_PIPELINE[operation], **other})


for _name, _input in OF_PIPELINE.items():
    ROWS[_name, "PipelineNotFoundException"] = _asked(_name, **{next(iter(_input)): "none"})
    if "stageName" in _input:
        ROWS[_name, "StageNotFoundException"] = _asked(_name, stageName="None")
for _name in ("PutActionRevision", "PutApprovalResult"):
    ROWS[_name, "ActionNotFoundException"] = _asked(_name, actionName="none")
for _name in ("GetPipelineExecution", "RollbackStage"):
    ROWS[_name, "PipelineExecutionNotFoundException"] = _asked(_name)
for _name in ("ListActionExecutions", "ListRuleExecutions"):
    ROWS[_name, "PipelineExecutionNotFoundException"] = _asked(_name, filter={"pipelineExecutionId": NOBODY})
    ROWS[_name, "InvalidNextTokenException"] = _asked(_name, nextToken="x")
ROWS["ListPipelineExecutions", "InvalidNextTokenException"] = _asked("ListPipelineExecutions", nextToken="x")
ROWS["GetPipeline", "PipelineVersionNotFoundException"] = _asked("GetPipeline", version=9)

_TARGETS = {"pipelineName": "shop", "actionExecutionId": NOBODY}
for _error, _more in (
    ("ActionExecutionNotFoundException", {}),
    ("PipelineNotFoundException", {"pipelineName": "none"}),
):
    ROWS["ListDeployActionExecutionTargets", _error] = lambda world, more=_more: (
        world.codepipeline.list_deploy_action_execution_targets(**{**_TARGETS, **more})
    )


@row("ListDeployActionExecutionTargets", "InvalidNextTokenException")
def _foreign_token(world: World) -> None:
    (action, *_) = world.codepipeline.list_action_executions(pipelineName="shop")["actionExecutionDetails"]
    world.codepipeline.list_deploy_action_execution_targets(
        actionExecutionId=action["actionExecutionId"], nextToken="x"
    )


row("ListPipelines", "InvalidNextTokenException")(lambda world: world.codepipeline.list_pipelines(nextToken="x"))
row("ListActionTypes", "InvalidNextTokenException")(lambda world: world.codepipeline.list_action_types(nextToken="x"))
row("ListWebhooks", "InvalidNextTokenException")(lambda world: world.codepipeline.list_webhooks(NextToken="x"))


# Declarations.


def _declare(operation: str, error: str, change: Callable[[dict[str, Any]], object]) -> None:
    def call(world: World) -> None:
        declaration = world.declared("shop" if operation == "UpdatePipeline" else "new", world.gate())
        change(declaration)
        _operation(world.codepipeline, operation)(pipeline=declaration)

    ROWS[operation, error] = call


for _name in ("CreatePipeline", "UpdatePipeline"):
    _declare(_name, "InvalidStructureException", lambda one: one["stages"].pop())
    _declare(_name, "InvalidStageDeclarationException", lambda one: one["stages"][1].update(name="Source"))
    _declare(
        _name,
        "InvalidActionDeclarationException",
        lambda one: one["stages"][0]["actions"][0]["configuration"].pop("S3Bucket"),
    )
    _declare(
        _name,
        "InvalidBlockerDeclarationException",
        lambda one: one["stages"][1].update(blockers=[{"name": "b", "type": "Schedule"}]),
    )
row("CreatePipeline", "PipelineNameInUseException")(lambda world: world.create("shop", world.gate()))


# Tags.

RESERVED = [{"key": "aws:x", "value": "1"}]
MANY = [{"key": f"k{number}", "value": "1"} for number in range(51)]
HOOK = {
    "name": "hook", "targetPipeline": "shop", "targetAction": "App", "filters": [{"jsonPath": "$.ref"}],
    "authentication": "UNAUTHENTICATED", "authenticationConfiguration": {},
}  # fmt: skip


def _new_type(world: World, **more: Any) -> None:
    world.codepipeline.create_custom_action_type(
        category="Test", provider="t", version="1", inputArtifactDetails=COUNTS, outputArtifactDetails=COUNTS, **more
    )


for _error, _tags in (("InvalidTagsException", RESERVED), ("TooManyTagsException", MANY)):
    ROWS["TagResource", _error] = lambda world, tags=_tags: world.codepipeline.tag_resource(
        resourceArn=f"{ARN}:shop", tags=tags
    )
    ROWS["CreatePipeline", _error] = lambda world, tags=_tags: world.codepipeline.create_pipeline(
        pipeline=world.declared("new", world.gate()), tags=tags
    )
    ROWS["CreateCustomActionType", _error] = lambda world, tags=_tags: _new_type(world, tags=tags)
    ROWS["PutWebhook", _error] = lambda world, tags=_tags: world.codepipeline.put_webhook(webhook=HOOK, tags=tags)
row("UntagResource", "InvalidTagsException")(
    lambda world: world.codepipeline.untag_resource(resourceArn=f"{ARN}:shop", tagKeys=["aws:x"])
)
for _name, _more in (
    ("ListTagsForResource", {}),
    ("TagResource", {"tags": MANY[:1]}),
    ("UntagResource", {"tagKeys": ["a"]}),
):
    for _error, _arn in (("ResourceNotFoundException", f"{ARN}:none"), ("InvalidArnException", f"{ARN}:no pipeline")):
        ROWS[_name, _error] = lambda world, name=_name, arn=_arn, more=_more: _operation(world.codepipeline, name)(
            resourceArn=arn, **more
        )


# Webhooks and action types.

row("PutWebhook", "PipelineNotFoundException")(
    lambda world: world.codepipeline.put_webhook(webhook={**HOOK, "targetPipeline": "none"})
)
row("PutWebhook", "InvalidWebhookFilterPatternException")(
    lambda world: world.codepipeline.put_webhook(webhook={**HOOK, "filters": [{"jsonPath": "$["}]})
)
row("PutWebhook", "InvalidWebhookAuthenticationParametersException")(
    lambda world: world.codepipeline.put_webhook(webhook={**HOOK, "authentication": "GITHUB_HMAC"})
)


@row("PutWebhook", "LimitExceededException")
def _too_many_webhooks(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhooks, "MAX_WEBHOOKS", 0)
        world.codepipeline.put_webhook(webhook=HOOK)


@row("CreateCustomActionType", "LimitExceededException")
def _too_many_types(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(custom_action_types, "MOST", 1)
        _new_type(world)


row("GetActionType", "ActionTypeNotFoundException")(
    lambda world: world.codepipeline.get_action_type(**{**THIRD, "version": "9"})
)
row("UpdateActionType", "ActionTypeNotFoundException")(
    lambda world: world.codepipeline.update_action_type(actionType={**THIRD_TYPE, "id": {**THIRD, "version": "9"}})
)
row("UpdateActionType", "RequestFailedException")(
    lambda world: world.codepipeline.update_action_type(
        actionType={**THIRD_TYPE, "executor": {**THIRD_TYPE["executor"], "type": "Lambda"}}
    )
)
row("PollForJobs", "ActionTypeNotFoundException")(
    lambda world: world.codepipeline.poll_for_jobs(actionTypeId={**CUSTOM, "version": "9"})
)
row("PollForThirdPartyJobs", "ActionTypeNotFoundException")(
    lambda world: world.codepipeline.poll_for_third_party_jobs(actionTypeId={**THIRD, "version": "9"})
)


# Runs.


@row("StartPipelineExecution", "ConcurrentPipelineExecutionsLimitExceededException")
def _one_too_many(world: World) -> None:
    world.codepipeline.start_pipeline_execution(name=world.full("full-1")["pipelineName"])


@row("PutActionRevision", "ConcurrentPipelineExecutionsLimitExceededException")
def _a_revision_too_many(world: World) -> None:
    world.codepipeline.put_action_revision(
        pipelineName=world.full("full-2")["pipelineName"], stageName="Source", **UNKNOWN
    )


@row("RetryStageExecution", "ConcurrentPipelineExecutionsLimitExceededException")
def _a_retry_too_many(world: World) -> None:
    world.codepipeline.retry_stage_execution(**world.full("full-3"), retryMode="FAILED_ACTIONS")


ON_SUCCESS = {"onSuccess": {"conditions": [{"result": "FAIL", "rules": [FALSE]}]}}


@row("OverrideStageCondition", "ConcurrentPipelineExecutionsLimitExceededException")
def _an_override_too_many(world: World) -> None:
    world.codepipeline.override_stage_condition(**world.full("full-4", **ON_SUCCESS), conditionType="ON_SUCCESS")


@row("RetryStageExecution", "NotLatestPipelineExecutionException")
def _overtaken(world: World) -> None:
    world.codepipeline.retry_stage_execution(**world.overtaken("overtaken-1"), retryMode="FAILED_ACTIONS")


@row("OverrideStageCondition", "NotLatestPipelineExecutionException")
def _overtaken_with_a_condition(world: World) -> None:
    world.codepipeline.override_stage_condition(
        **world.overtaken("overtaken-2", **ON_SUCCESS), conditionType="ON_SUCCESS"
    )


@row("OverrideStageCondition", "ConditionNotOverridableException")
def _no_condition(world: World) -> None:
    world.codepipeline.override_stage_condition(**GATE, pipelineExecutionId=world.run, conditionType="ON_SUCCESS")


@row("RetryStageExecution", "StageNotRetryableException")
def _not_failed(world: World) -> None:
    world.codepipeline.retry_stage_execution(**GATE, pipelineExecutionId=world.run, retryMode="FAILED_ACTIONS")


@row("RollbackStage", "UnableToRollbackStageException")
def _never_succeeded(world: World) -> None:
    world.codepipeline.rollback_stage(**GATE, targetPipelineExecutionId=world.run)


@row("RollbackStage", "PipelineExecutionOutdatedException")
def _of_an_older_version(world: World) -> None:
    world.create("older", world.gate())
    run = world.answer("older", world.waits("older"), "Approved")
    world.codepipeline.update_pipeline(pipeline=world.declared("older", world.gate()))
    world.codepipeline.rollback_stage(pipelineName="older", stageName="Gate", targetPipelineExecutionId=run)


@row("StopPipelineExecution", "PipelineExecutionNotStoppableException")
def _ended(world: World) -> None:
    world.create("ended", world.gate())
    run = world.answer("ended", world.waits("ended"), "Rejected")
    world.codepipeline.stop_pipeline_execution(pipelineName="ended", pipelineExecutionId=run)


@row("StopPipelineExecution", "DuplicatedStopRequestException")
def _stopped_twice(world: World) -> None:
    world.create("stopping", world.gate())
    world.waits("stopping")
    for _ in range(2):
        world.codepipeline.stop_pipeline_execution(
            pipelineName="stopping", pipelineExecutionId=world.newest("stopping")
        )


row("PutApprovalResult", "InvalidApprovalTokenException")(_asked("PutApprovalResult"))


@row("PutApprovalResult", "ApprovalAlreadyCompletedException")
def _answered_twice(world: World) -> None:
    world.create("answered", world.gate())
    token = world.waits("answered")
    for _ in range(2):
        world.answer("answered", token, "Rejected")


# Jobs.

OF_JOB: dict[str, dict[str, Any]] = {
    "AcknowledgeJob": {"nonce": "1"},
    "GetJobDetails": {},
    "PutJobFailureResult": {"failureDetails": FAILURE},
    "PutJobSuccessResult": {},
    "AcknowledgeThirdPartyJob": {"nonce": "1", "clientToken": "x"},
    "GetThirdPartyJobDetails": {"clientToken": "x"},
    "PutThirdPartyJobFailureResult": {"failureDetails": FAILURE, "clientToken": "x"},
    "PutThirdPartyJobSuccessResult": {"clientToken": "x"},
}
for _name, _input in OF_JOB.items():
    ROWS[_name, "JobNotFoundException"] = lambda world, name=_name, input=_input: _operation(world.codepipeline, name)(
        jobId=NOBODY, **input
    )
    if "clientToken" in _input:
        ROWS[_name, "InvalidClientTokenException"] = lambda world, name=_name, input=_input: _operation(
            world.codepipeline, name
        )(**{**world.third_job(f"of-{name}"), **input})


@row("AcknowledgeJob", "InvalidNonceException")
def _stale_nonce(world: World) -> None:
    world.codepipeline.acknowledge_job(jobId=world.job("stale")["id"], nonce="stale")


@row("AcknowledgeThirdPartyJob", "InvalidNonceException")
def _stale_nonce_of_a_third_party(world: World) -> None:
    world.codepipeline.acknowledge_third_party_job(**world.third_job("stale-3"), nonce="stale")


@row("PutJobSuccessResult", "InvalidJobStateException")
def _done_unacknowledged(world: World) -> None:
    world.codepipeline.put_job_success_result(jobId=world.job("early-1")["id"])


@row("PutJobFailureResult", "InvalidJobStateException")
def _failed_unacknowledged(world: World) -> None:
    world.codepipeline.put_job_failure_result(jobId=world.job("early-2")["id"], failureDetails=FAILURE)


@row("PutThirdPartyJobSuccessResult", "InvalidJobStateException")
def _done_unacknowledged_by_a_third_party(world: World) -> None:
    world.codepipeline.put_third_party_job_success_result(**world.third_job("early-3"))


@row("PutThirdPartyJobFailureResult", "InvalidJobStateException")
def _failed_unacknowledged_by_a_third_party(world: World) -> None:
    world.codepipeline.put_third_party_job_failure_result(**world.third_job("early-4"), failureDetails=FAILURE)


@row("GetThirdPartyJobDetails", "InvalidJobException")
def _details_of_what_is_over(world: World) -> None:
    job = world.third_job("over")
    nonce = world.codepipeline.get_third_party_job_details(**job)["jobDetails"]["nonce"]
    world.codepipeline.acknowledge_third_party_job(**job, nonce=nonce)
    world.codepipeline.put_third_party_job_success_result(**job)
    world.codepipeline.get_third_party_job_details(**job)


@row("PutJobSuccessResult", "OutputVariablesSizeExceededException")
def _large_variables(world: World) -> None:
    job = world.job("large")
    world.codepipeline.acknowledge_job(jobId=job["id"], nonce=job["nonce"])
    world.codepipeline.put_job_success_result(jobId=job["id"], outputVariables={"A": "x" * 122_881})


SERIAL = "Whatever changes one resource waits for its turn, so nobody is told to come again."
UNLIMITED = "Penstock limits neither the pipelines of an account nor the actions of a pipeline."
EXPLAINED = {
    **dict.fromkeys(
        (
            *((name, "ConcurrentModificationException") for name in (
                "CreateCustomActionType", "CreatePipeline", "DeleteCustomActionType", "DeletePipeline", "DeleteWebhook",
                "PutWebhook", "TagResource", "UntagResource",
            )),
            *((name, "ConflictException") for name in (
                "OverrideStageCondition", "RetryStageExecution", "RollbackStage", "StartPipelineExecution",
                "StopPipelineExecution",
            )),
        ),
        SERIAL,
    ),
    ("CreatePipeline", "LimitExceededException"): UNLIMITED,
    ("UpdatePipeline", "LimitExceededException"): UNLIMITED,
    ("ListRuleTypes", "InvalidNextTokenException"): "The operation takes no token.",
    ("ListTagsForResource", "InvalidNextTokenException"): "All tags are on one page, so there is no token to compare with.",
}  # fmt: skip


@pytest.mark.parametrize(("operation", "error"), ROWS)
def test_an_operation_ends_with_an_error_that_its_model_declares(world, operation, error):
    shape = next(
        one
        for one in world.codepipeline.meta.service_model.operation_model(operation).error_shapes
        if one.name == error
    )
    with pytest.raises(ClientError) as refused:
        ROWS[operation, error](world)
    assert refused.value.operation_name == operation
    assert refused.value.response["Error"]["Code"] == error
    assert refused.value.response["Error"]["Message"]
    status = shape.metadata.get("error", {}).get("httpStatusCode", 400)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_each_error_of_the_model_is_tried_or_explained(world):
    model = world.codepipeline.meta.service_model
    registered = {one.name for one in world.live.app.registry if one.service == "codepipeline"}
    declared = {
        (name, error.name)
        for name in registered
        for error in model.operation_model(name).error_shapes
        if error.name != "ValidationException"  # of each operation: tests/clients/test_every_operation.py
    }
    assert declared - ROWS.keys() - EXPLAINED.keys() == set()
    assert ROWS.keys() & EXPLAINED.keys() == set()
