"""Sealing: only the same key and the same place open it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.store.masterkeys import MasterKeyError, new_key
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
