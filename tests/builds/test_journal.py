"""A build's journal: read with the command and the API, and enough to decide everything again."""

from __future__ import annotations

import json
from pathlib import Path

import botocore.exceptions
import pytest
from penstock_builder import Builder
from penstock_starter import PENSTOCK, run

from penstock.builds.aggregate import Build
from penstock.builds.engine import BuildState, decide
from penstock.builds.records import STATE

GOLDEN = Path(__file__).parent.parent / "golden" / "build-journal.jsonl"


def replayed(entries: list[dict]) -> BuildState:
    """The state after all entries; every decision is what it was."""
    state = BuildState()
    for entry in entries:
        state, effects = decide(state, Build.inputs.load(entry["input"]), entry["at"], entry["seed"])
        assert list(effects) == [Build.effects.load(effect) for effect in entry["effects"]], entry["sequence"]
    return state


def test_the_journal_of_a_build_is_shown_and_decides_it_again(builder: Builder):
    project = builder.project(
        {
            "version": 0.2,
            "env": {"exported-variables": ["X"]},
            "phases": {"build": {"commands": ["export X=5; exit 3"]}},
        }
    )
    build = builder.run(project)
    answer = run(PENSTOCK, "journal", build["id"], "--json", env=builder.live.environment())
    assert answer.returncode == 0, answer.stderr
    entries = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry["input"]["type"] for entry in entries][:2] == ["Submitted", "Claimed"]
    assert entries[0]["actor"] == builder.live.client("sts").get_caller_identity()["Arn"]
    assert {"phase": "BUILD", "status": "FAILED"}.items() <= next(
        e["input"] for e in entries if e["input"].get("phase") == "BUILD"
    ).items()
    app = builder.live.app
    stored = builder.live.run(app.store.read(_row, build["id"]))
    kept = builder.live.run(app.store.read(_entries, build["id"]))
    assert [(entry["input"], entry["effects"]) for entry in kept] == [(e["input"], e["effects"]) for e in entries]
    assert replayed(kept) == STATE.load(stored)

    plain = run(PENSTOCK, "journal", build["id"], env=builder.live.environment())
    assert "Submitted queued_timeout_ms=28800000" in plain.stdout
    assert "→ PhaseChanged phase=" in plain.stdout
    assert plain.stderr == ""
    builder.live.client("codebuild").batch_delete_builds(ids=[build["id"]])
    deleted = run(PENSTOCK, "journal", build["id"], env=builder.live.environment())
    assert deleted.stdout == plain.stdout
    assert f"{build['id']} was deleted at " in deleted.stderr


def test_journals_belong_to_their_account_and_pages_to_their_question(builder: Builder):
    build = builder.run(builder.project({"version": 0.2, "phases": {"build": {"commands": ["true"]}}}))["id"]
    client = builder.live.client("penstock")
    page = client.get_journal(id=build, maxResults=2)
    assert [entry["sequence"] for entry in page["entries"]] == [1, 2]
    rest = client.get_journal(id=build, nextToken=page["nextToken"], maxResults=1000)
    assert rest["entries"][0]["sequence"] == 3
    with pytest.raises(client.exceptions.InvalidNextTokenException):
        client.get_journal(id=build, nextToken="made up")
    other = client.create_account(accountId="333333333333")
    keys = {"aws_access_key_id": other["accessKeyId"], "aws_secret_access_key": other["secretAccessKey"]}
    for asking, id_ in ((builder.live.client("penstock", keys=keys), build), (client, "no:such"), (client, "nothing")):
        with pytest.raises(asking.exceptions.JournalNotFoundException, match=f"There is no journal of {id_}: "):
            asking.get_journal(id=id_)
    said = run(PENSTOCK, "journal", "nothing", env=builder.live.environment())
    assert (said.returncode, "There is no journal of nothing" in said.stderr) == (1, True)


def test_a_policy_may_allow_the_journals_of_one_project(builder: Builder):
    one, other = (
        builder.run(builder.project({"version": 0.2, "phases": {"build": {"commands": ["true"]}}})) for _ in range(2)
    )
    allow = {"Effect": "Allow", "Action": "penstock:GetJournal", "Resource": one["arn"]}
    iam = builder.live.client("iam")
    iam.create_user(UserName="reader")
    iam.put_user_policy(
        UserName="reader", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    reader = builder.live.client("penstock", keys=keys)
    assert reader.get_journal(id=one["id"])["entries"]
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform: penstock:GetJournal"):
        reader.get_journal(id=other["id"])


def test_a_recorded_journal_is_read_for_ever():
    entries = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    state = replayed(entries)
    assert (state.status, [phase.type for phase in state.phases][-1]) == ("FAILED", "COMPLETED")


def _row(conn, id_):
    from penstock.builds import records

    return records.find_build(conn, "111111111111", "us-east-1", id_).state


def _entries(conn, id_):
    from penstock.store import journal

    return [
        {"at": e.at, "seed": e.seed, "sequence": e.sequence, "input": e.input, "effects": e.effects}
        for e in journal.read(conn, f"build/{id_}", account="111111111111", region="us-east-1")
    ]
