"""Keys of parts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010_keys_of_parts"
down_revision = "0009_grants"
branch_labels = None
depends_on = None

_BLOBS = sa.table("s3_blobs", sa.column("id"), sa.column("key", sa.LargeBinary))
_PARTS = sa.table("s3_parts", sa.column("blob"), sa.column("key", sa.LargeBinary))
_NONE = sa.literal(b"", sa.LargeBinary)  # of what refers to nothing, or is referred to by nothing


def upgrade() -> None:
    """Lead to this revision."""
    op.add_column("s3_parts", sa.Column("key", sa.LargeBinary(), nullable=True))
    key = sa.select(_BLOBS.c.key).where(_BLOBS.c.id == _PARTS.c.blob).scalar_subquery()
    op.execute(sa.update(_PARTS).values(key=sa.func.coalesce(key, _NONE)))
    with op.batch_alter_table("s3_parts", schema=None) as batch_op:
        batch_op.alter_column("key", existing_type=sa.LargeBinary(), nullable=False)
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.drop_column("key")


def downgrade() -> None:
    """Lead back to the one before. Raises RuntimeError when objects share bytes under different keys: then there is no way back."""
    keys = sa.select(_PARTS.c.blob).group_by(_PARTS.c.blob).having(sa.func.count(sa.distinct(_PARTS.c.key)) > 1)
    if op.get_bind().execute(keys.limit(1)).first() is not None:
        raise RuntimeError(
            "Objects share their bytes under different keys, which the release before could not read: delete the copies, or restore a "
            "backup of that release."
        )
    op.add_column("s3_blobs", sa.Column("key", sa.LargeBinary(), nullable=True))
    key = sa.select(_PARTS.c.key).where(_PARTS.c.blob == _BLOBS.c.id).limit(1).scalar_subquery()
    op.execute(sa.update(_BLOBS).values(key=sa.func.coalesce(key, _NONE)))
    with op.batch_alter_table("s3_blobs", schema=None) as batch_op:
        batch_op.alter_column("key", existing_type=sa.LargeBinary(), nullable=False)
    with op.batch_alter_table("s3_parts", schema=None) as batch_op:
        batch_op.drop_column("key")
