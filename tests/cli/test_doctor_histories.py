"""`penstock doctor --histories`: databases of real servers keep to every rule, and one that was changed by hand does not."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from penstock_console import bucket, gate, pipeline, role, source, waits, zipped
from penstock_live import live  # noqa: F401 - the fixture
from penstock_waiting import until

from penstock.cli.exits import Exit
from penstock.cli.main import main
from penstock.pipelines import records
from penstock.store.records import journal


@pytest.fixture(scope="module")
def lived(live):  # noqa: F811 - the fixture
    """A server with a pipeline that has run, failed, been retried and rolled back, and still waits."""
    bucket(live, "releases")
    bucket(live, "artifacts")
    live.client("s3").put_object(Bucket="releases", Key="app.zip", Body=zipped(index__html="one"))
    pipeline(live, "lived", role(live, "codepipeline"), source("app.zip"), gate("Ask", "Release"), mode="QUEUED")
    client = live.client("codepipeline")

    def answer(status, but=""):
        token = until(lambda: (found := waits(live, "lived", "Ask")) != but and found)
        client.put_approval_result(
            pipelineName="lived",
            stageName="Ask",
            actionName="Release",
            token=token,
            result={"status": status, "summary": ""},
        )
        return token

    first = client.list_pipeline_executions(pipelineName="lived")["pipelineExecutionSummaries"][0][
        "pipelineExecutionId"
    ]
    token = answer("Rejected")
    until(
        lambda: (
            client.get_pipeline_execution(pipelineName="lived", pipelineExecutionId=first)["pipelineExecution"][
                "status"
            ]
            == "Failed"
        )
    )
    client.retry_stage_execution(
        pipelineName="lived", stageName="Ask", pipelineExecutionId=first, retryMode="FAILED_ACTIONS"
    )
    token = answer("Approved", token)
    client.start_pipeline_execution(name="lived")
    token = answer("Approved", token)
    client.rollback_stage(pipelineName="lived", stageName="Ask", targetPipelineExecutionId=first)
    client.start_pipeline_execution(name="lived")
    return live


@pytest.fixture
def doctor(lived, capsys):
    def doctor(*options):
        code = main(["doctor", "--histories", *options, "--data-dir", str(lived.data_dir)])
        return code, capsys.readouterr().out

    return doctor


@pytest.fixture
def tampered(lived):
    """Changes the database, and puts it back."""
    undo = []

    def tampered(table, where, **values):
        def change(conn):
            undo.append((table, where, [row._asdict() for row in conn.execute(sa.select(table).where(where))]))
            conn.execute(table.update().where(where).values(**values) if values else table.delete().where(where))

        lived.run(lived.app.store.write(change))

    yield tampered

    def back(conn):
        for table, where, rows in undo:
            conn.execute(table.delete().where(where))
            conn.execute(table.insert(), rows)

    lived.run(lived.app.store.write(back))


def test_what_a_server_did_keeps_to_every_rule(doctor):
    code, said = doctor()
    assert code == Exit.DONE, said
    assert "1 pipeline with " in said
    assert "decisions keep to every rule and lead to what is stored" in said
    (found,) = json.loads(doctor("--json")[1])
    assert (found["verdict"], found["what"]) == ("ok", "histories")


def test_an_entry_that_is_missing_is_found(doctor, tampered):
    tampered(journal, (journal.c.sequence == 5) & journal.c.aggregate.startswith("pipeline/"))
    code, said = doctor()
    assert code == Exit.FAILED
    assert "no-entry-is-lost: pipeline lived of account 111111111111: entry 5 of the journal is missing" in said
    assert "penstock journal NAME --json" in said


def test_a_decision_that_was_changed_is_found(doctor, lived, tampered):
    where = (journal.c.sequence == 3) & journal.c.aggregate.startswith("pipeline/")
    tampered(journal, where, effects=[])
    assert "the-journal-replays: " in doctor()[1]


def test_a_run_that_is_stored_otherwise_is_found(doctor, lived, tampered):
    e = records.executions.c
    stored = lived.run(
        lived.app.store.read(lambda conn: conn.execute(sa.select(e.state).where(e.number == 1)).scalar_one())
    )
    tampered(records.executions, e.number == 1, state={**stored, "summary": "something else"})
    code, said = doctor()
    assert code == Exit.FAILED
    assert "what-is-stored-was-decided: pipeline lived of account 111111111111, run " in said


def test_a_run_that_is_gone_is_found(doctor, tampered):
    tampered(records.executions, records.executions.c.live.is_(sa.true()))
    assert "no-run-is-lost: pipeline lived" in doctor()[1]


def test_a_journal_whose_beginning_is_over_its_time_is_left_alone(doctor, tampered):
    for sequence in (1, 2):
        tampered(journal, (journal.c.sequence == sequence) & journal.c.aggregate.startswith("pipeline/"))
    code, said = doctor()
    assert (code, "1 pipeline with older entries than are kept" in said) == (Exit.DONE, True)
