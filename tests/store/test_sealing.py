"""Sealing: only the same key and the same place open it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.store.masterkeys import MasterKeyError, lines_of, new_key, parsed
from penstock.store.sealed_tokens import open_token, seal_token
from penstock.store.sealing import Sealer, SealError


def test_what_is_sealed_opens_in_its_place_only():
    sealer = Sealer([new_key()])
    sealed = sealer.seal(b"secret", "access-key/AKIA1")
    assert b"secret" not in sealed
    assert sealer.open(sealed, "access-key/AKIA1") == b"secret"
    for wrong in (
        lambda: sealer.open(sealed, "access-key/AKIA2"),
        lambda: Sealer([new_key()]).open(sealed, "access-key/AKIA1"),
    ):
        with pytest.raises(SealError):
            wrong()
    for position in range(len(sealed)):
        with pytest.raises(SealError):
            sealer.open(sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :], "access-key/AKIA1")
        with pytest.raises(SealError):
            sealer.open(sealed[:position], "access-key/AKIA1")


def test_a_new_key_seals_and_the_old_one_still_opens():
    old, new = new_key(), new_key()
    sealed = Sealer([old]).seal(b"x", "c")
    both = Sealer([old, new])
    assert both.open(sealed, "c") == b"x"
    assert both.stale(sealed)
    assert not both.stale(both.seal(b"x", "c"))


def test_the_key_file_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "config" / "master.key"
    sealed = Sealer.from_file(path).seal(b"x", "c")
    assert path.stat().st_mode & 0o777 == 0o600
    assert Sealer.from_file(path).open(sealed, "c") == b"x"
    os.chmod(path, 0o640)
    with pytest.raises(MasterKeyError, match="chmod 600"):
        Sealer.from_file(path)
    with pytest.raises(MasterKeyError, match="no such master key file"):
        Sealer.from_file(tmp_path / "none", create=False)
    (tmp_path / "bad").write_text("nonsense")
    os.chmod(tmp_path / "bad", 0o600)
    with pytest.raises(MasterKeyError, match="not a master key file"):
        Sealer.from_file(tmp_path / "bad")


ONE, TWO = lines_of([new_key()]), lines_of([new_key()])


def test_keys_are_read_as_they_were_written():
    assert lines_of(parsed(f"# a comment\n\n{ONE}{TWO}")) == ONE + TWO
    waiting = f"{TWO.strip()} next\n"
    assert [one.next for one in parsed(ONE + waiting)] == [False, True]
    assert lines_of(parsed(ONE + waiting)) == ONE + waiting


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("#" * (64 << 10) + "#", "too long"),
        (f"{ONE.strip()} last\n", "an unknown mark"),
        (f"{ONE.strip()} next next\n", "an unknown mark"),
        (ONE.replace(" ", "00 ", 1), "a key of another length"),
        (ONE[2:], "a key of another length"),
        (f"{ONE.split()[0]} {'A' * 40}\n", "a key of another length"),
        (ONE + ONE, "no key that seals, or two of one id"),
        (f"{ONE.strip()} next\n", "no key that seals, or two of one id"),
        ("", "no key that seals, or two of one id"),
    ],
    ids=["too long", "mark", "two marks", "long id", "short id", "short key", "twice", "none that seals", "empty"],
)
def test_what_are_no_keys_is_refused_with_the_reason(text, why):
    with pytest.raises(ValueError, match=f"^{why}$"):
        parsed(text)


def test_a_token_is_opened_whole_for_its_purpose_alone():
    sealer = Sealer([new_key()])
    token = seal_token(sealer, {"a": [1, "\u00e9"]}, "p")
    assert open_token(sealer, token, "p", most=len(token)) == {"a": [1, "\u00e9"]}
    for wrong, most, why in (
        ("", 9, "it is empty or too long"), (token, len(token) - 1, "it is empty or too long"), ("!" * 8, 9, "it is no token"),
    ):  # fmt: skip
        with pytest.raises(SealError, match=f"^{why}$"):
            open_token(sealer, wrong, "p", most=most)
    for given, purpose in ((token, "q"), (token[:-4], "p")):
        with pytest.raises(SealError):
            open_token(sealer, given, purpose, most=999)
