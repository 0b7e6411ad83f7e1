"""Nothing grows without end: every table is pruned by something, or bounded by what people make and delete."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.app import compose
from penstock.application import Settings
from penstock.pipelines import records as pipelines
from penstock.pipelines.retention import BATCH, sweep
from penstock.store import migrate
from penstock.store.database import Store
from penstock.store.schema import metadata
from penstock.topics import records as topics
from penstock.topics import subscription_rows

OF_THE_STORE = {"jobs", "events", "journal", "former_aggregates", "event_sequences"}  # which the sweeper itself removes
# What is removed by something other than the sweeper, or together with something, and by what.
ELSEWHERE = {
    "audit_blocks": "audit/shipping: after --keep-audit",
    "deliveries": "the sweeper with its event, and when it is delivered",
    "event_archived": "with the archive, or after its RetentionDays",
    "event_replays": "after 90 days, as on AWS",
    "event_deliveries": "events/delivering: delivered, or a dead letter",
    "iam_console_sessions": "identity/tries.prune, at the next sign-in",
    "iam_former_passwords": "identity/password_policy: the newest 24 of a user",
    "iam_sign_in_tries": "identity/tries.prune, at the next try",
    "iam_spent_challenges": "identity/tries.prune, at the next challenge",
    "log_queries": "with their results, after 7 days",
    "log_query_results": "after 7 days",
    "log_segments": "logs/packing: after the retention of the group, or with the stream",
    "log_subscriptions_sent": "with the stream",
    "log_streams": "logs: after the retention of the group",
    "master_key_holders": "store/keyholders: not seen for long",
    "notification_tokens": "notifications: after their time",
    "pipeline_action_executions": "pipelines/retention: with the execution",
    "pipeline_executions": "pipelines/retention: after --keep-history",
    "pipeline_put_revisions": "pipelines/retention: after --keep-history",
    "pipeline_secrets": "pipelines/retention: with the version",
    "pipeline_start_tokens": "pipelines/retention: after their time",
    "pipeline_versions": "pipelines/retention: after --keep-history",
    "repository_intents": "repositories/changes: with the push",
    "s3_blobs": "objects: the collector, when nothing refers to it",
    "s3_parts": "objects: with the upload",
    "s3_uploads": "objects: aborted or completed",
    "sns_deliveries": "topics/work: delivered, or a dead letter",
}
# What callers make and delete: it has limits, and is removed with what it belongs to.
MADE = {
    "event_api_destinations", "event_archives", "event_connections", "log_query_definitions", "log_resource_policies",
    "log_subscription_filters", "metric_sources", "scheduler_groups", "scheduler_schedules", "audit_positions", "audit_trails", "build_projects", "cloudwatch_alarm_sources", "cloudwatch_alarms", "deployments_applications",
    "deployments_configs", "deployments_groups", "deployments_health", "deployments_instances", "event_buses", "event_rules", "event_targets",
    "iam_access_keys", "iam_accounts", "iam_attachments", "iam_groups", "iam_inline_policies", "iam_instance_profiles", "iam_login_profiles",
    "iam_members", "iam_mfa_devices", "iam_oidc_providers", "iam_passkeys", "iam_password_policies", "iam_policies", "iam_policy_versions",
    "iam_recovery_codes", "iam_reserved_sessions", "iam_roles", "iam_service_credentials", "iam_users", "kms_aliases", "kms_grants", "kms_keys",
    "kms_materials", "log_data_keys", "log_groups", "log_metric_filters", "notification_rules", "notification_subscriptions",
    "notification_targets", "pipeline_action_clients", "pipeline_action_types", "pipeline_sources", "pipeline_webhooks", "pipelines", "repositories", "repository_references", "s3_buckets", "s3_versions",
    "secret_versions", "secrets", "sns_topics", "ssm_parameter_versions", "ssm_parameters", "x509_host_authorities", "x509_hosts",
    "x509_profiles", "x509_revocation_lists", "x509_trust_anchors",
}  # fmt: skip
# A row for the installation, a component, or each account and region.
FEW = {
    "audit_chains", "deployments_signers", "event_places", "iam_credential_reports", "iam_generations", "sns_signers", "subscriptions",
}  # fmt: skip


async def test_every_table_has_an_end(store: Store, tmp_path):
    """A new table says here what removes its rows, unless its component has them swept (`Component.expiring`)."""
    migrate.import_records()
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    async with compose(settings, store=store) as app:
        swept = {each.table.name for each in app.expiring} | OF_THE_STORE
    declared = set(metadata.tables)
    answers = [swept, set(ELSEWHERE), MADE, FEW]
    assert declared - set().union(*answers) == set(), "tables that nothing says the end of"
    assert set(ELSEWHERE) | MADE | FEW <= declared
    assert not (swept | set(ELSEWHERE)) & (MADE | FEW), "a table is pruned, and is said not to be"


async def test_declarations_that_nothing_shows_any_more_go(any_store: Store):
    day = 86_400_000

    def fill(conn: sa.Connection) -> None:
        for name in ("used", "unused"):
            conn.execute(
                pipelines.versions.insert(),
                [
                    {
                        "pipeline_id": name, "version": n, "account": "1", "region": "r", "created": n * day, "declaration": {}, "plan": {},
                    }
                    for n in range(1, 6)
                ],
            )  # fmt: skip
        execution = {
            "id": "e", "pipeline_id": "used", "number": 1, "account": "1", "region": "r", "live": True, "started": 2 * day + 1,
            "updated": 2 * day + 1, "trigger_type": "", "trigger_detail": "", "variables": {}, "overrides": {}, "succeeded": "", "state": {},
        }  # fmt: skip
        conn.execute(pipelines.executions.insert(), execution)

    def left(conn: sa.Connection) -> list[tuple[str, int]]:
        c = pipelines.versions.c
        return [tuple(row) for row in conn.execute(sa.select(c.pipeline_id, c.version).order_by(*c[:2]))]

    await any_store.write(fill)
    # The third began on the third day and took the place of the second one.
    assert await any_store.write(sweep, 14 * day, 10 * day) == 3 < BATCH
    assert await any_store.read(left) == [
        *(("unused", n) for n in (3, 4, 5)),
        *(("used", n) for n in (2, 3, 4, 5)),
    ]
    assert await any_store.write(sweep, 100 * day, 10 * day) == 2
    assert await any_store.read(left) == [("unused", 5), *(("used", n) for n in (2, 3, 4, 5))]


async def test_secrets_go_with_their_subscription(any_store: Store):
    def fill(conn: sa.Connection) -> None:
        conn.execute(topics.webhook_secrets.insert().values(subscription="gone", secret=b"s"))
        conn.execute(topics.webhook_secrets.insert().values(subscription="there", secret=b"s"))
        subscription_rows.insert(
            conn, id="there", topic="t", account="1", region="r", name="n", owner="1", protocol="https", endpoint="e", digest="d",
            state="confirmed", authenticated=False, principal="", attributes={}, created=0, until=None,
        )  # fmt: skip
        conn.execute(topics.webhook_secrets.delete().where(subscription_rows.left_behind(0)))

    await any_store.write(fill)
    kept = await any_store.read(
        lambda conn: conn.execute(sa.select(topics.webhook_secrets.c.subscription)).scalars().all()
    )
    assert kept == ["there"]
