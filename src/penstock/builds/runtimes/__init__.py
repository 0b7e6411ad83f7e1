"""Where builds run. A runtime is one module of this folder with NAME, NETWORKS, TREE_INSIDE, `probe(…)` and a class `Run`.

The server only probes; `Run` is used by the supervisor, which loads the module by its name. docs/reference/runtimes/ has a page of each.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

PREFERENCE = ("bubblewrap", "process")


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


def choose(*, wanted: str, network: str, root: bool, allow_unisolated: bool) -> Choice:
    """Probe runtimes, the best first, or the wanted one only. Runs child processes: not for the loop."""
    if wanted not in ("auto", *names()):
        return Choice(
            name="", network="", words=f"there is no build runtime {wanted!r}: it is one of {', '.join(names())}"
        )
    reasons: list[str] = []
    for name in PREFERENCE if wanted == "auto" else (wanted,):
        module = load(name)
        mode = network if network in module.NETWORKS else module.NETWORKS[0]
        offered, words = module.probe(root=root, allow_unisolated=allow_unisolated, network=mode)
        if offered:
            return Choice(name=name, network=mode, words=words, tree_inside=module.TREE_INSIDE)
        reasons.append(f"{name}: {words}")
    return Choice(name="", network="", words="; ".join(reasons))
