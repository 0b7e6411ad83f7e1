"""A Penstock server in a process of its own, as users start it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.clients import Clients


@dataclass
class Served:
    url: str
    data_dir: Path
    process: subprocess.Popen
    started_in: float  # seconds from exec to "penstock ready"

    def clients(self) -> Clients:
        return Clients.administrator(self.data_dir)

    def rss_mb(self) -> float:
        return rss_mb(self.process.pid)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory in MiB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def peak_mb(pid: int) -> float:
    """The most it ever was, in MiB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@contextlib.contextmanager
def served(*options: str) -> Iterator[Served]:
    """`penstock up` on a fresh data dir and a free port."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        data_dir = Path(folder) / "data"
        command = [sys.executable, "-m", "penstock.cli.main", "up", "--data-dir", str(data_dir), "--port", "0"]
        command += ["--master-key-file", str(Path(folder) / "master.key"), *options]
        began = time.monotonic()
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("penstock ready "):
                raise RuntimeError((Path(folder) / "log").read_text()[-3000:])
            yield Served(line.split()[2], data_dir, process, time.monotonic() - began)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
