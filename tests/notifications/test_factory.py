"""examples/software-factory, taken as it is: what people are sent by mail while runs pass, fail and are changed."""

import email
import email.policy
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from penstock_git import git_environment, with_key
from penstock_live import live_server
from penstock_ports import reserved_port
from penstock_waiting import until

from penstock.topics.mail_settings import MailSettings

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "software-factory"
EVENTS = [json.loads(line) for line in (Path(__file__).parents[1] / "golden" / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("rule", ["factory-runs", "factory-builds"])
def test_patterns_and_paths_name_members_that_events_have(rule):
    pattern = json.loads((EXAMPLE / f"{rule}.json").read_text())
    ((target),) = json.loads((EXAMPLE / f"{rule}.targets.json").read_text())
    of_kind = [one["payload"] for one in EVENTS if set(pattern["detail"]) <= set(one["payload"])]
    assert of_kind
    known = {name for detail in of_kind for name in detail}
    paths = target["InputTransformer"]["InputPathsMap"]
    assert {path.removeprefix("$.detail.") for path in paths.values()} <= known
    assert set(re.findall(r"<(\w+)>", target["InputTransformer"]["InputTemplate"])) == set(paths)


class Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, _server, _session, envelope):
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"

    def text(self):
        return "\n".join(mail.get_body(("plain",)).get_content() for mail in self.mails)


@pytest.fixture
def factory(tmp_path):
    """A server that sends mail, and the mailbox of everybody."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=reserved_port())
    controller.start()
    mail = MailSettings(smtp_host="127.0.0.1", smtp_port=controller.port, smtp_security="none")
    try:
        with live_server(tmp_path / "data", components=(mail,)) as live:
            yield live, mailbox
    finally:
        controller.stop()


def set_up(live, *addresses):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", str(EXAMPLE / "factory.sh"), *addresses],
        env={**live.environment(), "PATH": path}, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip


@pytest.mark.prove  # thirty processes of the AWS CLI, each of which imports it, and four builds
@pytest.mark.timeout(600)
def test_people_get_mail_of_approvals_builds_failures_and_changes(factory, tmp_path):
    live, mailbox = factory
    done = set_up(live, "ann@example.com")
    assert done.returncode == 0, done.stderr
    link = until(lambda: re.search(r"https?://\S+/v1/topics/confirm\?\S+", mailbox.text()), why=mailbox.text)[0]
    with urllib.request.urlopen(urllib.request.Request(link, method="POST"), timeout=30) as answer:
        assert answer.status == 200

    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    shutil.copytree(EXAMPLE / "source", work)
    remote = f"{with_key(live.url, live.keys())}/v1/repos/factory"

    def push(message):
        for command in (
            ["init", "-q", "-b", "main"],
            ["add", "."],
            ["commit", "-qm", message],
            ["push", "-q", remote, "main"],
        ):
            subprocess.run(["git", *command], cwd=work, env=git_environment(home), check=True, timeout=60)

    push("Say hello")
    until(lambda: "The scan has found nothing in 'Say hello" in mailbox.text(), why=mailbox.text)
    until(lambda: "Build of factory-scan: SUCCEEDED" in mailbox.text(), why=mailbox.text)
    pipelines = live.client("codepipeline")
    stages = pipelines.get_pipeline_state(name="factory")["stageStates"]
    token = stages[2]["actionStates"][0]["latestExecution"]["token"]
    pipelines.put_approval_result(
        pipelineName="factory", stageName="Approve", actionName="Approve", token=token,
        result={"summary": "good", "status": "Approved"},
    )  # fmt: skip
    until(lambda: "Build of factory-release: SUCCEEDED" in mailbox.text(), why=mailbox.text)

    (work / "settings.ini").write_text("key = AKIAIOSFODNN7EXAMPLE\n")
    push("Add a setting")
    until(lambda: re.search(r"Pipeline factory, run \S+, stage Scan: FAILED", mailbox.text()), why=mailbox.text)
    until(lambda: "Build of factory-scan: FAILED" in mailbox.text(), why=mailbox.text)

    live.client("codebuild").update_project(name="factory-release", description="for all shops")
    changed = until(lambda: re.search(r"arn:aws:\S+ called UpdateProject from 127.0.0.1 at \S+", mailbox.text()))
    assert changed

    again = set_up(live, "ann@example.com", "bob@example.com")
    assert again.returncode == 0, again.stderr
    topic = live.client("sns").list_topics()["Topics"][0]["TopicArn"]
    subscribed = live.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert {one["Endpoint"] for one in subscribed} == {"ann@example.com", "bob@example.com"}
