"""Bodies that clients have compressed, where the model lets them (Smithy: `requestCompression`)."""

from __future__ import annotations

import zlib

from penstock.wire.errors import BodyTooLarge, MalformedBody
from penstock.wire.message import RequestHead

_GZIP = 16 + zlib.MAX_WBITS


def is_compressed(head: RequestHead) -> bool:
    """Whether a body is said to be compressed."""
    return head.headers.get("content-encoding", "").strip().lower() == "gzip"


def decompressed(head: RequestHead, body: bytes, most: int) -> bytes:
    """The body as it was before the client compressed it, which is `most` bytes at most. Raises BodyTooLarge or MalformedBody."""
    if not is_compressed(head) or not body:
        return body
    unpacking = zlib.decompressobj(wbits=_GZIP)
    try:
        content = unpacking.decompress(body, most + 1)
    except zlib.error:
        raise MalformedBody("The body is not compressed as its Content-Encoding says.") from None
    if len(content) > most:
        raise BodyTooLarge
    if not unpacking.eof or unpacking.unused_data:
        raise MalformedBody("The body is not one complete gzip member, as its Content-Encoding says.")
    return content
