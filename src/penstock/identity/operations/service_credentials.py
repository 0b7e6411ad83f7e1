"""IAM's service-specific credentials, with which users sign in to Git."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.errors import LimitExceededException, NoSuchEntityException, ValidationErrorException
from penstock.identity.operations import iam
from penstock.identity.operations.entities import find_user, page, settable_status, user_arn, user_name
from penstock.identity.service_credentials import CODECOMMIT, credentials, digest_of, free_name, new_password
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

MAX_CREDENTIALS = 2  # per user and service, so that one can be replaced while the other works
_c = credentials.c


def _keys(_call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    """What policies may ask of a new credential."""
    return {"iam:servicespecificcredentialservicename": input["ServiceName"]}


@iam("CreateServiceSpecificCredential", resource=user_arn, keys=_keys)
async def create_service_specific_credential(authority: Authority, call: Call, input: Input) -> Output:
    """A new user name and password of a user; of the answers only this one and those of resets show a password."""
    service = _supported(input["ServiceName"])
    if "CredentialAgeDays" in input:
        raise ValidationErrorException(f"Credentials for {service} do not expire. Leave CredentialAgeDays out.")
    password = new_password()

    def tx(conn: sa.Connection) -> Output:
        user = find_user(conn, call.account, input["UserName"])
        count = sa.select(sa.func.count()).where(_c.user_id == user.id, _c.service == service)
        if conn.execute(count).scalar_one() >= MAX_CREDENTIALS:
            raise LimitExceededException(quota="ServiceSpecificCredentialsPerUser", limit=MAX_CREDENTIALS)
        row = {
            "id": naming.unique_id(naming.SERVICE_CREDENTIAL),
            "account": call.account,
            "user_id": user.id,
            "service": service,
            "name": free_name(conn, user.name, call.account),
            "digest": digest_of(password),
            "status": "Active",
            "created": call.now,
        }
        conn.execute(credentials.insert().values(row))
        return _to_api(_row(conn, row["id"]), user.name)

    return {"ServiceSpecificCredential": await authority.change(tx) | {"ServicePassword": password}}


def _listed_arn(call: Call, input: Input) -> Any:
    everybody = naming.arn(call.partition, call.account, "user", "/", "*")
    return everybody if input.get("AllUsers") else user_arn(call, input)


@iam("ListServiceSpecificCredentials", resource=_listed_arn)
async def list_service_specific_credentials(authority: Authority, call: Call, input: Input) -> Output:
    """The credentials of a user, of the caller, or of all users of the account."""
    if input.get("AllUsers") and "UserName" in input:
        raise ValidationErrorException("AllUsers and UserName cannot be specified together. Leave one of them out.")
    wanted = sa.select(credentials, records.users.c.name.label("user_name")).join(
        records.users, records.users.c.id == _c.user_id
    )
    if "ServiceName" in input:
        wanted = wanted.where(_c.service == _supported(input["ServiceName"]))

    def read(conn: sa.Connection) -> tuple[list[Any], Output]:
        if input.get("AllUsers"):
            own = wanted.where(_c.account == call.account)
        else:
            own = wanted.where(_c.user_id == find_user(conn, call.account, user_name(call, conn, input)).id)

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            return list(conn.execute(rows_behind(own, [_c.id], keyset, limit=limit)).all())

        return page(call, input, after, "id")

    found, more = await call.app.store.scan(read)
    return {"ServiceSpecificCredentials": [_to_api(row, row.user_name) for row in found], **more}


@iam("UpdateServiceSpecificCredential", resource=user_arn)
async def update_service_specific_credential(authority: Authority, call: Call, input: Input) -> None:
    """Switch a credential on or off."""
    status = settable_status(input)

    def tx(conn: sa.Connection) -> None:
        row, _ = _own(call, conn, input)
        conn.execute(credentials.update().where(_c.id == row.id).values(status=status))

    await authority.change(tx)


@iam("ResetServiceSpecificCredential", resource=user_arn)
async def reset_service_specific_credential(authority: Authority, call: Call, input: Input) -> Output:
    """Another password, from now on in place of the one before. An inactive credential stays inactive."""
    password = new_password()

    def tx(conn: sa.Connection) -> Output:
        row, name = _own(call, conn, input)
        conn.execute(credentials.update().where(_c.id == row.id).values(digest=digest_of(password)))
        return _to_api(row, name)

    return {"ServiceSpecificCredential": await authority.change(tx) | {"ServicePassword": password}}


@iam("DeleteServiceSpecificCredential", resource=user_arn)
async def delete_service_specific_credential(authority: Authority, call: Call, input: Input) -> None:
    """Forget a credential; nobody signs in with it any more."""

    def tx(conn: sa.Connection) -> None:
        row, _ = _own(call, conn, input)
        conn.execute(credentials.delete().where(_c.id == row.id))

    await authority.change(tx)


def _supported(service: str) -> str:
    """The service, which must be one that has such credentials here. Raises NoSuchEntity."""
    if service != CODECOMMIT:
        raise NoSuchEntityException(f"No such service {service} is supported for Service Specific Credentials")
    return service


def _row(conn: sa.Connection, credential_id: str) -> Any:
    return conn.execute(sa.select(credentials).where(_c.id == credential_id)).first()


def _own(call: Call, conn: sa.Connection, input: Input) -> tuple[Any, str]:
    """The credential, which must be one of the user's or of the caller's, and the user's name. Raises NoSuchEntity."""
    user = find_user(conn, call.account, user_name(call, conn, input))
    row = _row(conn, input["ServiceSpecificCredentialId"])
    if row is None or row.user_id != user.id:
        raise NoSuchEntityException(f"No such credential {input['ServiceSpecificCredentialId']} exists")
    return row, user.name


def _to_api(row: Any, name: str) -> Output:
    """The `ServiceSpecificCredential` shape without its password."""
    return {
        "UserName": name,
        "Status": row.status,
        "ServiceUserName": row.name,
        "CreateDate": row.created,
        "ServiceSpecificCredentialId": row.id,
        "ServiceName": row.service,
    }
