"""`/console/`: where the first list is, and which region is shown."""

from __future__ import annotations

from starlette.responses import Response

from penstock.webpages.page import Page
from penstock.webpages.view import View
from penstock.wire.errors import Refused


async def home(view: View) -> Response:
    """To the first list that the visitor may see."""
    return view.back(view.sections[0].path if view.sections else "pipelines")


async def choose_region(view: View) -> Response:
    """Show another region from now on. The session stays: users and their policies are of the account, not of a region."""
    region = view.form.get("region", "")
    if region not in view.app.settings.all_regions():
        raise Refused(
            f"This installation has no region {region[:40]!r}. It serves {', '.join(view.app.settings.all_regions())}."
        )
    # What another page shows may not be there in this region, so the way leads to the list of its section.
    section = view.form.get("section", "")
    answer = view.back(section if section in {one.path for one in view.sections} else "")
    view.region = region
    view.keep_region(answer)
    return answer


PAGE = Page(path="", load=home, forms={"region": choose_region})
