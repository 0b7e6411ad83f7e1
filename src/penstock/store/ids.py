"""Where ids, tokens and seeds come from: the system's randomness, or a seed for what must be repeatable."""

from __future__ import annotations

import base64
import os
import random
import time
import uuid

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


_PIECE = 16  # bytes
_AHEAD = 256  # pieces
_pieces: list[bytes] = []
os.register_at_fork(after_in_child=_pieces.clear)  # two processes with the same pieces would make the same ids


def _piece() -> bytes:
    """16 random bytes, which nobody else gets.

    The system is asked for many at once: to ask it, a thread lets go of the interpreter, and a request asks twice.
    """
    while True:
        try:
            return _pieces.pop()
        except IndexError:
            many = os.urandom(_PIECE * _AHEAD)
            _pieces.extend(many[start : start + _PIECE] for start in range(0, len(many), _PIECE))


class Ids:
    """Unpredictable ids, for everything outside the pure engines."""

    def uuid(self) -> str:
        """A random UUID in its 36 character form."""
        text = self._bytes(16).hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"

    def hex(self, n: int) -> str:
        """`n` lower-case hexadecimal digits."""
        return self._bytes((n + 1) // 2).hex()[:n]

    def token(self, n: int = 32) -> str:
        """`n` random bytes in URL-safe base 64 without padding."""
        return base64.urlsafe_b64encode(self._bytes(n)).rstrip(b"=").decode()

    def seed(self) -> int:
        """A seed for a pure engine: 63 bits, so that it fits a signed column."""
        return int.from_bytes(self._bytes(8), "big") >> 1

    def _bytes(self, n: int) -> bytes:
        return _piece()[:n] if n <= _PIECE else os.urandom(n)


class SeededIds(Ids):
    """The same ids for the same seed. Never for secrets."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def _bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)


def ordered_uuid() -> str:
    """A UUID whose text sorts by the time it was made (RFC 9562 version 7), to a quarter of a microsecond."""
    ms, ns = divmod(time.time_ns(), 1_000_000)
    fraction = ns * 4096 // 1_000_000  # the 12 bits that the RFC leaves to a finer clock
    rest = _piece().hex()
    return f"{ms >> 16 & 0xFFFFFFFF:08x}-{ms & 0xFFFF:04x}-7{fraction:03x}-{_VARIANT[rest[0]]}{rest[1:4]}-{rest[4:16]}"


def time_of(id: str) -> int | None:
    """When an `ordered_uuid` was made, in ms; None for any other text."""
    try:
        found = uuid.UUID(id)
    except ValueError:
        return None
    return found.int >> 80 if found.version == 7 else None
