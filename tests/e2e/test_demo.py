"""The end-to-end scenario, as `make demo` plays it: a commit becomes a release on three hosts, and a bad one is rolled back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

OURS = {"penstock"}  # services of our own that the demo may call: modelled, signed and authorised like AWS's


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock.cli.main", "demo", "--data-dir", str(folder), "--port", "0", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment, check=False)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A demo that ran to its end and still runs."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    done = demo(folder, "--yes")
    try:
        yield folder, done
    finally:
        stopped = demo(folder, "--stop")
        assert stopped.returncode == 0, stopped.stderr


def test_a_commit_becomes_a_release_on_three_hosts(played):
    folder, done = played
    assert done.returncode == 0, done.stdout + done.stderr
    for message in ("Source succeeded", "Build succeeded", "approved by --yes", "Deploy succeeded"):
        assert message in done.stdout
    state = json.loads((folder / "demo.json").read_bytes())
    for name, port in state["ports"].items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            page = answer.read().decode()
        assert "version 1.0.0" in page
        assert name in page


def test_the_release_carries_the_commit_that_was_pushed(played):
    folder, _ = played
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder / "hello-web", capture_output=True, text=True, check=True
    ).stdout
    port = json.loads((folder / "demo.json").read_bytes())["ports"]["web-1"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        assert json.loads(answer.read())["commit"] == commit[:12]


def test_the_demo_uses_registered_operations_and_nothing_else(played):
    folder, _ = played
    lines = [json.loads(line) for line in (folder / "server" / "logs" / "requests.jsonl").read_text().splitlines()]
    reference = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "operations.md").read_text()
    used = {(line["service"], line["operation"]) for line in lines if line["via"] != "git"}
    assert {line["via"] for line in lines} == {"http", "invoke", "git"}
    assert {service for service, _ in used} >= {
        "codecommit",
        "codebuild",
        "codedeploy",
        "codepipeline",
        "iam",
        "s3",
        "logs",
    }
    for service, operation in used:
        assert service, "a request that no service took"
        assert f"| {operation} |" in reference, f"{service}:{operation} is not in the generated reference"
    assert not [line for line in lines if line["status"] >= 500]


def test_no_secret_reached_a_log(played):
    folder, _ = played
    state = json.loads((folder / "demo.json").read_bytes())
    secrets = [value for key in state["keys"].values() for name, value in key.items() if name in ("secret", "password")]
    texts = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".log", ".jsonl", ".out")]
    assert len(texts) > 4
    for path in texts:
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, f"{path.name} holds a secret"


def test_a_bad_release_stops_at_the_first_host_and_is_rolled_back(played):
    folder, first = played
    assert first.returncode == 0, first.stdout + first.stderr
    done = demo(folder, "--yes", "--rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed on 1 of 3 hosts" in done.stdout
    assert ", 0 failed" in done.stdout
    assert "rolled back" in done.stdout
