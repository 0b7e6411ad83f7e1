"""Hosts of every kind: operations of our own service.

AWS knows EC2 instances by itself; here a machine joins as one by RegisterInstance and is then matched by `ec2TagFilters`, so
that groups made for EC2 need no change. On-premises instances register by AWS's own operation; ListHosts shows both.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.deployments import errors, liveness, profile, progress, records
from penstock.deployments.operations import PAGE, PAGES, ours
from penstock.deployments.operations.groups import existing
from penstock.deployments.operations.instances import another, deregister, identity_of, run_registration
from penstock.deployments.records import Row
from penstock.deployments.server import fleet
from penstock.deployments.service import Deployments
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output
from penstock.wire.tags import listed, pairs_of

_i = records.instances.c
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")


def _arn(call: Call, input: Input) -> str:
    return call.arn("ec2", f"instance/{input.get('instanceId') or '*'}")


def _instance_id(value: str) -> str:
    if not _INSTANCE.fullmatch(value):
        raise errors.InvalidInstanceNameException("An instance id is `i-` and 8 to 17 hexadecimal digits.")
    return value


@ours("RegisterInstance", resource=_arn)
async def register_instance(deployments: Deployments, call: Call, input: Input) -> Output:
    """Makes the holder of an IAM user's keys (or of a role session) an instance. Again: the identity stays, the tags are replaced."""
    id_ = _instance_id(input.get("instanceId") or f"i-{call.app.ids.hex(17)}")
    kind, iam_arn = identity_of(call, input)
    tags = listed(profile.TAGS.check(pairs_of(input.get("tags"))))
    arn = call.arn("ec2", f"instance/{id_}")
    principal = await call.app.identity.id_of(iam_arn)
    seed = call.app.ids.seed()

    def register(conn: sa.Connection) -> None:
        records.registrations_changed(conn)
        known = records.instance(conn, call.account, call.region, id_, lock=True)
        other = records.instance_of(conn, call.account, call.region, iam_arn)
        if other is not None and other.name != id_:
            raise errors.IamUserArnAlreadyRegisteredException(arn=iam_arn)
        if known is not None and known.deregistered is None and known.iam_arn != iam_arn:
            raise errors.InstanceNameAlreadyRegisteredException(name=id_)
        key = {"account": call.account, "region": call.region, "name": id_}
        values: dict[str, Any] = {
            "kind": "ec2", "iam_arn": iam_arn, "iam_kind": kind, "arn": arn, "tags": tags, "deregistered": None,
        }  # fmt: skip
        if known is None:
            first = {"principal": principal, "registered": call.now, "agent": ""}
            conn.execute(sa.insert(records.instances).values(**key, **values, **first))
        else:
            if known.deregistered is not None:
                values |= {"principal": principal, "seen": None, "agent": ""}
            where = [_i[column] == value for column, value in key.items()]
            conn.execute(sa.update(records.instances).where(*where).values(**values))
            if known.deregistered is not None:
                records.forget_health(conn, call.account, call.region, id_)
                if another(known, iam_arn, principal):
                    liveness.fail_former(conn, call.account, call.region, id_, now=call.now, seed=seed)

    await run_registration(call, register)
    return {"instanceId": id_, "instanceArn": arn}


@ours("DeregisterInstance", resource=_arn)
async def deregister_instance(deployments: Deployments, call: Call, input: Input) -> Output:
    """It is served and selected no more. Unknown is no error."""
    await deregister(call, _instance_id(input["instanceId"]))
    return {}


@ours("ListHosts")
async def list_hosts(deployments: Deployments, call: Call, input: Input) -> Output:
    """Registered hosts by name, with the time of each agent's last request (to the minute).

    A page has the hosts of the next hundred that the group selects, so it can be short and have a page after it.
    """
    after = PAGES.after(call, input)
    silent = sa.func.coalesce(_i.seen, 0) < call.now - progress.SEEN_LATELY_MS

    def read(conn: sa.Connection) -> tuple[list[Row], Row | None]:
        group = _group(conn, call, input)
        where = [_i.account == call.account, _i.region == call.region, _i.deregistered.is_(None)]
        if input.get("connected") is not None:
            where.append(~silent if input["connected"] else silent)
        query = sa.select(records.instances).where(*where)
        return list(conn.execute(rows_behind(query, [_i.name], after, limit=PAGE + 1)).all()), group

    rows, group = await call.app.store.read(read)
    page = PAGES.page(call, input, rows, limit=PAGE, keyset=lambda row: [row.name])
    return {
        "hosts": [
            _to_api(row, call.now)
            for row in page.rows
            if group is None or fleet.in_group(row.kind, row.tags, group.body)
        ],
        **page.more,
    }


def _group(conn: sa.Connection, call: Call, input: Input) -> Row | None:
    """The deployment group that is asked for. Raises what GetDeploymentGroup raises."""
    if input.get("applicationName") is None and input.get("deploymentGroupName") is None:
        return None
    if input.get("applicationName") is None:
        raise errors.ApplicationNameRequiredException
    if input.get("deploymentGroupName") is None:
        raise errors.DeploymentGroupNameRequiredException
    return existing(call, conn, input["applicationName"], input["deploymentGroupName"])


def _to_api(row: Row, now: int) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "arn": row.arn,
        "identity": row.iam_arn,
        "tags": row.tags,
        "registerTime": row.registered,
        "lastSeenTime": row.seen,
        "connected": row.seen is not None and now - row.seen <= progress.SEEN_LATELY_MS,
        "agentVersion": row.agent or None,
    }
