"""Executions that actions of other executions start: on whose behalf they run, and how long such a chain may be."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.approval_rules import person_of
from penstock.pipelines.errors import ValidationException
from penstock.pipelines.model import TriggerType
from penstock.wire.call import PrincipalKind

LONGEST = 10  # executions, each started by an action of the one before


def starter_within(conn: sa.Connection, call: Call) -> str:
    """What stands for the person who starts an execution: who started the one whose action calls, if one does.

    Raises ValidationException when the chain is as long as it may be: pipelines that start each other would never end.
    """
    person = person_of(call.session)
    if call.via != "invoke" or call.session.kind is not PrincipalKind.ROLE:
        return person
    # Sessions of actions are named after them, and those in process by nobody else.
    parent = _execution_of(conn, call.session.principal_id.partition(":")[2])
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


def _execution_of(conn: sa.Connection, action: str) -> Any:
    """The execution that an action execution is of; None when there is no such action, or it is gone."""
    row = records.ACTION.first(conn, {"x": action})
    return None if row is None else records.EXECUTION.first(conn, {"x": row.execution_id, "i": row.pipeline_id})
