"""One-time codes of authenticator apps (RFC 6238): six digits of HMAC-SHA-1, another one every 30 seconds. Pure."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    import segno

STEP_MS = 30_000
_DIGITS = 6
_AROUND = 1  # steps by which an app may be early or late
_SEARCHED = 120  # steps, an hour, within which two codes in a row are looked for when an app is set up


def code_of(seed: bytes, step: int) -> str:
    """The code of a step: so many times 30 seconds since the epoch (RFC 4226, "Generating an HOTP Value")."""
    digest = hmac.digest(seed, step.to_bytes(8), "sha1")
    at = digest[-1] & 15
    return str((int.from_bytes(digest[at : at + 4]) & 0x7FFF_FFFF) % 10**_DIGITS).zfill(_DIGITS)


def step_of(seed: bytes, code: str, *, now: int, drift: int, used: int) -> int | None:
    """The step that a code is of, of those about now (ms) that come after the last one used; None when it is of none.

    `drift` is by how many steps the app's clock is ahead.
    """
    present = now // STEP_MS + drift
    steps = range(max(used + 1, present - _AROUND), present + _AROUND + 1)
    # Every step is compared, so that the time says nothing of how near a guess was.
    matching = [step for step in steps if _is(seed, step, code)]
    return matching[0] if matching else None


def second_of_two(seed: bytes, first: str, second: str, *, now: int, used: int) -> int | None:
    """The step of the second of two codes in a row within an hour of now (ms), so that an app whose clock is wrong is known too."""
    present = now // STEP_MS
    for away in sorted(range(-_SEARCHED, _SEARCHED + 1), key=abs):
        step = present + away
        if step - 1 > used and _is(seed, step, second) and _is(seed, step - 1, first):
            return step
    return None


def _is(seed: bytes, step: int, code: str) -> bool:
    return hmac.compare_digest(code_of(seed, step).encode(), code.encode("utf-8", "replace"))


def base32(seed: bytes) -> str:
    """A seed as apps take it by hand: base32."""
    return base64.b32encode(seed).decode()


def address(seed: bytes, name: str) -> str:
    """What the picture for an app says: the seed, and for what it is ("Key URI Format" of Google Authenticator)."""
    return f"otpauth://totp/{quote(f'Penstock:{name}')}?{urlencode({'secret': base32(seed), 'issuer': 'Penstock'})}"


def qr_code(address: str) -> segno.QRCode:
    """The picture of an address."""
    import segno  # noqa: PLC0415 - 7 ms of each server's start, for what few requests need

    return segno.make(address, micro=False)
