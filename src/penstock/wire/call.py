"""Who calls, and the call itself: what every operation is handed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
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
    # DER of the certificate whose key has signed the request; nobody has said yet whom it speaks for.
    certificate: bytes = b""
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
