"""`/console/security`: how the visitor signs in, and where the visitor is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from penstock.console import cookies
from penstock.webpages.page import Page
from penstock.webpages.view import View
from penstock.wire.call import PrincipalKind
from penstock.wire.errors import ServiceError
from penstock.wire.message import client_address

_BROWSERS = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a form could not do, and the field where that is said."""

    message: str
    field: str


async def _load(view: View, problem: _Problem | None = None) -> dict[str, Any]:
    listed = await view.allowed(
        "penstock", "ListConsoleSessions", userName=view.visitor.user_name, **view.listed_from()
    )
    is_user = view.visitor.session.kind is PrincipalKind.USER
    return {
        "is_user": is_user,
        "may_change": is_user and await view.may("iam", "ChangePassword"),
        "sessions": None if listed is None else [_session(view, one) for one in listed["sessions"]],
        "more": "" if listed is None else listed.get("nextToken", ""),
        "problem": problem,
    }


def _session(view: View, one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "browser": browser_of(one["userAgent"]), "here": one["sessionId"] == view.visitor.handle}


def browser_of(agent: str) -> str:
    """A browser and its system in few words, as far as it says what it is."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (browser, system))) or agent[:40] or "Unknown browser"


async def change_password(view: View) -> Response:
    """Replace the password. Other sessions end; this one begins anew."""
    old, new = view.form.get("old", ""), view.form.get("new", "")
    problem = None
    if not old:
        problem = _Problem("Type your present password.", "old")
    elif not new:
        problem = _Problem("Type a new password.", "new")
    elif new != view.form.get("again", ""):
        problem = _Problem("The two new passwords differ.", "again")
    else:
        try:
            await view.call("iam", "ChangePassword", OldPassword=old, NewPassword=new)
            signed_in = await view.app.identity.sign_in(
                account=view.visitor.account,
                user_name=view.visitor.user_name,
                password=new,
                address=client_address(view.request.scope),
            )
        except ServiceError as refused:
            problem = _Problem(refused.message, "old" if refused.wire_code == "AccessDenied" else "new")
        else:
            response = view.back("security", query="said=password-changed")
            await cookies.enter(view.app, view.request, response, signed_in)
            return response
    return view.render("security.html", status=403, **await _load(view, problem))


async def end_sessions(view: View) -> Response:
    """Sign out somewhere, or everywhere."""
    chosen = view.form.get("session", "")
    await view.call(
        "penstock",
        "EndConsoleSessions",
        userName=view.visitor.user_name,
        **({"sessionIds": [chosen]} if chosen else {}),
    )
    if not chosen or chosen == view.visitor.handle:
        response = view.back("login", query="out")
        cookies.leave(view.app, view.request, response)
        return response
    return view.back("security", query="said=session-ended")


PAGE = Page(
    path="security",
    load=_load,
    template="security.html",
    forms={"password": change_password, "sessions": end_sessions},
)
