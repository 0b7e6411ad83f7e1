"""The console's pages about keys of KMS: which there are, in which state, and who may use them."""

from __future__ import annotations

import json
from typing import Any

from penstock.webpages.detail import Detail, Part
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import every, plural
from penstock.wire.errors import ServiceError

_PAGE = 30  # each is described by a call of its own
_STATES = {
    "PendingDeletion": "to be deleted",
    "Enabled": "enabled",
    "Disabled": "disabled",
    "PendingImport": "without material",
}


async def keys(view: View) -> Listing:
    """The keys of the account and region."""
    marker = view.query.get("from", "")
    listed = await view.call("kms", "ListKeys", Limit=_PAGE, **({"Marker": marker} if marker else {}))
    aliases = await _aliases(view)
    rows = [await _row(view, one["KeyId"], aliases.get(one["KeyId"], [])) for one in listed["Keys"]]
    return Listing(
        lede=f"{plural(len(rows), 'key')} of account {view.visitor.account} in {view.region} on this page.",
        columns=(
            Column("Key"),
            Column("Aliases", "clip"),
            Column("State"),
            Column("For"),
            Column("Made", "num"),
        ),
        rows=rows,
        empty=Empty(
            icon="lock",
            title="No keys yet",
            text="A key encrypts artifacts, logs, parameters and secrets, or signs; whoever may not use it cannot read them.",
            command="aws kms create-key --description shop",
        ),
        behind="ListKeys, ListAliases, DescribeKey",
        command="aws kms list-keys",
        next_page=following(listed.get("NextMarker", "")),
    )


async def _aliases(view: View) -> dict[str, list[str]]:
    """Aliases by id of their key, of the first thousand."""
    found: dict[str, list[str]] = {}
    answer: dict[str, Any] = {}
    for _ in range(10):
        more = {"Marker": answer["NextMarker"]} if "NextMarker" in answer else {}
        answer = await view.allowed("kms", "ListAliases", Limit=100, **more) or {}
        for one in answer.get("Aliases", []):
            found.setdefault(one.get("TargetKeyId", ""), []).append(one["AliasName"])
        if "NextMarker" not in answer:
            break
    return found


async def _row(view: View, key_id: str, aliases: list[str]) -> Row:
    answer = await view.allowed("kms", "DescribeKey", KeyId=key_id)
    named = Cell(text=key_id, href=f"/console/keys/{part(key_id)}")
    if answer is None:
        return Row((named, ", ".join(aliases), "A policy does not let you see it.", "", None))
    key = answer["KeyMetadata"]
    return Row((named, ", ".join(aliases), _state(key), _use(key), Cell(at=key["CreationDate"])))


def _state(key: dict[str, Any]) -> Cell:
    return Cell(
        text=_word(key),
        below="gone" if "DeletionDate" in key else "",
        below_at=key.get("DeletionDate"),
    )


def _word(key: dict[str, Any]) -> str:
    return _STATES.get(key["KeyState"], str(key["KeyState"]))


def _use(key: dict[str, Any]) -> str:
    use = key["KeyUsage"].lower().replace("_", " ")
    return f"{use}, {key['KeySpec']}"


async def key(view: View) -> Detail:
    """One key: state, rotation, aliases, policy and grants."""
    key_id = view.path["id"]
    found = (await view.call("kms", "DescribeKey", KeyId=key_id))["KeyMetadata"]
    aliases = await view.allowed("kms", "ListAliases", KeyId=key_id)
    grants = await view.allowed("kms", "ListGrants", KeyId=key_id)
    policy = await view.allowed("kms", "GetKeyPolicy", KeyId=key_id, PolicyName="default")
    named = [one["AliasName"] for one in (aliases or {}).get("Aliases", [])]
    gone = Cell(at=found["DeletionDate"]) if "DeletionDate" in found else ""
    return Detail(
        title=named[0] if named else key_id,
        list_title="Keys",
        list_path="keys",
        lede=found.get("Description") or f"It is {_word(found)}.",
        warning="This key will be deleted, and with it whatever it has encrypted." if gone else "",
        facts=[
            ("ARN", found["Arn"]),
            ("State", _word(found)),
            ("Deleted", gone),
            ("For", _use(found)),
            ("Managed by", "AWS, for a service" if found["KeyManager"] == "AWS" else "you"),
            ("Created", Cell(at=found["CreationDate"])),
            ("Rotation", await _rotation(view, key_id)),
            ("Aliases", ", ".join(named)),
        ],
        parts=[
            Part(
                title="Who may use it",
                text="" if policy is None else json.dumps(json.loads(policy["Policy"]), indent=2, ensure_ascii=False),
                none="A policy does not let you see the key's policy.",
            ),
            Part(
                title="Grants",
                columns=(Column("To", "clip"), Column("For", "clip"), Column("Made", "num")),
                rows=[
                    Row(
                        (
                            Cell(text=one["GranteePrincipal"], title=one["GranteePrincipal"]),
                            ", ".join(one["Operations"]),
                            Cell(at=one["CreationDate"]),
                        )
                    )
                    for one in (grants or {}).get("Grants", [])
                ],
                none="A policy does not let you see the grants." if grants is None else "There is no grant.",
            ),
        ],
        behind="DescribeKey, GetKeyRotationStatus, ListAliases, GetKeyPolicy, ListGrants",
        command=f"aws kms describe-key --key-id {key_id}",
    )


async def _rotation(view: View, key_id: str) -> str:
    try:
        answer = await view.allowed("kms", "GetKeyRotationStatus", KeyId=key_id)
    except ServiceError:  # of a kind that is never rotated
        return "never"
    if answer is None:
        return ""
    return every(answer["RotationPeriodInDays"]) if answer["KeyRotationEnabled"] else "on demand only"


PAGES = (
    Page(
        path="keys", title="Keys", load=keys, nav=Nav(group=Group.GOVERN, service="kms", operation="ListKeys", key="k")
    ),
    Page(path="keys/{id}", load=key),
)
