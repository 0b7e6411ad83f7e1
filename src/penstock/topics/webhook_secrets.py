"""Statements about what messages to webhooks are signed with."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.store.sealing import Sealer
from penstock.store.upsert import upsert
from penstock.topics.records import webhook_context, webhook_secrets


def of(conn: sa.Connection, sealer: Sealer, subscription: str) -> str:
    """The secret of a subscription, or ""."""
    c = webhook_secrets.c
    kept = conn.execute(sa.select(c.secret).where(c.subscription == subscription)).scalar()
    return "" if kept is None else sealer.open(kept, webhook_context(subscription)).decode()


def keep(conn: sa.Connection, sealer: Sealer, subscription: str, secret: str) -> None:
    """Keep a secret; "" forgets the one that there is."""
    if not secret:
        conn.execute(webhook_secrets.delete().where(webhook_secrets.c.subscription == subscription))
        return
    kept = sealer.seal(secret.encode(), webhook_context(subscription))
    upsert(conn, webhook_secrets, {"subscription": subscription, "secret": kept}, {"secret": kept})
