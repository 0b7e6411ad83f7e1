"""OpenID Connect providers: whose tokens the roles of an account may trust."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records
from penstock.identity.authority import Authority
from penstock.identity.errors import (
    EntityAlreadyExistsException,
    InvalidInputException,
    LimitExceededException,
    NoSuchEntityException,
    ValidationErrorException,
)
from penstock.identity.operations import iam
from penstock.identity.operations.entities import change_row, merged_tags, tags, tags_page, without_tags
from penstock.wire.call import Input, Output

MAX_PROVIDERS = 100
MAX_CLIENTS = 100
MAX_THUMBPRINTS = 5
_URL = re.compile(r"https://([A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[\x21\x24-\x2e\x30-\x3b\x3d\x40-\x7e/]*)?)")


def _new_arn(call: Call, input: Input) -> str:
    return _arn(call, input["Url"].removeprefix("https://"))


def _given_arn(_call: Call, input: Input) -> str:
    return input["OpenIDConnectProviderArn"]


@iam("CreateOpenIDConnectProvider", resource=_new_arn)
async def create_provider(authority: Authority, call: Call, input: Input) -> Output:
    """Let roles trust the tokens of an issuer, given by its https URL, for some audiences.

    The URL is kept as it is given: an issuer with a slash at its end is another one than one without.
    """
    url = _URL.fullmatch(input["Url"])
    if url is None:
        raise ValidationErrorException("Invalid Open ID Connect Provider URL")
    thumbprints = _thumbprints(input.get("ThumbprintList", ()))
    clients = list(dict.fromkeys(input.get("ClientIDList", ())))
    if len(clients) > MAX_CLIENTS:
        raise LimitExceededException(quota="ClientIdsPerOpenIdConnectProvider", limit=MAX_CLIENTS)
    tagged = tags(input.get("Tags"))
    arn = _arn(call, url[1])
    if tagged:
        await call.app.identity.authorize(call, "iam:TagOpenIDConnectProvider", (arn,))

    def tx(conn: sa.Connection) -> None:
        if records.oidc_provider(conn, arn) is not None:
            raise EntityAlreadyExistsException(f"Provider with url {input['Url']} already exists.")
        c = records.oidc_providers.c
        count = conn.execute(sa.select(sa.func.count()).where(c.account == call.account)).scalar_one()
        if count >= MAX_PROVIDERS:
            raise LimitExceededException(quota="OpenIdConnectProvidersPerAccount", limit=MAX_PROVIDERS)
        conn.execute(
            records.oidc_providers.insert().values(
                arn=arn,
                account=call.account,
                url=url[1],
                clients=clients,
                thumbprints=thumbprints,
                tags=tagged,
                created=call.now,
            )
        )

    await authority.change(tx)
    return {"OpenIDConnectProviderArn": arn, **({"Tags": tagged} if tagged else {})}


@iam("GetOpenIDConnectProvider", resource=_given_arn)
async def get_provider(authority: Authority, call: Call, input: Input) -> Output:
    """A provider."""
    row = await call.app.store.read(_found, call, input)
    return {
        "Url": row.url,
        "ClientIDList": row.clients,
        "ThumbprintList": row.thumbprints,
        "CreateDate": row.created,
        "Tags": row.tags,
    }


@iam("ListOpenIDConnectProviders")
async def list_providers(authority: Authority, call: Call, input: Input) -> Output:
    """The account's providers; at most 100, in one answer."""
    c = records.oidc_providers.c

    def read(conn: sa.Connection) -> list[str]:
        return list(conn.execute(sa.select(c.arn).where(c.account == call.account).order_by(c.arn)).scalars())

    return {"OpenIDConnectProviderList": [{"Arn": arn} for arn in await call.app.store.read(read)]}


@iam("DeleteOpenIDConnectProvider", resource=_given_arn)
async def delete_provider(authority: Authority, call: Call, input: Input) -> None:
    """Trust its tokens no more; roles that name it stay."""
    arn = input["OpenIDConnectProviderArn"]

    def tx(conn: sa.Connection) -> None:
        c = records.oidc_providers.c
        if not conn.execute(records.oidc_providers.delete().where(c.arn == arn, c.account == call.account)).rowcount:
            raise NoSuchEntityException(f"OpenId connect Provider {arn} cannot be found.")

    await authority.change(tx)


@iam("UpdateOpenIDConnectProviderThumbprint", resource=_given_arn)
async def update_thumbprints(authority: Authority, call: Call, input: Input) -> None:
    """Replace the certificates that are trusted beside those of public authorities."""
    thumbprints = _thumbprints(input["ThumbprintList"])
    await _update(authority, call, input, lambda _row: {"thumbprints": thumbprints})


@iam("AddClientIDToOpenIDConnectProvider", resource=_given_arn)
async def add_client(authority: Authority, call: Call, input: Input) -> None:
    """Take tokens for one more audience; twice is no error."""
    client = input["ClientID"]

    def added(row: Any) -> dict[str, Any]:
        clients = list(dict.fromkeys([*row.clients, client]))
        if len(clients) > MAX_CLIENTS:
            raise LimitExceededException(quota="ClientIdsPerOpenIdConnectProvider", limit=MAX_CLIENTS)
        return {"clients": clients}

    await _update(authority, call, input, added)


@iam("RemoveClientIDFromOpenIDConnectProvider", resource=_given_arn)
async def remove_client(authority: Authority, call: Call, input: Input) -> None:
    """Take no more tokens for an audience; one that is not there is no error."""
    client = input["ClientID"]
    await _update(authority, call, input, lambda row: {"clients": [one for one in row.clients if one != client]})


@iam("TagOpenIDConnectProvider", resource=_given_arn)
async def tag_provider(authority: Authority, call: Call, input: Input) -> None:
    """Add or replace tags."""
    await _update(authority, call, input, lambda row: {"tags": merged_tags(row.tags, input["Tags"])})


@iam("UntagOpenIDConnectProvider", resource=_given_arn)
async def untag_provider(authority: Authority, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _update(authority, call, input, lambda row: {"tags": without_tags(row.tags, input["TagKeys"])})


@iam("ListOpenIDConnectProviderTags", resource=_given_arn)
async def list_provider_tags(authority: Authority, call: Call, input: Input) -> Output:
    """A provider's tags, a page at a time."""
    row = await call.app.store.read(_found, call, input)
    return tags_page(call, input, row.tags)


def _arn(call: Call, host_and_path: str) -> str:
    return f"arn:{call.partition}:iam::{call.account}:oidc-provider/{host_and_path}"


def _thumbprints(given: Any) -> list[str]:
    if len(given) > MAX_THUMBPRINTS:
        raise InvalidInputException("Thumbprint list must contain fewer than 5 entries.")
    return [one.lower() for one in given]


def _found(conn: sa.Connection, call: Call, input: Input) -> Any:
    arn = input["OpenIDConnectProviderArn"]
    row = records.oidc_provider(conn, arn)
    if row is None or row.account != call.account:
        raise NoSuchEntityException(f"OpenIDConnect Provider not found for arn {arn}")
    return row


async def _update(authority: Authority, call: Call, input: Input, values: Callable[[Any], dict[str, Any]]) -> None:
    await change_row(authority, records.oidc_providers, partial(_found, call=call, input=input), values)
