"""What the console's pages about users, groups and roles share: lists by name, and policies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from penstock.webpages.detail import Part
from penstock.webpages.listing import Column, Empty, Listing, Row, following
from penstock.webpages.view import View
from penstock.webpages.wording import plural

CREATED = Column("Created", "num")
_PAGE = 50
_SCANNED = 1000  # in one call of a search
_SCANS = 5  # calls of a search, before it says that there is more
_SHOWN = 20  # inline policies


async def listing_of(
    view: View,
    *,
    operation: str,
    member: str,
    name: str,
    noun: str,
    columns: Sequence[Column],
    row: Callable[[dict[str, Any]], Row],
    empty: Empty,
) -> Listing:
    """A list of IAM, or those in it whose names have the text that is searched for."""
    sought, marker = view.query.get("q", "").strip(), view.query.get("from", "")
    found: list[dict[str, Any]] = []
    for _ in range(_SCANS if sought else 1):
        answer = await view.call(
            "iam", operation, MaxItems=_SCANNED if sought else _PAGE, **({"Marker": marker} if marker else {})
        )
        found += [one for one in answer[member] if sought.lower() in one[name].lower()]
        marker = answer.get("Marker", "")
        if not marker or len(found) >= _PAGE:
            break
    count = plural(len(found), noun)
    lede = (
        f"{count} with {sought} in the name." if sought else f"{count} of account {view.visitor.account} on this page."
    )
    nothing = Empty(icon="search", title=f"No {noun} has that in its name", text=f"Nothing was found for {sought}.")
    return Listing(
        lede=lede,
        columns=columns,
        rows=[row(one) for one in found],
        empty=nothing if sought else empty,
        behind=operation,
        command=f"aws iam list-{member.lower()}",
        next_page=following(marker, q=sought),
        search=f"Search {noun}s",
        sought=sought,
    )


async def attachments(view: View, operation: str, **of: str) -> Part:
    """The managed policies of a user, group or role."""
    answer = await view.allowed("iam", operation, **of)
    rows = [Row((one["PolicyName"], one["PolicyArn"])) for one in (answer or {}).get("AttachedPolicies", [])]
    return Part(
        title="Managed policies",
        columns=(Column("Policy"), Column("ARN", "clip")),
        rows=rows,
        none="A policy does not let you see them." if answer is None else "None is attached.",
    )


async def inline_policies(view: View, lists: str, reads: str, **of: str) -> list[Part]:
    """The policies of its own that a user, group or role has."""
    answer = await view.allowed("iam", lists, MaxItems=_SHOWN, **of)
    if answer is None or not answer["PolicyNames"]:
        none = "A policy does not let you see them." if answer is None else "There is none."
        return [Part(title="Inline policies", none=none)]
    found = []
    for name in answer["PolicyNames"]:
        read = await view.allowed("iam", reads, PolicyName=name, **of)
        found.append(
            Part(
                title=f"Inline policy {name}",
                text="" if read is None else policy_text(read["PolicyDocument"]),
                none="A policy does not let you see it.",
            )
        )
    if answer.get("IsTruncated"):
        found.append(Part(title="More inline policies", none=f"There are more than {_SHOWN}; {lists} names them all."))
    return found


def policy_text(document: str) -> str:
    """A policy, as answers of IAM have it, to be read."""
    return json.dumps(json.loads(unquote(document)), indent=2, ensure_ascii=False)
