"""Public parameters, which all accounts read and the operator sets: our own operations, since AWS's are set by AWS.

(AWS: Systems Manager User Guide, "Working with public parameters in Parameter Store".)
"""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.component import only_first_account
from penstock.parameters import records
from penstock.parameters.engine import written
from penstock.parameters.errors import PublicParameterNotFoundException
from penstock.parameters.names import check_public, path_of
from penstock.parameters.operations import arn_of, ours
from penstock.parameters.operations.writing import add_version
from penstock.wire.call import Input, Output


def _arn(call: Call, input: Input) -> str:
    return arn_of(call, input["name"])


@ours("PutPublicParameter", resource=_arn)
async def put_public_parameter(app: App, call: Call, input: Input) -> Output:
    """Make a public parameter of the region, or the next version of one."""
    only_first_account(call, "public parameters are set")
    name, path, where = input["name"], path_of(input["name"]), ("", call.region)
    arn = arn_of(call, name)
    check_public(name, arn)

    def tx(conn: sa.Connection) -> int:
        given = {"Value": input["value"], "Type": "String", "Tier": "Intelligent-Tiering"}
        if "description" in input:
            given["Description"] = input["description"]
        old = records.locked(conn, where, path)
        row = {**asdict(written(given, old)), "modified": call.now, "by": call.session.arn}
        if old is None and records.insert(conn, where, path, name=name, version=1, tags={}, **row):
            records.insert_version(conn, where, path, version=1, value=input["value"], **row)
            return 1
        return add_version(conn, where, old or records.locked(conn, where, path), input["value"], row)

    return {"arn": arn, "version": await app.store.write(tx)}


@ours("DeletePublicParameter", resource=_arn)
async def delete_public_parameter(app: App, call: Call, input: Input) -> None:
    """Forget a public parameter of the region with all its versions. Raises PublicParameterNotFoundException."""
    only_first_account(call, "public parameters are set")
    check_public(input["name"], arn_of(call, input["name"]))
    if not await app.store.write(records.delete, ("", call.region), path_of(input["name"])):
        raise PublicParameterNotFoundException(name=input["name"], region=call.region)
