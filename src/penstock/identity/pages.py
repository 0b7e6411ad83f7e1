"""The console's page on which people look after their own sign-in: password, second factors, sessions."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from penstock.identity import totp
from penstock.identity.own_account import device_path
from penstock.webpages.addresses import is_at
from penstock.webpages.page import Page
from penstock.webpages.view import NO_SCRIPT, View
from penstock.wire.call import PrincipalKind
from penstock.wire.errors import AccessDenied, ServiceError, Throttled
from penstock.wire.message import client_address

_BROWSERS = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip
_MAX_SEED = 128  # characters


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a form could not do, and the field where that is said; without one it is said over the page."""

    message: str
    field: str = ""


async def _load(view: View, problem: _Problem | None = None) -> dict[str, Any]:
    name, is_user = view.visitor.user_name, view.visitor.session.kind is PrincipalKind.USER
    listed = await view.allowed("penstock", "ListConsoleSessions", **view.listed_from())
    devices = await view.allowed("iam", "ListMFADevices", UserName=name) if is_user else None
    passkeys = await view.allowed("penstock", "ListPasskeys", userName=name) if is_user else None
    return {
        "is_user": is_user,
        "may_change": is_user and await view.may("iam", "ChangePassword"),
        "devices": None
        if devices is None
        else [_device(one) for one in devices["MFADevices"] if ":mfa/" in one["SerialNumber"]],
        "passkeys": None if passkeys is None else passkeys["passkeys"],
        "at_passkeys": _where(view),
        "sessions": None if listed is None else [_session(view, one) for one in listed["sessions"]],
        "more": "" if listed is None else listed.get("nextToken", ""),
        "problem": problem,
    }


def _device(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "name": one["SerialNumber"].rpartition("/")[2]}


def _where(view: View) -> dict[str, str]:
    """Why no passkey is added here, and the address where one can be; empty where this is the place."""
    try:
        address = view.app.identity.passkeys.address
    except AccessDenied as refused:
        return {"why": refused.message, "address": ""}
    if is_at(view.request.headers.get("host", ""), address):
        return {}
    return {
        "why": f"Passkeys work at {address} only. Open the console there to add one.",
        "address": f"{address}/console/security",
    }


def _session(view: View, one: dict[str, Any]) -> dict[str, Any]:
    here = one["sessionId"] == view.visitor.session.console
    return {**one, "browser": browser_of(one["userAgent"]), "here": here}


def browser_of(agent: str) -> str:
    """A browser and its system in few words, as far as it says what it is."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (browser, system))) or agent[:40] or "Unknown browser"


async def _again(view: View, problem: _Problem) -> Response:
    return view.render("identity/security.html", status=403, **await _load(view, problem))


async def _wrong_password(view: View, field: str = "") -> _Problem | None:
    """What keeps the visitor from changing a factor: the password is asked for once more, since a browser may be left open."""
    password = view.form.get("password", "")
    if not password:
        return _Problem("Type your password.", field)
    try:
        await view.app.identity.sign_in(
            account=view.visitor.account,
            user_name=view.visitor.user_name,
            password=password,
            address=client_address(view.request.scope),
            wrong="That is not your password.",
        )
    except AccessDenied as refused:
        return _Problem(refused.message, field)
    return None


async def _done(view: View, said: str) -> Response:
    """Back to the page, under a new session id."""
    response = view.back("security", query=f"said={said}")
    await view.renew(response)
    return response


async def change_password(view: View) -> Response:
    """Replace the password. Other sessions end."""
    old, new = view.form.get("old", ""), view.form.get("new", "")
    problem = None
    if not old:
        problem = _Problem("Type your current password.", "old")
    elif not new:
        problem = _Problem("Type a new password.", "new")
    elif new != view.form.get("again", ""):
        problem = _Problem("The two new passwords differ.", "again")
    else:
        try:
            await view.call("iam", "ChangePassword", OldPassword=old, NewPassword=new)
        except ServiceError as refused:
            problem = _Problem(refused.message, "old" if refused.wire_code == "AccessDenied" else "new")
        else:
            return await _done(view, "password-changed")
    return await _again(view, problem)


async def add_device(view: View) -> Response:
    """Make a device for an app, and show what the app must know."""
    problem = await _wrong_password(view, "add")
    if problem is not None:
        return await _again(view, problem)
    path = device_path(view.visitor.user_name)
    name = "-".join(view.form.get("name", "").split())
    try:
        try:
            made = await view.call("iam", "CreateVirtualMFADevice", Path=path, VirtualMFADeviceName=name)
        except ServiceError as refused:
            if refused.wire_code != "EntityAlreadyExists":
                raise
            # One that was begun and never set up gives way; one in use does not.
            arn = view.visitor.session.arn
            serial = f"{arn.partition(':user/')[0]}:mfa{path}{name}"
            await view.call("iam", "DeleteVirtualMFADevice", SerialNumber=serial)
            made = await view.call("iam", "CreateVirtualMFADevice", Path=path, VirtualMFADeviceName=name)
    except ServiceError as refused:
        in_use = refused.wire_code == "DeleteConflict"
        return await _again(view, _Problem(f"You have an app {name} already." if in_use else refused.message, "add"))
    device = made["VirtualMFADevice"]
    return _set_up(view, device["SerialNumber"], bytes(device["Base32StringSeed"]).decode())


async def enable_device(view: View) -> Response:
    """Make the app a factor, when it shows two codes in a row. Whoever has no recovery codes gets some now."""
    serial, seed = view.form.get("serial", ""), view.form.get("seed", "")[:_MAX_SEED]
    codes = {f"AuthenticationCode{at}": "".join(view.form.get(f"code{at}", "").split()) for at in (1, 2)}
    name = view.visitor.user_name
    try:
        first = not (await view.call("iam", "ListMFADevices", UserName=name))["MFADevices"]
        await view.call("iam", "EnableMFADevice", UserName=name, SerialNumber=serial, **codes)
    except ServiceError as refused:
        wrong = refused.wire_code in ("InvalidAuthenticationCode", "ValidationError")
        return _set_up(
            view,
            serial,
            seed,
            "These are not two codes in a row of this app. Type the one that it shows, wait for the next, and type that."
            if wrong
            else refused.message,
        )
    return await _show_codes(view) if first else await _done(view, "app-added")


async def remove_device(view: View) -> Response:
    """Let an app be no factor any more."""
    problem = await _wrong_password(view)
    if problem is not None:
        return await _again(view, problem)
    serial = view.form.get("serial", "")
    await view.call("iam", "DeactivateMFADevice", UserName=view.visitor.user_name, SerialNumber=serial)
    await view.allowed("iam", "DeleteVirtualMFADevice", SerialNumber=serial)
    return await _done(view, "app-removed")


async def add_passkey(view: View) -> Response:
    """Ask the browser for a passkey."""
    problem = await _wrong_password(view, "add-passkey")
    if problem is None and not view.form.get("name", "").strip():
        problem = _Problem("Type a name, such as that of the device.", "add-passkey")
    if problem is not None:
        return await _again(view, problem)
    asked = await view.call("penstock", "CreatePasskeyChallenge", userName=view.visitor.user_name)
    return view.render("identity/passkey.html", asked=asked, name=_passkey_name(view))


async def register_passkey(view: View) -> Response:
    """Make what the browser has answered a factor. Whoever has no recovery codes gets some now.

    Whoever has to begin again types the password again: a browser that was left open gets no challenge here.
    """
    own, answer = view.visitor.user_name, view.form.get("passkey", "")
    if not answer:
        return await _again(view, _Problem(NO_SCRIPT, "add-passkey"))
    try:
        first = not (await view.call("iam", "ListMFADevices", UserName=own))["MFADevices"]
        await view.call(
            "penstock",
            "RegisterPasskey",
            userName=own,
            name=_passkey_name(view),
            token=view.form.get("challenge", ""),
            credential=answer,
        )
    except Throttled:
        busy = "Too many passkeys are being checked at this moment. Try again in a few seconds."
        return await _again(view, _Problem(busy, "add-passkey"))
    except (ServiceError, AccessDenied) as refused:
        return await _again(view, _Problem(refused.message, "add-passkey"))
    return await _show_codes(view) if first else await _done(view, "passkey-added")


def _passkey_name(view: View) -> str:
    return "-".join(view.form.get("name", "").split())


async def remove_passkey(view: View) -> Response:
    """Let a passkey sign in nobody any more."""
    problem = await _wrong_password(view)
    if problem is not None:
        return await _again(view, problem)
    serial = view.form.get("serial", "")
    await view.call("iam", "DeactivateMFADevice", UserName=view.visitor.user_name, SerialNumber=serial)
    return await _done(view, "passkey-removed")


async def new_codes(view: View) -> Response:
    """Other recovery codes in place of the present ones."""
    problem = await _wrong_password(view)
    return await _show_codes(view) if problem is None else await _again(view, problem)


async def _show_codes(view: View) -> Response:
    made = await view.call("penstock", "CreateRecoveryCodes", userName=view.visitor.user_name)
    response = view.render("identity/recovery_codes.html", codes=made["recoveryCodes"])
    await view.renew(response)
    return response


def _set_up(view: View, serial: str, seed: str, problem: str = "") -> Response:
    name = f"{view.visitor.user_name}@{view.visitor.account}"
    try:
        address = totp.address(base64.b32decode(seed), name)
    except binascii.Error:
        return view.back("security")
    rows = list(totp.qr_code(address).matrix)
    return view.render(
        "identity/authenticator.html",
        status=403 if problem else 200,
        serial=serial,
        seed=seed,
        groups=[seed[at : at + 4] for at in range(0, len(seed), 4)],
        size=len(rows),
        dots="".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark),
        problem=problem,
    )


async def end_sessions(view: View) -> Response:
    """Sign out somewhere, or everywhere."""
    chosen = view.form.get("session", "")
    named = {"sessionIds": [chosen]} if chosen else {}
    await view.call("penstock", "EndConsoleSessions", **named)
    if not chosen or chosen == view.visitor.session.console:
        response = view.back("login", query="out")
        view.leave(response)
        return response
    return view.back("security", query="said=session-ended")


PAGE = Page(
    path="security",
    load=_load,
    template="identity/security.html",
    forms={
        "password": change_password,
        "sessions": end_sessions,
        "apps": add_device,
        "apps/enable": enable_device,
        "apps/remove": remove_device,
        "passkeys": add_passkey,
        "passkeys/register": register_passkey,
        "passkeys/remove": remove_passkey,
        "recovery-codes": new_codes,
    },
)
