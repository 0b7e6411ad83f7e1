"""Secrets that are read as parameters: `/aws/reference/secretsmanager/SECRET-ID`.

(AWS: Systems Manager User Guide, "Referencing AWS Secrets Manager secrets from Parameter Store parameters".)
"""

from __future__ import annotations

from penstock.application import Call
from penstock.parameters.engine import SECURE
from penstock.parameters.errors import ParameterNotFound, ValidationException
from penstock.parameters.names import Named
from penstock.wire.call import Output
from penstock.wire.errors import ServiceError

PREFIX = "/aws/reference/secretsmanager/"


async def secret_parameter(call: Call, asked: Named, *, arn: str, decrypt: bool) -> Output:
    """The `Parameter` shape of a secret, read as the caller. Raises ParameterNotFound, ValidationException or what Secrets Manager answers.

    Its selector is a stage or the id of a version (`…/ID:AWSPREVIOUS`).
    """
    if not decrypt:
        raise ValidationException("WithDecryption flag must be True for retrieving a Secret Manager secret.")
    secret_id = asked.name.removeprefix(PREFIX)
    found = await _read(call, secret_id, "VersionStage", asked.selector)
    if found is None and asked.selector:
        found = await _read(call, secret_id, "VersionId", asked.selector)
    if found is None:
        raise ParameterNotFound
    if "SecretString" not in found:
        raise ValidationException(f"The secret {secret_id} is binary: a parameter has a text.")
    return {
        "Name": asked.name,
        "Type": SECURE,
        "Value": found["SecretString"],
        "Version": 0,
        "LastModifiedDate": found["CreatedDate"],
        "ARN": arn,
        "DataType": "text",
        **({"Selector": f":{asked.selector}"} if asked.selector else {}),
    }


async def _read(call: Call, secret_id: str, member: str, selector: str) -> Output | None:
    input = {"SecretId": secret_id, **({member: selector} if selector else {})}
    try:
        return await call.app.invoke(
            call.session, "secretsmanager", "GetSecretValue", input, region=call.region, origin=call.origin
        )
    except ServiceError as error:
        if error.wire_code in ("ResourceNotFoundException", "ValidationException"):
            return None
        raise
