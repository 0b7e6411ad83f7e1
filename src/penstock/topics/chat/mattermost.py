"""Messages to a channel of Mattermost by an incoming webhook. Mattermost: "Incoming webhooks", "Message attachments"."""

from __future__ import annotations

import json
import re

from penstock.topics.chat.form import ChatFormat, Headers, Published
from penstock.topics.notices import Tone

_COLOURS = {Tone.GOOD: "#2e7d32", Tone.BAD: "#c62828", Tone.WAITS: "#f9a825", Tone.PLAIN: "#607d8b"}
_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~:])")


def escaped(text: str) -> str:
    """A text that is no Markdown and mentions nobody: between an @ and a name stands a space without width."""
    return _MARKS.sub(r"\\\1", text).replace("@", "@\u200b")


def _make(published: Published) -> tuple[Headers, str]:
    notice = published.notice
    links = "   ".join(f"[{escaped(label)}]({address})" for label, address in notice.links)
    attachment = {
        "fallback": notice.title,
        "color": _COLOURS[notice.tone],
        "title": escaped(notice.title),
        "text": "\n\n".join(one for one in (escaped(notice.text), links) if one),
        "fields": [
            {"short": len(value) < 40, "title": escaped(name), "value": escaped(value)} for name, value in notice.facts
        ],
    }
    body = json.dumps({"text": "", "attachments": [attachment]}, ensure_ascii=False, separators=(",", ":"))
    return [("Content-Type", "application/json")], body


FORMAT = ChatFormat(name="mattermost", make=_make)
