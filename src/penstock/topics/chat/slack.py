"""Messages to a channel of Slack by an incoming webhook. Slack: "Sending messages using incoming webhooks", "Block Kit"."""

from __future__ import annotations

import json
from typing import Any

from penstock.topics.chat.form import ChatFormat, Headers, Published
from penstock.topics.notices import Notice, Tone

_SECTION, _FIELD = 3_000, 800  # characters as they are sent: a section takes 3,000, and all blocks together some 13,000
_SIGNS = {Tone.GOOD: ":white_check_mark: ", Tone.BAD: ":x: ", Tone.WAITS: ":hourglass_flowing_sand: ", Tone.PLAIN: ""}


def escaped(text: str, most: int = _SECTION) -> str:
    """A text that mentions nobody and formats nothing of its own, as long as a block takes it."""
    found, length = [], 0
    for one in text:
        shown = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(one, one)
        length += len(shown)
        if length > most - 1:
            return f"{''.join(found)}…"
        found.append(shown)
    return "".join(found)


def blocks(notice: Notice) -> list[dict[str, Any]]:
    """The blocks of a notice."""
    found: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": notice.title, "emoji": False}}
    ]
    if notice.text:
        found.append({"type": "section", "text": _mrkdwn(escaped(notice.text))})
    if notice.facts:
        fields = [_mrkdwn(f"*{escaped(name)}*\n{escaped(value, _FIELD)}") for name, value in notice.facts]
        found.append({"type": "section", "fields": fields})
    if notice.links:
        links = "   ".join(f"<{escaped(address)}|{escaped(label)}>" for label, address in notice.links)
        found.append({"type": "section", "text": _mrkdwn(links)})
    return found


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _make(published: Published) -> tuple[Headers, str]:
    notice = published.notice
    body = {"text": f"{_SIGNS[notice.tone]}{escaped(notice.title)}", "blocks": blocks(notice)}
    return [("Content-Type", "application/json")], json.dumps(body, ensure_ascii=False, separators=(",", ":"))


FORMAT = ChatFormat(name="slack", make=_make, hosts=("hooks.slack.com", "hooks.slack-gov.com"))
