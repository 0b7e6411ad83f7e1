"""What many runs leave behind: resident memory, and bytes in the database, of events above all.

    python bench/soak.py [--runs 2000]

A run has five S3 sources and an approval, at which it is stopped. Memory is noted after every tenth of the runs.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.burst import SOURCES, declaration, prepared
from bench.installation import until
from bench.run import Row
from bench.served import served

PIPELINES = 10
_RUNS = 500
_TURNS = 10


@dataclass(frozen=True, kw_only=True)
class Soak:
    """What was left."""

    memory: list[float]  # MiB after each tenth of the runs
    database: float  # KiB for each run
    events: float  # KiB for each run, indexes included

    def growth(self, runs: int) -> float:
        """MiB for 100 runs, in the second half."""
        half = _TURNS // 2
        return (self.memory[-1] - self.memory[half - 1]) / (runs / _TURNS * (_TURNS - half)) * 100


def measured(runs: int) -> Soak:
    """Start the runs, a tenth at a time, and stop each at its approval."""
    with served() as server:
        clients = server.clients()
        codepipeline, service_role = clients("codepipeline"), prepared(clients)
        for number in range(PIPELINES):
            codepipeline.create_pipeline(pipeline=declaration(number, service_role))
        memory: list[float] = []
        path = server.data_dir / "penstock.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database, ThreadPoolExecutor(4) as threads:
            done = "SELECT count(*) FROM pipeline_action_executions WHERE status = 'Succeeded'"

            def run(number: int) -> None:
                name = f"burst-{number % PIPELINES}"
                started = codepipeline.start_pipeline_execution(name=name)["pipelineExecutionId"]
                started_runs.append((name, started))

            for turn in range(1, _TURNS + 1):
                started_runs: list[tuple[str, str]] = []
                list(threads.map(run, range(runs // _TURNS)))
                wanted = (PIPELINES + turn * (runs // _TURNS)) * SOURCES
                until(
                    lambda wanted=wanted: database.execute(done).fetchone()[0] >= wanted,
                    seconds=300,
                    every=0.1,
                    what="the runs of a turn",
                )
                for name, execution in started_runs:
                    codepipeline.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=execution, abandon=True)
                memory.append(server.rss_mb())
            sizes = "SELECT coalesce(sum(pgsize), 0) FROM dbstat"
            total = database.execute(sizes).fetchone()[0]
            events = database.execute(
                f"{sizes} WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name IN ('events', 'event_sequences'))"
            ).fetchone()[0]
        every = PIPELINES + runs
    return Soak(memory=memory, database=total / 1024 / every, events=events / 1024 / every)


def measure(runs: int = _RUNS) -> list[Row]:
    """The rows of `make bench`."""
    found = measured(runs)
    steps = ", ".join(f"{mb:.0f}" for mb in found.memory)
    return [
        Row(
            what=f"memory of the server over {runs} runs",
            measured=f"{steps} MB after each tenth ({found.growth(runs):.1f} MB for 100 runs in the second half)",
            bar="levels off: ≤ 2 MB for 100 runs",
            met=found.growth(runs) <= 2,
        ),
        Row(
            what="database after a run of five S3 sources and an approval",
            measured=f"{found.database:.0f} KB, {found.events:.0f} KB of them events",
            bar="≤ 15 KB of events",
            met=found.events <= 15,
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=_RUNS)
    print(measured(parser.parse_args().runs))
