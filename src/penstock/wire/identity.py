"""What is asked of the component that knows who calls and who may, by the wire layer and by components that keep resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from penstock.wire.call import Call, Credential, Session
    from penstock.wire.sign_in import Passkeys, SignedIn, SingleSignOn

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePolicy:
    """The policy of a resource, as the component that keeps the resource hands it to identity."""

    account: str  # 12 digits; whose resource it is
    documents: Sequence[str] = ()  # as `Identity.check_policy` took them; none for a resource without one
    ids: Mapping[str, str] = field(default_factory=dict)  # what `check_policy` answered for them
    must_allow: bool = False  # nobody gets in by policies of their own alone (keys)


class PolicyRefused(Exception):
    """A resource's policy that is not taken; the service says so in its own words."""

    def __init__(self, message: str, *, principal: bool = False) -> None:
        """`principal`: it names a principal that cannot exist or does not."""
        super().__init__(message)
        self.message = message
        self.principal = principal


class Identity(Protocol):
    """What the wire layer asks of the identity package."""

    async def credential(self, access_key_id: str, session_token: str) -> Credential:
        """The secret and session behind a key.

        Raises UnknownAccessKey, InvalidSessionToken or ExpiredSession.
        """
        ...

    async def service_session(self, service: str, user_name: str, password: str) -> Session:
        """The session of a user who shows a service-specific credential for `service`, such as codecommit.amazonaws.com.

        Raises UnknownAccessKey.
        """
        ...

    def used(self, session: Session, service: str, region: str) -> None:
        """A request's signature holds, or a service acts under a role: its key or role was used for an operation of a service."""
        ...

    async def authorize(self, call: Call[Any], action: str, resources: Sequence[str]) -> None:
        """Raises AccessDenied, with AWS's sentence, unless policy allows `action` on every resource."""
        ...

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

        `duration` is in seconds. `policy` (JSON) narrows what the session may. `account` is the one that the service works
        for: a role of another account is refused then. `source_arn` is the resource for which it acts, which trust policies may ask for. Goes through the registered
        sts:AssumeRole with the service's session, so trust is checked. Raises AccessDenied when the role does not exist or
        does not trust the service.
        """
        ...

    async def role_trusts(self, role_arn: str, service: str, *, account: str, source_arn: str) -> bool:
        """Whether an account has a role that lets a service such as `codebuild.amazonaws.com` assume it for a resource."""
        ...

    async def id_of(self, arn: str) -> str | None:
        """The id of the user or role that an ARN names (of a session: its role's), which a later user or role of the same name does not have."""
        ...

    async def principals(self, session: Session) -> tuple[str, ...]:
        """The ARNs that a caller answers to: of the user and its groups, or of the role."""
        ...

    async def pass_role(
        self, call: Call[Any], role_arn: str, *, source_arn: str, service: str = "", across: bool = False
    ) -> None:
        """Raises AccessDenied unless the caller may hand a role to the service that is called (iam:PassRole).

        `source_arn` is the resource that will act under the role, `service` whom it is handed to when that is another than
        the service that is called. A role of another account is refused, unless `across`:
        then it is not the service that assumes it but a role of this account, which that account must trust.
        """
        ...

    async def change(self, fn: Callable[[Any], T]) -> T:
        """Run `fn(conn)` as a transaction that changes what policies say; nothing remembered of them outlives it.

        A component writes the policy of a resource, and whose the resource is, in such a one.
        """
        ...

    def check_policy(self, conn: Any, document: str) -> dict[str, str]:
        """The ids of the users and roles that a resource's policy names, to be kept with it. Raises PolicyRefused."""
        ...

    def reserve_session(self, conn: Any, role_arn: str, name: str, *, by: str, since: int) -> None:
        """Let one resource alone give the sessions of a role (ARN) and name from now (ms) on, within `change`. Those of before are over."""
        ...

    def revoke_sessions(self, conn: Any, role_arn: str, name: str, *, by: str) -> None:
        """End what a resource has given of them, within `change`, and let nobody give others before they are reserved again."""
        ...

    def release_sessions(self, conn: Any, role_arn: str, name: str, *, by: str) -> None:
        """End them too, within `change`, and let everybody whom the role trusts give others, unless another resource reserves them by now."""
        ...

    def revoke_all_sessions(self, conn: Any, *, by: str) -> None:
        """The same for every name of a resource (ARN)."""
        ...

    def would_let(self, call: Call[Any], policy: ResourcePolicy, action: str) -> bool:
        """Whether a resource's policy would let the caller, or its account, take an action."""
        ...

    def policy_to_api(self, conn: Any, document: str, ids: Mapping[str, str]) -> str:
        """A resource's policy as its readers see it: a user or role that is gone is shown by its id (AWS: IAM, "Principal")."""
        ...

    async def sign_in(self, *, account: str, user_name: str, password: str, address: str, wrong: str = ...) -> SignedIn:
        """Check a user's password. Raises AccessDenied or Throttled, with the message that a page shows; `wrong` begins it."""
        ...

    @property
    def single_sign_on(self) -> SingleSignOn | None:
        """Signing in by an issuer, where one is chosen."""
        ...

    @property
    def passkeys(self) -> Passkeys:
        """Signing in by passkeys."""
        ...

    async def begin_session(self, user: Any, *, address: str, agent: str) -> str:
        """A session of the console for a user who has signed in; its id, which is as secret as a password.

        `address` and `agent` say where the user sits, for the list of sessions.
        """
        ...

    async def session_user(self, session_id: str, *, active: bool) -> SignedIn | None:
        """The user of a console session, unless it ended, or the user or the password is another by now.

        `active`: its user does something, so that it is not idle.
        """
        ...

    def second_step(self, user: Any) -> str:
        """A token for a user who has shown the password and must show a second factor now."""
        ...

    async def second_step_user(self, token: str) -> SignedIn:
        """The user of such a token. Raises AccessDenied for one that is of no use any more."""
        ...

    async def show_factor(self, token: str, code: str) -> SignedIn:
        """The user of such a token, who shows a code. Raises AccessDenied with the message that the page shows."""
        ...

    async def renew_session(self, session_id: str) -> str:
        """Give a console session another id, after its user has shown or changed what signs in; the new id."""
        ...

    async def end_session(self, session_id: str) -> None:
        """End a console session: its user has signed out."""
        ...

    async def invited(self, token: str) -> SignedIn:
        """Whom a sign-in link belongs to. Raises AccessDenied for a link that does not work."""
        ...

    async def expired(self, user: Any) -> str:
        """A token of a sign-in link for a user whose password has expired and who has to choose another; "" for others."""
        ...

    async def choose_password(self, token: str, password: str) -> SignedIn:
        """Set the password of a sign-in link's user. Raises AccessDenied, or the service's error for a poor password."""
        ...

    async def bootstrap(self) -> str:
        """Make the administrator of the first account, once; the content of its AWS credentials file."""
        ...
