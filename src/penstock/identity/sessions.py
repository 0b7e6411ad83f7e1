"""Temporary credentials: the session token carries the whole session, sealed; no row is kept for it.

A token is believed only as far as its seal, its expiry and the present existence of the role or user behind it go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from penstock.identity import naming
from penstock.store.sealing import SealError
from penstock.wire.call import Credential, PrincipalKind, Session

if TYPE_CHECKING:
    from penstock.store.sealing import Sealer

MAX_TOKEN = 16_384  # characters of a session token that is looked at
MAX_PACKED = 4096  # characters of session policies and tags that a token carries
_CONTEXT = "iam/session-token"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a session token says."""

    access_key_id: str
    secret: str
    kind: PrincipalKind  # ROLE, or USER for GetSessionToken
    account: str
    principal: str  # AROA… or AIDA…
    arn: str  # of the role or the user
    session_name: str = ""  # of a role's session
    expires: int  # ms since the epoch
    policies: tuple[str, ...] = ()  # session policy documents; together they narrow what the role may
    policy_arns: tuple[str, ...] = ()  # managed policies that do the same
    narrowed: bool = False  # whether a session policy was given at all
    tags: Mapping[str, str] = field(default_factory=dict)
    source_identity: str = ""

    def credential(self) -> Credential:
        """The session and its secret."""
        role = self.kind is PrincipalKind.ROLE
        return Credential(
            secret=self.secret,
            session=Session(
                account=self.account,
                kind=self.kind,
                arn=naming.session_arn(self.arn, self.session_name) if role else self.arn,
                principal_id=f"{self.principal}:{self.session_name}" if role else self.principal,
                access_key_id=self.access_key_id,
                role_arn=self.arn if role else "",
                session_policy=orjson.dumps([self.policies, self.policy_arns]).decode() if self.narrowed else "",
                expires=self.expires,
                tags=self.tags,
                source_identity=self.source_identity,
            ),
        )


def seal(sealer: Sealer, grant: Grant) -> str:
    """The session token."""
    content = [
        _VERSION, grant.access_key_id, grant.secret, grant.kind, grant.account, grant.principal, grant.arn, grant.session_name,
        grant.expires, grant.policies, grant.policy_arns, grant.narrowed, dict(grant.tags), grant.source_identity,
    ]  # fmt: skip
    return base64.urlsafe_b64encode(sealer.seal(orjson.dumps(content), _CONTEXT)).decode()


def unseal(sealer: Sealer, token: str) -> Grant | None:
    """What a session token says, or None when it is not one of ours. Expiry is the caller's to check."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        sealed = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        content = orjson.loads(sealer.open(sealed, _CONTEXT))
    except (UnicodeEncodeError, binascii.Error, SealError, orjson.JSONDecodeError):
        return None
    if content[0] != _VERSION:
        return None
    _, key, secret, kind, account, principal, arn, name, expires, documents, arns, narrowed, tags, source = content
    return Grant(
        access_key_id=key,
        secret=secret,
        kind=PrincipalKind(kind),
        account=account,
        principal=principal,
        arn=arn,
        session_name=name,
        expires=expires,
        policies=tuple(documents),
        policy_arns=tuple(arns),
        narrowed=narrowed,
        tags=tags,
        source_identity=source,
    )
