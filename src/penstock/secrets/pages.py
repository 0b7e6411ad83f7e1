"""The console's pages about secrets: which there are, how they are rotated, and a value for whoever asks and may."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from penstock.secrets.engine import CURRENT, PENDING
from penstock.webpages.detail import Detail, Part, tag_facts
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View
from penstock.webpages.wording import every, exact, plural

_PAGE = 50
_OPERATION = "GetSecretValue"


def _address(name: str) -> str:
    # Names have slashes, so they are no part of a path.
    return f"/console/secrets/secret?{urlencode({'id': name})}"


async def secrets(view: View) -> Listing:
    """The secrets of the account and region, or those whose names begin with what is searched for."""
    sought, token = view.query.get("q", "").strip(), view.query.get("from", "")
    asked: dict[str, Any] = {"MaxResults": _PAGE, "IncludePlannedDeletion": True}
    if sought:
        asked["Filters"] = [{"Key": "name", "Values": [sought]}]
    if token:
        asked["NextToken"] = token
    answer = await view.call("secretsmanager", "ListSecrets", **asked)
    found = answer["SecretList"]
    rotated = sum(one.get("RotationEnabled", False) for one in found)
    return Listing(
        lede=f"{plural(len(found), 'secret')} on this page, {rotated} of them rotated automatically.",
        columns=(
            Column("Secret"),
            Column("For", "clip"),
            Column("Rotation"),
            Column("Last read", "num"),
            Column("Changed", "num"),
        ),
        rows=[_row(one) for one in found],
        empty=Empty(icon="search", title="No secret begins like this", text=f"No name begins with {sought}.")
        if sought
        else Empty(
            icon="lock",
            title="No secrets yet",
            text="A secret is a password or a token by name, in versions, encrypted under a key. Builds and applications read it.",
            command="aws secretsmanager create-secret --name shop/db --secret-string file://db.json",
        ),
        behind="ListSecrets",
        command="aws secretsmanager list-secrets",
        next_page=following(answer.get("NextToken", ""), q=sought),
        search="Search by how a name begins",
        sought=sought,
    )


def _row(one: dict[str, Any]) -> Row:
    if "DeletedDate" in one:
        rotation = Cell(text="to be deleted", below_at=one["DeletedDate"])
    elif one.get("RotationEnabled"):
        rotation = Cell(
            text="by itself", below="next" if "NextRotationDate" in one else "", below_at=one.get("NextRotationDate")
        )
    else:
        rotation = Cell(text="off" if "RotationEnabled" in one else "")
    return Row(
        (
            Cell(text=one["Name"], href=_address(one["Name"])),
            Cell(text=one.get("Description", ""), title=one.get("Description", "")),
            rotation,
            _day(one),
            Cell(at=one.get("LastChangedDate")),
        )
    )


def _day(one: dict[str, Any]) -> str:
    """When a value was last read, which is known by the day."""
    return exact(one["LastAccessedDate"])[:10] if "LastAccessedDate" in one else "never"


async def secret(view: View) -> Detail:
    """One secret, without its value."""
    return await _detail(view, view.query.get("id", ""))


async def reveal(view: View) -> Response:
    """The page with the current value, which is read and recorded like any other reading."""
    name = view.form.get("id", "")
    read = await view.call("secretsmanager", _OPERATION, SecretId=name)
    shown = (
        read["SecretString"]
        if "SecretString" in read
        else plural(len(read["SecretBinary"]), "byte, which is no text", "bytes, which are no text")
    )
    return view.render("detail.html", detail=await _detail(view, name, value=shown))


async def _detail(view: View, name: str, *, value: str = "") -> Detail:
    found = await view.call("secretsmanager", "DescribeSecret", SecretId=name)
    versions = await view.allowed("secretsmanager", "ListSecretVersionIds", SecretId=name)
    policy = await view.allowed("secretsmanager", "GetResourcePolicy", SecretId=name)
    deleted = "DeletedDate" in found
    may = not deleted and await view.may("secretsmanager", _OPERATION, SecretId=name)
    rules = found.get("RotationRules", {})
    schedule = rules.get("ScheduleExpression") or (
        every(rules["AutomaticallyAfterDays"]) if "AutomaticallyAfterDays" in rules else "on demand only"
    )
    return Detail(
        title=found["Name"],
        list_title="Secrets",
        list_path="secrets",
        lede=found.get("Description") or "Its value is encrypted, and every reading of it is on record.",
        warning="This secret will be deleted. Until then restore-secret keeps it." if deleted else _under_way(found),
        facts=[
            ("ARN", found["ARN"]),
            ("Key", found.get("KmsKeyId", "alias/aws/secretsmanager")),
            ("Created", Cell(at=found["CreatedDate"])),
            ("Changed", Cell(at=found["LastChangedDate"])),
            ("Last read", _day(found)),
            ("Deleted", Cell(at=found["DeletedDate"]) if deleted else ""),
            ("Rotation", "" if "RotationEnabled" not in found else schedule if found["RotationEnabled"] else "off"),
            ("Rotated by", found.get("RotationLambdaARN", "")),
            ("Last rotated", Cell(at=found["LastRotatedDate"]) if "LastRotatedDate" in found else ""),
            ("Next rotation", Cell(at=found["NextRotationDate"]) if "NextRotationDate" in found else ""),
            *tag_facts(found),
        ],
        parts=[
            Part(
                title="Value",
                text=value,
                none="It is read when you ask for it, and that is recorded."
                if may
                else "It cannot be read any more."
                if deleted
                else "A policy does not let you read it.",
                button="Show the value" if may and not value else "",
                path="/console/secrets/secret/value",
                fields={"id": name},
            ),
            Part(
                title="Versions",
                columns=(Column("Version"), Column("Stages"), Column("Made", "num")),
                rows=[
                    Row(
                        (
                            Cell(code=one["VersionId"]),
                            ", ".join(one.get("VersionStages", ())),
                            Cell(at=one["CreatedDate"]),
                        )
                    )
                    for one in (versions or {}).get("Versions", [])
                ],
                none="A policy does not let you see the versions." if versions is None else "It has no value yet.",
            ),
            Part(
                title="Policy",
                text=json.dumps(json.loads(policy["ResourcePolicy"]), indent=2, ensure_ascii=False)
                if policy and "ResourcePolicy" in policy
                else "",
                none="A policy does not let you see it."
                if policy is None
                else "It has none: only this account reads it.",
            ),
        ],
        behind="DescribeSecret, ListSecretVersionIds, GetResourcePolicy",
        command=f"aws secretsmanager describe-secret --secret-id {name}",
    )


def _under_way(found: dict[str, Any]) -> str:
    """What to know of a rotation that has not ended well yet."""
    stages = found.get("VersionIdsToStages", {})
    pending = next((id_ for id_, of_it in stages.items() if PENDING in of_it and CURRENT not in of_it), "")
    if not pending or not found.get("RotationEnabled"):
        return ""
    group = f"/aws/lambda/{found['RotationLambdaARN'].rpartition(':')[2]}"
    return (
        f"A rotation is under way or was given up: version {pending} is {PENDING}. "
        f"How its steps went is in the log group {group}; penstock doctor says why one was given up."
    )


PAGES = (
    Page(
        path="secrets",
        title="Secrets",
        load=secrets,
        nav=Nav(group=Group.GOVERN, service="secretsmanager", operation="ListSecrets"),
    ),
    Page(path="secrets/secret", load=secret, forms={"value": reveal}),
)
