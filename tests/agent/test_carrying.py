"""From a command to its one result, in this process: what is written down before what is said and done, and what each answer leads to."""

import hashlib
import json
import os
import threading
from types import SimpleNamespace

import pytest

from penstock_agent import commands
from penstock_agent.commands import RESTARTED, Commands, s3_fetch
from penstock_agent.connection import Unreachable
from penstock_agent.events import Outcome
from penstock_agent.failures import FAILED_AFTER_RESTART, SCRIPT_FAILED, UNKNOWN_ERROR, BundleRefused, CommandFailure
from penstock_agent.layout import Layout
from penstock_agent.service import Refused
from penstock_agent.specification import Revision
from penstock_agent.spool import Spool

COMMAND = {"HostCommandIdentifier": "d-1.0.0.n", "DeploymentExecutionId": "x/d-1", "CommandName": "Install"}


class Stage:
    """Commands of one host; `steps` is all that happens, in order."""

    def __init__(self, path, monkeypatch):
        Layout(str(path)).prepare()
        self.steps, self.noop, self.outcome, self.refusal, self.disk = [], False, Outcome(), None, None
        self.status = "InProgress"
        self.answers = {}
        self.spool = Spool(str(path))
        for name in ("write", "finish", "forget"):
            monkeypatch.setattr(self.spool, name, self.noted(name, getattr(self.spool, name)))
        service = SimpleNamespace(call=self.call, specification=lambda _execution: {}, now_ms=lambda: 5)
        events = SimpleNamespace(is_noop=self.is_noop, run=self.work)
        replays = SimpleNamespace(
            check=self.check, ran=lambda record, _found: self.steps.append(("ran", record["event"]))
        )
        self.commands = Commands(service, events, self.spool, (), threading.Event(), replays)
        found = SimpleNamespace(deployment_id="d-1", group_name="web", application_name="shop", issued_for=None)
        monkeypatch.setattr(commands, "open_specification", lambda _answer, _pinned: found)

    def noted(self, name, real):
        def call(given):
            if name == "write":
                self.steps.append((name, given["state"]))
                if self.disk == given["state"]:
                    raise OSError(28, "No space left on device")
            else:
                self.steps.append((name, given if name == "forget" else given["id"]))
            real(given)

        return call

    def check(self, record, _found, now_ms):
        assert now_ms == 5
        if self.refusal:
            raise self.refusal

    def is_noop(self, _work):
        return self.noop

    def work(self, work, progress):
        assert "d-1.0.0.n" in self.commands.executing
        self.steps.append(("work", work.event))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def call(self, operation, body):
        said = json.loads(body["Diagnostics"]["Payload"])
        if operation == "PutHostCommandAcknowledgement":
            self.steps.append(("acknowledge", body["HostCommandIdentifier"], said["IsCommandNoop"]))
        else:
            self.steps.append(
                (
                    "complete",
                    body["CommandStatus"],
                    said["error_code"],
                    said["message"],
                    said["script_name"],
                    said["log"],
                )
            )
        waiting = self.answers.get(operation, [])
        if waiting:
            answer = waiting.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return {"CommandStatus": self.status} if "Acknowledgement" in operation else {}

    def run(self):
        self.commands.run(COMMAND)
        assert self.commands.executing == set()
        return self.steps

    def completed(self, *said):
        return [("write", "completed"), ("complete", *said), ("finish", "d-1.0.0.n")]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return Stage(tmp_path, monkeypatch)


BEGUN = [("write", "acknowledging"), ("acknowledge", "d-1.0.0.n", False)]
WORKED = [*BEGUN, ("write", "running"), ("ran", "Install"), ("work", "Install")]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(), ("Succeeded", 0, "Succeeded", "", "")),
        (Outcome("archive-reuse", "said\n"), ("Succeeded", 0, "Succeeded: archive-reuse", "", "said\n")),
        (CommandFailure("no", code=SCRIPT_FAILED, script="a.sh"), ("Failed", SCRIPT_FAILED, "no", "a.sh", "")),
        (
            ValueError("odd"),
            (
                "Failed",
                UNKNOWN_ERROR,
                "The agent could not carry out Install: the agent met a case that it does not handle (its log has the details).",
                "",
                "",
            ),
        ),
    ],
)
def test_a_command_is_written_down_before_each_of_its_steps(stage, outcome, said):
    stage.outcome = outcome
    assert stage.run() == [*WORKED, *stage.completed(*said)]
    [record] = stage.spool.history()
    assert {name: record[name] for name in ("deployment", "group", "application", "event", "status", "code")} == {
        "deployment": "d-1", "group": "web", "application": "shop", "event": "Install", "status": said[0], "code": said[1],
    }  # fmt: skip
    assert record["finished"] >= record["taken"]
    assert stage.spool.pending() == []


def test_what_a_failed_script_said_is_reported(stage):
    stage.outcome = CommandFailure("no", code=SCRIPT_FAILED, script="a.sh")
    stage.outcome.log = "its last words\n"
    assert stage.run()[-2] == ("complete", "Failed", SCRIPT_FAILED, "no", "a.sh", "its last words\n")


def test_an_event_that_has_nothing_to_do_is_not_written_down_as_running(stage):
    stage.noop = True
    acknowledged = [("write", "acknowledging"), ("acknowledge", "d-1.0.0.n", True)]
    done = stage.completed("Succeeded", 0, "Succeeded", "", "")
    assert stage.run() == [*acknowledged, ("work", "Install"), *done]
    stage.steps.clear()
    stage.status = "Failed"
    done = stage.completed("Succeeded", 0, "Succeeded: CompletedNoopCommand", "", "")
    assert stage.run() == [*acknowledged, *done]


@pytest.mark.parametrize("status", ["Failed", "Succeeded"])
def test_a_command_that_another_has_is_dropped(stage, status):
    stage.status = status
    assert stage.run() == [*BEGUN, ("forget", "d-1.0.0.n")]
    assert stage.spool.pending() == []


def test_an_acknowledgement_that_is_refused_for_good_is_dropped(stage):
    stage.answers["PutHostCommandAcknowledgement"] = [Refused("ValidationException", "", 400)]
    assert stage.run() == [*BEGUN, ("forget", "d-1.0.0.n")]


def test_an_answer_without_a_status_lets_the_command_run(stage):
    stage.answers["PutHostCommandAcknowledgement"] = [{}]
    assert stage.run()[: len(WORKED)] == WORKED


@pytest.mark.parametrize("lost", [Unreachable("x"), Refused("HTTP503", "", 503)])
def test_a_command_whose_acknowledgement_may_have_been_taken_is_not_left_waiting(stage, monkeypatch, lost):
    monkeypatch.setattr(commands.Backoff, "next", lambda _self: 0.0)
    stage.answers["PutHostCommandAcknowledgement"] = [lost, {"CommandStatus": "Failed"}]
    done = stage.completed("Failed", FAILED_AFTER_RESTART, RESTARTED, "", "")
    assert stage.run() == [*BEGUN, BEGUN[1], *done]


def test_a_command_that_may_not_be_carried_out_is_failed_at_once(stage):
    stage.refusal = CommandFailure("it was signed for another host")
    done = stage.completed("Failed", UNKNOWN_ERROR, "it was signed for another host", "", "")
    assert stage.run() == done


@pytest.mark.parametrize(("state", "begun"), [("acknowledging", []), ("running", BEGUN)])
def test_nothing_is_done_that_cannot_be_written_down(stage, state, begun):
    stage.disk = state
    said = (
        "The agent did not run Install, because it cannot write to its directory (root_dir): the disk is full; make room on it and "
        "deploy again."
    )
    tried = [*begun, ("write", state)]
    assert stage.run() == [*tried, *stage.completed("Failed", UNKNOWN_ERROR, said, "", "")]


def test_a_result_that_cannot_be_kept_is_reported_all_the_same(stage):
    stage.disk = "completed"
    assert stage.run()[-3:] == stage.completed("Succeeded", 0, "Succeeded", "", "")


def test_a_result_that_is_refused_for_good_is_filed(stage):
    stage.answers["PutHostCommandComplete"] = [Refused("ValidationException", "", 400)]
    assert stage.run()[-1] == ("finish", "d-1.0.0.n")


# --- after a restart --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        ("completed", [("complete", "Failed", 4, "m", "s", "l"), ("finish", "d-1.0.0.n")]),
        ("running", [("write", "completed"), ("complete", "Failed", 7, RESTARTED, "", ""), ("finish", "d-1.0.0.n")]),
        ("acknowledging", [*WORKED, ("write", "completed"), ("complete", "Succeeded", 0, "Succeeded", "", ""), ("finish", "d-1.0.0.n")]),
    ],
)  # fmt: skip
def test_what_a_former_run_left_is_taken_up_where_it_was(stage, state, steps):
    record = {
        "id": "d-1.0.0.n",
        "execution": "x/d-1",
        "event": "Install",
        "taken": 1,
        "state": state,
        "status": "Failed",
    }
    record["diagnostics"] = commands.diagnostics.result(4, "m", script="s", log="l")
    stage.spool.write(record)
    stage.steps.clear()
    stage.commands.resume(record)
    assert stage.steps == steps


def test_an_acknowledgement_of_a_former_run_may_have_been_the_one_that_won(stage):
    record = {"id": "d-1.0.0.n", "execution": "x/d-1", "event": "Install", "taken": 1, "state": "acknowledging"}
    stage.spool.write(record)
    stage.steps.clear()
    stage.status = "Failed"
    stage.commands.resume(record)
    assert stage.steps == [*BEGUN, *stage.completed("Failed", FAILED_AFTER_RESTART, RESTARTED, "", "")]


def test_a_result_that_the_service_lost_is_reported_again(stage):
    stage.run()
    [record] = stage.spool.history()
    stage.spool.write(record)
    stage.steps.clear()
    stage.commands.repeat(record)
    assert stage.steps == [("complete", "Succeeded", 0, "Succeeded", "", ""), ("finish", "d-1.0.0.n")]
    stage.steps.clear()
    stage.commands.repeat({"id": "d-1.0.0.n"})
    assert stage.steps == []


# --- bundles ----------------------------------------------------------------------------------------------------------


class Bucket:
    """An S3 that gives its answers in turn; `path` is where a deployment's bundle lies."""

    private = True

    def __init__(self, path, *answers, etag="e"):
        self.answers, self.asked, self.etag = list(answers), [], etag
        self.deployment = SimpleNamespace(bundle=str(path / "bundle"))

    def get(self, bucket, key, version, take):
        self.asked.append((bucket, key, version))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        take(SimpleNamespace(headers={"etag": f'"{self.etag}"'}, blocks=lambda: iter(answer)))

    def fetch(self, limit=100, stops=False, **more):
        revision = Revision("S3", "tgz", "b", "k", "v", **more)
        self.waited = []
        quits = SimpleNamespace(wait=lambda seconds: self.waited.append(seconds) or stops)
        return s3_fetch(self, limit, quits)(SimpleNamespace(revision=revision), self.deployment)

    def bundle(self):
        with open(self.deployment.bundle, "rb") as file:
            return file.read()


SHA = hashlib.sha256(b"onetwo").hexdigest()


def test_a_bundle_is_what_its_digest_and_its_bound_say(tmp_path):
    bucket = Bucket(tmp_path, [b"one", b"two"])
    assert bucket.fetch(sha256=SHA, limit=6) == "e"
    assert (bucket.bundle(), bucket.asked) == (b"onetwo", [("b", "k", "v")])
    said = r"^The bundle is larger than 5 bytes\. When that is right, raise limits\.bundle_bytes in the agent's configuration\.$"
    with pytest.raises(BundleRefused, match=said):
        Bucket(tmp_path, [b"one", b"two"]).fetch(limit=5)
    with pytest.raises(BundleRefused, match=f"s3://b/k is not the one that was deployed: its SHA-256 is {SHA}"):
        Bucket(tmp_path, [b"one", b"two"]).fetch(sha256="0" * 64)


@pytest.mark.parametrize(
    ("etag", "sha256", "there", "said"),
    [("e", "", "e", ""), ("e", "", "f", 'Expected deployment artifact bundle etag e but was actually "f"'), ("e", SHA, "f", ""), ("", "", "f", "")],
)  # fmt: skip
def test_an_etag_counts_where_there_is_no_digest(tmp_path, etag, sha256, there, said):
    bucket = Bucket(tmp_path, [b"onetwo"], etag=there)
    if said:
        with pytest.raises(BundleRefused, match=f"^{said}$"):
            bucket.fetch(etag=etag)
    else:
        assert bucket.fetch(etag=etag, sha256=sha256) == there


def test_what_anybody_could_replace_is_not_fetched(tmp_path):
    bucket = Bucket(tmp_path, [b"onetwo"], [b"onetwo"])
    bucket.private = False
    with pytest.raises(
        BundleRefused, match="would come over plain HTTP, and the deployment does not say what its SHA-256 is"
    ):
        bucket.fetch()
    assert bucket.asked == []
    assert bucket.fetch(sha256=SHA) == "e"


BROKEN, BUSY, MISSING = (
    Refused("InternalError", "", 500),
    Refused("SlowDown", "", 429),
    Refused("NoSuchKey", "none", 404),
)


@pytest.mark.parametrize("passing", [BROKEN, BUSY, Unreachable("gone")])
def test_a_bundle_is_asked_for_five_times(tmp_path, monkeypatch, passing):
    monkeypatch.setattr(commands.os, "urandom", lambda count: b"\x80\0"[:count])
    bucket = Bucket(tmp_path, *[passing] * 4, [b"onetwo"])
    assert bucket.fetch() == "e"
    assert [round(seconds, 1) for seconds in bucket.waited] == [0.1, 0.2, 0.4, 0.8]
    bucket = Bucket(tmp_path, *[passing] * 5)
    with pytest.raises(BundleRefused, match="^Could not download bundle at 's3://b/k' after 5 tries: "):
        bucket.fetch()
    assert len(bucket.waited) == 4
    bucket = Bucket(tmp_path, passing, [b"onetwo"])
    with pytest.raises(BundleRefused, match="^The agent was stopped while it downloaded the bundle.$"):
        bucket.fetch(stops=True)


def test_a_bundle_that_is_not_there_is_asked_for_once(tmp_path):
    bucket = Bucket(tmp_path, MISSING)
    with pytest.raises(BundleRefused, match="^The bundle s3://b/k could not be downloaded: NoSuchKey: none$"):
        bucket.fetch()
    assert bucket.waited == []


def test_a_bundle_of_an_earlier_try_is_written_over(tmp_path):
    bucket = Bucket(tmp_path, [b"one", b"two"])
    with open(bucket.deployment.bundle, "wb") as file:
        file.write(b"x" * 1000)
    bucket.fetch()
    assert os.path.getsize(bucket.deployment.bundle) == 6


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(0, "15"), (1, "15"), (2, "15"), (3, "156"), (4, "1456"), (5, "13456"), (6, "123456"), (9, "123456")],
)
def test_the_newest_revisions_are_kept_and_the_two_that_are_needed(tmp_path, keep, kept):
    layout = Layout(str(tmp_path))
    layout.prepare()
    group = layout.group("g")
    revisions = [layout.deployment("g", f"d-{number}") for number in range(1, 7)]
    for age, revision in enumerate(revisions):
        os.makedirs(revision.directory)
        os.utime(revision.directory, (1000 + age, 1000 + age))
    group.set_last_successful(revisions[0])
    group.retain(revisions[4], keep)
    assert sorted(os.listdir(group.directory)) == [f"d-{number}" for number in kept]
