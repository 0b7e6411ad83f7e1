"""The one check of tags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import penstock
from penstock.wire.tags import TagRules, listed, pairs_of


class TooMany(Exception):
    pass


class Reserved(Exception):
    pass


class Duplicate(Exception):
    pass


class Malformed(Exception):
    pass


def rules(**other) -> TagRules:
    return TagRules(too_many=TooMany, reserved=Reserved, duplicate=Duplicate, malformed=Malformed, limit=3, **other)


@pytest.mark.parametrize(
    ("pairs", "error"),
    [
        ([("a", ""), ("b", ""), ("c", ""), ("d", "")], TooMany),
        ([("aws:a", "")], Reserved),
        ([("AWS:a", "")], Reserved),
        ([("a", "1"), ("a", "2")], Duplicate),
        ([("", "")], Malformed),
        ([("k" * 129, "")], Malformed),
        ([("k", "v" * 257)], Malformed),
        ([("k!", "")], Malformed),
        ([("k", "v!")], Malformed),
    ],
)
def test_each_fault_has_its_error(pairs, error) -> None:
    strict = rules(alphabet=re.compile(r"[a-z0-9:]*", re.IGNORECASE))
    for attempt in (strict.check, lambda given: strict.add({}, given)):
        with pytest.raises(error):
            attempt(pairs)


def test_tags_at_every_bound_are_taken() -> None:
    pairs = [("k" * 128, "v" * 256), ("a", ""), ("A", "aws:")]
    assert rules().check(pairs) == dict(pairs)


def test_a_resource_has_fifty_tags_where_its_service_does_not_say() -> None:
    plain = TagRules(too_many=TooMany, reserved=Reserved, duplicate=Duplicate, malformed=Malformed)
    fifty = {str(number): "" for number in range(50)}
    assert plain.check(fifty.items()) == plain.add(fifty, [("0", "")]) == fifty
    for attempt in (lambda: plain.check([*fifty.items(), ("x", "")]), lambda: plain.add(fifty, [("x", "")])):
        with pytest.raises(TooMany):
            attempt()
    assert plain.check([("a", ""), ("A", "")]) == {"a": "", "A": ""}


def test_added_tags_replace_those_of_the_same_keys_and_count_with_the_others() -> None:
    old = {"a": "1", "b": "2"}
    assert rules().add(old, [("b", "3"), ("B", "4")]) == {"a": "1", "b": "3", "B": "4"}
    assert rules(ignores_case=True).add(old, [("B", "4")]) == {"a": "1", "B": "4"}
    with pytest.raises(TooMany):
        rules().add(old, [("c", ""), ("d", "")])
    with pytest.raises(Duplicate):
        rules(ignores_case=True).check([("a", ""), ("A", "")])


def test_removed_tags_are_gone_and_others_stay() -> None:
    old = {"a": "1", "b": "2"}
    assert rules().remove(old, ["b", "A", "x"]) == {"a": "1"}
    assert rules(ignores_case=True).remove(old, ["A"]) == {"b": "2"}
    assert old == {"a": "1", "b": "2"}


def test_both_forms_say_the_same() -> None:
    tags = {"a": "1", "b": ""}
    assert dict(pairs_of(listed(tags))) == tags
    assert pairs_of(None) == []
    assert pairs_of([{"Key": "a"}]) == [("a", "")]


def test_no_service_checks_tags_by_itself() -> None:
    source = Path(penstock.__file__).parent
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if 'lower().startswith("aws:")' in path.read_text()
    }
    assert found == {"wire/tags.py"}
