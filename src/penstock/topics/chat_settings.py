"""Whose chat is trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.component import option

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def _host(text: str) -> str:
    if not _HOST.fullmatch(text.lower()):
        raise ValueError(f"{text!r} is not the name of a host, such as chat.example.com")
    return text.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Options of messages to chats."""

    chat_hosts: tuple[str, ...] = option(
        (),
        "a host, such as chat.example.com, where whoever subscribes a chat to a topic need not confirm it, beside those of Slack and Microsoft "
        "Teams: every incoming webhook there is one that its channel's owner gave out; may be repeated",
        group="network",
        flag="--chat-host",
        metavar="HOST",
        parse=_host,
    )
