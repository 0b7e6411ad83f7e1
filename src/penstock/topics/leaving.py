"""Jobs that ask an endpoint to confirm that it is subscribed, or notify it that it is not any more."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.store import jobs
from penstock.topics import subscription_rows as rows

ASK = "topics.confirm"
SUBSCRIBE, UNSUBSCRIBE = "SubscriptionConfirmation", "UnsubscribeConfirmation"


def ask(
    conn: sa.Connection, subscription: str, *, account: str, region: str, message: str, type: str = SUBSCRIBE
) -> None:
    """Send an endpoint a confirmation of this type, with this id, when the transaction is committed."""
    payload = {"subscription": subscription, "type": type, "message": message}
    jobs.enqueue(conn, kind=ASK, payload=payload, account=account, region=region)


def end(conn: sa.Connection, id: str, *, now: int, message: str) -> None:
    """End a subscription. An endpoint of HTTP is notified, and can take it back for some days."""
    row = rows.find(conn, id, locked=True)
    if row is None or row.state == rows.DELETED:
        return
    if row.protocol.startswith("http"):
        rows.change(conn, id, state=rows.DELETED, until=now + rows.KEPT_MS)
        ask(conn, id, account=row.account, region=row.region, message=message, type=UNSUBSCRIBE)
    else:
        rows.delete(conn, id)


def confirm(conn: sa.Connection, id: str, *, authenticated: bool) -> bool:
    """Confirm a subscription that is pending, or take one back that was ended; whether it is confirmed now."""
    row = rows.find(conn, id, locked=True)
    if row is None:
        return False
    if row.state == rows.CONFIRMED:
        return True
    if row.state == rows.DELETED and rows.of_endpoint(conn, row.topic, row.digest) is not None:
        return False
    rows.change(conn, id, state=rows.CONFIRMED, authenticated=authenticated, until=None)
    return True
