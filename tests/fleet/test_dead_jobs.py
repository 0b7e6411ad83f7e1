"""Jobs that were given up: seen and revived by whose they are, with boto3, the AWS CLI and `penstock jobs`."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import botocore.exceptions
import pytest
from penstock_live import live  # noqa: F401 - the fixture
from penstock_starter import PENSTOCK, run

from penstock.store import jobs, leases

_numbers = itertools.count()
MINE, NOBODYS = "111111111111", ""


def given_up(live, *, account: str = MINE, region: str = "us-east-1") -> str:  # noqa: F811
    """The id of a job that was given up. Nobody runs its kind, which is its own: what is revived stays ready."""
    kind = f"tests.{next(_numbers)}"

    def tx(conn):
        id_ = jobs.enqueue(conn, kind=kind, payload={}, account=account, region=region)
        (job,) = leases.Claimant(worker="w", lease_ms=60_000).claim(conn, {(kind,): 1}, now=live.app.clock.now())
        jobs.dead_letter(conn, job, error="hopeless")
        return id_

    return live.run(live.app.store.write(tx))


def listed(client) -> list[str]:
    return [job["jobId"] for page in client.get_paginator("list_dead_jobs").paginate() for job in page["jobs"]]


def test_clients_page_through_lists_of_our_own_service_by_themselves(live):  # noqa: F811
    assert live.client("penstock").can_paginate("list_hosts")


def test_each_account_sees_and_revives_its_own(live):  # noqa: F811
    client = live.client("penstock")
    made = client.create_account(accountId="222222222222")
    keys = {"aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"]}
    other = live.client("penstock", keys=keys)
    mine, nobodys, theirs = given_up(live), given_up(live, account=NOBODYS), given_up(live, account="222222222222")
    given_up(live, region="eu-west-1")
    assert listed(client) == [nobodys, mine]
    assert listed(other) == [theirs]
    (job,) = other.list_dead_jobs()["jobs"]
    assert (job["kind"][:6], job["error"], job["failures"]) == ("tests.", "hopeless", 1)
    assert job["endTime"] >= job["createTime"]
    for not_ours in (mine, nobodys, "nonsense"):
        with pytest.raises(other.exceptions.JobNotFoundException):
            other.revive_job(jobId=not_ours)
    client.revive_job(jobId=nobodys)
    assert listed(client) == [mine]
    with pytest.raises(client.exceptions.JobNotFoundException):
        client.revive_job(jobId=nobodys)
    client.revive_job(jobId=mine)
    other.revive_job(jobId=theirs)


def test_long_lists_come_in_pages(live):  # noqa: F811
    made = [given_up(live) for _ in range(103)]
    client = live.client("penstock")
    assert sorted(listed(client)) == sorted(made)
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidNextTokenException"):
        client.list_dead_jobs(nextToken="made up")
    for id_ in made:
        client.revive_job(jobId=id_)


def test_the_command_lists_and_revives(live):  # noqa: F811
    def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(PENSTOCK, "jobs", *arguments, env=live.environment())

    assert penstock().stdout == "No job was given up.\n"
    first, second = given_up(live), given_up(live)
    answer = penstock()
    assert (answer.returncode, first in answer.stdout, "hopeless" in answer.stdout) == (0, True, True)
    assert penstock("--revive", first).returncode == 0
    again = penstock("--revive", first)
    assert (again.returncode, "was given up" in again.stderr) == (2, True)
    assert penstock("--revive-all").stdout == f"{second} runs again\n"
    assert penstock().stdout == "No job was given up.\n"


def test_the_aws_cli_knows_our_service_after_penstock_env(live, tmp_path):  # noqa: F811
    script = f"""eval "$({sys.executable} -m penstock.cli.main env --data-dir {live.data_dir})"; {Path(sys.executable).with_name("aws")} penstock list-dead-jobs"""
    done = subprocess.run(
        ["bash", "-c", script], env=live.environment() | {"AWS_DATA_PATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"jobs": []}
