"""Several values in one request."""

from __future__ import annotations

from dataclasses import replace

from penstock.application import App, Call
from penstock.secrets.errors import InvalidParameterException
from penstock.secrets.filters import tests_of
from penstock.secrets.operations import called, secretsmanager
from penstock.secrets.operations.listing import page_of
from penstock.wire import refusals
from penstock.wire.call import Input, Output
from penstock.wire.errors import Refused, ServiceError

_LIMIT = 20


@secretsmanager("BatchGetSecretValue")
async def batch_get_secret_value(app: App, call: Call, input: Input) -> Output:
    """The current values of up to twenty secrets, by name or by filters; those that cannot be read are named with the reason."""
    wanted, asked = input.get("SecretIdList", []), input.get("Filters")
    if bool(wanted) is bool(asked):
        raise InvalidParameterException("Provide either SecretIdList or Filters, and one of them only.")
    if wanted and ("MaxResults" in input or "NextToken" in input):
        raise InvalidParameterException("MaxResults and NextToken are for Filters: a SecretIdList has one page.")
    more: Output = {}
    if asked:
        await app.identity.authorize(call, "secretsmanager:ListSecrets", ("*",))
        limit = input.get("MaxResults", _LIMIT)
        rows, more = await page_of(app, call, input, tests_of(asked), order="created", limit=limit)
        wanted = [called(row)["ARN"] for row in rows]
    answer: Output = {"SecretValues": [], "Errors": []}
    for secret_id in dict.fromkeys(wanted):
        try:
            answer["SecretValues"].append(await _read_as_well(app, call, secret_id))
        except ServiceError as error:
            answer["Errors"].append({"SecretId": secret_id, "ErrorCode": error.wire_code, "Message": error.message})
    return answer | more


async def _read_as_well(app: App, call: Call, secret_id: str) -> Output:
    """One of several, asked for and recorded like any other call of GetSecretValue. Raises ServiceError."""
    origin = replace(call.origin, called_via=call.called_via)
    try:
        return await app.invoke(
            call.session, call.service, "GetSecretValue", {"SecretId": secret_id}, region=call.region, origin=origin
        )
    except Refused as refused:
        raise refusals.worded(refused, app.services.get(call.service).codec.refusals) from None
