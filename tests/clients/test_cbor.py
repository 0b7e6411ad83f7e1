"""Every operation of the services that speak Smithy RPC v2 CBOR answers over it as over JSON, errors included.

Two accounts see the same calls in the same order, one over each protocol; botocore speaks both. What differs by nature (ids,
account, time) is normalised. No job runs meanwhile, so that nothing changes between two calls.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from penstock_live import Live, live_server
from penstock_protocols import client_speaking

from penstock.app import compose
from penstock.application import Settings
from penstock.wire.cbor import read_cbor, write_cbor
from penstock.wire.shapes import Shape

CBOR, JSON = "smithy-rpc-v2-cbor", "json"
ACCOUNTS = {JSON: "222222222222", CBOR: "333333333333"}
SERVICES = ("codepipeline", "codedeploy", "codebuild", "cloudwatch")
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": [f"{name}.amazonaws.com" for name in SERVICES]},
            "Action": "sts:AssumeRole",
        }
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("cbor")
    place = {"data_dir": folder / "data", "master_key_file": folder / "data-master.key"}

    async def prepare() -> None:
        async with compose(Settings(**place)):
            pass

    asyncio.run(prepare())
    with live_server(folder / "data", works=False) as running:
        yield running


class Side:
    """One protocol, in an account of its own."""

    def __init__(self, server: Live, protocol: str) -> None:
        self.protocol = protocol
        self.account = ACCOUNTS[protocol]
        made = server.client("penstock").create_account(accountId=self.account)
        self.keys = {"aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"]}
        self.clients = {name: client_speaking(server, protocol, name, self.keys) for name in SERVICES}
        iam = server.client("iam", keys=self.keys)
        iam.create_role(RoleName="all", AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.attach_role_policy(RoleName="all", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        iam.create_user(UserName="nobody")
        key = iam.create_access_key(UserName="nobody")["AccessKey"]
        nobody = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        self.nobody = {name: client_speaking(server, protocol, name, nobody) for name in SERVICES}
        s3 = server.client("s3", keys=self.keys)
        s3.create_bucket(Bucket=f"artifacts-{self.account}")
        counts = {"minimumCount": 0, "maximumCount": 10}
        self.partner = {
            "id": {"category": "Test", "owner": "ThirdParty", "provider": f"p{self.account}", "version": "1"},
            "executor": {"type": "JobWorker", "configuration": {"jobWorkerExecutorConfiguration": {}}, "jobTimeout": 60},
            "inputArtifactDetails": counts, "outputArtifactDetails": counts,
        }  # fmt: skip
        server.client("penstock", keys=self.keys).register_action_type(actionType=self.partner)
        self.called: Counter[tuple[str, str]] = Counter()  # and answered with a success

    def call(self, service: str, operation: str, *, clients: Any = None, **given: Any) -> dict[str, Any]:
        """The answer, or the error with its status."""
        try:
            answer = (clients or self.clients)[service]._make_api_call(operation, given)
        except botocore.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return {"status": status, **{k: v for k, v in error.response.items() if k != "ResponseMetadata"}}
        status = answer.pop("ResponseMetadata")["HTTPStatusCode"]
        self.called[service, operation] += 1
        return {"status": status, **answer}


@pytest.fixture(scope="module")
def sides(server: Live) -> dict[str, Side]:
    return {protocol: Side(server, protocol) for protocol in (JSON, CBOR)}


_IDS = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|d-[A-Z0-9]{9}|(?<=/i_)[A-Za-z0-9]{10}|(?<=/)[0-9a-f]{48}"
)


class Normal:
    """Replaces ids by their number of order, accounts and times by names."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items() if key != "resourceIdParts"}
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, datetime):
            assert value.year >= 2026
            return "a time"
        if isinstance(value, str):
            for account in ACCOUNTS.values():
                value = value.replace(account, "the account")
            return _IDS.sub(lambda found: self._seen.setdefault(found[0], f"id {len(self._seen)}"), value)
        return value


def pipeline(account: str) -> dict[str, Any]:
    kind = {"owner": "AWS", "version": "1"}
    return {
        "name": "p",
        "roleArn": f"arn:aws:iam::{account}:role/all",
        "artifactStore": {"type": "S3", "location": f"artifacts-{account}"},
        "stages": [
            {
                "name": "Source",
                "actions": [
                    {
                        "name": "S",
                        "actionTypeId": kind | {"category": "Source", "provider": "S3"},
                        "configuration": {"S3Bucket": f"artifacts-{account}", "S3ObjectKey": "é.zip"},
                        "outputArtifacts": [{"name": "o"}],
                    }
                ],
            },
            {
                "name": "Ask",
                "actions": [
                    {"name": "A", "actionTypeId": kind | {"category": "Approval", "provider": "Manual"}, "runOrder": 2}
                ],
            },
        ],
    }


def story(side: Side) -> Iterator[dict[str, Any]]:
    """Calls that succeed, as far as that goes without a worker: what is made, shown, changed and removed."""
    account, call = side.account, side.call
    role = f"arn:aws:iam::{account}:role/all"
    tags = [{"key": "k", "value": "v"}]
    yield call("codepipeline", "CreatePipeline", pipeline=pipeline(account), tags=tags)
    yield call("codepipeline", "CreatePipeline", pipeline=pipeline(account))  # a modelled error
    yield call("codepipeline", "UpdatePipeline", pipeline=pipeline(account))
    started = call("codepipeline", "StartPipelineExecution", name="p", clientRequestToken="0" * 16)
    yield started
    run = started.get("pipelineExecutionId", "none")
    stage = {"pipelineName": "p", "stageName": "Ask"}
    transition = stage | {"transitionType": "Inbound"}
    yield call("codepipeline", "DisableStageTransition", **transition, reason="why not")
    for name, given in {
        "GetPipeline": {"name": "p", "version": 1},
        "GetPipelineState": {"name": "p"},
        "GetPipelineExecution": {"pipelineName": "p", "pipelineExecutionId": run},
        "ListPipelines": {"maxResults": 1},
        "ListPipelineExecutions": {"pipelineName": "p"},
        "ListActionExecutions": {"pipelineName": "p"},
        "ListActionTypes": {},
        "ListRuleExecutions": {"pipelineName": "p"},
        "ListRuleTypes": {},
        "ListTagsForResource": {"resourceArn": f"arn:aws:codepipeline:us-east-1:{account}:p"},
        "TagResource": {"resourceArn": f"arn:aws:codepipeline:us-east-1:{account}:p", "tags": tags},
        "UntagResource": {"resourceArn": f"arn:aws:codepipeline:us-east-1:{account}:p", "tagKeys": ["k"]},
    }.items():
        yield call("codepipeline", name, **given)
    yield call("codepipeline", "EnableStageTransition", **transition)
    yield call("codepipeline", "StopPipelineExecution", pipelineName="p", pipelineExecutionId=run, abandon=True)
    webhook = {
        "name": "hook", "targetPipeline": "p", "targetAction": "S", "filters": [{"jsonPath": "$.é"}],
        "authentication": "IP", "authenticationConfiguration": {"AllowedIPRange": "10.0.0.0/8"},
    }  # fmt: skip
    yield call("codepipeline", "PutWebhook", webhook=webhook, tags=[{"key": "k", "value": "é"}])
    yield call("codepipeline", "ListWebhooks", MaxResults=1)
    yield call("codepipeline", "DeleteWebhook", name="hook")
    revision = {"revisionId": "r", "revisionChangeId": "c", "created": 1_700_000_000.5}
    yield call(
        "codepipeline",
        "PutActionRevision",
        pipelineName="p",
        stageName="Source",
        actionName="S",
        actionRevision=revision,
    )
    yield call("codepipeline", "DeletePipeline", name="p")
    made, counts = {"category": "Test", "provider": "é", "version": "1"}, {"minimumCount": 0, "maximumCount": 5}
    yield call("codepipeline", "CreateCustomActionType", **made)  # a modelled error
    made["provider"] = "e"
    details = {"inputArtifactDetails": counts, "outputArtifactDetails": counts}
    yield call("codepipeline", "CreateCustomActionType", **made, **details, tags=tags)
    yield call("codepipeline", "PollForJobs", actionTypeId={**made, "owner": "Custom"})
    yield call("codepipeline", "DeleteCustomActionType", **made)
    partner = side.partner
    yield call("codepipeline", "GetActionType", **partner["id"])
    yield call("codepipeline", "UpdateActionType", actionType=partner | {"description": "é"})
    yield call("codepipeline", "PollForThirdPartyJobs", actionTypeId=partner["id"], maxBatchSize=2)

    project = {
        "name": "bb",
        "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases: {build: {commands: [true]}}"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        "serviceRole": role,
    }
    yield call("codebuild", "CreateProject", **project)
    yield call("codebuild", "CreateProject", **project)
    yield call("codebuild", "UpdateProject", name="bb", timeoutInMinutes=7, description="déjà vu")
    build = call(
        "codebuild", "StartBuild", projectName="bb", environmentVariablesOverride=[{"name": "A", "value": "1"}]
    )
    yield build
    id = build.get("build", {}).get("id", "none")
    yield call("codebuild", "StopBuild", id=id)
    for name, given in {
        "BatchGetProjects": {"names": ["bb", "none"]},
        "BatchGetBuilds": {"ids": [id, "bb:none"]},
        "ListProjects": {},
        "ListBuilds": {},
        "ListBuildsForProject": {"projectName": "bb"},
        "RetryBuild": {"id": id},
        "BatchDeleteBuilds": {"ids": [id]},
        "DeleteProject": {"name": "bb"},
    }.items():
        yield call("codebuild", name, **given)

    application = {"applicationName": "a"}
    group = application | {"deploymentGroupName": "g"}
    revision = {
        "revisionType": "S3",
        "s3Location": {"bucket": f"artifacts-{account}", "key": "r.zip", "bundleType": "zip"},
    }
    capitals = [{"Key": "k", "Value": "v"}]
    arn = f"arn:aws:codedeploy:us-east-1:{account}:application:a"
    yield call("codedeploy", "CreateApplication", **application, tags=capitals)
    yield call("codedeploy", "CreateApplication", **application)
    config = {"deploymentConfigName": "c", "minimumHealthyHosts": {"type": "HOST_COUNT", "value": 1}}
    yield call("codedeploy", "CreateDeploymentConfig", **config)
    instance = {"instanceName": "i"}
    yield call("codedeploy", "RegisterOnPremisesInstance", **instance, iamUserArn=f"arn:aws:iam::{account}:user/nobody")
    yield call("codedeploy", "AddTagsToOnPremisesInstances", instanceNames=["i"], tags=capitals)
    where = [{"Key": "k", "Value": "v", "Type": "KEY_AND_VALUE"}]
    yield call("codedeploy", "CreateDeploymentGroup", **group, serviceRoleArn=role, onPremisesInstanceTagFilters=where)
    yield call(
        "codedeploy", "UpdateDeploymentGroup", **application, currentDeploymentGroupName="g", deploymentConfigName="c"
    )
    yield call("codedeploy", "RegisterApplicationRevision", **application, revision=revision, description="é")
    deployment = call("codedeploy", "CreateDeployment", **group, revision=revision)
    yield deployment
    id = deployment.get("deploymentId", "none")
    for name, given in {
        "GetApplication": application,
        "GetApplicationRevision": application | {"revision": revision},
        "GetDeployment": {"deploymentId": id},
        "GetDeploymentConfig": {"deploymentConfigName": "c"},
        "GetDeploymentGroup": group,
        "GetDeploymentInstance": {"deploymentId": id, "instanceId": "i"},
        "GetDeploymentTarget": {"deploymentId": id, "targetId": "i"},
        "GetOnPremisesInstance": instance,
        "ListApplicationRevisions": application,
        "ListApplications": {},
        "ListDeploymentConfigs": {},
        "ListDeploymentGroups": application,
        "ListDeploymentInstances": {"deploymentId": id},
        "ListDeploymentTargets": {"deploymentId": id},
        "ListDeployments": {"createTimeRange": {"start": 1_000_000_000.5, "end": 3_000_000_000}},
        "ListOnPremisesInstances": {},
        "ListTagsForResource": {"ResourceArn": arn},
        "TagResource": {"ResourceArn": arn, "Tags": capitals},
        "UntagResource": {"ResourceArn": arn, "TagKeys": ["k"]},
        "BatchGetApplicationRevisions": application | {"revisions": [revision]},
        "BatchGetApplications": {"applicationNames": ["a"]},
        "BatchGetDeploymentGroups": application | {"deploymentGroupNames": ["g", "none"]},
        "BatchGetDeploymentInstances": {"deploymentId": id, "instanceIds": ["i"]},
        "BatchGetDeploymentTargets": {"deploymentId": id, "targetIds": ["i"]},
        "BatchGetDeployments": {"deploymentIds": [id]},
        "BatchGetOnPremisesInstances": {"instanceNames": ["i"]},
        "ContinueDeployment": {"deploymentId": id},
        "SkipWaitTimeForInstanceTermination": {"deploymentId": id},
        "StopDeployment": {"deploymentId": id},
        "RemoveTagsFromOnPremisesInstances": {"instanceNames": ["i"], "tags": capitals},
        "DeregisterOnPremisesInstance": instance,
        "DeleteDeploymentGroup": group,
        "DeleteDeploymentConfig": {"deploymentConfigName": "c"},
        "UpdateApplication": application | {"newApplicationName": "a2"},
        "DeleteApplication": {"applicationName": "a2"},
    }.items():
        yield call("codedeploy", name, **given)

    metric = {"Namespace": "Déjà/Vu", "MetricName": "m", "Dimensions": [{"Name": "Host", "Value": "~"}]}
    datum = {"MetricName": "m", "Dimensions": metric["Dimensions"], "Values": [1.5, -2], "Counts": [1, 2.5]}
    span = {"StartTime": int(time.time()) - 300.5, "EndTime": int(time.time()) + 300, "Period": 600}
    yield call("cloudwatch", "PutMetricData", Namespace=metric["Namespace"], MetricData=[datum])
    alarm = {"AlarmName": "é"}
    asked = {
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.5,
        "ComparisonOperator": "LessThanThreshold",
    }
    arn = f"arn:aws:cloudwatch:us-east-1:{account}:alarm:é"
    for name, given in {
        "ListMetrics": {"Namespace": metric["Namespace"]},
        "GetMetricStatistics": metric | span | {"Statistics": ["Sum", "Average"], "Unit": "None"},
        "GetMetricData": {
            "MetricDataQueries": [
                {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 600, "Stat": "Sum"}, "Label": "é ${MAX}"},
                {"Id": "e1", "Expression": "m1 / 2"},
            ],
            "StartTime": span["StartTime"],
            "EndTime": span["EndTime"],
        },
        "PutMetricAlarm": alarm | metric | asked | {"Tags": capitals},
        "PutCompositeAlarm": {"AlarmName": "ê", "AlarmRule": 'ALARM("é") OR FALSE'},
        "SetAlarmState": alarm | {"StateValue": "OK", "StateReason": "déjà"},
        "DisableAlarmActions": {"AlarmNames": ["é"]},
        "EnableAlarmActions": {"AlarmNames": ["é"]},
        "DescribeAlarms": {"AlarmNames": ["é"]},
        "DescribeAlarmsForMetric": metric,
        "DescribeAlarmHistory": alarm | {"HistoryItemType": "StateUpdate", "MaxRecords": 1},
        "TagResource": {"ResourceARN": arn, "Tags": capitals},
        "ListTagsForResource": {"ResourceARN": arn},
        "UntagResource": {"ResourceARN": arn, "TagKeys": ["k"]},
        "DeleteAlarms": {"AlarmNames": ["ê", "é"]},
    }.items():
        yield call("cloudwatch", name, **given)


# What can only fail while no worker runs.
FAILS = {
    "PutApprovalResult", "RetryStageExecution", "RollbackStage", "OverrideStageCondition", "AcknowledgeJob", "GetJobDetails", "PutJobFailureResult", "PutJobSuccessResult",
    "AcknowledgeThirdPartyJob", "GetThirdPartyJobDetails", "PutThirdPartyJobFailureResult", "PutThirdPartyJobSuccessResult", "GetDeploymentInstance", "GetDeploymentTarget", "ContinueDeployment",
    "SkipWaitTimeForInstanceTermination", "BatchGetDeploymentTargets", "ListDeploymentInstances",
    "ListDeploymentTargets", "ListDeployActionExecutionTargets",
}  # fmt: skip


def test_a_day_of_work_is_the_same_over_both(server, sides):
    normal = {protocol: Normal() for protocol in sides}
    for expected, read in zip(story(sides[JSON]), story(sides[CBOR]), strict=True):
        assert normal[CBOR](read) == normal[JSON](expected)
    assert sides[CBOR].called == sides[JSON].called
    succeeded = {operation for _, operation in sides[CBOR].called}
    registered = {operation.name for operation in server.app.registry if operation.service in SERVICES}
    assert registered - succeeded == FAILS


def every_operation(server: Live) -> list[tuple[str, str]]:
    found = [(operation.service, operation.name) for operation in server.app.registry]
    speaking = [pair for pair in found if CBOR in server.app.services.get(pair[0]).protocols]
    assert {service for service, _ in speaking} >= set(SERVICES)
    return speaking


def sample(shape: Shape, *, wrong: bool) -> Any:
    """A value of each member; with `wrong`, scalars that break what the model asks of them."""
    match shape.type:
        case "structure":
            return {name: sample(member, wrong=wrong) for name, member in shape.members.items() if _finite(member)}
        case "list":
            return [sample(shape.member, wrong=wrong)]
        case "map":
            return {"k" * 300 if wrong else "k": sample(shape.value, wrong=wrong)}
        case "boolean":
            return True
        case "integer" | "long":
            return -(1 << 31) if wrong else 1
        case "float" | "double":
            return -1e300 if wrong else 0.5
        case "timestamp":
            return 1_700_000_000.25
        case "blob":
            return b"\x00\xff"
    return "\u00e9\u2028 nothing" if wrong else (shape.traits.get("enum") or ["x"])[0]


def _finite(shape: Shape, above: tuple[str, ...] = ()) -> bool:
    return shape.name not in above and all(_finite(child, (*above, shape.name)) for child in shape.children())


def test_every_operation_reports_the_same_errors_over_both(server, sides):
    normal = {protocol: Normal() for protocol in sides}
    denied = 0
    for service, operation in every_operation(server):
        shape = server.app.services.get(service).operation(operation).input
        for given in ({}, sample(shape, wrong=False), sample(shape, wrong=True)):
            expected, read = (normal[p](sides[p].call(service, operation, **given)) for p in (JSON, CBOR))
            assert read == expected, (service, operation, given)
        expected, read = (
            normal[p](sides[p].call(service, operation, clients=sides[p].nobody, **sample(shape, wrong=False)))
            for p in (JSON, CBOR)
        )
        assert read == expected, (service, operation)
        denied += read.get("Error", {}).get("Code") == "AccessDeniedException"
    assert denied >= 5  # the others' samples are refused before anybody is asked


# --- what no client of botocore sends ---------------------------------------------------------------------------------


def send(server: Live, side: Side, prefix: str, operation: str, body: bytes, **changed: str) -> tuple[int, Any, Any]:
    """Status, document and headers of a signed request; headers in `changed` replace what is right, "" leaves one out.

    `x_signed` "no" sends no signature, `x_for` is the service that it is for, `x_announced` the length that the head states.
    """
    if side.protocol == CBOR:
        path = f"/service/{prefix}/operation/{operation}"
        headers = {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
    else:
        path, headers = "/", {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{prefix}.{operation}"}
    headers |= {name.replace("_", "-"): value for name, value in changed.items() if not name.startswith("x_")}
    request = AWSRequest("POST", server.url + path, data=body, headers={k: v for k, v in headers.items() if v})
    keys = side.keys
    if changed.get("x_signed") != "no":
        known = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
        SigV4Auth(known, changed.get("x_for", "codepipeline"), "us-east-1").add_auth(request)
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    try:
        expected = dict(request.headers.items())
        if announced := changed.get("x_announced"):
            expected["content-length"] = announced
        connection.request("POST", path, body, expected)
        answer = connection.getresponse()
        raw = answer.read()
        document = (read_cbor if side.protocol == CBOR else orjson.loads)(raw) if raw else None
        return answer.status, document, answer.headers
    finally:
        connection.close()


PREFIX = "CodePipeline_20150709"
DEEP = {JSON: b'{"name":' + b"[" * 100_000, CBOR: b"\xa1\x64name" + b"\x81" * 100_000 + b"\x00"}
NAMED = {JSON: orjson.dumps({"name": "none"}), CBOR: write_cbor({"name": "none"})}
CASES: dict[str, tuple[str, str, dict[str, bytes], dict[str, str], str]] = {
    "an unknown operation": (PREFIX, "Nonsense", NAMED, {}, "UnknownOperationException"),
    "an operation that is not served": ("CodeBuild_20161006", "BatchGetFleets", NAMED, {"x_for": "codebuild"}, "NotImplementedException"),
    "an unknown service": ("Nothing_1", "GetPipeline", NAMED, {}, "UnknownOperationException"),
    "another service's signature": (
        "CodeBuild_20161006", "ListProjects", NAMED, {}, "InvalidSignatureException",
    ),
    "no signature": (PREFIX, "GetPipeline", NAMED, {"x_signed": "no"}, "MissingAuthenticationTokenException"),
    "a modelled error": (PREFIX, "GetPipeline", NAMED, {}, "PipelineNotFoundException"),
    "a violated constraint": (
        PREFIX, "GetPipeline", {JSON: b'{"name":""}', CBOR: write_cbor({"name": ""})}, {}, "ValidationException",
    ),
    "an empty body": (PREFIX, "GetPipeline", {JSON: b"", CBOR: b""}, {}, "ValidationException"),
    "null": (PREFIX, "GetPipeline", {JSON: b"null", CBOR: b"\xf6"}, {}, "ValidationException"),
    "a malformed body": (PREFIX, "GetPipeline", {JSON: b"{", CBOR: b"\xa1"}, {}, "SerializationException"),
    "a body that nests too deep": (PREFIX, "GetPipeline", DEEP, {}, "SerializationException"),
    "a body that is too large": (
        PREFIX, "GetPipeline", {JSON: b"", CBOR: b""}, {"x_announced": str((10 << 20) + 1)}, "RequestEntityTooLargeException",
    ),
    "a number for a text": (
        PREFIX, "GetPipeline", {JSON: b'{"name":1}', CBOR: write_cbor({"name": 1})}, {}, "SerializationException",
    ),
    "a list for a structure": (PREFIX, "GetPipeline", {JSON: b"[]", CBOR: b"\x80"}, {}, "SerializationException"),
    "an integer of 33 bits": (
        PREFIX, "GetPipeline", {JSON: b'{"version":8589934592}', CBOR: write_cbor({"version": 1 << 33})}, {},
        "SerializationException",
    ),
    "a NUL character": (
        PREFIX, "GetPipeline", {JSON: b'{"name":"\\u0000"}', CBOR: write_cbor({"name": "\0"})}, {}, "SerializationException",
    ),
}  # fmt: skip
SAME_TEXT = set(CASES) - {"a malformed body", "a body that nests too deep"}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_request_is_reported_alike(server, sides, case):
    prefix, operation, bodies, changed, code = CASES[case]
    answers = {p: send(server, side, prefix, operation, bodies[p], **changed) for p, side in sides.items()}
    status, document, headers = answers[CBOR]
    assert document["__type"] == code
    assert status == answers[JSON][0] < 500 or status == answers[JSON][0] == 501
    assert document["__type"] == answers[JSON][1]["__type"]
    if case in SAME_TEXT:
        texts = [Normal()(answers[p][1]["message"]) for p in (JSON, CBOR)]
        assert texts[0] == texts[1]
    assert headers["content-type"] == "application/cbor"
    assert headers["smithy-protocol"] == "rpc-v2-cbor"
    assert headers["x-amzn-requestid"]


@pytest.mark.parametrize(
    "header", [{"content_type": "application/json"}, {"content_type": ""}, {"smithy_protocol": "x"}]
)
def test_a_request_that_says_it_is_something_else_is_refused(server, sides, header):
    status, document, _ = send(server, sides[CBOR], PREFIX, "GetPipeline", NAMED[CBOR], **header)
    assert (status, document["__type"]) == (400, "SerializationException")
    assert f"The {'Content-Type' if 'content_type' in header else 'header smithy-protocol'} of" in document["message"]


def test_an_answer_without_output_has_no_body(server, sides):
    side = sides[CBOR]
    side.call("codepipeline", "CreatePipeline", pipeline=pipeline(side.account) | {"name": "gone"})
    status, document, headers = send(server, side, PREFIX, "DeletePipeline", write_cbor({"name": "gone"}))
    assert (status, document, headers["content-type"], headers["smithy-protocol"]) == (200, None, None, "rpc-v2-cbor")
