"""Messages to a program of one's own, signed as Standard Webhooks has it (standardwebhooks.com, version 1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from penstock.topics.chat.form import ChatFormat, Headers, Published
from penstock.wire.scalars import format_timestamp


def signature(secret: bytes, id: str, seconds: int, body: str) -> str:
    """The value of the header `webhook-signature`."""
    signed = hmac.new(secret, f"{id}.{seconds}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _make(published: Published) -> tuple[Headers, str]:
    notice = published.notice
    content = {
        "type": "sns.notification",
        "timestamp": format_timestamp(published.at, "iso8601", always_millis=True),
        "data": {
            "topic": published.topic,
            "subject": published.subject,
            "message": published.text,
            "attributes": published.attributes,
            "notice": {
                "title": notice.title,
                "tone": str(notice.tone),
                "text": notice.text,
                "facts": [{"name": name, "value": value} for name, value in notice.facts],
                "links": [{"label": label, "url": address} for label, address in notice.links],
            },
        },
    }
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    seconds = published.now // 1000
    return [
        ("Content-Type", "application/json"),
        ("webhook-id", published.id),
        ("webhook-timestamp", str(seconds)),
        ("webhook-signature", signature(published.secret, published.id, seconds, body)),
    ], body


FORMAT = ChatFormat(name="webhook", make=_make, answers=True, signs=True)
