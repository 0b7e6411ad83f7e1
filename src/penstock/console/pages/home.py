"""`/console/`: where the pipelines are."""

from __future__ import annotations

from starlette.responses import Response

from penstock.console.view import View


async def home(view: View) -> Response:
    """To the list of pipelines."""
    return view.back("pipelines")


ROUTES = [("GET", "", home)]
