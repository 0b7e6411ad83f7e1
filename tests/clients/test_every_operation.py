"""Every registered operation, found in the registry: who may not call it is refused and changes nothing; nobody gets a 500.

The matrix: an account with one of everything, each operation's smallest input about what that account has, and everybody who must not
get through with it, over HTTP and in process. A new operation is tried by itself; when its input needs a value that the model does not
tell, the control at the end fails and asks for a row.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_live import Live, live_server
from penstock_operations import Answer, Calls, smallest
from penstock_refusals import REFUSED as REFUSED_INPUTS
from penstock_refusals import TAKEN
from penstock_refused_names import REFUSED_NAMES
from penstock_victim import ACCOUNT, CANARY, TIMED, furnish, furnish_shareable, share

from penstock.deployments.settings import DeploymentSettings
from penstock.identity import sessions
from penstock.store.schema import metadata
from penstock.wire import refusals
from penstock.wire.call import ANONYMOUS, Session
from penstock.wire.errors import Refused, ServiceError
from penstock.wire.registry import Operation

FOREIGN = {"http": "222222222222", "in process": "444444444444"}
HOST = f"arn:aws:iam::{ACCOUNT}:user/host"
HOST_COMMANDS = "codedeploy-commands"

# What must be there beyond the model's required members, or says what a call is about.
MORE = {
    "codecommit": ("repositoryName", "branchName"),
    "codedeploy": ("applicationName", "deploymentGroupName"),
    "iam": ("UserName",),
    "kms": ("CiphertextBlob",),
    "logs": ("logGroupName",),
    "penstock": ("iamUserArn",),
}
ONLY: dict[tuple[str, str], dict[str, Any]] = {
    ("cloudwatch", "GetMetricData"): {
        "MetricDataQueries": [{"Id": "e1", "Expression": "SEARCH('victims', 'Sum', 60)"}],
        "StartTime": 0,
        "EndTime": 60,
    },
    ("cloudwatch", "GetMetricStatistics"): {"Statistics": ["Sum"], "EndTime": 60, "Period": 60},
    ("cloudwatch", "PutCompositeAlarm"): {"AlarmRule": "FALSE"},
    ("cloudwatch", "PutMetricAlarm"): {  # of a metric without data: its state changes by nobody's call
        "Namespace": "victims",
        "MetricName": "nothing",
        "TreatMissingData": "ignore",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
    },
    ("cloudwatch", "PutMetricData"): {"MetricData": [{"MetricName": "victims", "Value": 1.0}]},
    ("events", "TestEventPattern"): {
        "EventPattern": '{"source":["x"]}',
        "Event": '{"id":"1","account":"111111111111","source":"x","time":"2026-01-01T00:00:00Z","region":"us-east-1","resources":[],"detail-type":"x"}',
    },
    ("iam", "DeleteServiceLinkedRole"): {"RoleName": "AWSServiceRoleForRolesAnywhere"},
    ("kms", "CreateGrant"): {"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:role/victims"},
    ("kms", "GenerateDataKey"): {"KeySpec": "AES_256"},
    ("kms", "GenerateDataKeyWithoutPlaintext"): {"KeySpec": "AES_256"},
    ("kms", "GenerateRandom"): {"NumberOfBytes": 8},
    ("kms", "ListRetirableGrants"): {"RetiringPrincipal": f"arn:aws:iam::{ACCOUNT}:role/victims"},
    ("penstock", "PutMetricSource"): {"http": {"url": "http://victims.test/"}, "enabled": False},
    ("sns", "SetSubscriptionAttributes"): {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"},
    ("penstock", "RegisterActionType"): {
        "actionType": {
            "id": {"category": "Build", "owner": "ThirdParty", "provider": "victims2", "version": "1"},
            "executor": {"type": "JobWorker", "configuration": {"jobWorkerExecutorConfiguration": {}}},
            "inputArtifactDetails": {"minimumCount": 0, "maximumCount": 1},
            "outputArtifactDetails": {"minimumCount": 0, "maximumCount": 1},
        }
    },
    ("secretsmanager", "BatchGetSecretValue"): {"SecretIdList": ["victims"]},
    ("secretsmanager", "PutSecretValue"): {"SecretString": "x", "ClientRequestToken": "x" * 32},
    ("secretsmanager", "UpdateSecret"): {"SecretString": "x", "ClientRequestToken": "x" * 32},
}
RECORDED = ("audit_blocks", "audit_chains", "audit_positions")  # of every request
# What takes an ARN where a name is usual.
ARNS = {
    ("cloudtrail", "Name"): f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/victims",
    ("cloudtrail", "TrailName"): f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/victims",
    ("cloudtrail", "ResourceId"): f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/victims",
    ("ssm", "Name"): f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/victims/parameter",
    ("ssm", "Names"): f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/victims/parameter",
    ("ssm", "ResourceId"): f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/victims/parameter",
    ("kms", "KeyId"): f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/victims",
    ("secretsmanager", "SecretId"): f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:victims",
    ("logs", "logGroupIdentifier"): f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:victims",
    ("codebuild", "names"): f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/victims",
    ("codebuild", "projectName"): f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/victims",
    ("s3", "CopySource"): "arn:aws:s3:::victims-bucket/victims",
}
# What is sent about things that do not exist.
NOTHING: dict[Any, Any] = {
    "": "x",
    "Bucket": "every-operation",
    "CopySource": "every-operation/x",
    "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess",
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "PolicyDocument": '{"Version":"2012-10-17","Statement":[]}',
    "Password": "A-long-Password-1",
    "roleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "serviceRoleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "serviceRole": f"arn:aws:iam::{ACCOUNT}:role/nobody",
    "resourceArn": f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:nothing",
    "ResourceArn": f"arn:aws:codedeploy:us-east-1:{ACCOUNT}:application:nothing",
    "commitId": "a" * 40,
    "deploymentId": "d-ABCDEFGHI",
    "pipelineExecutionId": "11111111-2222-4333-8444-555555555555",
    "token": "11111111-2222-4333-8444-555555555555",
    "jobId": "11111111-2222-4333-8444-555555555555",
    "HostIdentifier": HOST,
    "iamUserArn": HOST,
    "accountId": "333333333333",
    "bucketName": "every-operation",
    "DeploymentExecutionId": f"CodeDeploy/us-east-1/prod/arn:aws:codedeploy:us-east-1:{ACCOUNT}:deployment/d-ABCDEFGHI",
    "TopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:nothing",
    "SubscriptionArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:nothing:0",
    (
        "codestar-notifications",
        "Arn",
    ): f"arn:aws:codestar-notifications:us-east-1:{ACCOUNT}:notificationrule/{'0' * 40}",
    ("codestar-notifications", "Resource"): f"arn:aws:codecommit:us-east-1:{ACCOUNT}:nothing",
    ("codestar-notifications", "EventTypeIds"): "codecommit-repository-branches-and-tags-deleted",
    ("codestar-notifications", "TargetType"): "SNS",
    ("codestar-notifications", "TargetAddress"): f"arn:aws:sns:us-east-1:{ACCOUNT}:nothing",
    ("sns", "ResourceArn"): f"arn:aws:sns:us-east-1:{ACCOUNT}:nothing",
    ("scheduler", "Arn"): f"arn:aws:sns:us-east-1:{ACCOUNT}:nothing",
    ("scheduler", "ResourceArn"): f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule-group/nothing",
    ("scheduler", "ScheduleExpression"): "cron(0 0 1 1 ? 2199)",
    ("sns", "Protocol"): "http",
    ("sns", "Endpoint"): "http://a.test/",
    ("cloudwatch", "ResourceARN"): f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:nothing",
    ("codecommit", "resourceArn"): f"arn:aws:codecommit:us-east-1:{ACCOUNT}:nothing",
    ("iam", "Status"): "Active",
    ("iam", "PolicySourceArn"): f"arn:aws:iam::{ACCOUNT}:user/nobody",
    ("iam", "VersionId"): "v1",
    ("penstock", "name"): "nobody",
    ("iam", "SerialNumber"): f"arn:aws:iam::{ACCOUNT}:mfa/nobody",
    ("iam", "AuthenticationCode1"): "123456",
    ("iam", "AuthenticationCode2"): "123456",
    ("rolesanywhere", "trustAnchorId"): "11111111-2222-4333-8444-555555555555",
    ("rolesanywhere", "profileId"): "11111111-2222-4333-8444-555555555555",
    ("rolesanywhere", "crlId"): "11111111-2222-4333-8444-555555555555",
    ("rolesanywhere", "subjectId"): "11111111-2222-4333-8444-555555555555",
    ("rolesanywhere", "trustAnchorArn"): f"arn:aws:rolesanywhere:us-east-1:{ACCOUNT}:trust-anchor/x",
    ("rolesanywhere", "roleArns"): f"arn:aws:iam::{ACCOUNT}:role/nobody",
    ("s3", "Status"): "Enabled",
    ("penstock", "id"): "d-ABCDEFGHI",
    "AccountId": "999999999999",
    "CreateAccountRequestId": "car-00000000",
    "Email": "x@example.com",
    ("codebuild", "id"): "nothing:11111111-2222-4333-8444-555555555555",
}
ANYBODY = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}  # any verified key may, as on AWS
# Clients do not sign these: they show something else, and what is refused is that.
UNSIGNED = {
    ("sts", "AssumeRoleWithWebIdentity"): "InvalidIdentityToken",
    ("penstock", "JoinHost"): "InvalidInvitationException",
    ("sns", "ConfirmSubscription"): "InvalidParameter",
}
# The keys of certificates sign these, and no others are asked about.
CERTIFIED = {
    ("rolesanywhere-sessions", "CreateSession"): "IncompleteSignatureException",
    ("penstock", "RenewHostCertificate"): "IncompleteSignatureException",
}
SHOWN = UNSIGNED | CERTIFIED
READS_OF_HOSTS = {
    ("s3", "GetObject"),
    ("s3", "HeadObject"),
    ("s3", "GetObjectAttributes"),
    ("s3", "GetObjectTagging"),
    ("penstock", "GetObjectDigest"),  # asks for s3:GetObject: whoever may read the bytes can compute their digest
}
# What tells names and the number of an account that are not in the input.
TELLS = {
    ("cloudtrail", "LookupEvents"),  # the caller's own requests, in which they were
    ("sts", "GetAccessKeyInfo"),  # is asked for just that
}
# What refuses the account's own administrator too: it asks who calls, or for another kind of thing than the account has.
OF_NOBODY = CERTIFIED | {
    ("iam", "ChangePassword"): "AccessDenied",  # who does not know the old one
    ("iam", "CreateServiceLinkedRole"): "InvalidInput",  # there is one
    ("penstock", "CreatePasskeyChallenge"): "AccessDeniedException",
    ("penstock", "CreateRecoveryCodes"): "AccessDeniedException",
    ("penstock", "RegisterPasskey"): "AccessDeniedException",
    ("kms", "GenerateMac"): "InvalidKeyUsageException",
    ("kms", "GetPublicKey"): "UnsupportedOperationException",
    ("kms", "Sign"): "InvalidKeyUsageException",
    ("kms", "Verify"): "InvalidKeyUsageException",
    ("kms", "VerifyMac"): "InvalidKeyUsageException",
    ("penstock", "GetActionCommands"): "AccessDeniedException",
    ("penstock", "GetActionJob"): "AccessDeniedException",
    ("penstock", "GetHookLog"): "DeploymentTargetDoesNotExistException",
    ("penstock", "StartActionCommands"): "AccessDeniedException",
    ("penstock", "StopActionCommands"): "AccessDeniedException",
}
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "403",
}  # the last is that of an answer without a body, to HEAD
# Whom the keys that are shown do not identify, and how each protocol says so.
UNIDENTIFIED = {
    "unsigned": {
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "AccessDenied",
        "AuthorizationError",
        "403",
    },
    "unknown": {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "403"},
    "deactivated": {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "403"},
    "mistaken": {"SignatureDoesNotMatch", "InvalidSignatureException", "403"},
    "expired": {"ExpiredToken", "ExpiredTokenException", "400"},
}
# Who is known and may nothing: `nobody` has no policy; the others may everything, but for a session policy or a boundary.
UNPERMITTED = ("nobody", "narrowed", "bounded")
NOTHING_BUT = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"}],
    }
)
Matrix = dict[Operation, dict[str, Any]]


def every(server: Live) -> list[Operation]:
    found = list(server.app.registry)
    assert len(found) > 150
    return found


def inputs(server: Live, named: dict[Any, Any]) -> Matrix:
    """The smallest input of each operation."""
    made = {}
    for operation in every(server):
        model = server.app.services.get(operation.service).operation(operation.name)
        if model.input is None:
            made[operation] = {}
            continue
        input = made[operation] = smallest(operation.service, model.input, named)
        for member in MORE.get(operation.service, ()):
            if member in model.input.members and (member in named or member not in input):
                input[member] = smallest(operation.service, model.input.members[member], named, member)
        input |= ONLY.get((operation.service, operation.name), {}) | named.get((operation.service, operation.name), {})
    return made


def content(server: Live) -> dict[str, set[str]]:
    """The rows of each table. That somebody was refused is recorded, and some jobs come again by themselves."""

    def read(conn: sa.Connection) -> dict[str, set[str]]:
        state = {}
        for name, table in metadata.tables.items():
            rows = conn.execute(sa.select(table)).all()
            if name == "jobs":
                rows = [row for row in rows if row.kind not in TIMED]
            if name == "log_streams":  # what the files hold is noted a second later
                rows = [row[:5] for row in rows]
            if name in (
                "iam_access_keys",
                "iam_roles",
            ):  # when one was last used is noted later, for those who get nothing too
                rows = [[value for key, value in row._mapping.items() if not key.startswith("used")] for row in rows]
            if name == "cloudwatch_alarms":  # each is looked at every minute
                rows = [[value for key, value in row._mapping.items() if key != "due"] for row in rows]
            state[name] = {repr(tuple(row)) for row in rows}
        return {name: rows for name, rows in state.items() if name not in RECORDED}

    found = server.run(server.app.store.scan(read))
    events = (server.data_dir / "log-events").rglob("*.log")
    return found | {"log events": {f"{path.name} {path.stat().st_size}" for path in events}}


def check(wrong: dict[str, Any]) -> None:
    assert not wrong, "\n".join(f"{name}: {answer}" for name, answer in wrong.items())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(
        tmp_path_factory.mktemp("every") / "data", components=(DeploymentSettings(long_poll_seconds=1),)
    ) as running:
        yield running


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def calls(server: Live, models: Any) -> Calls:
    return Calls(server.url, models)


@pytest.fixture(scope="module")
def named(server: Live, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    return furnish(server, tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def matrix(server: Live, named: dict[Any, Any]) -> Matrix:
    """Each operation's smallest input about what the account has."""
    return inputs(server, named)


@pytest.fixture(scope="module")
def requests(calls: Calls, matrix: Matrix) -> dict[Operation, Any]:
    return {operation: calls.request(operation, input) for operation, input in matrix.items()}


def _keys(made: dict[str, str]) -> dict[str, str]:
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    return keys | ({"aws_session_token": made["SessionToken"]} if "SessionToken" in made else {})


@pytest.fixture(scope="module")
def people(server: Live, matrix: Matrix) -> dict[str, dict[str, str] | None]:
    """Keys of everybody who must not get through, and of a registered host, which may s3:Get*."""
    iam, sts = server.client("iam"), server.client("sts")
    keys: dict[str, dict[str, str] | None] = {
        "unsigned": None,
        "mistaken": {**server.keys(), "aws_secret_access_key": "x" * 40},
    }
    keys["unknown"] = {"aws_access_key_id": "AKIAUNKNOWNUNKNOWN12", "aws_secret_access_key": "x" * 40}
    everything = "arn:aws:iam::aws:policy/AdministratorAccess"
    for name in ("nobody", "host", "bounded", "deactivated"):
        iam.create_user(UserName=name)
        keys[name] = _keys(iam.create_access_key(UserName=name)["AccessKey"])
    for name in ("bounded", "deactivated"):
        iam.attach_user_policy(UserName=name, PolicyArn=everything)
    boundary = iam.create_policy(PolicyName="little", PolicyDocument=NOTHING_BUT)["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="bounded", PermissionsBoundary=boundary)
    iam.update_access_key(
        UserName="deactivated", AccessKeyId=keys["deactivated"]["aws_access_key_id"], Status="Inactive"
    )
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
    iam.put_user_policy(UserName="host", PolicyName="host", PolicyDocument=json.dumps(allowed))
    server.client("codedeploy").register_on_premises_instance(instanceName="host", iamUserArn=HOST)
    role = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/victims", "RoleSessionName": "matrix"}
    keys["narrowed"] = _keys(sts.assume_role(**role, Policy=NOTHING_BUT)["Credentials"])
    past = sts.assume_role(**role)["Credentials"]
    sealer = server.app.sealer
    grant = dataclasses.replace(sessions.unseal(sealer, past["SessionToken"]), expires=server.app.clock.now() - 1)
    keys["expired"] = _keys({**past, "SessionToken": sessions.seal(sealer, grant)})
    return keys | {way: administrator_of(server, account) for way, account in FOREIGN.items()}


def administrator_of(server: Live, account: str) -> dict[str, str]:
    """The key of a new account's administrator."""
    made = server.client("penstock").create_account(accountId=account)
    return {"aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"]}


def in_process(server: Live, session: Session, operation: Operation, input: dict[str, Any]) -> Answer:
    """What `app.invoke` answers."""

    async def run() -> Answer:
        try:
            output = await server.app.invoke(session, operation.service, operation.name, input, region="us-east-1")
        except (ServiceError, Refused) as fault:
            wordings = server.app.services.get(operation.service).codec.refusals
            error = refusals.worded(fault, wordings) if isinstance(fault, Refused) else fault
            return Answer(error.status, error.wire_code, error.message)
        errors = output.get("Errors") or [{"Code": ""}]
        return Answer(200, errors[0].get("Code", errors[0].get("ErrorCode", "")), repr(output))

    return server.run(run())


def session_of(server: Live, keys: dict[str, str]) -> Session:
    if "aws_session_token" in keys:  # also of one that has expired
        return sessions.unseal(server.app.sealer, keys["aws_session_token"]).credential().session
    return server.run(server.app.identity.credential(keys["aws_access_key_id"], "")).session


Call = Callable[[str, Operation], Answer]


@pytest.fixture(scope="module", params=["http", "in process"])
def call(request: Any, server: Live, calls: Calls, matrix: Matrix, requests: Any, people: Any) -> Call:
    """Each way to call an operation as somebody."""
    if request.param == "http":
        return lambda who, operation: calls.send(operation, requests[operation], people[who])
    known = {who: session_of(server, people[who]) for who in UNPERMITTED}
    return lambda who, operation: in_process(server, known[who], operation, matrix[operation])


def refused_everywhere(
    server: Live,
    expected: Callable[[Operation, Answer], bool],
    ask: Callable[[Operation], Answer],
    *,
    shown: Callable[[Operation], bool] = lambda _operation: False,
) -> None:
    """Every operation answers what is expected, shows nothing but what may be `shown`, and changes nothing."""
    before, wrong = content(server), {}
    for operation in every(server):
        answer = ask(operation)
        if not expected(operation, answer) or (CANARY in answer.text and not shown(operation)):
            wrong[f"{operation.service}:{operation.name}"] = answer
    check(wrong)
    after = content(server)
    assert {name: after[name] ^ rows for name, rows in before.items() if after[name] != rows} == {}


@pytest.mark.parametrize("who", UNIDENTIFIED)
def test_whoever_shows_no_good_credentials_is_refused_by_every_operation(server, calls, requests, people, who):
    def expected(operation: Operation, answer: Answer) -> bool:
        name = (operation.service, operation.name)
        if who == "unsigned" and name == ("s3", "ListBuckets"):
            return answer.status == 302  # GET / is a browser's, or an agent's that looks whether somebody is here
        return answer.status in {400, 403} and (
            answer.code == UNSIGNED[name]
            if who == "unsigned" and name in UNSIGNED
            else answer.code in UNIDENTIFIED[who]
        )

    refused_everywhere(server, expected, lambda operation: calls.send(operation, requests[operation], people[who]))


@pytest.mark.parametrize("who", ["unsigned", "expired"])
def test_in_process_whoever_is_nobody_any_more_is_refused_by_every_operation(server, matrix, people, who):
    session = ANONYMOUS if who == "unsigned" else session_of(server, people[who])

    def expected(operation: Operation, answer: Answer) -> bool:
        name = (operation.service, operation.name)
        return answer.code in (SHOWN.get(name), *UNIDENTIFIED[who], *DENIED)

    refused_everywhere(server, expected, lambda operation: in_process(server, session, operation, matrix[operation]))


@pytest.mark.parametrize("who", UNPERMITTED)
def test_whoever_is_not_permitted_is_refused_by_every_operation(server, call, who):
    def expected(operation: Operation, answer: Answer) -> bool:
        name = (operation.service, operation.name)
        if name in ANYBODY and not (who == "narrowed" and name[1] == "GetSessionToken"):
            return answer.status == 200 and not answer.code
        return answer.code in DENIED or answer.code == SHOWN.get(name)

    refused_everywhere(server, expected, lambda operation: call(who, operation))


def moved(value: Any, account: str) -> Any:
    """The same of another account."""
    match value:
        case str():
            return value.replace(ACCOUNT, account)
        case dict():
            return {key: moved(one, account) for key, one in value.items()}
        case list():
            return [moved(one, account) for one in value]
    return value


def creates(operation: Operation) -> bool:
    return operation.name.startswith(("Create", "Put", "Register", "Upload"))


@pytest.mark.parametrize("way", ["http", "in process"])
def test_an_administrator_of_another_account_sees_and_changes_nothing(
    server, calls, matrix, requests, people, named, way
):
    """By names that this account does not have, by names that both have, by ARNs, and by its own ARNs of the same names."""
    mine, session = FOREIGN[way], session_of(server, people[way])
    before, wrong = content(server), {}
    by_arn = [one for one in inputs(server, named | ARNS).items() if one[1] != matrix[one[0]]]
    unknown = [one for one in matrix.items() if not creates(one[0])]
    twins = [(operation, twin) for operation, input in matrix.items() if (twin := moved(input, mine)) != input]
    for turn, (operation, input) in enumerate((*unknown, *matrix.items(), *by_arn, *twins)):
        if way == "http":
            request = requests[operation] if input is matrix[operation] else calls.request(operation, input)
            answer = calls.send(operation, request, people[way])
        else:
            answer = in_process(server, session, operation, input)
        # What the caller has not named itself is told by nobody: a number, nor a name, which it has as well later on.
        untold = [ACCOUNT, "victims"] if turn < len(unknown) else [ACCOUNT]
        told = [word for word in untold if word in answer.text and word not in repr(input)]
        told = told if answer.status == 200 and (operation.service, operation.name) not in TELLS else []
        if answer.status >= 500 or CANARY in answer.text or told:
            wrong[f"{operation.service}:{operation.name}"] = answer
    check(wrong)
    after = content(server)
    of_all = ("iam_generations", "events")  # numbers that every account counts
    others = {name: {row for row in rows if mine not in row} for name, rows in before.items() if name not in of_all}
    assert {name: rows - after[name] for name, rows in others.items() if rows - after[name]} == {}
    assert before["events"] <= after["events"]
    assert [row for name, rows in after.items() for row in rows - before[name] if ACCOUNT in row] == []


def readable(operation: Operation) -> bool:
    """Whether a host may do so, by a policy as AWS's managed one for CodeDeploy's instances."""
    action = operation.action if isinstance(operation.action, str) else ""
    return (operation.service, operation.name) in READS_OF_HOSTS or action.startswith("s3:Get")


def test_a_host_is_refused_by_every_operation_but_its_own(server, calls, requests, people):
    acknowledge = server.app.registry.get(HOST_COMMANDS, "PutHostCommandAcknowledgement")
    calls.send(acknowledge, requests[acknowledge], people["host"])  # its first request binds it to its user

    def expected(operation: Operation, answer: Answer) -> bool:
        name = (operation.service, operation.name)
        if operation.service == HOST_COMMANDS:
            return 400 <= answer.status < 500  # commands of others, and those that were never handed out
        if readable(operation):
            return answer.status in {200, 404} and answer.code not in DENIED
        if name in ANYBODY:
            return answer.status == 200 and not answer.code
        return answer.code in DENIED or answer.code == SHOWN.get(name)

    refused_everywhere(
        server, expected, lambda operation: calls.send(operation, requests[operation], people["host"]), shown=readable
    )


def test_a_host_may_poll_for_its_own_commands(server, calls, matrix, people):
    poll = server.app.registry.get(HOST_COMMANDS, "PollHostCommand")
    request = calls.request(poll, matrix[poll] | {"HostIdentifier": HOST})
    assert calls.send(poll, request, people["host"]).status == 200
    assert calls.send(poll, request, people["nobody"]).code in DENIED
    assert calls.send(poll, request, server.keys()).code in DENIED


# What its owner keeps, whatever the policies of keys, buckets and roles say; on AWS as well. Everything else is shared by them.
KEPT = {
    "kms": {
        "CancelKeyDeletion", "CreateAlias", "DeleteAlias", "DisableKey", "DisableKeyRotation", "EnableKey", "EnableKeyRotation",
        "GetKeyPolicy", "ListKeyPolicies", "ListKeyRotations", "ListResourceTags", "PutKeyPolicy", "RotateKeyOnDemand",
        "ScheduleKeyDeletion", "TagResource", "UntagResource", "UpdateAlias", "UpdateKeyDescription",
    },
    "s3": {"CreateBucket", "DeleteBucketPolicy", "GetBucketPolicy", "PutBucketPolicy"},
    "secretsmanager": set(),
    "sts": set(),
}  # fmt: skip
# About the caller's own account, or who is told by the input.
OWN = {
    ("kms", "CreateKey"), ("kms", "GenerateRandom"), ("kms", "ListAliases"), ("kms", "ListKeys"), ("kms", "ListRetirableGrants"),
    ("s3", "ListBuckets"), ("sts", "AssumeRoleWithWebIdentity"),
}  # fmt: skip
REFUSED = DENIED | {"NotFoundException", "MethodNotAllowed", "BucketAlreadyExists"}


def _harmless_first(operation: Operation) -> tuple[bool, bool, bool, int]:
    """What is deleted is asked for nothing else any more; last of all policies, without which nothing is allowed."""
    ends = operation.name.startswith(("Abort", "Delete"))
    return not operation.reads, ends, ends and operation.name.endswith("Policy"), -len(operation.name)


def test_another_account_does_what_policies_of_resources_let_it_do_and_never_what_the_owner_keeps(
    tmp_path_factory, models
):
    with live_server(tmp_path_factory.mktemp("shared") / "data") as fresh:
        named = furnish_shareable(fresh)
        share(fresh, named, FOREIGN["http"])
        keys = administrator_of(fresh, FOREIGN["http"])
        calls, wrong = Calls(fresh.url, models), {}
        made = {
            operation: input for operation, input in inputs(fresh, NOTHING | named).items() if operation.service in KEPT
        }
        for operation in sorted(made, key=_harmless_first):
            if (operation.service, operation.name) in OWN:
                continue
            answer = calls.send(operation, calls.request(operation, made[operation]), keys)
            if (answer.code in REFUSED) is not (operation.name in KEPT[operation.service]):
                wrong[f"{operation.service}:{operation.name}"] = answer
        check(wrong)


def changed(server: Live, matrix: Matrix, name: str, members: dict[str, Any]) -> tuple[Operation, dict[str, Any]]:
    """An operation and its input with other members (None: without)."""
    operation = server.app.registry.get(*name.split(":"))
    given = matrix[operation] | members
    return operation, {member: value for member, value in given.items() if value is not None}


def test_an_input_that_is_refused_says_why(server, matrix):
    """In the words of the table, and nothing has changed; the same at its limits is taken."""
    root, before, wrong = session_of(server, server.keys()), content(server), {}
    for name, members, code, message in (*REFUSED_INPUTS, *REFUSED_NAMES):
        answer = in_process(server, root, *changed(server, matrix, name, members))
        if (answer.code, answer.text) != (code, message):
            wrong[f"{name} {members}"] = answer
    check(wrong)
    after = content(server)
    assert {name: after[name] ^ rows for name, rows in before.items() if after[name] != rows} == {}
    for name, members in TAKEN:
        answer = in_process(server, root, *changed(server, matrix, name, members))
        if answer.status != 200:
            wrong[f"{name} {members}"] = answer
    check(wrong)


def test_whoever_is_permitted_gets_through_with_the_same(tmp_path_factory, models):
    """The control: what the matrix sends is good, so that what is refused above is refused for who asks."""
    folder = tmp_path_factory.mktemp("control")
    with live_server(folder / "data", components=(DeploymentSettings(long_poll_seconds=1),)) as fresh:
        calls = Calls(fresh.url, models)
        wrong = {}
        for operation, input in inputs(fresh, NOTHING).items():
            answer = calls.send(operation, calls.request(operation, input), fresh.keys())
            if answer.status >= 500 or answer.code in {"InternalFailure", "InternalError"}:
                wrong[f"{operation.service}:{operation.name} about nothing"] = answer
        check(wrong)
        made = inputs(fresh, furnish(fresh, tmp_path_factory.mktemp("clone")))
        for operation in sorted(made, key=lambda operation: not operation.reads):
            answer = calls.send(operation, calls.request(operation, made[operation]), fresh.keys())
            name = (operation.service, operation.name)
            if operation.service == HOST_COMMANDS or name in OF_NOBODY:
                good = answer.code == OF_NOBODY.get(name, "AccessDeniedException")
            else:
                good = answer.status < 500 and answer.code not in DENIED and not (operation.reads and answer.code)
            if not good:
                wrong[f"{operation.service}:{operation.name}"] = answer
        check(wrong)
