"""Pages about one thing: a sentence, what is known of it, and lists of what belongs to it. They need no template of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.webpages.listing import Cell, Column, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A panel: a table, a text such as a policy, or a sentence that says why there is neither."""

    title: str
    columns: Sequence[Column] = ()
    rows: Sequence[Row] = ()
    text: str = ""  # shown as it is
    none: str = ""  # said without rows and text
    button: str = ""  # sends the page's form `path` ("" for none)
    path: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)  # of that form


def tag_facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts that the tags of an answer's structure are."""
    return [(f"Tag {tag['Key']}", tag["Value"]) for tag in found.get("Tags", ())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One thing."""

    title: str
    lede: str  # what is so, in a sentence
    facts: Sequence[tuple[str, Cell | str]]  # name and value; an empty value is left out
    parts: Sequence[Part]
    behind: str  # names of the operations that it shows
    command: str  # the one that shows the same in a terminal
    list_title: str = ""  # of the list that it is in, for the crumbs
    list_path: str = ""  # below /console/
    warning: str = ""
