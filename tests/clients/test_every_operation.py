"""Every registered operation, found in the registry: who may not call it is refused and changes nothing; nobody gets a 500."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest
import sqlalchemy as sa
from penstock_live import Live, live_server

import penstock.fleet
from penstock.deployments.settings import DeploymentSettings
from penstock.store.schema import metadata
from penstock.wire.registry import Operation
from penstock.wire.shapes import Shape

ACCOUNT = "111111111111"
HOST = f"arn:aws:iam::{ACCOUNT}:user/host"
DIGEST = "a" * 40
_SOURCE = Path(penstock.__file__).parent
_MODELS = {
    "penstock": penstock.fleet.MODEL,
    "codedeploy-commands": _SOURCE / "deployments" / "hostcommands" / "service-2.json",
}

# What a pattern, or a rule beyond the model, asks of a member; the rest is made from the shapes.
SAMPLES: dict[str, Any] = {
    "Bucket": "every-operation",
    "CopySource": "every-operation/x",
    "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess",
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "AssumeRolePolicyDocument": '{"Version":"2012-10-17","Statement":[]}',
    "PolicyDocument": '{"Version":"2012-10-17","Statement":[]}',
    "Status": "Active",
    "VersionId": "v1",
    "Password": "A-long-Password-1",
    "roleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "serviceRoleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "serviceRole": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "resourceArn": f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:nothing",
    "ResourceArn": f"arn:aws:codedeploy:us-east-1:{ACCOUNT}:application:nothing",
    "commitId": DIGEST,
    "deploymentId": "d-ABCDEFGHI",
    "pipelineExecutionId": "11111111-2222-4333-8444-555555555555",
    "token": "11111111-2222-4333-8444-555555555555",
    "HostIdentifier": HOST,
    "iamUserArn": HOST,
    "accountId": "222222222222",
    "bucketName": "every-operation",
    "id": "nothing:11111111-2222-4333-8444-555555555555",
}
SERVICE_SAMPLES: dict[tuple[str, str], Any] = {
    ("codecommit", "resourceArn"): f"arn:aws:codecommit:us-east-1:{ACCOUNT}:nothing",
    ("iam", "VersionId"): "v1",
    ("s3", "Status"): "Enabled",
}
# What must be there beyond the model's required members.
MORE: dict[tuple[str, str], dict[str, Any]] = {
    ("logs", "DescribeLogStreams"): {"logGroupName": "x"},
    ("logs", "FilterLogEvents"): {"logGroupName": "x"},
    ("logs", "GetLogEvents"): {"logGroupName": "x"},
    ("codedeploy-commands", "GetDeploymentSpecification"): {
        "DeploymentExecutionId": f"CodeDeploy/us-east-1/prod/arn:aws:codedeploy:us-east-1:{ACCOUNT}:deployment/d-ABCDEFGHI"
    },
}
ANYBODY = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}  # any verified key may, as on AWS
# Clients do not sign these: they show something else, and what is refused is that.
UNSIGNED = {("sts", "AssumeRoleWithWebIdentity"): "InvalidIdentityToken"}
HOST_COMMANDS = "codedeploy-commands"
# A host's policy is s3:Get*; these are what it allows.
# What the policy of a host that may read objects lets it do, as AWS's managed policy for CodeDeploy's instances does.
READS_OF_HOSTS = {
    ("s3", "GetObject"),
    ("s3", "HeadObject"),
    ("s3", "GetObjectAttributes"),
    ("s3", "GetObjectTagging"),
    ("penstock", "GetObjectDigest"),  # asks for s3:GetObject: whoever may read the bytes can compute their digest
}
UNKNOWN_KEY = {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "403"}
DENIED = {"AccessDenied", "AccessDeniedException", "403"}


def minimal(service: str, shape: Shape, name: str = "") -> Any:
    """The smallest value that the shape allows: required members only."""
    for key in ((service, name), name):
        sample = SERVICE_SAMPLES.get(key) if isinstance(key, tuple) else SAMPLES.get(key)
        if sample is not None and shape.type == "string":
            return sample
    match shape.type:
        case "structure":
            return {member: minimal(service, shape.members[member], member) for member in shape.required}
        case "list":
            return [minimal(service, shape.member, name) for _ in range(max(1, shape.traits.get("min", 0)))]
        case "map":
            return {minimal(service, shape.key, "key"): minimal(service, shape.value, "value")}
        case "string":
            if choices := shape.traits.get("enum"):
                return choices[0]
            return "x" * max(1, shape.traits.get("min", 0))
        case "integer" | "long" | "float" | "double":
            return max(1, shape.traits.get("min", 0))
        case "boolean":
            return False
        case "blob":
            return b"x"
        case "timestamp":
            return 0
    raise AssertionError(shape.type)


class Caller:
    """Calls any operation with one key, by botocore, whose models are the server's own."""

    def __init__(self, server: Live, models: Any, keys: dict[str, str]) -> None:
        self._session = boto3.session.Session(region_name="us-east-1", **keys)
        self._session._loader.search_paths.insert(0, str(models))
        self._server = server
        self._clients: dict[str, Any] = {}

    def __call__(self, operation: Operation) -> tuple[int, str]:
        """HTTP status and error code ("" for a success)."""
        service = self._server.app.services.get(operation.service)
        model = service.operation(operation.name)
        given = minimal(operation.service, model.input) if model.input else {}
        given |= MORE.get((operation.service, operation.name), {})
        client = self._clients.get(operation.service)
        if client is None:
            config = botocore.config.Config(
                parameter_validation=False, retries={"total_max_attempts": 1}, read_timeout=30
            )
            client = self._clients[operation.service] = self._session.client(
                operation.service, endpoint_url=self._server.url, config=config
            )
        try:
            answer = client._make_api_call(operation.name, given)
        except botocore.exceptions.ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
        errors = answer.get("Errors") or [{"Code": ""}]  # of DeleteObjects: each key is refused by itself
        return answer["ResponseMetadata"]["HTTPStatusCode"], errors[0]["Code"]


def every(server: Live) -> list[Operation]:
    found = list(server.app.registry)
    assert len(found) > 150
    return found


def content(server: Live) -> dict[str, tuple[int, str]]:
    """Rows and a digest of each table."""

    def read(conn: sa.Connection) -> dict[str, tuple[int, str]]:
        state = {}
        for name, table in metadata.tables.items():
            if name.startswith("audit_"):
                continue  # that somebody was refused is recorded
            rows = sorted(repr(tuple(row)) for row in conn.execute(sa.select(table)))
            state[name] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
        return state

    return server.run(server.app.store.scan(read))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(
        tmp_path_factory.mktemp("every") / "data", components=(DeploymentSettings(long_poll_seconds=1),)
    ) as running:
        yield running


@pytest.fixture(scope="module")
def models(server: Live, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The models of services that botocore does not have, where its loader finds them."""
    folder = tmp_path_factory.mktemp("models")
    for name in _MODELS:
        source = server.app.services.get(name)
        target = folder / name / source.metadata["apiVersion"] / "service-2.json"
        target.parent.mkdir(parents=True)
        target.write_bytes(_MODELS[name].read_bytes())
    return folder


@pytest.fixture(scope="module")
def people(server: Live) -> dict[str, dict[str, str]]:
    """Keys: `nobody` may nothing; `host` is a registered on-premises instance, and may s3:Get*."""
    s3 = server.client("s3")
    s3.create_bucket(Bucket="every-operation")
    s3.put_object(Bucket="every-operation", Key="x", Body=b"x")
    iam = server.client("iam")
    keys = {}
    for name in ("nobody", "host"):
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
    iam.put_user_policy(UserName="host", PolicyName="host", PolicyDocument=json.dumps(allowed))
    server.client("codedeploy").register_on_premises_instance(instanceName="host", iamUserArn=HOST)
    keys["unknown"] = {"aws_access_key_id": "AKIAUNKNOWNUNKNOWN12", "aws_secret_access_key": "x" * 40}
    return keys


def test_an_unknown_key_is_refused_by_every_operation(server, models, people):
    before = content(server)
    call = Caller(server, models, people["unknown"])
    wrong = {}
    for operation in every(server):
        status, code = call(operation)
        shown = UNSIGNED.get((operation.service, operation.name))
        if status not in {400, 403} or code not in ({shown} if shown else UNKNOWN_KEY):
            wrong[f"{operation.service}:{operation.name}"] = (status, code)
    assert not wrong, "\n".join(f"{name}: {answer}" for name, answer in wrong.items())
    assert content(server) == before


def test_a_user_without_a_policy_is_refused_by_every_operation(server, models, people):
    before = content(server)
    call = Caller(server, models, people["nobody"])
    wrong = {}
    for operation in every(server):
        status, code = call(operation)
        if (operation.service, operation.name) in ANYBODY:
            expected = status == 200 and not code
        else:
            expected = code in DENIED or code == UNSIGNED.get((operation.service, operation.name))
        if not expected:
            wrong[f"{operation.service}:{operation.name}"] = (status, code)
    assert not wrong, "\n".join(f"{name}: {answer}" for name, answer in wrong.items())
    assert content(server) == before


def test_a_host_is_refused_by_every_operation_but_its_own(server, models, people):
    call = Caller(server, models, people["host"])
    call(
        server.app.registry.get(HOST_COMMANDS, "PutHostCommandAcknowledgement")
    )  # its first request binds it to its user
    before = content(server)
    wrong = {}
    for operation in every(server):
        if operation.service == HOST_COMMANDS and operation.name == "PollHostCommand":
            continue  # its own business; a poll notes that the host was there
        status, code = call(operation)
        action = operation.action if isinstance(operation.action, str) else ""
        if operation.service == HOST_COMMANDS:
            expected = status < 500  # commands that were never handed out are refused with the service's own message
        elif (operation.service, operation.name) in READS_OF_HOSTS or action.startswith("s3:Get"):
            expected = status in {200, 404} and code not in DENIED
        elif (operation.service, operation.name) in ANYBODY:
            expected = status == 200 and not code
        else:
            expected = code in DENIED or code == UNSIGNED.get((operation.service, operation.name))
        if not expected:
            wrong[f"{operation.service}:{operation.name}"] = (status, code)
    assert not wrong, "\n".join(f"{name}: {answer}" for name, answer in wrong.items())
    assert content(server) == before


def test_a_host_may_poll_for_its_own_commands(server, models, people):
    poll = server.app.registry.get(HOST_COMMANDS, "PollHostCommand")
    assert Caller(server, models, people["host"])(poll) == (200, "")
    assert Caller(server, models, people["nobody"])(poll)[1] in DENIED
    assert Caller(server, models, server.keys())(poll)[1] in DENIED


def test_no_operation_breaks_on_its_smallest_input(tmp_path_factory, models):
    with live_server(
        tmp_path_factory.mktemp("smallest") / "data", components=(DeploymentSettings(long_poll_seconds=1),)
    ) as fresh:
        call = Caller(fresh, models, fresh.keys())
        broken = {}
        for operation in every(fresh):
            status, code = call(operation)
            if status >= 500 or code in {"InternalFailure", "InternalError"}:
                broken[f"{operation.service}:{operation.name}"] = (status, code)
        assert not broken, "\n".join(f"{name}: {answer}" for name, answer in broken.items())
