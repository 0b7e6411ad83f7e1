"""What a counter is, and what its callers and its timer do to it."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.application import App, Call
from penstock.component import operations_of, option
from penstock.store.aggregate import RowAggregate
from penstock.store.catalogue import EventType
from penstock.store.codec import Codec
from penstock.wire import call as wire
from penstock.wire.errors import ServiceError
from penstock.wire.pages import Pages
from sample_counters import records
from sample_counters.engine import Add, Changed, Count, Effect, Input, SetTimer, TimePassed, decide

CHANGED = EventType(
    name="counters.counter.changed",
    description="A counter has another value.",
    aggregate="counter",
    sample={"value": 3},
)
_LIMIT = 100  # counters of one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterSettings:
    """Options of counters."""

    largest: int = option(
        1_000, "the largest amount that is added at once", group="work", flag="--largest-amount", metavar="N", parse=int
    )


class AmountTooLargeException(ServiceError):
    """The amount is larger than {largest}. Add less at once, or start the server with a larger --largest-amount."""


class InvalidNextTokenException(ServiceError):
    """The nextToken is not one of this list. Begin with its first page."""


class Counter(RowAggregate[Count, Input, Effect]):
    """A counter whose row is locked."""

    kind, service = "counter", "counters"
    table, engine, timer = records.counters, staticmethod(decide), TimePassed()
    states = Codec("the state of a counter", Count)
    inputs = Codec("an input of a counter", Add, TimePassed)
    effects = Codec("an effect of a counter", SetTimer, Changed)

    def perform(self, effect: Effect) -> None:
        """Set the timer, emit the event."""
        match effect:
            case SetTimer(due=due):
                self.set_timer(due)
            case Changed(value=value):
                self.emit(CHANGED, {"value": value}, correlation=self.id)


def _arn(call: Call, input: wire.Input) -> str:
    return call.arn("counters", f"counter/{input['name']}")


async def add(app: App, call: Call, input: wire.Input) -> wire.Output:
    """Add an amount to a counter."""
    largest = app.settings.of(CounterSettings).largest
    if input["amount"] > largest:
        raise AmountTooLargeException(largest=largest)
    state = await Counter.step(app, call, input["name"], Add(amount=input["amount"]))
    return {"value": state.value}


# The sample is one service for each protocol. A component with one writes `@operation("Add", resource=_arn)` above the function.
for _protocol in ("json10", "json11", "query", "rest-json", "rest-xml", "cbor"):
    operations_of(f"counters-{_protocol}", action_prefix="counters")("Add", resource=_arn)(add)

operation = operations_of("counters-json11", action_prefix="counters")
_PAGES = Pages(lambda _token: InvalidNextTokenException())


@operation("ListCounters")
async def list_counters(app: App, call: Call, input: wire.Input) -> wire.Output:
    """The counters of the caller's account and region by name, a page at a time."""
    (after,) = _PAGES.after(call, input) or ("",)
    found = await app.store.read(Counter.after, call.account, call.region, after, _LIMIT + 1)
    page = _PAGES.page(call, input, found, limit=_LIMIT, keyset=lambda one: (one[0],))
    listed = [{"name": name, "value": state.value, "changed": state.changed} for name, state in page.rows]
    return {"counters": listed, **page.more}
