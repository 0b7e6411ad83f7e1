"""`penstock env`, `penstock follow` and `penstock doctor` as users run them: processes of their own, judged by exit code and output."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from penstock_builder import Builder, commands

from penstock.cli.clients import Clients
from penstock.cli.exits import Exit
from penstock.cli.follow import Follower


def penstock(
    *arguments: str, env: dict[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock.cli.main", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | (env or {})
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


def role(live, name: str, service: str) -> str:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}
    iam = live.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17"} | trust))[
        "Role"
    ]["Arn"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(everything))
    return arn


@pytest.fixture(scope="module")
def pipeline(live):
    """A pipeline that waits for an approval at once."""
    arn = role(live, "follow", "codepipeline.amazonaws.com")
    s3 = live.client("s3")
    s3.create_bucket(Bucket="follow-artifacts")
    s3.put_bucket_versioning(Bucket="follow-artifacts", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="follow-artifacts", Key="source.zip", Body=b"PK\x05\x06" + bytes(18))

    def action(name, category, provider, configuration, outputs=()):
        return {
            "name": name,
            "actionTypeId": {"category": category, "owner": "AWS", "provider": provider, "version": "1"},
            "configuration": configuration,
            "outputArtifacts": [{"name": output} for output in outputs],
        }

    where = {"S3Bucket": "follow-artifacts", "S3ObjectKey": "source.zip", "PollForSourceChanges": "false"}
    live.client("codepipeline").create_pipeline(
        pipeline={
            "name": "followed",
            "roleArn": arn,
            "artifactStore": {"type": "S3", "location": "follow-artifacts"},
            "stages": [
                {"name": "Source", "actions": [action("Bucket", "Source", "S3", where, ["Source"])]},
                {"name": "Ask", "actions": [action("Question", "Approval", "Manual", {})]},
            ],
        }
    )
    return "followed"


def decide(live, status):
    codepipeline = live.client("codepipeline")
    stages = codepipeline.get_pipeline_state(name="followed")["stageStates"]
    token = stages[1]["actionStates"][0]["latestExecution"]["token"]
    codepipeline.put_approval_result(
        pipelineName="followed",
        stageName="Ask",
        actionName="Question",
        token=token,
        result={"status": status, "summary": "said"},
    )


def follow(live, *options: str):
    return penstock("follow", "followed", *options, env=live.environment())


def test_follow_says_how_a_run_goes_and_exits_as_it_ended(live, pipeline):
    waits = follow(live)
    assert waits.returncode == Exit.WAITS, waits.stderr
    assert "Source     Bucket" in waits.stdout
    timed_out = follow(live, "--wait-approval", "--timeout", "0.5")
    assert timed_out.returncode == Exit.TIMED_OUT
    decide(live, "Approved")
    done = follow(live)
    assert done.returncode == Exit.DONE, done.stdout
    assert "succeeded" in done.stdout
    live.client("codepipeline").start_pipeline_execution(name="followed")
    assert follow(live).returncode == Exit.WAITS
    decide(live, "Rejected")
    failed = follow(live)
    assert failed.returncode == Exit.FAILED
    assert "said" in failed.stdout
    execution = live.client("codepipeline").start_pipeline_execution(name="followed")["pipelineExecutionId"]
    assert follow(live, "--execution", execution).returncode == Exit.WAITS
    behind = live.client("codepipeline").start_pipeline_execution(name="followed")["pipelineExecutionId"]
    queued = follow(live, "--timeout", "5", "--execution", behind)
    assert queued.returncode == Exit.TIMED_OUT
    assert f"waits in front; run {execution[:8]} is inside" in queued.stdout
    live.client("codepipeline").stop_pipeline_execution(
        pipelineName="followed", pipelineExecutionId=execution, abandon=True, reason="enough"
    )
    assert follow(live, "--wait-approval", "--timeout", "20", "--execution", execution).returncode == Exit.STOPPED
    assert follow(live, "--execution", behind).returncode == Exit.WAITS
    decide(live, "Approved")


def test_follow_refuses_in_words(live, tmp_path):
    unknown = penstock("follow", "nothing", env=live.environment())
    assert unknown.returncode == Exit.USAGE
    assert "nothing" in unknown.stderr
    nowhere = penstock("follow", "x", "--data-dir", str(tmp_path / "none"))
    assert nowhere.returncode == Exit.USAGE
    assert "penstock up" in nowhere.stderr
    for address in ("http://127.0.0.1:9", "nonsense"):
        unreachable = penstock("follow", "x", env=live.environment() | {"AWS_ENDPOINT_URL": address})
        assert unreachable.returncode == Exit.USAGE
        assert unreachable.stderr.startswith("penstock follow: ")


def test_follow_finds_the_log_where_the_project_put_it(live, capsys):
    builder = Builder(live)
    follower = Follower(Clients.administrator(live.data_dir), "followed")
    place = {"status": "ENABLED", "groupName": "elsewhere", "streamName": "mine"}
    build = builder.run(builder.project(commands("echo over here"), logsConfig={"cloudWatchLogs": place}))
    follower._build_log(build["id"])
    assert "│ over here\n" in capsys.readouterr().out
    silent = builder.run(
        builder.project(commands("echo unheard"), logsConfig={"cloudWatchLogs": {"status": "DISABLED"}})
    )
    follower._build_log(silent["id"])
    assert capsys.readouterr().out == ""


def test_follow_ends_quietly_when_nobody_reads_on(live, pipeline):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "penstock.cli.main", "follow", "followed"]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, env=live.environment(), check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.STOPPED, "")


@pytest.mark.parametrize("command", [("env",), ("follow", "x")])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("server.json", "{", "is damaged"),
        ("server.json", "[]", "is damaged"),
        ("server.json", None, "cannot read"),
        ("credentials", "[penstock]\n", "holds no access key"),
        ("credentials", None, "cannot read"),
    ],
)
def test_a_data_dir_that_cannot_be_read_is_told_in_words(live, tmp_path, command, name, content, words):
    for kept in ("server.json", "credentials"):
        (tmp_path / kept).write_bytes((live.data_dir / kept).read_bytes())
    (tmp_path / name).unlink()
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(content)
    done = penstock(*command, "--data-dir", str(tmp_path))
    assert done.returncode == Exit.USAGE
    assert words in done.stderr
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_env_points_the_aws_cli_here_even_in_a_shell_with_foreign_variables(live):
    script = f'eval "$({sys.executable} -m penstock.cli.main env --data-dir {live.data_dir})"; {Path(sys.executable).with_name("aws")} sts get-caller-identity'
    foreign = {
        "AWS_ACCESS_KEY_ID": "AKIAFOREIGN",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_SESSION_TOKEN": "y",
        "AWS_PROFILE": "other",
        "AWS_REGION": "eu-west-9",
    }
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=os.environ | foreign, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Account"] == "111111111111"


def test_env_without_a_server_says_how_to_start_one(tmp_path):
    done = penstock("env", "--data-dir", str(tmp_path))
    assert done.returncode == Exit.USAGE
    assert "penstock up" in done.stderr


def doctor(live, *options: str):
    key = live.data_dir.parent / f"{live.data_dir.name}-master.key"
    done = penstock("doctor", "--data-dir", str(live.data_dir), "--master-key-file", str(key), "--json", *options)
    return done.returncode, json.loads(done.stdout)


def test_doctor_finds_a_running_installation_well(live, pipeline):
    code, findings = doctor(live)
    assert not [finding for finding in findings if finding["verdict"] == "FAIL"]
    assert code == Exit.DONE
    assert {"data dir", "keys", "store", "journal", "work", "server", "clock"} <= {
        finding["what"] for finding in findings
    }


def test_doctor_finds_what_is_wrong_and_says_what_mends_it(live_factory, tmp_path):
    with live_factory("sick", tls=True) as server:
        server.client("iam").create_user(UserName="x")
        data_dir = server.data_dir
    other = tmp_path / "other.key"
    assert penstock("doctor", "--data-dir", str(data_dir), "--master-key-file", str(other)).returncode == Exit.FAILED
    with sqlite3.connect(data_dir / "penstock.db") as database:
        row = "insert into journal (aggregate, account, region, sequence, at, seed, event) values ('pipeline/x', '111111111111', 'us-east-1', ?, ?, 1, '{}')"
        database.executemany(row, [(1, 1000), (3, 2000)])
    database.close()
    data_dir.chmod(0o755)
    (data_dir / "server.json").write_text("{")
    key = tmp_path / "sick-master.key"
    done = penstock("doctor", "--data-dir", str(data_dir), "--master-key-file", str(key))
    assert done.returncode == Exit.FAILED
    assert "chmod 700" in done.stdout
    assert "entries are missing in pipeline/x" in done.stdout
    assert "server.json is damaged" in done.stdout
    assert "certificate lasts" in done.stdout


def test_doctor_has_nothing_to_look_at(tmp_path):
    done = penstock("doctor", "--data-dir", str(tmp_path))
    assert done.returncode == Exit.USAGE
    assert "penstock up" in done.stderr
    nowhere = penstock("doctor", "--data-dir", str(tmp_path), "--database", "junk")
    assert nowhere.returncode == Exit.USAGE
    assert "argument --database" in nowhere.stderr


def test_doctor_says_that_a_stopped_server_does_not_answer(live_factory):
    with live_factory("stopped") as server:
        data_dir = server.data_dir
    key = data_dir.parent / "stopped-master.key"
    done = penstock("doctor", "--data-dir", str(data_dir), "--master-key-file", str(key))
    assert done.returncode == Exit.DONE, done.stdout
    assert "does not answer" in done.stdout


def test_usage_errors_exit_with_1_and_help_with_0():
    assert penstock("nonsense").returncode == Exit.USAGE
    assert penstock("up", "--port", "many").returncode == Exit.USAGE
    assert penstock("server").returncode == Exit.USAGE
    helped = penstock("follow", "--help")
    assert helped.returncode == 0
    assert "--wait-approval" in helped.stdout


def test_a_second_server_on_the_same_data_is_refused_and_told_of_postgresql(live, tmp_path):
    key = live.data_dir.parent / f"{live.data_dir.name}-master.key"
    done = penstock("up", "--data-dir", str(live.data_dir), "--port", "0", "--master-key-file", str(key))
    assert done.returncode == Exit.USAGE
    assert "PostgreSQL" in done.stderr
