"""Secrets at rest: sealed under a master key that lives outside of the data directory (`store.masterkeys`)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from penstock.store.masterkeys import KEY_BYTES, KEY_ID_BYTES, KeyFile, MasterKey, MasterKeyError

_FORMAT = b"\x01"
_NONCE_BYTES = 12
_HEAD = len(_FORMAT) + KEY_ID_BYTES
_AGAIN_SECONDS = 1.0  # between two looks for a key that is not known


class SealError(Exception):
    """A sealed value could not be opened: it was changed, belongs elsewhere, or its master key is not here."""


class KeySource(Protocol):
    """Where master keys come from."""

    @property
    def changes(self) -> bool:
        """Whether it may be read now and then, to see whether there are others."""
        ...

    def read(self) -> list[MasterKey]:
        """The keys, the one that seals the last of those that are in use. Raises MasterKeyError."""
        ...


class _Ring:
    """Master keys at one time, which are never changed, so that any thread may use them."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        in_use = [one for one in keys if not one.next and not one.retired]
        if not in_use:
            raise MasterKeyError("there is no master key")
        self.keys = tuple(keys)
        self.retired = frozenset(one.id for one in keys if one.retired)
        self.newest = in_use[-1]
        self.ciphers = {one.id: AESGCM(one.key) for one in keys}
        self.derived: dict[str, tuple[bytes, ...]] = {}


class Sealer:
    """Seals with the newest master key and opens what any of them has sealed.

    A sealed value is: format (1 byte), key id (4), nonce (12), AES-256-GCM ciphertext and tag (16). Format, key id and the
    context are authenticated.
    """

    def __init__(self, keys: Sequence[tuple[bytes, bytes] | MasterKey], source: KeySource | None = None) -> None:
        """`keys` are pairs of key id (4 bytes) and key (32 bytes), the one to seal with last. `source` is where they were read."""
        self._ring = _Ring([one if isinstance(one, MasterKey) else MasterKey(*one) for one in keys])
        self._source = source
        self._looking = threading.Lock()
        self._looked = time.monotonic()

    @classmethod
    def from_source(cls, source: KeySource) -> Sealer:
        """The keys of a source. Raises MasterKeyError."""
        return cls(source.read(), source)

    @classmethod
    def from_file(cls, path: Path | None = None, *, create: bool = True) -> Sealer:
        """The keys of `path` (default: `default_path()`), made on first use unless `create` is False.

        Raises MasterKeyError when others may read the file, or it holds no keys, or cannot be made.
        """
        return cls.from_source(KeyFile.of(path, create=create))

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        """All of them."""
        return self._ring.keys

    @property
    def changing(self) -> bool:
        """Whether there are keys beside the newest that are not retired: a change has begun and is not completed."""
        return any(not one.retired and one is not self._ring.newest for one in self._ring.keys)

    @property
    def newest(self) -> bytes:
        """The id of the one that seals."""
        return self._ring.newest.id

    def derive(self, label: str) -> bytes:
        """A key (32 bytes) for one purpose, from the newest master key: what it protects is void after a rotation."""
        return self.derived(label)[0]

    def derived(self, label: str) -> tuple[bytes, ...]:
        """Keys for one purpose (32 bytes each), from the newest master key and from the others that are not retired."""
        ring = self._ring
        found = ring.derived.get(label)
        if found is None:
            others = (one for one in reversed(ring.keys) if one is not ring.newest and not one.retired)
            found = ring.derived[label] = tuple(_derive(one.key, label) for one in (ring.newest, *others))
        return found

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Encrypt for one place: `context` names it (such as `access-key/AKIA…`) and must be the same to open it."""
        ring = self._ring
        head = _FORMAT + ring.newest.id
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + ring.ciphers[ring.newest.id].encrypt(nonce, plaintext, head + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed and is kept here. Raises SealError."""
        head, nonce = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES]
        cipher = self._cipher(head[1:]) if head[:1] == _FORMAT and len(head) == _HEAD else None
        if cipher is None:
            raise SealError("it was sealed under a master key that is not in the key file")
        try:
            return cipher.decrypt(nonce, sealed[len(head) + _NONCE_BYTES :], head + context.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError("it was changed, or sealed for another place") from error

    def open_given(self, sealed: bytes, context: str) -> bytes:
        """What was sealed and given away: a session, a cookie, an invitation. Raises SealError, also where a retired key has sealed it."""
        if key_id_of(sealed) in self._ring.retired:
            raise SealError("it was sealed under a master key that is retired")
        return self.open(sealed, context)

    def stale(self, sealed: bytes) -> bool:
        """Whether it was sealed under an older key than the newest, and should be sealed again."""
        return key_id_of(sealed) != self.newest

    def renewed(self, sealed: bytes, context: str) -> bytes:
        """The same secret under the newest key. Raises SealError."""
        return self.seal(self.open(sealed, context), context)

    def reload(self) -> bool:
        """Read the keys anew; whether they are others than before. Raises MasterKeyError, and keeps those that it has."""
        if self._source is None:
            return False
        with self._looking:
            self._looked = time.monotonic()
            keys = tuple(self._source.read())
            if keys == self._ring.keys:
                return False
            self._ring = _Ring(keys)
            return True

    def look(self) -> bool:
        """Read the keys anew where they may have changed; whether they have. Raises MasterKeyError."""
        return self._source is not None and self._source.changes and self.reload()

    def _cipher(self, key_id: bytes) -> AESGCM | None:
        """The cipher of a key. One that is not known may have been added since, by whoever sealed with it in another process."""
        found = self._ring.ciphers.get(key_id)
        if found is None and self._source is not None and self._source.changes:
            if time.monotonic() - self._looked >= _AGAIN_SECONDS:
                try:
                    self.reload()
                except MasterKeyError:
                    return None
            found = self._ring.ciphers.get(key_id)
        return found


def key_id_of(sealed: bytes) -> bytes:
    """The id of the master key under which a value was sealed, as it says."""
    return sealed[len(_FORMAT) : _HEAD]


def _derive(key: bytes, label: str) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"penstock/" + label.encode()).derive(key)
