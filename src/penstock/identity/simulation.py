"""What policies would say of requests that nobody has made, and which of their statements say it.

A simulation knows no more of a request than its input says: what a condition asks for beside that is missing, and the result names it.
(AWS: IAM API Reference, SimulateCustomPolicy and SimulatePrincipalPolicy.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from penstock.identity.document_texts import statement_places
from penstock.identity.documents import keys_as_written
from penstock.identity.policy import Caller, Named, Policy, Statement, Verdict, grant, matching, weigh
from penstock.identity.variables import Context
from penstock.wire.call import Output

IDENTITY, RESOURCE, BOUNDARY, ORGANIZATION = (
    "IAM Policy",
    "Resource Policy",
    "Permissions Boundary Policy",
    "Organization Policy",
)
_SLICE_S = 0.001  # that simulations take of the event loop before others have it
_DECISIONS = {Verdict.ALLOWED: "allowed", Verdict.DENIED: "explicitDeny", Verdict.SILENT: "implicitDeny"}
_OF_RESOURCE = {Named.DENIED: Verdict.DENIED, Named.SILENT: Verdict.SILENT}


@dataclass(frozen=True)
class Source:
    """A document that a simulation asks, and what results call it."""

    name: str
    document: str
    policy: Policy
    kind: str = IDENTITY

    @cached_property
    def _places(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        return statement_places(self.document)

    @cached_property
    def spelling(self) -> dict[str, str]:
        """Its condition keys as it spells them, by their lower case."""
        return keys_as_written(self.document, self.policy.keys)

    def to_api(self, statement: Statement) -> Output:
        """The `Statement` shape of one of its statements."""
        start, end = self._places[statement.number]
        return {
            "SourcePolicyId": self.name,
            "SourcePolicyType": self.kind,
            "StartPosition": {"Line": start[0], "Column": start[1]},
            "EndPosition": {"Line": end[0], "Column": end[1]},
        }


@dataclass(slots=True)
class _Said:
    """What the documents of one kind say of a request."""

    allow: list[Output] = field(default_factory=list)  # the statements, as they are shown
    deny: list[Output] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        if self.deny:
            return Verdict.DENIED
        return Verdict.ALLOWED if self.allow else Verdict.SILENT


@dataclass(slots=True, kw_only=True)
class Simulation:
    """The policies of a caller and of a resource, and what is known of the request."""

    identity: Sequence[Source]
    context: Context  # keys in lower case
    caller: Caller
    owner: str  # account of the resources
    boundary: Sequence[Source] | None = None
    resource: Source | None = None
    organization: Sequence[Sequence[Source]] = ()  # by level: each has to allow
    _since: float = field(default_factory=time.perf_counter)

    async def result(self, action: str, resource: str, *, listed: bool) -> Output:
        """The `EvaluationResult` shape of an action on a resource; `listed` is whether the input names the resource."""
        own = await self._ask(self.identity, action, resource)
        bound = None if self.boundary is None else await self._ask(self.boundary, action, resource)
        levels = [await self._ask(level, action, resource) for level in self.organization]
        named, of_resource = await self._ask_resource(action, resource)
        decision = weigh(
            identity=own.verdict,
            boundary=None if bound is None else bound.verdict,
            resource=named,
            same_account=self.owner == self.caller.account,
        )
        let = all(level.verdict is Verdict.ALLOWED for level in levels)
        asked = [said for said in (own, bound, of_resource, *levels) if said is not None]
        verdict = Verdict.ALLOWED if decision.allowed and let else Verdict.SILENT
        if decision.explicit or any(level.verdict is Verdict.DENIED for level in levels):
            verdict = Verdict.DENIED
        matched = {
            Verdict.ALLOWED: [*own.allow, *of_resource.allow],
            Verdict.DENIED: [shown for said in asked for shown in said.deny],
            Verdict.SILENT: [],
        }[verdict]
        details = {} if named is None or self.owner == self.caller.account else {
            IDENTITY: _DECISIONS[own.verdict],
            RESOURCE: _DECISIONS[_OF_RESOURCE.get(named, Verdict.ALLOWED)],
        }  # fmt: skip
        common: Output = {
            "MatchedStatements": matched,
            "MissingContextValues": await self._missing(action, resource),
            "EvalDecisionDetails": details,
        }
        if bound is not None:
            allowed = bound.verdict is Verdict.ALLOWED
            common["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": allowed}
        of_each = {"EvalResourceName": resource, "EvalResourceDecision": _DECISIONS[verdict], **common}
        return {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": _DECISIONS[verdict],
            "OrganizationsDecisionDetail": {"AllowedByOrganizations": let},
            **common,
            **({"ResourceSpecificResults": [of_each]} if listed else {}),
        }

    async def _ask(self, sources: Iterable[Source], action: str, resource: str) -> _Said:
        said = _Said()
        for source in sources:
            for _, statement in matching((source.policy,), action, resource, self.context):
                (said.allow if statement.allow else said.deny).append(source.to_api(statement))
            await self._pause()
        return said

    async def _ask_resource(self, action: str, resource: str) -> tuple[Named | None, _Said]:
        """What the policy of the resource says; None where there is none."""
        said, source = _Said(), self.resource
        if source is None:
            return None, said
        named = grant((source.policy,), action, resource, self.caller, self.context)
        for _, statement in matching((source.policy,), action, resource, self.context):
            if statement.principals is not None and statement.principals.name(self.caller) is not Named.SILENT:
                (said.allow if statement.allow else said.deny).append(source.to_api(statement))
        await self._pause()
        return named, said

    async def _missing(self, action: str, resource: str) -> list[str]:
        """The keys that the statements on an action and a resource ask for in vain, as the first of them spells each."""
        found: dict[str, str] = {}
        bounds = self.boundary or ()
        policy = () if self.resource is None else (self.resource,)
        for source in (*self.identity, *bounds, *policy, *(one for level in self.organization for one in level)):
            absent: set[str] = set()
            for statement in source.policy.covering(action.lower()):
                unknown = {key for key in statement.keys if key not in self.context}
                if unknown and self._concerns(statement, resource):
                    absent |= unknown
            for key, spelt in source.spelling.items() if absent else ():
                if key in absent:
                    found.setdefault(key, spelt)
            await self._pause()
        return list(found.values())

    def _concerns(self, statement: Statement, resource: str) -> bool:
        """Whether a statement speaks of a resource, or may do so when its variables are known."""
        resources = statement.resources
        if resources is None or resources.cover(resource, self.context):
            return True
        return any(key not in self.context for one in resources.templates for key in one.keys)

    async def _pause(self) -> None:
        """Leave the event loop to others for as long as the simulation had it: documents and pages may be large."""
        spent = time.perf_counter() - self._since
        if spent > _SLICE_S:
            await asyncio.sleep(spent)
            self._since = time.perf_counter()
