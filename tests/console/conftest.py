"""One server with something to see on it, for every test of a module."""

from __future__ import annotations

import pytest
from penstock_console import Visitor, allow, bucket, gate, pipeline, role, source, user, waits, zipped
from penstock_live import live  # noqa: F401 - the fixture
from penstock_scripted_builds import Builds
from penstock_waiting import until


@pytest.fixture(scope="module")
def world(live):  # noqa: F811
    """A pipeline that waits for a decision, users who may all, something and nothing."""
    user(live, "jonas.lind", allow("*"))
    user(live, "reader", allow("codepipeline:Get*", "codepipeline:List*"))
    user(live, "nobody", None)
    bucket(live, "releases")
    bucket(live, "artifacts")
    made = role(live, "codepipeline")
    live.client("s3").put_object(Bucket="releases", Key="shop.zip", Body=zipped(index__html="one"))
    pipeline(
        live,
        "shop-web",
        made,
        source("shop.zip"),
        gate("Approve", "Release", CustomData="Put it on 3 hosts?", ExternalEntityLink="https://staging.example.com/"),
        gate("Watch", "Look"),
    )
    until(lambda: waits(live, "shop-web", "Approve"))
    return made


@pytest.fixture(scope="module")
def jonas(live, world):  # noqa: F811
    """The administrator, signed in."""
    return Visitor(live, "jonas.lind")


@pytest.fixture(scope="module")
def builds(live):  # noqa: F811
    """Builds that do what a test says."""
    scripted = Builds(live)
    scripted.install()
    return scripted
