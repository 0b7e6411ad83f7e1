"""Tables and statements of certificates: whom an account trusts, for which roles, and the hosts of its own authority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata, sealed
from penstock.store.upsert import upsert

_SOME = 100
Place = tuple[str, str]
"""Account and region."""


def _resources(name: str, *own: sa.Column[Any], later: Sequence[sa.Column[Any]] = ()) -> sa.Table:
    """The table of one kind of resources that the operations of IAM Roles Anywhere keep. `later`: columns that it was given since."""
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(36), primary_key=True),  # a UUID
        sa.Column("account", sa.String(12), nullable=False),
        sa.Column("region", sa.String(32), nullable=False),
        sa.Column("arn", sa.String(256), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        *own,
        sa.Column("tags", Json, nullable=False),  # {key: value}
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        *later,
        sa.Index(f"ix_{name}_place", "account", "region", "id"),
    )


anchors = _resources(
    "x509_trust_anchors",
    sa.Column("bundle", sa.Text, nullable=False),  # PEM
    sa.Column("enabled", sa.Boolean, nullable=False),
)
profiles = _resources(
    "x509_profiles",
    sa.Column("roles", Json, nullable=False),  # ARNs
    sa.Column("policy", sa.Text, nullable=False),  # that narrows sessions, or ""
    sa.Column("policy_arns", Json, nullable=False),
    sa.Column("seconds", sa.Integer, nullable=False),  # of a session
    sa.Column("named", sa.Boolean, nullable=False),  # whether requests choose the name of their session
    sa.Column("with_properties", sa.Boolean, nullable=False),  # whether requests must describe their machine
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.String(2048), nullable=False),  # ARN
    later=[sa.Column("mappings", Json)],  # {field: [specifier]}; NULL: the usual ones
)
lists = _resources(
    "x509_revocation_lists",
    sa.Column("anchor", sa.String(36), nullable=False, index=True),
    sa.Column("pem", sa.LargeBinary, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
)
subjects = sa.Table(
    "x509_subjects",  # whose trusted certificates have asked for sessions
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # a UUID of account, region and name
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("name", sa.Text, nullable=False),  # distinguished name of the certificates' subject
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
    sa.Column(
        "certificates", Json, nullable=False
    ),  # [seen, failed, PEM] of those that it has shown last, newest first
    sa.Column("properties", Json, nullable=False),  # [seen, failed, {name: value}], likewise
    sa.Index("ix_x509_subjects_place", "account", "region", "id"),
    sa.Index("ix_x509_subjects_seen", "account", "region", "seen"),
)


def authority_context(anchor: str) -> str:
    """For what the key of an authority is sealed."""
    return f"x509/{anchor}"


authorities = sa.Table(
    "x509_host_authorities",  # our own, at most one for each account and region
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("anchor", sa.String(36), nullable=False, unique=True),  # trust anchor with its certificate
    sa.Column("profile", sa.String(36), nullable=False),
    sa.Column("certificate", sa.Text, nullable=False),  # PEM
    sa.Column("key", sa.LargeBinary, nullable=False, info=sealed(lambda row: authority_context(row.anchor))),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("rotated", sa.BigInteger),  # ms; while a former one is trusted too, since hosts have its certificates
)
hosts = sa.Table(
    "x509_hosts",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("region", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(256), nullable=False),  # ARN of the only role that it takes
    sa.Column("invitation", sa.String(36), nullable=False),  # id of the one that it may use; "": none
    # SHA-256 (hex) of the public key that has used the invitation, or ""
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("joining", sa.String(36), nullable=False),  # id that its certificates bear; "": none is trusted
    sa.Column("serial", sa.String(64), nullable=False),  # of its newest certificate (hex), or ""
    sa.Column("expires", sa.BigInteger, nullable=False),  # ms, of its newest certificate; 0
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("joined", sa.BigInteger, nullable=False),  # ms; 0
    sa.Column(
        "issuer", sa.String(64)
    ),  # serial number (hex) of the newest authority of which it has shown a certificate
    sa.Column("issued", sa.BigInteger),  # ms
)


def find(conn: sa.Connection, table: sa.Table, place: Place, id: str, *, locked: bool = False) -> Any:
    """A trust anchor, profile or revocation list of a place by its id, or None."""
    c = table.c
    query = sa.select(table).where(c.id == id, c.account == place[0], c.region == place[1])
    return conn.execute(query.with_for_update() if locked else query).first()


def page(conn: sa.Connection, table: sa.Table, place: Place, after: list[Any] | None, limit: int) -> list[Any]:
    """The rows of a place by id."""
    c = table.c
    query = sa.select(table).where(c.account == place[0], c.region == place[1])
    return list(conn.execute(rows_behind(query, (c.id,), after, limit=limit)).all())


def count(conn: sa.Connection, table: sa.Table, place: Place) -> int:
    """How many rows a place has."""
    c = table.c
    found = sa.select(sa.func.count()).select_from(table).where(c.account == place[0], c.region == place[1])
    return conn.execute(found).scalar_one()


def count_lists(conn: sa.Connection, anchor: str) -> int:
    """How many revocation lists a trust anchor has."""
    return conn.execute(sa.select(sa.func.count()).select_from(lists).where(lists.c.anchor == anchor)).scalar_one()


def lists_of(conn: sa.Connection, anchor: str) -> list[Any]:
    """The revocation lists of a trust anchor that count."""
    c = lists.c
    return list(conn.execute(sa.select(lists).where(c.anchor == anchor, c.enabled.is_(True))).all())


def insert(conn: sa.Connection, table: sa.Table, **values: Any) -> None:
    """Write a new row."""
    conn.execute(table.insert().values(values))


def change(conn: sa.Connection, table: sa.Table, id: str, **values: Any) -> None:
    """Change a trust anchor, profile or revocation list."""
    conn.execute(table.update().where(table.c.id == id).values(values))


def delete(conn: sa.Connection, table: sa.Table, id: str) -> None:
    """Forget a profile or a revocation list."""
    conn.execute(table.delete().where(table.c.id == id))


def delete_anchor(conn: sa.Connection, row: Any) -> bool:
    """Forget a trust anchor with its revocation lists; with that of our own authority also the authority and its hosts. Whether it was that."""
    conn.execute(lists.delete().where(lists.c.anchor == row.id))
    own = conn.execute(authorities.delete().where(authorities.c.anchor == row.id)).rowcount > 0
    if own:
        conn.execute(hosts.delete().where(hosts.c.account == row.account, hosts.c.region == row.region))
    conn.execute(anchors.delete().where(anchors.c.id == row.id))
    return own


def insert_subject(conn: sa.Connection, **values: Any) -> bool:
    """Write a new subject. False when it is known, and stays as it is."""
    return upsert(conn, subjects, values)


def forget_subjects(conn: sa.Connection, place: Place, *, keep: int) -> None:
    """Forget the subjects of a place beyond a number: those that have not been seen for longest."""
    c, more = subjects.c, count(conn, subjects, place) - keep
    if more > 0:
        oldest = sa.select(c.id).where(c.account == place[0], c.region == place[1]).order_by(c.seen).limit(more)
        conn.execute(subjects.delete().where(c.id.in_(oldest)))


def authority(conn: sa.Connection, place: Place) -> Any:
    """Our own authority of a place, or None."""
    c = authorities.c
    return conn.execute(sa.select(authorities).where(c.account == place[0], c.region == place[1])).first()


def insert_authority(conn: sa.Connection, **values: Any) -> bool:
    """Write a place's authority. False when there is one, which stays."""
    return upsert(conn, authorities, values)


def change_authority(conn: sa.Connection, place: Place, **values: Any) -> None:
    """Change our own authority of a place."""
    c = authorities.c
    conn.execute(authorities.update().where(c.account == place[0], c.region == place[1]).values(values))


def revoke_joined(conn: sa.Connection, place: Place) -> None:
    """Trust no certificate of the hosts of a place any more."""
    c = hosts.c
    where = (c.account == place[0], c.region == place[1], c.joining != "")
    conn.execute(hosts.update().where(*where).values(invitation="", key="", joining=""))


def _of_former(place: Place, issuer: str, now: int) -> tuple[sa.ColumnElement[bool], ...]:
    c = hosts.c
    other = sa.or_(c.issuer.is_(None), c.issuer != issuer)
    return c.account == place[0], c.region == place[1], c.joining != "", c.expires > now, other


def of_former_authority(conn: sa.Connection, place: Place, issuer: str, now: int) -> int:
    """How many hosts may hold nothing but a certificate that is good and not of the authority with this serial number."""
    where = _of_former(place, issuer, now)
    return conn.execute(sa.select(sa.func.count()).select_from(hosts).where(*where)).scalar_one()


def has_former(conn: sa.Connection, place: Place, issuer: str, now: int) -> bool:
    """Whether there is such a host."""
    found = sa.select(hosts.c.name).where(*_of_former(place, issuer, now)).limit(1)
    return conn.execute(found).first() is not None


def bundles_of_hosts(conn: sa.Connection) -> list[str]:
    """The certificates (PEM) of the authorities of all accounts' hosts, those that are trusted still among them."""
    found = sa.select(anchors.c.bundle).join(authorities, authorities.c.anchor == anchors.c.id)
    return list(conn.execute(found).scalars())


def host(conn: sa.Connection, place: Place, name: str, *, locked: bool = False) -> Any:
    """A host by name, or None."""
    c = hosts.c
    query = sa.select(hosts).where(c.account == place[0], c.region == place[1], c.name == name)
    return conn.execute(query.with_for_update() if locked else query).first()


def namesakes(conn: sa.Connection, account: str, name: str, role: str) -> list[Any]:
    """The hosts of all regions to each of which the session of a role (ARN) and name belongs.

    A session's ARN has no path of its role: a role that was made anew below another path gives the same sessions.
    """
    c, of_role = hosts.c, role.rpartition("/")[2]
    named = conn.execute(sa.select(hosts).where(c.account == account, c.name == name)).all()
    return [one for one in named if one.role.rpartition("/")[2] == of_role]


def insert_host(conn: sa.Connection, **values: Any) -> bool:
    """Write a new host. False when there is one of its name, which stays."""
    return upsert(conn, hosts, values)


def change_host(conn: sa.Connection, place: Place, name: str, **values: Any) -> None:
    """Change a host."""
    c = hosts.c
    conn.execute(hosts.update().where(c.account == place[0], c.region == place[1], c.name == name).values(values))


def delete_host(conn: sa.Connection, place: Place, name: str) -> None:
    """Forget a host."""
    c = hosts.c
    conn.execute(hosts.delete().where(c.account == place[0], c.region == place[1], c.name == name))


def page_of_hosts(conn: sa.Connection, place: Place, after: list[Any] | None, limit: int) -> list[Any]:
    """Hosts of a place by name."""
    c = hosts.c
    query = sa.select(hosts).where(c.account == place[0], c.region == place[1])
    return list(conn.execute(rows_behind(query, (c.name,), after, limit=limit)).all())


def anchors_of(conn: sa.Connection, account: str) -> dict[str, list[str]]:
    """ARNs of trust anchors of an account, by region; some of them where there are many."""
    c = anchors.c
    found: dict[str, list[str]] = {}
    for row in conn.execute(sa.select(c.region, c.arn).where(c.account == account).limit(_SOME)):
        found.setdefault(row.region, []).append(row.arn)
    return found
