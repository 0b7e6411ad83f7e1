"""Which action types an account has: those that this installation runs, its own ones, and partners' that it may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import worker_records
from penstock.pipelines.actions import Providers
from penstock.pipelines.actions.provider import Provider
from penstock.pipelines.custom_types import CUSTOM, type_of_custom, type_of_declaration
from penstock.pipelines.gates import rules_of
from penstock.pipelines.job_workers import JOB_WORKERS
from penstock.pipelines.model import ActionType, ActionTypeId
from penstock.pipelines.plan import ActionTypes, type_of, type_of_rule

Found = tuple[Provider, ActionType]
Find = Callable[[ActionTypeId], Found | None]
ANYBODY = "*"


class Types:
    """Asks the registry of providers first, which costs nothing. Methods with a `conn` are parts of transactions."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    def find(self, conn: sa.Connection, account: str, region: str, id: ActionTypeId) -> Found | None:
        """Who runs a type for an account's pipelines, and the type, deleted or not; None when nobody does."""
        known = self._providers.find(id)
        if known is not None:
            return known
        row = row_for(conn, account, region, id)
        return None if row is None else (JOB_WORKERS, type_of_row(row))

    def at(self, conn: sa.Connection, account: str, region: str) -> Find:
        """`find` for one account and region, which asks for each type once."""
        asked: dict[ActionTypeId, Found | None] = {}

        def find(id: ActionTypeId) -> Found | None:
            if id not in asked:
                asked[id] = self.find(conn, account, region, id)
            return asked[id]

        return find

    def declarable(self, conn: sa.Connection, account: str, region: str, declaration: Mapping[str, Any]) -> ActionTypes:
        """What a declaration may say about each of the types that it names."""
        stages = declaration["stages"]
        named = {type_of(action) for stage in stages for action in stage["actions"]}
        named |= {type_of_rule(rule) for stage in stages for _, rule in rules_of(stage)}
        found = {id: self.find(conn, account, region, id) for id in named}
        known = {id: one[1] for id, one in found.items() if one is not None and not one[1].deleted}
        return known.get


def row_for(conn: sa.Connection, account: str, region: str, id: ActionTypeId) -> Any:
    """The row of a type that an account's pipelines may name, deleted or not; None without one."""
    if id.owner == CUSTOM:
        return worker_records.find_own(conn, account, region, id)
    rows = worker_records.find_anybodys(conn, region, id)
    return next((row for row in rows if may_use(row, account)), None)


def may_use(row: Any, account: str) -> bool:
    """Whether a partner lets an account's pipelines name its type. AWS: ActionTypePermissions."""
    allowed = row.definition.get("permissions", {}).get("allowedAccounts", ())
    return row.account == account or account in allowed or ANYBODY in allowed


def may_poll(row: Any, account: str) -> bool:
    """Whether an account's workers do the jobs of a partner's type. AWS: JobWorkerExecutorConfiguration."""
    accounts = row.definition["executor"]["configuration"]["jobWorkerExecutorConfiguration"].get("pollingAccounts")
    return account in (accounts or [row.account])


def partner_row(conn: sa.Connection, region: str, id: ActionTypeId) -> Any:
    """The row of a partner's type, deleted or not, which is one account's; None without it."""
    rows = worker_records.find_anybodys(conn, region, id)
    return rows[0] if rows and id.owner != CUSTOM else None


def type_of_row(row: Any) -> ActionType:
    """The action type of a row."""
    id = id_of(row)
    known = (
        type_of_custom(id, row.definition, row.tags) if id.owner == CUSTOM else type_of_declaration(id, row.definition)
    )
    return replace(known, deleted=row.deleted is not None)


def id_of(row: Any) -> ActionTypeId:
    """The names of a row's type."""
    return ActionTypeId(category=row.category, owner=row.owner, provider=row.provider, version=row.version)
