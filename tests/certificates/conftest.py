"""A harness with identity and certificates, on either database in turn; and a server that all modules share."""

import penstock_identity_harness
import pytest
from penstock_live import live_server

import penstock.certificates
from penstock.deployments.settings import DeploymentSettings


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(
        any_store, clock, tmp_path, penstock.certificates.component
    ) as made:
        yield made


@pytest.fixture
async def owner(harness):
    return await harness.administrator()


@pytest.fixture(scope="package")
def live(tmp_path_factory):
    polls = DeploymentSettings(long_poll_seconds=1)
    with live_server(tmp_path_factory.mktemp("live") / "data", components=(polls,)) as live:
        yield live
