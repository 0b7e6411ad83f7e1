"""What a kind of metric sources is: one module of the folder `sources`, which declares `KIND`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from penstock.egress import Egress

MOST_SAMPLES = 1_000
"""Of one read."""
_LARGEST = 2.0**360  # AWS: PutMetricData


class ReadFailed(Exception):
    """Nothing was found out. Its text is a sentence for whoever looks after the source."""


class Sample(NamedTuple):
    """A value that was found."""

    name: str
    value: float
    unit: str = "None"
    dimensions: Sequence[tuple[str, str]] = ()  # beside the source's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a read found."""

    samples: Sequence[Sample]
    progress: Mapping[str, Any] = field(default_factory=dict)  # (JSON) the next read is given it
    failure: str = ""  # what is wrong with what was looked at, in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a read is given. Its time is bounded by the caller."""

    settings: Mapping[str, Any]  # of the kind, as they were put
    credentials: Mapping[str, str]
    egress: Egress
    sockets: Sequence[str]  # folders with sockets that may be asked
    progress: Mapping[str, Any]  # of the last read that succeeded, if that is not too long ago; else empty
    now: int  # ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of sources."""

    name: str  # of the member of the input that has its settings
    namespace: str  # of its metrics
    check: Callable[[Mapping[str, Any], Sequence[str]], None]
    """Looks at settings beyond what the model says, given the folders of sockets. Raises ValueError with a sentence."""
    address: Callable[[Mapping[str, Any]], str]
    """Where it asks: the URL, or the path of a socket."""
    read: Callable[[Asked], Awaitable[Found]]
    """Raises ReadFailed or TimeoutError."""
    unanswered: Callable[[str], Found] | None = None
    """What it means that no answer came in time, for the sentence that says so; None: that the read failed."""


def finite(value: float) -> bool:
    """Whether a metric can have a value: neither NaN nor beyond what CloudWatch takes."""
    return -_LARGEST <= value <= _LARGEST


def dimension(name: str, value: str) -> tuple[str, str]:
    """A dimension of a metric, as AWS has them: ASCII that is printable and not blank. Raises ReadFailed."""
    if not (value.isascii() and value.isprintable() and value.strip()) or len(value) > 255:
        raise ReadFailed(f"{name} has the value {value[:80]!r}, which no dimension of a metric can have.")
    return name, value


def difference(before: Any, now: int) -> int:
    """By how much a counter has grown. One that is smaller than before began anew at 0."""
    return now - before if isinstance(before, int) and before <= now else now
