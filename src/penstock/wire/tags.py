"""Tags: one check for every service, by rules that name its limits and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KEY = 128  # characters
VALUE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRules:
    """What tags of one kind of resource may be, and the service's errors for those that may not.

    `ignores_case`: keys that differ in case only are the same key, as IAM has it.
    """

    too_many: Callable[[], Exception]
    reserved: Callable[[str], Exception]  # a key that begins with aws:
    duplicate: Callable[[str], Exception]
    malformed: Callable[[str, str], Exception]  # key and value
    limit: int = 50
    ignores_case: bool = False
    alphabet: re.Pattern[str] | None = None  # of keys and values, where the service's model does not say

    def check(self, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The tags of a new resource by their keys. Raises the service's errors."""
        found: dict[str, str] = {}
        seen: set[str] = set()
        for key, value in pairs:
            if self._same(key) in seen:
                raise self.duplicate(key)
            self.check_key(key)
            if not 1 <= len(key) <= KEY or len(value) > VALUE or not (self._spells(key) and self._spells(value)):
                raise self.malformed(key, value)
            seen.add(self._same(key))
            found[key] = value
        if len(found) > self.limit:
            raise self.too_many()
        return found

    def check_key(self, key: str) -> None:
        """Raise the service's error for a key that is AWS's own."""
        if key.lower().startswith("aws:"):
            raise self.reserved(key)

    def add(self, old: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
        """A resource's tags after adding some, which replace those of the same keys. Raises the service's errors."""
        added = self.check(pairs)
        replaced = {self._same(key) for key in added}
        found = {key: value for key, value in old.items() if self._same(key) not in replaced} | added
        if len(found) > self.limit:
            raise self.too_many()
        return found

    def remove(self, old: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
        """A resource's tags without some; a key that it does not have is no error."""
        gone = {self._same(key) for key in keys}
        return {key: value for key, value in old.items() if self._same(key) not in gone}

    def _same(self, key: str) -> str:
        return key.lower() if self.ignores_case else key

    def _spells(self, text: str) -> bool:
        return self.alphabet is None or self.alphabet.fullmatch(text) is not None


def pairs_of(tags: Iterable[Mapping[str, Any]] | None) -> list[tuple[str, str]]:
    """Keys and values of `[{Key, Value}]`, the form of most services. A tag without a value has an empty one."""
    return [(tag.get("Key") or "", tag.get("Value") or "") for tag in tags or ()]


def listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """`[{Key, Value}]` of tags by their keys."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
