"""Rule executions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044_rule_executions"
down_revision = "0043_webhooks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    with op.batch_alter_table("pipeline_action_executions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("condition", sa.String(length=16), nullable=True))


def downgrade() -> None:
    """Lead back to the one before."""
    with op.batch_alter_table("pipeline_action_executions", schema=None) as batch_op:
        batch_op.drop_column("condition")
