"""The console's pages about users: who there is, and what each of them may do and holds."""

from __future__ import annotations

from typing import Any

from penstock.identity.entity_lists import CREATED, attachments, inline_policies, listing_of
from penstock.webpages.detail import Detail, Part, tag_facts
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import View, part
from penstock.webpages.wording import plural


async def users(view: View) -> Listing:
    """Every user of the account by name."""
    return await listing_of(
        view,
        operation="ListUsers",
        member="Users",
        name="UserName",
        noun="user",
        columns=(Column("User"), Column("Path"), Column("Password used", "num"), CREATED),
        row=lambda one: Row(
            (
                Cell(text=one["UserName"], href=f"/console/users/{part(one['UserName'])}"),
                one["Path"],
                Cell(at=one.get("PasswordLastUsed")),
                Cell(at=one["CreateDate"]),
            )
        ),
        empty=Empty(
            icon="s-waiting",
            title="No users",
            text="A user is a person or a program with a password or keys of its own. A person gets a link to choose a password:",
            command="penstock user add ann",
        ),
    )


async def user(view: View) -> Detail:
    """One user: groups, policies, keys, second factors."""
    name = view.path["name"]
    found = (await view.call("iam", "GetUser", UserName=name))["User"]
    groups = await view.allowed("iam", "ListGroupsForUser", UserName=name)
    keys = await view.allowed("iam", "ListAccessKeys", UserName=name)
    credentials = await view.allowed("iam", "ListServiceSpecificCredentials", UserName=name)
    devices = await view.allowed("iam", "ListMFADevices", UserName=name)
    named = [one["GroupName"] for one in (groups or {}).get("Groups", [])]
    active = sum(one["Status"] == "Active" for one in (keys or {}).get("AccessKeyMetadata", []))
    return Detail(
        title=name,
        list_title="Users",
        list_path="users",
        lede=f"{name} is in {plural(len(named), 'group')} and has {plural(active, 'active access key')}."
        if groups is not None and keys is not None
        else f"{name} is a user of account {view.visitor.account}.",
        facts=[
            ("ARN", found["Arn"]),
            ("Id", found["UserId"]),
            ("Created", Cell(at=found["CreateDate"])),
            ("Password last used", Cell(at=found["PasswordLastUsed"]) if "PasswordLastUsed" in found else "never"),
            ("Second factors", "" if devices is None else str(len(devices["MFADevices"]))),
            ("Boundary", found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")),
            *tag_facts(found),
        ],
        parts=[
            Part(
                title="Access keys",
                columns=(
                    Column("Key"),
                    Column("State"),
                    Column("Made", "num"),
                    Column("Last used", "num"),
                    Column("For"),
                ),
                rows=[await _key_row(view, one) for one in (keys or {}).get("AccessKeyMetadata", [])],
                none="A policy does not let you see the keys." if keys is None else f"{name} has no access key.",
            ),
            Part(
                title="Git credentials",
                columns=(Column("User name"), Column("State"), Column("Made", "num"), Column("Service")),
                rows=[
                    Row(
                        (
                            Cell(code=one["ServiceUserName"]),
                            one["Status"],
                            Cell(at=one["CreateDate"]),
                            one["ServiceName"],
                        )
                    )
                    for one in (credentials or {}).get("ServiceSpecificCredentials", [])
                ],
                none="A policy keeps you from seeing the credentials."
                if credentials is None
                else f"{name} has no user name and password for Git.",
            ),
            Part(
                title="Groups",
                columns=(Column("Group"),),
                rows=[Row((Cell(text=one, href=f"/console/groups/{part(one)}"),)) for one in named],
                none="A policy does not let you see the groups." if groups is None else f"{name} is in no group.",
            ),
            await attachments(view, "ListAttachedUserPolicies", UserName=name),
            *await inline_policies(view, "ListUserPolicies", "GetUserPolicy", UserName=name),
        ],
        behind="GetUser, ListAccessKeys, GetAccessKeyLastUsed, ListServiceSpecificCredentials, ListGroupsForUser, ListAttachedUserPolicies, ListUserPolicies",
        command=f"aws iam get-user --user-name {name}",
    )


async def _key_row(view: View, key: dict[str, Any]) -> Row:
    used = await view.allowed("iam", "GetAccessKeyLastUsed", AccessKeyId=key["AccessKeyId"])
    last = (used or {}).get("AccessKeyLastUsed", {})
    where = f"{last['ServiceName']} in {last['Region']}" if "LastUsedDate" in last else ""
    return Row(
        (
            Cell(code=key["AccessKeyId"]),
            key["Status"],
            Cell(at=key["CreateDate"]),
            Cell(at=last["LastUsedDate"]) if "LastUsedDate" in last else "" if used is None else "never",
            where,
        )
    )


PAGES = (
    Page(
        path="users",
        title="Users",
        load=users,
        nav=Nav(group=Group.GOVERN, service="iam", operation="ListUsers", key="u"),
    ),
    Page(path="users/{name}", load=user),
)
