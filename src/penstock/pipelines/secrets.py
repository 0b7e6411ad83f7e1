"""Secret values of configurations: sealed beside the declaration, in which `****` stands for them.

Whatever is read from a declaration is therefore fit to be shown; only who does an action's work asks for its secrets.
AWS: CreatePipeline, "pipeline-requirements".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.pipelines import worker_records
from penstock.pipelines.custom_types import MASK
from penstock.pipelines.declaration import Declaration, declared_action
from penstock.pipelines.errors import InvalidActionDeclarationException
from penstock.pipelines.plan import ActionTypes, type_of

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.pipelines.preparation import Prepared
    from penstock.store.sealing import Sealer

Place = tuple[str, str, str]  # stage, action, configuration property


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A declaration without its secrets."""

    declaration: Declaration
    secrets: Mapping[Place, str]  # that it brought
    kept: frozenset[Place]  # that it takes over from the version before


def mask(declaration: Declaration, types: ActionTypes) -> Masked:
    """Take the secret values out of a declaration that is valid."""
    secrets: dict[Place, str] = {}
    kept: set[Place] = set()
    for stage, action, name in _secret_places(declaration, types):
        value = action["configuration"][name]
        place = (stage["name"], action["name"], name)
        if value == MASK:
            kept.add(place)
        else:
            secrets[place] = value
    if not secrets:
        return Masked(declaration=declaration, secrets={}, kept=frozenset(kept))
    stages = [
        {**stage, "actions": [_masked(stage["name"], action, secrets) for action in stage["actions"]]}
        for stage in declaration["stages"]
    ]
    return Masked(declaration={**declaration, "stages": stages}, secrets=secrets, kept=frozenset(kept))


def _secret_places(
    declaration: Mapping[str, Any], types: ActionTypes
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], str]]:
    for stage in declaration["stages"]:
        for action in stage["actions"]:
            known = types(type_of(action))
            for one in known.properties if known else ():
                if one.masked and one.name in action.get("configuration", {}):
                    yield stage, action, one.name


def _masked(stage: str, action: Mapping[str, Any], secrets: Mapping[Place, str]) -> dict[str, Any]:
    configuration = {
        name: MASK if (stage, action["name"], name) in secrets else value
        for name, value in action.get("configuration", {}).items()
    }
    return {**action, "configuration": configuration}


def keep(
    conn: sa.Connection,
    sealer: Sealer,
    masked: Masked,
    *,
    pipeline: Any,
    version: int,
    before: Mapping[str, Any] | None,
) -> None:
    """Write the secrets of a new version; `pipeline` has its key with its id, `before` is the declaration of the version before.

    Raises InvalidActionDeclarationException for a value that is to be kept and cannot be: on a new action, or with anything else of the
    action changed, since whoever may change an action need not be allowed to have its secrets sent elsewhere.
    """
    values = {place: value.encode() for place, value in masked.secrets.items()}
    for stage, action, name in sorted(masked.kept):
        old = declared_action(before or {}, stage, action)
        text = f'contains an invalid configuration for the secret property "{name}". "{MASK}" may be used in secret properties only when'
        if not old:
            raise InvalidActionDeclarationException(
                f'Action configuration for the new action "{action}" {text} updating an existing action.'
            )
        rows = {row.name: row for row in worker_records.secrets_of(conn, pipeline.id, version - 1, stage, action)}
        if name not in rows or _without_order(old) != _without_order(
            declared_action(masked.declaration, stage, action)
        ):
            raise InvalidActionDeclarationException(
                f'Action configuration for the action "{action}" {text} nothing else of the action changes.'
            )
        values[stage, action, name] = sealer.open(rows[name].value, worker_records.secret_context(rows[name]))
    rows = []
    for (stage, action, name), value in values.items():
        key = {"pipeline_id": pipeline.id, "version": version, "stage": stage, "action": action, "name": name}
        sealed = sealer.seal(value, worker_records.secret_context(SimpleNamespace(**key)))
        rows.append({**key, "account": pipeline.account, "region": pipeline.region, "value": sealed})
    worker_records.put_secrets(conn, rows)


def _without_order(action: Mapping[str, Any]) -> dict[str, Any]:
    """An action as far as its secrets are concerned: in which order it runs does not matter."""
    return {name: value for name, value in action.items() if name != "runOrder"}


async def opened(app: App, prepared: Prepared) -> dict[str, str]:
    """The secret values of an action's configuration."""
    if MASK not in prepared.declared.get("configuration", {}).values():
        return {}
    row = prepared.row
    if row.condition is not None:  # only actions have any, and a rule may have the name of one
        return {}
    rows = await app.store.read(worker_records.secrets_of, row.pipeline_id, row.version, row.stage, row.action)
    return {one.name: app.sealer.open(one.value, worker_records.secret_context(one)).decode() for one in rows}
