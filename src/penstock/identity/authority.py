"""Who are you, and may you: what the wire layer asks on every request.

A request costs dictionary look-ups here. What was read from the database is kept until identity changes: writes of this process
empty the cache before their caller is answered; a write of another process (PostgreSQL only) is noticed by its wake-up,
usually within milliseconds, and at the latest after STALE_SECONDS.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import sqlalchemy as sa

from penstock.identity import accounts, console_sessions, invitations, naming, records, second_step, signin
from penstock.identity.addresses import Addresses, Refusals
from penstock.identity.cache import Cache, Memories
from penstock.identity.context import RequestContext
from penstock.identity.credentials import Credentials
from penstock.identity.decisions import Decisions
from penstock.identity.errors import AccessDeniedException
from penstock.identity.guarded import Guarded, check_policy, policy_to_api, trusts
from penstock.identity.issuers import Issuers
from penstock.identity.last_uses import LastUses
from penstock.identity.passkeys import Passkeys
from penstock.identity.password_policy import new_password, of_account
from penstock.identity.passwords import Passwords
from penstock.identity.policy import Named
from penstock.identity.principals import Principals
from penstock.identity.reserved import Reservations, release, reserve, revoke, revoke_all
from penstock.identity.signin import SignedIn
from penstock.loops import Loop
from penstock.store.database import after_commit
from penstock.wire.call import PrincipalKind, Session, partition_of, service_session
from penstock.wire.errors import AccessDenied
from penstock.wire.identity import ResourcePolicy
from penstock.wire.invoke import call_of
from penstock.wire.sign_in import SingleSignOn

if TYPE_CHECKING:
    from penstock.application import App, Call

T = TypeVar("T")
STALE_SECONDS = 1.0
_ROLE_BYTES = 16 << 20  # of memory for rows of roles; beyond them it starts anew
# Of web identities, of one address: calls at a time, and refusals in a minute. Runners of a provider share addresses, and clients try again.
_AT_ONCE = 16
_REFUSALS = 120

_log = logging.getLogger("penstock.identity")


class Authority:
    """The Identity of the application (penstock.wire.identity.Identity)."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._partition = partition_of(app.settings.region)
        self._watching: Loop | None = None
        self._generation: int | None = None  # of what other processes wrote, when it was last read
        self._memories = Memories()
        self._roles: Cache[str, Any] = self._memories.cache(_ROLE_BYTES)  # rows, by ARN
        principals = Principals(app, self._memories)
        self.decisions = Decisions(app, self._memories, principals)
        self.reservations = Reservations(app, self._memories)
        self.credentials = Credentials(app, self._memories, principals, self.reservations)
        # Not methods that hand on: every request takes this path.
        self.credential, self.service_session = self.credentials.find, self.credentials.service_session
        self.passwords = Passwords()
        self.issuers = Issuers(app)
        self.uses = LastUses(app)
        self.single_sign_on: SingleSignOn | None = None
        self.passkeys = Passkeys(app)
        self.strangers, self.refusals = Addresses(at_once=_AT_ONCE), Refusals(_REFUSALS)

    def forget(self) -> None:
        """Empty the caches: identity has changed."""
        self._memories.clear()

    def used(self, session: Session, service: str, region: str) -> None:
        """A key or a session of a role has made a request; noted now and then. See `penstock.identity.last_uses`."""
        if session.kind is PrincipalKind.ROLE:
            self.uses.note(session.entity, service, region)
        elif session.access_key_id.startswith(naming.LONG_TERM):
            self.uses.note(session.access_key_id, service, region)

    async def authorize(self, call: Call, action: str, resources: Sequence[str]) -> None:
        """Raises AccessDenied, with AWS's sentence, unless policy allows `action` on every resource."""
        await self.decisions.authorize(call, action, resources, {})

    async def pass_role(
        self, call: Call, role_arn: str, *, source_arn: str, service: str = "", across: bool = False
    ) -> None:
        """Raises AccessDenied unless the caller may hand a role to the service that is called (iam:PassRole).

        `source_arn` is the resource that will act under the role, `service` whom it is handed to when that is another than
        the service that is called. A role of another account is refused, unless `across`:
        then it is not the service that assumes it but a role of this account, which that account must trust.
        (AWS: IAM User Guide, "Grant a user permissions to pass a role".)
        """
        if not across and naming.account_of(role_arn) != call.account:
            raise AccessDenied("Cross-account pass role is not allowed.")
        keys = {"iam:associatedresourcearn": source_arn} | ({"iam:passedtoservice": service} if service else {})
        await self.decisions.authorize(call, "iam:PassRole", (role_arn,), keys)

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
        policy: str = "",
    ) -> tuple[Session, dict[str, Any]]:
        """A session of a role for one of our services, and its credentials (STS `Credentials` shape).

        `duration` is in seconds. `policy` (JSON) narrows what the session may. `account` is the one that the service works for; a role of another account is refused,
        whomever it trusts. `source_arn` is the resource for which it acts, such as a pipeline: trust policies may ask
        for it (aws:SourceArn). Raises AccessDenied when the role does not exist or does not trust the service.
        """
        session = service_session(service, account, source_arn)
        asked = {"RoleArn": role_arn, "RoleSessionName": session_name, "DurationSeconds": duration}
        if policy:
            asked["Policy"] = policy
        try:
            output = await self._app.invoke(session, "sts", "AssumeRole", asked, region=region)
        except AccessDeniedException as refused:
            raise AccessDenied(refused.message) from None
        credentials = output["Credentials"]
        found = await self.credential(credentials["AccessKeyId"], credentials["SessionToken"])
        return found.session, credentials

    async def id_of(self, arn: str) -> str | None:
        """The id of the user or role that an ARN names; of a session, its role's. None when it is missing."""
        row = await self._app.store.read(records.by_arn, arn)
        return None if row is None else row.id

    async def principals(self, session: Session) -> tuple[str, ...]:
        """The ARNs that a caller answers to: of the user, or the user who vouched, and its groups; of a session's role."""
        if session.kind is PrincipalKind.ROLE:
            return (session.role_arn,)
        if session.kind not in (PrincipalKind.USER, PrincipalKind.FEDERATED):
            return (session.arn,)
        groups = await self._app.store.read(records.group_arns, session.entity)
        return (session.user_arn or session.arn, *groups)

    async def role(self, role_arn: str) -> Any:
        """The row of the role of exactly this ARN, or None."""
        if ":role/" not in role_arn:
            return None
        known = self._roles.get(role_arn)
        if known is None:
            epoch = self._memories.epoch
            known = await self._app.store.read(records.by_arn, role_arn)
            if known is not None:
                weight = sum(sys.getsizeof(value) for value in known) + len(orjson.dumps((known.trusted, known.tags)))
                self._memories.keep(self._roles, role_arn, known, epoch, weight)
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
        secret = self._app.sealer.open(row.secret, records.secret_context(row.id)).decode()
        return accounts.credentials_file(row.id, secret, settings.region)

    async def sign_in(
        self, *, account: str, user_name: str, password: str, address: str, wrong: str = signin.WRONG
    ) -> SignedIn:
        """Check a user's password. Raises AccessDenied or Throttled, with the message that a page shows; `wrong` begins it."""
        return await signin.sign_in(
            self._app,
            self.passwords,
            account=account,
            user_name=user_name,
            password=password,
            address=address,
            wrong=wrong,
        )

    async def begin_session(self, user: SignedIn, *, address: str, agent: str) -> str:
        """A session of the console for a user who has signed in; its id, which is as secret as a password."""
        return await console_sessions.begin(self._app, user, address=address, agent=agent)

    async def session_user(self, session_id: str, *, active: bool) -> SignedIn | None:
        """The user of a console session, unless it ended, or the user or the password is another by now."""
        return await console_sessions.user_of(self._app, session_id, active=active, credential=self.credential)

    async def expired(self, user: SignedIn) -> str:
        """A token of a sign-in link for a user whose password has expired and who has to choose another; "" for others."""
        now, session = self._app.clock.now(), user.session
        policy = await self._app.store.read(of_account, session.account)
        if not policy.expired(user.changed, now):
            return ""
        until = now + invitations.EXPIRED_MS
        return invitations.token_of(self._app, user_id=session.principal_id, changed=user.changed, until=until)

    def second_step(self, user: SignedIn) -> str:
        """A token for a user who has shown the password and must show a second factor now."""
        return second_step.token_for(self._app, user)

    async def second_step_user(self, token: str) -> SignedIn:
        """The user of such a token. Raises AccessDenied for one that is of no use any more."""
        return await second_step.user_of(self._app, token)

    async def show_factor(self, token: str, code: str) -> SignedIn:
        """The user of such a token, who shows a code. Raises AccessDenied with the message that the page shows."""
        return await second_step.show_code(self._app, token, code)

    async def renew_session(self, session_id: str) -> str:
        """Give a console session another id, after its user has shown or changed what signs in; the new id."""
        return await console_sessions.renew(self._app, session_id)

    async def end_session(self, session_id: str) -> None:
        """End a console session: its user has signed out."""
        await console_sessions.end(self._app, session_id)

    async def invited(self, token: str) -> SignedIn:
        """Whom a sign-in link belongs to. Raises AccessDenied for one that does not work."""
        return await invitations.open_token(self._app, token)

    async def choose_password(self, token: str, password: str) -> SignedIn:
        """Set the password of a sign-in link's user. Raises AccessDenied or PasswordPolicyViolationException."""
        invited = await self.invited(token)
        account, user_id = invited.session.account, invited.session.principal_id
        new = await new_password(self._app, self.passwords, account, user_id, password, own=True)
        changed = max(self._app.clock.now(), invited.changed + 1)
        if not await self.change(lambda conn: invitations.set_password(conn, invited, password=new, changed=changed)):
            raise AccessDenied(invitations.VOID)
        return replace(invited, changed=changed)

    async def tags(self, arn: str) -> Mapping[str, str]:
        """The tags of what has this ARN in IAM; none for what is not there."""
        return await self._app.store.read(records.tags_of_arn, arn)

    def check_policy(self, conn: sa.Connection, document: str) -> dict[str, str]:
        """See `penstock.wire.identity.Identity`."""
        return check_policy(conn, document)

    def reserve_session(self, conn: sa.Connection, role_arn: str, name: str, *, by: str, since: int) -> None:
        """See `penstock.wire.identity.Identity`."""
        reserve(conn, role_arn, name, by=by, since=since)

    def revoke_sessions(self, conn: sa.Connection, role_arn: str, name: str, *, by: str) -> None:
        """See `penstock.wire.identity.Identity`."""
        revoke(conn, role_arn, name, by=by)

    def release_sessions(self, conn: sa.Connection, role_arn: str, name: str, *, by: str) -> None:
        """See `penstock.wire.identity.Identity`."""
        release(conn, role_arn, name, by=by)

    def revoke_all_sessions(self, conn: sa.Connection, *, by: str) -> None:
        """See `penstock.wire.identity.Identity`."""
        revoke_all(conn, by=by)

    def would_let(self, call: Call, policy: ResourcePolicy, action: str) -> bool:
        """See `penstock.wire.identity.Identity`."""
        found = Guarded.of("*", policy)
        named = found.name(call.session, action, "*", call.region, RequestContext(call, action, "*"))
        return named > Named.SILENT

    def policy_to_api(self, conn: sa.Connection, document: str, ids: Mapping[str, str]) -> str:
        """See `penstock.wire.identity.Identity`."""
        return policy_to_api(conn, document, ids)

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

    async def start(self) -> None:
        """Note uses of keys and roles, and subscribe to other processes' writes. SQLite serves one process, so there are none."""
        self.uses.start()
        if self._app.store.dialect == "sqlite":
            return
        wakeup = self._app.store.wakeup(records.TOPIC)
        self._watching = self._app.store.loops.start("identity.watch", self._check, lambda: wakeup.wait(STALE_SECONDS))

    async def stop(self) -> None:
        """Unsubscribe, and write what was noted of keys and roles."""
        await self.uses.stop()
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
