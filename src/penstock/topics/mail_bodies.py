"""What a mail says of a notice, as text and as HTML. Pure.

Nothing in it is fetched from anywhere, and every text is escaped. Links of ours lead to pages that ask for a sign-in.
"""

from __future__ import annotations

import html

from penstock.topics.notices import Notice, Tone

_COLOURS = {Tone.GOOD: "#2e7d32", Tone.BAD: "#c62828", Tone.WAITS: "#b26a00", Tone.PLAIN: "#37474f"}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font:15px/1.5 system-ui,sans-serif;color:#222;max-width:36em">
<h1 style="font-size:1.2em;color:{colour}">{title}</h1>
{text}{facts}{links}<hr><p style="font-size:.85em;color:#666">{leave}</p></body></html>
"""
_LEAVE = "You get this mail since your address is subscribed to the topic {topic}."


def as_text(notice: Notice, topic: str, leave: str) -> str:
    """The plain text."""
    width = max((len(name) for name, _ in notice.facts), default=0)
    facts = "\n".join(f"{name:<{width}}  {value}" for name, value in notice.facts)
    links = "\n".join(f"{label}:\n{address}" for label, address in notice.links)
    parts = [notice.title, notice.text, facts, links, f"--\n{_LEAVE.format(topic=topic)}\nTo unsubscribe:\n{leave}"]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_html(notice: Notice, topic: str, leave: str) -> str:
    """The HTML."""
    rows = "".join(
        f'<tr><th style="text-align:left;padding-right:1em">{_escaped(name)}</th><td>{_escaped(value)}</td></tr>'
        for name, value in notice.facts
    )
    return _PAGE.format(
        title=_escaped(notice.title),
        colour=_COLOURS[notice.tone],
        text=f'<p style="white-space:pre-line">{_escaped(notice.text)}</p>\n' if notice.text else "",
        facts=f"<table>{rows}</table>\n" if rows else "",
        links="".join(f"<p>{_link(label, address)}</p>\n" for label, address in notice.links),
        leave=f"{_escaped(_LEAVE.format(topic=topic))} {_link('Unsubscribe', leave)}",
    )


def _link(label: str, address: str) -> str:
    return f'<a href="{_escaped(address)}">{_escaped(label)}</a>'


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
