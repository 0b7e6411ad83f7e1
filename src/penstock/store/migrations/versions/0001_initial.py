"""The first schema.

Written from what the components declared, and frozen: databases have run it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_initial"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "build_projects",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_build_projects")),
    )
    op.create_table(
        "build_tokens",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("operation", sa.String(length=32), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("build", sa.String(length=320), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "operation", "token", name=op.f("pk_build_tokens")),
    )
    op.create_table(
        "builds",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=320), nullable=False),
        sa.Column("project", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("private", sa.Text(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "id", name=op.f("pk_builds")),
    )
    op.create_index("ix_builds_project", "builds", ["account", "region", "project", "number"], unique=False)
    op.create_index("ix_builds_started", "builds", ["account", "region", "started", "id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("subscription", sa.String(length=128), nullable=False),
        sa.Column("aggregate", sa.String(length=512), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint(
            "subscription", "aggregate", "account", "region", "sequence", name=op.f("pk_deliveries")
        ),
    )
    op.create_index("ix_deliveries_event", "deliveries", ["event"], unique=False)
    op.create_table(
        "deployments_applications",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("platform", sa.String(length=8), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_deployments_applications")),
    )
    op.create_table(
        "deployments_configs",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_deployments_configs")),
    )
    op.create_table(
        "deployments_deployments",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("application", sa.String(length=100), nullable=False),
        sa.Column("group_name", sa.String(length=100), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("links", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments_deployments")),
    )
    op.create_index(
        "ix_deployments_deployments_group", "deployments_deployments", ["group_id", "status", "number"], unique=False
    )
    op.create_index(
        "ix_deployments_deployments_owner",
        "deployments_deployments",
        ["account", "region", "created", "id"],
        unique=False,
    )
    op.create_table(
        "deployments_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("application", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("active", sa.String(length=16), nullable=True),
        sa.Column("attempted", sa.String(length=16), nullable=True),
        sa.Column("successful", sa.String(length=16), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments_groups")),
        sa.UniqueConstraint(
            "account",
            "region",
            "application",
            "name",
            name=op.f("uq_deployments_groups_account_region_application_name"),
        ),
    )
    op.create_table(
        "deployments_health",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("healthy", sa.Boolean(), nullable=False),
        sa.Column("installed", sa.String(length=64), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "name", name=op.f("pk_deployments_health")),
    )
    op.create_table(
        "deployments_hook_logs",
        sa.Column("deployment", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "position", "event", name=op.f("pk_deployments_hook_logs")),
    )
    op.create_table(
        "deployments_instances",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("iam_arn", sa.String(length=1011), nullable=False),
        sa.Column("iam_kind", sa.String(length=8), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=True),
        sa.Column("arn", sa.String(length=1011), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("registered", sa.BigInteger(), nullable=False),
        sa.Column("deregistered", sa.BigInteger(), nullable=True),
        sa.Column("seen", sa.BigInteger(), nullable=True),
        sa.Column("agent", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_deployments_instances")),
    )
    op.create_index(
        "uq_deployments_instances_iam",
        "deployments_instances",
        ["account", "region", "iam_arn"],
        unique=True,
        sqlite_where=sa.text("deregistered IS NULL"),
        postgresql_where=sa.text("deregistered IS NULL"),
    )
    op.create_table(
        "deployments_revisions",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("application", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("bucket", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("registered", sa.BigInteger(), nullable=False),
        sa.Column("first_used", sa.BigInteger(), nullable=True),
        sa.Column("last_used", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", "region", "application", "digest", name=op.f("pk_deployments_revisions")),
    )
    op.create_table(
        "deployments_signers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments_signers")),
    )
    op.create_table(
        "deployments_targets",
        sa.Column("deployment", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("arn", sa.String(length=1011), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("healthy", sa.Boolean(), nullable=False),
        sa.Column("seen", sa.Boolean(), nullable=False),
        sa.Column("current", sa.Integer(), nullable=True),
        sa.Column("acknowledged", sa.Boolean(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("updated", sa.BigInteger(), nullable=True),
        sa.Column("events", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("deployment", "position", name=op.f("pk_deployments_targets")),
        sa.UniqueConstraint("deployment", "name", name=op.f("uq_deployments_targets_deployment_name")),
    )
    op.create_index(
        "ix_deployments_targets_acknowledged",
        "deployments_targets",
        ["name"],
        unique=False,
        sqlite_where=sa.text("acknowledged IS 1"),
        postgresql_where=sa.text("acknowledged IS true"),
    )
    op.create_index(
        "ix_deployments_targets_status", "deployments_targets", ["deployment", "status", "position"], unique=False
    )
    op.create_table(
        "event_sequences",
        sa.Column("aggregate", sa.String(length=512), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("aggregate", "account", "region", name=op.f("pk_event_sequences")),
    )
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=128), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
    )
    op.create_index("ix_events_at", "events", ["at"], unique=False)
    op.create_table(
        "iam_access_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_access_keys")),
    )
    op.create_index(op.f("ix_iam_access_keys_user_id"), "iam_access_keys", ["user_id"], unique=False)
    op.create_table(
        "iam_accounts",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("administrator_key", sa.String(length=32), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_iam_accounts")),
    )
    op.create_table(
        "iam_attachments",
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("arn", sa.String(length=1024), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("owner", "arn", name=op.f("pk_iam_attachments")),
    )
    op.create_index("ix_iam_attachments_arn", "iam_attachments", ["account", "arn"], unique=False)
    op.create_table(
        "iam_console_sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_console_sessions")),
    )
    op.create_index(op.f("ix_iam_console_sessions_until"), "iam_console_sessions", ["until"], unique=False)
    op.create_index(op.f("ix_iam_console_sessions_user_id"), "iam_console_sessions", ["user_id"], unique=False)
    op.create_table(
        "iam_generations",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_generations")),
    )
    op.create_table(
        "iam_inline_policies",
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "name", name=op.f("pk_iam_inline_policies")),
    )
    op.create_table(
        "iam_login_profiles",
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("password", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_iam_login_profiles")),
    )
    op.create_table(
        "iam_policies",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("arn", sa.String(length=1024), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("default_version", sa.Integer(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_policies")),
        sa.UniqueConstraint("account", "key", name=op.f("uq_iam_policies_account_key")),
        sa.UniqueConstraint("arn", name=op.f("uq_iam_policies_arn")),
    )
    op.create_table(
        "iam_policy_versions",
        sa.Column("policy", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "version", name=op.f("pk_iam_policy_versions")),
    )
    op.create_table(
        "iam_roles",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("arn", sa.String(length=1024), nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("trusted", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("max_session", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_roles")),
        sa.UniqueConstraint("account", "key", name=op.f("uq_iam_roles_account_key")),
    )
    op.create_table(
        "iam_sign_in_tries",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_sign_in_tries")),
    )
    op.create_index(op.f("ix_iam_sign_in_tries_until"), "iam_sign_in_tries", ["until"], unique=False)
    op.create_table(
        "iam_users",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("arn", sa.String(length=1024), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_users")),
        sa.UniqueConstraint("account", "key", name=op.f("uq_iam_users_account_key")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=128), nullable=False),
        sa.Column("topic", sa.String(length=512), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("fence", sa.String(length=80), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("dedup", sa.String(length=512), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_ended",
        "jobs",
        ["state", "ended"],
        unique=False,
        sqlite_where=sa.text("ended IS NOT NULL"),
        postgresql_where=sa.text("ended IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_held",
        "jobs",
        ["until"],
        unique=False,
        sqlite_where=sa.text("state IN ('offered', 'leased')"),
        postgresql_where=sa.text("state IN ('offered', 'leased')"),
    )
    op.create_index(
        "ix_jobs_ready",
        "jobs",
        ["due", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'ready' AND topic = ''"),
        postgresql_where=sa.text("state = 'ready' AND topic = ''"),
    )
    op.create_index(
        "ix_jobs_topic",
        "jobs",
        ["topic", "kind", "due"],
        unique=False,
        sqlite_where=sa.text("state IN ('ready', 'offered') AND topic != ''"),
        postgresql_where=sa.text("state IN ('ready', 'offered') AND topic != ''"),
    )
    op.create_index(
        "uq_jobs_live_dedup",
        "jobs",
        ["kind", "dedup"],
        unique=True,
        sqlite_where=sa.text("state IN ('ready', 'offered', 'leased') AND dedup IS NOT NULL"),
        postgresql_where=sa.text("state IN ('ready', 'offered', 'leased') AND dedup IS NOT NULL"),
    )
    op.create_table(
        "journal",
        sa.Column("aggregate", sa.String(length=512), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("effects", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("aggregate", "account", "region", "sequence", name=op.f("pk_journal")),
    )
    op.create_index("ix_journal_at", "journal", ["at"], unique=False)
    op.create_table(
        "log_groups",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("retention", sa.Integer(), nullable=True),
        sa.Column("group_class", sa.String(length=32), nullable=False),
        sa.Column("protected", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_log_groups")),
    )
    op.create_table(
        "log_streams",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("file", sa.String(length=36), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("first_event", sa.BigInteger(), nullable=True),
        sa.Column("last_event", sa.BigInteger(), nullable=True),
        sa.Column("last_ingestion", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "group", "name", name=op.f("pk_log_streams")),
        sa.UniqueConstraint("file", name=op.f("uq_log_streams_file")),
    )
    op.create_table(
        "pipeline_action_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("execution_id", sa.String(length=36), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("pipeline", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(length=2048), nullable=True),
        sa.Column("token", sa.String(length=36), nullable=True),
        sa.Column("external_id", sa.String(length=1500), nullable=True),
        sa.Column("external_url", sa.Text(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("percent", sa.Integer(), nullable=True),
        sa.Column("log_stream", sa.Text(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("role", sa.String(length=1024), nullable=True),
        sa.Column("resolved", sa.Text(), nullable=True),
        sa.Column("inputs", sa.Text(), nullable=True),
        sa.Column("outputs", sa.Text(), nullable=True),
        sa.Column("variables", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_action_executions")),
    )
    op.create_index(
        op.f("ix_pipeline_action_executions_account_region_external_id"),
        "pipeline_action_executions",
        ["account", "region", "external_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_pipeline_action_executions_execution_id_ordinal"),
        "pipeline_action_executions",
        ["execution_id", "ordinal"],
        unique=False,
    )
    op.create_index(
        op.f("ix_pipeline_action_executions_pipeline_id_ordinal"),
        "pipeline_action_executions",
        ["pipeline_id", "ordinal"],
        unique=True,
    )
    op.create_index(
        op.f("ix_pipeline_action_executions_pipeline_id_token"),
        "pipeline_action_executions",
        ["pipeline_id", "token"],
        unique=False,
    )
    op.create_table(
        "pipeline_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("trigger_type", sa.String(length=32), nullable=False),
        sa.Column("trigger_detail", sa.String(length=1024), nullable=False),
        sa.Column("variables", sa.Text(), nullable=False),
        sa.Column("overrides", sa.Text(), nullable=False),
        sa.Column("succeeded", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_executions")),
    )
    op.create_index(
        op.f("ix_pipeline_executions_live_updated"), "pipeline_executions", ["live", "updated"], unique=False
    )
    op.create_index(
        op.f("ix_pipeline_executions_pipeline_id_live"), "pipeline_executions", ["pipeline_id", "live"], unique=False
    )
    op.create_index(
        op.f("ix_pipeline_executions_pipeline_id_number"), "pipeline_executions", ["pipeline_id", "number"], unique=True
    )
    op.create_table(
        "pipeline_sources",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=1200), nullable=False),
        sa.PrimaryKeyConstraint("pipeline_id", "action", name=op.f("pk_pipeline_sources")),
    )
    op.create_index(
        op.f("ix_pipeline_sources_account_region_subject"),
        "pipeline_sources",
        ["account", "region", "subject"],
        unique=False,
    )
    op.create_table(
        "pipeline_start_tokens",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("token", sa.String(length=200), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("execution_id", sa.String(length=36), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline_id", "token", name=op.f("pk_pipeline_start_tokens")),
    )
    op.create_index(op.f("ix_pipeline_start_tokens_expires"), "pipeline_start_tokens", ["expires"], unique=False)
    op.create_table(
        "pipeline_versions",
        sa.Column("pipeline_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("declaration", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline_id", "version", name=op.f("pk_pipeline_versions")),
    )
    op.create_table(
        "pipelines",
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("latest", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "name", name=op.f("pk_pipelines")),
        sa.UniqueConstraint("id", name=op.f("uq_pipelines_id")),
    )
    op.create_table(
        "repositories",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("default_branch", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("account", "region", "name", name=op.f("uq_repositories_account_region_name")),
    )
    op.create_table(
        "repository_intents",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("repository", sa.String(length=36), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repository_intents")),
    )
    op.create_index(op.f("ix_repository_intents_repository"), "repository_intents", ["repository"], unique=False)
    op.create_table(
        "repository_references",
        sa.Column("repository", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("object", sa.String(length=40), nullable=False),
        sa.Column("commit", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("repository", "name", name=op.f("pk_repository_references")),
    )
    op.create_table(
        "s3_blobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("unreferenced", sa.BigInteger(), nullable=True),
        sa.Column("removed", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_s3_blobs")),
    )
    op.create_index("ix_s3_blobs_unreferenced", "s3_blobs", ["unreferenced"], unique=False)
    op.create_table(
        "s3_buckets",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("versioning", sa.String(length=16), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_s3_buckets")),
    )
    op.create_index("ix_s3_buckets_account_name", "s3_buckets", ["account", "name"], unique=False)
    op.create_table(
        "s3_parts",
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("blob", sa.String(length=32), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.String(length=64), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("content", "number", name=op.f("pk_s3_parts")),
    )
    op.create_index("ix_s3_parts_blob", "s3_parts", ["blob"], unique=False)
    op.create_table(
        "s3_uploads",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("bucket", sa.String(length=63), nullable=False),
        sa.Column("key", sa.LargeBinary(length=1024), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("initiated", sa.BigInteger(), nullable=False),
        sa.Column("initiator", sa.String(length=2048), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_s3_uploads")),
    )
    op.create_index("ix_s3_uploads_bucket_open_key_id", "s3_uploads", ["bucket", "open", "key", "id"], unique=False)
    op.create_index("ix_s3_uploads_completed", "s3_uploads", ["completed"], unique=False)
    op.create_table(
        "s3_versions",
        sa.Column("bucket", sa.String(length=63), nullable=False),
        sa.Column("key", sa.LargeBinary(length=1024), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False),
        sa.Column("region", sa.String(length=32), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("marker", sa.Boolean(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("part_count", sa.Integer(), nullable=True),
        sa.Column("about", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "key", "rank", name=op.f("pk_s3_versions")),
        sa.UniqueConstraint("bucket", "key", "version", name=op.f("uq_s3_versions_bucket_key_version")),
    )
    op.create_index("ix_s3_versions_bucket_live_key", "s3_versions", ["bucket", "live", "key"], unique=False)
    op.create_table(
        "subscriptions",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_subscriptions")),
    )


def downgrade() -> None:
    """Remove every table."""
    op.drop_table("subscriptions")
    op.drop_index("ix_s3_versions_bucket_live_key", table_name="s3_versions")
    op.drop_table("s3_versions")
    op.drop_index("ix_s3_uploads_completed", table_name="s3_uploads")
    op.drop_index("ix_s3_uploads_bucket_open_key_id", table_name="s3_uploads")
    op.drop_table("s3_uploads")
    op.drop_index("ix_s3_parts_blob", table_name="s3_parts")
    op.drop_table("s3_parts")
    op.drop_index("ix_s3_buckets_account_name", table_name="s3_buckets")
    op.drop_table("s3_buckets")
    op.drop_index("ix_s3_blobs_unreferenced", table_name="s3_blobs")
    op.drop_table("s3_blobs")
    op.drop_table("repository_references")
    op.drop_index(op.f("ix_repository_intents_repository"), table_name="repository_intents")
    op.drop_table("repository_intents")
    op.drop_table("repositories")
    op.drop_table("pipelines")
    op.drop_table("pipeline_versions")
    op.drop_index(op.f("ix_pipeline_start_tokens_expires"), table_name="pipeline_start_tokens")
    op.drop_table("pipeline_start_tokens")
    op.drop_index(op.f("ix_pipeline_sources_account_region_subject"), table_name="pipeline_sources")
    op.drop_table("pipeline_sources")
    op.drop_index(op.f("ix_pipeline_executions_pipeline_id_number"), table_name="pipeline_executions")
    op.drop_index(op.f("ix_pipeline_executions_pipeline_id_live"), table_name="pipeline_executions")
    op.drop_index(op.f("ix_pipeline_executions_live_updated"), table_name="pipeline_executions")
    op.drop_table("pipeline_executions")
    op.drop_index(op.f("ix_pipeline_action_executions_pipeline_id_token"), table_name="pipeline_action_executions")
    op.drop_index(op.f("ix_pipeline_action_executions_pipeline_id_ordinal"), table_name="pipeline_action_executions")
    op.drop_index(op.f("ix_pipeline_action_executions_execution_id_ordinal"), table_name="pipeline_action_executions")
    op.drop_index(
        op.f("ix_pipeline_action_executions_account_region_external_id"), table_name="pipeline_action_executions"
    )
    op.drop_table("pipeline_action_executions")
    op.drop_table("log_streams")
    op.drop_table("log_groups")
    op.drop_index("ix_journal_at", table_name="journal")
    op.drop_table("journal")
    op.drop_index(
        "uq_jobs_live_dedup",
        table_name="jobs",
        sqlite_where=sa.text("state IN ('ready', 'offered', 'leased') AND dedup IS NOT NULL"),
        postgresql_where=sa.text("state IN ('ready', 'offered', 'leased') AND dedup IS NOT NULL"),
    )
    op.drop_index(
        "ix_jobs_topic",
        table_name="jobs",
        sqlite_where=sa.text("state IN ('ready', 'offered') AND topic != ''"),
        postgresql_where=sa.text("state IN ('ready', 'offered') AND topic != ''"),
    )
    op.drop_index(
        "ix_jobs_ready",
        table_name="jobs",
        sqlite_where=sa.text("state = 'ready' AND topic = ''"),
        postgresql_where=sa.text("state = 'ready' AND topic = ''"),
    )
    op.drop_index(
        "ix_jobs_held",
        table_name="jobs",
        sqlite_where=sa.text("state IN ('offered', 'leased')"),
        postgresql_where=sa.text("state IN ('offered', 'leased')"),
    )
    op.drop_index(
        "ix_jobs_ended",
        table_name="jobs",
        sqlite_where=sa.text("ended IS NOT NULL"),
        postgresql_where=sa.text("ended IS NOT NULL"),
    )
    op.drop_table("jobs")
    op.drop_table("iam_users")
    op.drop_index(op.f("ix_iam_sign_in_tries_until"), table_name="iam_sign_in_tries")
    op.drop_table("iam_sign_in_tries")
    op.drop_table("iam_roles")
    op.drop_table("iam_policy_versions")
    op.drop_table("iam_policies")
    op.drop_table("iam_login_profiles")
    op.drop_table("iam_inline_policies")
    op.drop_table("iam_generations")
    op.drop_index(op.f("ix_iam_console_sessions_user_id"), table_name="iam_console_sessions")
    op.drop_index(op.f("ix_iam_console_sessions_until"), table_name="iam_console_sessions")
    op.drop_table("iam_console_sessions")
    op.drop_index("ix_iam_attachments_arn", table_name="iam_attachments")
    op.drop_table("iam_attachments")
    op.drop_table("iam_accounts")
    op.drop_index(op.f("ix_iam_access_keys_user_id"), table_name="iam_access_keys")
    op.drop_table("iam_access_keys")
    op.drop_index("ix_events_at", table_name="events")
    op.drop_table("events")
    op.drop_table("event_sequences")
    op.drop_index("ix_deployments_targets_status", table_name="deployments_targets")
    op.drop_index(
        "ix_deployments_targets_acknowledged",
        table_name="deployments_targets",
        sqlite_where=sa.text("acknowledged IS 1"),
        postgresql_where=sa.text("acknowledged IS true"),
    )
    op.drop_table("deployments_targets")
    op.drop_table("deployments_signers")
    op.drop_table("deployments_revisions")
    op.drop_index(
        "uq_deployments_instances_iam",
        table_name="deployments_instances",
        sqlite_where=sa.text("deregistered IS NULL"),
        postgresql_where=sa.text("deregistered IS NULL"),
    )
    op.drop_table("deployments_instances")
    op.drop_table("deployments_hook_logs")
    op.drop_table("deployments_health")
    op.drop_table("deployments_groups")
    op.drop_index("ix_deployments_deployments_owner", table_name="deployments_deployments")
    op.drop_index("ix_deployments_deployments_group", table_name="deployments_deployments")
    op.drop_table("deployments_deployments")
    op.drop_table("deployments_configs")
    op.drop_table("deployments_applications")
    op.drop_index("ix_deliveries_event", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index("ix_builds_started", table_name="builds")
    op.drop_index("ix_builds_project", table_name="builds")
    op.drop_table("builds")
    op.drop_table("build_tokens")
    op.drop_table("build_projects")
