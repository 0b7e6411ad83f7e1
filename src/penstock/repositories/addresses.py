"""Where repositories are, for whoever asks at another address."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.repositories.names import is_repository_name

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.wire.message import RequestHead

PREFIX = "/v1/repos/"
_ASKED = ("/info/refs", "/git-upload-pack", "/git-receive-pack")  # what git adds to the address of a repository
_TYPE = "application/x-git-"  # of what it posts


def right_address(app: App, name: str) -> str:
    """A sentence that gives the address of the repository that somebody means by a name, which may be one of no repository."""
    meant = name.removesuffix(".git")
    if not is_repository_name(meant):
        return f"Repositories of this server are at {app.public_url}{PREFIX}NAME, and `aws codecommit list-repositories` lists them."
    return f"Repositories of this server are at {app.public_url}{PREFIX}NAME: try {app.public_url}{PREFIX}{meant}"


def signpost(app: App) -> Callable[[RequestHead], str]:
    """Says the right address to a git that asks at another one; "" for what is no git."""

    def say(head: RequestHead) -> str:
        if "service=git-" not in head.query and not head.headers.get("content-type", "").startswith(_TYPE):
            return ""
        return right_address(app, named(head.path)) if head.path.endswith(_ASKED) else ""

    return say


def named(path: str) -> str:
    """What is probably the name of a repository, in a path that git has asked for."""
    before = next((path.removesuffix(ending) for ending in _ASKED if path.endswith(ending)), path)
    return before.rstrip("/").rpartition("/")[2]
