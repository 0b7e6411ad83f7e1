"""The console's pages about roles and groups: who may take them or is in them, and what they may do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from penstock.identity.entity_lists import CREATED, attachments, inline_policies, listing_of, policy_text
from penstock.webpages.detail import Detail, Part, tag_facts
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural

_NAMED = 3  # principals in a cell


async def roles(view: View) -> Listing:
    """Every role of the account by name."""
    return await listing_of(
        view,
        operation="ListRoles",
        member="Roles",
        name="RoleName",
        noun="role",
        columns=(Column("Role"), Column("Who may take it", "clip"), Column("For", "clip"), CREATED),
        row=_role_row,
        empty=Empty(
            icon="s-waiting",
            title="No roles",
            text="A role is what services, hosts and CI systems act under. Its trust policy says who may take it:",
            command="aws iam create-role --role-name NAME --assume-role-policy-document file://trust.json",
        ),
    )


def _role_row(one: dict[str, Any]) -> Row:
    trusted = trusted_by(one["AssumeRolePolicyDocument"])
    shown = ", ".join(trusted[:_NAMED]) + (f" and {len(trusted) - _NAMED} more" if len(trusted) > _NAMED else "")
    return Row(
        (
            Cell(text=one["RoleName"], href=f"/console/roles/{part(one['RoleName'])}"),
            Cell(text=shown, title=", ".join(trusted)),
            Cell(text=one.get("Description", ""), title=one.get("Description", "")),
            Cell(at=one["CreateDate"]),
        )
    )


def trusted_by(document: str) -> list[str]:
    """Whom a trust policy, as answers have it, lets take the role: services, ARNs, providers. What it denies is not looked at."""
    statements = json.loads(unquote(document)).get("Statement", [])
    found = [
        name
        for one in (statements if isinstance(statements, list) else [statements])
        if one.get("Effect") == "Allow"
        for name in _principals(one.get("Principal", {}))
    ]
    return list(dict.fromkeys(found))


def _principals(principal: str | Mapping[str, Any]) -> Iterator[str]:
    if isinstance(principal, str):
        yield "everybody"
        return
    for names in principal.values():
        for name in names if isinstance(names, list) else [names]:
            yield "everybody" if name == "*" else name


async def role(view: View) -> Detail:
    """One role: trust, policies, last use."""
    name = view.path["name"]
    found = (await view.call("iam", "GetRole", RoleName=name))["Role"]
    trusted, used = trusted_by(found["AssumeRolePolicyDocument"]), found.get("RoleLastUsed", {})
    last = Cell(at=used["LastUsedDate"]) if "LastUsedDate" in used else "never"
    return Detail(
        title=name,
        list_title="Roles",
        list_path="roles",
        lede=found.get("Description") or f"{plural(len(trusted), 'principal')} may take {name}.",
        facts=[
            ("ARN", found["Arn"]),
            ("Id", found["RoleId"]),
            ("Created", Cell(at=found["CreateDate"])),
            ("Last used", last),
            ("Longest session", f"{found['MaxSessionDuration'] // 60} min"),
            ("Boundary", found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")),
            *tag_facts(found),
        ],
        parts=[
            Part(
                title="Who may take it",
                columns=(Column("Principal"),),
                rows=[Row((one,)) for one in trusted],
                none="Its trust policy lets nobody in.",
            ),
            Part(title="Trust policy", text=policy_text(found["AssumeRolePolicyDocument"])),
            await attachments(view, "ListAttachedRolePolicies", RoleName=name),
            *await inline_policies(view, "ListRolePolicies", "GetRolePolicy", RoleName=name),
        ],
        behind="GetRole, ListAttachedRolePolicies, ListRolePolicies, GetRolePolicy",
        command=f"aws iam get-role --role-name {name}",
    )


async def groups(view: View) -> Listing:
    """Every group of the account by name."""
    return await listing_of(
        view,
        operation="ListGroups",
        member="Groups",
        name="GroupName",
        noun="group",
        columns=(Column("Group"), Column("Path"), CREATED),
        row=lambda one: Row(
            (
                Cell(text=one["GroupName"], href=f"/console/groups/{part(one['GroupName'])}"),
                one["Path"],
                Cell(at=one["CreateDate"]),
            )
        ),
        empty=Empty(
            icon="s-waiting",
            title="No groups",
            text="A group gives all of its users the same policies:",
            command="aws iam create-group --group-name NAME",
        ),
    )


async def group(view: View) -> Detail:
    """One group: users and policies."""
    name = view.path["name"]
    answer = await view.call("iam", "GetGroup", GroupName=name)
    found, members = answer["Group"], answer["Users"]
    more = answer.get("IsTruncated", False)
    return Detail(
        title=name,
        list_title="Groups",
        list_path="groups",
        lede=f"{'More than ' if more else ''}{plural(len(members), 'user')} {'is' if len(members) == 1 else 'are'} in {name}.",
        facts=[("ARN", found["Arn"]), ("Id", found["GroupId"]), ("Created", Cell(at=found["CreateDate"]))],
        parts=[
            Part(
                title="Users",
                columns=(Column("User"),),
                rows=[
                    Row((Cell(text=one["UserName"], href=f"/console/users/{part(one['UserName'])}"),))
                    for one in members
                ],
                none="Nobody is in it.",
            ),
            await attachments(view, "ListAttachedGroupPolicies", GroupName=name),
            *await inline_policies(view, "ListGroupPolicies", "GetGroupPolicy", GroupName=name),
        ],
        behind="GetGroup, ListAttachedGroupPolicies, ListGroupPolicies, GetGroupPolicy",
        command=f"aws iam get-group --group-name {name}",
    )


PAGES = (
    Page(
        path="groups", title="Groups", load=groups, nav=Nav(group=Group.GOVERN, service="iam", operation="ListGroups")
    ),
    Page(path="groups/{name}", load=group),
    Page(
        path="roles",
        title="Roles",
        load=roles,
        nav=Nav(group=Group.GOVERN, service="iam", operation="ListRoles", key="r"),
    ),
    Page(path="roles/{name}", load=role),
)
