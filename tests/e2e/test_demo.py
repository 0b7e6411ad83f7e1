"""The end-to-end scenario, as `make demo` plays it: a commit becomes a release on three hosts, and a bad one is rolled back.

It is played where other people are: in a path with blanks, and a shell that has variables for AWS, git and proxies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

OURS = {"penstock"}  # services of our own that the demo may call: modelled, signed and authorised like AWS's
FOREIGN = {
    "AWS_PROFILE": "foreign",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_CA_BUNDLE": "/nonexistent",
    "GIT_DIR": "/nonexistent",
    "http_proxy": "http://127.0.0.1:1",
    "HTTP_PROXY": "http://127.0.0.1:1",
}
Demo = Callable[..., subprocess.CompletedProcess[str]]


def shell(folder: Path) -> Demo:
    """Runs `penstock demo` below a folder with a blank, as a user whose git signs commits and has no name."""
    home = folder / "my projects"
    home.mkdir()
    (home / ".gitconfig").write_text("[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = /nonexistent\n")

    def demo(*options: str, data_dir: str = "demo data") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "penstock.cli.main", "demo", "--data-dir", data_dir, "--port", "0", *options]
        environment = os.environ | FOREIGN | {"HOME": str(home)}
        return subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=110, check=False
        )

    return demo


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Demo, subprocess.CompletedProcess[str]]]:
    """A demo that ran to its end and still runs."""
    place = tmp_path_factory.mktemp("demo")
    demo = shell(place)
    done = demo("--yes")
    try:
        yield place / "my projects" / "demo data", demo, done
    finally:
        stopped = demo("--stop")
        assert stopped.returncode == 0, stopped.stderr


def test_a_commit_becomes_a_release_on_three_hosts(played):
    folder, _, done = played
    assert done.returncode == 0, done.stdout + done.stderr
    for message in ("Source succeeded", "Build succeeded", "approved by --yes", "Deploy succeeded"):
        assert message in done.stdout
    assert "web-3 serves version 1.0.0" in done.stdout
    assert "`penstock demo --stop --data-dir 'demo data'` ends it" in done.stdout
    assert "/demo data/server')\"\n" in done.stdout  # the line for the AWS CLI can be pasted
    state = json.loads((folder / "demo.json").read_bytes())
    for name, port in state["ports"].items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            page = answer.read().decode()
        assert "version 1.0.0" in page
        assert name in page


def test_the_release_carries_the_commit_that_was_pushed(played):
    folder, _, _ = played
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder / "hello-web", capture_output=True, text=True, check=True
    ).stdout
    port = json.loads((folder / "demo.json").read_bytes())["ports"]["web-1"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
        assert json.loads(answer.read())["commit"] == commit[:12]


def test_the_demo_uses_registered_operations_and_nothing_else(played):
    folder, _, _ = played
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
    folder, _, _ = played
    state = json.loads((folder / "demo.json").read_bytes())
    secrets = [value for key in state["keys"].values() for name, value in key.items() if name in ("secret", "password")]
    texts = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".log", ".jsonl", ".out")]
    assert len(texts) > 4
    for path in texts:
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, f"{path.name} holds a secret"


def test_a_bad_release_stops_at_the_first_host_and_is_rolled_back(played):
    _, demo, first = played
    assert first.returncode == 0, first.stdout + first.stderr
    done = demo("--yes", "--rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed on 1 of 3 hosts" in done.stdout
    assert ", 0 failed" in done.stdout
    assert "rolled back" in done.stdout


def test_one_that_cannot_start_says_why_and_leaves_nothing_behind(tmp_path: Path):
    done = shell(tmp_path)("--yes", data_dir="/proc/nowhere")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("demo: /proc/nowhere")


def test_one_that_breaks_off_says_what_runs_and_how_to_end_it(tmp_path: Path):
    demo = shell(tmp_path)
    try:
        done = demo("--timeout", "0.5")
        assert done.returncode == 2
        assert "What has started keeps running; its logs are in" in done.stderr
        assert "`penstock demo --stop --data-dir 'demo data'` ends it" in done.stderr
    finally:
        demo("--stop")
