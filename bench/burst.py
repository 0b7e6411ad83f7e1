"""200 executions at once: 50 pipelines, four starts each, every run five S3 sources and then an approval that waits.

    python bench/burst.py [--database sqlite|postgresql] [--workers 1 2 4]

Real processes: `penstock up` on SQLite; `penstock server` and a number of `penstock worker` on PostgreSQL. Measured from the first
StartPipelineExecution until the last of the thousand sources has ended, by reading the database. Every source copies an object, under
its role, into the artifact store. Processor time is that of all processes of Penstock and of PostgreSQL.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.installation import ACCOUNT, role, until
from bench.postgresql import postgresql
from bench.run import Row, Unavailable
from bench.served import cpu_seconds, ended, peak_mb, served, served_without_worker
from penstock.cli.clients import Clients

PIPELINES, STARTS, SOURCES = 50, 4, 5
ACTIONS = PIPELINES * STARTS * SOURCES
_SUCCEEDED = "SELECT count(*) FROM pipeline_action_executions WHERE status = 'Succeeded'"
_FAILED = "SELECT count(*) FROM pipeline_action_executions WHERE status = 'Failed'"


@dataclass(frozen=True, kw_only=True)
class Burst:
    """What one burst took."""

    seconds: float
    starting: float  # seconds until the last start was answered
    penstock: float  # processor seconds of our processes
    postgresql: float
    peak: float  # MiB of the largest process
    lag: float  # seconds that the server's event loop was late at worst

    @property
    def rate(self) -> float:
        return ACTIONS / self.seconds


def declaration(number: int, role_arn: str) -> dict[str, Any]:
    def kind(category: str, provider: str) -> dict[str, str]:
        return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}

    sources = [
        {
            "name": f"source{i}",
            "actionTypeId": kind("Source", "S3"),
            "configuration": {"S3Bucket": "sources", "S3ObjectKey": "source.zip", "PollForSourceChanges": "false"},
            "outputArtifacts": [{"name": f"out{i}"}],
            "runOrder": 1,
        }
        for i in range(SOURCES)
    ]
    approval = {"name": "wait", "actionTypeId": kind("Approval", "Manual"), "runOrder": 1}
    return {
        "name": f"burst-{number}",
        "roleArn": role_arn,
        "artifactStore": {"type": "S3", "location": "artifacts"},
        "pipelineType": "V2",
        "executionMode": "PARALLEL",
        "stages": [{"name": "Source", "actions": sources}, {"name": "Gate", "actions": [approval]}],
    }


def prepared(clients: Clients) -> str:
    """Make the buckets that `declaration` names, with a source in one; the ARN of the pipelines' role."""
    s3 = clients("s3")
    for bucket in ("sources", "artifacts"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="sources", Key="source.zip", Body=b"x" * 2048)
    return role(clients, "codepipeline")


def burst(clients: Clients, database: str, pids: list[int], postmaster: int | None) -> Burst:
    """Make the pipelines, let their first runs end, then start 200 at once."""
    codepipeline, service_role = clients("codepipeline"), prepared(clients)
    for number in range(PIPELINES):
        codepipeline.create_pipeline(pipeline=declaration(number, service_role))
    engine = sa.create_engine(database)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:

        def count(text: str) -> int:
            return conn.execute(sa.text(text)).scalar_one()

        until(lambda: count(_SUCCEEDED) >= PIPELINES * SOURCES, seconds=120, every=0.1, what="the first runs")
        own, theirs = sum(map(cpu_seconds, pids)), _children(postmaster)
        began = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            starts = [
                threads.submit(codepipeline.start_pipeline_execution, name=f"burst-{number}")
                for _ in range(STARTS)
                for number in range(PIPELINES)
            ]
            for start in starts:
                start.result()
        starting = time.monotonic() - began
        until(
            lambda: count(_SUCCEEDED) >= PIPELINES * SOURCES + ACTIONS or count(_FAILED),
            seconds=300,
            every=0.05,
            what="the burst",
        )
        seconds = time.monotonic() - began
        if count(_FAILED):
            raise RuntimeError("actions of the burst failed")
        result = Burst(
            seconds=seconds,
            starting=starting,
            penstock=sum(map(cpu_seconds, pids)) - own,
            postgresql=_children(postmaster) - theirs,
            peak=max(map(peak_mb, pids)),
            lag=_worst_lag(clients.url),
        )
    engine.dispose()
    return result


def _worst_lag(url: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("penstock_loop_lag_worst_seconds "))


def _children(pid: int | None) -> float:
    if pid is None:
        return 0.0
    names = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(cpu_seconds(int(name)) for name in names)


def on_sqlite() -> Burst:
    with served() as server:
        database = f"sqlite:///{server.data_dir / 'penstock.db'}"
        return burst(server.clients(), database, [server.process.pid], None)


def on_postgresql(workers: int) -> Burst:
    with postgresql() as url, served_without_worker("--database", url) as server:
        driver = url.replace("postgresql://", "postgresql+psycopg://")
        postmaster = _postmaster(url)
        with _workers(workers, url, server.url, server.data_dir) as pids:
            return burst(server.clients(), driver, [server.process.pid, *pids], postmaster)


def _postmaster(url: str) -> int:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as conn:
        backend: int = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    engine.dispose()
    return int(fields[1])


@contextlib.contextmanager
def _workers(number: int, database: str, url: str, data_dir: Path) -> Iterator[list[int]]:
    command = [sys.executable, "-m", "penstock.cli.main", "worker", "--database", database, "--public-url", url]
    command += ["--data-dir", str(data_dir), "--master-key-file", str(data_dir.parent / "master.key")]
    processes: list[subprocess.Popen[str]] = []
    try:
        for i in range(number):
            with (data_dir.parent / f"worker-{i}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True))
        for process in processes:
            assert process.stdout is not None
            if not process.stdout.readline().startswith("penstock ready "):
                raise RuntimeError((data_dir.parent / "worker-0.log").read_text()[-3000:])
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            ended(process)


def _row(name: str, result: Burst, bar: str, *, met: bool) -> Row:
    return Row(
        what=f"{PIPELINES * STARTS} executions at once, {SOURCES} S3 sources each, {name}",
        measured=f"{result.rate:.0f} actions/s ({result.penstock / ACTIONS * 1000:.1f} ms of processor each"
        + (f", PostgreSQL {result.postgresql / ACTIONS * 1000:.1f}" if result.postgresql else "")
        + f"; starts answered after {result.starting:.1f} s; peak {result.peak:.0f} MB; event loop of the server late by {result.lag * 1000:.0f} ms at worst)",
        bar=bar,
        met=met,
    )


def measure(workers: tuple[int, ...] = (1, 2, 4)) -> list[Row]:
    """The rows of `make bench`."""
    result = on_sqlite()
    rows = [_row("SQLite", result, "≥ 150 actions/s", met=result.rate >= 150)]
    try:
        one = 0.0
        for number in workers:
            result = on_postgresql(number)
            one = one or result.rate
            bar = "≥ 150 actions/s" if number == 1 else "where cores allow: ≥ 1.7× with 2 workers, not fewer with 4"
            rows.append(
                _row(
                    f"PostgreSQL, {number} worker{'s' if number > 1 else ''} ({result.rate / one:.2f}×)",
                    result,
                    bar,
                    met=result.rate >= (150 if number == 1 else one),
                )
            )
    except Unavailable as reason:
        rows.append(
            Row(what="200 executions at once, PostgreSQL", measured=f"not measured: {reason}", bar="", met=None)
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    options = parser.parse_args()
    print(f"account {ACCOUNT}, load {os.getloadavg()[0]:.1f}")
    if options.database != "postgresql":
        print("sqlite", on_sqlite())
    if options.database != "sqlite":
        for chosen in options.workers:
            burst_of = on_postgresql(chosen)
            print(f"postgresql, {chosen} workers: {burst_of.rate:.0f}/s", burst_of)
