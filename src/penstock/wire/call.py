"""Who calls, and the call itself: what every operation is handed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

AppT = TypeVar("AppT")
T = TypeVar("T")

Input = dict[str, Any]
Output = dict[str, Any]
"""Members as the model has them; timestamps are integer milliseconds UTC.

A long list may be an orjson.Fragment: JSON that a codec hands on, and `invoke` reads.
"""


class PrincipalKind(StrEnum):
    """What kind of principal a session belongs to."""

    ROOT = "root"  # the account itself
    USER = "user"  # an IAM user, by access key
    ROLE = "role"  # an assumed role
    FEDERATED = "federated"  # somebody for whom a user has vouched (GetFederationToken)
    SERVICE = "service"  # one of our own services, such as codepipeline.amazonaws.com
    ANONYMOUS = "anonymous"  # an unsigned request


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A verified caller. Made by identity only; nothing in a request can forge one."""

    account: str  # 12 digits; "" when anonymous
    kind: PrincipalKind
    arn: str  # what GetCallerIdentity answers
    principal_id: str  # AIDA…, AROA…:session-name, ACCOUNT:name of a federated user, or the account
    access_key_id: str = ""
    role_arn: str = ""  # of an assumed role: the role itself
    user_arn: str = ""  # of a federated user: the user who vouched
    user_id: str = ""  # AIDA… of that user
    session_policy: str = ""  # JSON; narrows a session
    service: str = ""  # of kind SERVICE: its principal, such as codepipeline.amazonaws.com
    source_arn: str = ""  # of kind SERVICE: the resource for which it acts, such as a pipeline
    source_identity: str = ""  # who is behind an assumed role, as whoever assumed it said
    issued: int = 0  # ms since the epoch; 0 for keys that are not temporary
    expires: int | None = None  # ms since the epoch
    mfa: int = 0  # when a second factor was shown, in ms since the epoch; 0: never
    provider: str = ""  # ARN of the identity provider that vouched for a web identity
    console: str = ""  # what names the session of the console that calls, in lists of sessions
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()  # keys of those tags that sessions assumed from this one have too

    @property
    def entity(self) -> str:
        """The id of the user or role whose policies the session stands on."""
        return self.user_id or self.principal_id.partition(":")[0]


LET_INTO = "let into"
"""The member of a call's memo that says into whose resources another account's policy has let the caller: {ARN of its root: account}."""

ANONYMOUS = Session(account="", kind=PrincipalKind.ANONYMOUS, arn="", principal_id="anonymous")


def service_session(service: str, account: str, source_arn: str) -> Session:
    """The session under which one of our own services acts for a resource of an account, before it assumes a role.

    `service` is the principal that a trust policy names, such as `codepipeline.amazonaws.com`.
    """
    return Session(
        account=account,
        kind=PrincipalKind.SERVICE,
        arn=service,
        principal_id=service,
        service=service,
        source_arn=source_arn,
    )


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who showed a token of an identity provider instead of a signature, for the record of the call: `call.memo["who"]`."""

    account: str  # of the role that is asked for
    provider: str
    audience: str
    subject: str


@dataclass(frozen=True, slots=True)
class Certified:
    """Whose trusted certificate has signed a request, for the record of the call: `call.memo["who"]`."""

    account: str  # that trusts it
    subject: str
    serial: str  # hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What verifying a signature needs."""

    secret: str
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a call in process comes from, as far as policies may ask. A service's own call under a role comes from nowhere."""

    via: str
    service: str = ""  # whose own call it is, such as codepipeline.amazonaws.com, for the log
    source_ip: str = ""
    secure: bool = True  # what stays within the process crosses no network
    user_agent: str = ""
    called_via: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)  # not frozen: one is made for each request, which would take three times as long
class Call(Generic[AppT]):
    """One call of one operation, over HTTP or in process."""

    app: AppT
    session: Session
    account: str  # whose resources the call sees
    region: str
    service: str  # botocore's name, such as "codepipeline"
    operation: str  # the model's name, such as "GetPipeline"
    request_id: str
    now: int  # ms since the epoch, from the app's clock
    via: str  # "http", "console", "git", or "invoke": in process, by one of our services
    virtual_host: bool = False  # the address names the resource (a bucket) in its host, so nothing else is served there
    source_ip: str = ""
    user_agent: str = ""
    called_via: tuple[str, ...] = ()  # services that hand a caller's own session on, the first first
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case names; empty in process
    secure: bool = False  # came over TLS
    presigned: bool = False
    certificate: bytes = (
        b""  # DER of the certificate whose key has signed the request; nobody has said yet whom it speaks for
    )
    memo: dict[str, Any] = field(default_factory=dict)  # what finding the resource has read: "region", where it lies

    @property
    def partition(self) -> str:
        """The ARN partition of the region."""
        return partition_of(self.region)

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """An ARN in the call's partition, region and account."""
        where = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{where}:{self.account}:{resource}"

    @property
    def origin(self) -> Origin:
        """Where the call came from, for a call that its service makes under the caller's own session."""
        return Origin(
            via="invoke",
            source_ip=self.source_ip,
            secure=self.secure,
            user_agent=self.user_agent,
            called_via=(*self.called_via, f"{self.service}.amazonaws.com"),
        )


def partition_of(region: str) -> str:
    """AWS's partition of a region name: `us-gov-…` → `aws-us-gov`, `cn-…` → `aws-cn`, else `aws`."""
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws"


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


class SignedIn(Protocol):
    """A user who has shown a password."""

    @property
    def session(self) -> Session:
        """The session that the console's calls run under."""
        ...

    @property
    def user_name(self) -> str: ...

    @property
    def changed(self) -> int:
        """When the password was set, in ms; a cookie of an older one is worth nothing."""
        ...

    @property
    def factors(self) -> tuple[str, ...]:
        """The kinds of second factors of which one must be shown before a session begins: "totp", "passkey"."""
        ...

    @property
    def device(self) -> str:
        """Serial number of the device that was shown, where it is known: for the record."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Somebody whom the issuer of single sign-on has named, and the roles that let them in."""

    name: str  # in records and on pages
    roles: Sequence[str]  # ARNs, one at least
    token: str  # what `enter` takes, sealed
    target: str  # where to go afterwards, as `begin` was given it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """A ceremony of WebAuthn that is going on in a browser."""

    token: str  # what comes back with the answer; sealed, good for five minutes
    options: str  # JSON of what `navigator.credentials` is asked for, with byte strings as base64url


class Passkeys(Protocol):
    """Signing in to the console by passkeys (WebAuthn), as second factor and in place of the password."""

    @property
    def address(self) -> str:
        """Where they work: scheme, name and port. Raises AccessDenied with a sentence where they cannot."""
        ...

    async def begin(self, step: str = "") -> Ceremony:
        """Ask for one of the passkeys of whoever is in the second step, or without one for any. Raises AccessDenied."""
        ...

    async def show(self, token: str, answer: str, step: str = "") -> SignedIn:
        """Whose passkey a browser has shown.

        Raises Throttled, and AccessDenied with a sentence. Whose passkey it is, if that is known, its `values` say for the record: the
        `account`, the `device` (its serial number) and `why`.
        """
        ...


class SingleSignOn(Protocol):
    """Signing in to the console by an OpenID Connect issuer (authorization code flow with PKCE)."""

    @property
    def label(self) -> str:
        """What its button is called."""
        ...

    async def begin(self, target: str) -> tuple[str, str]:
        """Where a browser goes, and what it holds meanwhile, sealed. Raises AccessDenied when the issuer cannot be asked."""
        ...

    async def finish(self, held: str, query: Mapping[str, str], origin: Origin) -> Offer:
        """What a browser that comes back may enter. Raises AccessDenied with a sentence for the page."""
        ...

    async def enter(self, held: str, token: str, role: str, origin: Origin) -> SignedIn:
        """The session of one of the roles of an offer. Raises AccessDenied."""
        ...


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
    ) -> tuple[Session, dict[str, Any]]:
        """A session of a role for one of our services, and its credentials (STS `Credentials` shape).

        `duration` is in seconds. `account` is the one that the service works for: a role of another account is refused
        then. `source_arn` is the resource for which it acts, which trust policies may ask for. Goes through the registered
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
        """Let one resource alone give the sessions of a role (ARN) and name, within `change`. Others, and those from before `since` (ms), are over."""
        ...

    def revoke_sessions(self, conn: Any, role_arn: str, name: str, *, by: str) -> None:
        """End what a resource has given of them, within `change`, and let nobody give others before they are reserved again."""
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


class Body(Protocol):
    """A streaming blob as an operation sees it: an asynchronous iterator of chunks.

    The wire layer checks length, payload hash, chunk signatures and trailers while it is read; a mismatch raises the
    service's error from the iteration. Commit nothing before it ended.
    """

    length: int | None  # decoded length in bytes, when announced

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Invoke(Protocol):
    """Runs a registered operation in process: same validation, authorisation and log as over HTTP."""

    async def __call__(
        self, session: Session, service: str, operation: str, input: Input, *, region: str, origin: Origin = ...
    ) -> Output:
        """The operation's output. Raises its ServiceError, or AccessDenied. Never call it inside a transaction.

        Without `origin` it is a call of one of our services.
        """
        ...


@dataclass(slots=True)
class Reply:
    """An operation's output when the plain dict is not enough (an HTTP status of its own, extra headers)."""

    output: Output
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
