"""Tables of log groups and streams. The events themselves lie in files (`streams`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata
from penstock.store.upsert import upsert

DAY = 86_400_000  # ms
_AT_ONCE = 500  # parameters of a statement

groups = sa.Table(
    "log_groups",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("retention", sa.Integer),  # days that events are kept; NULL: for ever
    sa.Column("group_class", sa.String(32), nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False),  # from DeleteLogGroup
    sa.Column("tags", Json, nullable=False),
    sa.Column("key", sa.String(256)),  # ARN of the key of KMS that its events are under from now on
    sa.Column("data_key", sa.String(32)),  # one of `data_keys`, which they are sealed under
)

data_keys = (
    sa.Table(  # of log groups, those of before among them: what they have sealed is read for as long as it is kept
        "log_data_keys",
        metadata,
        sa.Column("account", sa.String(12), primary_key=True),
        sa.Column("region", sa.String(32), primary_key=True),
        sa.Column("group", sa.String(512), primary_key=True),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),  # of KMS
        sa.Column("created", sa.BigInteger, nullable=False),
    )
)

streams = sa.Table(
    "log_streams",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("group", sa.String(512), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("file", sa.String(36), nullable=False, unique=True),
    sa.Column("created", sa.BigInteger, nullable=False),
    # What was known when it was last written down; the file is the truth.
    sa.Column("first_event", sa.BigInteger),
    sa.Column("last_event", sa.BigInteger),
    sa.Column("last_ingestion", sa.BigInteger),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("measured", sa.BigInteger),  # bytes that metric filters have been applied to
    # Bytes that lie in segments. NULL: none.
    sa.Column("packed", sa.BigInteger),
)


metric_filters = sa.Table(
    "log_metric_filters",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("group", sa.String(512), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("pattern", sa.String(1024), nullable=False),
    sa.Column("transformation", Json, nullable=False),
    sa.Column("namespace", sa.String(255), nullable=False),  # of the metric, as is its name: filters are found by them
    sa.Column("metric", sa.String(255), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),  # ms; counts what comes from then on
)


resource_policies = sa.Table(
    "log_resource_policies",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("ids", Json, nullable=False),  # of whom it names, as identity has it
    sa.Column("changed", sa.BigInteger, nullable=False),
)


subscription_filters = sa.Table(
    "log_subscription_filters",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("group", sa.String(512), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("pattern", sa.String(1024), nullable=False),
    sa.Column("destination", sa.String(2048), nullable=False),  # ARN or URL
    sa.Column("role", sa.String(2048)),
    sa.Column("distribution", sa.String(16), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),  # ms; sends what comes from then on
    sa.Column("behind", sa.BigInteger),  # ms; all that came before has been sent; NULL: all there is
    sa.Column("failing", sa.BigInteger),  # ms; since when its destination takes nothing
    sa.Column("failures", sa.Integer, nullable=False),  # one after the other
)

sent = sa.Table(
    "log_subscriptions_sent",
    metadata,
    sa.Column("filter", sa.String(36), primary_key=True),  # id
    sa.Column("file", sa.String(36), primary_key=True),  # of a stream
    sa.Column(
        "end", sa.BigInteger, nullable=False
    ),  # bytes that the filter has been applied to and whose matches are sent
    sa.Index("ix_log_subscriptions_sent_file", "file"),
)


def _group(account: str, region: str, name: str) -> sa.ColumnElement[bool]:
    return (groups.c.account == account) & (groups.c.region == region) & (groups.c.name == name)


def _within(account: str, region: str, group: str) -> sa.ColumnElement[bool]:
    return (streams.c.account == account) & (streams.c.region == region) & (streams.c.group == group)


def _keys_of(account: str, region: str, group: str) -> sa.ColumnElement[bool]:
    return (data_keys.c.account == account) & (data_keys.c.region == region) & (data_keys.c.group == group)


def insert_data_key(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a data key of a group."""
    conn.execute(data_keys.insert(), dict(row))


def data_keys_of(conn: sa.Connection, account: str, region: str, group: str) -> dict[str, bytes]:
    """The ciphertexts of all data keys of a group, by id."""
    rows = conn.execute(sa.select(data_keys.c.id, data_keys.c.ciphertext).where(_keys_of(account, region, group)))
    return {row.id: row.ciphertext for row in rows}


def find_group(conn: sa.Connection, account: str, region: str, name: str, *, lock: bool = False) -> sa.Row[Any] | None:
    """A group's row."""
    query = sa.select(groups).where(_group(account, region, name))
    return conn.execute(query.with_for_update() if lock else query).first()


def insert_group(conn: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Keep a new group; False when it is there, or was made at this very time by another process."""
    return upsert(conn, groups, dict(row))


def update_group(conn: sa.Connection, account: str, region: str, name: str, **values: Any) -> None:
    """Change columns of a group."""
    conn.execute(groups.update().where(_group(account, region, name)).values(**values))


def delete_expired(conn: sa.Connection, now: int, limit: int) -> list[str]:
    """Forget up to `limit` streams that have got nothing for as long as their group keeps events; their files."""
    kept = sa.cast(groups.c.retention, sa.BigInteger) * sa.literal(DAY, sa.BigInteger)
    before = sa.literal(now, sa.BigInteger) - kept
    over = (
        sa.select(streams.c.file)
        .join(
            groups,
            (groups.c.account == streams.c.account)
            & (groups.c.region == streams.c.region)
            & (groups.c.name == streams.c.group),
        )
        .where(groups.c.retention.is_not(None), streams.c.created < before)
        .where(sa.func.coalesce(streams.c.last_event, 0) < before)
        .where(sa.func.coalesce(streams.c.last_ingestion, 0) < before)
        .limit(limit)
    )
    files = list(conn.execute(streams.delete().where(streams.c.file.in_(over)).returning(streams.c.file)).scalars())
    forget_sent(conn, files)
    return files


def files_with_streams(conn: sa.Connection, files: Sequence[str]) -> set[str]:
    """Those of some files that are a stream's."""
    return set(conn.execute(sa.select(streams.c.file).where(streams.c.file.in_(files))).scalars())


def forget_sent(conn: sa.Connection, files: Sequence[str]) -> None:
    """Forget how much of streams, which go, was sent."""
    for first in range(0, len(files), _AT_ONCE):
        conn.execute(sent.delete().where(sent.c.file.in_(files[first : first + _AT_ONCE])))


def delete_group(conn: sa.Connection, account: str, region: str, name: str) -> list[str]:
    """Forget a group and its streams; their files."""
    files = list(conn.execute(sa.select(streams.c.file).where(_within(account, region, name))).scalars())
    conn.execute(streams.delete().where(_within(account, region, name)))
    conn.execute(data_keys.delete().where(_keys_of(account, region, name)))
    filters = metric_filters.c
    filtering = (filters.account == account) & (filters.region == region) & (filters.group == name)
    conn.execute(metric_filters.delete().where(filtering))
    forget_sent(conn, files)
    subscribing = subscription_filters.c
    conn.execute(
        subscription_filters.delete().where(
            subscribing.account == account, subscribing.region == region, subscribing.group == name
        )
    )
    conn.execute(groups.delete().where(_group(account, region, name)))
    return files


def list_groups(
    conn: sa.Connection,
    account: str,
    region: str,
    *,
    prefix: str,
    part: str,
    names: Sequence[str],
    group_class: str,
    after: Sequence[Any] | None,
    limit: int,
) -> list[sa.Row[Any]]:
    """Groups by name, with the bytes of their streams and the number of their metric filters."""
    size = (
        sa.select(sa.func.coalesce(sa.func.sum(streams.c.size), 0))
        .where(streams.c.account == account, streams.c.region == region, streams.c.group == groups.c.name)
        .scalar_subquery()
    )
    filters = metric_filters.c
    filtering = (
        sa.select(sa.func.count())
        .select_from(metric_filters)
        .where(filters.account == account, filters.region == region, filters.group == groups.c.name)
        .scalar_subquery()
    )
    query = sa.select(groups, size.label("size"), filtering.label("filters")).where(
        groups.c.account == account, groups.c.region == region
    )
    if prefix:
        query = query.where(groups.c.name.startswith(prefix, autoescape=True))
    if part:
        query = query.where(groups.c.name.contains(part, autoescape=True))
    if names:
        query = query.where(groups.c.name.in_(list(names)))
    if group_class:
        query = query.where(groups.c.group_class == group_class)
    return list(conn.execute(rows_behind(query, [groups.c.name], after, limit=limit)))


def find_stream(conn: sa.Connection, account: str, region: str, group: str, name: str) -> sa.Row[Any] | None:
    """A stream's row, with the `data_key` and the `retention` of its group."""
    query = sa.select(streams, groups.c.data_key, groups.c.retention).join(groups, _group(account, region, group))
    return conn.execute(query.where(_within(account, region, group), streams.c.name == name)).first()


def stream_of(conn: sa.Connection, file: str) -> sa.Row[Any] | None:
    """The stream that has a file."""
    return conn.execute(sa.select(streams).where(streams.c.file == file)).first()


def insert_stream(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """Keep a new stream."""
    conn.execute(streams.insert(), dict(row))


def delete_stream(conn: sa.Connection, account: str, region: str, group: str, name: str) -> None:
    """Forget a stream."""
    gone = streams.delete().where(_within(account, region, group), streams.c.name == name)
    forget_sent(conn, list(conn.execute(gone.returning(streams.c.file)).scalars()))


def list_streams(
    conn: sa.Connection,
    account: str,
    region: str,
    group: str,
    *,
    prefix: str = "",
    by_time: bool = False,
    descending: bool = False,
    after: Sequence[Any] | None,
    limit: int,
) -> list[sa.Row[Any]]:
    """Streams of a group by name, or by the time of their last event."""
    keys: list[Any] = [streams.c.name]
    if by_time:
        keys.insert(0, sa.func.coalesce(streams.c.last_event, 0))
    query = sa.select(streams).where(_within(account, region, group))
    if prefix:
        query = query.where(streams.c.name.startswith(prefix, autoescape=True))
    return list(conn.execute(rows_behind(query, keys, after, limit=limit, descending=descending)))


def list_files(
    conn: sa.Connection,
    account: str,
    region: str,
    group: str,
    *,
    limit: int,
    after: str = "",
    prefix: str = "",
    names: Sequence[str] = (),
) -> dict[str, str]:
    """The files of up to `limit` of a group's streams by their names, in the order of the names, from behind one."""
    query = sa.select(streams.c.name, streams.c.file).where(_within(account, region, group), streams.c.name > after)
    if prefix:
        query = query.where(streams.c.name.startswith(prefix, autoescape=True))
    if names:
        query = query.where(streams.c.name.in_(list(names)))
    return {row.name: row.file for row in conn.execute(query.order_by(streams.c.name).limit(limit))}


def list_tailed(
    conn: sa.Connection,
    account: str,
    region: str,
    group: str,
    *,
    limit: int,
    names: Sequence[str] = (),
    prefixes: Sequence[str] = (),
) -> dict[str, str]:
    """The files of up to `limit` of a group's streams by their names, the newest of them."""
    query = sa.select(streams.c.name, streams.c.file).where(_within(account, region, group))
    if prefixes:
        query = query.where(sa.or_(*(streams.c.name.startswith(prefix, autoescape=True) for prefix in prefixes)))
    if names:
        query = query.where(streams.c.name.in_(list(names)))
    return {row.name: row.file for row in conn.execute(query.order_by(streams.c.created.desc()).limit(limit))}


def write_down(conn: sa.Connection, known: Sequence[Mapping[str, Any]]) -> None:
    """Note what the files hold: `file`, `first_event`, `last_event`, `last_ingestion`, `size`."""
    for values in known:
        conn.execute(
            streams.update()
            .where(streams.c.file == values["file"])
            .values({key: value for key, value in values.items() if key != "file"})
        )


# --- policies ---------------------------------------------------------------------------------------------------------


def resource_policies_of(conn: sa.Connection, account: str, region: str, *, lock: bool = False) -> list[sa.Row[Any]]:
    """The resource policies of an account in a region, which are few, by name."""
    c = resource_policies.c
    query = sa.select(resource_policies).where(c.account == account, c.region == region).order_by(c.name)
    return list(conn.execute(query.with_for_update() if lock else query))


def put_resource_policy(conn: sa.Connection, account: str, region: str, name: str, **values: Any) -> None:
    """Keep a resource policy; one of its name is replaced."""
    upsert(conn, resource_policies, {"account": account, "region": region, "name": name, **values}, values)


def delete_resource_policy(conn: sa.Connection, account: str, region: str, name: str) -> bool:
    """Forget a resource policy; whether there was one."""
    c = resource_policies.c
    this = (c.account == account) & (c.region == region) & (c.name == name)
    return conn.execute(resource_policies.delete().where(this)).rowcount > 0
