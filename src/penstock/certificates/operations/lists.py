"""Revocation lists: certificates of a trust anchor's authorities that are trusted no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.certificates import records
from penstock.certificates.chains import Untrusted, revocation_list, roots_of
from penstock.certificates.errors import ValidationException
from penstock.certificates.operations import Kind, anywhere, refuse_aliases
from penstock.certificates.operations.anchors import ANCHORS
from penstock.wire.call import Input, Output

MAX_LISTS = 10  # of one trust anchor: each is read for each session


def _to_api(call: Call, row: Any) -> Output:
    return {
        "crlId": row.id,
        "crlArn": row.arn,
        "name": row.name,
        "enabled": row.enabled,
        "crlData": row.pem,
        "trustAnchorArn": ANCHORS.arn(call, row.anchor),
        "createdAt": row.created,
        "updatedAt": row.updated,
    }


LISTS = Kind("crl", "revocation list", records.lists, "crlId", "crl", _to_api)


@anywhere("ImportCrl")
async def import_crl(app: App, call: Call, input: Input) -> Output:
    """Trust the certificates no more that a list names, which one of a trust anchor's authorities has signed."""
    refuse_aliases(input)
    anchor = await app.store.read(ANCHORS.found, call, input["trustAnchorArn"])
    pem = _checked(input["crlData"], anchor)

    def check(conn: sa.Connection) -> None:
        ANCHORS.found(conn, call, anchor.id, locked=True)
        if records.count_lists(conn, anchor.id) >= MAX_LISTS:
            raise ValidationException(f"A trust anchor has at most {MAX_LISTS} revocation lists. Update one of them.")

    return await LISTS.create(call, input, check, anchor=anchor.id, pem=pem, enabled=input.get("enabled", False))


@anywhere("GetCrl", resource=LISTS.resource)
async def get_crl(app: App, call: Call, input: Input) -> Output:
    """A revocation list."""
    return await LISTS.get(call, input)


@anywhere("ListCrls")
async def list_crls(app: App, call: Call, input: Input) -> Output:
    """The revocation lists of a region."""
    return await LISTS.listed(call, input, "crls")


@anywhere("UpdateCrl", resource=LISTS.resource)
async def update_crl(app: App, call: Call, input: Input) -> Output:
    """Rename it, or replace it by a newer one."""
    refuse_aliases(input)

    def values(conn: sa.Connection, row: Any) -> Mapping[str, Any]:
        pem = row.pem
        if "crlData" in input:
            pem = _checked(input["crlData"], ANCHORS.found(conn, call, row.anchor))
        return {"name": input.get("name", row.name), "pem": pem}

    return await LISTS.change(call, input, values)


@anywhere("EnableCrl", resource=LISTS.resource)
@anywhere("DisableCrl", resource=LISTS.resource)
async def switch_crl(app: App, call: Call, input: Input) -> Output:
    """Let it count, or not."""
    return await LISTS.switch(call, input)


@anywhere("DeleteCrl", resource=LISTS.resource)
async def delete_crl(app: App, call: Call, input: Input) -> Output:
    """Forget it: what it named is trusted again."""
    return await LISTS.delete(call, input, lambda conn, row: records.delete(conn, records.lists, row.id))


def _checked(data: bytes, anchor: Any) -> bytes:
    try:
        return revocation_list(data, roots_of(anchor.bundle))
    except Untrusted as refused:
        raise ValidationException(f"The crlData is not taken: {refused}.") from None
