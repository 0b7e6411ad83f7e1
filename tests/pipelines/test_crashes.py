"""kill -9 at every named point of this package: the run continues by itself, and nothing happens under two tokens."""

import os
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa
from penstock_starter import PENSTOCK, Program, run

from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.model import aggregate_name
from penstock.pipelines.records import executions, pipelines
from penstock.pipelines.replay import replayed
from penstock.store import events, journal
from penstock.store.failpoints import points

CHILD = Program(str(Path(__file__).with_name("crash_child.py")), PENSTOCK.imports)
OURS = [name for name in points() if name.startswith("pipelines.")]


def child(folder, crash=""):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    if crash:
        environment["PENSTOCK_CRASH_POINT"] = crash
    return run(CHILD, f"sqlite:///{folder}/penstock.db", str(folder), env=environment)


@pytest.mark.parametrize("crash", [f"{name}:{turn}" for name in OURS for turn in (1, 3)])
def test_a_killed_worker_loses_nothing(tmp_path, crash):
    killed = child(tmp_path, crash)
    once = crash.startswith("pipelines.before_create_commit") and crash.endswith(":3")
    if not once:  # a pipeline is created once only
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    went_on = child(tmp_path)
    assert went_on.returncode == 0, went_on.stderr
    assert went_on.stdout == "Succeeded\n"
    engine = sa.create_engine(f"sqlite:///{tmp_path}/penstock.db")
    with engine.connect() as conn:
        row = conn.execute(pipelines.select()).one()
        runs = conn.execute(executions.select()).all()
        entries = journal.read(conn, aggregate_name(row.id))
        reported = [
            (event.payload.get("action"), event.payload["state"])
            for event in events.after(conn, 0)
            if event.type == "codepipeline.action.state_changed"
        ]
    engine.dispose()
    assert len(runs) == 1
    codec = PipelineAggregate.inputs
    *_, (_, _, again) = replayed((codec.load(entry.input), entry.at, entry.seed) for entry in entries)
    assert [execution.live for execution in again.executions.values()] == [False]
    assert sorted(reported) == sorted(
        (name, moment) for name in ("pull", "compile", "roll", "check") for moment in ("STARTED", "SUCCEEDED")
    )
    notes = (tmp_path / "starts").read_text().split("\n")[:-1]
    assert len({note.split()[1] for note in notes}) == 4  # a start may come twice, its token does not change
