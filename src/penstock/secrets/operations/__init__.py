"""The operations of Secrets Manager, by what they are about; what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.component import operations_of
from penstock.secrets import records
from penstock.secrets.engine import CURRENT
from penstock.secrets.errors import InvalidNextTokenException, InvalidRequestException, ResourceNotFoundException
from penstock.secrets.names import arn_of, asked
from penstock.secrets.rotation import Rotation
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages
from penstock.wire.tags import listed

secretsmanager = operations_of("secretsmanager")
PAGES = Pages(lambda _token: InvalidNextTokenException(), member="NextToken")

_KEYS = (
    "Name", "Description", "KmsKeyId", "VersionId", "VersionStage", "ForceDeleteWithoutRecovery", "RecoveryWindowInDays",
    "BlockPublicPolicy", "RotationLambdaARN", "RotateImmediately",
)  # fmt: skip
"""Members of inputs that policies may ask for (AWS: Service Authorization Reference, Secrets Manager)."""


async def secret_arn(call: Call, input: Input) -> str:
    """The ARN of the secret that an input names, read once: what was authorised is what is used."""
    named = asked(input["SecretId"], call.account, call.region)
    row = call.memo["secret"] = await call.app.store.read(records.find, named)
    return named.arn if row is None else arn(row)


def keys_of(call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    """Secrets Manager's condition keys of a request."""
    found: dict[str, str | tuple[str, ...]] = {
        f"secretsmanager:{member.lower()}": str(value).lower() if isinstance(value, bool) else str(value)
        for member in _KEYS
        if (value := input.get(member)) is not None
    }
    if call.operation == "GetSecretValue" and not input.get("VersionId"):
        found.setdefault("secretsmanager:versionstage", CURRENT)
    if (row := call.memo.get("secret")) is not None:
        found["secretsmanager:secretid"] = arn(row)
    return found


def arn(row: Any) -> str:
    """The ARN of a secret."""
    return arn_of(row.account, row.region, row.name, row.suffix)


def called(row: Any) -> Output:
    """The members that nearly all answers begin with."""
    return {"ARN": arn(row), "Name": row.name}


def described(row: Any) -> Output:
    """What answers say of a secret beside its versions."""
    said: Output = {**called(row), "CreatedDate": row.created, "LastChangedDate": row.changed}
    more = {
        "Description": row.description,
        "KmsKeyId": row.key,
        "LastAccessedDate": row.accessed or None,
        "DeletedDate": row.deletion,
        "Tags": None if row.tags is None else listed(row.tags),
        **_rotated(records.rotation(row)),
    }
    return said | {member: value for member, value in more.items() if value is not None}


def _rotated(rotation: Rotation | None) -> Output:
    """What answers say of the rotation of a secret: nothing of one that was never rotated."""
    if rotation is None:
        return {}
    said: Output = {
        "RotationEnabled": rotation.enabled,
        "RotationLambdaARN": rotation.function,
        "RotationRules": rotation.rules_to_api or None,
    }
    if rotation.enabled:
        # The window closes with its last second.
        said |= {
            "LastRotatedDate": rotation.rotated or None,
            "NextRotationDate": rotation.closes - 1000 if rotation.closes else None,
        }
    return said


def found(call: Call) -> Any:
    """The secret that was asked about. Raises ResourceNotFoundException."""
    row = call.memo["secret"]
    if row is None:
        raise ResourceNotFoundException
    return row


def usable(call: Call) -> Any:
    """The same, which is not on its way out. Raises InvalidRequestException."""
    return _checked(found(call))


def locked(conn: sa.Connection, row: Any) -> Any:
    """A secret that was found, as it is now and stays until the transaction ends. Raises what `usable` raises."""
    now = records.locked(conn, row)
    if now is None:
        raise ResourceNotFoundException
    return _checked(now)


def _checked(row: Any) -> Any:
    if row.deletion is not None:
        raise InvalidRequestException
    return row


async def change(app: App, call: Call, values: Callable[[Any], Mapping[str, Any]]) -> Any:
    """Change what is said of the secret that was asked about; the secret as it was found."""
    row = usable(call)

    def tx(conn: sa.Connection) -> None:
        records.change(conn, row, changed=call.now, **values(locked(conn, row)))

    await app.store.write(tx)
    return row
