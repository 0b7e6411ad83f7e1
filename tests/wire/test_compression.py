"""Bodies that clients have compressed, to the last byte that is taken."""

from __future__ import annotations

import gzip

import pytest

from penstock.wire.compression import decompressed
from penstock.wire.errors import BodyTooLarge
from penstock.wire.message import RequestHead

HEAD = RequestHead("POST", "/", "", {"content-encoding": "gzip"})


def test_how_much_a_body_may_decompress_to():
    assert decompressed(HEAD, gzip.compress(b"x" * 1000), 1000) == b"x" * 1000
    with pytest.raises(BodyTooLarge):
        decompressed(HEAD, gzip.compress(b"x" * 1001), 1000)
