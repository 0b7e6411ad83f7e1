"""Messages to a channel of Microsoft Teams by a workflow. Microsoft: "Create incoming webhooks with Workflows", Adaptive Cards 1.4."""

from __future__ import annotations

import json
from typing import Any

from penstock.topics.chat.form import ChatFormat, Headers, Published
from penstock.topics.notices import Notice, Tone

_COLOURS = {Tone.GOOD: "Good", Tone.BAD: "Attention", Tone.WAITS: "Warning", Tone.PLAIN: "Default"}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}


def _block(*runs: dict[str, Any]) -> dict[str, Any]:
    # Texts of this kind are never read as Markdown, so that no message makes links or lists of its own.
    return {"type": "RichTextBlock", "inlines": list(runs)}


def card(notice: Notice) -> dict[str, Any]:
    """The adaptive card of a notice."""
    body = [_block(_run(notice.title, weight="Bolder", size="Medium", color=_COLOURS[notice.tone]))]
    body += [_block(_run(line)) for line in notice.text.split("\n")[:40] if line]
    body += [_block(_run(f"{name}: ", weight="Bolder"), _run(value)) for name, value in notice.facts]
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": notice.title,
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": label, "url": address} for label, address in notice.links],
    }


def _make(published: Published) -> tuple[Headers, str]:
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card(published.notice),
    }  # fmt: skip
    body = json.dumps({"type": "message", "attachments": [attachment]}, ensure_ascii=False, separators=(",", ":"))
    return [("Content-Type", "application/json")], body


FORMAT = ChatFormat(name="teams", make=_make, hosts=(".logic.azure.com", ".api.powerplatform.com"))
