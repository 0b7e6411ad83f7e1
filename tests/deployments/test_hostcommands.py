"""The command service: who may speak for a host, and what late, doubled and foreign reports do."""

import asyncio
import json
import subprocess
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from penstock_deployments_harness import REGION, Host

from penstock.deployments import errors, records, runs
from penstock.deployments.aggregates import DeploymentAggregate
from penstock.deployments.hostcommands import identities, offers, reports, signer
from penstock.deployments.hostcommands.errors import ClientException
from penstock.deployments.hostcommands.signer import Signer
from penstock.deployments.hostcommands.specification import Issue
from penstock.deployments.server import inputs, lifecycle, needed
from penstock.deployments.server.lifecycle import IN_PLACE
from penstock.store import journal
from penstock.store.transaction import Wakeup
from penstock.wire.errors import AccessDenied, ServiceError
from penstock.wire.registry import Access


async def commanded(harness, hosts=1, **more):
    found = await harness.group(hosts, config="CodeDeployDefault.AllAtOnce", **more)
    deployment = await harness.deploy()
    return deployment, found, [await host.poll() for host in found]


async def test_a_command_as_agents_expect_it(harness):
    deployment, (host,), (command,) = await commanded(harness)
    assert command["HostIdentifier"] == host.identifier
    assert command["CommandName"] == "ApplicationStop"
    assert command["HostCommandIdentifier"].startswith(deployment)
    assert command["DeploymentExecutionId"].split("/")[-1] == deployment
    assert len(command["DeploymentExecutionId"]) <= 129
    spec = await host.specification(command)
    group = await harness.call("GetDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    assert spec == {
        "DeploymentId": deployment,
        "DeploymentGroupId": group["deploymentGroupInfo"]["deploymentGroupId"],
        "DeploymentGroupName": "web",
        "ApplicationName": "shop",
        "DeploymentCreator": "user",
        "DeploymentType": "IN_PLACE",
        "AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": "DISALLOW"}},
        "Revision": {
            "RevisionType": "S3",
            "S3Revision": {"Bucket": "bundles", "Key": "app.zip", "BundleType": "zip"},
        },
        "IssuedFor": {
            "DeploymentExecutionId": command["DeploymentExecutionId"],
            "HostIdentifier": host.identifier,
            "CommandPrefix": f"{deployment}.0.",
            "Events": list(IN_PLACE),
            "Begun": harness.app.clock.now(),
            "Expires": (harness.app.clock.now() // 3_600_000 + 2) * 3_600_000,
        },
    }
    assert command["HostCommandIdentifier"].startswith(f"{deployment}.0.0.")


async def test_openssl_verifies_the_envelope(harness, tmp_path):
    _, (host,), (command,) = await commanded(harness)
    answer = await host.call(
        "GetDeploymentSpecification",
        DeploymentExecutionId=command["DeploymentExecutionId"],
        HostIdentifier=host.identifier,
    )
    envelope = answer["DeploymentSpecification"]["GenericEnvelope"]["Payload"]
    (tmp_path / "spec.pem").write_text(envelope)
    verify = ["openssl", "smime", "-verify", "-inform", "PEM", "-noverify", "-in", str(tmp_path / "spec.pem")]
    done = await asyncio.to_thread(subprocess.run, verify, capture_output=True, check=True)
    assert json.loads(done.stdout)["ApplicationName"] == "shop"


async def test_a_location_that_no_envelope_holds_refused_with_a_reason(harness):
    (host,) = await harness.group(1)
    await harness.deploy("\x01" * 1024)
    command = await host.poll()
    with pytest.raises(ClientException, match="too long for the agents' protocol"):
        await host.specification(command)


async def test_nobody_but_the_host_itself(harness):
    _, (alice, bob), (hers, his) = await commanded(harness, hosts=2)
    outsider = Host(harness, "outsider", await harness.user("outsider"))
    other_region = Host(harness, "admin", harness.admin)
    for stranger in (outsider, other_region):
        with pytest.raises(AccessDenied, match="not the identity of an instance"):
            await stranger.poll()
        with pytest.raises(AccessDenied):
            await stranger.acknowledge(hers)
        with pytest.raises(AccessDenied):
            await stranger.complete(hers)
        with pytest.raises(AccessDenied):
            await stranger.call("PostHostCommandUpdate", HostCommandIdentifier=hers["HostCommandIdentifier"])
        with pytest.raises(AccessDenied):
            await stranger.specification(hers)
    with pytest.raises(AccessDenied, match="cannot speak for the host"):
        await bob.call("PollHostCommand", HostIdentifier=alice.identifier)
    for attempt in (bob.acknowledge, bob.complete):
        with pytest.raises(AccessDenied, match="not part of this deployment"):
            await attempt(hers)
    with pytest.raises(AccessDenied):
        await bob.call("PostHostCommandUpdate", HostCommandIdentifier=hers["HostCommandIdentifier"])
    with pytest.raises(AccessDenied):
        await bob.call(
            "GetDeploymentSpecification",
            DeploymentExecutionId=hers["DeploymentExecutionId"],
            HostIdentifier=alice.identifier,
        )
    assert await alice.acknowledge(hers) == "InProgress"
    assert await bob.acknowledge(his) == "InProgress"


async def test_a_host_outside_the_deployment_gets_no_specification(harness):
    deployment, (host,), (command,) = await commanded(harness)
    elsewhere = await harness.host("db-1", tags=(("role", "db"),))
    with pytest.raises(AccessDenied, match="not part of this deployment"):
        await elsewhere.specification(command)
    await harness.call("DeregisterOnPremisesInstance", instanceName="web-0")
    with pytest.raises(AccessDenied):
        await host.complete(command)


async def test_a_host_may_do_nothing_else(harness):
    """Whatever component declares operations of this service: a host without policies is refused by all of them."""
    host = (await harness.group(1))[0]
    refused = 0
    for operation in harness.app.registry:
        if operation.service != "codedeploy":
            continue
        model = harness.app.services.get("codedeploy").operation(operation.name)
        assert operation.access is Access.POLICY
        input = {name: _some(model.input.members[name]) for name in model.input.required} if model.input else {}
        with pytest.raises((AccessDenied, ServiceError)) as caught:
            await harness.app.invoke(host.session, "codedeploy", operation.name, input, region=REGION)
        refused += isinstance(caught.value, AccessDenied)
    assert refused >= 41, "operations whose input could not be made up stay few"


def _some(shape):
    match shape.type:
        case "string":
            return "web"
        case "list":
            return [_some(shape.member)]
        case "structure":
            return {}
        case "boolean":
            return True
    return 1


async def test_acknowledgements_are_idempotent_and_the_offer_lapses(harness, clock):
    _, (host,), (command,) = await commanded(harness)
    clock.advance(20_000)
    again = await host.poll()
    assert again["HostCommandIdentifier"] != command["HostCommandIdentifier"]
    assert again["CommandName"] == command["CommandName"]
    assert await host.acknowledge(command) == "Failed"
    assert await host.acknowledge(again) == "InProgress"
    assert await host.acknowledge(again) == "InProgress"
    await host.complete(again)
    assert await host.acknowledge(again) == "Succeeded"
    assert (await host.poll())["CommandName"] == "DownloadBundle"


async def test_the_first_completion_counts_and_may_come_alone(harness):
    deployment, (host,), (command,) = await commanded(harness)
    await host.complete(command, code=4, message="first", log="output")
    await host.complete(command, code=5, message="second")
    await host.complete(command)
    target = await harness.target(deployment, "web-0")
    why = target["lifecycleEvents"][0]["diagnostics"]
    assert why == {"errorCode": "ScriptFailed", "scriptName": "a.sh", "message": "first", "logTail": "output"}
    assert target["status"] == "Failed"
    assert await host.acknowledge(command) == "Failed"


@pytest.mark.parametrize(
    "identifier", ["", "x", "d-AAAAAAAAA.0.0.ff", "d-AAAAAAAAA.99999999999.0.ff", "a.b.c.d", "é" * 9]
)
async def test_made_up_identifiers_are_the_clients_fault(harness, identifier):
    host = (await harness.group(1))[0]
    command = {"HostCommandIdentifier": identifier}
    for attempt in (host.acknowledge, host.complete):
        with pytest.raises(ServiceError) as caught:
            await attempt(command)
        assert caught.value.wire_code == "ClientException"


async def test_a_held_poll_is_woken_at_once(harness):
    hosts = await harness.group(3, config="CodeDeployDefault.AllAtOnce")
    polls = [asyncio.create_task(host.poll()) for host in hosts]
    await asyncio.sleep(0)
    await harness.deploy()
    commands = await asyncio.wait_for(asyncio.gather(*polls), 30)
    assert [command["CommandName"] for command in commands] == ["ApplicationStop"] * 3


@pytest.mark.parametrize("text", [r"\ud800", r"\u0000"])
async def test_a_report_with_characters_that_cannot_be_stored(any_harness, text):
    (host,) = await any_harness.group(1)
    deployment = await any_harness.deploy()
    command = await host.poll()
    await host.acknowledge(command)
    report = {
        "Format": "JSON",
        "Payload": f'{{"error_code":4,"script_name":"{text}","message":"{text}","log":"{text}"}}',
    }
    identifier = command["HostCommandIdentifier"]
    await host.call("PostHostCommandUpdate", HostCommandIdentifier=identifier, Diagnostics=report)
    await host.call(
        "PutHostCommandComplete", HostCommandIdentifier=identifier, CommandStatus="Failed", Diagnostics=report
    )
    found = (await any_harness.target(deployment, "web-0"))["lifecycleEvents"][0]["diagnostics"]
    assert found["errorCode"] == "ScriptFailed"
    assert found["message"] == found["scriptName"] == found["logTail"]
    assert found["message"] in ("?", "\ufffd")


async def test_the_log_of_a_running_hook(harness):
    deployment, (host,), (command,) = await commanded(harness)

    async def log():
        return await harness.call(
            "GetHookLog", service="penstock", deploymentId=deployment, targetId="web-0",
            lifecycleEventName="ApplicationStop",
        )  # fmt: skip

    with_own_service(harness)
    assert (await log())["log"] == ""
    await host.acknowledge(command)

    async def say(text):
        payload = json.dumps({"script_name": "a.sh", "log": text})
        return await host.call(
            "PostHostCommandUpdate",
            HostCommandIdentifier=command["HostCommandIdentifier"],
            Diagnostics={"Format": "JSON", "Payload": payload},
        )

    assert (await say("one\n"))["CommandStatus"] == "InProgress"
    assert await log() == {"log": "one\n", "complete": False, "status": "InProgress"}
    await say("x" * 100_000)
    assert len((await log())["log"]) == 32_768
    await say("one\ntwo\n")
    await host.complete(command)
    assert (await log())["complete"]
    assert (await log())["log"] == "one\ntwo\n"
    assert (await say("late"))["CommandStatus"] == "Succeeded"
    assert (await log())["log"] == "one\ntwo\n"


def test_the_service_answers_under_both_names(harness):
    services = harness.app.services
    for prefix in ("CodeDeployCommandService_v20141006", "CodeDeployCommandService"):
        assert services.by_target(f"{prefix}.PollHostCommand").service.name == "codedeploy-commands"
    assert set(services.get("codedeploy-commands").signing_names) == {
        "codedeploy-commands",
        "codedeploy-commands-secure",
    }


def with_own_service(harness):
    import penstock.fleet
    from penstock.wire.services import Service

    if "penstock" not in harness.app.services:
        harness.app.services.add(Service(name="penstock", model_path=penstock.fleet.MODEL))


async def test_a_machine_joins_as_an_instance(harness):
    with_own_service(harness)
    session = await harness.user("box")
    tags = [{"Key": "Name", "Value": "web"}]
    made = await harness.call("RegisterInstance", service="penstock", iamUserArn=session.arn, tags=tags)
    id_, arn = made["instanceId"], made["instanceArn"]
    assert arn == f"arn:aws:ec2:{REGION}:111111111111:instance/{id_}"
    again = await harness.call(
        "RegisterInstance", service="penstock", instanceId=id_, iamUserArn=session.arn, tags=tags
    )
    assert again == made
    await harness.call("CreateApplication", applicationName="shop")
    await harness.call(
        "CreateDeploymentGroup", applicationName="shop", deploymentGroupName="web", serviceRoleArn=harness.role,
        ec2TagFilters=[{"Key": "Name", "Value": "web", "Type": "KEY_AND_VALUE"}],
    )  # fmt: skip
    deployment = await harness.deploy()
    host = Host(harness, id_, session)
    for identifier in (arn, session.arn):
        poll = await host.call("PollHostCommand", HostIdentifier=identifier)
        if identifier == arn:
            assert poll["HostCommand"]["HostIdentifier"] == arn
            await host.complete(poll["HostCommand"])
        else:
            assert poll["HostCommand"]["CommandName"] == "DownloadBundle"
    assert (await harness.target(deployment, id_))["targetArn"] == arn
    (got,) = (await harness.call("ListHosts", service="penstock"))["hosts"]
    assert (got["name"], got["kind"], got["tags"]) == (id_, "ec2", tags)
    await harness.call("DeregisterInstance", service="penstock", instanceId=id_)
    assert (await harness.call("ListHosts", service="penstock"))["hosts"] == []
    with pytest.raises(AccessDenied):
        await host.poll()


async def test_list_hosts_reports_who_is_there(harness):
    with_own_service(harness)
    await harness.group(0, config="CodeDeployDefault.AllAtOnce")
    here, _ = await harness.host("here"), await harness.host("gone")
    await harness.deploy()
    await here.poll()
    for stop in harness.app.stops:  # what was seen is written in batches, the last one at the end
        await stop()
    hosts = {host["name"]: host for host in (await harness.call("ListHosts", service="penstock"))["hosts"]}
    assert hosts["here"]["connected"]
    assert not hosts["gone"]["connected"]
    assert hosts["gone"].get("lastSeenTime") is None


async def test_list_hosts_finds_the_silent_ones_of_a_group(harness):
    with_own_service(harness)
    await harness.group(0, config="CodeDeployDefault.AllAtOnce")
    here = await harness.host("here")
    await harness.host("gone")
    await harness.host("other", tags=(("role", "db"),))
    await harness.deploy()
    await here.poll()
    for stop in harness.app.stops:
        await stop()

    async def names(**wanted):
        return [host["name"] for host in (await harness.call("ListHosts", service="penstock", **wanted))["hosts"]]

    web = {"applicationName": "shop", "deploymentGroupName": "web"}
    assert await names(connected=False) == ["gone", "other"]
    assert await names(connected=True) == ["here"]
    assert await names(**web) == ["gone", "here"]
    assert await names(**web, connected=False) == ["gone"]
    with pytest.raises(errors.DeploymentGroupNameRequiredException):
        await names(applicationName="shop")
    with pytest.raises(errors.DeploymentGroupDoesNotExistException):
        await names(applicationName="shop", deploymentGroupName="none")


async def test_reports_of_many_hosts_share_transactions_and_each_gets_its_own_answer(any_harness, monkeypatch):
    harness = any_harness
    deployment, hosts, commands = await commanded(harness, hosts=12)
    together = []
    write = harness.app.store.write

    async def counted(fn, *args, **kwargs):
        if fn is reports.applied:
            together.append(len(args[0]))
        return await write(fn, *args, **kwargs)

    monkeypatch.setattr(harness.app.store, "write", counted)
    nowhere = {"HostCommandIdentifier": f"{deployment}.999.0.ff"}
    answers = await asyncio.gather(
        *(host.acknowledge(command) for host, command in zip(hosts, commands, strict=True)),
        hosts[0].acknowledge(commands[1]),
        hosts[0].acknowledge(nowhere),
        return_exceptions=True,
    )
    assert answers[:12] == ["InProgress"] * 12
    assert isinstance(answers[12], AccessDenied)
    assert isinstance(answers[13], ClientException)
    assert sum(together) == 14
    assert len(together) <= 4
    await asyncio.gather(*(host.complete(command) for host, command in zip(hosts, commands, strict=True)))
    assert len(together) <= 8
    assert len(await asyncio.gather(*(host.poll() for host in hosts))) == 12
    entries = await harness.app.store.read(journal.read, f"deployment/{deployment}")
    assert [entry.sequence for entry in entries] == list(range(1, 27))


async def test_reports_that_come_twice_within_one_transaction_count_once(any_harness):
    """What ends a command is known to whatever follows in the same transaction, before it is written."""
    harness = any_harness
    deployment, (host, other), (command, _) = await commanded(harness, hosts=2)
    reported = await asyncio.gather(
        other.acknowledge({"HostCommandIdentifier": f"{deployment}.0.0.ff"}),  # opens the queue: the others wait for it
        host.acknowledge(command),
        host.acknowledge(command),
        host.complete(command),
        host.complete(command),
        host.acknowledge(command),
        return_exceptions=True,
    )
    assert reported[1:] == ["InProgress", "InProgress", None, None, "Succeeded"]
    entries = await harness.app.store.read(journal.read, f"deployment/{deployment}")
    assert [entry.input["type"] for entry in entries] == ["Requested", "Began", "Acknowledged", "Completed"]
    following = await host.poll()
    assert following["CommandName"] == IN_PLACE[1]
    assert await host.acknowledge(following) == "InProgress"


async def test_a_command_that_is_put_back_is_not_taken_by_an_acknowledgement_behind_that(any_harness):
    """Acknowledgements of a transaction are asked for together, before what is decided in it is written."""
    harness = any_harness
    deployment, (host, other), commands = await commanded(harness, hosts=2)
    (_, mine, _, nonce), (_, others, _, other_nonce) = (c["HostCommandIdentifier"].split(".") for c in commands)
    why = lifecycle.diagnose('{"error_code": 7, "message": "connection refused"}', succeeded=False)

    def report(of, position, nonce, input):
        return reports.Report(
            reporter=reports.Reporter(of.session.account, REGION, of.name),
            deployment=deployment, position=int(position), nonce=nonce, input=input, now=harness.app.clock.now(), seed=1,
        )  # fmt: skip

    unreachable = inputs.Completed(host=host.name, index=0, succeeded=False, diagnostics=why)
    taken = inputs.Acknowledged(host=host.name, index=0, noop=False)
    answers = await harness.app.store.write(
        reports.applied,
        [
            report(other, others, other_nonce, inputs.Acknowledged(host=other.name, index=0, noop=False)),
            report(host, mine, "", unreachable),
            report(host, mine, nonce, taken),
            report(other, mine, nonce, taken),
        ],
    )
    assert answers[:3] == ["InProgress", "", "Failed"]
    assert isinstance(answers[3], AccessDenied)
    again = await host.poll()
    assert again["HostCommandIdentifier"].rpartition(".")[0] == commands[0]["HostCommandIdentifier"].rpartition(".")[0]
    assert await host.acknowledge(again) == "InProgress"


async def test_polls_of_many_hosts_share_transactions(harness, monkeypatch):
    hosts = await harness.group(12, config="CodeDeployDefault.AllAtOnce")
    polls = [asyncio.create_task(host.poll()) for host in hosts]
    written, write = [], harness.app.store.write

    async def counted(fn, *args, **kwargs):
        if fn is offers.offered:
            written.append(len(args[0]))
        return await write(fn, *args, **kwargs)

    monkeypatch.setattr(harness.app.store, "write", counted)
    await harness.deploy()
    commands = await asyncio.gather(*polls)
    assert len({command["HostCommandIdentifier"] for command in commands}) == 12
    assert sum(written) == 12
    assert len(written) <= 4


async def test_a_report_that_breaks_a_transaction_takes_no_other_with_it(harness, monkeypatch):
    deployment, hosts, commands = await commanded(harness, hosts=3)
    take = DeploymentAggregate.apply

    def broken(self, event, **more):
        if event.host == "web-1":
            raise RuntimeError("a fault of ours")
        return take(self, event, **more)

    monkeypatch.setattr(DeploymentAggregate, "apply", broken)
    answers = await asyncio.gather(
        *(host.acknowledge(command) for host, command in zip(hosts, commands, strict=True)), return_exceptions=True
    )
    assert [answers[0], answers[2]] == ["InProgress"] * 2
    assert isinstance(answers[1], RuntimeError)


async def test_an_acknowledgement_that_waited_longer_than_the_offer_counts(any_harness, clock):
    harness = any_harness
    _, (host,), (command,) = await commanded(harness)
    clock.advance(16_000)
    assert await host.acknowledge(command) == "InProgress"


async def deleted(harness, name):
    """No such user any more: the name is free for another."""
    for key in (await harness.call("ListAccessKeys", service="iam", UserName=name))["AccessKeyMetadata"]:
        await harness.call("DeleteAccessKey", service="iam", UserName=name, AccessKeyId=key["AccessKeyId"])
    await harness.call("DeleteUser", service="iam", UserName=name)


async def test_a_user_made_anew_under_a_hosts_name_is_not_the_host(any_harness):
    harness = any_harness
    _, (host,), (command,) = await commanded(harness)
    await deleted(harness, "web-0")
    impostor = Host(harness, "web-0", await harness.user("web-0"))
    assert impostor.identifier == host.identifier
    for attempt in (impostor.poll(), impostor.acknowledge(command), impostor.specification(command)):
        with pytest.raises(AccessDenied, match="made anew since the instance web-0 was registered"):
            await attempt
    await harness.call("DeregisterOnPremisesInstance", instanceName="web-0")
    await harness.call("RegisterOnPremisesInstance", instanceName="web-0", iamUserArn=host.identifier)
    with pytest.raises(ClientException):  # it is the host now, and speaks of what is not there
        await impostor.acknowledge({"HostCommandIdentifier": "d-AAAAAAAAA.0.0.ff"})


async def test_a_user_made_anew_before_the_first_poll_is_not_the_host(any_harness):
    harness = any_harness
    await harness.group(1)
    await deleted(harness, "web-0")
    with pytest.raises(AccessDenied, match="made anew since the instance web-0 was registered"):
        await Host(harness, "web-0", await harness.user("web-0")).poll()


@pytest.mark.parametrize("same", ["name", "user"])
async def test_who_registers_under_a_name_in_mid_deployment_gets_nothing_of_the_other(any_harness, same):
    harness = any_harness
    deployment, (host,), (command,) = await commanded(harness)
    assert await host.acknowledge(command) == "InProgress"
    await host.complete(command)
    await harness.call("DeregisterOnPremisesInstance", instanceName="web-0")
    if same == "user":
        await deleted(harness, "web-0")
    other = Host(harness, "web-0", await harness.user("web-0" if same == "user" else "other"))
    await harness.call("RegisterOnPremisesInstance", instanceName="web-0", iamUserArn=other.identifier)
    found = await harness.target(deployment, "web-0")
    assert found["status"] == "Failed"
    assert [event["status"] for event in found["lifecycleEvents"]] == ["Succeeded", "Failed", *["Skipped"] * 5]
    assert "was deregistered during the deployment" in found["lifecycleEvents"][1]["diagnostics"]["message"]
    assert (await harness.get(deployment))["status"] == "Failed"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await other.poll()


async def test_a_report_that_ends_no_host_loads_no_others(harness):
    await harness.group(5, config="CodeDeployDefault.HalfAtATime")
    id = await harness.deploy()
    await harness.until(id, "InProgress")

    def loaded(conn, index, succeeded=True):
        found = runs.STATE.load(runs.deployment(conn, id).state)
        name = conn.execute(sa.select(records.targets.c.name).where(records.targets.c.position == 0)).scalar()
        why = lifecycle.SUCCESS
        event = inputs.Completed(host=name, index=index, succeeded=succeeded, diagnostics=why)
        return len(runs.rows_for(conn, found, needed.needs(found, event, 0), 0))

    assert await harness.app.store.read(loaded, 0) == 1
    assert await harness.app.store.read(loaded, 0, succeeded=False) == 2
    assert await harness.app.store.read(loaded, 6) == 2


def one_issue(host):
    return Issue(account="1", region=REGION, host=host, identifier=host, execution="d-1", hour=1)


async def test_specifications_of_a_large_fleet_are_signed_once_for_each_host(monkeypatch):
    signed = []
    one = Signer(None)

    monkeypatch.setattr(one, "_ready", lambda: asyncio.sleep(0))
    monkeypatch.setattr(one, "_sign", lambda document: signed.append(document) or "x" * 4000)
    for _ in range(3):
        for host in range(5000):
            issue = one_issue(f"web-{host}")
            assert one.issued(issue) or await one.envelope(issue, b"%d" % host, final=True)
    assert len(signed) == 5000


async def test_the_memory_for_signed_specifications_is_bounded(monkeypatch):
    one = Signer(None)
    monkeypatch.setattr(one, "_ready", lambda: asyncio.sleep(0))
    monkeypatch.setattr(one, "_sign", lambda _: "x" * 8000)
    monkeypatch.setattr(signer, "_CACHED_BYTES", 80_000)
    for host in range(30):
        await one.envelope(one_issue(f"web-{host}"), b"%d" % host, final=host % 2 == 0)
    assert len(one._signed) == 10


async def test_what_may_still_be_found_out_about_a_bundle_is_not_kept_as_final(monkeypatch):
    one = Signer(None)
    monkeypatch.setattr(one, "_ready", lambda: asyncio.sleep(0))
    monkeypatch.setattr(one, "_sign", bytes.decode)
    issue = one_issue("web-1")
    assert await one.envelope(issue, b"unpinned", final=False) == "unpinned"
    assert one.issued(issue) is None
    assert await one.envelope(issue, b"pinned", final=True) == "pinned"
    assert one.issued(issue) == "pinned"


async def test_the_groups_tag_makes_the_specification_strict(harness):
    _, (host,), (command,) = await commanded(harness, tags=[{"Key": "penstock:strict", "Value": "true"}])
    assert (await host.specification(command))["Strict"] is True


async def test_a_host_is_looked_up_once_until_registrations_change(harness, monkeypatch):
    """What every request of every host asks for costs a read once, and never shows what was so before the newest change."""
    _, (host,), (command,) = await commanded(harness)
    await host.acknowledge(command)
    lookup, read = harness.app.store.lookup, []

    async def counted(statement, **parameters):
        read.append(statement)
        return await lookup(statement, **parameters)

    monkeypatch.setattr(harness.app.store, "lookup", counted)
    await host.specification(command)
    await host.specification(command)
    await host.complete(command)
    assert (await host.poll())["HostCommandIdentifier"]
    assert not {records.IDENTITY, offers.ANY} & set(read)
    await harness.call("DeregisterOnPremisesInstance", instanceName=host.name)
    with pytest.raises(AccessDenied):
        await host.specification(command)
    with pytest.raises(AccessDenied):
        await host.poll()


async def test_another_process_notices_a_deregistration_in_time(any_harness, monkeypatch):
    """A hint that is lost costs a second on PostgreSQL; SQLite serves one process."""
    harness = any_harness
    _, (host,), (command,) = await commanded(harness)
    here = identities.Identities(harness.app.store)
    call = SimpleNamespace(account=host.session.account, region=REGION, session=host.session)
    assert (await here.host(call)).name == host.name
    monkeypatch.setattr(here, "_changed", Wakeup())  # which nobody wakes
    await harness.call("DeregisterOnPremisesInstance", instanceName=host.name)
    if harness.app.store.dialect == "sqlite":
        assert (await here.host(call)).name == host.name
        return
    monkeypatch.setattr(here, "_stale_after", 0.0)  # a second later
    with pytest.raises(AccessDenied):
        await here.host(call)
