"""Tokens of subscriptions: what is sent to an endpoint, and shown by whoever reads there.

Nothing of them is kept. They are sealed, and name the subscription and what they are good for.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.store.sealed_tokens import open_token, seal_token
from penstock.store.sealing import Sealer, SealError

CONFIRM, RESTORE = "confirm", "restore"
_PURPOSE = "subscription"
_MOST = 1_000  # characters


class Token(NamedTuple):
    """What a token says."""

    use: str
    subscription: str


def make(sealer: Sealer, use: str, subscription: str) -> str:
    """A token for a use of a subscription. How long it is good for, the subscription says."""
    return seal_token(sealer, [use, subscription], _PURPOSE)


def read(sealer: Sealer, text: str) -> Token | None:
    """What a token says; None for one that was not given out here."""
    try:
        return Token(*open_token(sealer, text, _PURPOSE, most=_MOST))
    except SealError:
        return None
