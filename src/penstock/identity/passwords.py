"""Passwords of the console: kept as scrypt with its parameters and a salt, and compared in threads of their own.

One comparison takes a third of a second and 128 MiB, on purpose (OWASP: Password Storage Cheat Sheet, "scrypt"). So one thread does
them all, few may wait for it, and one address has no more than two of those places.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import AbstractContextManager
from typing import NamedTuple

from penstock.identity.addresses import Addresses
from penstock.identity.errors import PasswordPolicyViolationException
from penstock.pools import PASSWORDS

LONGEST = 128
_SHORTEST = 8
_SALT_BYTES, _HASH_BYTES = 16, 32
_OF_ONE_ADDRESS = 2


class Cost(NamedTuple):
    """The parameters of scrypt; memory is 128 * 2**power * blocks bytes."""

    power: int
    blocks: int
    parallel: int


COST = Cost(17, 8, 1)
_FIRST = Cost(14, 8, 1)  # of hashes that were kept without their parameters
_NOBODY = bytes([*COST]) + bytes(_SALT_BYTES + _HASH_BYTES)


class Passwords:
    """Makes and compares what is kept of passwords."""

    def __init__(self) -> None:
        self._addresses = Addresses(at_once=_OF_ONE_ADDRESS)

    async def kept(self, password: str) -> bytes:
        """What is to be kept of a password. Raises Throttled when too much is waiting."""
        return await PASSWORDS.run(_derive, password, COST, os.urandom(_SALT_BYTES))

    async def fits(self, password: str, kept: bytes) -> bool:
        """Whether a password is the one that was kept. With nothing kept it takes the same time, and says no."""
        cost, salt = _read(kept or _NOBODY)
        derived = await PASSWORDS.run(_derive, password, cost, salt)
        return bool(kept) and hmac.compare_digest(derived[-_HASH_BYTES:], kept[-_HASH_BYTES:])

    @staticmethod
    def is_outdated(kept: bytes) -> bool:
        """Whether it was made with other parameters than today's."""
        return _read(kept)[0] != COST

    def place(self, address: str) -> AbstractContextManager[None]:
        """Hold one of the few places of an address. Raises Throttled when it has them all."""
        return self._addresses.place(address)


def acceptable(password: str) -> str:
    """`password`, long enough. Raises PasswordPolicyViolationException."""
    if len(password) < _SHORTEST:
        raise PasswordPolicyViolationException(length=_SHORTEST)
    return password


def _read(kept: bytes) -> tuple[Cost, bytes]:
    if len(kept) == _SALT_BYTES + _HASH_BYTES:
        return _FIRST, kept[:_SALT_BYTES]
    return Cost(*kept[:3]), kept[3 : 3 + _SALT_BYTES]


def _derive(password: str, cost: Cost, salt: bytes) -> bytes:
    size = 128 * cost.blocks << cost.power
    derived = hashlib.scrypt(
        password[:LONGEST].encode(),
        salt=salt,
        n=1 << cost.power,
        r=cost.blocks,
        p=cost.parallel,
        dklen=_HASH_BYTES,
        maxmem=2 * size,
    )
    return bytes([*cost]) + salt + derived
