"""The keys of OpenID Connect issuers: asked for when a token needs them, and kept for a while.

Whoever shows a token of a registered issuer makes us ask it. So an issuer is asked once at a time, for five seconds at most, and a token
that names a key which is not known makes us ask again once a minute, however many such tokens come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from penstock.egress import Occupied, Request, Unreachable, Untrusted, Unusable
from penstock.identity.errors import IDPCommunicationErrorException, InvalidIdentityTokenException
from penstock.identity.web_tokens import NO_KEY, Keys, WebToken
from penstock.wire.errors import ServiceError, Throttled

if TYPE_CHECKING:
    from penstock.application import App

CERTIFICATE = "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint"
TIMEOUT_S = 5.0  # for discovery and keys together
FRESH_MS = 3_600_000  # that keys are used without asking again
STALE_MS = 24 * 3_600_000  # that they are used when the issuer cannot be asked
UNKNOWN_MS = 60_000  # between two questions for the sake of keys that are not known
FAILED_MS = 10_000  # between two questions to an issuer that could not be asked
_ISSUERS = 100  # that are remembered; each has 200 keys of 2 KB at most

_NO_KEY = partial(InvalidIdentityTokenException, NO_KEY)
_log = logging.getLogger("penstock.identity")


class Form(NamedTuple):
    """What is posted: the content of a form, and the Authorization header beside it, if any."""

    content: bytes
    authorization: str = ""


@dataclass(slots=True)
class _Issuer:
    keys: Keys | None = None
    read: int = 0  # ms, when it gave these
    next: int = 0  # ms, before which it is not asked again
    refuse: Callable[[], ServiceError] = _NO_KEY  # for want of the key
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def find(self, token: WebToken, oldest: int) -> Any:
        """The token's key, when keys are known that were read since `oldest`."""
        return self.keys.find(token) if self.keys is not None and self.read > oldest else None


class Issuers:
    """Asks issuers, and remembers."""

    def __init__(self, app: App) -> None:
        self._clock = app.clock
        self._egress = app.egress
        self._known: dict[tuple[str, tuple[str, ...]], _Issuer] = {}

    async def key(self, token: WebToken, thumbprints: Sequence[str]) -> Any:
        """The public key that a token names, of the issuer that it names. `thumbprints` are the provider's.

        Raises InvalidIdentityToken or IDPCommunicationError.
        """
        issuer = self._issuer(token.issuer, thumbprints)
        if (key := issuer.find(token, self._clock.now() - FRESH_MS)) is not None:
            return key
        async with issuer.asking:
            now = self._clock.now()
            if (key := issuer.find(token, now - FRESH_MS)) is not None:
                return key
            if now >= issuer.next:
                await self._ask(issuer, token.issuer, thumbprints)
        if (key := issuer.find(token, self._clock.now() - STALE_MS)) is not None:
            return key
        raise issuer.refuse()

    def _issuer(self, url: str, thumbprints: Sequence[str]) -> _Issuer:
        # What one account trusts by its thumbprints is nothing to another account.
        name = (url, tuple(thumbprints))
        if name not in self._known and len(self._known) >= _ISSUERS:
            self._known.clear()
        return self._known.setdefault(name, _Issuer())

    async def _ask(self, issuer: _Issuer, url: str, thumbprints: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                issuer.keys = await self._read(url, thumbprints)
        except (Unreachable, TimeoutError) as error:
            issuer.refuse, why = IDPCommunicationErrorException, str(error) or f"no answer in {TIMEOUT_S:g} s"
        except Untrusted as error:
            issuer.refuse, why = partial(InvalidIdentityTokenException, CERTIFICATE), str(error)
        except (Unusable, ValueError) as error:
            issuer.refuse, why = _NO_KEY, str(error)
        else:
            issuer.refuse = _NO_KEY
            issuer.read = self._clock.now()
            issuer.next = issuer.read + UNKNOWN_MS
            return
        issuer.next = self._clock.now() + FAILED_MS
        _log.warning("identity.issuer_not_asked", extra={"issuer": url, "why": why[:500]})

    async def _read(self, url: str, thumbprints: Sequence[str]) -> Keys:
        discovered = await self.discover(url, thumbprints)
        address = discovered.get("jwks_uri")
        if not isinstance(address, str):
            raise Unusable("the discovery document names no jwks_uri")
        return Keys(await self.fetch(address, thumbprints))

    async def discover(self, url: str, thumbprints: Sequence[str]) -> dict[str, Any]:
        """What an issuer says of itself, by its URL without https://. Raises what `fetch` raises, Unusable and ValueError."""
        found = orjson.loads(
            await self.fetch(f"https://{url.removesuffix('/')}/.well-known/openid-configuration", thumbprints)
        )
        if not isinstance(found, dict) or found.get("issuer") != f"https://{url}":
            raise Unusable("the discovery document is of another issuer")
        return found

    async def fetch(self, url: str, thumbprints: Sequence[str], form: Form | None = None) -> bytes:
        """The body of a complete answer of 200 to a GET, or to a POST of a form. Raises Throttled, and NoAnswer as `Egress.send`."""
        headers = [("Accept", "application/json")]
        if form is not None:
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
            headers += [("Authorization", form.authorization)] if form.authorization else []
        method, content = ("GET", b"") if form is None else ("POST", form.content)
        request = Request(url, method, headers, content)
        try:
            answer = await self._egress.send(request, seconds=TIMEOUT_S, thumbprints=thumbprints)
        except Occupied:
            raise Throttled from None
        encoded = answer.headers.get("content-encoding", "").lower() not in ("", "identity")
        if answer.status != 200 or encoded:
            raise Unusable(f"{url} answers with {answer.status}{' in another encoding' * encoded}")
        return answer.body
