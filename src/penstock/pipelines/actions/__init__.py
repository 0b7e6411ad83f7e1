"""Action providers. Every module here that has a `PROVIDER` is one; the registry finds it by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from penstock.pipelines import rules
from penstock.pipelines.actions.provider import Provider
from penstock.pipelines.model import ActionType, ActionTypeId, Category


class Providers:
    """The providers of this process, by the action types that they run."""

    def __init__(self, providers: dict[str, Provider]) -> None:
        self.by_name = providers
        self._by_type: dict[ActionTypeId, tuple[Provider, ActionType]] = {}
        self._with_news: list[Provider] = []  # every object that is written asks these
        for provider in providers.values():
            self.add(provider)

    def add(self, provider: Provider) -> None:
        """Take over a provider. A second one for a type is a programming error."""
        for known in provider.types:
            if known.id in self._by_type:
                raise ValueError(f"two providers run actions of {known.id}")
            self._by_type[known.id] = (provider, known)
        if provider.news:
            self._with_news.append(provider)

    def find(self, type_id: ActionTypeId) -> tuple[Provider, ActionType] | None:
        """The provider that runs a type, and the type; None when this installation does not run it."""
        return self._by_type.get(type_id)

    def type(self, type_id: ActionTypeId) -> ActionType | None:
        """What a declaration may say about a type; None when nobody runs it."""
        found = self._by_type.get(type_id)
        return found[1] if found else None

    def provider(self, type_id: ActionTypeId) -> Provider:
        """Who runs a type. Raises KeyError."""
        return self._by_type[type_id][0]

    def types(self, *, rules: bool = False) -> list[ActionType]:
        """Every type of actions, or those of rules, by its names."""
        return sorted(
            (known for _, known in self._by_type.values() if (known.id.category == Category.RULE) is rules),
            key=lambda known: (known.id.category, known.id.owner, known.id.provider, known.id.version),
        )

    def all(self) -> list[Provider]:
        """Every provider once."""
        return list(dict.fromkeys(provider for provider, _ in self._by_type.values()))

    def report_types(self) -> list[str]:
        """Event types that report on what actions have started."""
        return sorted({kind for provider in self.all() for kind in provider.reports})

    def events_of_sources(self) -> list[str]:
        """Event types that can be news of a source."""
        return sorted({kind for provider in self.all() for kind in provider.news})

    def news(self, event_type: str, payload: Mapping[str, Any]) -> list[str]:
        """The subjects that an event is news of, each once."""
        found = [provider.news[event_type](payload) for provider in self._with_news if event_type in provider.news]
        return list(dict.fromkeys(subject for subject in found if subject is not None))


@cache
def modules() -> dict[str, Provider]:
    """The provider of every module of this folder, by the module's name."""
    return _within(__name__, __path__)


@cache
def rule_modules() -> dict[str, Provider]:
    """The provider of every module of the folder of rules, by the module's name."""
    return _within(rules.__name__, rules.__path__)


def _within(package: str, path: Iterable[str]) -> dict[str, Provider]:
    found: dict[str, Provider] = {}
    for module in pkgutil.iter_modules(path):
        provider = getattr(importlib.import_module(f"{package}.{module.name}"), "PROVIDER", None)
        if provider is not None:
            found[module.name] = provider
    return found


def built_in() -> Providers:
    """A registry of everything in this folder and in that of rules."""
    return Providers({**modules(), **{f"rules.{name}": provider for name, provider in rule_modules().items()}})
