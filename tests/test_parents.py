"""What is made below something while that is deleted: real transactions at the same time, so PostgreSQL. SQLite has one writer."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from penstock.app import compose, every_component
from penstock.application import App, Settings
from penstock.blobs.backend import DiskBackend
from penstock.deployments.server.configs import PREDEFINED
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.wire.errors import ServiceError

ACCOUNT, REGION = "111111111111", "us-east-1"
COMPONENTS = every_component()  # a database that a test is given has the tables of what is imported
HELD = contextvars.ContextVar[bool]("HELD", default=False)
LOCK = "pg_advisory{}(20261130)"

# Rows of the first table that have no row of the second: the columns that name it.
BELOW = [
    ("deployments_groups", "deployments_applications", {"account": "account", "region": "region", "application": "name"}),
    ("deployments_revisions", "deployments_applications", {"account": "account", "region": "region", "application": "name"}),
    ("log_streams", "log_groups", {"account": "account", "region": "region", "group": "name"}),
    ("s3_versions", "s3_buckets", {"bucket": "name"}),
    ("s3_uploads", "s3_buckets", {"bucket": "name"}),
    ("iam_access_keys", "iam_users", {"user_id": "id"}),
    ("iam_login_profiles", "iam_users", {"user_id": "id"}),
    ("iam_service_credentials", "iam_users", {"user_id": "id"}),
    ("iam_policy_versions", "iam_policies", {"policy": "id"}),
    ("repository_references", "repositories", {"repository": "id"}),
    ("repository_intents", "repositories", {"repository": "id"}),
    ("pipeline_versions", "pipelines", {"pipeline_id": "id"}),
    ("pipeline_executions", "pipelines", {"pipeline_id": "id"}),
    ("pipeline_sources", "pipelines", {"pipeline_id": "id"}),
    ("pipeline_start_tokens", "pipelines", {"pipeline_id": "id"}),
]  # fmt: skip
OWNED = ("iam_inline_policies", "iam_attachments")  # by a user or a role


def orphans(conn: sa.Connection) -> list[str]:
    """Tables with rows whose parent is missing."""
    found = []
    for child, parent, columns in BELOW:
        same = " AND ".join(f'c."{mine}" = p."{its}"' for mine, its in columns.items())
        count = f"SELECT count(*) FROM {child} c WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE {same})"  # noqa: S608
        if conn.exec_driver_sql(count).scalar():
            found.append(child)
    for child in OWNED:
        gone = " AND ".join(f"owner NOT IN (SELECT id FROM {owner})" for owner in ("iam_users", "iam_roles"))
        if conn.exec_driver_sql(f"SELECT count(*) FROM {child} WHERE {gone}").scalar():  # noqa: S608
            found.append(child)
    customers = "SELECT count(*) FROM iam_attachments WHERE arn LIKE '%%:111111111111:%%' AND arn NOT IN (SELECT arn FROM iam_policies)"
    if conn.exec_driver_sql(customers).scalar():
        found.append("iam_attachments to a policy")
    configs = {*PREDEFINED, *conn.exec_driver_sql("SELECT name FROM deployments_configs").scalars()}
    bodies = conn.exec_driver_sql("SELECT body FROM deployments_groups").scalars()
    if any(
        (json.loads(body) if isinstance(body, str) else body)["deploymentConfigName"] not in configs for body in bodies
    ):
        found.append("deployments_groups without configuration")
    return found


def waits(conn: sa.Connection) -> bool:
    """Whether a transaction of this database waits for another, beside the one that is held."""
    ours = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event <> 'advisory'"
    return conn.exec_driver_sql(ours).scalar() is not None


class Hold:
    """Keeps the transactions of a call from their COMMIT until it is let go: they wait for a lock of the database."""

    def __init__(self, patch: pytest.MonkeyPatch, url: str) -> None:
        self.reached = threading.Event()
        self._holder = psycopg.connect(url, autocommit=True)
        self._holder.execute("SELECT " + LOCK.format("_lock"))  # type: ignore[arg-type]
        for name in ("write", "write_together"):
            patch.setattr(Store, name, self._held(getattr(Store, name), keyed=name == "write_together"))

    def let_go(self) -> None:
        self._holder.close()

    def _held(self, real: Any, *, keyed: bool) -> Any:
        def call(store: Store, *args: Any, **kwargs: Any) -> Any:
            if not HELD.get():
                return real(store, *args, **kwargs)
            key, (fn, *args) = args[: int(keyed)], args[int(keyed) :]

            def run(conn: sa.Connection, *more: Any, **named: Any) -> Any:
                value = fn(conn, *more, **named)
                self.reached.set()
                conn.exec_driver_sql("SELECT " + LOCK.format("_xact_lock"))
                return value

            return real(store, *key, run, *args, **kwargs)

        return call


@pytest.fixture
async def app(postgresql_url: str, clock: ManualClock, tmp_path: Path) -> AsyncIterator[App]:
    store = await Store.open(postgresql_url, clock=clock)
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    DiskBackend(settings.data_dir / "blobs").prepare()
    async with compose(settings, components=COMPONENTS, store=store, clock=clock) as app:
        yield app
    await store.close()


TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [
    f"{name}.amazonaws.com" for name in ("codedeploy", "codepipeline", "codebuild")]}}]}  # fmt: skip
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
ARN = f"arn:aws:iam::{ACCOUNT}"
LOCATION = {"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k.zip", "bundleType": "zip"}}
GROUP = {"applicationName": "app", "deploymentGroupName": "group", "serviceRoleArn": f"{ARN}:role/service"}
PIPELINE = {"name": "p", "roleArn": f"{ARN}:role/service", "artifactStore": {"type": "S3", "location": "artifacts"}, "stages": [
    {"name": "Source", "actions": [{"name": "pull", "outputArtifacts": [{"name": "App"}],
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "CodeCommit", "version": "1"},
        "configuration": {"RepositoryName": "r", "BranchName": "main"}}]},
    {"name": "Gate", "actions": [{"name": "ok",
        "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}}]}]}  # fmt: skip

Step = tuple[str, str, dict[str, Any]]
APPLICATION: Step = ("codedeploy", "CreateApplication", {"applicationName": "app"})
CONFIG: Step = (
    "codedeploy",
    "CreateDeploymentConfig",
    {"deploymentConfigName": "mine", "minimumHealthyHosts": {"type": "HOST_COUNT", "value": 0}},
)
USER: Step = ("iam", "CreateUser", {"UserName": "u"})
ROLE: Step = ("iam", "CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": json.dumps(TRUST)})
CUSTOMER_POLICY: Step = ("iam", "CreatePolicy", {"PolicyName": "p", "PolicyDocument": POLICY})
BUCKET: Step = ("s3", "CreateBucket", {"Bucket": "bucket-of-a-race"})
LOG_GROUP: Step = ("logs", "CreateLogGroup", {"logGroupName": "g"})
REPOSITORY: Step = ("codecommit", "CreateRepository", {"repositoryName": "r"})
IN_REPOSITORY = {"repositoryName": "r", "branchName": "main"}

# What is there, what is made below it, and what takes it away.
RACES: list[tuple[list[Step], Step, Step]] = [
    ([APPLICATION], ("codedeploy", "CreateDeploymentGroup", GROUP), ("codedeploy", "DeleteApplication", {"applicationName": "app"})),
    ([APPLICATION], ("codedeploy", "CreateDeploymentGroup", GROUP), ("codedeploy", "UpdateApplication", {"applicationName": "app", "newApplicationName": "other"})),
    ([APPLICATION], ("codedeploy", "RegisterApplicationRevision", {"applicationName": "app", "revision": LOCATION}), ("codedeploy", "DeleteApplication", {"applicationName": "app"})),
    ([APPLICATION], ("codedeploy", "RegisterApplicationRevision", {"applicationName": "app", "revision": LOCATION}), ("codedeploy", "UpdateApplication", {"applicationName": "app", "newApplicationName": "other"})),
    ([APPLICATION, CONFIG], ("codedeploy", "CreateDeploymentGroup", GROUP | {"deploymentConfigName": "mine"}), ("codedeploy", "DeleteDeploymentConfig", {"deploymentConfigName": "mine"})),
    ([APPLICATION, CONFIG, ("codedeploy", "CreateDeploymentGroup", GROUP)], ("codedeploy", "UpdateDeploymentGroup", {"applicationName": "app", "currentDeploymentGroupName": "group", "deploymentConfigName": "mine"}), ("codedeploy", "DeleteDeploymentConfig", {"deploymentConfigName": "mine"})),
    ([APPLICATION, ("codedeploy", "CreateDeploymentGroup", GROUP)], ("codedeploy", "CreateDeployment", {"applicationName": "app", "deploymentGroupName": "group", "revision": LOCATION}), ("codedeploy", "DeleteApplication", {"applicationName": "app"})),
    ([APPLICATION, ("codedeploy", "CreateDeploymentGroup", GROUP)], ("codedeploy", "CreateDeployment", {"applicationName": "app", "deploymentGroupName": "group", "revision": LOCATION}), ("codedeploy", "DeleteDeploymentGroup", {"applicationName": "app", "deploymentGroupName": "group"})),
    ([LOG_GROUP], ("logs", "CreateLogStream", {"logGroupName": "g", "logStreamName": "s"}), ("logs", "DeleteLogGroup", {"logGroupName": "g"})),
    ([BUCKET], ("s3", "PutObject", {"Bucket": "bucket-of-a-race", "Key": "k"}), ("s3", "DeleteBucket", {"Bucket": "bucket-of-a-race"})),
    ([BUCKET], ("s3", "CreateMultipartUpload", {"Bucket": "bucket-of-a-race", "Key": "k"}), ("s3", "DeleteBucket", {"Bucket": "bucket-of-a-race"})),
    ([USER], ("iam", "CreateAccessKey", {"UserName": "u"}), ("iam", "DeleteUser", {"UserName": "u"})),
    ([USER], ("iam", "CreateServiceSpecificCredential", {"UserName": "u", "ServiceName": "codecommit.amazonaws.com"}), ("iam", "DeleteUser", {"UserName": "u"})),
    ([USER], ("iam", "CreateLoginProfile", {"UserName": "u", "Password": "Long-enough-1"}), ("iam", "DeleteUser", {"UserName": "u"})),
    ([USER], ("iam", "PutUserPolicy", {"UserName": "u", "PolicyName": "p", "PolicyDocument": POLICY}), ("iam", "DeleteUser", {"UserName": "u"})),
    ([ROLE], ("iam", "PutRolePolicy", {"RoleName": "r", "PolicyName": "p", "PolicyDocument": POLICY}), ("iam", "DeleteRole", {"RoleName": "r"})),
    ([USER, CUSTOMER_POLICY], ("iam", "AttachUserPolicy", {"UserName": "u", "PolicyArn": f"{ARN}:policy/p"}), ("iam", "DeletePolicy", {"PolicyArn": f"{ARN}:policy/p"})),
    ([CUSTOMER_POLICY], ("iam", "CreatePolicyVersion", {"PolicyArn": f"{ARN}:policy/p", "PolicyDocument": POLICY}), ("iam", "DeletePolicy", {"PolicyArn": f"{ARN}:policy/p"})),
    ([REPOSITORY], ("codecommit", "UpdateRepositoryDescription", {"repositoryName": "r", "repositoryDescription": "d"}), ("codecommit", "DeleteRepository", {"repositoryName": "r"})),
    ([("codepipeline", "CreatePipeline", {"pipeline": PIPELINE})], ("codepipeline", "StartPipelineExecution", {"name": "p"}), ("codepipeline", "DeletePipeline", {"name": "p"})),
    ([("codepipeline", "CreatePipeline", {"pipeline": PIPELINE})], ("codepipeline", "UpdatePipeline", {"pipeline": PIPELINE}), ("codepipeline", "DeletePipeline", {"name": "p"})),
]  # fmt: skip


async def _attempt(calling: Awaitable[Any]) -> str:
    try:
        await calling
    except ServiceError as refused:
        return type(refused).__name__
    return ""


@pytest.mark.parametrize("first", ["child", "parent"])
async def test_nothing_is_left_below_what_is_gone(
    app: App, postgresql_url: str, monkeypatch: pytest.MonkeyPatch, first: str
):
    """Each pair in both orders: one transaction is held before its COMMIT until the other waits for it, or has ended."""
    session = await _administrator(app)

    def call(step: Step) -> Awaitable[Any]:
        service, operation, input = step
        return app.invoke(session, service, operation, dict(input), region=REGION)

    await call(("iam", "CreateRole", {"RoleName": "service", "AssumeRolePolicyDocument": json.dumps(TRUST)}))
    await call(("iam", "PutRolePolicy", {"RoleName": "service", "PolicyName": "all", "PolicyDocument": POLICY}))
    await call(("s3", "CreateBucket", {"Bucket": "artifacts"}))
    broken: dict[str, Any] = {}
    for there, child, parent in RACES:
        for step in there:
            await call(step)
        with monkeypatch.context() as patch:
            hold = Hold(patch, postgresql_url)
            held, other = (child, parent) if first == "child" else (parent, child)
            outcome = await _race(app, hold, call, held, other)
        name = f"{child[1]} and {parent[1]}"
        if left := await app.store.read(orphans):
            broken[name] = (outcome, left)
        await app.store.write(_forget_everything)
    assert broken == {}


async def _race(app: App, hold: Hold, call: Callable[[Step], Awaitable[Any]], held: Step, other: Step) -> list[str]:
    async def holding() -> str:
        HELD.set(True)
        return await _attempt(call(held))

    one = asyncio.create_task(holding())
    try:
        while not hold.reached.is_set() and not one.done():
            await asyncio.sleep(0.001)
        two = asyncio.create_task(_attempt(call(other)))
        while not two.done() and not await app.store.read(waits):
            await asyncio.sleep(0.001)
    finally:
        hold.let_go()
    return [await one, await two]


async def _administrator(app: App) -> Any:
    lines = (await app.identity.bootstrap(ACCOUNT)).splitlines()
    return (await app.identity.credential(lines[1].partition(" = ")[2], "")).session


def _forget_everything(conn: sa.Connection) -> None:
    """All but the administrator, the service's role and the artifacts' bucket."""
    kept = {
        "iam_generations",
        "iam_accounts",
        "alembic_version",
        "iam_users",
        "iam_access_keys",
        "iam_roles",
        "iam_inline_policies",
        "iam_attachments",
    }
    for name in sa.inspect(conn).get_table_names():
        if name not in kept | {"s3_buckets"}:
            conn.exec_driver_sql(f'DELETE FROM "{name}"')  # noqa: S608
    conn.exec_driver_sql("DELETE FROM s3_buckets WHERE name <> 'artifacts'")
    conn.exec_driver_sql("DELETE FROM iam_users WHERE name = 'u'")
    conn.exec_driver_sql("DELETE FROM iam_roles WHERE name = 'r'")
    owners = "(SELECT id FROM iam_users UNION SELECT id FROM iam_roles)"
    for name in ("iam_inline_policies", "iam_attachments"):
        conn.exec_driver_sql(f"DELETE FROM {name} WHERE owner NOT IN {owners}")  # noqa: S608
    conn.exec_driver_sql("DELETE FROM iam_access_keys WHERE user_id NOT IN (SELECT id FROM iam_users)")
