"""Names of hosts: sessions by which hosts are known that were invited before names were reserved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031_names_of_hosts"
down_revision = "0030_subjects"
branch_labels = None
depends_on = None

_HOSTS = sa.table(
    "x509_hosts", *map(sa.column, ("account", "region", "name", "role", "invitation", "joining", "created"))
)
_AUTHORITIES = sa.table("x509_host_authorities", *map(sa.column, ("account", "region", "anchor")))
_ANCHORS = sa.table("x509_trust_anchors", *map(sa.column, ("id", "arn")))
_RESERVED = sa.table("iam_reserved_sessions", *map(sa.column, ("account", "role", "name", "by", "since")))


def upgrade() -> None:
    """Lead to this revision."""
    conn, h, a = op.get_bind(), _HOSTS.c, _AUTHORITIES.c
    own = sa.and_(a.account == h.account, a.region == h.region)
    query = sa.select(h.role, h.name, h.invitation, h.joining, h.created, _ANCHORS.c.arn).select_from(
        _HOSTS.join(_AUTHORITIES, own).join(_ANCHORS, _ANCHORS.c.id == a.anchor)
    )
    known = {tuple(row) for row in conn.execute(sa.select(_RESERVED.c.account, _RESERVED.c.role, _RESERVED.c.name))}
    for host in conn.execute(query).all():
        key = (host.role.split(":")[4] if host.role.count(":") > 4 else "", host.role.rpartition("/")[2], host.name)
        if key not in known:
            known.add(key)
            by = host.arn if host.invitation or host.joining else "nobody"
            row = dict(zip(("account", "role", "name"), key, strict=True), by=by, since=host.created)
            conn.execute(_RESERVED.insert().values(row))


def downgrade() -> None:
    """Lead back to the one before, which takes these names as they are."""
