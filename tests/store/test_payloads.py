"""Payloads of events that this and earlier releases stored must be read for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from penstock_live import Live, live  # noqa: F401 - the fixture

from penstock.store.catalogue import Catalogue, EventType
from penstock.store.codec import UnknownForm

GOLDEN = Path(__file__).parents[1] / "golden" / "events.jsonl"
STORED: list[dict[str, Any]] = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
# What no release knew at the time, or what is left out where there is nothing to say.
OPTIONAL = {"request-id", "requester", "source-ip-address", "sequencer"}


def form(value: Any) -> Any:
    """The members of a payload, and the kinds of their values."""
    if isinstance(value, dict):
        return {name: form(item) for name, item in value.items() if name not in OPTIONAL}
    return type(value).__name__


def test_each_version_of_each_event_has_a_golden_payload(live) -> None:  # noqa: F811
    declared = {
        (type.name, version) for type in live.app.store.subscribers.catalogue for version in range(1, type.version + 1)
    }
    assert {(one["type"], one["version"]) for one in STORED} == declared


@pytest.mark.parametrize("stored", STORED, ids=lambda one: f"{one['type']}-{one['version']}")
def test_golden_payloads_are_read_in_the_present_form(live, stored) -> None:  # noqa: F811
    catalogue = live.app.store.subscribers.catalogue
    (type_,) = (one for one in catalogue if one.name == stored["type"])
    assert form(catalogue.present(stored["type"], stored["payload"], stored["version"])) == form(dict(type_.sample))


def test_versions_go_one_by_one_and_later_ones_are_refused() -> None:
    catalogue = Catalogue()
    steps = {1: lambda old: {"b": old["a"]}, 2: lambda old: {"c": old["b"]}}
    catalogue.declare(EventType(name="x.y", description="", aggregate="x", upcasters=steps))
    for version, name in enumerate("abc", 1):
        assert catalogue.present("x.y", {name: 7}, version) == {"c": 7}
    for version in (0, 4, None):
        with pytest.raises(UnknownForm, match="the payload of x.y is stored in version"):
            catalogue.present("x.y", {}, version)
    assert catalogue.present("z.of.others", {"a": 1}, 9) == {"a": 1}
