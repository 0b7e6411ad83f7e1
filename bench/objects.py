"""500 MB through PutObject and GetObject: what the server's memory grows by."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.installation import BUCKET
from bench.run import Row
from bench.served import Served, peak_mb, served

BYTES = 500 << 20


def measure() -> list[Row]:
    with tempfile.TemporaryFile() as file, served() as server:
        block = bytes(range(256)) * 4096
        for _ in range(BYTES // len(block)):
            file.write(block)
        s3 = server.clients()("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="warm", Body=block)
        s3.get_object(Bucket=BUCKET, Key="warm")["Body"].read()

        before = _reset_peak(server)
        file.seek(0)
        began = time.monotonic()
        s3.put_object(Bucket=BUCKET, Key="large", Body=file)
        put_seconds = time.monotonic() - began
        put_more = peak_mb(server.process.pid) - before

        before = _reset_peak(server)
        began = time.monotonic()
        size = sum(len(piece) for piece in s3.get_object(Bucket=BUCKET, Key="large")["Body"].iter_chunks(1 << 20))
        get_seconds = time.monotonic() - began
        get_more = peak_mb(server.process.pid) - before
        assert size == BYTES
    return [
        Row(
            what=f"{name} of a 500 MB object: extra memory of the server",
            measured=f"{more:.0f} MB ({seconds:.1f} s, boto3's own hashing included)",
            bar="< 32 MB",
            met=more < 32,
        )
        for name, more, seconds in (("PUT", put_more, put_seconds), ("GET", get_more, get_seconds))
    ]


def _reset_peak(server: Served) -> float:
    """Forget the highest memory so far; the present one in MiB."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    return server.rss_mb()
