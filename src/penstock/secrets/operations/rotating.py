"""Rotation: which function makes the next value, and when."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.secrets import records, rotations
from penstock.secrets.engine import CURRENT, PENDING
from penstock.secrets.errors import InvalidRequestException
from penstock.secrets.functions import check_function
from penstock.secrets.operations import called, keys_of, locked, secret_arn, secretsmanager, usable
from penstock.secrets.rotation import cancelled, check_free, configured
from penstock.secrets.schedule import schedule_of
from penstock.store.failpoints import failpoint
from penstock.wire.call import Input, Output

_NO_FUNCTION = "No Lambda rotation function ARN is associated with this secret."


def _keys(call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    modifies = "true" if "RotationRules" in input else "false"
    return {**keys_of(call, input), "secretsmanager:modifyrotationrules": modifies}


@secretsmanager("RotateSecret", resource=secret_arn, keys=_keys)
async def rotate_secret(app: App, call: Call, input: Input) -> Output:
    """Say how a secret is rotated, and rotate it now, or only try its function."""
    for member in ("ExternalSecretRotationMetadata", "ExternalSecretRotationRoleArn"):
        if input.get(member):
            raise InvalidRequestException(f"Secrets of partners are not served: leave {member} out.")
    row, token = usable(call), input.get("ClientRequestToken", "")
    if not token:
        raise InvalidRequestException("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
    rules = input.get("RotationRules")
    if rules is not None:
        schedule_of(rules)
    known = records.rotation(row)
    function = input.get("RotationLambdaARN") or (known.function if known else "")
    if not function:
        raise InvalidRequestException(_NO_FUNCTION)
    await app.identity.authorize(call, "lambda:InvokeFunction", (function,))
    await check_function(app, call, row, function)
    test = not input.get("RotateImmediately", True)

    def tx(conn: sa.Connection) -> None:
        secret = locked(conn, row)
        before = records.rotation(secret)
        stages = {one.id: one.stages for one in records.kept(conn, row)}
        check_free(before, stages, token)
        state = configured(before, function, rules, call.now)
        if (before is not None and before.token == token) or CURRENT in stages.get(token, ()):
            # The request was sent before: what it began continues, or is done.
            rotations.keep(conn, secret, before, state, changed=call.now)
            return
        # A trial ends with the removal of its version, so it gets one of its own.
        if token in stages and (test or PENDING not in stages[token]):
            raise InvalidRequestException(
                "The ClientRequestToken is the id of another version of the secret. Send the request with a new one."
            )
        records.change(conn, row, changed=call.now)
        rotations.begin(conn, app, secret, before, state, token=token, test=test)

    await app.store.write(tx)
    failpoint("secrets.rotation_committed")
    return {**called(row), "VersionId": token}


@secretsmanager("CancelRotateSecret", resource=secret_arn, keys=keys_of)
async def cancel_rotate_secret(app: App, call: Call, input: Input) -> Output:
    """Rotate a secret no more. A rotation that is under way ends before its next step, and leaves AWSPENDING where it is, as on AWS."""
    row = usable(call)

    def tx(conn: sa.Connection) -> str:
        secret = locked(conn, row)
        before = records.rotation(secret)
        if before is None:
            raise InvalidRequestException(_NO_FUNCTION)
        rotations.end_test(conn, secret, before)
        rotations.keep(conn, secret, before, cancelled(before), changed=call.now, rotation_failed=None)
        return "" if before.test else before.token

    version = await app.store.write(tx)
    return called(row) | ({"VersionId": version} if version else {})
