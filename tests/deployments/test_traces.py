"""What a trace tells of a deployment: its hosts, and what ran on each."""

from __future__ import annotations

from penstock import tracing
from penstock.deployments.server.lifecycle import IN_PLACE


async def test_a_deployment_is_hosts_and_hooks(any_harness):
    harness = any_harness
    hosts = await harness.group(1)
    stopped = await harness.deploy("stopped.zip")
    await harness.call("StopDeployment", deploymentId=stopped)
    assert (await harness.until(stopped))["status"] == "Stopped"
    harness.serve(*hosts, fails={("bad.zip", "AfterInstall")})
    good, bad = await harness.deploy("good.zip"), ""
    assert (await harness.until(good))["status"] == "Succeeded"
    bad = await harness.deploy("bad.zip")
    assert (await harness.until(bad))["status"] == "Failed"

    async def told(id, account="111111111111"):
        return await harness.app.store.scan(tracing.find, harness.app.tracers, account, "us-east-1", id)

    given_up = await told(stopped)
    assert (given_up.failed, given_up.attributes["deployment.status"]) == (True, "failed")
    found = await told(good)
    assert (found.name, found.failed, found.attributes["deployment.status"]) == (
        "deployment shop/web",
        False,
        "succeeded",
    )
    (host,) = found.children
    assert (host.name, host.failed, host.attributes) == (f"host {hosts[0].name}", False, {"host.name": hosts[0].name})
    assert [event.name for event in host.children] == [f"hook {name}" for name in IN_PLACE]
    assert found.start <= host.start <= host.end == found.end
    failed = await told(bad)
    assert failed.failed
    (host,) = failed.children
    assert host.failed
    assert [event.name for event in host.children if event.failed] == ["hook AfterInstall"]
    assert host.children[-1].attributes["error.type"] == "ScriptFailed"
    assert await told(good, "222222222222") is None
    assert await told("d-NOTHERE00") is None
