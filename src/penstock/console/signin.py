"""Signing in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from penstock.console import cookies
from penstock.console.forms import Form, own_path, read_form, same_origin
from penstock.webpages.addresses import is_at
from penstock.webpages.view import HEADERS, NO_SCRIPT
from penstock.wire.errors import AccessDenied, ServiceError, Throttled
from penstock.wire.hiding import HIDDEN
from penstock.wire.message import client_address
from penstock.wire.recording import identity_of

if TYPE_CHECKING:
    from penstock.console.web import Console
    from penstock.wire.sign_in import SignedIn


BUSY = "Too many people are signing in at this moment. Try again in a few seconds."


class SignIn:
    """The two pages of somebody who is not signed in yet, or not any more."""

    def __init__(self, web_console: Console) -> None:
        self._console = web_console

    async def page(self, request: Request) -> Response:
        """The form, and what becomes of it."""
        app = self._console.app
        target = own_path(request.query_params.get("next", ""))
        if request.method == "GET":
            if await self._console.visitor_of(request) is not None:
                return RedirectResponse(target, status_code=303, headers=HEADERS)
            return self.form(request, {}, signed_out="out" in request.query_params)
        if not same_origin(request):
            return PlainTextResponse("Sign in from this console's own page.", 403, headers=HEADERS)
        form = await read_form(request)
        account = form.get("account", "").strip() or app.settings.account
        user_name, password = form.get("user", "").strip(), form.get("password", "")
        missing = "user" if not user_name else "password" if not password else ""
        if missing:
            wording = "Type your user name." if missing == "user" else "Type your password."
            return self.form(request, form, error=wording, field=missing)
        try:
            signed_in = await app.identity.sign_in(
                account=account, user_name=user_name, password=password, address=client_address(request.scope)
            )
        except AccessDenied as refused:
            self.record(request, account, None)
            return self.form(request, form, error=refused.message, field="password")
        except Throttled:
            return self.form(request, form, error=BUSY, status=503)
        return await self.enter(request, signed_in, target)

    async def factor(self, request: Request) -> Response:
        """The second step, for those who have shown the password: a code, or a passkey."""
        target = own_path(request.query_params.get("next", ""))
        if not same_origin(request):
            return PlainTextResponse("Sign in from this console's own page.", 403, headers=HEADERS)
        form = await read_form(request)
        identity, step = self._console.app.identity, form.get("step", "")
        code, passkey = form.get("code", ""), form.get("passkey", "")
        try:
            user = await identity.second_step_user(step)
        except AccessDenied as refused:
            return self.form(request, {}, error=refused.message, field="password")
        if not (code.strip() or passkey):
            missing = NO_SCRIPT if "passkey" in form else "Type a code."
            return await self._factor(request, user, step, target, error=missing, field=_way_of(form))
        try:
            if passkey:
                signed_in = await identity.passkeys.show(form.get("challenge", ""), passkey, step)
            else:
                signed_in = await identity.show_factor(step, code)
        except AccessDenied as refused:
            self.record(request, user.session.account, None, **_known(refused))
            return await self._factor(request, user, step, target, error=refused.message, field=_way_of(form))
        except Throttled:
            return await self._factor(request, user, step, target, error=BUSY, field=_way_of(form))
        return await self.enter(request, signed_in, target)

    async def ask_for_passkey(self, request: Request) -> Response:
        """The page that asks the browser for a passkey, in place of user name and password."""
        app, target = self._console.app, own_path(request.query_params.get("next", ""))
        try:
            address = app.identity.passkeys.address
        except AccessDenied as refused:
            return self.form(request, {}, error=refused.message, field="other")
        if not is_at(request.headers.get("host", ""), address):
            # Browsers show passkeys at the address where they were made, and the cookie of the session is of that address too.
            there = f"{address}/console/login/passkey?next={quote(target)}"
            return RedirectResponse(there, status_code=303, headers=HEADERS)
        return await self._passkey(request, target)

    async def passkey(self, request: Request) -> Response:
        """What the browser has shown."""
        app, target = self._console.app, own_path(request.query_params.get("next", ""))
        if not same_origin(request):
            return PlainTextResponse("Sign in from this console's own page.", 403, headers=HEADERS)
        answer = (await read_form(request)).get("passkey", "")
        try:
            if not answer:
                return await self._passkey(request, target, error=NO_SCRIPT)
            signed_in = await app.identity.passkeys.show(cookies.held(app, request, cookies.PASSKEY), answer)
        except AccessDenied as refused:
            account = refused.values.get("account", app.settings.account)
            self.record(request, account, None, **_known(refused))
            return await self._passkey(request, target, error=refused.message)
        except Throttled:
            return await self._passkey(request, target, error=BUSY)
        response = await self.enter(request, signed_in, target)
        cookies.hold(app, request, response, cookies.PASSKEY, "")
        return response

    async def welcome(self, request: Request) -> Response:
        """Where a link that `penstock user add` printed leads: its user chooses a password and is signed in."""
        app, token = self._console.app, request.path_params["token"]
        try:
            invited = await app.identity.invited(token)
        except AccessDenied as refused:
            return self._welcome(request, void=refused.message)
        if request.method == "GET":
            return self._welcome(request, user=invited.user_name)
        if not same_origin(request):
            return PlainTextResponse("Choose the password on this console's own page.", 403, headers=HEADERS)
        form = await read_form(request)
        password = form.get("password", "")
        if password != form.get("again", ""):
            return self._welcome(request, user=invited.user_name, error="The two passwords differ.")
        try:
            signed_in = await app.identity.choose_password(token, password)
        except AccessDenied as refused:
            return self._welcome(request, void=refused.message)
        except (ServiceError, Throttled) as refused:
            return self._welcome(request, user=invited.user_name, error=refused.message)
        return await self.enter(request, signed_in, "/console/")

    async def out(self, request: Request) -> Response:
        """End the session, so that a copy of its cookie is worth nothing, and forget the cookie."""
        visitor = await self._console.visitor_of(request)
        form = await read_form(request)
        if visitor is not None and not (same_origin(request) and cookies.same_token(visitor, form.get("token", ""))):
            return RedirectResponse("/console/", status_code=303, headers=HEADERS)
        if visitor is not None:
            await self._console.app.identity.end_session(visitor.session_id)
        response = RedirectResponse("/console/login?out", status_code=303, headers=HEADERS)
        cookies.leave(self._console.app, request, response)
        return response

    def record(
        self, request: Request, account: str, signed_in: SignedIn | None, *, device: str = "", why: str = ""
    ) -> None:
        """Record that somebody has signed in, or failed to (AWS: CloudTrail, "AWS Management Console sign-in events").

        `device` is the serial number of the second factor, and `why` says more of a failure, where they are known.
        """
        app = self._console.app
        if not (account.isascii() and account.isdigit() and len(account) == 12):
            return
        # What was typed as a name may have been a password.
        nobody = {"type": "IAMUser", "accountId": account, "accessKeyId": "", "userName": HIDDEN}
        failed = {} if signed_in is not None else {"errorMessage": f"Failed authentication. {why}".removesuffix(". ")}
        mfa = {"MFAUsed": "Yes" if signed_in is not None and signed_in.session.mfa else "No"}
        if device:
            mfa["MFAIdentifier"] = device
        record = {
            "userIdentity": nobody if signed_in is None else identity_of(signed_in.session),
            "eventSource": "signin.amazonaws.com",
            "eventName": "ConsoleLogin",
            "sourceIPAddress": client_address(request.scope),
            "userAgent": request.headers.get("user-agent", "")[:1024],
            **failed,
            "requestParameters": None,
            "responseElements": {"ConsoleLogin": "Failure" if failed else "Success"},
            "additionalEventData": {"LoginTo": "/console/", "MobileVersion": "No", **mfa},
            "readOnly": False,
            "eventType": "AwsConsoleSignIn",
        }
        app.records.event(app.clock.now(), record, account=account, region=app.settings.region)

    async def enter(self, request: Request, signed_in: SignedIn, target: str) -> Response:
        """Begin a session, or ask for the second factor first."""
        if signed_in.factors and not signed_in.session.mfa:
            return await self._factor(request, signed_in, self._console.app.identity.second_step(signed_in), target)
        if token := await self._console.app.identity.expired(signed_in):
            return RedirectResponse(f"/console/welcome/{token}?expired", status_code=303, headers=HEADERS)
        response = RedirectResponse(target, status_code=303, headers=HEADERS)
        try:
            await cookies.enter(self._console.app, request, response, signed_in)
        except AccessDenied as refused:  # of somebody whose factors or password have changed since they were shown
            self.record(request, signed_in.session.account, None)
            return self.form(request, {}, error=refused.message, field="password")
        self.record(request, signed_in.session.account, signed_in, device=signed_in.device)
        return response

    async def _factor(
        self, request: Request, user: SignedIn, step: str, target: str, *, error: str = "", field: str = "code"
    ) -> Response:
        passkeys, host = self._console.app.identity.passkeys, request.headers.get("host", "")
        asked, elsewhere, address = None, "", ""
        if "passkey" in user.factors:
            try:
                if is_at(host, passkeys.address):
                    asked = await passkeys.begin(step)
                else:
                    address = passkeys.address
                    elsewhere = f"Your passkeys work at {address} only."
            except AccessDenied as refused:
                elsewhere = refused.message
        text = self._console.template("factor.html").render(
            theme=self._console.theme_of(request),
            user=user.user_name,
            factors=user.factors,
            step=step,
            asked=asked,
            elsewhere=elsewhere,
            address=address,
            target=target,
            error=error,
            field=field,
            region=self._console.app.settings.region,
            host=host,
        )
        return HTMLResponse(text, status_code=403 if error else 200, headers=HEADERS)

    async def _passkey(self, request: Request, target: str, *, error: str = "") -> Response:
        app = self._console.app
        asked = await app.identity.passkeys.begin()
        text = self._console.template("passkey.html").render(
            theme=self._console.theme_of(request),
            asked=asked,
            target=target,
            error=error,
            region=app.settings.region,
            host=request.headers.get("host", ""),
        )
        response = HTMLResponse(text, status_code=403 if error else 200, headers=HEADERS)
        cookies.hold(app, request, response, cookies.PASSKEY, asked.token)
        return response

    def _welcome(self, request: Request, *, user: str = "", error: str = "", void: str = "") -> Response:
        text = self._console.template("welcome.html").render(
            theme=self._console.theme_of(request),
            user=user,
            error=error,
            void=void,
            expired="expired" in request.query_params,
            region=self._console.app.settings.region,
            host=request.headers.get("host", ""),
        )
        # The address holds a secret, which the policy "same-origin" of HEADERS keeps from other sites. With "no-referrer" browsers would
        # send `Origin: null` with the form, and it would be refused.
        return HTMLResponse(text, status_code=403 if void or error else 200, headers=HEADERS)

    def _has_passkeys(self) -> bool:
        try:
            return bool(self._console.app.identity.passkeys.address)
        except AccessDenied:
            return False

    def form(
        self,
        request: Request,
        form: Form,
        *,
        error: str = "",
        field: str = "",
        signed_out: bool = False,
        status: int = 403,
    ) -> Response:
        """The sign-in page."""
        by_issuer, target = self._console.app.identity.single_sign_on, own_path(request.query_params.get("next", ""))
        settings = self._console.app.settings
        text = self._console.template("login.html").render(
            theme=self._console.theme_of(request),
            account=form.get("account") or settings.account,
            user=form.get("user", ""),
            error=error,
            field=field,
            signed_out=signed_out,
            by_issuer="" if by_issuer is None else by_issuer.label,
            passkeys=self._has_passkeys(),
            target=target,
            region=settings.region,
            host=request.headers.get("host", ""),
        )
        return HTMLResponse(text, status_code=status if error else 200, headers=HEADERS)


def _way_of(form: Form) -> str:
    """Which of the two ways of the second step a form is."""
    return "passkey" if "passkey" in form else "code"


def _known(refused: AccessDenied) -> dict[str, str]:
    """What is known of a passkey that was refused, for the record."""
    return {name: refused.values[name] for name in ("device", "why") if name in refused.values}
