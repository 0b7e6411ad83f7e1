"""Sealed digests.

What stood in clear of the bytes of objects under a key of KMS is forgotten, since nobody but KMS can seal it: SHA-256 is computed when it is next
asked for, and checksums are missing in answers about such objects. Uploads in parts under such keys that are under way begin anew.
"""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0029_sealed_digests"
down_revision = "0028_authorities_rotate"
branch_labels = None
depends_on = None

_BATCH = 500
_UNDER_KMS = '%"data_key":%'
_VERSIONS = sa.table(
    "s3_versions",
    sa.column("bucket", sa.String),
    sa.column("key", sa.LargeBinary),
    sa.column("rank", sa.BigInteger),
    sa.column("content", sa.String),
    sa.column("about", sa.Text),
)
_KEY = sa.tuple_(_VERSIONS.c.bucket, _VERSIONS.c.key, _VERSIONS.c.rank)
_UPLOADS = sa.table(
    "s3_uploads",
    sa.column("id", sa.String),
    sa.column("open", sa.Boolean),
    sa.column("about", sa.Text),
)
_PARTS = sa.table("s3_parts", sa.column("content"), sa.column("blob"), sa.column("checksum", sa.String))
_BLOBS = sa.table("s3_blobs", sa.column("id"), sa.column("created"), sa.column("unreferenced"))


def upgrade() -> None:
    """Lead to this revision."""
    conn = op.get_bind()
    if conn.dialect.name == "sqlite":
        # What is forgotten would stay in free pages of the file.
        op.execute("PRAGMA secure_delete = ON")
    begun = sa.select(_UPLOADS.c.id).where(_UPLOADS.c.open, _UPLOADS.c.about.like(_UNDER_KMS))
    op.execute(
        sa.update(_BLOBS)
        .where(_BLOBS.c.id.in_(sa.select(_PARTS.c.blob).where(_PARTS.c.content.in_(begun))))
        .where(~_BLOBS.c.id.in_(sa.select(_PARTS.c.blob).where(~_PARTS.c.content.in_(begun))))
        .values(unreferenced=_BLOBS.c.created)
    )
    op.execute(sa.delete(_PARTS).where(_PARTS.c.content.in_(begun)))
    op.execute(sa.delete(_UPLOADS).where(_UPLOADS.c.about.like(_UNDER_KMS)))
    under_kms = sa.select(_VERSIONS.c.content).where(_VERSIONS.c.about.like(_UNDER_KMS))
    op.execute(sa.update(_PARTS).where(_PARTS.c.content.in_(under_kms)).values(checksum=""))
    last: Any = None
    while rows := conn.execute(_after(last)).all():
        for row in rows:
            about = orjson.loads(row.about)
            if about.keys() & {"checksum", "sha256"}:
                about = {name: value for name, value in about.items() if name not in {"checksum", "sha256"}}
                conn.execute(
                    sa.update(_VERSIONS).where(_key_of(row) == _KEY).values(about=orjson.dumps(about).decode())
                )
        last = rows[-1]
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.drop_column("sha256")


def _after(last: Any) -> sa.Select[Any]:
    """The next versions under a key of KMS."""
    found = sa.select(_VERSIONS).where(_VERSIONS.c.about.like(_UNDER_KMS)).order_by(*_KEY.clauses).limit(_BATCH)
    return found if last is None else found.where(_key_of(last) < _KEY)


def _key_of(row: Any) -> sa.Tuple:
    return sa.tuple_(row.bucket, sa.literal(row.key, sa.LargeBinary), sa.literal(row.rank, sa.BigInteger))


def downgrade() -> None:
    """Lead back to the one before. Raises RuntimeError when digests are sealed, which the release before would show as they are."""
    if op.get_bind().execute(_after(None)).first() is not None:
        raise RuntimeError(
            "Digests of objects under keys of KMS are sealed, which the release before could not read: delete these objects, or restore a "
            "backup of that release."
        )
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sha256", sa.String(length=64), nullable=False, server_default=""))
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.alter_column("sha256", existing_type=sa.String(length=64), server_default=None)
