"""Event buses, also those of other accounts and regions.

AWS has no input transformation for buses: what is given of it is refused, since the event would arrive as it is all the same.

A bus of another account has a policy that lets the role of the target put events. The event stays as it is, with account and region of where
it happened; in another region it gets an id of its own. From where it has come so, it does not go to a third account or region.
(AWS: "Sending and receiving events between accounts", "between Regions"; recorded from AWS.)
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from penstock.events import records
from penstock.events.arriving import Arrived, wanted_by, write
from penstock.events.destinations.destination import Destination, Failed, Sending
from penstock.events.errors import ValidationException
from penstock.events.records import DEFAULT
from penstock.wire.invoke import call_of

_BEGINNING = "event-bus/"
_DERIVED = uuid.UUID("6c0b4b0e-9d0c-4d0b-8a54-6ad0f2b1a4d7")  # of ids in other regions


def _check(target: Mapping[str, Any]) -> None:
    for name in ("Input", "InputPath", "InputTransformer"):
        if name in target:
            raise ValidationException(
                f"Parameter {name} is not valid for target {target['Id']}. Reason: an event bus gets the event as it is."
            )


async def _pass_on(sending: Sending) -> str:
    app, arn, event = sending.app, sending.arn, sending.event
    name, place = arn.resource.removeprefix(_BEGINNING), (arn.account, arn.region)
    for kind, own, theirs in (("account", sending.account, arn.account), ("region", sending.region, arn.region)):
        if theirs != own and event[kind] != own:
            raise Failed(
                f"THIRD_{kind.upper()}_HOP_DETECTED",
                f"The event has come from {kind} {event[kind]}, and is not passed to a third one.",
            )
    if "RoleArn" in sending.target:
        call = call_of(app, await sending.session(), "events", "PutEvents", region=arn.region)
        await app.identity.authorize(call, "events:PutEvents", (sending.target["Arn"],))
    if name != DEFAULT and await app.store.read(records.bus, place, name) is None:
        raise Failed("NO_RESOURCE", f"Event bus {name} does not exist.")
    if arn.region != sending.region:
        event = {**event, "id": str(uuid.uuid5(_DERIVED, sending.id))}
    wanted = await wanted_by(sending.book, Arrived(place, name, sending.ordering, event, sending.hops + 1))
    if wanted.by_any:
        await app.store.write(write, [wanted])
    return ""


DESTINATION = Destination(
    service="events",
    beginning=_BEGINNING,
    name="event buses",
    send=_pass_on,
    passes=True,
    elsewhere=True,
    check=_check,
)
