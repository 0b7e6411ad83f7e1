"""Keys that other components and clients encrypt with (AWS KMS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component, Guard, JobKind
from penstock.keys import records
from penstock.keys.operations import aliases, crypto, life, policies, tags
from penstock.keys.vault import Vault
from penstock.wire.call import ResourcePolicy
from penstock.wire.services import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[Vault]:
    """KMS, whose keys lie in the database, sealed under the installation's master key."""
    return Component(
        name="keys",
        state=Vault(app),
        services=(Service("kms"),),
        operations=(life, aliases, crypto, policies, tags),
        jobs=(JobKind(kind=life.DELETION, run=life.delete),),
        guards=(Guard(service="kms", policy=_policy, keys={"aws:resourcetag/": _tags}),),
    )


async def _policy(vault: Vault, arn: str) -> ResourcePolicy | None:
    row = await vault.app.store.read(records.key, arn.rpartition("/")[2]) if ":key/" in arn else None
    if row is None:
        return None
    return ResourcePolicy(account=row.account, documents=(row.policy,), ids=row.policy_ids, must_allow=True)


async def _tags(vault: Vault, arn: str) -> Mapping[str, str]:
    row = await vault.app.store.read(records.key, arn.rpartition("/")[2]) if ":key/" in arn else None
    return {} if row is None else row.tags
