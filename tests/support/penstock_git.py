"""Real git against a live server."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit


@dataclass
class Clone:
    """A working copy, and git run in it with no configuration of this machine."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def commit(self, text: str = "hello", name: str = "file.txt") -> str:
        """A commit with one changed file; its id."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)
        self("add", "-A")
        self("commit", "-q", "-m", text)
        return self("rev-parse", "HEAD").stdout.strip()


def git_environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ann",
        "GIT_AUTHOR_EMAIL": "ann@example.org",
        "GIT_COMMITTER_NAME": "Ann",
        "GIT_COMMITTER_EMAIL": "ann@example.org",
    }


def with_key(url: str, keys: dict[str, str]) -> str:
    """A URL that carries an access key."""
    parts = urlsplit(url)
    user = keys["aws_access_key_id"]
    if "aws_session_token" in keys:
        user += "%" + keys["aws_session_token"]
    return parts._replace(
        netloc=f"{quote(user, safe='')}:{quote(keys['aws_secret_access_key'], safe='')}@{parts.netloc}"
    ).geturl()
