"""Tables and statements of event buses, rules and targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.store.schema import Json, State, metadata, sealed
from penstock.store.statement import Statement
from penstock.store.upsert import insert, upsert

Place = tuple[str, str]
"""Account and region."""

DEFAULT = "default"  # the bus that every account has in every region; its row is made when something is said of it


def connection_context(id: str) -> str:
    """For what the secrets of a connection are sealed."""
    return f"event-connection/{id}"


def token_context(id: str) -> str:
    """For what the token of a connection is sealed."""
    return f"event-connection-token/{id}"


buses = sa.Table(
    "event_buses",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("description", sa.Text),
    sa.Column("dead_letter", sa.Text),  # ARN of a queue, as it was given
    sa.Column("policy", sa.Text),
    sa.Column("policy_ids", Json, nullable=False),  # of whom it names, as identity has it
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
)
rules = sa.Table(
    "event_rules",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("bus", sa.String(256), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("description", sa.Text),
    sa.Column("pattern", sa.Text),  # as it was given
    sa.Column("schedule", sa.Text),
    sa.Column("state", sa.String(64), nullable=False),
    sa.Column("role", sa.Text),
    sa.Column("created_by", sa.String(12), nullable=False),  # account
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column(
        "stamp", sa.String(36), nullable=False
    ),  # another one after each change: ids of scheduled events go by it
    sa.Column("next", sa.BigInteger),  # the time of its next scheduled event; none: there is no further one
)
targets = sa.Table(
    "event_targets",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("bus", sa.String(256), primary_key=True),
    sa.Column("rule", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("arn", sa.Text, nullable=False),
    sa.Column("content", Json, nullable=False),  # the target as it was put
)
places = sa.Table(
    "event_places",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),  # counts the changes of its rules and targets
)
envelopes = sa.Table(
    "event_envelopes",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # of the event
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # JSON
)
sa.Index("ix_event_envelopes_at", envelopes.c.at)
deliveries = sa.Table(
    "event_deliveries",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # later ones are greater
    sa.Column("account", sa.String(12), nullable=False),  # whose rule it is
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("bus", sa.String(256), nullable=False),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("target", sa.String(64), nullable=False),
    sa.Column("ordering", sa.String(64), nullable=False),  # digest of target and source: these come one after the other
    sa.Column("event", sa.String(36), nullable=False),
    sa.Column("state", State(10), nullable=False),  # pending, or aside: tried by itself, since it has failed often
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("hops", sa.Integer, nullable=False),  # of rules that led to the event
    sa.Column("since", sa.BigInteger, nullable=False),  # when the event came
)
sa.Index("ix_event_deliveries_ordering", deliveries.c.ordering, deliveries.c.id)
sa.Index("ix_event_deliveries_event", deliveries.c.event)
causes = sa.Table(
    "event_causes",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("subject", sa.String(600), primary_key=True),  # what a rule has started: an id, or an ARN
    sa.Column("hops", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
sa.Index("ix_event_causes_at", causes.c.at)
dead_letters = sa.Table(
    "event_dead_letters",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # of the delivery
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("bus", sa.String(256), nullable=False),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("target", sa.String(64), nullable=False),
    sa.Column("arn", sa.Text, nullable=False),  # of the target
    sa.Column("queue", sa.Text),  # ARN of the target's dead-letter queue, as it was given
    sa.Column("event", sa.String(36), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("code", sa.String(64), nullable=False),  # ERROR_CODE of AWS's dead letters
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("exhausted", sa.String(64)),  # MaximumRetryAttempts or MaximumEventAgeInSeconds
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("hops", sa.Integer, nullable=False),
    sa.Column(
        "schedule", sa.Text
    ),  # ARN of the schedule whose invocation it was; that has the input, the letter has no body
)
sa.Index(
    "ix_event_dead_letters_place", dead_letters.c.account, dead_letters.c.region, dead_letters.c.at, dead_letters.c.id
)
sa.Index("ix_event_dead_letters_at", dead_letters.c.at)

connections = sa.Table(
    "event_connections",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False),  # of its ARN: one that is made anew under the name has another
    sa.Column("description", sa.Text),
    sa.Column("kind", sa.String(32), nullable=False),  # AuthorizationType
    sa.Column("state", sa.String(32), nullable=False),  # ConnectionState
    sa.Column("reason", sa.Text),  # why it is in this state
    sa.Column("public", Json, nullable=False),  # its parameters without what is secret
    # All parameters, with the secrets; nothing once it is deauthorized.
    sa.Column("secret", sa.LargeBinary, info=sealed(lambda row: connection_context(row.id))),
    sa.Column("token", sa.LargeBinary, info=sealed(lambda row: token_context(row.id))),  # of OAuth
    sa.Column("token_until", sa.BigInteger),  # ms: when it is over
    sa.Column("stamp", sa.String(36), nullable=False),  # another one after each change of the parameters
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("authorized", sa.BigInteger),
)
api_destinations = sa.Table(
    "event_api_destinations",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("connection", sa.Text, nullable=False),  # its ARN
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("method", sa.String(8), nullable=False),
    sa.Column("rate", sa.Integer, nullable=False),  # requests per second
    sa.Column("second", sa.BigInteger, nullable=False),  # of which requests are counted
    sa.Column("taken", sa.Integer, nullable=False),  # requests of this second that processes have taken for themselves
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
)
archives = sa.Table(
    "event_archives",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(48), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("bus", sa.String(256), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("pattern", sa.Text),  # as it was given
    sa.Column("retention", sa.Integer, nullable=False),  # days; 0: for ever
    sa.Column("created", sa.BigInteger, nullable=False),
)
# Events of archives: each as it comes is a block of its own, which is packed together with others later.
archived = sa.Table(
    "event_archived",
    metadata,
    sa.Column("archive", sa.String(36), primary_key=True),
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("first", sa.BigInteger, nullable=False),  # ms: the earliest time of its events
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("came", sa.BigInteger, nullable=False),  # ms: when the latest of its events came
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),  # bytes of the events as JSON
    sa.Column("content", sa.LargeBinary, nullable=False),  # see `penstock.events.archiving`
)
sa.Index("ix_event_archived_first", archived.c.archive, archived.c.first, archived.c.id)
replays = sa.Table(
    "event_replays",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("archive", sa.String(36), nullable=False),  # its id
    sa.Column("source", sa.Text, nullable=False),  # its ARN
    sa.Column("bus", sa.String(256), nullable=False),
    sa.Column("destination", Json, nullable=False),  # as it was given
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("since", sa.BigInteger, nullable=False),  # ms: of the events that are replayed
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("seen_first", sa.BigInteger),  # the block that was replayed last
    sa.Column("seen_id", sa.String(36)),
    sa.Column("replayed", sa.BigInteger),  # time of the event that was replayed last
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("ended", sa.BigInteger),
)
sa.Index("ix_event_replays_archive", replays.c.archive, replays.c.state)
sa.Index("ix_event_replays_ended", replays.c.ended)

_VERSION = Statement(
    sa.select(places.c.version).where(places.c.account == sa.bindparam("a"), places.c.region == sa.bindparam("r"))
)


def version(conn: sa.Connection, place: Place) -> int:
    """How often the rules of a place have changed; 0 for one that never had any."""
    row = _VERSION.first(conn, {"a": place[0], "r": place[1]})
    return 0 if row is None else row.version


def changed(conn: sa.Connection, place: Place) -> None:
    """Count a change of a place's rules."""
    statement = insert(conn.dialect.name, places).values(account=place[0], region=place[1], version=1)
    more = {"version": places.c.version + 1}
    conn.execute(statement.on_conflict_do_update(index_elements=["account", "region"], set_=more))


def all_places(conn: sa.Connection) -> set[Place]:
    """The places that have had rules."""
    return {(row.account, row.region) for row in conn.execute(sa.select(places.c.account, places.c.region))}


def enabled(conn: sa.Connection, place: Place, bus: str) -> list[Any]:
    """Name, pattern and state of the rules of a bus that want events."""
    c = rules.c
    these = sa.select(c.name, c.pattern, c.state).where(
        c.account == place[0], c.region == place[1], c.bus == bus, c.state != "DISABLED", c.pattern.is_not(None)
    )
    return list(conn.execute(these.order_by(c.name)).all())


def patterns_with_or(conn: sa.Connection, place: Place, limit: int) -> list[Any]:
    """Bus, name and pattern of the rules of a place whose pattern may have combinations. A name may be written with escapes."""
    c = rules.c
    text = sa.func.lower(c.pattern)
    may_have = sa.or_(*(text.contains(part) for part in ("$or", "u0024", "u006f", "u0072")))
    these = sa.select(c.bus, c.name, c.pattern).where(c.account == place[0], c.region == place[1], may_have)
    return list(conn.execute(these.limit(limit)).all())


# --- buses ------------------------------------------------------------------------------------------------------------


def _bus(place: Place, name: str) -> sa.ColumnElement[bool]:
    c = buses.c
    return sa.and_(c.account == place[0], c.region == place[1], c.name == name)


def bus(conn: sa.Connection, place: Place, name: str, *, lock: bool = False) -> Any:
    """A bus, or None. The default one may have no row."""
    found = sa.select(buses).where(_bus(place, name))
    return conn.execute(found.with_for_update() if lock else found).first()


def add_bus(conn: sa.Connection, place: Place, name: str, now: int, **values: Any) -> bool:
    """Write a bus. False when there is one of its name, which stays."""
    row = {"policy_ids": {}, "tags": {}, "created": now, "changed": now, **values}
    return upsert(conn, buses, {"account": place[0], "region": place[1], "name": name, **row})


def change_bus(conn: sa.Connection, place: Place, name: str, **values: Any) -> None:
    """Change a bus that has a row."""
    conn.execute(buses.update().where(_bus(place, name)).values(values))


def delete_bus(conn: sa.Connection, place: Place, name: str) -> None:
    """Forget a bus."""
    conn.execute(buses.delete().where(_bus(place, name)))


def buses_after(conn: sa.Connection, place: Place, *, after: str, prefix: str, limit: int) -> list[Any]:
    """Buses of a place by name."""
    c = buses.c
    found = sa.select(buses).where(c.account == place[0], c.region == place[1], c.name > after)
    if prefix:  # names are ASCII and have none of the last character
        found = found.where(c.name >= prefix, c.name < prefix + "\x7f")
    return list(conn.execute(found.order_by(c.name).limit(limit)).all())


def count_buses(conn: sa.Connection, place: Place) -> int:
    """How many buses of a place have a row."""
    c = buses.c
    found = sa.select(sa.func.count()).where(c.account == place[0], c.region == place[1])
    return conn.execute(found).scalar_one()


# --- rules ------------------------------------------------------------------------------------------------------------


def _rules(place: Place, bus: str) -> sa.ColumnElement[bool]:
    c = rules.c
    return sa.and_(c.account == place[0], c.region == place[1], c.bus == bus)


def rule(conn: sa.Connection, place: Place, bus: str, name: str, *, lock: bool = False) -> Any:
    """A rule, or None."""
    found = sa.select(rules).where(_rules(place, bus), rules.c.name == name)
    return conn.execute(found.with_for_update() if lock else found).first()


def put_rule(
    conn: sa.Connection, place: Place, bus: str, name: str, *, new: dict[str, Any], kept: dict[str, Any]
) -> None:
    """Write a rule. One that is there takes `kept`."""
    row = {"account": place[0], "region": place[1], "bus": bus, "name": name, **new}
    upsert(conn, rules, row, kept)


def change_rule(conn: sa.Connection, place: Place, bus: str, name: str, **values: Any) -> None:
    """Change a rule."""
    conn.execute(rules.update().where(_rules(place, bus), rules.c.name == name).values(values))


def delete_rule(conn: sa.Connection, place: Place, bus: str, name: str) -> None:
    """Forget a rule that has no targets."""
    conn.execute(rules.delete().where(_rules(place, bus), rules.c.name == name))


def rules_after(conn: sa.Connection, place: Place, bus: str, *, after: str, prefix: str = "", limit: int) -> list[Any]:
    """Rules of a bus by name."""
    c = rules.c
    found = sa.select(rules).where(_rules(place, bus), c.name > after)
    if prefix:
        found = found.where(c.name >= prefix, c.name < prefix + "\x7f")
    return list(conn.execute(found.order_by(c.name).limit(limit)).all())


def count_rules(conn: sa.Connection, place: Place, bus: str) -> int:
    """How many rules a bus has."""
    return conn.execute(sa.select(sa.func.count()).where(_rules(place, bus))).scalar_one()


# --- targets ----------------------------------------------------------------------------------------------------------


def _targets(place: Place, bus: str, rule: str) -> sa.ColumnElement[bool]:
    c = targets.c
    return sa.and_(c.account == place[0], c.region == place[1], c.bus == bus, c.rule == rule)


def targets_after(conn: sa.Connection, place: Place, bus: str, rule: str, *, after: str = "", limit: int) -> list[Any]:
    """Targets of a rule by id."""
    found = sa.select(targets).where(_targets(place, bus, rule), targets.c.id > after)
    return list(conn.execute(found.order_by(targets.c.id).limit(limit)).all())


def target(conn: sa.Connection, place: Place, bus: str, rule: str, id: str) -> Any:
    """A target, or None."""
    return conn.execute(sa.select(targets).where(_targets(place, bus, rule), targets.c.id == id)).first()


def put_target(conn: sa.Connection, place: Place, bus: str, rule: str, content: dict[str, Any]) -> None:
    """Write a target; one of its id is replaced."""
    key = {"account": place[0], "region": place[1], "bus": bus, "rule": rule, "id": content["Id"]}
    values = {"arn": content["Arn"], "content": content}
    upsert(conn, targets, key | values, values)


def remove_targets(conn: sa.Connection, place: Place, bus: str, rule: str, ids: Sequence[str]) -> list[str]:
    """Forget targets; the ids of those that there were."""
    these = targets.delete().where(_targets(place, bus, rule), targets.c.id.in_(ids)).returning(targets.c.id)
    return [row.id for row in conn.execute(these)]


def rules_with_target(conn: sa.Connection, place: Place, bus: str, arn: str, *, after: str, limit: int) -> list[str]:
    """Names of rules of a bus that have a target, by name."""
    c = targets.c
    found = (
        sa.select(c.rule)
        .distinct()
        .where(c.account == place[0], c.region == place[1], c.bus == bus, c.arn == arn, c.rule > after)
    )
    return list(conn.execute(found.order_by(c.rule).limit(limit)).scalars())
