"""How operations find the key that a request names, by whatever name it has for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.keys import envelope, records
from penstock.keys.engine import DAY_MS, ROTATION_DAYS
from penstock.keys.envelope import KEY_ID
from penstock.keys.errors import InvalidArnException, InvalidCiphertextException, NotFoundException
from penstock.keys.material import insert_key, plan_rotation
from penstock.keys.primitives import ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT, new_secret
from penstock.wire.call import Input
from penstock.wire.errors import AccessDenied

_ARN = re.compile(r"arn:(aws|aws-us-gov|aws-cn):kms:([a-z0-9-]+):([0-9]{12}):((?:key|alias)/.+)")
NO_KEY = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."
_CIPHERTEXT = "ciphertext"  # of a call: the one that named its key
_ACTIONS = {
    "SourceKeyId": "kms:ReEncryptFrom",
    "DestinationKeyId": "kms:ReEncryptTo",
}  # that a member's key is asked for
MANAGED = (
    "s3",
    "ssm",
    "secretsmanager",
    "codecommit",
    "sns",
)  # services with an AWS managed key, made at its first use


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key id of a request points."""

    account: str
    region: str
    name: str  # key/ID or alias/NAME

    def arn(self, call: Call) -> str:
        """As errors name it."""
        return f"arn:{call.partition}:kms:{self.region}:{self.account}:{self.name}"


async def key_of(call: Call, input: Input, member: str = "KeyId", *, aliased: bool = True) -> Any:
    """The key that an input names, read once: what was authorised is what is used.

    `aliased` is whether it may be named by an alias. Raises NotFoundException, InvalidArnException or, of another account, AccessDenied.
    """
    memo = f"key {member}"
    if memo not in call.memo:
        if not aliased and alias_in(input[member]):
            raise NotFoundException(f"Invalid keyId '{input[member]}'")
        call.memo[memo] = await _find(call, input[member], _ACTIONS.get(member, f"kms:{call.operation}"))
    return call.memo[memo]


async def own_key(call: Call, input: Input, member: str = "KeyId") -> Any:
    """The key that an input names, which only its own account may change, whatever its policy says. Raises AccessDenied.

    (AWS: KMS API Reference, "Cross-account use: No".)
    """
    row = await key_of(call, input, member)
    if row.account != call.account:
        raise AccessDenied(to_strangers(call, f"kms:{call.operation}"))
    return row


def to_strangers(call: Call, action: str) -> str:
    """What is answered of a key of another account: the same for one that is missing and for one that is not for the caller.

    Of a ciphertext it does not say which key made it, either.
    """
    if _CIPHERTEXT in call.memo and action in ("kms:Decrypt", "kms:ReEncryptFrom"):
        return NO_KEY
    return (
        f"User: {call.session.arn} is not authorized to perform: {action} on this resource because the resource does not exist in this Region, "
        "no resource-based policies allow access, or a resource-based policy explicitly denies access"
    )


def locked(conn: sa.Connection, row: Any) -> Any:
    """A key that was found, as it is now and stays until the transaction ends. Raises NotFoundException."""
    key = records.locked(conn, row.id)
    if key is None:
        raise NotFoundException(arn=row.arn)
    return key


def alias_in(key_id: str) -> str:
    """The alias by which a key is named, or none: of an alias's name, or of its ARN."""
    found = _ARN.fullmatch(key_id)
    name = key_id if found is None else found[4]
    return name if name.startswith("alias/") else ""


def id_in(arn: str) -> str:
    """The id of the key that an ARN is of; none of an alias's. An alias may have `:key/` in its name."""
    found = _ARN.fullmatch(arn)
    return found[4][4:] if found is not None and found[4].startswith("key/") else ""


async def _find(call: Call, key_id: str, action: str) -> Any:
    """The key of an id, an alias or an ARN of either; an AWS managed key is made when it is used first. Raises as `key_of`."""
    place = placed(call, key_id)
    kind, _, name = place.name.partition("/")
    if kind == "key":
        row = await call.app.store.read(records.key, name)
        if row is not None and (row.account, row.region) == (place.account, place.region):
            return row
    else:
        row = await call.app.store.read(records.by_alias, place.account, place.region, place.name)
        if row is not None:
            return row
        if place.account == call.account and name.startswith("aws/") and name[4:] in MANAGED:
            return await _find_or_make_managed(call, name[4:])
    if place.account != call.account:
        raise AccessDenied(to_strangers(call, action))
    raise (
        NotFoundException(arn=place.arn(call))
        if kind == "key"
        else NotFoundException(f"Alias {place.arn(call)} is not found.")
    )


def ciphertext_of(call: Call, blob: bytes) -> envelope.Opened:
    """What a ciphertext says of itself. Raises InvalidCiphertextException."""
    if _CIPHERTEXT not in call.memo:
        try:
            call.memo[_CIPHERTEXT] = envelope.opened(blob)
        except envelope.BadCiphertextError:
            raise InvalidCiphertextException from None
    return call.memo[_CIPHERTEXT]


def placed(call: Call, key_id: str) -> Place:
    """Where a key id of a request points. Raises NotFoundException or InvalidArnException."""
    if found := _ARN.fullmatch(key_id):
        partition, region, account, name = found.groups()
        if region != call.region or partition != call.partition:
            raise InvalidArnException(arn=region)
        if name.startswith("key/") and not KEY_ID.fullmatch(name[4:]):
            raise NotFoundException(f"Invalid keyId '{name[4:]}'")
        return Place(account, region, name)
    if key_id.startswith("arn:"):
        raise InvalidArnException(arn=key_id)
    if key_id.startswith("alias/"):
        return Place(call.account, call.region, key_id)
    if not KEY_ID.fullmatch(key_id):
        raise NotFoundException(f"Invalid keyId '{key_id}'")
    return Place(call.account, call.region, f"key/{key_id}")


async def _find_or_make_managed(call: Call, service: str) -> Any:
    """The key of one of our services in the caller's account and region, made when it is missing."""
    name = f"alias/aws/{service}"

    def tx(conn: sa.Connection) -> Any:
        found = records.by_alias(conn, call.account, call.region, name)
        if found is not None:
            return found
        key_id = insert_key(
            conn,
            call,
            manager=service,
            description=f"Default key that protects my {service} data when no other key is defined",
            usage=ENCRYPT_DECRYPT,
            spec=SYMMETRIC_DEFAULT,
            secret=new_secret(SYMMETRIC_DEFAULT),
            tags={},
            policy=_managed_policy(call, service),
            policy_ids={},
        )
        records.insert_alias(conn, account=call.account, region=call.region, name=name, key=key_id, now=call.now)
        key = records.key(conn, key_id)
        plan_rotation(conn, key, days=ROTATION_DAYS, due=call.now + ROTATION_DAYS * DAY_MS)
        return key

    return await call.app.identity.change(tx)


def default_policy(call: Call) -> str:
    """The policy of a key that is made without one: its account decides by policies of its own."""
    root = f"arn:{call.partition}:iam::{call.account}:root"
    return (
        '{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",'
        f'"Principal":{{"AWS":"{root}"}},"Action":"kms:*","Resource":"*"}}]}}'
    )


def _managed_policy(call: Call, service: str) -> str:
    """The policy of an AWS managed key: everybody of the account, by way of its service."""
    root = f"arn:{call.partition}:iam::{call.account}:root"
    through = f"{service}.{call.region}.amazonaws.com"
    return (
        f'{{"Version":"2012-10-17","Id":"auto-{service}-1","Statement":[{{"Sid":"Allow access through {service} for all principals in the '
        'account that are authorized to use it","Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:Encrypt","kms:Decrypt",'
        '"kms:ReEncrypt*","kms:GenerateDataKey*","kms:CreateGrant","kms:DescribeKey"],"Resource":"*","Condition":{"StringEquals":'
        f'{{"kms:CallerAccount":"{call.account}","kms:ViaService":"{through}"}}}}}},{{"Sid":"Allow direct access to key metadata to the '
        f'account","Effect":"Allow","Principal":{{"AWS":"{root}"}},"Action":["kms:Describe*","kms:Get*","kms:List*","kms:RevokeGrant"],'
        '"Resource":"*"}]}'
    )
