"""Ids and their order."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from penstock.store.ids import Ids, SeededIds, ordered_uuid, time_of


def test_ordered_ids_sort_by_when_they_were_made():
    made = [ordered_uuid() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert {uuid.UUID(text).version for text in made} == {7}


def test_an_ordered_id_says_when_it_was_made():
    before = time.time_ns() // 1_000_000
    made = time_of(ordered_uuid())
    assert made is not None
    assert before <= made <= time.time_ns() // 1_000_000
    assert [time_of(text) for text in ("", "job", str(uuid.uuid4()), "0" * 36)] == [None] * 4


def test_seeded_ids_repeat_and_others_do_not():
    first, second = SeededIds(7), SeededIds(7)
    assert [first.uuid(), first.hex(9), first.token(8), first.seed()] == [
        second.uuid(), second.hex(9), second.token(8), second.seed(),
    ]  # fmt: skip
    assert Ids().uuid() != Ids().uuid()
    assert len(Ids().hex(9)) == 9
    assert 0 <= Ids().seed() < 1 << 63


def test_a_forked_process_makes_other_ids():
    ids = Ids()
    before = [ids.uuid(), ordered_uuid()]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, f"{ids.uuid()} {ordered_uuid()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 1000).decode().split()
    os.close(reading)
    os.close(writing)
    ours = [ids.uuid(), ordered_uuid()]
    # A version 7 id begins with its time: what is random is its end.
    assert len({id[-16:] for id in before + theirs + ours}) == 6


def test_no_thread_gets_the_ids_of_another():
    ids = Ids()
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: [ids.uuid() for _ in range(1000)], range(8)))
    assert len({id for several in made for id in several}) == 8000
