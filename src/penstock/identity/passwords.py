"""Passwords of the console: kept as Argon2id with its parameters and a salt, and compared in threads of their own.

One comparison takes a fifth of a second and 64 MiB, on purpose (RFC 9106, "Parameter Choice"; OWASP: Password Storage Cheat Sheet). So
one thread does them all, few may wait for it, and one address has no more than two of those places. What was kept by scrypt is still
compared, and replaced when its password is shown.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from contextlib import AbstractContextManager
from typing import NamedTuple

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from penstock.identity.addresses import Addresses
from penstock.pools import PASSWORDS

LONGEST = 128  # characters (IAM: "LoginProfile", and no more than 128 of what a person types)
_SALT_BYTES, _HASH_BYTES = 16, 32
_OF_ONE_ADDRESS = 2
_SCRYPT_FIRST = (14, 8, 1)  # of hashes that were kept without their parameters


class Cost(NamedTuple):
    """The parameters of Argon2id."""

    memory: int  # KiB
    passes: int
    parallel: int

    @property
    def prefix(self) -> str:
        """How what is kept of a password begins (the PHC string format)."""
        return f"$argon2id$v=19$m={self.memory},t={self.passes},p={self.parallel}$"


COST = Cost(65_536, 3, 1)


class Passwords:
    """Makes and compares what is kept of passwords."""

    def __init__(self) -> None:
        self._addresses = Addresses(at_once=_OF_ONE_ADDRESS)

    async def kept(self, password: str) -> bytes:
        """What is to be kept of a password. Raises Throttled when too much is waiting."""
        return await PASSWORDS.run(_derive, password, COST)

    async def fits(self, password: str, kept: bytes) -> bool:
        """Whether a password is the one that was kept. With nothing kept it takes the same time, and says no."""
        matches = await PASSWORDS.run(_matches, password, kept or _nobody(COST))
        return matches and bool(kept) and len(password) <= LONGEST

    async def former(self, password: str, user_id: str) -> str:
        """What is to be kept of a user's password once it is a former one: the same for the same password."""
        salt = hashlib.sha256(user_id.encode()).digest()[:_SALT_BYTES]
        return (await PASSWORDS.run(_derive, password, COST, salt)).decode()

    @staticmethod
    def is_outdated(kept: bytes) -> bool:
        """Whether it was made in another way than today's."""
        return not kept.startswith(COST.prefix.encode())

    def place(self, address: str) -> AbstractContextManager[None]:
        """Hold one of the few places of an address. Raises Throttled when it has them all."""
        return self._addresses.place(address)


def _nobody(cost: Cost) -> bytes:
    """What is compared for a name that nobody has."""
    salt, hashed = (base64.b64encode(bytes(size)).decode().rstrip("=") for size in (_SALT_BYTES, _HASH_BYTES))
    return f"{cost.prefix}{salt}${hashed}".encode()


def _derive(password: str, cost: Cost, salt: bytes = b"") -> bytes:
    made = Argon2id(
        salt=salt or os.urandom(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=cost.passes,
        lanes=cost.parallel,
        memory_cost=cost.memory,
    )
    return made.derive_phc_encoded(_bytes(password)).encode()


def _matches(password: str, kept: bytes) -> bool:
    if not kept.startswith(b"$"):
        return _matches_scrypt(password, kept)
    try:
        Argon2id.verify_phc_encoded(_bytes(password), kept.decode())
    except InvalidKey:
        return False
    return True


def _matches_scrypt(password: str, kept: bytes) -> bool:
    power, blocks, parallel = _SCRYPT_FIRST
    if len(kept) != _SALT_BYTES + _HASH_BYTES:
        power, blocks, parallel = kept[:3]
    derived = hashlib.scrypt(
        _bytes(password),
        salt=kept[-_SALT_BYTES - _HASH_BYTES : -_HASH_BYTES],
        n=1 << power,
        r=blocks,
        p=parallel,
        dklen=_HASH_BYTES,
        maxmem=256 * blocks << power,
    )
    return hmac.compare_digest(derived, kept[-_HASH_BYTES:])


def _bytes(password: str) -> bytes:
    """What is hashed: no more than can be a password, whatever somebody sends."""
    return password[: LONGEST + 1].encode("utf-8", "replace")
