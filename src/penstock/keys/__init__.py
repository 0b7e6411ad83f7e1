"""Keys that other components and clients encrypt with (AWS KMS)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from penstock.component import Component, Guard, JobKind
from penstock.keys import records
from penstock.keys.lookup import id_in, to_strangers
from penstock.keys.material import ORIGIN, ROTATION
from penstock.keys.operations import aliases, crypto, grants, life, policies, rotation, signing, tags
from penstock.keys.pages import PAGES
from penstock.keys.vault import Vault
from penstock.wire.identity import ResourcePolicy
from penstock.wire.services import Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from penstock.application import App, Call

__all__ = ["component"]


def component(app: App) -> Component[Vault]:
    """KMS, whose keys lie in the database, sealed under the installation's master key."""
    vault = Vault(app)
    return Component(
        name="keys",
        state=vault,
        services=(Service("kms"),),
        pages=PAGES,
        operations=(life, aliases, crypto, policies, grants, rotation, signing, tags),
        jobs=(JobKind(kind=life.DELETION, run=life.delete), JobKind(kind=ROTATION, run=rotation.rotate)),
        start=(functools.partial(rotation.plan_managed, vault),),
        guards=(
            Guard(
                service="kms",
                policy=_policy,
                grants=_granted,
                to_strangers=to_strangers,
                keys={
                    "aws:resourcetag/": _tags,
                    "kms:key": _kind,
                    "kms:multiregion": _spread,
                    "kms:resourcealiases": _names,
                },
            ),
        ),
    )


async def _policy(vault: Vault, arn: str) -> ResourcePolicy | None:
    row = await _row(vault, arn)
    if row is None:
        return None
    return ResourcePolicy(account=row.account, documents=(row.policy,), ids=row.policy_ids, must_allow=True)


async def _granted(vault: Vault, call: Call, action: str, arn: str) -> Sequence[ResourcePolicy]:
    key_id = id_in(arn)
    return await grants.granted(vault, call, action, key_id) if key_id else ()


async def _row(vault: Vault, arn: str) -> Any:
    key_id = id_in(arn)
    return await vault.app.store.read(records.key, key_id) if key_id else None


async def _tags(vault: Vault, arn: str) -> Mapping[str, str]:
    row = await _row(vault, arn)
    return {} if row is None else row.tags


async def _kind(vault: Vault, arn: str) -> Mapping[str, str]:
    row = await _row(vault, arn)
    return {} if row is None else {"spec": row.spec, "usage": row.usage, "origin": ORIGIN}


async def _spread(_vault: Vault, arn: str) -> Mapping[str, str]:
    key_id = id_in(arn)
    return {"": "true" if key_id.startswith("mrk-") else "false"} if key_id else {}


async def _names(vault: Vault, arn: str) -> Mapping[str, tuple[str, ...]]:
    found = await vault.app.store.read(records.alias_names, id_in(arn))
    return {"": tuple(found)} if found else {}
