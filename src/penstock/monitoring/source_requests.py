"""Requests of metric sources over HTTP: all go by `penstock.egress`, each redirect as a request of its own."""

from __future__ import annotations

import base64
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from penstock.egress import Answer, NoAnswer, Occupied, Request
from penstock.monitoring.source_kind import Asked, ReadFailed

_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"https": 443, "http": 80}


class Origin(NamedTuple):
    """Whom credentials are for."""

    scheme: str
    host: str
    port: int


def origin(url: str) -> Origin:
    """The origin of a URL (RFC 6454). Raises ValueError."""
    parts = urlsplit(url)
    return Origin(parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0))


def check_url(url: str) -> None:
    """Whether a URL is one of http or https with a host, and nothing secret in it. Raises ValueError with a sentence."""
    try:
        scheme, host, _ = origin(url)
        parts = urlsplit(url)
    except ValueError:
        scheme = host = ""
        parts = urlsplit("")
    if scheme not in _PORTS or not host or "#" in url or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("url must be an address of http or https, such as https://shop.example.com/health.")
    if parts.query and not parts.path:
        raise ValueError("url must have a path before its query, such as /?q=1.")
    if "@" in parts.netloc:
        raise ValueError("url must not have a user name or password: give them as credentials, which are kept sealed.")


class Refusal(Exception):
    """The other side does not answer, or not over HTTP that can be trusted. Its text is a sentence."""


async def ask(
    asked: Asked, url: str, *, method: str = "GET", redirects: int = 0, most: int, cut: bool = False
) -> Answer:
    """The answer at a URL, after redirects. Credentials go to the origin of the first URL only.

    Raises Refusal, or ReadFailed where the server itself has too much to do.
    """
    first = origin(url)
    for _ in range(redirects + 1):
        headers = _authorization(asked) if origin(url) == first else []
        try:
            answer = await asked.egress.send(Request(url, method, headers, plain=True), most=most, cut=cut)
        except Occupied:
            raise ReadFailed(
                "The server looks up too many names at once: it asks again at the next interval."
            ) from None
        except NoAnswer as error:
            raise Refusal(f"{error}.") from None
        if not redirects or answer.status not in _REDIRECTS or "location" not in answer.headers:
            return answer
        before, url = url, _target(url, answer.headers["location"])
        if before.startswith("https:") and not url.startswith("https:"):
            raise Refusal(f"{first.host} redirects from https to http, which is not followed.")
    raise Refusal(f"{first.host} redirects more than {redirects} times.")


def _target(url: str, location: str) -> str:
    try:
        found = urljoin(url, location).partition("#")[0]
        origin(found)
    except ValueError:
        raise Refusal(f"{urlsplit(url).hostname} redirects to {location[:200]!r}, which is no address.") from None
    return found


def _authorization(asked: Asked) -> list[tuple[str, str]]:
    given = asked.credentials
    if "bearerToken" in given:
        return [("Authorization", f"Bearer {given['bearerToken']}")]
    if "username" in given:
        pair = f"{given['username']}:{given.get('password', '')}".encode()
        return [("Authorization", f"Basic {base64.b64encode(pair).decode()}")]
    return []


async def document(asked: Asked, url: str, *, most: int) -> bytes:
    """The body of an answer with status 200. Raises ReadFailed."""
    try:
        answer = await ask(asked, url, most=most)
    except Refusal as refusal:
        raise ReadFailed(str(refusal)) from None
    if answer.status != 200:
        raise ReadFailed(f"{urlsplit(url).hostname} answers with status {answer.status}.")
    return answer.body
