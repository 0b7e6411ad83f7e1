"""How late the server's event loop is while it takes a 1 GB upload and runs builds.

The server runs in a process of its own (`python -m bench.lag DATA_DIR`) with a probe on its loop that sleeps 5 ms at a time. The same
probe runs in a process that does nothing else: how late that is, is the machine's doing, not the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench.installation import BUCKET, build, project, role
from bench.run import Row
from penstock.app import running
from penstock.application import Settings
from penstock.builds.settings import BuildSettings
from penstock.cli.clients import Clients

BYTES = 1 << 30
_SLEEP = 0.005


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        with _Probed(folder, str(folder / "data")) as server, _Probed(folder) as idle:
            return [_row(server, idle, folder)]


class _Probed:
    """A process with a probe on its loop; without a data dir it has nothing else to do."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = folder / f"log{len(arguments)}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.lag", *arguments],
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> _Probed:
        if self._said() != "ready\n":
            raise RuntimeError(self._log.read_text()[-3000:])
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(30)

    def start(self) -> None:
        self._say("measure")

    def late(self) -> list[float]:
        """Milliseconds that each sleep since `start` took too long."""
        self._say("report")
        return json.loads(self._said())

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _row(server: _Probed, idle: _Probed, folder: Path) -> Row:
    client = Clients.administrator(folder / "data")
    client("s3").create_bucket(Bucket=BUCKET)
    project(client, "lag", ["for i in $(seq 1 2000); do echo line $i; done"] * 3, role(client, "codebuild"))
    build(client("codebuild"), "lag")
    upload = subprocess.Popen([sys.executable, "-c", _UPLOAD, str(folder / "data"), str(BYTES), BUCKET])
    server.start()
    idle.start()
    began, builds = time.monotonic(), 0
    while upload.poll() is None:
        build(client("codebuild"), "lag")
        builds += 1
    took = time.monotonic() - began
    if upload.returncode:
        raise RuntimeError("the upload failed")
    late, machine = server.late(), idle.late()
    p99, machine_p99 = (statistics.quantiles(found, n=100)[98] for found in (late, machine))
    return Row(
        what=f"event loop's lag during a 1 GB upload and builds ({builds} in {took:.0f} s)",
        measured=f"p50 {statistics.median(late):.1f} ms, p99 {p99:.1f}, max {max(late):.0f} (an idle process beside it: p99 {machine_p99:.1f})",
        bar="p99 < 20 ms",
        met=p99 < 20,
    )


# In parts, as the AWS CLI uploads a large file; one connection, so that a core is left for the server.
_UPLOAD = """
import io, sys
from pathlib import Path
from boto3.s3.transfer import TransferConfig
from penstock.cli.clients import Clients

class Zeros(io.RawIOBase):
    def __init__(self, left): self.left = left
    def readable(self): return True
    def read(self, size=-1):
        size = self.left if size is None or size < 0 else min(size, self.left)
        self.left -= size
        return bytes(size)

s3 = Clients.administrator(Path(sys.argv[1]))("s3")
s3.upload_fileobj(Zeros(int(sys.argv[2])), sys.argv[3], "large", Config=TransferConfig(max_concurrency=2))
"""


async def _serve(data_dir: Path) -> None:
    data_dir.mkdir()
    settings = Settings(
        data_dir=data_dir,
        port=0,
        master_key_file=data_dir.parent / "key",
        components=(BuildSettings(allow_unisolated=True),),
    )
    async with running(settings):
        await _measure_on_request()


async def _measure_on_request() -> None:
    """Measure and report, as standard input says, until it ends."""
    late: list[float] = []
    probe = asyncio.create_task(_probe(late))
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line == "report\n":
            print(json.dumps(late), flush=True)
        late.clear()
    probe.cancel()


async def _probe(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_SLEEP)
        late.append(max(0.0, time.perf_counter() - began - _SLEEP) * 1000)


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])) if len(sys.argv) > 1 else _measure_on_request())
