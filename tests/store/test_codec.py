"""Stored forms: what is written can be read, by this release and the next, and nothing else is taken for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.store.codec import Codec, UnknownForm


class Colour(StrEnum):
    RED = "Red"
    BLUE = "Blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    id: str
    colour: Colour = Colour.RED
    ended: int | None = None
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


THING = Codec("a thing", Thing)

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_parts = st.builds(Part, name=st.text(max_size=5), size=st.integers(0, 2**60))
_things = st.builds(
    Thing,
    id=st.text(max_size=8),
    colour=st.sampled_from(Colour),
    ended=st.none() | st.integers(0, 2**60),
    parts=st.lists(_parts, max_size=3).map(tuple),
    by_name=st.dictionaries(st.text(max_size=3), _parts, max_size=3),
    document=st.dictionaries(st.text(max_size=3), _json, max_size=3),
)


@settings(deadline=None)
@given(_things)
def test_what_is_written_is_read_back(thing):
    assert THING.load(orjson.loads(orjson.dumps(THING.dump(thing)))) == thing


def test_a_document_holds_what_differs_from_its_default():
    assert THING.dump(Thing(id="x")) == {"v": 1, "id": "x"}
    assert THING.dump(Thing(id="x", colour=Colour.BLUE, ended=0)) == {"v": 1, "id": "x", "colour": "Blue", "ended": 0}


def test_one_of_several_dataclasses_is_named():
    codec = Codec("an input", Part, Nothing)
    assert codec.dump(Nothing()) == {"v": 1, "type": "Nothing"}
    assert codec.load({"v": 1, "type": "Part", "name": "n"}) == Part(name="n")
    with pytest.raises(UnknownForm, match=r"^an input is stored as 'Part2', which this release does not know\.$"):
        codec.load({"v": 1, "type": "Part2"})


def test_earlier_versions_go_through_every_upcaster():
    def named(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "id": document["name"]}

    def coloured(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "colour": "Blue"}

    codec = Codec("a thing", Thing, upcasters={1: named, 2: coloured})
    assert codec.version == 3
    assert codec.load({"v": 1, "name": "x"}) == Thing(id="x", colour=Colour.BLUE)
    assert codec.load({"v": 2, "id": "y"}) == Thing(id="y", colour=Colour.BLUE)
    assert codec.load({"v": 3, "id": "z"}) == Thing(id="z")


@pytest.mark.parametrize("version", [0, 2, -1, None, "1", 1.5])
def test_a_version_that_is_not_known_is_refused_with_a_sentence(version):
    with pytest.raises(UnknownForm, match=r"^a thing is stored in version .* knows the versions up to 1\. Start the"):
        THING.load({"v": version, "id": "x"})


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "missing required field `id`"),
        ({"id": 5}, r"Expected `str`, got `int` - at `\$.id`"),
        ({"id": "x", "colour": "Green"}, "Invalid enum value 'Green'"),
        ({"id": "x", "parts": [{}]}, r"`name` - at `\$.parts\[0\]`"),
    ],
)
def test_a_document_of_another_form_is_refused_with_the_place(document, why):
    with pytest.raises(UnknownForm, match=why):
        THING.load({"v": 1, **document})


def test_codecs_that_could_not_be_read_again_are_refused():
    @dataclass(frozen=True)
    class Typed:
        type: str

    with pytest.raises(ValueError, match=r"Typed\.type has a name that documents keep for themselves"):
        Codec("x", Typed)
    with pytest.raises(ValueError, match="from every version to the next"):
        Codec("x", Thing, upcasters={2: dict})
