"""Sealed digests.

What stood in clear of the bytes of objects under a key of KMS is forgotten, since nobody but KMS can seal it: SHA-256 is computed when it is next
asked for, and checksums are missing in answers about such objects. Uploads in parts under such keys that are under way begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0029_sealed_digests"
down_revision = "0028_authorities_rotate"
branch_labels = None
depends_on = None

_BATCH = 500
_PERHAPS = '%"data_key":%'
_VERSIONS = sa.table(
    "s3_versions",
    sa.column("bucket", sa.String),
    sa.column("key", sa.LargeBinary),
    sa.column("rank", sa.BigInteger),
    sa.column("content", sa.String),
    sa.column("about", sa.Text),
)
_UPLOADS = sa.table(
    "s3_uploads",
    sa.column("id", sa.String),
    sa.column("open", sa.Boolean),
    sa.column("about", sa.Text),
)
_KEYS = {"s3_versions": ("bucket", "key", "rank"), "s3_uploads": ("id",)}
_PARTS = sa.table("s3_parts", sa.column("content"), sa.column("blob"), sa.column("checksum", sa.String))
_BLOBS = sa.table("s3_blobs", sa.column("id"), sa.column("created"), sa.column("unreferenced"))


def upgrade() -> None:
    """Lead to this revision."""
    conn = op.get_bind()
    if conn.dialect.name == "sqlite":
        # What is forgotten would stay in free pages of the file.
        op.execute("PRAGMA secure_delete = ON")
    for rows in _under_kms(_UPLOADS):
        ids = [row.id for row in rows]
        begun = [row.id for row in rows if row.open]
        op.execute(
            sa.update(_BLOBS)
            .where(_BLOBS.c.id.in_(sa.select(_PARTS.c.blob).where(_PARTS.c.content.in_(begun))))
            .where(~_BLOBS.c.id.in_(sa.select(_PARTS.c.blob).where(~_PARTS.c.content.in_(begun))))
            .values(unreferenced=_BLOBS.c.created)
        )
        op.execute(sa.delete(_PARTS).where(_PARTS.c.content.in_(begun)))
        op.execute(sa.delete(_UPLOADS).where(_UPLOADS.c.id.in_(ids)))
    for rows in _under_kms(_VERSIONS):
        op.execute(sa.update(_PARTS).where(_PARTS.c.content.in_([row.content for row in rows])).values(checksum=""))
        for row in rows:
            about = orjson.loads(row.about)
            if about.keys() & {"checksum", "sha256"}:
                about = {name: value for name, value in about.items() if name not in {"checksum", "sha256"}}
                conn.execute(
                    sa.update(_VERSIONS)
                    .where(_of(_VERSIONS, row) == _key(_VERSIONS))
                    .values(about=orjson.dumps(about).decode())
                )
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.drop_column("sha256")


def _under_kms(table: sa.TableClause) -> Iterator[list[Any]]:
    """The rows of a table that are about objects under a key of KMS, some at a time."""
    after: Any = None
    while True:
        found = sa.select(table).where(table.c.about.like(_PERHAPS)).order_by(*_key(table).clauses).limit(_BATCH)
        rows = op.get_bind().execute(found if after is None else found.where(after < _key(table))).all()
        if not rows:
            return
        # What a user says of an object may have this name as well.
        if under := [row for row in rows if "data_key" in orjson.loads(row.about)]:
            yield under
        after = _of(table, rows[-1])


def _key(table: sa.TableClause) -> sa.Tuple:
    return sa.tuple_(*(table.c[name] for name in _KEYS[table.name]))


def _of(table: sa.TableClause, row: Any) -> sa.Tuple:
    return sa.tuple_(*(sa.literal(getattr(row, name), table.c[name].type) for name in _KEYS[table.name]))


def downgrade() -> None:
    """Lead back to the one before. Raises RuntimeError when digests are sealed, which the release before would show as they are."""
    if next(_under_kms(_VERSIONS), None) is not None:
        raise RuntimeError(
            "Digests of objects under keys of KMS are sealed, which the release before could not read: delete these objects, or restore a "
            "backup of that release."
        )
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sha256", sa.String(length=64), nullable=False, server_default=""))
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.alter_column("sha256", existing_type=sa.String(length=64), server_default=None)
