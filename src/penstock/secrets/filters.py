"""Which secrets a list has: the filters of ListSecrets and BatchGetSecretValue. Pure. (AWS: Secrets Manager API Reference, Filter.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Test = Callable[[Any], bool]
"""Whether a row is listed."""


def tests_of(filters: Sequence[Mapping[str, Any]]) -> list[Test]:
    """What filters ask of a row: each of them one of its values, or none of those that begin with `!`."""
    return [_test(one.get("Key", "all"), one.get("Values", ())) for one in filters]


def _test(key: str, values: Sequence[str]) -> Test:
    wanted = [value for value in values if not value.startswith("!")]
    unwanted = [value[1:] for value in values if value.startswith("!")]
    matches = _MATCHES[key]

    def test(row: Any) -> bool:
        if any(matches(row, value) for value in unwanted):
            return False
        return not wanted or any(matches(row, value) for value in wanted)

    return test


def _name(row: Any, value: str) -> bool:
    return row.name.startswith(value)


def _description(row: Any, value: str) -> bool:
    return _has_words((row.description or "",), value)


def _tag_key(row: Any, value: str) -> bool:
    return any(key.startswith(value) for key in row.tags or ())


def _tag_value(row: Any, value: str) -> bool:
    return any(found.startswith(value) for found in (row.tags or {}).values())


def _nothing(_row: Any, _value: str) -> bool:
    """No secret has a primary region, nor an owning service: none is replicated, or managed by another service."""
    return False


def _all(row: Any, value: str) -> bool:
    tags = row.tags or {}
    return _has_words((row.name, row.description or "", *tags, *tags.values()), value)


def _has_words(texts: Sequence[str], value: str) -> bool:
    """Whether each word of a value begins a word of one of the texts, in whatever case."""
    words = [word for text in texts for word in (text.lower(), *text.lower().split())]
    return all(any(word.startswith(asked) for word in words) for asked in value.lower().split())


_MATCHES = {
    "name": _name,
    "description": _description,
    "tag-key": _tag_key,
    "tag-value": _tag_value,
    "primary-region": _nothing,
    "owning-service": _nothing,
    "all": _all,
}
