"""Temporary credentials: the session token carries the whole session, sealed; no row is kept for it.

A token is believed only as far as its seal, its expiry and the present existence of the role or user behind it go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from penstock.identity import naming, records
from penstock.store.codec import Codec, UnknownForm
from penstock.store.sealed_tokens import open_token, seal_token
from penstock.store.sealing import SealError
from penstock.wire.call import Credential, PrincipalKind, Session

if TYPE_CHECKING:
    from penstock.store.sealing import Sealer

MAX_TOKEN = 16_384  # characters of a session token that is looked at
MAX_PACKED = 4096  # characters of session policies and tags that a token carries
_CONTEXT = "iam/session-token"


def of_user(row: Any, principal_id: str, access_key_id: str = "") -> Session:
    """The session of a user who shows credentials of its own. `row` has the account, ARN and tags of the user."""
    return Session(
        account=row.account,
        kind=PrincipalKind.USER,
        arn=row.arn,
        principal_id=principal_id,
        access_key_id=access_key_id,
        tags=records.tags_of(row),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a session token says."""

    access_key_id: str
    secret: str
    kind: PrincipalKind  # ROLE, USER for GetSessionToken, FEDERATED for GetFederationToken
    account: str
    principal: str  # AROA… or AIDA…
    arn: str  # of the role or the user
    session_name: str = ""  # of a role's session, or of the federated user
    issued: int  # ms since the epoch
    expires: int  # ms since the epoch
    policies: tuple[str, ...] = ()  # session policy documents; together they narrow what the role or user may
    policy_arns: tuple[str, ...] = ()  # managed policies that do the same
    narrowed: bool = False  # whether a session policy was given at all
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()  # keys of tags that go on along a chain of roles
    source_identity: str = ""
    mfa: int = 0  # when a second factor was shown, in ms since the epoch; 0: never
    provider: str = ""  # ARN of the identity provider that vouched
    by: str = ""  # ARN of the resource that alone gives sessions of this name, and since when: see `reserved`
    since: int = 0

    def credential(self) -> Credential:
        """The session and its secret."""
        role = self.kind is PrincipalKind.ROLE
        federated = self.kind is PrincipalKind.FEDERATED
        if role:
            arn, principal_id = naming.session_arn(self.arn, self.session_name), f"{self.principal}:{self.session_name}"
        elif federated:
            arn = naming.federated_arn(self.arn.split(":", 2)[1], self.account, self.session_name)
            principal_id = f"{self.account}:{self.session_name}"
        else:
            arn, principal_id = self.arn, self.principal
        return Credential(
            secret=self.secret,
            session=Session(
                account=self.account,
                kind=self.kind,
                arn=arn,
                principal_id=principal_id,
                access_key_id=self.access_key_id,
                role_arn=self.arn if role else "",
                user_arn=self.arn if federated else "",
                user_id=self.principal if federated else "",
                session_policy=orjson.dumps([self.policies, self.policy_arns]).decode() if self.narrowed else "",
                issued=self.issued,
                expires=self.expires,
                mfa=self.mfa,
                provider=self.provider,
                tags=self.tags,
                transitive=self.transitive,
                source_identity=self.source_identity,
            ),
        )


_GRANT = Codec("a session token", Grant)


def seal(sealer: Sealer, grant: Grant) -> str:
    """The session token."""
    return seal_token(sealer, _GRANT.dump(grant), _CONTEXT)


def unseal(sealer: Sealer, token: str) -> Grant | None:
    """What a session token says, or None when it is not one that this release reads. Expiry is the caller's to check."""
    try:
        document = open_token(sealer, token, _CONTEXT, most=MAX_TOKEN)
        return _GRANT.load(document) if isinstance(document, dict) else None
    except (SealError, UnknownForm):
        return None
