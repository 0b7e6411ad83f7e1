"""A component to copy from: counters that are zero again when nobody uses them for a minute."""

from __future__ import annotations

from pathlib import Path

import orjson

from penstock.application import App
from penstock.component import Component
from penstock.wire.services import Service
from sample_counters import counters
from sample_counters.pages import PAGE

FOLDER = Path(__file__).parent
SETTINGS = counters.CounterSettings
# One model in every protocol. botocore has the models of AWS's services, so that `Service("kms")` is all that one of them needs.
PATCHES = orjson.loads((FOLDER / "protocols.json").read_bytes())


def component(app: App) -> Component[App]:
    """Everything that counters are."""
    return Component(
        name="counters",
        state=app,
        services=[Service(name, FOLDER / "service-2.json", patch) for name, patch in PATCHES.items()],
        operations=(counters,),
        aggregates=(counters.Counter,),
        events=(counters.CHANGED,),
        pages=(PAGE,),
    )
