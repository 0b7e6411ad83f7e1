"""Materials of keys in memory."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.application import App
from penstock.keys import records

_KEPT = 4096  # materials


@dataclass(frozen=True, slots=True)
class Material:
    """What encrypts under a key since one of its rotations."""

    id: str  # hexadecimal, as answers show it
    number: int
    cipher: AESGCM


class Vault:
    """Materials. One of a key that is gone is not asked for: the key's row is read by each request."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._materials: dict[tuple[str, int], Material] = {}

    async def material(self, key_id: str, number: int) -> Material | None:
        """A key's material; None when there is no such one (any more)."""
        known = self._materials.get((key_id, number))
        if known is not None:
            return known
        row = await self.app.store.read(records.material, key_id, number)
        if row is None:
            return None
        cipher = AESGCM(self.app.sealer.open(row.sealed, records.context_of(key_id, number)))
        if len(self._materials) >= _KEPT:
            self._materials.clear()
        found = self._materials[key_id, number] = Material(row.id, number, cipher)
        return found

    def forget(self, key_id: str) -> None:
        """A key is gone."""
        for known in [known for known in self._materials if known[0] == key_id]:
            del self._materials[known]
