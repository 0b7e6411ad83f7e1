"""Events of the platform arrive at the default bus of their account and region."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.events import delivery_rows
from penstock.events.arriving import Arrived, wanted_by, write
from penstock.events.envelopes import envelope_of
from penstock.events.interest import RuleBook
from penstock.events.records import DEFAULT
from penstock.store.events import Event
from penstock.store.failpoints import failpoint
from penstock.wire.call import partition_of

TYPES = ("*",)  # of the platform: what EventBridge knows of them is asked for each
_HOUR_MS = 3_600_000
_BRIEFLY_MS = 30_000  # what has just been started may tell of itself before its id is known


async def arrive(book: RuleBook, event: Event) -> None:
    """Write the deliveries of an event. Running twice, it writes them twice, under the same id of the event."""
    app = book.app
    type = app.events.type(event.type)
    seen = envelope_of(type, event)
    hops = await app.store.read(_hops, event, seen["resources"], app.clock.now())
    place = (event.account, event.region)
    wanted = await wanted_by(book, Arrived(place, DEFAULT, event.aggregate, seen, hops))
    if wanted.by_any:
        await app.store.write(write, [wanted])
        failpoint("events.arrived")


def _hops(conn: sa.Connection, event: Event, resources: list[str], now: int) -> int:
    """How many rules led to an event: by the run that it belongs to, by who acted, or by what a rule has just started."""
    place = (event.account, event.region)
    # A build's log says who started it, and a session bears the name of the run for which it acts.
    acting = event.actor.rpartition("/")[2].removeprefix("AWSCodeBuild-")
    found = [delivery_rows.hops(conn, place, subject) for subject in {event.correlation, acting} if subject]
    initiator = event.payload.get("initiator")
    if isinstance(initiator, str) and initiator.startswith("codepipeline/"):
        pipeline = f"arn:{partition_of(event.region)}:codepipeline:{event.region}:{event.account}:{initiator[13:]}"
        found.append(delivery_rows.hops(conn, place, pipeline, since=now - _HOUR_MS))
    if not any(found):
        found += [delivery_rows.hops(conn, place, arn, since=now - _BRIEFLY_MS) for arn in resources]
    return max(found, default=0)
