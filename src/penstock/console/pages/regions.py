"""Which region the console shows, for installations with several."""

from __future__ import annotations

from starlette.responses import Response

from penstock.console.view import REGION_COOKIE, View
from penstock.wire.errors import Refused

_YEAR_SECONDS = 365 * 86_400


async def choose(view: View) -> Response:
    """Show another region from now on. The session stays: users and their policies are of the account, not of a region."""
    region = view.form.get("region", "")
    if region not in view.app.settings.all_regions():
        raise Refused(
            f"This installation has no region {region[:40]!r}. It serves {', '.join(view.app.settings.all_regions())}."
        )
    # What another page shows may not be there in this region, so the way leads to the list of its section.
    answer = view.back(view.form.get("section", "") if view.form.get("section") in dict(view.sections).values() else "")
    answer.set_cookie(
        REGION_COOKIE, region, path="/console/", max_age=_YEAR_SECONDS, samesite="lax", httponly=True,
        secure=view.request.url.scheme == "https",
    )  # fmt: skip
    return answer


ROUTES = [("POST", "region", choose)]
