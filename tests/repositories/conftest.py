"""Real git against a live server."""

import re
from functools import partial

import pytest
from penstock_git import Clone, git_environment, with_key

from penstock.store import events


@pytest.fixture
def working(tmp_path):
    """`working(name)`: a fresh working copy without a remote."""

    def make(name: str = "work") -> Clone:
        path = tmp_path / name
        path.mkdir()
        clone = Clone(path, git_environment(tmp_path))
        clone("init", "-q", "-b", "main")
        return clone

    return make


@pytest.fixture
def repository(live, request):
    """A repository of this test's own on the live server: its name and its URL with the administrator's key."""
    name = re.sub(r"[^\w-]", "-", request.node.name, flags=re.ASCII)[:80]
    made = live.client("codecommit").create_repository(repositoryName=name)["repositoryMetadata"]
    return name, with_key(made["cloneUrlHttp"], live.keys())


@pytest.fixture
def events_of(live):
    """`events_of(name)`: payloads of the events of a repository, in order."""

    def read(name: str) -> list[dict]:
        found = live.run(live.app.store.read(partial(events.after, position=0, limit=100_000)))
        aggregate = f"repository/111111111111/us-east-1/{name}"
        return [event.payload for event in found if event.aggregate == aggregate]

    return read
