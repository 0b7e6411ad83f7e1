"""Ids and their order."""

from __future__ import annotations

import uuid

from penstock.store.ids import Ids, SeededIds, ordered_uuid


def test_ordered_ids_sort_by_when_they_were_made():
    made = [ordered_uuid() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert {uuid.UUID(text).version for text in made} == {7}


def test_seeded_ids_repeat_and_others_do_not():
    first, second = SeededIds(7), SeededIds(7)
    assert [first.uuid(), first.hex(9), first.token(8), first.seed()] == [
        second.uuid(), second.hex(9), second.token(8), second.seed(),
    ]  # fmt: skip
    assert Ids().uuid() != Ids().uuid()
    assert len(Ids().hex(9)) == 9
    assert 0 <= Ids().seed() < 1 << 63
