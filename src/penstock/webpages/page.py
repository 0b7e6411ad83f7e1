"""A page of the console as its component declares it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.responses import Response

    from penstock.webpages.detail import Detail
    from penstock.webpages.listing import Listing
    from penstock.webpages.view import View

Answer = Callable[["View"], Awaitable["Response"]]
Load = Callable[["View"], Awaitable["Listing | Detail | Mapping[str, Any] | Response"]]


class Group(StrEnum):
    """The headings of the rail, in its order."""

    DELIVER = "Deliver"
    SUPPLY = "Supply"
    MACHINES = "Machines"
    WATCH = "Watch"
    GOVERN = "Govern"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nav:
    """A page's place in the rail. Only those whom policy lets call the operation are shown it."""

    group: Group
    service: str
    operation: str
    key: str = ""  # the letter that leads there after `g`


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is shown at one address, and what its forms do.

    `load` calls operations as the visitor (`View.call`), so a page shows what its reader may see and nothing else. It returns a
    `Listing`, a `Detail`, the values of `template`, or an answer that is none of the console's pages, such as a file or a redirect.

    A list that names `events` is live. Other pages that change while they are open give their own stream.
    """

    path: str  # below /console/, such as "builds" or "builds/{id}"
    load: Load
    title: str = ""  # in the rail and over a list
    nav: Nav | None = None
    template: str = "list.html"  # NAME/file.html lies in the folder `templates` of the component NAME
    events: str = ""  # what the types of events begin with that change a list, such as "codebuild."
    live: Answer | None = None  # the stream of any other page, at PATH/live
    forms: Mapping[str, Answer] = field(default_factory=dict)  # path below the page's ("" for its own) → what is done

    @property
    def order(self) -> list[tuple[bool, str]]:
        """A key to sort by: the first route that fits is taken, so a fixed part stands before one that takes any name."""
        return [(part.startswith("{"), part) for part in self.path.split("/")]
