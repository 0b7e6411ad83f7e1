"""Tables of pipelines, and the statements over them.

`pipelines.state` and `pipeline_executions.state` hold the aggregate; the other columns are what the read operations show.
Times are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from functools import cache
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from penstock.pipelines.model import ActionTypeId, ArtifactLocation, Details, Plan
from penstock.pipelines.state import Execution, Pipeline
from penstock.pipelines.triggers import LONGEST_SUBJECT
from penstock.store.codec import Codec
from penstock.store.schema import Json, metadata
from penstock.store.statement import Question, Statement, ask

STATE: Codec[Pipeline] = Codec("the state of a pipeline", Pipeline)
"""Of `pipelines.state`, which holds neither executions nor plans: each has a row of its own."""

EXECUTION_STATE: Codec[Execution] = Codec("the state of an execution", Execution)
PLAN: Codec[Plan] = Codec("the plan of a pipeline", Plan)

pipelines = sa.Table(
    "pipelines",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),  # never used again, even when the name is
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("type", sa.String(8), nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),  # decisions so far
    sa.Column("state", Json, nullable=False),
    sa.Column("latest", Json, nullable=False),  # stage → action → latest action execution id
    sa.Column("tags", Json, nullable=False),
)

versions = sa.Table(
    "pipeline_versions",
    metadata,
    sa.Column("pipeline_id", sa.String(36), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("declaration", Json, nullable=False),
    sa.Column("plan", Json, nullable=False),
)

sources = sa.Table(
    "pipeline_sources",
    metadata,
    sa.Column("pipeline_id", sa.String(36), primary_key=True),
    sa.Column("action", sa.String(100), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),  # of the pipeline
    # What is watched: a subject of the action's provider.
    sa.Column("subject", sa.String(LONGEST_SUBJECT), nullable=False),
    sa.Index(None, "account", "region", "subject"),
)

executions = sa.Table(
    "pipeline_executions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("pipeline_id", sa.String(36), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("live", sa.Boolean, nullable=False),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("trigger_type", sa.String(32), nullable=False),
    sa.Column("trigger_detail", sa.String(1024), nullable=False),
    sa.Column("variables", Json, nullable=False),
    sa.Column("overrides", Json, nullable=False),
    sa.Column("succeeded", sa.Text, nullable=False),  # stages it succeeded in: /Source/Build/
    sa.Column("state", Json, nullable=False),
    sa.Index(None, "pipeline_id", "number", unique=True),
    sa.Index(None, "pipeline_id", "live"),
    sa.Index(None, "live", "updated"),
)

actions = sa.Table(
    "pipeline_action_executions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("pipeline_id", sa.String(36), nullable=False),
    sa.Column("execution_id", sa.String(36), nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),  # order of starting within the pipeline
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("pipeline", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("stage", sa.String(100), nullable=False),
    sa.Column("action", sa.String(100), nullable=False),
    sa.Column("provider", sa.String(64), nullable=False),  # category/owner/provider/version
    sa.Column("attempt", sa.Integer, nullable=False),  # of the execution, when it started
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("updated_by", sa.String(2048)),
    sa.Column("token", sa.String(36)),  # of an approval; kept after the answer
    sa.Column("external_id", sa.String(1500)),
    sa.Column("external_url", sa.Text),
    sa.Column("summary", sa.Text),
    sa.Column("percent", sa.Integer),
    sa.Column("log_stream", sa.Text),
    sa.Column("error_code", sa.String(64)),
    sa.Column("error_message", sa.Text),
    sa.Column("role", sa.String(1024)),
    sa.Column("resolved", Json),  # configuration as it ran
    sa.Column("inputs", Json),  # artifacts: name, bucket, key, …
    sa.Column("outputs", Json),
    sa.Column("variables", Json),
    sa.Column("revision", Json),
    sa.Column("condition", sa.String(16)),  # of a rule: the type of the condition that it is one of
    sa.Index(None, "pipeline_id", "ordinal", unique=True),
    sa.Index(None, "execution_id", "ordinal"),
    sa.Index(None, "account", "region", "external_id"),
    sa.Index(None, "pipeline_id", "token"),
)

start_tokens = sa.Table(
    "pipeline_start_tokens",
    metadata,
    sa.Column("pipeline_id", sa.String(36), primary_key=True),
    sa.Column("token", sa.String(200), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("execution_id", sa.String(36), nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

_PIPELINE = sa.select(pipelines).where(
    pipelines.c.account == sa.bindparam("a"),
    pipelines.c.region == sa.bindparam("r"),
    pipelines.c.name == sa.bindparam("n"),
)
_READ = Statement(_PIPELINE)
API_PIPELINE = Statement(
    _PIPELINE.with_only_columns(pipelines.c.id, pipelines.c.version, pipelines.c.created, pipelines.c.updated)
)
_LOCKED = Statement(_PIPELINE.with_for_update())


def finding_pipeline(account: str, region: str, name: str, *, lock: bool = False) -> Question:
    """The question for the row of a pipeline. `lock` holds it until the transaction ends."""
    return (_LOCKED if lock else _READ), {"a": account, "r": region, "n": name}


def pipeline(conn: sa.Connection, account: str, region: str, name: str, *, lock: bool = False) -> Any:
    """The row of a pipeline, or None. See `finding_pipeline`."""
    found = ask(conn, finding_pipeline(account, region, name, lock=lock))[0]
    return found[0] if found else None


_WATCHED = Statement(
    sa.select(sources.c.pipeline_id)
    .where(
        sources.c.account == sa.bindparam("a"),
        sources.c.region == sa.bindparam("r"),
        sources.c.subject == sa.bindparam("s"),
    )
    .limit(1)
)


def watched(conn: sa.Connection, account: str, region: str, subject: str) -> bool:
    """Whether a pipeline has a source of this subject."""
    return _WATCHED.first(conn, {"a": account, "r": region, "s": subject}) is not None


UPDATE_PIPELINE = Statement(
    pipelines.update()
    .where(pipelines.c.id == sa.bindparam("i"))
    .values(sequence=sa.bindparam("after"), state=sa.bindparam("s"), latest=sa.bindparam("l"))
)
LIVE_EXECUTIONS = Statement(
    sa.select(executions.c.id, executions.c.state).where(
        executions.c.pipeline_id == sa.bindparam("i"), executions.c.live.is_(sa.true())
    )
)
_EXECUTION = sa.select(executions).where(
    executions.c.id == sa.bindparam("x"), executions.c.pipeline_id == sa.bindparam("i")
)
EXECUTION = Statement(_EXECUTION)


_DECIDED_ON = Statement(_EXECUTION.with_only_columns(executions.c.id, executions.c.live, executions.c.state))


def finding_execution(pipeline_id: str, id: str) -> Question:
    """The question for what decisions need of an execution's row."""
    return _DECIDED_ON, {"x": id, "i": pipeline_id}


INSERT_EXECUTION = Statement(executions.insert())
UPDATE_EXECUTION = Statement(
    executions.update()
    .where(executions.c.id == sa.bindparam("x"))
    .values(
        state=sa.bindparam("s"),
        live=sa.bindparam("l"),
        updated=sa.bindparam("now"),
        succeeded=executions.c.succeeded.concat(sa.bindparam("stages")),
    )
)
INSERT_ACTION = Statement(actions.insert())
_ACTION_COLUMNS = dict.fromkeys(actions.columns.keys())


def new_action(columns: Mapping[str, Any]) -> Any:
    """The row of an action execution that is being inserted, as `ACTION` would read it."""
    return SimpleNamespace(**{**_ACTION_COLUMNS, **columns})


_API_COLUMNS = (
    actions.c.started,
    actions.c.inputs,
    actions.c.outputs,
    actions.c.summary,
    actions.c.external_id,
    actions.c.external_url,
    actions.c.error_code,
    actions.c.error_message,
)


@cache
def end_action(columns: tuple[str, ...]) -> Statement:
    """Updates these columns (parameters of their names) of action execution `x`; returns the values for its event."""
    return Statement(
        actions.update()
        .where(actions.c.id == sa.bindparam("x"))
        .values({name: sa.bindparam(name) for name in columns})
        .returning(*_API_COLUMNS)
    )


@cache
def describe_action(columns: tuple[str, ...]) -> Statement:
    """Updates these columns of action execution `x`."""
    return Statement(
        actions.update().where(actions.c.id == sa.bindparam("x")).values({name: sa.bindparam(name) for name in columns})
    )


def _documents(values: Iterable[ArtifactLocation]) -> tuple[dict[str, Any], ...]:
    return tuple(asdict(value) for value in values)


_DETAILS = tuple(member.name for member in fields(Details))
_DOCUMENTS: dict[str, Callable[[Any], Any]] = {"inputs": _documents, "outputs": _documents, "revision": asdict}


def columns_of(details: Details) -> dict[str, Any]:
    """The columns that details fill."""
    given = {name: value for name in _DETAILS if (value := getattr(details, name)) is not None}
    for name, document in _DOCUMENTS.items():
        if name in given:
            given[name] = document(given[name])
    return given


def type_of(row: Any) -> ActionTypeId:
    """The action type of an action execution's row."""
    category, owner, provider, version = row.provider.split("/")
    return ActionTypeId(category=category, owner=owner, provider=provider, version=version)


ACTION = Statement(sa.select(actions).where(actions.c.id == sa.bindparam("x")))
_OF_VERSION = (versions.c.pipeline_id == sa.bindparam("i"), versions.c.version == sa.bindparam("v"))
VERSION = Statement(sa.select(versions).where(*_OF_VERSION))
PLAN_OF = Statement(sa.select(versions.c.plan).where(*_OF_VERSION))
