"""A visitor who looks at the console's pages in this process: the answers of operations are a test's, the templates are ours."""

from __future__ import annotations

import functools
import re
from types import SimpleNamespace
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from penstock.console.web import Console
from penstock.store.clock import ManualClock
from penstock.webpages.page import Page
from penstock.webpages.view import View, Visitor
from penstock.wire.call import PrincipalKind, Session
from penstock.wire.errors import AccessDenied

ACCOUNT = "1" * 12
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"
ME = Session(account=ACCOUNT, kind=PrincipalKind.USER, arn=ANN, principal_id="AIDA")
NOW = 1_800_000_000_000


@functools.cache
def templates() -> Any:
    """Compiled once for all tests."""
    made: Any = Console(cast(Any, SimpleNamespace(templates={})))
    return made._templates


class Looking(View):
    """`answers` are by operation: a value, a function of the input, or an error. What is not there may not be asked for."""

    def __init__(
        self,
        answers: dict[str, Any],
        *,
        may: tuple[str, ...] = (),
        path: dict[str, str] | None = None,
        query: str = "",
        form: dict[str, str] | None = None,
    ) -> None:
        self.answers, self.permitted = answers, may
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.clock = ManualClock(NOW)
        app: Any = SimpleNamespace(
            clock=self.clock,
            templates={},
            pages=(),
            public_url="https://here",
            settings=SimpleNamespace(region="us-east-1", all_regions=lambda: ("us-east-1",)),
        )
        scope = {
            "type": "http", "method": "GET", "scheme": "https", "server": ("here", 443), "client": ("127.0.0.1", 1), "headers": [],
            "path": "/console/here", "query_string": query.encode(), "path_params": path or {},
        }  # fmt: skip
        visitor = Visitor(session=ME, user_name="ann", token="the token", session_id="s")
        console = Console(app)
        vars(console)["_templates"] = templates()
        super().__init__(console, Request(scope), visitor, form or {})

    async def call(self, service: str, operation: str, **input: Any) -> dict[str, Any]:
        self.asked.append((operation, input))
        answer = self.answers.get(operation, AccessDenied(f"not authorized to perform: {service}:{operation}"))
        if isinstance(answer, Exception):
            raise answer
        return answer(**input) if callable(answer) else answer

    async def may(self, service: str, operation: str, **input: Any) -> bool:
        return operation in self.permitted

    def stream(self, take: Any, concerns: Any) -> Any:
        return take, concerns

    def inputs(self, operation: str) -> list[dict[str, Any]]:
        """What the operation was asked for, each time."""
        return [input for one, input in self.asked if one == operation]

    async def shown(self, page: Page) -> str:
        """The page's HTML."""
        return self.fragment(page.template, **cast(dict[str, Any], await page.load(self)))


def opens(text: str) -> list[str]:
    """The dialogs that a page's buttons open, but for the one of the keyboard."""
    return [one for one in re.findall(r'<button[^>]* data-open="([^"]*)"', text) if one != "keys"]


def location(answer: Response) -> str:
    """Where a form leads."""
    assert answer.status_code == 303
    return answer.headers["location"]
