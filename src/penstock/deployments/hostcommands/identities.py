"""Which registered instance a caller is: asked at every request of every host, so that it is remembered until registrations change.

A registration that this process makes or ends empties the memory before its caller is answered. Those of other processes (PostgreSQL
only) are noticed by a wake-up, usually within milliseconds, and at the latest after STALE_SECONDS.
"""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple

from penstock.application import Call
from penstock.deployments import records
from penstock.store.database import Store
from penstock.wire.errors import AccessDenied

STALE_SECONDS = 1.0
_KEPT = 32_768  # hosts, at about 500 bytes each


class Host(NamedTuple):
    """A registered instance: a few words, since thousands of held polls keep one each."""

    name: str
    arn: str
    iam_arn: str


class _Known(NamedTuple):
    host: Host
    principal: str  # the id of the user or role
    read: float  # when, on the loop's clock


class Identities:
    """The hosts that this process knows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stale_after = math.inf if store.dialect == "sqlite" else STALE_SECONDS  # SQLite serves one process
        self._changed = store.wakeup(records.REGISTRATIONS)
        self._known: dict[tuple[str, str, str], _Known] = {}  # by account, region and ARN of the caller

    async def host(self, call: Call, claimed: str | None = None) -> Host:
        """The registered instance that the caller is. Raises AccessDenied for anybody else, or when it claims to be another."""
        known = await self._find(call)
        principal = call.session.principal_id.partition(":")[0]
        if known.principal != principal:
            raise AccessDenied(
                f"{call.session.arn} was made anew since the instance {known.host.name} was registered, and is not that "
                "instance: deregister the instance and register it again."
            )
        # An agent on an EC2 instance names the instance; elsewhere it names its identity.
        if claimed is not None and claimed not in (known.host.iam_arn, known.host.arn):
            raise AccessDenied(f"{call.session.arn} cannot speak for the host {claimed}.")
        return known.host

    async def _find(self, call: Call) -> _Known:
        if self._changed.taken():
            self._known.clear()
        key = (call.account, call.region, call.session.arn)
        known = self._known.get(key)
        now = asyncio.get_running_loop().time()
        if known is not None and now - known.read < self._stale_after:
            return known
        row = await self._store.lookup(records.IDENTITY, account=call.account, region=call.region, iam=call.session.arn)
        if row is None:
            raise AccessDenied(
                f"{call.session.arn} is not the identity of an instance that is registered in {call.region}: "
                "register it with RegisterOnPremisesInstance."
            )
        principal = row.principal or await self._store.write(
            records.bind_instance, call.account, call.region, row.iam_arn, call.session.principal_id.partition(":")[0]
        )
        known = _Known(Host(row.name, row.arn, row.iam_arn), principal, now)
        if self._changed.taken():
            self._known.clear()  # what was read may be older than the change: it serves this call only
            return known
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[key] = known
        return known
