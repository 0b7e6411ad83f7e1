"""One request for a page by a signed-in user: the calls it makes and how it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import markupsafe
from starlette.responses import HTMLResponse, RedirectResponse, Response

from penstock.webpages.live import Concerns, Streams, Take
from penstock.webpages.page import Group
from penstock.wire.call import Origin, Session
from penstock.wire.errors import AccessDenied, NotImplementedOperation, Refused, ServiceError
from penstock.wire.invoke import authorize, call_of
from penstock.wire.message import client_address

if TYPE_CHECKING:
    import jinja2
    from starlette.requests import Request

    from penstock.application import App
    from penstock.store.events import Event
    from penstock.webpages.listing import Column, Row

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}

NO_SCRIPT = "A browser shows passkeys by JavaScript only. Turn it on for this page, or do this in another way."
"""What is said where a form comes without what its script would have asked the browser for."""
REGION_COOKIE = "penstock-region"
_YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page."""

    session: Session
    user_name: str
    token: str  # what forms must send back (CSRF)
    session_id: str  # what signing out ends

    @property
    def account(self) -> str:
        """The visitor's account."""
        return self.session.account


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the rail that the visitor may see."""

    group: str
    title: str
    path: str
    key: str


def part(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe=":@")


class Console(Protocol):
    """What serves the pages."""

    app: App
    streams: Streams

    def template(self, name: str) -> jinja2.Template: ...
    def region_of(self, request: Request) -> str: ...  # the one that the visitor has chosen
    def theme_of(self, request: Request) -> str: ...  # what data-theme says; "" follows the system
    async def visitor_of(self, request: Request) -> Visitor | None: ...  # None when not signed in
    async def renew(self, request: Request, response: Response, visitor: Visitor) -> None: ...
    def leave(self, request: Request, response: Response) -> None: ...


class View:
    """What a page is handed. It lives as long as the answer, so `memory` serves the looks of one live stream."""

    def __init__(self, console: Console, request: Request, visitor: Visitor, form: Mapping[str, str]) -> None:
        self.app = console.app
        self._console = console
        self.request = request
        self.visitor = visitor
        self.form = form
        self.region = console.region_of(request)
        self.memory: dict[Any, Any] = {}
        self.sections: list[Section] = []  # in the order of the rail
        # Policies ask of a page what they ask of any other call of its reader.
        self._origin = Origin(
            via="console",
            source_ip=client_address(request.scope),
            secure=request.url.scheme == "https",
            user_agent=request.headers.get("user-agent", ""),
        )

    @property
    def path(self) -> dict[str, str]:
        """Parts of the path that the route names."""
        return self.request.path_params

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name."""
        return dict(self.request.query_params)

    def keep_region(self, response: Response) -> None:
        """Let an answer have the browser show this region from now on."""
        response.set_cookie(
            REGION_COOKIE, self.region, path="/console/", max_age=_YEAR_SECONDS, samesite="lax", httponly=True,
            secure=self.request.url.scheme == "https",
        )  # fmt: skip

    async def see_sections(self) -> None:
        """Find out which lists the visitor may see: the others are not offered."""
        groups = list(Group)
        offered = [(page, page.nav) for page in self.app.pages if page.nav is not None]
        self.sections = [
            Section(nav.group, page.title, page.path, nav.key)
            for page, nav in sorted(offered, key=lambda one: groups.index(one[1].group))
            if await self.may(nav.service, nav.operation)
        ]

    @property
    def rail(self) -> list[tuple[str, list[Section]]]:
        """The headings of the rail, each with its sections."""
        return [(group, list(found)) for group, found in groupby(self.sections, key=lambda section: section.group)]

    @property
    def regions(self) -> list[str]:
        """Every region of this installation."""
        return sorted(self.app.settings.all_regions())

    @property
    def section(self) -> str:
        """The first part of the path below /console/."""
        return self.request.url.path.removeprefix("/console/").partition("/")[0]

    async def call(self, service: str, operation: str, **input: Any) -> dict[str, Any]:
        """Run an operation as the visitor. Raises its ServiceError, or AccessDenied. Absent members are absent, as on the wire."""
        output = await self.app.invoke(
            self.visitor.session, service, operation, input, region=self.region, origin=self._origin
        )
        return _present(output)

    async def allowed(self, service: str, operation: str, **input: Any) -> dict[str, Any] | None:
        """As `call`, but None where the visitor may not or nobody serves it: what may not be seen is not rendered."""
        try:
            return await self.call(service, operation, **input)
        except (AccessDenied, NotImplementedOperation):
            return None

    async def may(self, service: str, operation: str, **input: Any) -> bool:
        """Whether policy lets the visitor run an operation with this input. What may not be done is not offered."""
        registered = self.app.registry.get(service, operation)
        if registered is None:
            return False
        call = call_of(self.app, self.visitor.session, service, operation, region=self.region, origin=self._origin)
        try:
            await authorize(registered, call, input)
        except (Refused, ServiceError):
            return False
        return True

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A complete page."""
        return HTMLResponse(self.fragment(template, **values), status_code=status, headers=HEADERS)

    def fragment(self, template: str, **values: Any) -> str:
        """Part of a page."""
        return self._console.template(template).render(self._common, **values)

    def rows(self, columns: Sequence[Column], rows: Iterable[Row]) -> dict[str, str]:
        """Rows of a table as blocks of their own, by id."""
        table = self._console.template("_table.html").make_module(self._common)
        return {row.id: str(table.row(columns, row)) for row in rows}  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def _common(self) -> dict[str, Any]:
        """What every template is given."""
        return {
            "view": self,
            "visitor": self.visitor,
            "now": self.app.clock.now(),
            "theme": self._console.theme_of(self.request),
        }

    def link(self, address: str) -> str:
        """Where an address of an operation's answer leads from here; "" for what no browser should follow.

        A page of this console becomes a path: the visitor may have come by another address than the installation's public one.
        """
        if address.startswith(f"{self.app.public_url}/console/"):
            return address.removeprefix(self.app.public_url)
        return address if address.startswith(("https://", "http://")) else ""

    def block(self, name: str, text: str) -> str:
        """A line of text as a block of its own."""
        return str(markupsafe.Markup('<p class="lede" id="{}">{}</p>').format(name, text))

    def of_account(self, types: str) -> Concerns:
        """The events of the visitor's account and region whose types begin so."""

        def concerns(event: Event) -> bool:
            place = (event.account, event.region) == (self.visitor.account, self.region)
            return place and event.type.startswith(types)

        return concerns

    def of_pipeline(self, name: str) -> Concerns:
        """The events of a pipeline of the visitor's account and region."""
        of_account = self.of_account("codepipeline.")

        def concerns(event: Event) -> bool:
            return of_account(event) and event.payload["pipeline"] == name

        return concerns

    @property
    def live_address(self) -> str:
        """Where the live stream of this page is, under the same filters."""
        query = self.request.url.query
        return f"{self.request.url.path}/live{f'?{query}' if query else ''}"

    def listed_from(self) -> dict[str, str]:
        """The input member that asks for the page of a list which the visitor has come to."""
        token = self.query.get("from", "")
        return {"nextToken": token} if token else {}

    def stream(self, take: Take, concerns: Concerns) -> Response:
        """The live stream of a page; see `penstock.webpages.live`."""

        async def still() -> bool:
            return await self._console.visitor_of(self.request) is not None

        return self._console.streams.of(take, concerns, user=self.visitor.session.principal_id, still=still)

    async def renew(self, response: Response) -> None:
        """Let an answer give the visitor's session another id: what signs in was shown or changed, and an older cookie is void."""
        await self._console.renew(self.request, response, self.visitor)

    def leave(self, response: Response) -> None:
        """Let an answer take the visitor's cookie away."""
        self._console.leave(self.request, response)

    @property
    def cursor(self) -> str:
        """Where a live stream that comes back had got to; "" at its first coming."""
        return self.request.headers.get("last-event-id", "") or self.query.get("after", "")

    def back(self, *path: str, query: str = "", at: str = "") -> Response:
        """After a form: to a page, or its element of the id `at`, so that a reload repeats nothing. The parts of `path` are quoted."""
        where = "/".join(map(part, path)) + (f"?{query}" if query else "") + (f"#{at}" if at else "")
        return RedirectResponse(f"/console/{where}", status_code=303, headers=HEADERS)


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _present(member) for name, member in value.items() if member is not None}
    if isinstance(value, (list, tuple)):
        return [_present(member) for member in value]
    return value
