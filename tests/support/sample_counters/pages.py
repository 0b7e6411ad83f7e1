"""The page of counters."""

from __future__ import annotations

from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View
from penstock.webpages.wording import plural


async def counters(view: View) -> Listing:
    """Every counter with its value."""
    listed = await view.call("counters-json11", "ListCounters", **view.listed_from())
    found = listed["counters"]
    return Listing(
        lede=f"{plural(len(found), 'counter')}, {sum(one['value'] > 0 for one in found)} in use.",
        columns=(Column("Counter"), Column("Value", "num"), Column("Changed", "num")),
        rows=[Row((one["name"], one["value"], Cell(at=one["changed"]))) for one in found],
        empty=Empty(icon="box", title="No counters yet", text="A counter begins when something is added to it."),
        behind="ListCounters",
        command="aws counters list-counters",
        next_page=following(listed.get("nextToken", "")),
    )


PAGE = Page(
    path="counters",
    title="Counters",
    load=counters,
    nav=Nav(group=Group.WATCH, service="counters-json11", operation="ListCounters"),
    events="counters.",
)
