"""The compiled policies of users, roles and narrowed sessions, remembered until identity changes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import orjson
import sqlalchemy as sa

from penstock.identity import records
from penstock.identity.cache import Cache, Memories, Remembered, compiled_bytes
from penstock.identity.documents import identity_policy
from penstock.identity.errors import MalformedPolicyDocumentException
from penstock.identity.managed import managed_policy
from penstock.identity.policy import Policy
from penstock.wire.call import partition_of

if TYPE_CHECKING:
    from penstock.application import App

# Bytes that each kind of memory may take; beyond them it starts anew.
_PRINCIPAL_BYTES = 16 << 20  # of compiled policies of principals and of narrowed sessions, each
_DOCUMENT_BYTES = 16 << 20  # of compiled documents
_PRINCIPAL_SIZE = 400  # bytes of a Principal beside its policies
_SMALL = 2048  # characters of policies of which one decision takes less, whatever it is asked for

_log = logging.getLogger("penstock.identity")
_EVERYTHING_DENIED = identity_policy('{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}')


class _Compiled(NamedTuple):
    """The policies of documents."""

    policies: tuple[Policy, ...]
    size: int  # characters of the documents
    new: int  # of those that were not in memory


@dataclass(slots=True)
class Principal:
    """The compiled policies of a user or role, or of one narrowed session."""

    policies: tuple[Policy, ...]
    conditional: bool = False  # whether its verdicts depend on more than action and resource
    keys: frozenset[str] = frozenset()  # the condition keys that it asks for, those of its boundary among them
    tags: dict[str, str] = field(default_factory=dict)  # of the user or role itself
    boundary: Principal | None = None
    spent: float = 0.0  # seconds that its decisions took since its last pause
    since: float = 0.0  # end of that pause, as of time.perf_counter
    turns: asyncio.Lock | None = None  # of its decisions, where they take long; most principals never have one
    # What verdicts are remembered by. Policies that were read anew are another principal, so that no old verdict is theirs.
    number: int = field(default_factory=itertools.count().__next__)

    @classmethod
    def of(cls, compiled: _Compiled, boundary: Principal | None = None) -> Principal:
        """The principal of compiled policies."""
        keys = frozenset(key for policy in compiled.policies for key in policy.keys)
        return cls(
            compiled.policies,
            conditional=any(policy.conditional for policy in compiled.policies),
            keys=keys if boundary is None else keys | boundary.keys,
            boundary=boundary,
            turns=asyncio.Lock() if compiled.size > _SMALL else None,
        )


class Principals:
    """Reads and compiles them."""

    def __init__(self, app: App, memories: Memories) -> None:
        self._app = app
        self._partition = partition_of(app.settings.region)
        self._memories = memories
        self._principals: Cache[str, Principal] = memories.cache(_PRINCIPAL_BYTES)  # by AIDA…, AROA…
        self._narrowings: Cache[str, Principal] = memories.cache(_PRINCIPAL_BYTES)  # by Session.session_policy

    async def find(self, principal_id: str) -> Principal | None:
        """The policies of a user or role by its id."""
        known = self._principals.get(principal_id)
        if known is not None:
            return known
        epoch = self._memories.epoch
        found = await self._app.store.read(_documents_of, principal_id)
        if found is None:
            return None
        compiled = _compiled(principal_id, self._partition, *found.documents)
        new, boundary = compiled.new, None
        if found.boundary is not None:
            bounding = _compiled(principal_id, self._partition, *found.boundary)
            new += bounding.new
            # A boundary that is gone allows nothing.
            boundary = Principal.of(bounding)
        principal = Principal.of(compiled, boundary)
        principal.tags = found.tags
        # Hosts of a fleet have the same policies, in one compiled form: each weighs what it brought into memory.
        weight = _PRINCIPAL_SIZE + sys.getsizeof(principal.keys) + compiled_bytes(new)
        self._memories.keep(self._principals, principal_id, principal, epoch, weight)
        return principal

    async def narrowed(self, session_policy: str) -> Principal:
        """What narrows a session, by `Session.session_policy`."""
        found = self._narrowings.get(session_policy)
        if found is None:
            epoch = self._memories.epoch
            texts, arns = orjson.loads(session_policy)
            documents = await self._app.store.read(records.merged_documents, texts, arns)
            compiled = _compiled("", self._partition, *documents)
            found = Principal.of(compiled)
            weight = len(session_policy) + compiled_bytes(compiled.size)
            self._memories.keep(self._narrowings, session_policy, found, epoch, weight)
        return found


_identity_policy = Remembered(identity_policy, _DOCUMENT_BYTES)


def _compiled(principal_id: str, partition: str, texts: list[str], arns: list[str]) -> _Compiled:
    """Documents and AWS's managed ones.

    A stored document that no longer compiles denies everything: what it would forbid is not known.
    """
    managed = [policy.document(partition) for arn in arns if (policy := managed_policy(arn, partition)) is not None]
    documents = [*texts, *managed]
    new = sum(len(text) for text in documents if text not in _identity_policy)
    try:
        policies = tuple(map(_identity_policy, documents))
    except MalformedPolicyDocumentException:
        _log.exception("identity.policy_unreadable", extra={"principal": principal_id})
        return _Compiled((_EVERYTHING_DENIED,), 0, 0)
    return _Compiled(policies, sum(map(len, documents)), new)


class _Stored(NamedTuple):
    """What the database has of a user or role: texts of documents, and ARNs of AWS's policies."""

    documents: tuple[list[str], list[str]]
    boundary: tuple[list[str], list[str]] | None
    tags: dict[str, str]


def _documents_of(conn: sa.Connection, principal_id: str) -> _Stored | None:
    by_id = records.role_by_id if principal_id.startswith("AROA") else records.user_by_id
    row = by_id(conn, principal_id)
    if row is None:
        return None
    boundary = None if row.boundary is None else records.merged_documents(conn, [], [row.boundary])
    return _Stored(records.documents(conn, principal_id), boundary, records.tags_of(row))
