"""Damage of every kind is noticed, whatever the size."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.blobs.segments import (
    MAGIC,
    SEALED_SEGMENT,
    SEGMENT,
    DamagedBlob,
    Seal,
    Unseal,
    segment_count,
    stored_size,
)

KEY = bytes(range(32))
SIZES = st.one_of(
    st.integers(0, 300),
    st.sampled_from(
        [SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT, 2 * SEGMENT + 1, 3 * SEGMENT + 7]
    ),
)


def sealed(plain: bytes, *, cuts: list[int] | None = None, key: bytes = KEY, blob: str = "b1") -> bytes:
    seal = Seal(key, blob)
    out: list[bytes] = []
    start = 0
    for cut in sorted(cuts or []):
        cut = min(cut, len(plain))
        out += seal.update(plain[start:cut])
        start = cut
    out += seal.update(plain[start:])
    out += seal.finish()
    return b"".join(out)


def opened(data: bytes, size: int, *, key: bytes = KEY, blob: str = "b1") -> bytes:
    parts = Unseal(key, blob, size).segments(0, data)
    if len(parts) != segment_count(size):
        raise DamagedBlob("short")
    return b"".join(parts)


@given(size=SIZES, cuts=st.lists(st.integers(0, 4 * SEGMENT), max_size=6))
def test_what_went_in_comes_out_however_it_was_cut(size: int, cuts: list[int]) -> None:
    plain = os.urandom(size)
    stored = sealed(plain, cuts=cuts)
    assert len(stored) + len(MAGIC) == stored_size(size)
    assert opened(stored, size) == plain


@given(size=SIZES, data=st.data())
def test_a_flipped_bit_is_noticed(size: int, data: st.DataObject) -> None:
    stored = bytearray(sealed(bytes(size)))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DamagedBlob):
        opened(bytes(stored), size)


@given(size=SIZES, data=st.data())
def test_a_cut_end_is_noticed(size: int, data: st.DataObject) -> None:
    stored = sealed(bytes(size))
    kept = data.draw(
        st.one_of(st.integers(0, len(stored) - 1), st.just((len(stored) - 1) // SEALED_SEGMENT * SEALED_SEGMENT))
    )
    with pytest.raises(DamagedBlob):
        opened(stored[:kept], size)
    # Nor can the row's size be lowered to fit the cut file.
    for claimed in {max(0, kept - 16 * segment_count(kept)), kept // SEALED_SEGMENT * SEGMENT} - {size}:
        with pytest.raises(DamagedBlob):
            opened(stored[:kept], claimed)


@pytest.mark.parametrize("size", [2 * SEGMENT, 2 * SEGMENT + 5, 3 * SEGMENT])
def test_swapped_and_repeated_segments_are_noticed(size: int) -> None:
    stored = sealed(os.urandom(size))
    first, second, rest = (
        stored[:SEALED_SEGMENT],
        stored[SEALED_SEGMENT : 2 * SEALED_SEGMENT],
        stored[2 * SEALED_SEGMENT :],
    )
    for damaged in (second + first + rest, first + first + rest, first + rest, stored + first):
        with pytest.raises(DamagedBlob):
            opened(damaged, size)


def test_segments_of_another_blob_are_noticed() -> None:
    plain = os.urandom(SEGMENT + 9)
    other = sealed(plain, key=bytes(32))
    with pytest.raises(DamagedBlob):
        opened(other, len(plain))
    renamed = sealed(plain, blob="b2")
    with pytest.raises(DamagedBlob):
        opened(renamed, len(plain))


def test_damage_is_told_with_its_place() -> None:
    plain = os.urandom(2 * SEGMENT + 5)
    stored = sealed(plain)
    whole = Unseal(KEY, "b1", len(plain)).segments
    assert b"".join(whole(1, stored[SEALED_SEGMENT:])) == plain[SEGMENT:]
    for first, data, said in (
        (1, stored, "segment 1 of blob b1 does not verify"),
        (0, stored[:SEALED_SEGMENT] * 2, "segment 1 of blob b1 does not verify"),
        (2, stored[2 * SEALED_SEGMENT : -1], "segment 2 of blob b1 does not verify"),
    ):
        with pytest.raises(DamagedBlob) as damaged:
            whole(first, data)
        assert str(damaged.value) == said
    with pytest.raises(DamagedBlob) as damaged:
        Unseal(KEY, "b1", len(plain) + 1).segments(2, stored[2 * SEALED_SEGMENT :])
    assert str(damaged.value) == "segment 2 of blob b1 has a wrong length"
