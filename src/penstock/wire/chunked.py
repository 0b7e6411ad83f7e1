"""Request bodies as operations see them: streams that check themselves while they are read.

A plain body is held against its announced length and payload hash; an aws-chunked body (S3: "Signature calculations for the
Authorization header: transferring payload in multiple chunks", also with trailers) is decoded, and the chain of chunk signatures
and the trailers' signature are verified. Checksums of S3 (CRC, SHA) are left to the operation, which computes them anyway:
`announced` and `trailers` have what the client claims.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from penstock.pools import BODIES
from penstock.wire import sigv4
from penstock.wire.errors import (
    DigestMismatch,
    IncompleteBody,
    MalformedChunk,
    PayloadMismatch,
    SignatureMismatch,
)
from penstock.wire.message import RequestHead
from penstock.wire.signature import Signature
from penstock.wire.sigv4 import EMPTY_SHA256, STREAMING_SIGNED, STREAMING_UNSIGNED

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

MAX_CHUNK = 64 << 20  # bytes of one signed chunk; a client signs at least every 8 MB
_ON_LOOP = 64 << 10  # what is hashed on the event loop at once
_LINE_LIMIT = 1024  # of a chunk's header or a trailer
_TRAILERS_LIMIT = 16 << 10
_CHUNK_HEADER = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_CHECKSUM_PREFIX = "x-amz-checksum-"
_NO_CHECKSUM = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"})


def open_body(head: RequestHead, signature: Signature | None, secret: str, receive: Receive) -> Body:
    """The body that is still to come from ASGI's `receive`. Raises MalformedChunk when its headers contradict themselves."""
    source = _from_asgi(receive)
    mode = head.headers.get("x-amz-content-sha256", "") if signature is not None else ""
    announced = _announced(head)
    if mode in STREAMING_SIGNED or mode == STREAMING_UNSIGNED or _is_chunked(head):
        if len(mode) == 64:  # a hash over the chunks instead of the bytes: nobody signs that
            raise MalformedChunk("An aws-chunked body needs one of the STREAMING values in x-amz-content-sha256.")
        length = _number(head, "x-amz-decoded-content-length")
        signer = None
        if mode in STREAMING_SIGNED:
            assert signature is not None
            signer = _ChunkSigner(sigv4.signing_key(secret, signature), signature)
        promised = head.headers.get("x-amz-trailer", "")
        trailers = frozenset(name.strip().lower() for name in promised.split(",") if name.strip())
        return ChunkedBody(source, length=length, announced=announced, signer=signer, promised=trailers)
    sha256 = mode if len(mode) == 64 else ""
    return PlainBody(source, length=_number(head, "content-length"), announced=announced, sha256=sha256)


def check_digests(head: RequestHead, body: bytes) -> None:
    """Compare a body that was read in full with Content-MD5 and the checksums of its headers. Raises DigestMismatch."""
    stated = head.headers.get("content-md5", "").strip()
    if stated:
        if _decoded(stated, 16) is None:
            raise DigestMismatch("The Content-MD5 you specified is not valid.", code="InvalidDigest")
        actual = hashlib.md5(body, usedforsecurity=False).digest()
        if not hmac.compare_digest(_decoded(stated, 16) or b"", actual):
            raise DigestMismatch
    for name, value in _announced(head).items():
        digest = _OF_COMPLETE_BODY.get(name)
        if digest is not None and value != base64.b64encode(digest(body)).decode():
            raise DigestMismatch(f"The {name} you specified did not match the calculated checksum.")


_OF_COMPLETE_BODY: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "SHA1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "SHA256": lambda body: hashlib.sha256(body).digest(),
}


class Body:
    """A body in pieces; see `penstock.wire.call.Body`. It can be read once."""

    def __init__(self, source: AsyncIterator[bytes], *, length: int | None, announced: Mapping[str, str]) -> None:
        self._source = source
        self.length = length
        # Algorithm in capitals (CRC32, SHA256) → base64; of headers, then also of trailers.
        self.announced = dict(announced)
        self.trailers: dict[str, str] = {}  # lower-case names; complete when the iteration ended
        self.complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The decoded bytes. Raises a Refused when the stream is not what was announced and signed."""
        seen = 0
        async for piece in self._pieces():
            seen += len(piece)
            if self.length is not None and seen > self.length:
                raise IncompleteBody
            if piece:
                yield piece
        if self.length is not None and seen != self.length:
            raise IncompleteBody
        for name, value in self.trailers.items():
            if name.startswith(_CHECKSUM_PREFIX) and name not in _NO_CHECKSUM:
                self.announced[name.removeprefix(_CHECKSUM_PREFIX).upper()] = value
        self.complete = True

    def _pieces(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def read(self) -> bytes:
        """All of it, for bodies that are known to be small."""
        return b"".join([piece async for piece in self])


class PlainBody(Body):
    """The bytes as they come, against their hash."""

    def __init__(
        self, source: AsyncIterator[bytes], *, length: int | None, announced: Mapping[str, str], sha256: str = ""
    ) -> None:
        super().__init__(source, length=length, announced=announced)
        self._sha256 = sha256.lower()

    async def _pieces(self) -> AsyncIterator[bytes]:
        digest = hashlib.sha256() if self._sha256 else None
        seen = 0
        async for piece in self._source:
            seen += len(piece)
            if digest is not None:
                await _update(digest, piece)
            yield piece
        if self.length is not None and seen < self.length:
            return  # a cut body gets its own error, not that of another hash
        if digest is not None and not hmac.compare_digest(digest.hexdigest(), self._sha256):
            raise PayloadMismatch(ClientComputedContentSHA256=self._sha256, S3ComputedContentSHA256=digest.hexdigest())


class _ChunkSigner:
    """The chain of signatures: each covers the one before it."""

    def __init__(self, key: bytes, seed: Signature) -> None:
        self._key = key
        self._stamp = seed.timestamp
        self._scope = seed.scope
        self._previous = seed.signature

    def check(self, claimed: str, sha256: str) -> None:
        """Verify a chunk by the hash of its data."""
        self._check(
            claimed,
            f"AWS4-HMAC-SHA256-PAYLOAD\n{self._stamp}\n{self._scope}\n{self._previous}\n{EMPTY_SHA256}\n{sha256}",
        )

    def check_trailers(self, claimed: str, canonical: bytes) -> None:
        """Verify the trailers."""
        digest = hashlib.sha256(canonical).hexdigest()
        self._check(claimed, f"AWS4-HMAC-SHA256-TRAILER\n{self._stamp}\n{self._scope}\n{self._previous}\n{digest}")

    def _check(self, claimed: str, to_sign: str) -> None:
        made = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(made, claimed):
            raise SignatureMismatch
        self._previous = made


class ChunkedBody(Body):
    r"""aws-chunked: `hex-size[;chunk-signature=…]\\r\\n` data `\\r\\n` … `0\\r\\n` trailers `\\r\\n`.

    The data of a signed chunk is handed on while it arrives; a wrong signature raises after it. Commit nothing before the end.
    """

    def __init__(
        self,
        source: AsyncIterator[bytes],
        *,
        length: int | None,
        announced: Mapping[str, str],
        signer: _ChunkSigner | None = None,
        promised: frozenset[str] = frozenset(),
    ) -> None:
        """`promised` are the names of x-amz-trailer: these trailers come, and no others."""
        super().__init__(source, length=length, announced=announced)
        self._signer = signer
        self._promised = promised
        self._buffer = bytearray()
        self._ended = False

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            size, claimed = self._header(await self._line())
            # Clients that sign no chunks may send the whole body as one.
            if size > MAX_CHUNK and self._signer is not None:
                raise MalformedChunk(f"A chunk is larger than {MAX_CHUNK} bytes.")
            digest = hashlib.sha256()
            left = size
            while left:
                if not self._buffer and not await self._more():
                    raise IncompleteBody
                piece = bytes(self._buffer[:left])
                del self._buffer[: len(piece)]
                left -= len(piece)
                if self._signer is not None:
                    await _update(digest, piece)
                yield piece
            if self._signer is not None:
                self._signer.check(claimed, digest.hexdigest())
            if size == 0:
                await self._read_trailers()
                return
            if await self._line() != b"":
                raise MalformedChunk

    def _header(self, line: bytes) -> tuple[int, str]:
        found = _CHUNK_HEADER.fullmatch(line)
        if found is None or (self._signer is not None and found[2] is None):
            raise MalformedChunk
        return int(found[1], 16), (found[2] or b"").decode()

    async def _read_trailers(self) -> None:
        canonical = b""
        signature = ""
        size = 0
        while line := await self._line(at_end=True):
            size += len(line)
            name, colon, value = line.partition(b":")
            if not colon or size > _TRAILERS_LIMIT:
                raise MalformedChunk("The trailers of the request are not valid.", code="MalformedTrailerError")
            key, text = name.strip().lower().decode("latin-1"), value.strip().decode("latin-1")
            if key == "x-amz-trailer-signature":
                signature = text
            elif key in self.trailers:
                raise MalformedChunk("The trailers of the request are not valid.", code="MalformedTrailerError")
            else:
                self.trailers[key] = text
                canonical += f"{key}:{text}\n".encode("latin-1")
        if self._signer is not None and (self.trailers or signature):
            self._signer.check_trailers(signature, canonical)
        if self.trailers.keys() != self._promised:
            # A checksum that was promised and is left out would be one that nobody compares.
            raise MalformedChunk(
                "The trailers of the request are not those of x-amz-trailer.", code="MalformedTrailerError"
            )
        # Nothing may follow: what the connection still brings is not part of what was signed.
        while True:
            if self._buffer.strip(b"\r\n") or len(self._buffer) > _LINE_LIMIT:
                raise MalformedChunk
            if not await self._more():
                return

    async def _line(self, *, at_end: bool = False) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LINE_LIMIT:
                raise MalformedChunk
            if not await self._more():
                if at_end:  # some clients leave out the last empty line
                    line = bytes(self._buffer)
                    self._buffer.clear()
                    return line.rstrip(b"\r")
                raise IncompleteBody
        if end > _LINE_LIMIT:
            raise MalformedChunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    async def _more(self) -> bool:
        """Take in the next piece; False at the end of the stream."""
        while not self._ended:
            piece = await anext(self._source, None)
            if piece is None:
                self._ended = True
            elif piece:
                self._buffer += piece
                return True
        return False


async def _update(digest: Any, piece: bytes) -> None:
    if len(piece) <= _ON_LOOP:
        digest.update(piece)
    else:
        await BODIES.run(digest.update, piece)


async def _from_asgi(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise IncompleteBody
        if piece := message.get("body", b""):
            yield piece
        if not message.get("more_body"):
            return


def _is_chunked(head: RequestHead) -> bool:
    codings = head.headers.get("content-encoding", "")
    return "aws-chunked" in {coding.strip().lower() for coding in codings.split(",")}


def _announced(head: RequestHead) -> dict[str, str]:
    return {
        name.removeprefix(_CHECKSUM_PREFIX).upper(): value
        for name, value in head.headers.items()
        if name.startswith(_CHECKSUM_PREFIX) and name not in _NO_CHECKSUM
    }


def _number(head: RequestHead, name: str) -> int | None:
    text = head.headers.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise MalformedChunk(f"The header {name} is not a length.")
    return int(text)


def _decoded(text: str, size: int) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size else None
