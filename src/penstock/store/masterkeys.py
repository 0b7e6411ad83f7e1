"""Where the master keys of an installation come from: a file of its owner's, or a command that gets them from elsewhere.

Either gives lines `ID KEY`, an id of 4 bytes in hexadecimal and a key of 32 in base64. The last one seals and all open, but for one that is
marked `next`: it opens and does not seal yet, so that every process has it before anything is sealed with it.

Beside a file stands `FILE.retired`, with keys that were removed from it. They open what a database holds still, and nothing that anybody brings: a
process that was stopped for a while seals with such a key, another installation may use the same file, and a backup is older.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import stat
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from penstock import durable

KEY_BYTES = 32
KEY_ID_BYTES = 4
_MAX_BYTES = 64 << 10  # of what a file or command gives
_COMMAND_SECONDS = 30.0
_HEAD = "# Penstock master keys: id, key. The last one seals. Losing this file loses every secret."
_UNUSABLE = "no key that seals, or two of one id"
_RETIRED_HEAD = "# Master keys that older backups need. Delete them with those."


class MasterKeyError(Exception):
    """The master key cannot be used."""


class MasterKey(NamedTuple):
    """A master key."""

    id: bytes  # 4 bytes
    key: bytes  # 32 bytes
    next: bool = False  # it opens already, and seals once it is not marked so any more
    retired: bool = False  # it opens what is kept, and seals no more


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file that only its owner may read."""

    path: Path
    changes: bool = True

    @classmethod
    def of(cls, path: Path | None, *, create: bool) -> KeyFile:
        """The file of that path (default: `default_path()`), made unless it exists. Raises MasterKeyError."""
        path = path or default_path()
        try:
            if create and not path.exists():
                write_key_file(path, [new_key()])
        except OSError as error:
            raise MasterKeyError(f"{path}: the master key file cannot be made: {error.strerror}") from error
        return cls(path)

    @property
    def retired(self) -> Path:
        """The file of the keys that were removed from it."""
        path = self.path.resolve()
        return path.with_name(f"{path.name}.retired")

    def read(self) -> list[MasterKey]:
        """The keys, retired ones first. Raises MasterKeyError."""
        keys = read_key_file(self.path)
        known = {one.id for one in keys}
        return [*(one._replace(retired=True) for one in self._removed() if one.id not in known), *keys]

    def retire(self, keys: Sequence[MasterKey]) -> None:
        """Add keys to those that are retired."""
        before = self._removed()
        known = {one.id for one in before}
        added = (one._replace(retired=False) for one in keys if one.id not in known)
        durable.write(self.retired, f"{_RETIRED_HEAD}\n{lines_of([*before, *added])}".encode("ascii"))

    def _removed(self) -> list[MasterKey]:
        """The keys that were removed: none any more, once somebody has deleted their lines or the file. Raises MasterKeyError."""
        return read_key_file(self.retired, keys_in) if self.retired.exists() else []


@dataclass(frozen=True, slots=True)
class KeyCommand:
    """A command that prints the keys, such as one that asks a cloud's KMS, a vault or a PKCS#11 module to unwrap them.

    It is run once at each start: it may cost, and wait for a device.
    """

    command: str  # split as a shell does, run without one
    changes: bool = False

    def read(self) -> list[MasterKey]:
        """The keys. Raises MasterKeyError."""
        named = "the master key command"
        try:
            done = subprocess.run(
                shlex.split(self.command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MasterKeyError(
                f"{named} has not ended within {_COMMAND_SECONDS:.0f} seconds. Run it by hand to see what it waits for"
            ) from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise MasterKeyError(f"{named} cannot be run: {why}. Name the program with its path") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise MasterKeyError(f"{named} ended with {done.returncode}: {said[0][:500]}")
        try:
            return parsed(done.stdout.decode("ascii"))
        except ValueError:
            raise MasterKeyError(
                f"{named} did not print master keys: lines of an id and a key, as in a key file"
            ) from None


def source_of(path: Path | None, command: str, *, create: bool) -> KeyFile | KeyCommand:
    """Where the keys of an installation come from. Raises MasterKeyError."""
    return KeyCommand(command) if command else KeyFile.of(path, create=create)


def default_path() -> Path:
    """`penstock/master.key` in the user's config folder (XDG base directories)."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".config") / "penstock" / "master.key"


def new_key() -> MasterKey:
    """A fresh key."""
    return MasterKey(os.urandom(KEY_ID_BYTES), os.urandom(KEY_BYTES))


def parsed(text: str) -> list[MasterKey]:
    """The keys of lines. Raises ValueError when they are not keys, or none that seals."""
    found = keys_in(text)
    if all(one.next for one in found):
        raise ValueError(_UNUSABLE)
    return found


def keys_in(text: str) -> list[MasterKey]:
    """The keys of lines, perhaps none. Raises ValueError when they are not keys."""
    if len(text) > _MAX_BYTES:
        raise ValueError("too long")
    found = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            key_id, key, *marks = line.split()
            if marks not in ([], ["next"]):
                raise ValueError("an unknown mark")
            found.append(MasterKey(bytes.fromhex(key_id), base64.b64decode(key, validate=True), bool(marks)))
    if any(len(one.id) != KEY_ID_BYTES or len(one.key) != KEY_BYTES for one in found):
        raise ValueError("a key of another length")
    if len({one.id for one in found}) < len(found):
        raise ValueError(_UNUSABLE)
    return found


def lines_of(keys: Iterable[MasterKey]) -> str:
    """Keys as a file has them."""
    return "".join(f"{one.id.hex()} {base64.b64encode(one.key).decode()}{' next' * one.next}\n" for one in keys)


def write_key_file(path: Path, keys: Sequence[MasterKey]) -> None:
    """Write a new key file, readable by its owner only. One that another process made meanwhile is left as it is."""
    durable.make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
    try:
        durable.create(temporary, f"{_HEAD}\n{lines_of(keys)}".encode("ascii"))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    durable.sync_folder(path.parent)


def replace_key_file(path: Path, keys: Sequence[MasterKey]) -> None:
    """Replace the keys of a file, all at once."""
    durable.write(path.resolve(), f"{_HEAD}\n{lines_of(keys)}".encode("ascii"))


def read_key_file(path: Path, read: Callable[[str], list[MasterKey]] = parsed) -> list[MasterKey]:
    """The keys of a file, whose text `read` takes. Raises MasterKeyError."""
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise MasterKeyError(f"{path} may be read by others than its owner; run: chmod 600 {path}")
            return read(file.read(_MAX_BYTES + 1))
    except FileNotFoundError:
        raise MasterKeyError(
            f"{path}: there is no such master key file, and this installation's secrets are sealed. Name the file that sealed "
            "them with --master-key-file, or restore it from where you keep it"
        ) from None
    except OSError as error:
        raise MasterKeyError(f"{path}: not a master key file ({error.strerror})") from error
    except ValueError:
        raise MasterKeyError(f"{path}: not a master key file") from None
