"""May you: what the policies of principals, sessions and resources say together of a request."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.identity import denials
from penstock.identity.cache import Cache, Memories, compiled_bytes
from penstock.identity.context import RequestContext
from penstock.identity.guarded import Guarded
from penstock.identity.own_account import CHANGE_PASSWORD, self_service
from penstock.identity.password_policy import of_account
from penstock.identity.policy import (
    BOUNDARY,
    IDENTITY,
    RESOURCE,
    SESSION,
    Decision,
    Denying,
    Named,
    Policy,
    Verdict,
    asked_for,
    decide,
    denying,
    weigh,
)
from penstock.identity.principals import Principal, Principals
from penstock.identity.variables import NOTHING, Context, Value
from penstock.identity.wildcards import MAX_TEXT
from penstock.wire.call import LET_INTO, PrincipalKind, Session
from penstock.wire.errors import AccessDenied, ExpiredSession
from penstock.wire.identity import ResourcePolicy

if TYPE_CHECKING:
    from penstock.application import App, Call
    from penstock.component import Guard

# Bytes that each kind of memory may take; beyond them it starts anew.
_GUARDED_BYTES = 16 << 20  # of compiled policies of resources
_VERDICT_BYTES = 8 << 20  # of what policies of principals were found to say
_SLICE_S = 0.001  # that the policies of a principal take of the event loop before others have it

_WITH_POLICIES = (PrincipalKind.USER, PrincipalKind.ROLE, PrincipalKind.FEDERATED)


class _Said(NamedTuple):
    """What the policies of a principal say."""

    verdict: Verdict
    by: Denying | None = None


_SAID = {verdict: _Said(verdict) for verdict in Verdict}
_UNASKED = _SAID[Verdict.SILENT]


class Decisions:
    """Decides, and remembers what it has read and compiled for it until identity changes."""

    def __init__(self, app: App, memories: Memories, principals: Principals) -> None:
        self._app = app
        self._principals = principals
        self._memories = memories
        self._guarded: Cache[str, Guarded] = memories.cache(_GUARDED_BYTES)  # by ARN of what has a policy
        # By principal, action, resource.
        self._verdicts: Cache[tuple[int, str, str], _Said] = memories.cache(_VERDICT_BYTES)

    async def authorize(self, call: Call, action: str, resources: Sequence[str], more: Mapping[str, Value]) -> None:
        """Raises AccessDenied unless policy allows an action on every resource. `more` are condition keys of the action's own."""
        session = call.session
        if session.kind is PrincipalKind.ANONYMOUS:
            raise AccessDenied(f"Anonymous is not authorized to perform: {action}")
        for resource in resources:
            if len(resource) > MAX_TEXT:
                raise AccessDenied(
                    f"The name of a resource is too long: {action} is asked for no more than {MAX_TEXT} characters."
                )
            guarded = await self._guarded_by(resource)
            asked = await self._asked_of(session, guarded, resource)
            context = RequestContext(call, action, resource, {**asked, **more} if asked else more)
            if guarded is None:
                decision = await self.decision(session, action, resource, context)
            else:
                decision = await self._decision_on(call, guarded, action, resource, context)
            if not decision.allowed and (decision.explicit or not await self._own(call, action, resource)):
                raise await self._refused(call, action, resource, decision, guarded, context=context)
            if guarded is not None and guarded.account != call.account:
                call.memo.setdefault(LET_INTO, {})[guarded.root] = guarded.account

    async def _refused(
        self, call: Call, action: str, resource: str, decision: Decision, guarded: Guarded | None, *, context: Context
    ) -> AccessDenied:
        """The refusal, with what is behind it for those who may decode that."""
        sentence = _sentence(call.session, action, resource)
        guard, _ = self._guard(resource)
        if guard is not None and guarded is not None and guarded.account != call.session.account:
            hidden = guard.to_strangers
            refused = AccessDenied(hidden(call, action) if hidden else sentence)
            refused.authorization = await self.message(call, action, resource, None)
        else:
            refused = AccessDenied(f"{sentence} {_reason(decision, action)}")
            policies = () if guarded is None else guarded.policies
            refused.authorization = await self.message(
                call, action, resource, decision, policies=policies, context=context
            )
        return refused

    async def message(
        self,
        call: Call,
        action: str,
        resource: str,
        decision: Decision | None,
        *,
        policies: Sequence[Policy] = (),
        context: Context = NOTHING,
    ) -> str:
        """What is behind a denial, encoded; `policies` are those of the resource.

        It is None for the resource of another account: what that account's policies and tags say is not for the caller's.
        """
        session = call.session
        known: dict[str, Any] = {}
        if decision is not None:
            asked = asked_for((*await self._policies_of(session), *policies), action)
            conditions = denials.conditions(asked, context)
            known = {"kind": decision.kind, "explicit": decision.explicit, "by": decision.by, "conditions": conditions}
        denial = denials.Denial(
            entity=session.entity,
            principal=session.principal_id,
            arn=session.arn,
            action=action,
            resource=resource,
            at=call.now,
            source=call.source_ip,
            **known,
        )
        return denials.encode(self._app.sealer, session.account, denial)

    async def _policies_of(self, session: Session) -> tuple[Policy, ...]:
        """All that a session stands on."""
        principal = await self._principals.find(session.entity) if session.kind in _WITH_POLICIES else None
        found = () if principal is None else principal.policies
        if principal is not None and principal.boundary is not None:
            found += principal.boundary.policies
        if session.session_policy:
            found += (await self._principals.narrowed(session.session_policy)).policies
        return found

    async def _own(self, call: Call, action: str, resource: str) -> bool:
        """Whether everybody may do so with their own sign-in, which no policy forbids."""
        session = call.session
        if action == CHANGE_PASSWORD and session.kind is PrincipalKind.USER and resource == session.arn:
            policy = await self._app.store.read(of_account, session.account)
            if policy.users_change is not None:
                return policy.users_change
        return self_service(call, action, resource)

    async def _decision_on(
        self, call: Call, guarded: Guarded, action: str, resource: str, context: Context
    ) -> Decision:
        """What all policies say of a resource that has one of its own, and what it was granted to the caller beside them."""
        session = call.session
        decide = functools.partial(
            self.decision,
            session,
            action,
            resource,
            context,
            same_account=guarded.account == session.account or session.kind is PrincipalKind.SERVICE,
            resource_must=guarded.must_allow,
        )
        named = guarded.name(session, action, resource, call.region, context)
        decision = await decide(named=named)
        if named is Named.DENIED:
            return replace(decision, by=guarded.denying(session, action, resource, call.region, context))
        guard, state = self._guard(resource)
        if decision.allowed or decision.explicit or guard is None or guard.grants is None:
            return decision
        granted = [
            Guarded.of(guarded.root, one).name(session, action, resource, call.region, context)
            for one in await guard.grants(state, call, action, resource)
        ]
        best = max(granted, default=Named.SILENT)
        return decision if best <= named else await decide(named=best)

    def _guard(self, resource: str) -> tuple[Guard[Any] | None, Any]:
        parts = resource.split(":", 3)
        return self._app.guards.get(parts[2], (None, None)) if len(parts) == 4 else (None, None)

    async def _guarded_by(self, resource: str) -> Guarded | None:
        """The policy that speaks for a resource, and whose it is; None where there is none."""
        guard, _ = self._guard(resource)
        if guard is None or guard.policy is None:
            return None
        root = guard.root(resource)
        known = self._guarded.get(root)
        if known is None:
            epoch = self._memories.epoch
            found = await self.policy_of(root)
            if found is None:
                return None
            known = Guarded.of(root, found)
            self._memories.keep(self._guarded, root, known, epoch, compiled_bytes(sum(map(len, found.documents))))
        return known

    def root_of(self, resource: str) -> str:
        """The ARN of what has the policy for a resource, such as an object's bucket."""
        guard, _ = self._guard(resource)
        return resource if guard is None else guard.root(resource)

    async def policy_of(self, root: str) -> ResourcePolicy | None:
        """The policy of a resource as it is written; None where there is none."""
        guard, state = self._guard(root)
        return None if guard is None or guard.policy is None else await guard.policy(state, root)

    async def _asked_of(self, session: Session, guarded: Guarded | None, resource: str) -> Mapping[str, Value]:
        """The condition keys of a resource that the policies which speak of it ask for: each costs a read."""
        guard, state = self._guard(resource)
        if guard is None or not guard.keys:
            return {}
        asked: Iterable[str] = () if guarded is None else guarded.keys
        if session.kind in _WITH_POLICIES:
            principal = await self._principals.find(session.entity)
            asked = (*asked, *(() if principal is None else principal.keys))
            if session.session_policy:
                asked = (*asked, *(await self._principals.narrowed(session.session_policy)).keys)
        found: dict[str, Value] = {}
        for prefix, read in guard.keys.items():
            if any(key.startswith(prefix) for key in asked):
                found |= {f"{prefix}{name.lower()}": value for name, value in (await read(state, resource)).items()}
        return found

    async def decision(
        self,
        session: Session,
        action: str,
        resource: str,
        context: Context,
        *,
        named: Named | None = None,
        same_account: bool = True,
        resource_must: bool = False,
    ) -> Decision:
        """What all policies that speak of a request say together.

        `named` is what the resource's own policy says, where it has one; see `penstock.identity.policy.weigh` for the others.
        Raises ExpiredSession. A session of one of our services has no policies: nothing is allowed to it but what the policies of
        resources grant.
        """
        if session.expires is not None and session.expires <= self._app.clock.now():
            raise ExpiredSession
        own = _UNASKED
        bound: _Said | None = None
        narrowed: _Said | None = None
        if session.kind is PrincipalKind.ROOT:
            own = _SAID[Verdict.ALLOWED]
        elif session.kind in _WITH_POLICIES:
            principal = await self._principals.find(session.entity)
            if principal is not None:
                own = await self._decide(principal, action, resource, context)
                if principal.boundary is not None:
                    bound = await self._decide(principal.boundary, action, resource, context)
            if session.session_policy:
                narrowing = await self._principals.narrowed(session.session_policy)
                narrowed = await self._decide(narrowing, action, resource, context)
        decision = weigh(
            identity=own.verdict,
            boundary=None if bound is None else bound.verdict,
            session=None if narrowed is None else narrowed.verdict,
            resource=named,
            same_account=same_account,
            resource_must=resource_must,
        )
        if not decision.explicit or decision.kind == RESOURCE:
            return decision
        denied = {IDENTITY: own, BOUNDARY: bound, SESSION: narrowed}[decision.kind]
        return decision if denied is None else replace(decision, by=denied.by)

    async def _decide(self, principal: Principal, action: str, resource: str, context: Context) -> _Said:
        """What policies say."""
        key = (principal.number, action, resource)
        if not principal.conditional:
            known = self._verdicts.get(key)
            if known is not None:
                return known
        if principal.turns is None:
            said = await _work_out(principal, action, resource, context)
        else:
            async with principal.turns:
                said = await _work_out(principal, action, resource, context)
        if not principal.conditional:
            self._verdicts.put(key, said, sys.getsizeof(action) + sys.getsizeof(resource))
        return said


async def _work_out(principal: Principal, action: str, resource: str, context: Context) -> _Said:
    """What policies say, one after the other: they may be large, or asked for a thousand keys.

    However many requests a principal sends at once, it has no more than half of the event loop, and nobody else waits for its turn.
    """
    verdict, by = Verdict.SILENT, None
    began = time.perf_counter()
    for policy in principal.policies:
        said = decide((policy,), action, resource, context)
        if said is not Verdict.SILENT:
            verdict = said
        if said is Verdict.DENIED:
            by = denying((policy,), action, resource, context)
        now = time.perf_counter()
        principal.spent += now - began
        began = now
        if principal.spent > _SLICE_S:
            await _pause(principal)
            began = time.perf_counter()
        if said is Verdict.DENIED:
            break
    return _SAID[verdict] if by is None else _Said(verdict, by)


async def _pause(principal: Principal) -> None:
    """Leave the event loop to others, until they had it for as long as the principal."""
    if principal.turns is None:
        principal.turns = asyncio.Lock()
    await asyncio.sleep(max(0.0, 2 * principal.spent - (time.perf_counter() - principal.since)))
    principal.spent, principal.since = 0.0, time.perf_counter()


def _sentence(session: Session, action: str, resource: str) -> str:
    who = f"User: {session.arn}" if session.kind is not PrincipalKind.SERVICE else session.service
    return f"{who} is not authorized to perform: {action} on resource: {resource}"


def _reason(decision: Decision, action: str) -> str:
    if not decision.explicit:
        return f"because no {decision.kind} allows the {action} action"
    article = "an" if decision.kind.startswith("i") else "a"
    return f"with an explicit deny in {article} {decision.kind}"
