"""Which rules want an event: they are found by the values that they ask for, and only what is found so is matched."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from penstock.events.conditions import Branch, Condition, Kind
from penstock.events.matching import check_of, objects, undotted
from penstock.events.values import Check, literal_key, scalar_check, scalars

K = TypeVar("K", bound=Hashable)

_FEW = 4  # branches that are asked one after the other
_SHARED = 24  # branches with the same value, from which on other conditions of theirs are looked at first
_LEVELS = 4  # of indexes within each other


class Rules(Generic[K]):
    """Rules by the events that they want. Adding is not possible: rules that change are compiled anew."""

    def __init__(self, rules: Sequence[tuple[K, Sequence[Branch]]]) -> None:
        """`rules`: the key and the branches of each."""
        entries = [_Entry(key, branch, check_of(branch)) for key, branches in rules for branch in branches]
        self._index = _Index(entries, frozenset())

    def wanting(self, event: dict[str, Any]) -> list[K]:
        """The keys of the rules that take an event, each once."""
        event = undotted(event)
        found: dict[K, None] = {}
        seen: set[_Entry[K]] = set()  # an array may have what a branch asks for many times
        for entry in self._index.candidates(event):
            if entry not in seen:
                seen.add(entry)
                if entry.key not in found and entry.check(event):
                    found[entry.key] = None
        return list(found)


@dataclass(slots=True, eq=False)
class _Entry(Generic[K]):
    key: K
    branch: Branch
    check: Check


def _values(event: Any, path: Sequence[str]) -> Sequence[Any]:
    """The scalars at a path, of all elements of all arrays."""
    value = event
    for place, name in enumerate(path):
        if type(value) is dict:
            if name not in value:
                return ()
            value = value[name]
        elif type(value) is list:
            return _distinct(found for one in objects(value) for found in _values(one, path[place:]))
        else:
            return ()
    if type(value) is list:
        return _distinct(scalars(value))
    return () if type(value) is dict else (value,)


def _distinct(values: Iterator[Any]) -> Sequence[Any]:
    return list({literal_key(value): value for value in values}.values())


class _Gate(Generic[K]):
    """What the branches of an index ask of one field."""

    def __init__(self, path: str) -> None:
        self.names = path.split(".")
        self.literal: dict[Hashable, list[_Entry[K]]] = {}
        self.within: dict[Hashable, _Index[K]] = {}  # where a value has many
        self.prefix: dict[str, list[_Entry[K]]] = {}
        self.lengths: list[int] = []  # of those
        self.other: list[tuple[Check, _Entry[K]]] = []

    def candidates(self, event: dict[str, Any]) -> Iterator[_Entry[K]]:
        for value in _values(event, self.names):
            key = literal_key(value)
            if (index := self.within.get(key)) is not None:
                yield from index.candidates(event)
            elif (found := self.literal.get(key)) is not None:
                yield from found
            if self.lengths and type(value) is str:
                for length in self.lengths:
                    yield from self.prefix.get(value[:length], ())
            for check, entry in self.other:
                if check(value):
                    yield entry


class _Index(Generic[K]):
    """Branches by values that they cannot do without. Each event gets more than match, and none less."""

    def __init__(self, entries: Sequence[_Entry[K]], used: frozenset[str]) -> None:
        self._always: list[_Entry[K]] = []
        self._gates: dict[str, _Gate[K]] = {}
        counts: dict[tuple[str, Hashable], int] = {}
        for entry in entries:
            for path, keys in _literals_of(entry.branch, used):
                for key in keys:
                    counts[path, key] = counts.get((path, key), 0) + 1
        for entry in entries:
            self._place(entry, used, counts, len(entries))
        for path, gate in self._gates.items():
            gate.lengths = sorted({len(prefix) for prefix in gate.prefix})
            for key, found in gate.literal.items():
                if len(found) > _FEW and len(used) < _LEVELS:
                    gate.within[key] = _Index(found, used | {path})

    def _place(
        self, entry: _Entry[K], used: frozenset[str], counts: dict[tuple[str, Hashable], int], among: int
    ) -> None:
        choices = [
            (max(counts[path, key] for key in keys), path, keys) for path, keys in _literals_of(entry.branch, used)
        ]
        shared, path, keys = min(choices, key=lambda one: (one[0], one[1]), default=(among, "", ()))
        others = [path for path, tests in entry.branch.items() if path not in used and _gates(tests)]
        if path and (shared < _SHARED or shared < among or not others):
            gate = self._gates.setdefault(path, _Gate(path))
            for key in keys:
                gate.literal.setdefault(key, []).append(entry)
        elif others:
            self._place_other(entry, min(others))
        else:
            self._always.append(entry)

    def _place_other(self, entry: _Entry[K], path: str) -> None:
        gate = self._gates.setdefault(path, _Gate(path))
        tests = entry.branch[path]
        if all(test.kind == Kind.PREFIX for test in tests):
            for test in tests:
                gate.prefix.setdefault(test.value, []).append(entry)
        else:
            gate.other.append((scalar_check(tests), entry))

    def candidates(self, event: dict[str, Any]) -> Iterator[_Entry[K]]:
        """Branches that may match."""
        yield from self._always
        for gate in self._gates.values():
            yield from gate.candidates(event)


def _literals_of(branch: Branch, used: frozenset[str]) -> Iterator[tuple[str, list[Hashable]]]:
    """Fields that must have one of certain values."""
    for path, tests in branch.items():
        if path not in used and all(test.kind == Kind.LITERAL for test in tests):
            yield path, list({literal_key(test.value): None for test in tests})


def _gates(tests: Sequence[Condition]) -> bool:
    """Whether a field that passes has a value, and it says more than that it is there."""
    kinds = {test.kind for test in tests}
    return Kind.EXISTS not in kinds and kinds != {Kind.LITERAL}
