"""A component to copy from: counters that forget what they counted when nobody uses them for a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.component import Component, JobKind, Subscription
from penstock.store.retention import Expiring
from penstock.wire.services import Service
from sample_counters import counters
from sample_counters.counters import CHANGED, RESET, Counter, Counters, CounterSettings, table

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["PROTOCOLS", "SETTINGS", "component"]

SETTINGS = CounterSettings
MODEL = Path(__file__).parent / "service-2.json"
_BY_PATH = {
    "operations": {"Add": {"http": {"requestUri": "/counters/{name}"}}},
    "shapes": {"AddInput": {"members": {"name": {"location": "uri", "locationName": "name"}}}},
}
# One model, in each protocol under a signing name of its own.
PROTOCOLS: dict[str, dict[str, Any]] = {
    name: {**more, "metadata": {"protocol": protocol, "protocols": [protocol], "signingName": name,
                                "targetPrefix": name.replace("-", "_"), **metadata}}
    for name, protocol, metadata, more in (
        ("counters-json10", "json", {"jsonVersion": "1.0"}, {}),
        ("counters-json11", "json", {"jsonVersion": "1.1"}, {}),
        ("counters-query", "query", {}, {}),
        ("counters-rest-json", "rest-json", {}, _BY_PATH),
        ("counters-rest-xml", "rest-xml", {}, _BY_PATH),
        ("counters-cbor", "smithy-rpc-v2-cbor", {}, {}),
    )
}  # fmt: skip


def component(app: App) -> Component[Counters]:
    """The one operation, the timer, and a subscription to the component's own event."""
    kept = app.settings.keep_history_ms
    return Component(
        name="counters",
        state=Counters(app),
        services=[Service(name, MODEL, patch) for name, patch in PROTOCOLS.items()],
        operations=(counters,),
        jobs=(JobKind(kind=RESET, run=counters.reset),),
        events=(CHANGED,),
        subscriptions=(Subscription(name="counters.seen", types=[CHANGED.name], handle=counters.see),),
        journals=(Counter.find_journal,),
        expiring=(Expiring(table=table, over=lambda now: table.c.changed < now - kept),),
    )
