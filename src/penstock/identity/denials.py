"""What is behind a denial: sealed where it happens, and told by DecodeAuthorizationMessage to whoever may know it.

The caller already knows the open part of a message. The other part, which policies say, always takes as many bytes, so that nobody learns
from the length of a message what they must not read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.identity.policy import Denying
from penstock.identity.variables import Context, Value

if TYPE_CHECKING:
    from penstock.store.sealing import Sealer

_LABEL = "authorization-message"  # a key of its own: whoever is denied may ask for any number of messages
_VERSION = b"\x01"
_NONCE_BYTES = 12
_POLICIES = 384  # bytes of what policies say
_RESOURCE = 1000  # bytes of its ARN that are kept, enough to know whose policy speaks of it
_VALUE = 256  # characters of a condition key's value that are kept
_LOOKED_AT = 100  # condition keys that are looked up for one denial


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What a message says."""

    entity: str  # id of the user or role that the session stands on
    principal: str
    arn: str
    action: str
    resource: str
    at: int  # ms
    source: str  # address that the call came from; "" for a call of one of our services
    kind: str = ""  # of the policy, as `Decision.kind`; "" where the caller's account must not know it
    explicit: bool = False
    by: Denying | None = None
    # The condition keys that policies ask for; None for one that the call does not have.
    conditions: Mapping[str, Value | None] = field(default_factory=dict)
    left_out: int = 0  # how many such keys did not fit

    @property
    def told_conditions(self) -> Mapping[str, Value | None]:
        """The condition keys with when and from where the call came, which every message says."""
        always = {"aws:epochtime": str(self.at // 1000), "aws:sourceip": self.source}
        return {**self.conditions, **{key: value for key, value in always.items() if value}}


def conditions(asked: Iterable[str], context: Context) -> dict[str, Value | None]:
    """What a call has for the condition keys that policies ask for; the first ones when they are many."""
    return {key: context.get(key) for key in islice(asked, _LOOKED_AT)}


def encode(sealer: Sealer, account: str, denial: Denial) -> str:
    """The message for a denied call of an account, at most 4,000 characters: a part of the conditions when they are long."""
    said = [denial.kind, denial.explicit, None if denial.by is None else list(denial.by)]
    fitting, left_out = _fitting(denial.conditions, _POLICIES - len(_json([said, {}, _LOOKED_AT])))
    policies = _json([said, fitting, left_out]).ljust(_POLICIES)
    known = [
        denial.entity,
        denial.principal,
        denial.arn,
        denial.action,
        _cut(denial.resource),
        denial.at,
        denial.source,
    ]
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(sealer.derive(_LABEL)).encrypt(nonce, policies + _json(known), _bound(account))
    return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode().rstrip("=")


def decode(sealer: Sealer, account: str, message: str) -> Denial | None:
    """What a message of an account says; None for what is not one, or was sealed under a master key that is gone."""
    try:
        raw = base64.b64decode(message + "=" * (-len(message) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    nonce, sealed = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
    for key in sealer.derived(_LABEL) if raw[:1] == _VERSION else ():
        with contextlib.suppress(InvalidTag, ValueError):  # a nonce that was cut off is no nonce
            return _read(AESGCM(key).decrypt(nonce, sealed, _bound(account)))
    return None


def _read(plain: bytes) -> Denial:
    (kind, explicit, by), conditions, left_out = json.loads(plain[:_POLICIES])
    entity, principal, arn, action, resource, at, source = json.loads(plain[_POLICIES:])
    return Denial(
        entity=entity,
        principal=principal,
        arn=arn,
        action=action,
        resource=resource,
        at=at,
        source=source,
        kind=kind,
        explicit=explicit,
        by=None if by is None else Denying(*by),
        conditions={key: tuple(value) if isinstance(value, list) else value for key, value in conditions.items()},
        left_out=left_out,
    )


def _fitting(conditions: Mapping[str, Value | None], room: int) -> tuple[dict[str, Value | None], int]:
    """As many keys with their values as fit into so many bytes, and how many do not."""
    found: dict[str, Value | None] = {}
    for key, value in conditions.items():
        kept = value[:_VALUE] if isinstance(value, str) else value
        size = len(_json({key: kept}))
        if size <= room:
            found[key] = kept
            room -= size
    return found, len(conditions) - len(found)


def _cut(resource: str) -> str:
    while len(_json(resource)) > _RESOURCE:
        resource = resource[: -len(resource) // 4]
    return resource


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # half a surrogate pair, which a tag may hold
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _bound(account: str) -> bytes:
    return f"{_LABEL}/{account}".encode()
