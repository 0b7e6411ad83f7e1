"""Alembic's entry: runs revisions on the connection that `penstock.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from penstock.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
