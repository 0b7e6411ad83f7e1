"""The five operations of hosts' agents.

A host is who its verified key is: the caller's user (or role session) must be that of a registered instance, also by the id that it
had at the instance's first poll, since a name can be deleted and given again. Only that
instance's commands are served, whatever HostIdentifier says. No IAM policy is asked for beside the registration: a
registered host may do exactly this and, by these operations, nothing else.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.component import operations_of
from penstock.deployments import bundles, commands, liveness, records, runs
from penstock.deployments.hostcommands import forgotten, offers, specification
from penstock.deployments.hostcommands.errors import ClientException
from penstock.deployments.hostcommands.reports import Report, Reporter, over, own_host
from penstock.deployments.hostcommands.signer import Signer, SpecificationTooLong
from penstock.deployments.records import Row
from penstock.deployments.server import inputs, lifecycle
from penstock.deployments.service import Deployments
from penstock.store import jobs
from penstock.store.failpoints import failpoint
from penstock.store.upsert import upsert
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied
from penstock.wire.registry import Access, Recorded

SERVICE = "codedeploy-commands"

# Until an offered command that nobody acknowledged is offered again. It grows with the time that reports take: under load an agent
# that polls while its acknowledgement waits would be offered the same command once more.
_OFFER_MS = 15_000
_COMMAND = re.compile(r"(d-[A-Z0-9]{9})\.([0-9]{1,9})\.([0-9]{1,3})\.([0-9a-f]{1,64})")
_LOG_BYTES = 32_768  # of a running hook's log that are kept


operation = operations_of(SERVICE)


@operation("PollHostCommand", access=Access.AUTHENTICATED, long_poll=True, unthrottled=True, recorded=Recorded.NEVER)
async def poll_host_command(deployments: Deployments, call: Call, input: Input) -> Output:
    """The next command of the host, held until there is one or the poll's time is over."""
    host = await deployments.identities.host(call, input["HostIdentifier"])
    deployments.presence.saw(call.account, call.region, host.name, _agent(call))
    clock = asyncio.get_running_loop().time
    end = clock() + deployments.long_poll_seconds
    if "RunningCommands" in input:
        await forgotten.give_up(call, host.name, input["RunningCommands"])
    topic = commands.host_topic(call.account, call.region, host.name)
    wakeup = call.app.store.wakeup(jobs.outside(commands.COMMAND, topic))
    while True:
        if topic in deployments.due or await call.app.store.lookup(offers.ANY, topic=topic) is not None:
            deployments.due.discard(topic)
            job = await deployments.offers.put("", (topic, _OFFER_MS + 4 * deployments.reports.waited_ms))
        else:
            job = None
        if job is not None:
            return {"HostCommand": _command(call, input["HostIdentifier"], job)}
        left = end - clock()
        if left <= 0 or not await wakeup.wait(left):
            return {}


@operation("GetDeploymentSpecification", access=Access.AUTHENTICATED, unthrottled=True, recorded=Recorded.NEVER)
async def get_deployment_specification(deployments: Deployments, call: Call, input: Input) -> Output:
    """What to deploy, signed; only for a deployment that the host is part of."""
    host = await deployments.identities.host(call, input["HostIdentifier"])
    issue = specification.Issue(
        account=call.account,
        region=call.region,
        host=host.name,
        identifier=input["HostIdentifier"],
        execution=input["DeploymentExecutionId"],
        hour=specification.hour_of(call.now),
    )
    payload = deployments.signer.issued(issue)
    if payload is None:
        payload = await _sign(call, deployments.signer, issue)
    return {
        "DeploymentSystem": specification.SYSTEM,
        "DeploymentSpecification": {"GenericEnvelope": {"Format": "PKCS7/JSON", "Payload": payload}},
    }


@operation("PutHostCommandAcknowledgement", access=Access.AUTHENTICATED, unthrottled=True, recorded=Recorded.NEVER)
async def put_host_command_acknowledgement(deployments: Deployments, call: Call, input: Input) -> Output:
    """InProgress: run it. Failed or Succeeded: another has it, or it is over; drop it."""
    host = await deployments.identities.host(call)
    deployment, position, index, nonce = _parsed(input["HostCommandIdentifier"])
    noop = _report_of(input).get("IsCommandNoop") is True
    status = await deployments.reports.put(
        Report(
            reporter=Reporter(call.account, call.region, host.name),
            deployment=deployment,
            position=position,
            nonce=nonce,
            input=inputs.Acknowledged(host=host.name, index=index, noop=noop),
            now=call.now,
            seed=call.app.ids.seed(),
        )
    )
    return {"CommandStatus": status}


@operation("PutHostCommandComplete", access=Access.AUTHENTICATED, unthrottled=True, recorded=Recorded.NEVER)
async def put_host_command_complete(deployments: Deployments, call: Call, input: Input) -> Output:
    """The end of a lifecycle event. The first report counts; it may come without an acknowledgement, or twice."""
    host = await deployments.identities.host(call)
    deployment, position, index, _ = _parsed(input["HostCommandIdentifier"])
    status = input["CommandStatus"]
    if status not in ("Succeeded", "Failed"):
        raise ClientException("CommandStatus must be Succeeded or Failed.")
    payload = (input.get("Diagnostics") or {}).get("Payload") or ""
    why = lifecycle.diagnose(payload, succeeded=status == "Succeeded")
    event = inputs.Completed(host=host.name, index=index, succeeded=status == "Succeeded", diagnostics=why)
    await deployments.reports.put(
        Report(
            reporter=Reporter(call.account, call.region, host.name),
            deployment=deployment,
            position=position,
            nonce="",
            input=event,
            now=call.now,
            seed=call.app.ids.seed(),
        )
    )
    deployments.due.add(commands.host_topic(call.account, call.region, host.name))
    failpoint("deployments.after_complete_commit")
    return {}


@operation("PostHostCommandUpdate", access=Access.AUTHENTICATED, unthrottled=True, recorded=Recorded.NEVER)
async def post_host_command_update(deployments: Deployments, call: Call, input: Input) -> Output:
    """The log of a running hook so far: its tail replaces the one before. AWS's agents never call it."""
    host = await deployments.identities.host(call)
    deployment, position, index, _ = _parsed(input["HostCommandIdentifier"])
    log = _report_of(input).get("log")
    text = lifecycle.tail(log, _LOG_BYTES) if isinstance(log, str) else None

    def update(conn: sa.Connection) -> str:
        row = runs.deployment(conn, deployment)
        target = own_host(conn, row, Reporter(call.account, call.region, host.name), position)
        if target.current != index:
            return over(target.events, index)
        if text is not None:
            _keep_log(conn, (deployment, position, index), text, call.now)
        return "InProgress"

    return {"CommandStatus": await call.app.store.write(update)}


def _agent(call: Call) -> str:
    """The agent's name and version: ours says both, AWS's say their version."""
    name = call.headers.get("user-agent", "").partition(" ")[0]
    return name if name.startswith(liveness.OWN_AGENT) else call.headers.get("x-amz-codedeploy-agent-version", "")


def _command(call: Call, identifier: str, job: jobs.Job) -> dict[str, Any]:
    deployment = job.payload["deployment"]
    return {
        "HostCommandIdentifier": f"{job.id}.{job.nonce}",
        "HostIdentifier": identifier,  # agents refuse one that is not theirs
        "DeploymentExecutionId": specification.execution_id(call.partition, call.region, call.account, deployment),
        "CommandName": job.payload["event"],
        "Nonce": job.attempt,
    }


def _parsed(identifier: str) -> tuple[str, int, int, str]:
    found = _COMMAND.fullmatch(identifier)
    if found is None:
        raise ClientException
    return found[1], int(found[2]), int(found[3]), found[4]


async def _sign(call: Call, signer: Signer, issue: specification.Issue) -> str:
    """The specification of a deployment that the host is part of. Raises AccessDenied when it is not."""
    deployment = specification.deployment_of(issue.execution)
    row = await call.app.store.lookup(records.DEPLOYMENT, id=deployment)
    mine = await call.app.store.lookup(records.TARGET_OF_HOST, deployment=deployment, name=issue.host)
    if row is None or mine is None or (row.account, row.region) != (call.account, call.region):
        # Whether the deployment exists is not this host's business.
        raise AccessDenied("The host is not part of this deployment.")
    row, missing = await _with_its_bundle(call, row)
    document = specification.document(row, issue, position=mine.position, missing=missing)
    try:
        return await signer.envelope(issue, document, final=bundles.known(row.body["revision"]))
    except SpecificationTooLong as error:
        # Escaped and encoded, a key of the longest kind does not fit the protocol: the host is to fail, not to ask again.
        raise ClientException(f"The revision's location is too long for the agents' protocol ({error}).") from error


async def _with_its_bundle(call: Call, row: Row) -> tuple[Row, bool]:
    """The deployment with what its bundle is, and whether that is missing.

    What neither its creator nor the service role could read is found by the first host that may, for all of them.
    """
    try:
        location = await bundles.pinned(
            call.app, call.session, row.body["revision"], region=call.region, origin=call.origin
        )
    except bundles.BundleMissing:
        return row, True
    if location is row.body["revision"]:
        return row, False
    kept = await call.app.store.write(runs.pin, row.id, location)
    return kept or row, False


def _report_of(input: Input) -> dict[str, Any]:
    """The JSON object in the `Diagnostics` of a report; empty when it is not one."""
    return lifecycle.report((input.get("Diagnostics") or {}).get("Payload") or "")


def _keep_log(conn: sa.Connection, event: tuple[str, int, int], text: str, now: int) -> None:
    deployment, position, index = event
    values = {"log": text, "updated": now}
    row = {"deployment": deployment, "position": position, "event": index, **values}
    upsert(conn, records.hook_logs, row, values)
