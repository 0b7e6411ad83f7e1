"""What a grant lets whom do. Pure. (AWS: KMS Developer Guide, "Grants in AWS KMS".)"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.keys.envelope import KEY_ID
from penstock.keys.errors import InvalidGrantTokenException, ValidationException

EQUALS, SUBSET, SOURCE = "EncryptionContextEquals", "EncryptionContextSubset", "SourceArn"
MAX_GRANTS = 50_000  # of a key (AWS: KMS resource quotas)
MAX_GRANTS_OF_ONE = 500  # of a key for one grantee: each of its requests that no policy allows reads them
_MAX_PAIRS, _MAX_VALUE = 8, 384  # of a constraint (AWS: CreateGrant, Constraints)
_TOKEN = b"\x01"

_ALWAYS = ("CreateGrant", "RetireGrant", "DescribeKey")
_WITH_CONTEXT = (
    "Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "CreateGrant",
)  # fmt: skip
"""Operations that constraints hold for."""
_OF_PAIRS = (*_ALWAYS, "Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GetPublicKey")
_OPERATIONS = {
    "ENCRYPT_DECRYPT": (*_ALWAYS, *_WITH_CONTEXT),
    "SIGN_VERIFY": (*_ALWAYS, "Sign", "Verify", "GetPublicKey"),
    "GENERATE_VERIFY_MAC": (*_ALWAYS, "GenerateMac", "VerifyMac"),
}
_GRANTABLE = frozenset(name for names in _OPERATIONS.values() for name in names)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says that a grant may depend on."""

    context: Mapping[str, str] = field(default_factory=dict)
    source_arn: str = ""  # for what a service acts
    operations: Sequence[str] = ()  # of a grant that is to be created
    constraints: Mapping[str, Any] = field(default_factory=dict)  # of a grant that is to be created


def check(key: Any, operations: Sequence[str], constraints: Mapping[str, Any]) -> None:
    """Refuse a grant that a key of this kind cannot have. Raises ValidationException."""
    if not operations:
        raise ValidationException("A grant allows at least one operation.")
    encrypts_by_pair = key.usage == "ENCRYPT_DECRYPT" and key.spec != "SYMMETRIC_DEFAULT"
    known = _OF_PAIRS if encrypts_by_pair else _OPERATIONS[key.usage]
    foreign = [name for name in operations if name not in known]
    if foreign:
        raise ValidationException(
            f"A grant for a key of the spec {key.spec} for {key.usage} cannot allow {', '.join(foreign)}."
        )
    contexts = [constraints[name] for name in (EQUALS, SUBSET) if name in constraints]
    if len(contexts) > 1:
        raise ValidationException(f"A grant has {EQUALS} or {SUBSET}, not both.")
    for context in contexts:
        if key.spec != "SYMMETRIC_DEFAULT":
            raise ValidationException(f"Keys of the spec {key.spec} know no encryption context.")
        if not context or len(context) > _MAX_PAIRS:
            raise ValidationException(f"A constraint has between 1 and {_MAX_PAIRS} pairs.")
        if any(len(value) > _MAX_VALUE for value in context.values()):
            raise ValidationException(f"A value of a constraint has no more than {_MAX_VALUE} characters.")


def allows(operations: Sequence[str], constraints: Mapping[str, Any], operation: str, asked: Asked) -> bool:
    """Whether a grant of these operations under these constraints speaks of a request."""
    if operation not in operations:
        return False
    if constraints.get(SOURCE, asked.source_arn) != asked.source_arn:
        return False
    if operation == "CreateGrant":
        return set(asked.operations) <= set(operations) and _as_strict(asked.constraints, constraints)
    return operation not in _WITH_CONTEXT or _within(asked.context, constraints)


def _within(context: Mapping[str, str], constraints: Mapping[str, Any]) -> bool:
    if EQUALS in constraints:
        return dict(context) == constraints[EQUALS]
    return constraints.get(SUBSET, {}).items() <= context.items()


def _as_strict(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether one grant's constraints let nothing through that another's do not."""
    if EQUALS in old:
        return new.get(EQUALS) == old[EQUALS]
    return old.get(SUBSET, {}).items() <= (new.get(EQUALS) or new.get(SUBSET, {})).items()


def is_grantable(operation: str) -> bool:
    """Whether there are grants for it at all."""
    return operation in _GRANTABLE


def document(principal: str, action: str) -> str:
    """What a grant says of one principal, as the policy of its key would."""
    kind = "AWS" if principal.startswith("arn:") else "Service"
    statement = {"Effect": "Allow", "Principal": {kind: principal}, "Action": action, "Resource": "*"}
    return json.dumps({"Statement": statement})


def token(key_id: str, grant_id: str, salt: bytes) -> str:
    """A token of a grant: it names the grant, and opens nothing. `salt` are 8 bytes that make it another one each time."""
    return base64.urlsafe_b64encode(_TOKEN + key_id.encode() + salt + bytes.fromhex(grant_id)).decode().rstrip("=")


def named(text: str) -> tuple[str, str]:
    """(key, grant) that a token names. Raises InvalidGrantTokenException."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if not content.startswith(_TOKEN):
            raise InvalidGrantTokenException
        key_id, grant_id = content[1:-40].decode("ascii"), content[-32:].hex()
    except (binascii.Error, ValueError):
        raise InvalidGrantTokenException from None
    if not KEY_ID.fullmatch(key_id):
        raise InvalidGrantTokenException
    return key_id, grant_id
