"""The addresses of what actions work on, start and fetch, as the read operations answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.application import App
from penstock.pipelines.actions.provider import Link
from penstock.pipelines.model import ActionTypeId
from penstock.pipelines.records import type_of
from penstock.pipelines.types import Find

LONGEST = 2_048  # characters. AWS: the shape Url


class Links:
    """Asks the providers, and puts this installation's address before the paths that they answer.

    Links are made when they are read, so that they stay right when the installation's address changes. `find` knows the action types
    of the pipeline's account.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def entity(
        self, find: Find, type_id: ActionTypeId, configuration: Mapping[str, str], *, region: str = ""
    ) -> str | None:
        """The address of what an action works on. `region` is the one that it names for itself."""
        return self._of(find, Link.ENTITY, type_id, configuration, region=region)

    def execution(self, find: Find, row: Any, *, region: str = "") -> str | None:
        """The address of what an action execution (its row) started. `region` as above."""
        made = None
        if row.external_id:
            made = self._of(find, Link.EXECUTION, type_of(row), row.resolved or {}, row.external_id, region=region)
        return made or self.absolute(_shown_in(row.external_url or "", region))

    def revision(self, find: Find, row: Any) -> str | None:
        """The address of the revision that a source action's execution (its row) fetched."""
        made = self._of(find, Link.REVISION, type_of(row), row.resolved or {}, row.revision["id"])
        return made or self.absolute(row.revision.get("url") or "")

    def _of(
        self,
        find: Find,
        link: Link,
        type_id: ActionTypeId,
        configuration: Mapping[str, str],
        id: str = "",
        *,
        region: str = "",
    ) -> str | None:
        found = find(type_id)
        if found is None:
            return None
        provider, known = found
        return self.absolute(_shown_in(provider.link(link, known, configuration, id=id), region))

    def absolute(self, address: str) -> str | None:
        """An address as clients are given it; None for one that nobody should follow, or with a variable in it."""
        if address.startswith("/") and not address.startswith("//") and self._app.public_url:
            address = self._app.public_url + address
        usable = address.startswith(("https://", "http://")) and len(address) <= LONGEST and "#{" not in address
        return address if usable else None


def _shown_in(address: str, region: str) -> str:
    """An address of the console, as it is for what lies in a region; "" is the one that the reader has chosen."""
    if not region or not address.startswith("/console/"):
        return address
    return f"{address}{'&' if '?' in address else '?'}region={region}"
