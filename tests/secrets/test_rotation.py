"""Rotation in process, on both databases: steps, tries, windows and what is refused. A stand-in plays the operator's command."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import penstock_identity_harness
import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, trusting
from penstock_keys import refused

import penstock.keys
import penstock.logs
import penstock.secrets
from penstock.secrets import command, rotations, work
from penstock.secrets.command import Ended
from penstock.secrets.operations import rotating
from penstock.secrets.settings import SecretSettings
from penstock.store.jobs import Job
from penstock.store.records import events, jobs
from penstock.store.work import Retry

REGION = "us-east-1"
DAY, HOUR = 86_400_000, 3_600_000
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:renew"
IN_PROGRESS = "Previous rotation request is still in progress."
NO_FUNCTION = "No Lambda rotation function ARN is associated with this secret."
NOT_INVOKED = (
    "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal "
    "secretsmanager.amazonaws.com."
)
POLICY = allow("secretsmanager:*", "logs:*", "kms:*")


@dataclass
class Stage:
    """What plays the function, as AWS's own template does it, and what it was asked to do."""

    harness: Any
    clock: Any
    asked: list[tuple[str, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    failing: dict[str, Ended] = field(default_factory=dict)
    made: int = 0

    async def __call__(self, words, event, variables):
        assert list(words) == ["/bin/true", "two words"]
        step, token = event["Step"], event["ClientRequestToken"]
        self.asked.append((step, token))
        self.variables = dict(variables)
        me = await self.harness.session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SESSION_TOKEN"])
        told = await self.call(me, "DescribeSecret", SecretId=event["SecretId"])
        assert told["RotationEnabled"] is True
        staged = told["VersionIdsToStages"].get(token, [])
        assert {"AWSPENDING", "AWSCURRENT"} & set(staged), "AWS's template refuses this"
        if step in self.failing:
            return self.failing[step]
        pending = {"SecretId": event["SecretId"], "VersionId": token, "VersionStage": "AWSPENDING"}
        if step == "createSecret":
            try:
                await self.call(me, "GetSecretValue", **pending)
            except penstock.secrets.errors.ResourceNotFoundException:
                self.made += 1
                await self.call(
                    me, "PutSecretValue", SecretId=event["SecretId"], ClientRequestToken=token,
                    SecretString=json.dumps({"password": f"made-{self.made}"}), VersionStages=["AWSPENDING"],
                )  # fmt: skip
        if step == "testSecret":
            assert (await self.call(me, "GetSecretValue", **pending))["SecretString"]
        if step == "finishSecret" and "AWSCURRENT" not in staged:
            current = next(one for one, stages in told["VersionIdsToStages"].items() if "AWSCURRENT" in stages)
            await self.call(
                me, "UpdateSecretVersionStage", SecretId=event["SecretId"], VersionStage="AWSCURRENT",
                MoveToVersionId=token, RemoveFromVersionId=current,
            )  # fmt: skip
        return Ended("", "")

    async def call(self, by, operation, **input):
        return await self.harness.app.invoke(by, "secretsmanager", operation, input, region=REGION)

    async def described(self, owner, secret="db"):
        return await self.call(owner, "DescribeSecret", SecretId=secret)

    async def value(self, owner, secret="db", **input):
        return (await self.call(owner, "GetSecretValue", SecretId=secret, **input))["SecretString"]

    async def rotate(self, owner, secret="db", **input):
        given = {"ClientRequestToken": str(uuid.uuid4()), "RotationLambdaARN": FUNCTION, **input}
        return (await self.call(owner, "RotateSecret", SecretId=secret, **given))["VersionId"]

    async def jobs(self, kind):
        """Live jobs of a kind, the earliest first."""
        found = await self.harness.app.store.read(
            lambda conn: conn.execute(
                sa.select(jobs).where(jobs.c.kind == kind, jobs.c.state == "ready").order_by(jobs.c.due)
            ).all()
        )
        return [Job(**one._mapping) for one in found]

    async def run(self, kind, handler):
        """Do what is due, as a worker does; after how many ms it is to be tried again."""
        for job in await self.jobs(kind):
            if job.due <= self.clock.now():
                try:
                    await handler(self.harness.app, job)
                except Retry as retry:
                    return retry.after_ms
                await self.harness.app.store.write(
                    lambda conn, job=job: conn.execute(jobs.update().where(jobs.c.id == job.id).values(state="done"))
                )
        return None

    async def steps(self):
        return await self.run(rotations.RUN, work.rotate)

    async def windows(self):
        await self.run(rotations.DUE, work.open_window)

    async def next_window(self):
        """Let the time pass until the last window that was planned opens."""
        self.clock.advance((await self.jobs(rotations.DUE))[-1].due - self.clock.now())
        await self.windows()

    async def emitted(self):
        """Names of events of rotations in their order."""
        found = await self.harness.app.store.read(
            lambda conn: list(conn.execute(sa.select(events.c.content).order_by(events.c.position)).scalars())
        )
        return [one for one in json.dumps(found).split('"') if one.startswith(("Rotation", "TestRotation"))]


on_one_database = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)
"""For what the SQL of the other tests says already."""


@pytest.fixture
async def stage(any_store, clock, tmp_path, monkeypatch):
    components = (penstock.keys.component, penstock.secrets.component, penstock.logs.component)
    chosen = SecretSettings(rotation_commands=("renew=/bin/true 'two words'", f"{OTHER}:renew=/bin/true 'two words'"))
    async with penstock_identity_harness.harness_on(
        any_store, clock, tmp_path, *components, chosen=(chosen,)
    ) as harness:
        made = Stage(harness, clock)
        monkeypatch.setattr(command, "run", made)
        await harness.role("renew", trusting(Service="lambda.amazonaws.com"), POLICY)
        yield made


@pytest.fixture
async def owner(stage):
    administrator = await stage.harness.administrator()
    await stage.call(
        administrator, "CreateSecret", Name="db", SecretString='{"password": "first"}', ClientRequestToken="1" * 36
    )
    return administrator


async def test_a_rotation_runs_the_four_steps_and_plans_the_next_one(stage, owner, clock):
    assert not {one for one in await stage.described(owner) if "Rotat" in one}
    token = await stage.rotate(owner, RotationRules={"AutomaticallyAfterDays": 30, "Duration": "3h"})
    told = await stage.described(owner)
    assert told["VersionIdsToStages"] == {"1" * 36: ["AWSCURRENT"], token: ["AWSPENDING"]}
    for which in (
        {"VersionId": token},
        {"VersionStage": "AWSPENDING"},
        {"VersionId": token, "VersionStage": "AWSPENDING"},
    ):
        code, _ = await refused(stage.value(owner, **which))
        assert code == "ResourceNotFoundException"
    assert await stage.steps() is None
    assert stage.asked == [(step, token) for step in ("createSecret", "setSecret", "testSecret", "finishSecret")]
    told = await stage.described(owner)
    opens = (clock.now() + 30 * DAY) // DAY * DAY
    assert {one: told[one] for one in told if "Rotat" in one} == {
        "RotationEnabled": True, "RotationLambdaARN": FUNCTION, "LastRotatedDate": clock.now(),
        "RotationRules": {"AutomaticallyAfterDays": 30, "Duration": "3h"}, "NextRotationDate": opens + 3 * HOUR - 1000,
    }  # fmt: skip
    assert told["VersionIdsToStages"] == {"1" * 36: ["AWSPREVIOUS"], token: ["AWSCURRENT"]}
    (listed,) = (await stage.call(owner, "ListSecrets"))["SecretList"]
    assert {one: listed[one] for one in listed if "Rotat" in one} == {one: told[one] for one in told if "Rotat" in one}
    assert await stage.value(owner) == '{"password": "made-1"}'
    # Its window opens, and it is rotated by itself.
    await stage.next_window()
    await stage.steps()
    assert await stage.value(owner) == '{"password": "made-2"}'
    assert (await stage.described(owner))["LastRotatedDate"] == opens
    assert await stage.emitted() == ["RotationStarted", "RotationSucceeded"] * 2


@on_one_database
async def test_a_request_that_is_sent_twice_begins_one_rotation(stage, owner):
    token = await stage.rotate(owner)
    for days in (3, 5):
        rules = {"AutomaticallyAfterDays": days}
        assert await stage.rotate(owner, ClientRequestToken=token, RotationRules=rules) == token
        assert (await stage.described(owner))["RotationRules"] == rules
    assert len(await stage.jobs(rotations.RUN)) == 1
    assert await refused(stage.rotate(owner)) == ("InvalidRequestException", IN_PROGRESS)
    await stage.steps()
    assert await stage.rotate(owner, ClientRequestToken=token) == token
    assert await stage.jobs(rotations.RUN) == []
    code, message = await refused(stage.rotate(owner, ClientRequestToken="1" * 36))
    assert (code, "id of another version" in message) == ("InvalidRequestException", True)
    second = await stage.rotate(owner)
    await stage.steps()
    assert stage.made == 2
    assert (await stage.described(owner))["VersionIdsToStages"] == {token: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}


@on_one_database
async def test_what_is_not_rotated(stage, owner, clock):
    harness = stage.harness
    bare = {"SecretId": "db", "ClientRequestToken": str(uuid.uuid4())}
    assert await refused(stage.call(owner, "RotateSecret", **bare)) == ("InvalidRequestException", NO_FUNCTION)
    assert await refused(stage.call(owner, "CancelRotateSecret", SecretId="db")) == (
        "InvalidRequestException",
        NO_FUNCTION,
    )
    code, message = await refused(stage.call(owner, "RotateSecret", SecretId="db"))
    assert (code, message.startswith("You must provide a ClientRequestToken")) == ("InvalidRequestException", True)
    for function in (
        FUNCTION + "x", FUNCTION + ":1", FUNCTION.replace(ACCOUNT, OTHER), FUNCTION.replace(REGION, "eu-west-1"), FUNCTION.replace("arn:aws:", "arn:aws-cn:"), "renew",
    ):  # fmt: skip
        assert await refused(stage.rotate(owner, RotationLambdaARN=function)) == ("AccessDeniedException", NOT_INVOKED)
    code, _ = await refused(stage.rotate(owner, RotationRules={"Duration": "3h"}))
    assert code == "InvalidParameterException"
    # The role must let functions assume it.
    await harness.iam(
        "UpdateAssumeRolePolicy", RoleName="renew", PolicyDocument=trusting(Service="codebuild.amazonaws.com")
    )
    assert await refused(stage.rotate(owner)) == ("AccessDeniedException", NOT_INVOKED)
    await harness.iam(
        "UpdateAssumeRolePolicy", RoleName="renew", PolicyDocument=trusting(Service="lambda.amazonaws.com")
    )
    assert "RotationEnabled" not in await stage.described(owner)
    # Whoever rotates needs the function too, and may be held to some function.
    rotator = await harness.user("rotator", allow("secretsmanager:RotateSecret"))
    code, message = await refused(stage.rotate(rotator))
    assert (code, "lambda:InvokeFunction on resource: " + FUNCTION in message) == ("AccessDenied", True)
    held = {
        "StringEquals": {"secretsmanager:RotationLambdaARN": FUNCTION},
        "Bool": {"secretsmanager:ModifyRotationRules": "false"},
    }
    both = document(
        {"Effect": "Allow", "Action": "secretsmanager:RotateSecret", "Resource": "*", "Condition": held},
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": FUNCTION},
    )
    bound = await harness.user("bound", both)
    code, _ = await refused(stage.rotate(bound, RotationRules={"AutomaticallyAfterDays": 1}))
    assert code == "AccessDenied"
    code, _ = await refused(stage.rotate(bound, RotationLambdaARN=FUNCTION + "x"))
    assert code == "AccessDenied"
    await stage.rotate(bound)
    await stage.steps()
    # Somebody else's unfinished version is not touched.
    await stage.call(
        owner,
        "PutSecretValue",
        SecretId="db",
        SecretString="x",
        ClientRequestToken="2" * 36,
        VersionStages=["AWSPENDING"],
    )
    assert await refused(stage.rotate(owner)) == ("InvalidRequestException", IN_PROGRESS)
    await stage.rotate(owner, ClientRequestToken="2" * 36)
    await stage.steps()
    assert await stage.value(owner) == "x"
    await stage.call(owner, "DeleteSecret", SecretId="db")
    code, message = await refused(stage.rotate(owner))
    assert (code, "marked for deletion" in message) == ("InvalidRequestException", True)


@on_one_database
async def test_other_accounts_have_their_own_functions_and_roles(stage, owner):
    other = await stage.harness.administrator(OTHER)
    await stage.call(other, "CreateSecret", Name="db", SecretString="theirs", ClientRequestToken="1" * 36)
    theirs = FUNCTION.replace(ACCOUNT, OTHER)
    assert await refused(stage.rotate(other, RotationLambdaARN=theirs)) == ("AccessDeniedException", NOT_INVOKED)
    await stage.harness.role("renew", trusting(Service="lambda.amazonaws.com"), POLICY, account=OTHER)
    await stage.rotate(other, RotationLambdaARN=theirs)
    await stage.steps()
    assert await stage.value(other) == '{"password": "made-1"}'
    assert await stage.value(owner) == '{"password": "first"}'
    # A foreign account that the secret's policy lets in may not invoke the function.
    let_in = (
        trusting(AWS=f"arn:aws:iam::{OTHER}:root")
        .replace("sts:AssumeRole", "secretsmanager:*")
        .replace("}]", ', "Resource": "*"}]')
    )
    arn = (await stage.described(owner))["ARN"]
    await stage.call(owner, "PutResourcePolicy", SecretId="db", ResourcePolicy=let_in)
    assert await refused(stage.rotate(other, arn)) == ("AccessDeniedException", NOT_INVOKED)
    # A command that says no account is the first account's alone.
    only = SecretSettings(rotation_commands=("renew=/opt/renew",))
    assert only.rotation_command(OTHER, "renew", first=ACCOUNT) is None
    assert only.rotation_command(ACCOUNT, "renew", first=ACCOUNT) == ["/opt/renew"]


@on_one_database
async def test_a_rotation_whose_workers_died_each_time_is_given_up_with_the_reason(stage, owner, clock):
    await stage.rotate(owner, RotationRules={"AutomaticallyAfterDays": 1})
    [job] = await stage.jobs(rotations.RUN)
    for again in (False, True):  # the second time there is nothing to give up any more
        clock.advance(1_000)
        await work.give_up(stage.harness.app, job, "its worker died each time")
        row = await stage.harness.app.store.read(
            lambda conn: penstock.secrets.records.secret(conn, (ACCOUNT, REGION), "db")
        )
        assert row.rotation_failed == clock.now() - 1_000 * again
        assert penstock.secrets.records.rotation(row).reason == "was given up: its worker died each time"
    assert (await stage.emitted()).count("RotationFailed") == 1


@on_one_database
async def test_a_failure_is_tried_again_from_the_beginning_and_given_up(stage, owner, clock, caplog):
    token = await stage.rotate(owner, RotationRules={"AutomaticallyAfterDays": 1})
    stage.failing["setSecret"] = Ended("ended with exit code 3", "")
    pauses = []
    while (pause := await stage.steps()) is not None:
        pauses.append(pause)
        clock.advance(pause)
        stage.failing["setSecret"] = Ended("ended with exit code 3", 'the old is first, the new is "made-1"\n')
    assert pauses == [60_000, 120_000, 240_000, 480_000]
    assert [step for step, _ in stage.asked] == ["createSecret", "setSecret"] * 5
    assert stage.made == 1
    row = await stage.harness.app.store.read(
        lambda conn: penstock.secrets.records.secret(conn, (ACCOUNT, REGION), "db")
    )
    assert row.rotation_failed == clock.now()
    reason = penstock.secrets.records.rotation(row).reason
    warned = [record for record in caplog.records if record.message == "secrets.step_failed"]
    assert [f"{record.step} {record.error}" for record in warned] == [reason.partition(":")[0]] + [reason] * 4
    assert reason.startswith("setSecret ended with exit code 3: the old is HIDDEN_")
    assert "first" not in reason
    assert "made-1" not in reason
    (group,) = (await logs(stage, owner, "DescribeLogGroups"))["logGroups"]
    assert group["logGroupName"] == "/aws/lambda/renew"
    (stream,) = (await logs(stage, owner, "DescribeLogStreams", logGroupName="/aws/lambda/renew"))["logStreams"]
    where = {"logGroupName": "/aws/lambda/renew", "logStreamName": stream["logStreamName"]}
    read = await logs(stage, owner, "GetLogEvents", **where)
    written = json.dumps(read["events"])
    assert len(read["events"]) == 5
    assert "the new is" in written
    assert written.count("ended with exit code 3") == 5
    assert "made-1" not in written
    assert "first," not in written
    assert await stage.emitted() == ["RotationStarted", "RotationFailed"]
    # The version stays, and the next window continues with it.
    assert await refused(stage.rotate(owner)) == ("InvalidRequestException", IN_PROGRESS)
    del stage.failing["setSecret"]
    await stage.next_window()
    await stage.steps()
    assert stage.asked[-1] == ("finishSecret", token)
    assert stage.made == 1
    assert await stage.value(owner) == '{"password": "made-1"}'


async def test_bytes_are_hidden_as_clients_print_them(stage, owner):
    value = b"\xff\x00k\xc3\xa9y'"
    await stage.call(owner, "PutSecretValue", SecretId="db", ClientRequestToken=str(uuid.uuid4()), SecretBinary=value)
    await stage.rotate(owner)
    stage.failing["createSecret"] = Ended("failed", f"{base64.b64encode(value).decode()} {value!r}")
    assert await stage.steps()
    reason = penstock.secrets.records.rotation(
        await stage.harness.app.store.read(penstock.secrets.records.secret, (ACCOUNT, REGION), "db")
    ).reason
    assert reason.replace("HIDDEN_DUE_TO_SECURITY_REASONS", "***") == 'createSecret failed: *** b"***"'


async def logs(stage, by, operation, **input):
    return await stage.harness.app.invoke(by, "logs", operation, input, region=REGION)


async def test_a_rotation_that_was_killed_anywhere_makes_one_version(stage, owner, monkeypatch):
    """As often as it is killed: before, between and after the steps."""

    class Killed(BaseException):
        pass

    places: list[str] = []

    def killed(name):
        places.append(name)
        if places.count(name) <= 2:
            raise Killed

    for module in (work, rotating):
        monkeypatch.setattr(module, "failpoint", killed)
    token = str(uuid.uuid4())
    for _ in range(20):
        try:
            await stage.rotate(owner, ClientRequestToken=token)
            await stage.steps()
            break
        except Killed:
            continue
    assert set(places) == {"secrets.rotation_committed", "secrets.step_ran", "secrets.step_noted"}
    assert len(places) > 6
    assert stage.made == 1
    assert list(dict.fromkeys(stage.asked)) == [
        (step, token) for step in ("createSecret", "setSecret", "testSecret", "finishSecret")
    ]
    assert (await stage.described(owner))["VersionIdsToStages"] == {"1" * 36: ["AWSPREVIOUS"], token: ["AWSCURRENT"]}
    assert await stage.emitted() == ["RotationStarted", "RotationSucceeded"]


@on_one_database
async def test_a_cancelled_rotation_goes_no_further(stage, owner, clock):
    token = await stage.rotate(owner, RotationRules={"ScheduleExpression": "cron(0 16 1,15 * ? *)", "Duration": "2h"})
    asked = stage.__class__.__call__

    async def cancelled(self, words, event, variables):
        ended = await asked(self, words, event, variables)
        answer = await self.call(owner, "CancelRotateSecret", SecretId="db")
        assert answer["VersionId"] == token
        return ended

    stage.__class__.__call__ = cancelled
    try:
        await stage.steps()
    finally:
        stage.__class__.__call__ = asked
    assert [step for step, _ in stage.asked] == ["createSecret"]
    told = await stage.described(owner)
    assert (told["RotationEnabled"], told["RotationLambdaARN"]) == (False, FUNCTION)
    assert told["RotationRules"]["ScheduleExpression"] == "cron(0 16 1,15 * ? *)"
    assert not {"NextRotationDate", "LastRotatedDate"} & set(told)
    assert told["VersionIdsToStages"][token] == ["AWSPENDING"]
    clock.advance(40 * DAY)
    await stage.windows()
    await stage.steps()
    assert len(stage.asked) == 1
    assert "VersionId" not in await stage.call(owner, "CancelRotateSecret", SecretId="db")
    # The same function and rules as before, without naming them; the version that was left is completed.
    await stage.call(owner, "RotateSecret", SecretId="db", ClientRequestToken=token)
    await stage.steps()
    assert await stage.value(owner) == '{"password": "made-1"}'
    assert (await stage.described(owner))["RotationRules"]["AutomaticallyAfterDays"] in range(1, 17)


@on_one_database
async def test_trying_a_function_changes_nothing(stage, owner, clock):
    token = await stage.rotate(owner, RotateImmediately=False, RotationRules={"AutomaticallyAfterDays": 7})
    await stage.steps()
    assert stage.asked == [("testSecret", token)]
    told = await stage.described(owner)
    assert told["VersionIdsToStages"] == {"1" * 36: ["AWSCURRENT"]}
    assert (told["RotationEnabled"], "LastRotatedDate" in told) == (True, False)
    assert told["NextRotationDate"] == (clock.now() + 8 * DAY) // DAY * DAY - 1000
    # What somebody else has left unfinished is not tried and removed.
    left = {"SecretId": "db", "SecretString": "left", "ClientRequestToken": "2" * 36}
    await stage.call(owner, "PutSecretValue", **left, VersionStages=["AWSPENDING"])
    code, _ = await refused(stage.rotate(owner, ClientRequestToken="2" * 36, RotateImmediately=False))
    assert code == "InvalidRequestException"
    assert await stage.value(owner, VersionId="2" * 36) == "left"
    await stage.call(
        owner, "UpdateSecretVersionStage", SecretId="db", VersionStage="AWSPENDING", RemoveFromVersionId="2" * 36
    )
    stage.failing["testSecret"] = Ended("ended with exit code 1", "")
    await stage.rotate(owner, RotateImmediately=False)
    while (pause := await stage.steps()) is not None:
        clock.advance(pause)
    assert (await stage.described(owner))["VersionIdsToStages"] == {"1" * 36: ["AWSCURRENT"]}
    assert await stage.emitted() == [
        "TestRotationStarted", "TestRotationSucceeded", "TestRotationStarted", "TestRotationFailed",
    ]  # fmt: skip
    stage.failing.clear()
    await stage.next_window()
    await stage.steps()
    assert await stage.value(owner) == '{"password": "made-1"}'


@pytest.mark.parametrize("any_url", ["postgresql"], indirect=True)  # SQLite does not mind how long a text is
async def test_a_name_as_long_as_names_may_be(stage, owner, clock):
    name = "n" * 512
    await stage.call(owner, "CreateSecret", Name=name, SecretString="v", ClientRequestToken="1" * 36)
    await stage.rotate(owner, name, RotationRules={"AutomaticallyAfterDays": 1})
    await stage.steps()
    assert await stage.value(owner, name) == '{"password": "made-1"}'
    assert await stage.emitted() == ["RotationStarted", "RotationSucceeded"]
    await stage.call(owner, "DeleteSecret", SecretId=name)


async def test_windows_are_kept(stage, owner, clock):
    await stage.rotate(owner, RotationRules={"AutomaticallyAfterDays": 7, "Duration": "2h"})
    await stage.steps()
    opens = (await stage.jobs(rotations.DUE))[0].due
    # No worker was there while it was open: it is made up for on the next day.
    clock.advance(opens + 2 * HOUR - clock.now())
    await stage.windows()
    assert await stage.jobs(rotations.RUN) == []
    assert (await stage.described(owner))["NextRotationDate"] == opens + DAY + 2 * HOUR - 1000
    # Another value by hand counts as a rotation.
    await stage.call(owner, "PutSecretValue", SecretId="db", SecretString="hand", ClientRequestToken="3" * 36)
    later = (await stage.described(owner))["NextRotationDate"]
    assert later == (clock.now() + 7 * DAY) // DAY * DAY + 2 * HOUR - 1000
    clock.advance(DAY)
    await stage.windows()
    assert await stage.jobs(rotations.RUN) == []
    # Nor is one rotated that is on its way out; restored, it has a window again.
    await stage.call(owner, "DeleteSecret", SecretId="db")
    clock.advance(8 * DAY)
    await stage.windows()
    assert await stage.jobs(rotations.RUN) == []
    await stage.call(owner, "RestoreSecret", SecretId="db")
    await stage.next_window()
    await stage.steps()
    assert await stage.value(owner) == '{"password": "made-2"}'


@on_one_database
async def test_a_version_without_a_value_is_no_value(stage, owner):
    token = await stage.rotate(owner)
    code, message = await refused(
        stage.call(
            owner, "UpdateSecretVersionStage", SecretId="db", VersionStage="AWSCURRENT", MoveToVersionId=token,
            RemoveFromVersionId="1" * 36,
        )
    )  # fmt: skip
    assert (code, "has no value yet" in message) == ("InvalidRequestException", True)
    key = (await stage.harness.app.invoke(owner, "kms", "CreateKey", {}, region=REGION))["KeyMetadata"]["Arn"]
    await stage.call(owner, "UpdateSecret", SecretId="db", KmsKeyId=key)
    await stage.steps()
    assert await stage.value(owner) == '{"password": "made-1"}'
    (version, *_) = (await stage.call(owner, "ListSecretVersionIds", SecretId="db"))["Versions"]
    assert (version["VersionId"], version["KmsKeyIds"]) == (token, [key])


@on_one_database
async def test_the_role_decides_what_a_command_may_do(stage, owner):
    held = {"StringEquals": {"secretsmanager:resource/AllowRotationLambdaArn": FUNCTION}}
    await stage.harness.iam(
        "PutRolePolicy", RoleName="renew", PolicyName="p0",
        PolicyDocument=document({"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*", "Condition": held}),
    )  # fmt: skip
    await stage.rotate(owner)
    await stage.steps()
    assert await stage.value(owner) == '{"password": "made-1"}'
    variables = stage.variables
    me = await stage.harness.session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SESSION_TOKEN"])
    assert me.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/renew/renew"
    assert me.expires - me.issued <= 900_000
    await stage.call(owner, "CreateSecret", Name="else", SecretString="s", ClientRequestToken="4" * 36)
    code, _ = await refused(stage.value(me, "else"))
    assert code == "AccessDenied"
    # What a role that may not read the values prints is not kept.
    deny = document({"Effect": "Deny", "Action": "secretsmanager:GetSecretValue", "Resource": "*"})
    await stage.harness.iam("PutRolePolicy", RoleName="renew", PolicyName="p1", PolicyDocument=deny)
    stage.failing["createSecret"] = Ended("ended with exit code 1", "made-1\n")
    await stage.rotate(owner)
    await stage.steps()
    row = await stage.harness.app.store.read(
        lambda conn: penstock.secrets.records.secret(conn, (ACCOUNT, REGION), "db")
    )
    assert "made-1" not in penstock.secrets.records.rotation(row).reason
