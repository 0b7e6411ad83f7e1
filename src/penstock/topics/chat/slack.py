"""Messages to a channel of Slack by an incoming webhook. Slack: "Sending messages using incoming webhooks", "Block Kit"."""

from __future__ import annotations

import json
import re
from typing import Any

from penstock.topics.chat.form import ChatFormat, Headers, Published
from penstock.topics.notices import Notice, Tone

_SECTION, _FIELD = 3_000, 800  # characters as they are sent: a section takes 3,000, and all blocks together some 13,000
_MARKS = re.compile(r"[*_~`]|:[^\s:]+:")  # what Slack shows as bold, struck out, code or a picture
_SIGNS = {Tone.GOOD: ":white_check_mark: ", Tone.BAD: ":x: ", Tone.WAITS: ":hourglass_flowing_sand: ", Tone.PLAIN: ""}


def escaped(text: str, most: int = _SECTION) -> str:
    """A text that mentions nobody and makes no links, as long as a block takes it. Its other marks format it."""
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
    found: list[dict[str, Any]] = [{"type": "header", "text": _plain(notice.title)}]
    if notice.text:
        found.append({"type": "section", "text": _plain(notice.text)})
    if notice.facts:
        found.append({"type": "section", "fields": [_fact(name, value, notice) for name, value in notice.facts]})
    if notice.links:
        links = "   ".join(f"<{escaped(address)}|{escaped(label)}>" for label, address in notice.links)
        found.append({"type": "section", "text": _mrkdwn(links)})
    return found


def _fact(name: str, value: str, notice: Notice) -> dict[str, Any]:
    # Slack has no way to escape its marks, so names are bold only where no fact of the notice has any.
    if any(_MARKS.search(text) for one in notice.facts for text in one):
        return _plain(f"{name}\n{value}")
    return _mrkdwn(f"*{escaped(name)}*\n{escaped(value, _FIELD)}")


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _make(published: Published) -> tuple[Headers, str]:
    notice = published.notice
    body = {"text": f"{_SIGNS[notice.tone]}{escaped(notice.title)}", "blocks": blocks(notice)}
    return [("Content-Type", "application/json")], json.dumps(body, ensure_ascii=False, separators=(",", ":"))


FORMAT = ChatFormat(name="slack", make=_make, hosts=("hooks.slack.com", "hooks.slack-gov.com"))
