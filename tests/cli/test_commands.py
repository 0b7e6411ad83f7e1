"""`penstock env`, `penstock follow` and `penstock doctor` as users run them: processes of their own, judged by exit code and output."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from penstock_builder import Builder, commands
from penstock_starter import PENSTOCK, run, start

from penstock.cli.clients import Clients
from penstock.cli.exits import Exit
from penstock.cli.follow import Follower
from penstock.cli.main import COMMANDS, parser_of


def penstock(
    *arguments: str, env: dict[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | (env or {})
    return run(PENSTOCK, *arguments, env=environment, timeout=timeout)


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


def follow(live, *options: str, run: str = "followed"):
    return penstock("follow", run, *options, env=live.environment())


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
    assert follow(live, run=execution).returncode == Exit.WAITS
    behind = live.client("codepipeline").start_pipeline_execution(name="followed")["pipelineExecutionId"]
    queued = start(PENSTOCK, "follow", behind, env=live.environment(), stdout=subprocess.PIPE, text=True)
    with queued.stdout as said:
        assert any(f"waits in front; run {execution[:8]} is inside" in line for line in said)
        queued.kill()
    queued.wait()
    live.client("codepipeline").stop_pipeline_execution(
        pipelineName="followed", pipelineExecutionId=execution, abandon=True, reason="enough"
    )
    assert follow(live, "--wait-approval", "--timeout", "20", run=execution).returncode == Exit.STOPPED
    assert follow(live, run=behind).returncode == Exit.WAITS
    decide(live, "Approved")


def test_follow_tells_programs_in_json(live, pipeline):
    execution = live.client("codepipeline").start_pipeline_execution(name="followed")["pipelineExecutionId"]
    told = follow(live, "--json", run=execution)
    assert told.returncode == Exit.WAITS, told.stderr
    said = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(one["kind"], one.get("status")) for one in said] == [
        ("action", "InProgress"),
        ("action", "Succeeded"),
        ("action", "InProgress"),
        ("approval", None),
    ]
    assert (said[0]["stage"], said[0]["action"], said[0]["provider"]) == ("Source", "Bucket", "S3")
    assert all(datetime.fromisoformat(one["at"]).tzinfo for one in said)
    assert said[-1]["command"].startswith(
        "aws codepipeline put-approval-result --pipeline-name followed --stage-name Ask"
    )
    decide(live, "Rejected")
    told = follow(live, "--json", run=execution)
    assert told.returncode == Exit.FAILED
    *_, failed, end = [json.loads(line) for line in told.stdout.splitlines()]
    assert (failed["status"], failed["message"], end) == ("Failed", "said", {**end, "kind": "end", "status": "Failed"})
    gone = follow(live, run="00000000-0000-4000-8000-000000000000")
    assert (gone.returncode, "does not have an execution" in gone.stderr) == (Exit.USAGE, True)


def test_a_terminal_gets_a_bar(live, pipeline):
    execution = live.client("codepipeline").start_pipeline_execution(name="followed")["pipelineExecutionId"]
    assert follow(live, run=execution).returncode == Exit.WAITS
    command = f"{sys.executable} -m penstock.cli.main follow {execution} --wait-approval --timeout 1"
    drawn = subprocess.run(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        env=os.environ | live.environment() | {"TERM": "xterm", "COLUMNS": "100"},
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert drawn.returncode == Exit.TIMED_OUT, drawn.stdout
    assert b"\r\x1b[K" in drawn.stdout
    assert " Ask, 2 of 2: Question 0" in drawn.stdout.decode()
    decide(live, "Rejected")


def test_follow_refuses_with_a_reason(live, tmp_path):
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
    build = builder.run(builder.project(commands("echo over here", "exit 3"), logsConfig={"cloudWatchLogs": place}))
    follower._log(build["logs"]["cloudWatchLogsArn"])
    printed = capsys.readouterr().out
    assert "│ over here\n" in printed
    # Of the service's own lines only those that say something stand between a run's lines.
    assert "│ $ echo over here\n" in printed
    assert "exit status 3" in printed
    assert "Entering phase" not in printed
    assert "[Container]" not in printed
    chatty = Follower(Clients.administrator(live.data_dir), "followed", all_lines=True)
    chatty._log(build["logs"]["cloudWatchLogsArn"])
    assert "Entering phase" in capsys.readouterr().out
    silent = builder.run(
        builder.project(commands("echo unheard"), logsConfig={"cloudWatchLogs": {"status": "DISABLED"}})
    )
    assert "cloudWatchLogsArn" not in silent["logs"]  # and so the action has no log to follow
    done = penstock("logs", silent["id"], "--follow", env=live.environment())
    assert (done.stdout, done.returncode) == ("", Exit.DONE)


def test_logs_prints_a_build_and_ends_as_it_did(live):
    builder = Builder(live)
    project = builder.project(commands("echo over here", "exit 3"))
    build = builder.run(project)
    for what in (build["id"], project):
        done = penstock("logs", what, "--follow", env=live.environment())
        assert "\nover here\n" in done.stdout
        assert "Entering phase BUILD" in done.stdout
        assert done.returncode == Exit.FAILED
    for what, sentence in (
        ("nothing", "no build project nothing"),
        ("d-ABCDEFGHI", "d-ABCDEFGHI"),
        ("a:b", "no build a:b"),
    ):
        done = penstock("logs", what, env=live.environment())
        assert done.returncode == Exit.USAGE
        assert sentence in done.stderr


def test_follow_says_when_things_happened_not_when_it_was_asked(live, pipeline, monkeypatch):
    """Far from the present, or the test would have to wait: the run's times are moved back in what the service answers."""
    from datetime import timedelta

    clients = Clients.administrator(live.data_dir)
    follower = Follower(clients, "followed")
    execution = live.client("codepipeline").start_pipeline_execution(name="followed")["pipelineExecutionId"]
    assert penstock("follow", execution, env=live.environment()).returncode == Exit.WAITS
    (action,) = [a for a in follower._actions(execution) if a["actionName"] == "Bucket"]
    earlier = timedelta(hours=-3, minutes=-7)
    times = [f"{(action[name] + earlier).astimezone():%H:%M:%S}" for name in ("startTime", "lastUpdateTime")]
    printed = []
    monkeypatch.setattr("penstock.cli.terminal.say", lambda text="": printed.append(text))
    follower._action(action | {name: action[name] + earlier for name in ("startTime", "lastUpdateTime")})
    assert [line[:8] for line in printed] == times
    decide(live, "Approved")


def test_follow_ends_at_the_approval_of_a_parallel_run_and_prints_the_line_that_approves(live, pipeline):
    codepipeline = live.client("codepipeline")
    declared = codepipeline.get_pipeline(name="followed")["pipeline"]
    declared |= {"name": "side-by-side", "executionMode": "PARALLEL", "pipelineType": "V2"}
    codepipeline.create_pipeline(pipeline=declared)
    executions = [codepipeline.start_pipeline_execution(name="side-by-side")["pipelineExecutionId"] for _ in range(2)]
    for execution in executions:
        done = penstock("follow", execution, env=live.environment())
        assert done.returncode == Exit.WAITS, done.stdout
        line = next(line for line in done.stdout.splitlines() if "put-approval-result" in line)
        bash = line.strip().replace("TEXT", "fine").replace("aws ", f"{Path(sys.executable).with_name('aws')} ", 1)
        environment = os.environ | live.environment()
        subprocess.run(["bash", "-c", bash], check=True, capture_output=True, timeout=60, env=environment)
        after = penstock("follow", execution, env=live.environment())
        assert after.returncode == Exit.DONE, after.stdout


def test_status_says_what_waits_and_what_failed(live, pipeline):
    execution = live.client("codepipeline").start_pipeline_execution(name="followed")["pipelineExecutionId"]
    assert follow(live, run=execution).returncode == Exit.WAITS
    done = penstock("status", env=live.environment())
    assert done.returncode == Exit.DONE, done.stderr
    assert "followed / Ask / Question for " in done.stdout
    found = json.loads(penstock("status", "--json", env=live.environment()).stdout)
    assert found["ready"] is True
    assert [one["pipeline"] for one in found["waiting"]] == ["followed"]
    decide(live, "Rejected")
    follow(live, run=execution)
    found = json.loads(penstock("status", "--json", env=live.environment()).stdout)
    assert found["waiting"] == []
    assert {"pipeline": "followed", "stage": "Ask"} in found["failed"]
    gone = penstock("status", env=live.environment() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert gone.returncode == Exit.USAGE
    assert gone.stderr.startswith("penstock status: ")


def test_a_user_gets_into_the_console_without_knowing_iam(live):
    """The link that `user add` prints lets its user choose a password, once; a link of a lost password does, too."""
    done = penstock("user", "add", "ada", "--admin", "--data-dir", str(live.data_dir))
    assert done.returncode == Exit.DONE, done.stderr
    link = next(line.strip() for line in done.stdout.splitlines() if "/console/welcome/" in line)
    other = penstock("user", "link", "ada", "--data-dir", str(live.data_dir)).stdout.splitlines()[1].strip()

    def post(address, **form):
        return httpx.post(address, data=form, headers={"origin": live.url}, follow_redirects=False)

    assert "ada" in httpx.get(link).text
    assert "The two passwords differ" in post(link, password="correct horse", again="correct house").text
    assert "minimum length of 8" in post(link, password="short", again="short").text
    evil = httpx.post(link, data={"password": "x" * 9, "again": "x" * 9}, headers={"origin": "http://evil.example"})
    assert evil.status_code == 403
    entered = post(link, password="correct horse", again="correct horse")
    assert entered.status_code == 303
    page = httpx.get(f"{live.url}/console/", cookies=entered.cookies, follow_redirects=True)
    assert page.status_code == 200
    for used in (link, other, link[:-2], f"{live.url}/console/welcome/x"):
        assert httpx.get(used).status_code == 403
        assert post(used, password="another horse", again="another horse").status_code == 403
    signing_in = {"account": "111111111111", "user": "ada", "password": "correct horse"}
    assert post(f"{live.url}/console/login", **signing_in).status_code == 303
    taken = penstock("user", "add", "ada", "--data-dir", str(live.data_dir))
    assert taken.returncode == Exit.USAGE
    assert "penstock user link ada" in taken.stderr
    assert "no user nobody" in penstock("user", "link", "nobody", "--data-dir", str(live.data_dir)).stderr
    live.client("iam").delete_login_profile(UserName="ada")
    assert post(other, password="another horse", again="another horse").status_code == 403
    reader = penstock("user", "add", "bob", "--data-dir", str(live.data_dir))
    assert "attach-user-policy --user-name bob" in reader.stdout


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("folow",), "Did you mean follow?"),
        (("follow", "x", "--tiemout", "3"), "Did you mean --timeout?"),
        (("up", "--prot", "3"), "Did you mean --port?"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(typed, meant):
    done = penstock(*typed)
    assert done.returncode == Exit.USAGE
    assert meant in done.stderr
    assert "penstock help" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_every_command_explains_itself():
    overview = penstock("help").stdout
    assert penstock("version").stdout == penstock("--version").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in overview
        assert f"usage: penstock {name}" in parser_of(name).format_help()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_completes_commands_and_options(shell):
    script = penstock("completion", shell).stdout.replace("autoload -U +X bashcompinit && bashcompinit\n", "")
    ask = "COMP_WORDS=({typed}); COMP_CWORD={at}; _penstock; echo ${{COMPREPLY[*]}}"
    for sentence, at, expected in (("penstock fol", 1, "follow"), ("penstock follow --wait", 2, "--wait-approval")):
        done = subprocess.run(
            ["bash", "-c", script + ask.format(typed=sentence, at=at)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected
    assert "__fish_seen_subcommand_from follow' -l timeout" in penstock("completion", "fish").stdout


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
    ("name", "content", "sentence"),
    [
        ("server.json", "{", "is damaged"),
        ("server.json", "[]", "is damaged"),
        ("server.json", None, "cannot read"),
        ("credentials", "[penstock]\n", "holds no access key"),
        ("credentials", None, "cannot read"),
    ],
)
def test_a_data_dir_that_cannot_be_read_is_reported_with_a_reason(live, tmp_path, command, name, content, sentence):
    for kept in ("server.json", "credentials"):
        (tmp_path / kept).write_bytes((live.data_dir / kept).read_bytes())
    (tmp_path / name).unlink()
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(content)
    done = penstock(*command, "--data-dir", str(tmp_path))
    assert done.returncode == Exit.USAGE
    assert sentence in done.stderr
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


def test_env_without_a_server_fails_closed(live, tmp_path):
    """What follows a failed `eval` reaches nothing: not the server of the shell's variables, whatever sends it there."""
    done = penstock("env", "--data-dir", str(tmp_path))
    assert done.returncode == Exit.USAGE
    assert "penstock up" in done.stderr
    aws = Path(sys.executable).with_name("aws")
    script = (
        f'eval "$({sys.executable} -m penstock.cli.main env --data-dir {tmp_path})" && echo went on; '
        f"{aws} sts get-caller-identity; {aws} s3api list-buckets"
    )
    foreign = live.environment() | {
        "AWS_ENDPOINT_URL_S3": live.url,
        "AWS_ENDPOINT_URL_STS": live.url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=os.environ | foreign, check=False
    )
    assert done.stdout == ""
    assert done.stderr.count("penstock-env-failed.invalid") == 2


def test_env_wins_over_endpoints_and_identities_that_the_shell_holds(live, tmp_path):
    foreign = {
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/foreign",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "AWS_DEFAULT_PROFILE": "foreign",
        "http_proxy": "http://127.0.0.1:1",
    }
    script = (
        f'eval "$({sys.executable} -m penstock.cli.main env --data-dir {live.data_dir})"; '
        f"{Path(sys.executable).with_name('aws')} sts get-caller-identity"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env=os.environ | foreign, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Account"] == "111111111111"


def test_a_proxy_of_the_shell_is_not_asked_for_this_machine(live):
    proxy = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    done = penstock("status", "--data-dir", str(live.data_dir), env=proxy)
    assert done.returncode == Exit.DONE, done.stderr


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
        row = "insert into journal (aggregate, account, region, sequence, at, seed, input, effects, actor, cause) values ('pipeline/x', '111111111111', 'us-east-1', ?, ?, 1, '{}', '[]', '', '')"
        database.executemany(row, [(1, 1000), (3, 2000)])
        job = "insert into jobs (id, kind, topic, account, region, payload, state, attempt, failures, due, error, created) values ('j', 'builds.run', '', '111111111111', 'us-east-1', '{}', 'ready', 1, 0, 9999999999999, ?, 1)"
        database.execute(job, ["its run is on another worker's disk"])
    database.close()
    data_dir.chmod(0o755)
    (data_dir / "server.json").write_text("{")
    key = tmp_path / "sick-master.key"
    done = penstock("doctor", "--data-dir", str(data_dir), "--master-key-file", str(key))
    assert done.returncode == Exit.FAILED
    assert "chmod 700" in done.stdout
    assert "entries are missing in pipeline/x" in done.stdout
    assert "1 builds wait: the run is on another worker's disk" in done.stdout
    assert "server.json is damaged" in done.stdout
    assert "certificate lasts" in done.stdout


def test_doctor_has_nothing_to_look_at(tmp_path):
    done = penstock("doctor", "--data-dir", str(tmp_path))
    assert done.returncode == Exit.USAGE
    assert "penstock up" in done.stderr
    nowhere = penstock("doctor", "--data-dir", str(tmp_path), "--database", "junk")
    assert nowhere.returncode == Exit.USAGE
    assert "argument --database" in nowhere.stderr


def test_a_database_that_does_not_answer_is_one_finding(tmp_path):
    done = penstock("doctor", "--data-dir", str(tmp_path), "--database", "postgresql://127.0.0.1:1/nowhere")
    assert done.returncode == Exit.FAILED
    assert done.stdout.count("the database cannot be read") == 1
    assert "sqlalche.me" not in done.stdout


@pytest.mark.parametrize("command", [("status",), ("follow", "x"), ("logs", "x"), ("jobs",)])
def test_a_shell_without_keys_or_server_is_shown_the_way_out(tmp_path, command):
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1"}
    without_key = penstock(*command, env=nowhere)
    assert without_key.returncode == Exit.USAGE
    assert 'eval "$(penstock env' in without_key.stderr
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example"}
    without_server = penstock(*command, env=nowhere | keys)
    assert without_server.returncode == Exit.USAGE
    assert "`penstock up` starts it" in without_server.stderr


def test_a_folder_without_a_server_is_shown_the_option_that_names_another(tmp_path):
    for command in (("env",), ("status",), ("doctor",), ("user", "add", "x")):
        assert "with --data-dir, or start one" in penstock(*command, "--data-dir", str(tmp_path)).stderr


def test_env_refuses_an_address_that_is_not_one():
    assert "is no address of a server" in penstock("env", "--url", "nonsense").stderr


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


def test_a_second_server_on_the_same_data_is_refused_and_pointed_to_postgresql(live, tmp_path):
    key = live.data_dir.parent / f"{live.data_dir.name}-master.key"
    done = penstock("up", "--data-dir", str(live.data_dir), "--port", "0", "--master-key-file", str(key))
    assert done.returncode == Exit.USAGE
    assert "PostgreSQL" in done.stderr
