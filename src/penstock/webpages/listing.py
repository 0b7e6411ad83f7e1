"""Lists: a sentence, a table, what is said when it is empty, and the way to its next page. They need no template of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, and how its cells are set."""

    head: str
    kind: Literal["", "num", "clip", "by"] = ""  # figures, long text that is cut off, names of people
    wide: bool = False  # as wide as a state with its reason
    hidden: bool = False  # the head is for screen readers only


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What stands in one cell, in this order. Times are ms UTC."""

    state: str | None = None  # of the API
    marks: Sequence[str] = ()  # states of a pipeline's stages, as a small picture that `text` describes
    code: str = ""  # a hash or an id, before the text
    text: str = ""
    href: str = ""
    title: str = ""  # the whole of what is cut off
    person: str = ""
    at: int | None = None
    since: int | None = None  # counted on in the page
    took: int | None = None  # ms
    opens: str = ""  # a button that opens the dialog of this id; `text` is its label
    below: str = ""
    below_at: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row; the first cell names it. With an `id` a live page replaces it alone."""

    cells: Sequence[Cell | str | int | None]
    id: str = ""
    run: int = 0  # a run of a pipeline that is marked wherever it stands
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """What is said in place of an empty table: what such a thing is, and the command that makes one."""

    icon: str
    title: str
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list of one kind of things."""

    lede: str  # what is so, in a sentence
    columns: Sequence[Column]
    rows: Sequence[Row]
    empty: Empty
    behind: str  # names of the operations that it shows
    command: str  # the one that shows the same in a terminal
    heading: str = ""  # over a list that a filter narrows; the page's title otherwise
    filtered: str = ""  # what it is narrowed to, in the crumbs
    next_page: str = ""  # the query of its next page
    next_label: str = "More"
    search: str = ""  # what its search field is called; without one it has none
    sought: str = ""  # what was searched for, the parameter `q` of its address


def following(token: str, **filters: str) -> str:
    """The query of the next page of a list under the same filters, or ""."""
    kept: Mapping[str, str] = {name: value for name, value in filters.items() if value}
    return urlencode({**kept, "from": token}) if token else ""
