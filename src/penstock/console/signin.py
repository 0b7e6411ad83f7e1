"""Signing in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from penstock.console import cookies
from penstock.console.forms import Form, own_path, read_form, same_origin
from penstock.webpages.view import HEADERS
from penstock.wire.errors import AccessDenied, ServiceError, Throttled
from penstock.wire.hiding import HIDDEN
from penstock.wire.message import client_address
from penstock.wire.recording import identity_of

if TYPE_CHECKING:
    from penstock.console.web import Console
    from penstock.wire.call import SignedIn


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
            self._record(request, account, None)
            return self.form(request, form, error=refused.message, field="password")
        except Throttled:
            return self.form(request, form, error=BUSY, status=503)
        return await self.enter(request, signed_in, target)

    async def factor(self, request: Request) -> Response:
        """The second step, for those who have shown the password."""
        target = own_path(request.query_params.get("next", ""))
        if not same_origin(request):
            return PlainTextResponse("Sign in from this console's own page.", 403, headers=HEADERS)
        form = await read_form(request)
        step, code = form.get("step", ""), form.get("code", "")
        try:
            user = await self._console.app.identity.second_step_user(step)
        except AccessDenied as refused:
            return self.form(request, {}, error=refused.message, field="password")
        if not code.strip():
            return self._factor(request, user, step, target, error="Type a code.")
        try:
            signed_in = await self._console.app.identity.show_factor(step, code)
        except AccessDenied as refused:
            self._record(request, user.session.account, None)
            return self._factor(request, user, step, target, error=refused.message)
        return await self.enter(request, signed_in, target)

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

    def _record(self, request: Request, account: str, signed_in: SignedIn | None) -> None:
        """Record that somebody has signed in, or failed to (AWS: CloudTrail, "AWS Management Console sign-in events")."""
        app = self._console.app
        if not (account.isascii() and account.isdigit() and len(account) == 12):
            return
        # What was typed as a name may have been a password.
        nobody = {"type": "IAMUser", "accountId": account, "accessKeyId": "", "userName": HIDDEN}
        failed = {} if signed_in is not None else {"errorMessage": "Failed authentication"}
        mfa = "Yes" if signed_in is not None and signed_in.session.mfa else "No"
        record = {
            "userIdentity": nobody if signed_in is None else identity_of(signed_in.session),
            "eventSource": "signin.amazonaws.com",
            "eventName": "ConsoleLogin",
            "sourceIPAddress": client_address(request.scope),
            "userAgent": request.headers.get("user-agent", "")[:1024],
            **failed,
            "requestParameters": None,
            "responseElements": {"ConsoleLogin": "Failure" if failed else "Success"},
            "additionalEventData": {"LoginTo": "/console/", "MobileVersion": "No", "MFAUsed": mfa},
            "readOnly": False,
            "eventType": "AwsConsoleSignIn",
        }
        app.records.event(app.clock.now(), record, account=account, region=app.settings.region)

    async def enter(self, request: Request, signed_in: SignedIn, target: str) -> Response:
        """Begin a session, or ask for the second factor first."""
        if signed_in.factors and not signed_in.session.mfa:
            return self._factor(request, signed_in, self._console.app.identity.second_step(signed_in), target)
        if token := await self._console.app.identity.expired(signed_in):
            return RedirectResponse(f"/console/welcome/{token}?expired", status_code=303, headers=HEADERS)
        response = RedirectResponse(target, status_code=303, headers=HEADERS)
        try:
            await cookies.enter(self._console.app, request, response, signed_in)
        except AccessDenied as refused:  # of somebody whose factors or password have changed since they were shown
            self._record(request, signed_in.session.account, None)
            return self.form(request, {}, error=refused.message, field="password")
        self._record(request, signed_in.session.account, signed_in)
        return response

    def _factor(self, request: Request, user: SignedIn, step: str, target: str, *, error: str = "") -> Response:
        text = self._console.template("factor.html").render(
            theme=self._console.theme_of(request),
            user=user.user_name,
            step=step,
            target=target,
            error=error,
            region=self._console.app.settings.region,
            host=request.headers.get("host", ""),
        )
        return HTMLResponse(text, status_code=403 if error else 200, headers=HEADERS)

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
            target=target,
            region=settings.region,
            host=request.headers.get("host", ""),
        )
        return HTMLResponse(text, status_code=status if error else 200, headers=HEADERS)
