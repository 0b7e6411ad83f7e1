"""The console's pages about parameters: which there are, their versions, and a value for whoever may read it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from penstock.webpages.detail import Detail, Part
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View
from penstock.webpages.wording import person, plural

_PAGE = 50
_VERSIONS = 100  # as many as a parameter has


async def parameters(view: View) -> Listing:
    """The parameters of the account and region, or those whose names have what is searched for."""
    sought, token = view.query.get("q", "").strip(), view.query.get("from", "")
    asked: dict[str, Any] = {"MaxResults": _PAGE}
    if sought:
        asked["ParameterFilters"] = [{"Key": "Name", "Option": "Contains", "Values": [sought]}]
    if token:
        asked["NextToken"] = token
    answer = await view.call("ssm", "DescribeParameters", **asked)
    found = answer["Parameters"]
    sealed = sum(one["Type"] == "SecureString" for one in found)
    return Listing(
        lede=f"{plural(len(found), 'parameter')} on this page, {sealed} of them encrypted.",
        columns=(
            Column("Parameter"),
            Column("Type"),
            Column("Version", "num"),
            Column("For", "clip"),
            Column("Changed by", "by"),
            Column("Changed", "num"),
        ),
        rows=[_row(one) for one in found],
        empty=Empty(icon="search", title="No parameter has that in its name", text=f"Nothing was found for {sought}.")
        if sought
        else Empty(
            icon="box",
            title="No parameters yet",
            text="A parameter is an address, a switch or a password by name, in versions. Builds and applications read it.",
            command="aws ssm put-parameter --name /shop/prod/host --type String --value db.example",
        ),
        behind="DescribeParameters",
        command="aws ssm describe-parameters",
        next_page=following(answer.get("NextToken", ""), q=sought),
        search="Search in names",
        sought=sought,
    )


def _row(one: dict[str, Any]) -> Row:
    name = one["Name"]
    return Row(
        (
            # Names have slashes, so they are no part of a path.
            Cell(text=name, href=f"/console/parameters/parameter?{urlencode({'name': name})}"),
            one["Type"],
            one["Version"],
            Cell(text=one.get("Description", ""), title=one.get("Description", "")),
            Cell(text=person(one["LastModifiedUser"]), title=one["LastModifiedUser"]),
            Cell(at=one["LastModifiedDate"]),
        )
    )


async def parameter(view: View) -> Detail | Response:
    """One parameter; the value of one that is encrypted is shown on demand only."""
    return await _detail(view, view.query.get("name", ""))


async def reveal(view: View) -> Response:
    """The page with the value, which is decrypted and recorded like any other reading."""
    name = view.form.get("name", "")
    read = await view.call("ssm", "GetParameter", Name=name, WithDecryption=True)
    detail = await _detail(view, name, value=read["Parameter"]["Value"])
    return detail if isinstance(detail, Response) else view.render("detail.html", detail=detail)


async def _detail(view: View, name: str, *, value: str = "") -> Detail | Response:
    only = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    described = (await view.call("ssm", "DescribeParameters", ParameterFilters=only))["Parameters"] if name else []
    if not described:
        said = f"There is no parameter of the name {name} in {view.region}."
        return view.render("problem.html", status=404, title="Not found", message=said, missing="", authorization="")
    (found,) = described
    history = await _history(view, name)
    sealed = found["Type"] == "SecureString"
    may = await view.may("ssm", "GetParameter", Name=name)
    if may and not sealed:
        value = (await view.call("ssm", "GetParameter", Name=name))["Parameter"]["Value"]
    return Detail(
        title=name,
        list_title="Parameters",
        list_path="parameters",
        lede=found.get("Description") or f"A {found['Type']} in version {found['Version']}.",
        facts=[
            ("Type", found["Type"]),
            ("Tier", found.get("Tier", "")),
            ("Key", found.get("KeyId", "")),
            ("Version", str(found["Version"])),
            ("Changed", Cell(at=found["LastModifiedDate"])),
            ("Changed by", found["LastModifiedUser"]),
            ("Allowed pattern", found.get("AllowedPattern", "")),
        ],
        parts=[
            Part(
                title="Value",
                text=value,
                none="It is decrypted when you ask for it, and that is recorded."
                if may
                else "A policy does not let you read it.",
                button="Show the value" if may and sealed and not value else "",
                path="/console/parameters/parameter/value",
                fields={"name": name},
            ),
            Part(
                title="Versions",
                columns=(Column("Version"), Column("Labels"), Column("Changed by", "by"), Column("Made", "num")),
                rows=[
                    Row(
                        (
                            str(one["Version"]),
                            ", ".join(one.get("Labels", ())),
                            Cell(text=person(one["LastModifiedUser"]), title=one["LastModifiedUser"]),
                            Cell(at=one["LastModifiedDate"]),
                        )
                    )
                    for one in reversed(history or [])
                ],
                none="A policy does not let you see the versions.",
            ),
        ],
        behind="DescribeParameters, GetParameterHistory",
        command=f"aws ssm get-parameter-history --name {name}",
    )


async def _history(view: View, name: str) -> list[dict[str, Any]] | None:
    """The versions, the oldest first; None where the visitor may not see them."""
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while len(found) < _VERSIONS:
        answer = await view.allowed("ssm", "GetParameterHistory", Name=name, MaxResults=50, **more)
        if answer is None:
            return None
        found += answer["Parameters"]
        if "NextToken" not in answer:
            break
        more = {"NextToken": answer["NextToken"]}
    return found


PAGES = (
    Page(
        path="parameters",
        title="Parameters",
        load=parameters,
        nav=Nav(group=Group.GOVERN, service="ssm", operation="DescribeParameters"),
    ),
    Page(path="parameters/parameter", load=parameter, forms={"value": reveal}),
)
