"""Materials of keys in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.application import App
from penstock.keys import primitives, records
from penstock.keys.errors import NotFoundException
from penstock.pools import Pool

_KEPT = 4096  # materials
MAKING = Pool("new-keys", 1, queue=64)  # an RSA key takes seconds of a processor
SIGNING = Pool("signatures", 2, queue=1024)


async def made(spec: str) -> bytes:
    """The secret of a new key. An RSA key is made in a thread of its own. Raises Throttled while too many are asked for."""
    return await MAKING.run(primitives.new_secret, spec) if spec.startswith("RSA") else primitives.new_secret(spec)


@dataclass(frozen=True, slots=True)
class Material:
    """What encrypts under a key since one of its rotations."""

    id: str  # hexadecimal, as answers show it
    number: int
    secret: Any  # of the kind that the key's spec is used by: see `primitives.loaded`


class Vault:
    """Materials. One of a key that is gone is not asked for: the key's row is read by each request."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._materials: dict[tuple[str, int], Material] = {}

    async def current(self, key: Any) -> Material:
        """The material that a key is used by. Raises NotFoundException when the key has gone meanwhile."""
        found = await self.material(key, key.material)
        if found is None:
            raise NotFoundException(arn=key.arn)
        return found

    async def material(self, key: Any, number: int) -> Material | None:
        """A material of a key (its row); None when there is no such one (any more)."""
        key_id = key.id
        known = self._materials.get((key_id, number))
        if known is not None:
            return known
        row = await self.app.store.read(records.material, key_id, number)
        if row is None:
            return None
        secret = primitives.loaded(key.spec, self.app.sealer.open(row.sealed, records.context_of(key_id, number)))
        if len(self._materials) >= _KEPT:
            self._materials.clear()
        found = self._materials[key_id, number] = Material(row.id, number, secret)
        return found

    def forget(self, key_id: str) -> None:
        """A key is gone."""
        for known in [known for known in self._materials if known[0] == key_id]:
            del self._materials[known]
