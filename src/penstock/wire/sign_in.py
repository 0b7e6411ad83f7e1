"""Signing in to the console, as the pages that do it see identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from penstock.wire.call import Origin, Session


class SignedIn(Protocol):
    """A user who has shown a password."""

    @property
    def session(self) -> Session:
        """The session that the console's calls run under."""
        ...

    @property
    def user_name(self) -> str: ...

    @property
    def changed(self) -> int:
        """When the password was set, in ms; a cookie of an older one is worth nothing."""
        ...

    @property
    def factors(self) -> tuple[str, ...]:
        """The kinds of second factors of which one must be shown before a session begins: "totp", "passkey"."""
        ...

    @property
    def device(self) -> str:
        """Serial number of the device that was shown, where it is known: for the record."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Somebody whom the issuer of single sign-on has named, and the roles that let them in."""

    name: str  # in records and on pages
    roles: Sequence[str]  # ARNs, one at least
    token: str  # what `enter` takes, sealed
    target: str  # where to go afterwards, as `begin` was given it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """A ceremony of WebAuthn that is going on in a browser."""

    token: str  # what comes back with the answer; sealed, good for five minutes
    options: str  # JSON of what `navigator.credentials` is asked for, with byte strings as base64url


class Passkeys(Protocol):
    """Signing in to the console by passkeys (WebAuthn), as second factor and in place of the password."""

    @property
    def address(self) -> str:
        """Where they work: scheme, name and port. Raises AccessDenied with a sentence where they cannot."""
        ...

    async def begin(self, step: str = "") -> Ceremony:
        """Ask for one of the passkeys of whoever is in the second step, or without one for any. Raises AccessDenied."""
        ...

    async def show(self, token: str, answer: str, step: str = "") -> SignedIn:
        """Whose passkey a browser has shown.

        Raises Throttled, and AccessDenied with a sentence. Whose passkey it is, if that is known, its `values` say for the record: the
        `account`, the `device` (its serial number) and `why`.
        """
        ...


class SingleSignOn(Protocol):
    """Signing in to the console by an OpenID Connect issuer (authorization code flow with PKCE)."""

    @property
    def label(self) -> str:
        """What its button is called."""
        ...

    async def begin(self, target: str) -> tuple[str, str]:
        """Where a browser goes, and what it holds meanwhile, sealed. Raises AccessDenied when the issuer cannot be asked."""
        ...

    async def finish(self, held: str, query: Mapping[str, str], origin: Origin) -> Offer:
        """What a browser that comes back may enter. Raises AccessDenied with a sentence for the page."""
        ...

    async def enter(self, held: str, token: str, role: str, origin: Origin) -> SignedIn:
        """The session of one of the roles of an offer. Raises AccessDenied."""
        ...
