from __future__ import annotations

import hashlib
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.objects import crc
from penstock.objects.checksums import ALGORITHMS, composite, full_object, multipart_etag

CRCS = [(32, 0x04C11DB7), (32, 0x1EDC6F41), (64, 0xAD93D23594C93659)]


def slowly(width: int, polynomial: int, data: bytes) -> bytes:
    """Bit by bit, as a textbook has it."""
    reflected = int(f"{polynomial:0{width}b}"[::-1], 2)
    state = (1 << width) - 1
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (reflected if state & 1 else 0)
    return (state ^ ((1 << width) - 1)).to_bytes(width // 8, "big")


def at_once(width: int, polynomial: int, data: bytes) -> bytes:
    running = crc.Crc(width, polynomial)
    running.update(data)
    return running.digest()


@pytest.mark.parametrize(
    ("name", "check"), [("CRC32", "cbf43926"), ("CRC32C", "e3069283"), ("CRC64NVME", "ae8b14860a799888")]
)
def test_the_catalogues_check_values(name: str, check: str) -> None:
    running = ALGORITHMS[name].begin()
    running.update(b"123456789")
    assert running.digest().hex() == check


@pytest.mark.parametrize(("width", "polynomial"), CRCS)
@given(data=st.binary(max_size=3000), cut=st.integers(0, 3000))
def test_pieces_agree_with_the_textbook(width: int, polynomial: int, data: bytes, cut: int) -> None:
    running = crc.Crc(width, polynomial)
    running.update(data[:cut])
    running.update(data[cut:])
    assert running.digest() == slowly(width, polynomial, data)


@given(data=st.binary(min_size=1, max_size=50), times=st.integers(1, 8000), tail=st.binary(max_size=9))
def test_large_messages_agree_with_zlib(data: bytes, times: int, tail: bytes) -> None:
    message = data * times + tail
    assert at_once(32, 0x04C11DB7, message) == zlib.crc32(message).to_bytes(4, "big")


@pytest.mark.parametrize(("width", "polynomial"), CRCS)
@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_checksums_combine(width: int, polynomial: int, first: bytes, second: bytes) -> None:
    one, two = at_once(width, polynomial, first), at_once(width, polynomial, second)
    assert crc.combine(width, polynomial, one, two, len(second)) == at_once(width, polynomial, first + second)


def test_the_checksum_of_a_large_object_costs_less_than_its_md5() -> None:
    """What S3 computes of every object without a checksum must not be what an upload waits for."""
    data = bytes(4 << 20)
    took = {}
    for name, running in {"CRC64NVME": ALGORITHMS["CRC64NVME"].begin(), "MD5": hashlib.md5()}.items():
        began = time.thread_time()
        running.update(data)
        took[name] = time.thread_time() - began
    assert took["CRC64NVME"] < took["MD5"]


def test_multipart_values() -> None:
    algorithm = ALGORITHMS["CRC32"]
    parts = [b"a" * 100, b"b" * 7, b""]
    values = []
    for part in parts:
        running = algorithm.begin()
        running.update(part)
        import base64

        values.append((base64.b64encode(running.digest()).decode(), len(part)))
    complete = zlib.crc32(b"".join(parts)).to_bytes(4, "big")
    assert base64.b64decode(full_object(algorithm, values)) == complete
    assert composite(algorithm, [v for v, _ in values]).endswith("-3")
    assert multipart_etag(["d41d8cd98f00b204e9800998ecf8427e"]) == "59adb24ef3cdbe0297f05b395827453f-1"
