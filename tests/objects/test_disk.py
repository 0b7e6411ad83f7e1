"""Bytes on disk: complete and synced before their name, and opened under their own root key only."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_object_rows import refused

from penstock.blobs import backend
from penstock.blobs.backend import DiskBackend
from penstock.blobs.blob_keys import open_key, seal_key
from penstock.blobs.segments import DamagedBlob
from penstock.objects import data_keys
from penstock.objects.checksums import ChecksumType
from penstock.objects.model import About, Checksum


def test_a_blob_is_written_whole_however_little_the_disk_takes(tmp_path, monkeypatch):
    disk = DiskBackend(tmp_path)
    disk.prepare()
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o700"}
    assert len(list(tmp_path.iterdir())) == 256
    asked, real = [], os.writev

    def some(descriptor, pieces):
        asked.append(len(pieces))
        return real(descriptor, [bytes(pieces[0])[:3]]) if len(pieces[0]) > 3 else real(descriptor, pieces)

    monkeypatch.setattr(backend.os, "writev", some)
    pieces = [b"", b"abcdefgh", b"", *(bytes([65 + number % 26]) for number in range(100)), b"xyz!"]
    sink = disk.create("ab12")
    sink.write(pieces)
    sink.commit()
    path = tmp_path / "ab" / "ab12"
    assert path.read_bytes() == b"".join(pieces)
    assert path.stat().st_mode & 0o777 == 0o600
    assert max(asked) == 64
    with pytest.raises(FileExistsError):
        disk.create("ab12")


def test_bytes_are_synced_before_their_name(tmp_path, monkeypatch):
    disk = DiskBackend(tmp_path)
    disk.prepare()
    steps = []
    sink = disk.create("ab12")
    close, fsync = os.close, os.fsync

    def closed(descriptor):
        steps.append(("close", os.readlink(f"/proc/self/fd/{descriptor}")))
        close(descriptor)

    def synced(descriptor):
        steps.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(backend.os, "close", closed)
    monkeypatch.setattr(backend.os, "fsync", synced)
    sink.commit()
    name, folder = str(tmp_path / "ab" / "ab12"), str(tmp_path / "ab")
    assert steps == [("fsync", name), ("close", name), ("fsync", folder), ("close", folder)]
    steps.clear()
    sink.discard()
    sink.discard()
    assert steps == []
    source = _on_disk(disk, "cd12", b"abc")
    assert (source.read(0, 2), source.read(1, 9), source.read(3, 1)) == (b"ab", b"bc", b"")
    steps.clear()
    source.close()
    source.close()
    assert [step for step, _ in steps] == ["close"]


def _on_disk(disk: DiskBackend, name: str, content: bytes) -> Any:
    sink = disk.create(name)
    sink.write([content])
    sink.commit()
    return disk.open(name)


def test_how_old_a_blob_is(tmp_path, monkeypatch):
    disk = DiskBackend(tmp_path)
    disk.prepare()
    (tmp_path / "no-folder").touch()
    for name, at in (("aa1", 899), ("ab1", 900), ("ac1", 901), ("ff1", 1)):
        _on_disk(disk, name, b"x").close()
        os.utime(disk._path(name), (at, at))
    monkeypatch.setattr(backend, "time", SimpleNamespace(time=lambda: 1000.0))
    assert list(disk.older_than(100)) == ["aa1", "ff1"]
    disk.remove("aa1")
    disk.remove("aa1")
    assert list(disk.older_than(100)) == ["ff1"]


def test_a_key_opens_under_its_own_root_only():
    def sealed_as_it_is(text: bytes, _context: str) -> bytes:
        return text

    sealer: Any = SimpleNamespace(seal=sealed_as_it_is, open=sealed_as_it_is)
    key, root = os.urandom(32), os.urandom(32)

    def opened(raw: bytes, under: bytes, blob: str = "b") -> bytes:
        return open_key(sealer, raw, under, blob)

    assert seal_key(sealer, key, b"", "b") == key == opened(key, b"")
    wrapped = seal_key(sealer, key, root, "b")
    assert len(wrapped) == 12 + 32 + 16
    assert opened(wrapped, root) == key
    for raw, under, blob in (
        (wrapped, os.urandom(32), "b"), (wrapped, root, "c"), (wrapped, b"", "b"), (key, root, "b"), (key[:-1], b"", "b"),
    ):  # fmt: skip
        with refused(DamagedBlob, f"the key of blob {blob} is not wrapped"):
            opened(raw, under, blob)


def test_a_digest_is_sealed_under_its_objects_data_key_only():
    root = os.urandom(32)
    about = About(checksum=Checksum(algorithm="SHA1", type=ChecksumType.FULL_OBJECT, value="c="), sha256="ab")
    kept = data_keys.closed_about(root, about)
    assert kept.document()["checksum"][2] != "c="
    assert len(data_keys.closed(root, "x" * 44)) <= 128
    assert data_keys.opened_about(root, kept) == about
    assert data_keys.closed_about(b"", about) is data_keys.opened_about(b"", about) is about
    assert data_keys.closed(root, "") == data_keys.opened(root, "") == ""
    for under, value in ((os.urandom(32), kept.sha256), (root, "ab"), (root, kept.sha256[:-4]), (root, "AAAA")):
        with refused(DamagedBlob, "a digest is not sealed"):
            data_keys.opened(under, value)
