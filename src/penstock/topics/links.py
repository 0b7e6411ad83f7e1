"""What the links of mails and messages lead to: a page that asks before it does anything, and the certificate of the signatures.

Programs that look through mail follow its links. So a link only shows a page, and the button on it confirms or leaves.
"""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from penstock.topics.signing import PREFIX, Signer
from penstock.wire.asgi import send_text
from penstock.wire.call import ANONYMOUS
from penstock.wire.errors import Refused, ServiceError

if TYPE_CHECKING:
    from penstock.application import App

_CERTIFICATE = re.compile(r"SimpleNotificationService-([0-9a-f]{32})\.pem")
_MOST = 4_096  # characters of a query
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}}
code{{overflow-wrap:anywhere}}button{{font:inherit;padding:.5rem 1rem}}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""
_BUTTON = '<form method="post"><button>{label}</button></form>'


class Links:
    """The ASGI application at `PREFIX`."""

    def __init__(self, app: App, signer: Signer) -> None:
        self._app = app
        self._signer = signer

    async def __call__(
        self, scope: dict[str, Any], _receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        """Answer a request."""
        name = scope["path"].removeprefix(PREFIX)
        method, query = scope["method"], scope["query_string"].decode("latin-1")
        if (found := _CERTIFICATE.fullmatch(name)) and method == "GET":
            certificate = await self._signer.certificate(found[1])
            if certificate is not None:
                await send_text(send, 200, certificate)
                return
        if name in ("confirm", "leave") and method in ("GET", "POST") and len(query) <= _MOST:
            values = {key: given[0] for key, given in parse_qs(query).items()}
            arn = values.get("TopicArn", "") if name == "confirm" else values.get("SubscriptionArn", "")
            if method == "GET":
                await self._ask(send, name, arn)
            else:
                await self._do(send, name, arn, values.get("Token", ""))
            return
        await send_text(send, 404, "There is nothing at this address.\n")

    async def _ask(self, send: Any, name: str, arn: str) -> None:
        shown = f"<p><code>{html.escape(arn)}</code></p>"
        if name == "confirm":
            body = f"<p>You get what is published to this topic once you confirm it.</p>{shown}{_BUTTON.format(label='Confirm subscription')}"
            await _send_page(send, 200, "Confirm your subscription", body)
        else:
            body = f"<p>You get nothing more by this subscription once you end it.</p>{shown}{_BUTTON.format(label='Unsubscribe')}"
            await _send_page(send, 200, "End your subscription", body)

    async def _do(self, send: Any, name: str, arn: str, token: str) -> None:
        asked = {"TopicArn": arn, "Token": token} if name == "confirm" else {"SubscriptionArn": arn}
        operation = "ConfirmSubscription" if name == "confirm" else "Unsubscribe"
        regions = self._app.settings.all_regions()
        region = next((one for one in regions if f":sns:{one}:" in arn), regions[0])
        try:
            await self._app.invoke(ANONYMOUS, "sns", operation, asked, region=region)
        except (ServiceError, Refused) as error:
            why = f"<p>{html.escape(error.message)}</p><p>A link to confirm works for two days. Ask whoever subscribed you for another.</p>"
            await _send_page(send, 400, "This link does not work", why)
            return
        if name == "confirm":
            await _send_page(send, 200, "You are subscribed", f"<p><code>{html.escape(arn)}</code></p>")
        else:
            await _send_page(send, 200, "You are not subscribed any more", f"<p><code>{html.escape(arn)}</code></p>")


async def _send_page(send: Any, status: int, title: str, body: str) -> None:
    text = _PAGE.format(title=title, body=body).encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(text)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
