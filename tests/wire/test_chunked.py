"""Bodies in chunks at their exact bounds: lengths, trailers, signed chunks and digests."""

from __future__ import annotations

import base64
import hashlib
from types import SimpleNamespace

import pytest

from penstock.wire import chunked
from penstock.wire.chunked import ChunkedBody, PlainBody, check_digests, open_body
from penstock.wire.errors import (
    DigestMismatch,
    IncompleteBody,
    MalformedChunk,
)
from penstock.wire.message import RequestHead

KB64 = 65_536


async def chunks(raw: bytes, *, promised: frozenset[str] = frozenset(), signer=None, piece: int = 1 << 16) -> bytes:
    async def source():
        for at in range(0, len(raw), piece):
            yield raw[at : at + piece]

    body = ChunkedBody(source(), length=None, announced={}, signer=signer, promised=promised)
    read = await body.read()
    assert body.complete
    return read


def trailers(*lengths: int) -> tuple[bytes, frozenset[str]]:
    """Trailers whose lines have these lengths, and their names."""
    names = [f"t{number}" for number in range(len(lengths))]
    lines = [f"{name}:".ljust(length, "v") + "\r\n" for name, length in zip(names, lengths, strict=True)]
    return f"0\r\n{''.join(lines)}\r\n".encode(), frozenset(names)


@pytest.mark.parametrize("piece", [1 << 16, 7])
async def test_how_long_trailers_may_be(piece):
    # A line's end counts while it is looked for: 1,023 bytes and a carriage return.
    raw, names = trailers(*[1023] * 16)
    assert await chunks(raw, promised=names, piece=piece) == b""
    raw, names = trailers(1024)
    with pytest.raises(MalformedChunk):
        await chunks(raw, promised=names, piece=piece)
    raw, names = trailers(*[1000] * 16, 384)
    assert await chunks(raw, promised=names, piece=piece) == b""
    raw, names = trailers(*[1000] * 16, 385)
    with pytest.raises(MalformedChunk) as refused:
        await chunks(raw, promised=names, piece=piece)
    assert refused.value.values == {"code": "MalformedTrailerError"}


@pytest.mark.parametrize(("more", "taken"), [(b"", True), (b"\r\n" * 512, True), (b"\r\n" * 513, False), (b"x", False)])  # fmt: skip
async def test_nothing_but_a_few_empty_lines_follows_the_trailers(more, taken):
    if taken:
        assert await chunks(b"1\r\na\r\n0\r\n\r\n" + more) == b"a"
    else:
        with pytest.raises(MalformedChunk):
            await chunks(b"1\r\na\r\n0\r\n\r\n" + more)


async def test_a_signed_chunk_has_64_mib_at_most():
    signer = SimpleNamespace(check=lambda *_: None)
    line = f"%x;chunk-signature={'0' * 64}\r\n"
    with pytest.raises(IncompleteBody):
        await chunks((line % (64 << 20)).encode(), signer=signer)
    with pytest.raises(MalformedChunk, match="larger than 67108864 bytes"):
        await chunks((line % ((64 << 20) + 1)).encode(), signer=signer)


@pytest.mark.parametrize(
    "raw", [b"1\r\nab\r\n0\r\n\r\n", b"1;x\r\na\r\n0\r\n\r\n", b"00000000000000001\r\na\r\n0\r\n\r\n", b"g\r\n", b"-1\r\n", b"\r\n"]
)  # fmt: skip
async def test_chunks_that_are_none(raw):
    with pytest.raises(MalformedChunk):
        await chunks(raw)


async def test_trailers_are_told_once_and_with_a_colon():
    for raw in (b"0\r\na:1\r\nA:2\r\n\r\n", b"0\r\na\r\n\r\n"):
        with pytest.raises(MalformedChunk, match=r"^The trailers of the request are not valid\.$") as refused:
            await chunks(raw, promised=frozenset({"a"}))
        assert refused.value.values["code"] == "MalformedTrailerError"
    assert await chunks(b"0\r\na: 1 ", promised=frozenset({"a"})) == b""  # without the last empty line


@pytest.mark.parametrize(
    ("text", "length"),
    [("", None), ("0", 0), (" 12 ", 12), ("9" * 15, 999_999_999_999_999), ("9" * 16, "refused"), ("\u00b2", "refused"), ("-1", "refused"), ("1.", "refused")],
)  # fmt: skip
def test_lengths_in_headers(text, length):
    head = RequestHead("PUT", "/", "", {"content-length": text})
    if length == "refused":
        with pytest.raises(MalformedChunk, match=r"^The header content-length is not a length\.$"):
            open_body(head, None, "", None)  # type: ignore[arg-type]
    else:
        assert open_body(head, None, "", None).length == length  # type: ignore[arg-type]


def test_a_coding_makes_a_body_one_of_chunks():
    for coding, kind in (("aws-chunked", ChunkedBody), ("gzip, AWS-chunked ", ChunkedBody), ("gzip", PlainBody), ("", PlainBody)):  # fmt: skip
        head = RequestHead("PUT", "/", "", {"content-encoding": coding, "x-amz-decoded-content-length": "7", "content-length": "9"})  # fmt: skip
        body = open_body(head, None, "", None)  # type: ignore[arg-type]
        assert type(body) is kind
        assert body.length == (7 if kind is ChunkedBody else 9)


async def test_what_is_hashed_beside_the_loop(monkeypatch):
    beside = []

    async def run(update, piece):
        beside.append(len(piece))
        update(piece)

    monkeypatch.setattr(chunked.BODIES, "run", run)
    digest = hashlib.sha256()
    for size in (KB64, KB64 + 1):
        await chunked._update(digest, bytes(size))
    assert beside == [KB64 + 1]
    assert digest.digest() == hashlib.sha256(bytes(2 * KB64 + 1)).digest()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("content-md5", base64.b64encode(hashlib.md5(b"x").digest()).decode(), "good"),  # noqa: S324 - what the header is
        ("content-md5", base64.b64encode(bytes(16)).decode(), None),
        ("content-md5", base64.b64encode(bytes(15)).decode(), "InvalidDigest"),
        ("content-md5", "!", "InvalidDigest"),
        ("content-md5", " ", "good"),
        ("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(b"x").digest()).decode(), "good"),
        ("x-amz-checksum-sha1", base64.b64encode(hashlib.sha256(b"x").digest()).decode(), None),
        ("x-amz-checksum-crc32", "jPkSlw==", None),
        ("x-amz-checksum-crc32", "jNwW4g==", None),
        ("x-amz-checksum-algorithm", "CRC32", "good"),
        ("x-amz-checksum-crc64nvme", "x", "good"),
    ],
)
def test_digests_of_headers(name, value, code):
    if code == "good":
        check_digests(RequestHead("PUT", "/", "", {name: value}), b"x")
        return
    with pytest.raises(DigestMismatch) as refused:
        check_digests(RequestHead("PUT", "/", "", {name: value}), b"x")
    assert refused.value.values.get("code") == code
