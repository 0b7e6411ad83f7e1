"""Names of repositories and references. Pure."""

from __future__ import annotations

import re

MAX_REFERENCE = 512  # characters of a full reference name
MAX_PART = 250  # bytes between two slashes: a part is a file's name, to which git adds `.lock`

HEADS, TAGS = "refs/heads/", "refs/tags/"

_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")


def is_repository_name(name: str) -> bool:
    """AWS CodeCommit: 1 to 100 letters, digits, periods, underscores and dashes, not ending in `.git`.

    A name of periods alone would read as a folder in a path, so it is refused too.
    """
    return _REPOSITORY.fullmatch(name) is not None and not name.endswith(".git") and name.strip(".") != ""


def is_commit_id(text: str) -> bool:
    """A full SHA-1 in lower case."""
    return _COMMIT.fullmatch(text) is not None


def is_reference(name: str) -> bool:
    """Git's rules for a full reference name (git check-ref-format), below refs/ and of bounded length."""
    if (
        not name.startswith("refs/")
        or len(name) > MAX_REFERENCE
        or name.endswith(("/", "."))
        or _FORBIDDEN.search(name)
    ):
        return False
    parts = name.split("/")
    return len(parts) > 2 and all(
        part[:1] not in ("", ".") and not part.endswith(".lock") and len(part.encode(errors="replace")) <= MAX_PART
        for part in parts
    )


def is_branch_name(name: str) -> bool:
    """What may follow refs/heads/: AWS CodeCommit allows 256 characters, a file system fewer of them without a slash."""
    return len(name) <= 256 and not name.startswith("-") and name != "HEAD" and is_reference(HEADS + name)


def kind_of(reference: str) -> tuple[str, str]:
    """`("branch" | "tag" | "", short name)` of a full reference name."""
    if reference.startswith(HEADS):
        return "branch", reference.removeprefix(HEADS)
    if reference.startswith(TAGS):
        return "tag", reference.removeprefix(TAGS)
    return "", reference
