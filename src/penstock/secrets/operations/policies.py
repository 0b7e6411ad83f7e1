"""Policies of secrets. Identity evaluates them; here they are kept and checked to speak of their secret."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.public_policies import is_public, listed, statements
from penstock.secrets import records
from penstock.secrets.errors import (
    InvalidParameterException,
    MalformedPolicyDocumentException,
    PublicPolicyException,
    ResourceNotFoundException,
)
from penstock.secrets.operations import PAGES, arn, called, found, keys_of, locked, secret_arn, secretsmanager, usable
from penstock.wire.call import Input, Output
from penstock.wire.identity import PolicyRefused

NAME = "default"  # the only one that a policy of a secret may have
_PUBLIC = "The policy lets everybody do something with the secret. Name principals, or tie it to some by a condition."


@secretsmanager("PutResourcePolicy", resource=secret_arn, keys=keys_of)
async def put_resource_policy(app: App, call: Call, input: Input) -> Output:
    """Replace the policy; it counts from the next request on."""
    _check_name(input)
    row, document = usable(call), input["ResourcePolicy"]

    def tx(conn: sa.Connection) -> None:
        locked(conn, row)
        ids = _checked(conn, call, document, row)
        if input.get("BlockPublicPolicy", True) and is_public(document):
            raise PublicPolicyException
        records.change(conn, row, policy=document, policy_ids=ids, changed=call.now)

    await app.identity.change(tx)
    return _called(row, input)


@secretsmanager("GetResourcePolicy", resource=secret_arn, keys=keys_of)
async def get_resource_policy(app: App, call: Call, input: Input) -> Output:
    """The policy as it was put; users and roles that are gone are shown by their ids."""
    row = found(call)
    if input.get("PolicyName", NAME) != NAME:
        raise ResourceNotFoundException(f"The secret has no resource policy of the name {input['PolicyName']}.")
    if row.policy is None:
        return called(row)
    shown = await app.store.read(app.identity.policy_to_api, row.policy, row.policy_ids)
    return _called(row, input) | {"ResourcePolicy": shown}


@secretsmanager("ListResourcePolicies", resource=secret_arn, keys=keys_of)
async def list_resource_policies(app: App, call: Call, input: Input) -> Output:
    """The name of the policy, if there is one: a secret has no more, so always one page."""
    row = found(call)
    PAGES.after(call, input)
    return {"ResourcePolicies": [] if row.policy is None else [{"PolicyName": NAME}]}


@secretsmanager("DeleteResourcePolicy", resource=secret_arn, keys=keys_of)
async def delete_resource_policy(app: App, call: Call, input: Input) -> Output:
    """Forget the policy; deleting none is no error."""
    _check_name(input)
    row = usable(call)

    def tx(conn: sa.Connection) -> None:
        locked(conn, row)
        records.change(conn, row, policy=None, policy_ids={}, changed=call.now)

    await app.identity.change(tx)
    return _called(row, input)


def _check_name(input: Input) -> None:
    if input.get("PolicyName", NAME) != NAME:
        raise InvalidParameterException(f"The resource policy of a secret has the name {NAME}: leave PolicyName out.")


def _called(row: Any, input: Input) -> Output:
    """The secret, and the policy's name where the request has it."""
    return called(row) | ({"PolicyName": NAME} if "PolicyName" in input else {})


async def _subject(call: Call, input: Input) -> str:
    return await secret_arn(call, input) if "SecretId" in input else "*"


@secretsmanager("ValidateResourcePolicy", resource=_subject, keys=keys_of)
async def validate_resource_policy(app: App, call: Call, input: Input) -> Output:
    """Whether a policy would be taken. Raises MalformedPolicyDocumentException for what is no policy."""
    row, document = found(call) if "SecretId" in input else None, input["ResourcePolicy"]
    await app.store.read(_checked, call, document, row)
    errors = [{"CheckName": "BlockPublicPolicy", "ErrorMessage": _PUBLIC}] if is_public(document) else []
    return {"PolicyValidationPassed": not errors, "ValidationErrors": errors}


def _checked(conn: sa.Connection, call: Call, document: str, row: Any) -> dict[str, str]:
    """The ids of whom a policy names. Raises MalformedPolicyDocumentException."""
    try:
        ids = call.app.identity.check_policy(conn, document)
    except PolicyRefused as refused:
        message = "This resource policy contains an unsupported principal." if refused.principal else refused.message
        raise MalformedPolicyDocumentException(message) from None
    for statement in statements(document):
        for action in listed(statement.get("Action", statement.get("NotAction"))):
            if action != "*" and not action.lower().startswith("secretsmanager:"):
                raise MalformedPolicyDocumentException(
                    f"This resource policy contains an unsupported action: {action}. Name actions of secretsmanager."
                )
        for resource in listed(statement.get("Resource", statement.get("NotResource"))):
            if resource != "*" and row is not None and resource != arn(row):
                raise MalformedPolicyDocumentException(
                    f"This resource policy contains an unsupported resource: {resource}. Write * or the ARN of the secret."
                )
    return ids
