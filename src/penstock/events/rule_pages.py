"""The console's page about one rule, and those about archives with their replays and connections with their API destinations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.webpages.detail import Detail, Part, tag_facts
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural
from penstock.wire.call import partition_of

_PAGE = 100
_LETTERS = 20  # of a rule that its page shows
_PAGES = 5  # of dead letters of the account in which they are looked for


async def rule(view: View) -> Detail:
    """One rule: what it waits for, its targets, and what could not be delivered to them."""
    name, bus = view.path["name"], view.query.get("bus", "default")
    found = await view.call("events", "DescribeRule", Name=name, EventBusName=bus)
    targets = await view.allowed("events", "ListTargetsByRule", Rule=name, EventBusName=bus, Limit=_PAGE)
    tags = await view.allowed("events", "ListTagsForResource", ResourceARN=found["Arn"])
    listed = (targets or {}).get("Targets", ())
    return Detail(
        title=name,
        list_title="Rules",
        list_path="rules",
        lede=_lede(found["State"], None if targets is None else len(listed)),
        facts=[
            ("State", Cell(state=found["State"])),
            ("Bus", found["EventBusName"]),
            ("Schedule", found.get("ScheduleExpression", "")),
            ("Description", found.get("Description", "")),
            ("Role", found.get("RoleArn", "")),
            ("Managed by", found.get("ManagedBy", "")),
            *tag_facts(tags or {}),
            ("ARN", found["Arn"]),
        ],
        parts=[
            Part(
                title="Targets",
                columns=(Column("Target"), Column("ARN", "clip"), Column("Role", "clip"), Column("Attempts", "num")),
                rows=[_target(one) for one in listed],
                none="A policy does not let you see them." if targets is None else "Nothing is done yet: add a target.",
            ),
            await _given_up(view, found["Arn"]),
            Part(title="Event pattern", text=found.get("EventPattern", ""), none="It waits for no events."),
        ],
        behind="DescribeRule, ListTargetsByRule, ListEventDeadLetters",
        command=f"aws events describe-rule --name {name}" + ("" if bus == "default" else f" --event-bus-name '{bus}'"),
    )


def _lede(state: str, targets: int | None) -> str:
    if state == "DISABLED":
        return "It is disabled: nothing reaches its targets."
    return "It is enabled." if targets is None else f"It is enabled, with {plural(targets, 'target')}."


def _target(one: Mapping[str, Any]) -> Row:
    attempts = one.get("RetryPolicy", {}).get("MaximumRetryAttempts")
    arn = Cell(text=one["Arn"], title=one["Arn"])
    return Row((one["Id"], arn, one.get("RoleArn", ""), None if attempts is None else attempts + 1))


async def _given_up(view: View, rule: str) -> Part:
    """What could not be delivered to a rule's targets, the latest first."""
    rows: list[Row] = []
    more: dict[str, str] = {}
    none = "Nothing was given up."
    for _ in range(_PAGES):
        found = await view.allowed("penstock", "ListEventDeadLetters", **more)
        if found is None:
            none = "A policy does not let you see what was given up."
            break
        rows += [_letter(one) for one in found["deadLetters"] if one.get("ruleArn") == rule]
        if len(rows) >= _LETTERS or "nextToken" not in found:
            break
        more = {"nextToken": found["nextToken"]}
    columns = (Column("Given up"), Column("Target"), Column("Why", "clip"), Column("Attempts", "num"))
    return Part(title="Given up", columns=columns, rows=rows[:_LETTERS], none=none)


def _letter(one: Mapping[str, Any]) -> Row:
    why = one.get("errorMessage") or one.get("errorCode", "")
    return Row(
        (
            Cell(at=one["time"]),
            one["targetId"],
            Cell(text=why, title=why, below=one.get("errorCode", "")),
            one.get("retryAttempts", 0) + 1,
        )
    )


async def archives(view: View) -> Listing:
    """The archives of the account and region."""
    token = view.query.get("from", "")
    answer = await view.call("events", "ListArchives", Limit=_PAGE, **({"NextToken": token} if token else {}))
    found = answer["Archives"]
    return Listing(
        lede=f"{plural(len(found), 'archive')} on this page, with {plural(sum(one['EventCount'] for one in found), 'event')}.",
        columns=(
            Column("Archive"),
            Column("State"),
            Column("Bus"),
            Column("Events", "num"),
            Column("Kept"),
            Column("Made", "num"),
        ),
        rows=[
            Row(
                (
                    Cell(text=one["ArchiveName"], href=f"/console/archives/{part(one['ArchiveName'])}"),
                    Cell(state=one["State"], below=one.get("StateReason", "")),
                    one["EventSourceArn"].rpartition("/")[2],
                    f"{one['EventCount']:,}",
                    _kept(one),
                    Cell(at=one["CreationTime"]),
                )
            )
            for one in found
        ],
        empty=Empty(
            icon="box",
            title="No archives yet",
            text="An archive keeps what arrives at a bus, so that it can be replayed: for a rule that is new, or after a fault is mended.",
            command=f"aws events create-archive --archive-name all --retention-days 30 --event-source-arn {_bus(view)}",
        ),
        behind="ListArchives",
        command="aws events list-archives",
        next_page=following(answer.get("NextToken", "")),
    )


def _bus(view: View) -> str:
    return f"arn:{partition_of(view.region)}:events:{view.region}:{view.visitor.account}:event-bus/default"


def _kept(one: Mapping[str, Any]) -> str:
    return plural(one["RetentionDays"], "day") if one.get("RetentionDays") else "For ever"


async def archive(view: View) -> Detail:
    """One archive with its replays."""
    found = await view.call("events", "DescribeArchive", ArchiveName=view.path["name"])
    arn = found["ArchiveArn"]
    replays = await view.allowed("events", "ListReplays", EventSourceArn=arn, Limit=_PAGE)
    return Detail(
        title=found["ArchiveName"],
        list_title="Archives",
        list_path="archives",
        lede=f"{plural(found['EventCount'], 'event')} in {plural(found['SizeBytes'], 'byte')}.",
        warning=found.get("StateReason", ""),
        facts=[
            ("State", Cell(state=found["State"])),
            ("Bus", found["EventSourceArn"].rpartition("/")[2]),
            ("Description", found.get("Description", "")),
            ("Kept", _kept(found)),
            ("Made", Cell(at=found["CreationTime"])),
            ("ARN", arn),
        ],
        parts=[
            Part(
                title="Replays",
                columns=(
                    Column("Replay"),
                    Column("State", wide=True),
                    Column("Done", "num"),
                    Column("Events from", "num"),
                    Column("To", "num"),
                    Column("Began", "num"),
                ),
                rows=[_replay(one) for one in (replays or {}).get("Replays", ())],
                none="A policy does not let you see them." if replays is None else "Nothing was replayed yet.",
            ),
            Part(title="Event pattern", text=found.get("EventPattern", ""), none="It keeps every event of its bus."),
        ],
        behind="DescribeArchive, ListReplays",
        command=f"aws events list-replays --event-source-arn {arn}",
    )


def _replay(one: Mapping[str, Any]) -> Row:
    return Row(
        (
            one["ReplayName"],
            Cell(state=one["State"], below=one.get("StateReason", "")),
            f"{_done(one)} %",
            Cell(at=one["EventStartTime"]),
            Cell(at=one["EventEndTime"]),
            Cell(at=one["ReplayStartTime"]),
        )
    )


def _done(one: Mapping[str, Any]) -> int:
    """How much of its span of time a replay has been through, in percent."""
    if one["State"] == "COMPLETED":
        return 100
    begin, end = one["EventStartTime"], one["EventEndTime"]
    at = one.get("EventLastReplayedTime", begin)
    return min(max(100 * (at - begin) // (end - begin), 0), 100) if end > begin else 0


async def connections(view: View) -> Listing:
    """The connections of the account and region: what API destinations authorise themselves by."""
    token = view.query.get("from", "")
    answer = await view.call("events", "ListConnections", Limit=_PAGE, **({"NextToken": token} if token else {}))
    found = answer["Connections"]
    off = sum(one["ConnectionState"] != "AUTHORIZED" for one in found)
    return Listing(
        lede=f"{plural(len(found), 'connection')} on this page, {off or 'none'} not authorised.",
        columns=(Column("Connection"), Column("State", wide=True), Column("Kind"), Column("Authorised", "num")),
        rows=[
            Row(
                (
                    Cell(text=one["Name"], href=f"/console/connections/{part(one['Name'])}"),
                    Cell(state=one["ConnectionState"], below=one.get("StateReason", "")),
                    _KINDS[one["AuthorizationType"]],
                    Cell(at=one.get("LastAuthorizedTime")),
                )
            )
            for one in found
        ],
        empty=Empty(
            icon="box",
            title="No connections yet",
            text="A connection keeps the secrets by which API destinations call the programs of others. Rules have API destinations as targets.",
            command="aws events create-connection --name chat --authorization-type API_KEY --auth-parameters file://key.json",
        ),
        behind="ListConnections",
        command="aws events list-connections",
        next_page=following(answer.get("NextToken", "")),
    )


_KINDS = {"BASIC": "Name and password", "API_KEY": "Key in a header", "OAUTH_CLIENT_CREDENTIALS": "OAuth"}


async def connection(view: View) -> Detail:
    """One connection with the API destinations that use it."""
    found = await view.call("events", "DescribeConnection", Name=view.path["name"])
    arn = found["ConnectionArn"]
    uses = await view.allowed("events", "ListApiDestinations", ConnectionArn=arn, Limit=_PAGE)
    listed = (uses or {}).get("ApiDestinations", ())
    return Detail(
        title=found["Name"],
        list_title="Connections",
        list_path="connections",
        lede=""
        if uses is None
        else f"{plural(len(listed), 'API destination')} use it."
        if len(listed) != 1
        else "1 API destination uses it.",
        warning=found.get("StateReason", ""),
        facts=[
            ("State", Cell(state=found["ConnectionState"])),
            ("Kind", _KINDS[found["AuthorizationType"]]),
            ("Description", found.get("Description", "")),
            ("Secret", found.get("SecretArn", "")),
            ("Authorised", Cell(at=found.get("LastAuthorizedTime"))),
            ("Changed", Cell(at=found.get("LastModifiedTime"))),
            ("ARN", arn),
        ],
        parts=[
            Part(
                title="API destinations",
                columns=(
                    Column("Destination"),
                    Column("State"),
                    Column("Asks", "clip"),
                    Column("Most in a second", "num"),
                ),
                rows=[_destination(one) for one in listed],
                none="A policy does not let you see them." if uses is None else "No API destination uses it yet.",
            )
        ],
        behind="DescribeConnection, ListApiDestinations",
        command=f"aws events list-api-destinations --connection-arn {arn}",
    )


def _destination(one: Mapping[str, Any]) -> Row:
    asks = f"{one['HttpMethod']} {one['InvocationEndpoint']}"
    most = one.get("InvocationRateLimitPerSecond")
    return Row((one["Name"], Cell(state=one["ApiDestinationState"]), Cell(text=asks, title=asks), most))


PAGES = (
    Page(path="rules/{name}", load=rule),
    Page(
        path="archives",
        title="Archives",
        load=archives,
        nav=Nav(group=Group.WATCH, service="events", operation="ListArchives"),
    ),
    Page(path="archives/{name}", load=archive),
    Page(
        path="connections",
        title="Connections",
        load=connections,
        nav=Nav(group=Group.WATCH, service="events", operation="ListConnections"),
    ),
    Page(path="connections/{name}", load=connection),
)
