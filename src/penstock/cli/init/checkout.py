"""The Git side of `penstock init`: what branch the project is on, the commit of what was written, and the push."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from penstock.cli.clients import Clients

REMOTE = "penstock"
_SECONDS = 300
_IDENTITY = ("-c", "user.name=penstock init", "-c", "user.email=penstock-init@localhost")
# The key goes through the environment: others see the arguments of a process.
_HELPER = '!f() { test "$1" = get && echo "username=$PENSTOCK_GIT_USER" && echo "password=$PENSTOCK_GIT_PASSWORD"; }; f'


class GitError(Exception):
    """Git refused something; its own words say why."""


class Checkout:
    """A folder that is a Git repository, or becomes one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether the folder is the top of a repository."""
        return (self.folder / ".git").exists()

    def branch(self) -> str:
        """The branch that is checked out; main where there is none."""
        found = self._run("symbolic-ref", "--quiet", "--short", "HEAD", check=False) if self.exists else ""
        return found or "main"

    def commit(self, paths: Sequence[str]) -> bool:
        """Commit these files, or everything when it is the first commit; whether there was something to commit."""
        if not self.exists:
            self._run("init", "--quiet", "--initial-branch=main")
        first = not self._run("rev-parse", "--verify", "--quiet", "HEAD", check=False)
        which = ["--all"] if first else ["--", *paths]
        self._run("add", *which)
        of = [] if first else ["--", *paths]
        if not first and not self._run("status", "--porcelain", *of):
            return False
        identity = () if self._run("config", "user.email", check=False) else _IDENTITY
        self._run(*identity, "commit", "--quiet", "--message", "Deliver this project by a pipeline", *of)
        return True

    def push(self, clients: Clients, repository: str, branch: str) -> bool:
        """Push the branch to the server, as the caller of `clients`; whether the server had not had all of it."""
        url = f"{clients.url}/v1/repos/{repository}"
        known = self._run("remote", "get-url", REMOTE, check=False)
        if known != url:
            self._run("remote", *(("set-url", REMOTE, url) if known else ("add", REMOTE, url)))
        key = clients.session.get_credentials()
        if key is None:
            raise GitError("there are no credentials for the push")
        frozen = key.get_frozen_credentials()
        user = f"{frozen.access_key}%{frozen.token}" if frozen.token else frozen.access_key
        more = {"PENSTOCK_GIT_USER": user, "PENSTOCK_GIT_PASSWORD": frozen.secret_key, "GIT_TERMINAL_PROMPT": "0"}
        if clients.ca_file:
            more["GIT_SSL_CAINFO"] = clients.ca_file
        helpers = ("-c", "credential.helper=", "-c", f"credential.helper={_HELPER}")
        said = self._run(*helpers, "push", "--porcelain", REMOTE, f"HEAD:refs/heads/{branch}", more=more)
        return not any(line.startswith("=") for line in said.splitlines())

    def _run(self, *arguments: str, check: bool = True, more: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, **(more or {})},
        )
        if check and done.returncode:
            raise GitError(f"git {_verb(arguments)} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip() if done.returncode == 0 else ""


def _verb(arguments: Sequence[str]) -> str:
    """The command of Git among its arguments."""
    rest = list(arguments)
    while rest[:1] == ["-c"]:
        del rest[:2]
    return rest[0]
