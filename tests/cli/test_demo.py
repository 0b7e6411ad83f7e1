"""`penstock demo` in places and shells that other people have: a path with blanks, variables for AWS, git and proxies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Demo = Callable[..., subprocess.CompletedProcess[str]]
FOREIGN = {
    "AWS_PROFILE": "foreign",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_CA_BUNDLE": "/nonexistent",
    "GIT_DIR": "/nonexistent",
    "http_proxy": "http://127.0.0.1:1",
    "HTTP_PROXY": "http://127.0.0.1:1",
}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Runs `penstock demo` below a folder with a blank, as a user whose git signs commits and has no name."""
    folder = tmp_path / "my projects"
    folder.mkdir()
    (folder / ".gitconfig").write_text("[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = /nonexistent\n")

    def run(*options: str, data_dir: str = "demo data") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "penstock.cli.main", "demo", "--data-dir", data_dir, "--port", "0", *options]
        environment = os.environ | FOREIGN | {"HOME": str(folder)}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
        )

    yield run
    run("--stop")


def test_it_needs_nothing_of_the_shell_that_it_is_started_in(demo: Demo):
    done = demo("--yes")
    assert done.returncode == 0, done.stderr
    assert "web-3 serves version 1.0.0" in done.stdout
    assert "`penstock demo --stop --data-dir 'demo data'` ends it" in done.stdout
    assert "/demo data/server')\"\n" in done.stdout  # the line for the AWS CLI can be pasted


def test_one_that_cannot_start_says_why_and_leaves_nothing_behind(demo: Demo):
    done = demo("--yes", data_dir="/proc/nowhere")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("demo: /proc/nowhere")


def test_one_that_breaks_off_says_what_runs_and_how_to_end_it(demo: Demo):
    done = demo("--timeout", "0.5")
    assert done.returncode == 2
    assert "What has started keeps running; its logs are in" in done.stderr
    assert "`penstock demo --stop --data-dir 'demo data'` ends it" in done.stderr
