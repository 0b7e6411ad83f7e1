"""The runtimes that there are, and which one to use here."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from penstock.sandbox import runtimes
from penstock.sandbox.runtime import Offer, Runtime, RuntimeRefused
from penstock.sandbox.specification import Layout

AUTO = "auto"
"""Asks for the best runtime that works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The runtime of this process's sandboxes, or why no runtime works."""

    runtime: Runtime | None
    network: str  # egress | endpoint | host
    offer: Offer

    @property
    def name(self) -> str:
        """The runtime's; "" when no runtime works."""
        return self.runtime.name if self.runtime else ""


@cache
def every() -> tuple[Runtime, ...]:
    """Every runtime that there is, the best first."""
    modules = (import_module(f"{runtimes.__name__}.{found.name}") for found in pkgutil.iter_modules(runtimes.__path__))
    return tuple(sorted((module.RUNTIME for module in modules), key=lambda runtime: runtime.preference))


def names() -> list[str]:
    """Every runtime that there is, the best first."""
    return [runtime.name for runtime in every()]


def runtime_named(name: str) -> Runtime:
    """A runtime. Raises RuntimeRefused."""
    found = next((runtime for runtime in every() if runtime.name == name), None)
    if found is None:
        raise RuntimeRefused(f"There is no runtime {name!r}. It is one of {AUTO}, {', '.join(names())}.")
    return found


def networks() -> list[str]:
    """The network modes that some runtime has."""
    return list(dict.fromkeys(mode for runtime in every() for mode in runtime.networks))


def choose(*, wanted: str, network: str, allow_unisolated: bool, layout: Layout) -> Choice:
    """Probe the runtimes, the best first, or the wanted one only. Runs child processes: not for the event loop.

    `network` is a mode that was asked for, or "" for the best that the runtime has. What was asked for is never replaced by less:
    RuntimeRefused says what is missing. A choice without a runtime means that nothing was asked for and nothing works.
    """
    reasons: list[str] = []
    for runtime in every() if wanted == AUTO else (runtime_named(wanted),):
        if network and network not in runtime.networks:
            reasons.append(f"{runtime.name}: it has no network mode {network!r}, only {', '.join(runtime.networks)}")
            continue
        mode = network or runtime.networks[0]
        offer = runtime.probe(network=mode, layout=layout, allow_unisolated=allow_unisolated)
        if offer.usable:
            return Choice(runtime=runtime, network=mode, offer=offer)
        reasons.append(f"{runtime.name}: {offer.message}")
    if wanted != AUTO or network:
        raise RuntimeRefused("; ".join(reasons))
    return Choice(runtime=None, network="", offer=Offer(usable=False, message="; ".join(reasons)))
