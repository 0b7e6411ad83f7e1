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
        return cpu_seconds(self.process.pid)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
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
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, _serving("up", Path(folder), options) as one:
        yield one


@contextlib.contextmanager
def served_from(folder: Path, *options: str) -> Iterator[Served]:
    """`penstock up` on a folder that outlives it, so that another can continue where it was killed."""
    with _serving("up", folder, options) as one:
        yield one


@contextlib.contextmanager
def served_without_worker(*options: str) -> Iterator[Served]:
    """`penstock server` on a fresh database, whose schema a short-lived `penstock up` has made."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        with _serving("up", Path(folder), options):
            pass
        with _serving("server", Path(folder), options) as one:
            yield one


@contextlib.contextmanager
def _serving(command: str, folder: Path, options: tuple[str, ...]) -> Iterator[Served]:
    data_dir = folder / "data"
    argv = [sys.executable, "-m", "penstock.cli.main", command, "--data-dir", str(data_dir), "--port", "0"]
    argv += ["--master-key-file", str(folder / "master.key"), "--requests-per-second", "999999", *options]
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("penstock ready "):
            raise RuntimeError((folder / "log").read_text()[-3000:])
        yield Served(line.split()[2], data_dir, process, time.monotonic() - began)
    finally:
        ended(process)


def ended(process: subprocess.Popen) -> None:
    """End a process, by force after 20 seconds."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
