"""Executions that actions of other executions start: on whose behalf they run, and how long such a chain may be."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.approval_rules import person_of
from penstock.pipelines.errors import ValidationException
from penstock.pipelines.model import ActionStatus, TriggerType
from penstock.pipelines.preparation import declared_as
from penstock.pipelines.versions import Versions
from penstock.wire.call import PrincipalKind

LONGEST = 10  # executions, each started by an action of the one before


def starter_within(conn: sa.Connection, versions: Versions, call: Call) -> str:
    """What stands for the person who starts an execution: who started the one whose action calls, if one does.

    Raises ValidationException when the chain is as long as it may be: pipelines that start each other would never end.
    """
    person = person_of(call.session)
    if call.via != "invoke" or call.session.kind is not PrincipalKind.ROLE:
        return person
    caller = records.ACTION.first(conn, {"x": call.session.principal_id.partition(":")[2]})
    if caller is None or not _acts(conn, versions, caller, call.session.role_arn):
        return person
    parent = records.EXECUTION.first(conn, {"x": caller.execution_id, "i": caller.pipeline_id})
    if parent is None:
        return person
    first: Any = parent
    for _ in range(LONGEST - 1):
        if first.trigger_type != TriggerType.START or ":assumed-role/" not in first.trigger_detail:
            break
        before = _execution_of(conn, first.trigger_detail.rpartition("/")[2])
        if before is None:
            break
        first = before
    else:
        raise ValidationException(
            f"The execution would be one of more than {LONGEST} that start each other, each by an action of the one before. "
            "Let no pipeline start itself by way of others."
        )
    return records.EXECUTION_STATE.load(parent.state).starter or person


def _acts(conn: sa.Connection, versions: Versions, row: Any, role: str) -> bool:
    """Whether an action execution (its row) is at work under a role: a session's name alone proves nothing."""
    declaration = versions.declaration(conn, row.pipeline_id, row.version)
    if declaration is None or row.status != ActionStatus.IN_PROGRESS:
        return False
    return role == (declared_as(declaration, row).get("roleArn") or declaration["roleArn"])


def _execution_of(conn: sa.Connection, action: str) -> Any:
    """The execution that an action execution is of; None when there is no such action, or it is gone."""
    row = records.ACTION.first(conn, {"x": action})
    return None if row is None else records.EXECUTION.first(conn, {"x": row.execution_id, "i": row.pipeline_id})
