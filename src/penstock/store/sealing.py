"""Secrets at rest: sealed under a master key that lives outside of the data directory."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from penstock import durable

_FORMAT = b"\x01"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEY_ID_BYTES = 4


class SealError(Exception):
    """A sealed value could not be opened: it was changed, belongs elsewhere, or its master key is not here."""


class MasterKeyError(Exception):
    """The master key file cannot be used."""


class Sealer:
    """Seals with the newest master key and opens what any of them has sealed.

    A sealed value is: format (1 byte), key id (4), nonce (12), AES-256-GCM ciphertext and tag (16). Format, key id and the
    context are authenticated.
    """

    def __init__(self, keys: list[tuple[bytes, bytes]]) -> None:
        """`keys` are pairs of key id (4 bytes) and key (32 bytes), the one to seal with last."""
        if not keys:
            raise MasterKeyError("there is no master key")
        self._keys = {key_id: AESGCM(key) for key_id, key in keys}
        self._root = keys[-1][1]
        self._newest = keys[-1][0]

    @classmethod
    def from_file(cls, path: Path | None = None, *, create: bool = True) -> Sealer:
        """The keys of `path` (default: `default_path()`), made on first use unless `create` is False.

        Raises MasterKeyError when others may read the file, or it holds no keys, or cannot be made.
        """
        path = path or default_path()
        try:
            if create and not path.exists():
                write_key_file(path, [new_key()])
        except OSError as error:
            raise MasterKeyError(f"{path}: the master key file cannot be made: {error.strerror}") from error
        return cls(read_key_file(path))

    def derive(self, label: str) -> bytes:
        """A key (32 bytes) for one purpose, from the newest master key: what it protects is void after a rotation."""
        return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=b"penstock/" + label.encode()).derive(self._root)

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Encrypt for one place: `context` names it (such as `access-key/AKIA…`) and must be the same to open it."""
        head = _FORMAT + self._newest
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + self._keys[self._newest].encrypt(nonce, plaintext, head + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed. Raises SealError."""
        head, nonce = sealed[: 1 + _KEY_ID_BYTES], sealed[1 + _KEY_ID_BYTES : 1 + _KEY_ID_BYTES + _NONCE_BYTES]
        key = self._keys.get(head[1:])
        if head[:1] != _FORMAT or key is None:
            raise SealError("it was sealed under a master key that is not in the key file")
        try:
            return key.decrypt(nonce, sealed[len(head) + _NONCE_BYTES :], head + context.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError("it was changed, or sealed for another place") from error

    def stale(self, sealed: bytes) -> bool:
        """Whether it was sealed under an older key than the newest, and should be sealed again."""
        return sealed[1 : 1 + _KEY_ID_BYTES] != self._newest


def default_path() -> Path:
    """`penstock/master.key` in the user's config folder (XDG base directories)."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".config") / "penstock" / "master.key"


def new_key() -> tuple[bytes, bytes]:
    """A fresh key id and key."""
    return os.urandom(_KEY_ID_BYTES), os.urandom(_KEY_BYTES)


def write_key_file(path: Path, keys: list[tuple[bytes, bytes]]) -> None:
    """Write a new key file, readable by its owner only. One that another process made meanwhile is left as it is."""
    durable.make_folder(path.parent)
    text = "".join(f"{key_id.hex()} {base64.b64encode(key).decode()}\n" for key_id, key in keys)
    temporary = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
    head = "# Penstock master keys: id, key. The last one seals. Losing this file loses every secret."
    try:
        durable.create(temporary, f"{head}\n{text}".encode("ascii"))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    durable.sync_folder(path.parent)


def read_key_file(path: Path) -> list[tuple[bytes, bytes]]:
    """The keys of a file. Raises MasterKeyError."""
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise MasterKeyError(f"{path} may be read by others than its owner; run: chmod 600 {path}")
            lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
        keys = [(bytes.fromhex(key_id), base64.b64decode(key, validate=True)) for key_id, key in lines]
    except FileNotFoundError:
        raise MasterKeyError(
            f"{path}: there is no such master key file, and this installation's secrets are sealed. Name the file that sealed "
            "them with --master-key-file, or restore it from where you keep it"
        ) from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise MasterKeyError(f"{path}: not a master key file ({error})") from error
    if not keys or any(len(key_id) != _KEY_ID_BYTES or len(key) != _KEY_BYTES for key_id, key in keys):
        raise MasterKeyError(f"{path}: not a master key file")
    return keys
