"""What the events of a run take in the database, indexes included: S3 source, build and a deployment to three hosts, on either database.

    python bench/events.py [--runs 20]

Real runs: our own agents, and a build in the best runtime that works here. Counted are the tables of events, after five runs that are not.
PostgreSQL's are counted as they are, with the space of what it replaced and of pages that are not full yet.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.installation import BUCKET, Agent, role, runtime_options, until
from bench.postgresql import postgresql
from bench.run import Row, Unavailable
from bench.served import Served, served

HOSTS = 3
_RUNS = 20
_UNCOUNTED = 5
_TABLES = ("events", "event_sequences")
_BAR = 15  # KB

Size = Callable[[], tuple[int, int]]
"""Bytes of the events' tables and indexes, and how many events there are."""


def measured(server: Served, size: Size, runs: int) -> tuple[float, float]:
    """KB of a run, and its events."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, contextlib.ExitStack() as stack:
        clients = server.clients()
        clients("s3").create_bucket(Bucket=BUCKET)
        clients("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        clients("s3").put_object(Bucket=BUCKET, Key="source.zip", Body=_source())
        hosts = [f"host-{number}" for number in range(HOSTS)]
        for host in hosts:
            stack.enter_context(Agent(clients, Path(name) / host, host, server.url))
        _declare(clients, hosts)
        codepipeline = clients("codepipeline")
        first = codepipeline.list_pipeline_executions(pipelineName="bench")["pipelineExecutionSummaries"]
        _finish(codepipeline, first[0]["pipelineExecutionId"])
        before, earlier = 0, 0
        for number in range(1, _UNCOUNTED + runs):
            if number == _UNCOUNTED:
                before, earlier = size()
            _finish(codepipeline, codepipeline.start_pipeline_execution(name="bench")["pipelineExecutionId"])
        after, later = size()
    return (after - before) / 1024 / runs, (later - earlier) / runs


def _finish(codepipeline: Any, execution: str) -> None:
    def ended() -> str:
        found = codepipeline.get_pipeline_execution(pipelineName="bench", pipelineExecutionId=execution)
        status = found["pipelineExecution"]["status"]
        return "" if status == "InProgress" else status

    status = until(ended, seconds=120, every=0.05, what="the run")
    if status != "Succeeded":
        raise RuntimeError(f"the run ended as {status}")


def _source() -> bytes:
    files = {
        "appspec.yml": "version: 0.0\nos: linux\nfiles: [{source: site, destination: /srv/site}]\nfile_exists_behavior: OVERWRITE\n",
        "site/index.html": "<h1>it works</h1>",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def _declare(clients: Any, hosts: list[str]) -> None:
    buildspec = {
        "version": 0.2,
        "phases": {"build": {"commands": ["true"]}},
        "artifacts": {"files": ["**/*"]},
    }
    clients("codebuild").create_project(
        name="bench",
        source={"type": "CODEPIPELINE", "buildspec": json.dumps(buildspec)},
        artifacts={"type": "CODEPIPELINE"},
        environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=role(clients, "codebuild"),
    )
    clients("codedeploy").create_application(applicationName="bench", computePlatform="Server")
    clients("codedeploy").create_deployment_group(
        applicationName="bench",
        deploymentGroupName="bench",
        onPremisesInstanceTagFilters=[{"Key": "bench", "Value": host, "Type": "KEY_AND_VALUE"} for host in hosts],
        serviceRoleArn=role(clients, "codedeploy"),
    )

    def action(name: str, category: str, provider: str, **more: Any) -> dict[str, Any]:
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": name, "actionTypeId": kind, **more}

    source = {"S3Bucket": BUCKET, "S3ObjectKey": "source.zip", "PollForSourceChanges": "false"}
    deploy = {"ApplicationName": "bench", "DeploymentGroupName": "bench"}
    actions = [
        action("Source", "Source", "S3", configuration=source, outputArtifacts=[{"name": "App"}]),
        action(
            "Build", "Build", "CodeBuild", configuration={"ProjectName": "bench"},
            inputArtifacts=[{"name": "App"}], outputArtifacts=[{"name": "Built"}],
        ),
        action("Deploy", "Deploy", "CodeDeploy", configuration=deploy, inputArtifacts=[{"name": "Built"}]),
    ]  # fmt: skip
    clients("codepipeline").create_pipeline(
        pipeline={
            "name": "bench",
            "roleArn": role(clients, "codepipeline"),
            "artifactStore": {"type": "S3", "location": BUCKET},
            "stages": [{"name": one["name"], "actions": [one]} for one in actions],
        }
    )


def _on_sqlite(runs: int) -> tuple[float, float]:
    names = ", ".join(f"'{table}'" for table in _TABLES)
    pages = f"SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name IN ({names}))"
    with served(*runtime_options()) as server:
        path = server.data_dir / "penstock.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:

            def size() -> tuple[int, int]:
                return tuple(database.execute(sql).fetchone()[0] for sql in (pages, "SELECT count(*) FROM events"))  # type: ignore[return-value]

            return measured(server, size, runs)


def _on_postgresql(runs: int) -> tuple[float, float]:
    total = " + ".join(f"pg_total_relation_size('{table}')" for table in _TABLES)
    with (
        postgresql() as url,
        served("--database", url, *runtime_options()) as server,
        psycopg.connect(url, autocommit=True) as database,
    ):

        def size() -> tuple[int, int]:
            asked = database.execute(f"SELECT {total}, (SELECT count(*) FROM events)")  # type: ignore[arg-type]
            bytes_, events = asked.fetchone()  # type: ignore[misc]
            return int(bytes_), events

        return measured(server, size, runs)


def measure(runs: int = _RUNS) -> list[Row]:
    """The rows of `make bench`."""
    rows = []
    for name, on in (("SQLite", _on_sqlite), ("PostgreSQL", _on_postgresql)):
        what = f"events of a run with S3 source, build and {HOSTS} hosts on {name}, indexes included, {runs} runs"
        try:
            kb, events = on(runs)
        except Unavailable as reason:
            rows.append(Row(what=what, measured=f"not measured: {reason}", bar="", met=None))
            continue
        rows.append(Row(what=what, measured=f"{kb:.1f} KB, {events:.0f} events", bar=f"≤ {_BAR} KB", met=kb <= _BAR))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=_RUNS)
    for row in measure(parser.parse_args().runs):
        print(row.what, row.measured, sep=": ")
