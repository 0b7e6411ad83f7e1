"""Which hosts a deployment group means: tag filters and tag sets. AWS: instances-tagging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Filter = Mapping[str, str]
Tags = Sequence[Mapping[str, str]]


def matches(tags: Tags, wanted: Filter) -> bool:
    """Whether one of a host's tags satisfies one filter."""
    key, value = wanted.get("Key", ""), wanted.get("Value", "")
    match wanted.get("Type", "KEY_AND_VALUE"):
        case "KEY_ONLY":
            return any(tag["Key"] == key for tag in tags)
        case "VALUE_ONLY":
            return any(tag["Value"] == value for tag in tags)
        case _:
            return any(tag["Key"] == key and tag["Value"] == value for tag in tags)


def selected(tags: Tags, filters: Iterable[Filter], tag_set: Iterable[Iterable[Filter]]) -> bool:
    """Whether a host belongs to a group: any filter matches, or one of every group of the tag set does."""
    filters = list(filters)
    if filters:
        return any(matches(tags, wanted) for wanted in filters)
    groups = [list(group) for group in tag_set]
    return bool(groups) and all(any(matches(tags, wanted) for wanted in group) for group in groups)


def in_group(kind: str, tags: Tags, group: Mapping[str, Any]) -> bool:
    """Whether a host of `kind` (`onpremises`, `ec2`) with these tags belongs to a group of these settings."""
    if kind == "onpremises":
        tag_set = (group.get("onPremisesTagSet") or {}).get("onPremisesTagSetList") or ()
        return selected(tags, group.get("onPremisesInstanceTagFilters") or (), tag_set)
    tag_set = (group.get("ec2TagSet") or {}).get("ec2TagSetList") or ()
    return selected(tags, group.get("ec2TagFilters") or (), tag_set)
