"""Who are you, and may you: what the wire layer asks on every request.

A request costs dictionary look-ups here. What was read from the database is kept until identity changes: writes of this process
empty the cache before their caller is answered; a write of another process (PostgreSQL only) is noticed by its wake-up,
usually within milliseconds, and at the latest after STALE_SECONDS.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson
import sqlalchemy as sa

from penstock.identity import accounts, invitations, records, sessions, signin
from penstock.identity.accounts import secret_context
from penstock.identity.cache import Cache, compiled_bytes, remembered
from penstock.identity.context import RequestContext
from penstock.identity.documents import identity_policy
from penstock.identity.errors import AccessDeniedException, MalformedPolicyDocumentException
from penstock.identity.guarded import Guarded, check_policy, shown_policy, trusts
from penstock.identity.managed import managed_policy
from penstock.identity.passwords import Passwords, acceptable
from penstock.identity.policy import Decision, Named, Policy, Verdict, decide, weigh
from penstock.identity.signin import SignedIn
from penstock.identity.variables import Context, Value
from penstock.identity.wildcards import MAX_TEXT
from penstock.loops import Loop
from penstock.store.database import after_commit
from penstock.store.statement import Statement
from penstock.wire.call import Credential, PrincipalKind, ResourcePolicy, Session, partition_of, service_session
from penstock.wire.errors import AccessDenied, ExpiredSession, InvalidSessionToken, UnknownAccessKey
from penstock.wire.invoke import call_of

if TYPE_CHECKING:
    from penstock.application import App, Call
    from penstock.component import Guard

T = TypeVar("T")
STALE_SECONDS = 1.0
# Bytes that each kind of memory may take; beyond them it starts anew.
_KEY_BYTES = 32 << 20  # of credentials: those of 20,000 hosts, each of which asks again and again
_SESSION_BYTES = 8 << 20  # of sessions
_PRINCIPAL_BYTES = 16 << 20  # of compiled policies of principals and of narrowed sessions, each
_DOCUMENT_BYTES = 16 << 20  # of compiled documents
_VERDICT_BYTES = 8 << 20
_SESSION_SIZE = 1500  # bytes of a Session with its credential
# Pattern characters times text characters that a principal may have compared at once: a millisecond at most.
_TURN = 4 << 20
_SLICE_S = 0.001  # that the policies of a principal take of the event loop before others have it

_log = logging.getLogger("penstock.identity")
_k, _u = records.access_keys.c, records.users.c
_KEY_AND_USER = Statement(
    sa.select(_k.id.label("key_id"), _k.account, _k.status, _k.secret, _k.user_id, _u.arn, _u.tags)
    .select_from(records.access_keys.join(records.users, _u.id == _k.user_id))
    .where(_k.id == sa.bindparam("key"))
)
_EVERYTHING_DENIED = identity_policy('{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}')


@dataclass(slots=True)
class _Principal:
    """The compiled policies of a user or role, or of one narrowed session."""

    policies: tuple[Policy, ...]
    size: int  # characters of the documents
    conditional: bool = False  # whether its verdicts depend on more than action and resource
    tags: dict[str, str] = field(default_factory=dict)  # of the user or role itself
    boundary: _Principal | None = None
    compared: int = 0  # of _TURN
    turns: asyncio.Lock | None = None  # of those of its decisions that take long; most principals never have one
    # What verdicts are remembered by. Policies that were read anew are another principal, so that no old verdict is theirs.
    number: int = field(default_factory=itertools.count().__next__)

    @classmethod
    def of(cls, policies: tuple[Policy, ...], size: int) -> _Principal:
        return cls(policies, size, any(policy.conditional for policy in policies))

    @property
    def keys(self) -> Iterator[str]:
        """The condition keys that it asks for."""
        policies = (*self.policies, *(() if self.boundary is None else self.boundary.policies))
        return (key for policy in policies for key in policy.keys)


class Authority:
    """The Identity of the application (penstock.wire.call.Identity)."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._partition = partition_of(app.settings.region)
        self._watching: Loop | None = None
        self._generation: int | None = None  # of what other processes wrote, when it was last read
        self._epoch = 0  # raised whenever the caches are emptied, so that a slow read does not put old news back
        self._credentials: Cache[str, Credential] = Cache(_KEY_BYTES)  # by access key id
        self._grants: Cache[str, Credential] = Cache(_SESSION_BYTES)  # by session token
        self._roles: Cache[str, Any] = Cache(_PRINCIPAL_BYTES)  # rows, by ARN
        self._principals: Cache[str, _Principal] = Cache(_PRINCIPAL_BYTES)  # by AIDA…, AROA…
        self._narrowings: Cache[str, _Principal] = Cache(_PRINCIPAL_BYTES)  # by Session.session_policy
        self._guarded: Cache[str, Guarded] = Cache(_DOCUMENT_BYTES)  # by ARN of what has a policy
        self._verdicts: Cache[tuple[int, str, str], Verdict] = Cache(_VERDICT_BYTES)  # by principal, action, resource
        self.passwords = Passwords()

    def forget(self) -> None:
        """Empty the caches: identity has changed."""
        self._epoch += 1
        for memory in (
            self._credentials,
            self._grants,
            self._roles,
            self._principals,
            self._narrowings,
            self._guarded,
            self._verdicts,
        ):
            memory.clear()

    async def credential(self, access_key_id: str, session_token: str) -> Credential:
        """The secret and session behind a key.

        Raises UnknownAccessKey, InvalidSessionToken or ExpiredSession.
        """
        if session_token:
            return await self._temporary(access_key_id, session_token)
        found = self._credentials.get(access_key_id)
        if found is not None:
            return found
        epoch = self._epoch
        row = await self._app.store.lookup(_KEY_AND_USER, key=access_key_id) if 16 <= len(access_key_id) <= 32 else None
        if row is None or row.status != "Active":
            raise UnknownAccessKey
        found = Credential(
            secret=self._app.sealer.open(row.secret, secret_context(row.key_id)).decode(),
            session=Session(
                account=row.account,
                kind=PrincipalKind.USER,
                arn=row.arn,
                principal_id=row.user_id,
                access_key_id=row.key_id,
                tags=records.tags_of(row),
            ),
        )
        self._keep(self._credentials, access_key_id, found, epoch, _SESSION_SIZE)
        return found

    async def authorize(self, call: Call, action: str, resources: Sequence[str]) -> None:
        """Raises AccessDenied, with AWS's sentence, unless policy allows `action` on every resource."""
        await self._authorize(call, action, resources, {})

    async def pass_role(self, call: Call, role_arn: str, *, source_arn: str, across: bool = False) -> None:
        """Raises AccessDenied unless the caller may hand a role to the service that is called (iam:PassRole).

        `source_arn` is the resource that will act under the role. A role of another account is refused, unless `across`:
        then it is not the service that assumes it but a role of this account, which that account must trust.
        (AWS: IAM User Guide, "Grant a user permissions to pass a role".)
        """
        if not across and _account_of(role_arn) != call.account:
            raise AccessDenied("Cross-account pass role is not allowed.")
        await self._authorize(call, "iam:PassRole", (role_arn,), {"iam:associatedresourcearn": source_arn})

    async def _authorize(self, call: Call, action: str, resources: Sequence[str], more: Mapping[str, Value]) -> None:
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
                decision = await self.decision(
                    session,
                    action,
                    resource,
                    context,
                    named=guarded.name(session, action, resource, call.region, context),
                    same_account=guarded.account == session.account or session.kind is PrincipalKind.SERVICE,
                    resource_must=guarded.must_allow,
                )
            if not decision.allowed:
                guard, _ = self._guard(resource)
                if guard is not None and guarded is not None and guarded.account != session.account:
                    raise AccessDenied(guard.to_strangers or f"{_sentence(session, action, resource)}")
                raise AccessDenied(f"{_sentence(session, action, resource)} {_reason(decision, action)}")
            if guarded is not None and guarded.account != call.account:
                call.memo[f"let into {guarded.root}"] = guarded.account

    def _guard(self, resource: str) -> tuple[Guard[Any] | None, Any]:
        parts = resource.split(":", 3)
        return self._app.guards.get(parts[2], (None, None)) if len(parts) == 4 else (None, None)

    async def _guarded_by(self, resource: str) -> Guarded | None:
        """The policy that speaks for a resource, and whose it is; None where there is none."""
        guard, state = self._guard(resource)
        if guard is None or guard.policy is None:
            return None
        root = guard.root(resource)
        known = self._guarded.get(root)
        if known is None:
            epoch = self._epoch
            found = await guard.policy(state, root)
            if found is None:
                return None
            known = Guarded.of(root, found)
            self._keep(self._guarded, root, known, epoch, compiled_bytes(sum(map(len, found.documents))))
        return known

    async def _asked_of(self, session: Session, guarded: Guarded | None, resource: str) -> Mapping[str, Value]:
        """The condition keys of a resource that the policies which speak of it ask for: each costs a read."""
        guard, state = self._guard(resource)
        if guard is None or not guard.keys:
            return {}
        asked: Iterable[str] = () if guarded is None else guarded.keys
        if session.kind in (PrincipalKind.USER, PrincipalKind.ROLE):
            principal = await self._principal(session.principal_id.partition(":")[0])
            asked = (*asked, *(() if principal is None else principal.keys))
            if session.session_policy:
                asked = (*asked, *(await self._narrowing(session.session_policy)).keys)
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
        own: Verdict = Verdict.SILENT
        bound = narrowed = None
        if session.kind is PrincipalKind.ROOT:
            own = Verdict.ALLOWED
        elif session.kind in (PrincipalKind.USER, PrincipalKind.ROLE):
            principal = await self._principal(session.principal_id.partition(":")[0])
            if principal is not None:
                own = await self._decide(principal, action, resource, context)
                if principal.boundary is not None:
                    bound = await self._decide(principal.boundary, action, resource, context)
            if session.session_policy:
                narrowing = await self._narrowing(session.session_policy)
                narrowed = await self._decide(narrowing, action, resource, context)
        return weigh(
            identity=own,
            boundary=bound,
            session=narrowed,
            resource=named,
            same_account=same_account,
            resource_must=resource_must,
        )

    async def _decide(self, principal: _Principal, action: str, resource: str, context: Context) -> Verdict:
        """What policies say."""
        key = (principal.number, action, resource)
        if not principal.conditional:
            known = self._verdicts.get(key)
            if known is not None:
                return known
        texts = len(resource) + len(action) + (MAX_TEXT if principal.conditional else 0)
        principal.compared += principal.size * texts
        if principal.compared <= _TURN:
            verdict = decide(principal.policies, action, resource, context)
        else:
            verdict = await _in_slices(principal, action, resource, context)
        if not principal.conditional:
            self._verdicts.put(key, verdict, sys.getsizeof(action) + sys.getsizeof(resource))
        return verdict

    async def assume(
        self,
        *,
        role_arn: str,
        service: str,
        session_name: str,
        region: str,
        account: str,
        source_arn: str,
        duration: int = 3600,
    ) -> tuple[Session, dict[str, Any]]:
        """A session of a role for one of our services, and its credentials (STS `Credentials` shape).

        `duration` is in seconds. `account` is the one that the service works for; a role of another account is refused,
        whomever it trusts. `source_arn` is the resource for which it acts, such as a pipeline: trust policies may ask
        for it (aws:SourceArn). Raises AccessDenied when the role does not exist or does not trust the service.
        """
        session = service_session(service, account, source_arn)
        try:
            output = await self._app.invoke(
                session,
                "sts",
                "AssumeRole",
                {"RoleArn": role_arn, "RoleSessionName": session_name, "DurationSeconds": duration},
                region=region,
            )
        except AccessDeniedException as refused:
            raise AccessDenied(refused.message) from None
        credentials = output["Credentials"]
        found = await self.credential(credentials["AccessKeyId"], credentials["SessionToken"])
        return found.session, credentials

    async def id_of(self, arn: str) -> str | None:
        """The id of the user or role that an ARN names; of a session, its role's. None when it is missing."""
        row = await self._app.store.read(records.by_arn, arn)
        return None if row is None else row.id

    async def role(self, role_arn: str) -> Any:
        """The row of the role of exactly this ARN, or None."""
        if ":role/" not in role_arn:
            return None
        known = self._roles.get(role_arn)
        if known is None:
            epoch = self._epoch
            known = await self._app.store.read(records.by_arn, role_arn)
            if known is not None:
                weight = sum(sys.getsizeof(value) for value in known) + len(orjson.dumps((known.trusted, known.tags)))
                self._keep(self._roles, role_arn, known, epoch, weight)
        return known

    async def role_trusts(self, role_arn: str, service: str, *, account: str, source_arn: str) -> bool:
        """Whether `account` has a role and the role lets `service` assume it.

        `service` is a principal such as `codepipeline.amazonaws.com`, `source_arn` the resource for which it would act.
        """
        role = await self.role(role_arn)
        if role is None or role.account != account:
            return False
        session, region = service_session(service, account, source_arn), self._app.settings.region
        call = call_of(self._app, session, "sts", "AssumeRole", region=region)
        context = RequestContext(call, "sts:AssumeRole", role_arn)
        return trusts(role, session, "sts:AssumeRole", region, context) is Named.ITSELF

    async def bootstrap(self, account: str | None = None) -> str:
        """Make sure that an account (default: the installation's first) exists; its administrator's credentials file.

        Later calls give the same key as long as it is active, and never make a new one.
        """
        settings, now = self._app.settings, self._app.clock.now()
        chosen = account or settings.account
        key_id = await self._app.store.read(accounts.administrator_key, chosen)
        if key_id is None:
            key_id = await self.change(
                lambda conn: accounts.create_account(
                    conn, self._app.sealer, account=chosen, partition=partition_of(settings.region), now=now
                )
            )
        row = await self._app.store.read(records.access_key, key_id)
        if row is None or row.status != "Active":
            return f"# The administrator's first access key {key_id} is not active any more; use another user's here.\n"
        secret = self._app.sealer.open(row.secret, secret_context(row.id)).decode()
        return accounts.credentials_file(row.id, secret, settings.region)

    async def sign_in(self, *, account: str, user_name: str, password: str, address: str) -> SignedIn:
        """Check a user's password. Raises AccessDenied or Throttled, with the message that a sign-in page shows."""
        return await signin.sign_in(
            self._app, self.passwords, account=account, user_name=user_name, password=password, address=address
        )

    async def begin_session(self, user: SignedIn) -> str:
        """A session of the console for a user who has signed in; its id, which is as secret as a password."""
        return await signin.begin_session(self._app, user)

    async def session_user(self, session_id: str) -> SignedIn | None:
        """The user of a console session, unless it ended, or the user or the password is another by now."""
        return await signin.session_user(self._app, session_id)

    async def end_session(self, session_id: str) -> None:
        """End a console session: its user has signed out."""
        await signin.end_session(self._app, session_id)

    async def invited(self, token: str) -> SignedIn:
        """Whom a sign-in link belongs to. Raises AccessDenied for one that does not work."""
        return await invitations.open_token(self._app, token)

    async def choose_password(self, token: str, password: str) -> SignedIn:
        """Set the password of a sign-in link's user. Raises AccessDenied or PasswordPolicyViolationException."""
        invited = await self.invited(token)
        kept = await self.passwords.kept(acceptable(password))
        changed = max(self._app.clock.now(), invited.changed + 1)
        if not await self.change(lambda conn: invitations.set_password(conn, invited, password=kept, changed=changed)):
            raise AccessDenied(invitations.VOID)
        return replace(invited, changed=changed)

    def check_policy(self, conn: sa.Connection, document: str) -> dict[str, str]:
        """See `penstock.wire.call.Identity`."""
        return check_policy(conn, document)

    def would_let(self, call: Call, policy: ResourcePolicy, action: str) -> bool:
        """See `penstock.wire.call.Identity`."""
        found = Guarded.of("*", policy)
        named = found.name(call.session, action, "*", call.region, RequestContext(call, action, "*"))
        return named > Named.SILENT

    def shown_policy(self, conn: sa.Connection, document: str, ids: Mapping[str, str]) -> str:
        """See `penstock.wire.call.Identity`."""
        return shown_policy(conn, document, ids)

    async def change(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run `fn` as a transaction that changes identity; its value, once durable and no longer hidden by a cache."""

        def transaction(conn: sa.Connection) -> T:
            raised = records.begin_change(conn)
            value = fn(conn)
            after_commit(conn, lambda: self._changed(raised))
            return value

        return await self._app.store.write(transaction)

    def _changed(self, generation: int) -> None:
        """This process has raised the generation. Its wake-up need not empty the caches once more."""
        if self._generation == generation - 1:
            self._generation = generation
        self.forget()

    async def _temporary(self, access_key_id: str, token: str) -> Credential:
        found = self._grants.get(token)
        if found is None:
            epoch = self._epoch
            grant = sessions.unseal(self._app.sealer, token)
            if grant is None:
                raise InvalidSessionToken
            principal = await self._principal(grant.principal)
            if principal is None:
                raise InvalidSessionToken
            found = grant.credential()
            if principal.tags:
                session = replace(found.session, tags=records.over(principal.tags, found.session.tags))
                found = replace(found, session=session)
            self._keep(self._grants, token, found, epoch, _SESSION_SIZE + 2 * len(token))
        if not hmac.compare_digest(found.session.access_key_id.encode(), access_key_id.encode()):
            raise InvalidSessionToken
        if found.session.expires is not None and found.session.expires <= self._app.clock.now():
            raise ExpiredSession
        return found

    async def _principal(self, principal_id: str) -> _Principal | None:
        known = self._principals.get(principal_id)
        if known is not None:
            return known
        epoch = self._epoch
        found = await self._app.store.read(_documents_of, principal_id)
        if found is None:
            return None
        policies, size = _compiled(principal_id, self._partition, *found.documents)
        principal = _Principal.of(policies, size)
        principal.tags = found.tags
        if found.boundary is not None:
            bounding, characters = _compiled(principal_id, self._partition, *found.boundary)
            # A boundary that is gone allows nothing.
            principal.boundary = _Principal.of(bounding, characters)
            size += characters
        self._keep(self._principals, principal_id, principal, epoch, compiled_bytes(size))
        return principal

    async def _narrowing(self, session_policy: str) -> _Principal:
        found = self._narrowings.get(session_policy)
        if found is None:
            epoch = self._epoch
            texts, arns = orjson.loads(session_policy)
            documents = await self._app.store.read(records.merged_documents, texts, arns)
            policies, size = _compiled("", self._partition, *documents)
            found = _Principal.of(policies, size)
            self._keep(self._narrowings, session_policy, found, epoch, len(session_policy) + compiled_bytes(size))
        return found

    def _keep(self, cache: Cache[Any, Any], key: Any, value: Any, epoch: int, weight: int) -> None:
        """Keep what was read, unless identity has changed since the read began: it may be old news."""
        if epoch == self._epoch:
            cache.put(key, value, weight)

    async def start(self) -> None:
        """Subscribe to other processes' writes. SQLite serves one process, so there are none."""
        if self._app.store.dialect == "sqlite":
            return
        wakeup = self._app.store.wakeup(records.TOPIC)
        self._watching = self._app.store.loops.start("identity.watch", self._check, lambda: wakeup.wait(STALE_SECONDS))

    async def stop(self) -> None:
        """Unsubscribe."""
        await self._app.store.loops.stop(self._watching)

    async def _check(self) -> None:
        try:
            generation = await self._app.store.read(records.generation)
        except BaseException:
            # What cannot be checked is not believed; the reads that follow will say why.
            self._generation = None
            self.forget()
            raise
        if generation != self._generation:
            self._generation = generation
            self.forget()


async def _in_slices(principal: _Principal, action: str, resource: str, context: Context) -> Verdict:
    """What policies say that take long: large ones, or for a thousand keys.

    One decision of a principal at a time, policy by policy, with pauses as long as the work. However many requests a principal
    sends at once, it has no more than half of the event loop, and nobody else waits for its turn.
    """
    if principal.turns is None:
        principal.turns = asyncio.Lock()
    verdict = Verdict.SILENT
    async with principal.turns:
        principal.compared = 0
        began = time.perf_counter()
        for policy in principal.policies:
            said = decide((policy,), action, resource, context)
            if said is Verdict.DENIED:
                verdict = said
                break
            if said is Verdict.ALLOWED:
                verdict = said
            took = time.perf_counter() - began
            if took > _SLICE_S:
                await asyncio.sleep(took)
                began = time.perf_counter()
        await asyncio.sleep(time.perf_counter() - began)
    return verdict


_identity_policy = remembered(identity_policy, _DOCUMENT_BYTES)


def _compiled(principal_id: str, partition: str, texts: list[str], arns: list[str]) -> tuple[tuple[Policy, ...], int]:
    """The policies of documents and of AWS's managed ones, and how many characters they have.

    A stored document that no longer compiles denies everything: what it would forbid is not known.
    """
    try:
        policies = [_identity_policy(text) for text in texts]
    except MalformedPolicyDocumentException:
        _log.exception("identity.policy_unreadable", extra={"principal": principal_id})
        return (_EVERYTHING_DENIED,), 0
    managed = [policy.document for arn in arns if (policy := managed_policy(arn, partition)) is not None]
    return (*policies, *map(_identity_policy, managed)), sum(map(len, (*texts, *managed)))


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


def _account_of(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _sentence(session: Session, action: str, resource: str) -> str:
    who = f"User: {session.arn}" if session.kind is not PrincipalKind.SERVICE else session.service
    return f"{who} is not authorized to perform: {action} on resource: {resource}"


def _reason(decision: Decision, action: str) -> str:
    if not decision.explicit:
        return f"because no {decision.kind} allows the {action} action"
    article = "an" if decision.kind.startswith("i") else "a"
    return f"with an explicit deny in {article} {decision.kind}"
