"""Where builds run. A runtime is one module of this folder with NAME, NETWORKS, TREE_INSIDE, `probe(…)` and a class `Run`.

The server only probes; `Run` is used by the supervisor, which loads the module by its name. docs/reference/runtimes/ has a page of each.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

PREFERENCE = ("bubblewrap", "process")


class RuntimeRefused(Exception):
    """Builds cannot run as the settings ask; the message says why and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths of this host: the server's own, which builds must never see, and folders that they are shown beside the system's."""

    hidden: list[str]
    shown: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The runtime of this process's builds, or why there is none."""

    name: str  # "" when builds cannot run here
    network: str  # egress | endpoint | host
    words: str  # what it offers, or the reasons of all that were refused
    tree_inside: str = ""  # where builds see their folders; "" = where they are


def names() -> list[str]:
    """Every runtime that is there."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """A runtime's module."""
    return import_module(f"{__name__}.{name}")


def choose(*, wanted: str, network: str, root: bool, allow_unisolated: bool, layout: Layout) -> Choice:
    """Probe runtimes, the best first, or the wanted one only. Runs child processes: not for the loop.

    `network` is a mode that was asked for, or "" for the best that the runtime has. What was asked for is never replaced by less:
    RuntimeRefused says what is missing. A choice without a name means that nothing was asked for and nothing is there.
    """
    if wanted not in ("auto", *names()):
        raise RuntimeRefused(f"There is no build runtime {wanted!r}. It is one of auto, {', '.join(names())}.")
    reasons: list[str] = []
    for name in PREFERENCE if wanted == "auto" else (wanted,):
        module = load(name)
        if network and network not in module.NETWORKS:
            reasons.append(f"{name}: it has no network mode {network!r}, only {', '.join(module.NETWORKS)}")
            continue
        mode = network or module.NETWORKS[0]
        offered, words = module.probe(root=root, allow_unisolated=allow_unisolated, network=mode, layout=layout)
        if offered:
            return Choice(name=name, network=mode, words=words, tree_inside=module.TREE_INSIDE)
        reasons.append(f"{name}: {words}")
    if wanted != "auto" or network:
        asked = " and ".join(
            [f"build_runtime = {wanted}"] * (wanted != "auto") + [f"build_network = {network}"] * bool(network)
        )
        raise RuntimeRefused(
            f"Builds cannot run as {asked} asks. {'; '.join(reasons)}. Mend that, or leave the setting out."
        )
    return Choice(name="", network="", words="; ".join(reasons))
