"""Files of chained lines."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import durable, trail
from penstock.trail import END, Trail, breaks, first_hash, take_apart


def lines(found: Trail) -> list[bytes]:
    assert found.path is not None
    return found.path.read_bytes().split(b"\n")[:-1]


def test_a_line_is_checked_with_nothing_but_sha256(tmp_path):
    written = Trail(tmp_path / "audit")
    written.append(5, b'{"a":1}')
    written.append(6, b'{"b":2}')
    first, second = lines(written)
    assert first[:64].decode() == hashlib.sha256(first_hash(written.chain).encode() + b'5 {"a":1}').hexdigest()
    assert second[:64].decode() == hashlib.sha256(first[:64] + b'6 {"b":2}').hexdigest()
    assert (written.path.stat().st_mode & 0o777, written.folder.stat().st_mode & 0o777) == (0o600, 0o700)


def test_what_is_appended_is_in_the_file_with_what_was_kept_before(tmp_path):
    written = Trail(tmp_path)
    written.keep(1, b"{}")
    written.keep(2, b"{}")
    assert written.path is None
    assert written.append(3, b"{}")
    assert [take_apart(line).at for line in lines(written)] == [1, 2, 3]
    assert written.lines == 3


def test_a_full_file_is_ended_and_the_next_line_begins_another(tmp_path):
    written = Trail(tmp_path, file_bytes=1000)
    for number in range(30):
        written.append(number, b'{"a":"%s"}' % (b"x" * 100))
    files = sorted(tmp_path.iterdir())
    assert len(files) > 2
    found = []
    for file in files:
        content = file.read_bytes().split(b"\n")[:-1]
        assert list(breaks(first_hash(file.stem), content)) == []
        assert (take_apart(content[-1]).record == END) is (file != written.path)
        found += [take_apart(line).at for line in content if take_apart(line).record != END]
    assert sorted(found) == list(range(30))


@pytest.mark.parametrize("taken", [0, 1, 100, 300, 10_000])
def test_a_disk_that_takes_no_more_loses_and_repeats_no_line(tmp_path, monkeypatch, taken):
    """Whatever part of a write the disk takes before it is full."""
    written = Trail(tmp_path)
    written.append(0, b"{}")
    real, room = os.write, [taken]

    def full(descriptor: int, content: memoryview) -> int:
        part = content[: room[0]]
        if not part:
            raise OSError(28, "No space left on device")
        room[0] -= len(part)
        return real(descriptor, part)

    monkeypatch.setattr(durable.os, "write", full)
    for number in range(1, 6):
        written.append(number, b"{}")
    assert written.takes_lines() is (taken == 10_000)
    monkeypatch.setattr(durable.os, "write", real)
    assert written.takes_lines()
    assert [take_apart(line).at for line in lines(written)] == list(range(6))
    assert list(breaks(first_hash(written.chain), lines(written))) == []


def test_a_folder_that_cannot_be_made_blocks(tmp_path):
    (tmp_path / "audit").write_text("a file")
    written = Trail(tmp_path / "audit")
    assert not written.append(1, b"{}")
    assert not written.takes_lines()
    (tmp_path / "audit").unlink()
    assert written.takes_lines()


def test_what_the_disk_never_takes_is_counted_when_it_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(trail, "_MOST_WAITING", 3)
    written = Trail(tmp_path)
    for number in range(5):
        written.keep(number, b"{}")
    assert written.lost == 2


CHANGES = st.sampled_from(["change", "remove", "swap", "repeat", "insert", "cut"])


@given(change=CHANGES, where=st.integers(0, 18), how=st.binary(min_size=1, max_size=20))
def test_whatever_is_done_to_a_line_breaks_the_chain_there(tmp_path_factory, change, where, how):
    folder: Path = tmp_path_factory.mktemp("chain")
    written = Trail(folder)
    for number in range(20):
        written.keep(number, b'{"n":%d}' % number)
    written.write()
    before = lines(written)
    changed = list(before)
    match change:
        case "change":
            place = 65 + len(how) % (len(changed[where]) - 65)
            changed[where] = changed[where][:place] + bytes([changed[where][place] ^ 1]) + changed[where][place + 1 :]
        case "remove":
            del changed[where]
        case "swap":
            changed[where], changed[where + 1] = changed[where + 1], changed[where]
        case "repeat":
            changed.insert(where, changed[where])
        case "insert":
            changed.insert(where, how)
        case "cut":
            changed[where] = changed[where][:-1]
    assert list(breaks(first_hash(written.chain), before)) == []
    broken = [index for index, _ in breaks(first_hash(written.chain), changed)]
    assert broken
    assert broken[0] in (where, where + 1)
