"""Kill -9 at each crash point of the trail, and in the middle of calls: what was answered is on record, once, and the chain holds."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions
import pytest
from penstock_starter import PENSTOCK, run, start
from penstock_waiting import until

from penstock.store.failpoints import points

POINTS = [point for point in points() if point.startswith("audit.")]


class Server:
    """A server of its own that can be killed."""

    def __init__(self, folder: Path, crash: str = "") -> None:
        self.data = folder / "data"
        self.keys = folder / "keys" / "master.key"
        self.log = (folder / "log").open("ab")
        environment = {**os.environ, "PENSTOCK_CRASH_POINT": crash}
        (self.data / "server.json").unlink(missing_ok=True)
        arguments = (
            "--data-dir",
            str(self.data),
            "--port",
            "0",
            "--master-key-file",
            str(self.keys),
            "--builds",
            "0",
        )
        self.process = start(PENSTOCK, "up", *arguments, env=environment, stdout=self.log, stderr=self.log)

    def client(self, service: str):
        until(lambda: (self.data / "server.json").exists() or self.process.poll() is not None)
        facts = json.loads((self.data / "server.json").read_text())
        lines = dict(
            line.split(" = ") for line in (self.data / "credentials").read_text().splitlines() if " = " in line
        )
        config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=10)
        return boto3.client(
            service, endpoint_url=facts["url"], region_name="us-east-1", config=config,
            aws_access_key_id=lines["aws_access_key_id"], aws_secret_access_key=lines["aws_secret_access_key"],
        )  # fmt: skip

    def end(self, number: int) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        self.process.wait(60)
        self.log.close()

    def exported(self) -> list[str]:
        done = run(PENSTOCK, "audit", "export", "--data-dir", str(self.data))
        assert done.returncode == 0, done.stderr
        records = map(json.loads, done.stdout.splitlines())
        return [
            one["requestParameters"]["userName"]
            for one in records
            if one["eventName"] == "CreateUser" and "errorCode" not in one
        ]

    def verified(self) -> dict[str, object]:
        done = run(
            PENSTOCK, "audit", "verify", "--data-dir", str(self.data), "--master-key-file", str(self.keys), "--json"
        )
        return json.loads(done.stdout)


def test_what_was_answered_before_a_kill_is_on_record(tmp_path):
    server = Server(tmp_path)
    iam, names = None, [f"user-{number}" for number in range(12)]
    until(lambda: _answers(server))
    iam = server.client("iam")
    for name in names:
        iam.create_user(UserName=name)
    server.end(signal.SIGKILL)  # the moment after the last answer
    assert server.exported() == names
    assert server.verified()["faults"] == []
    (chain,) = (server.data / "audit").glob("*.chain")
    with chain.open("ab") as file:  # as a power failure leaves what was not synced
        file.write(b"\0" * 600 + b"the end of a line\n")
    assert server.exported() == names
    found = server.verified()
    assert (found["faults"], ["is a gap" in note for note in found["notes"]]) == ([], [True])

    again = Server(tmp_path)
    until(lambda: _answers(again))
    again.client("iam").create_user(UserName="later")
    until(lambda: len(list((again.data / "audit").glob("*.chain"))) == 1)  # what was left behind is moved on
    again.end(signal.SIGTERM)
    assert again.exported() == [*names, "later"]
    found = again.verified()
    assert found["faults"] == []
    assert any("ended without closing it" in note for note in found["notes"])


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_while_lines_are_moved_on_loses_and_repeats_none(tmp_path, point):
    first = Server(tmp_path)
    until(lambda: _answers(first))
    first.client("iam").create_user(UserName="before")
    first.end(signal.SIGKILL)
    dying = Server(tmp_path, crash=point)
    assert until(lambda: dying.process.poll()) == -signal.SIGKILL
    dying.end(signal.SIGKILL)
    assert dying.verified()["faults"] == []
    last = Server(tmp_path)
    until(lambda: len(list((last.data / "audit").glob("*.chain"))) <= 1 and _answers(last))
    last.end(signal.SIGTERM)
    assert last.exported() == ["before"]
    assert last.verified()["faults"] == []


def _answers(server: Server) -> bool:
    assert server.process.poll() is None, (server.data.parent / "log").read_text()
    if not (server.data / "server.json").exists():
        return False
    try:
        server.client("sts").get_caller_identity()
    except botocore.exceptions.EndpointConnectionError:
        return False
    return True
