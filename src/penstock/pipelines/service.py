"""What the operations, jobs and subscriptions of pipelines work with."""

from __future__ import annotations

import asyncio

from penstock.application import App
from penstock.pipelines.actions import Providers
from penstock.pipelines.links import Links
from penstock.pipelines.types import Types
from penstock.pipelines.versions import Versions
from penstock.pools import Places


class PipelineService:
    """The state of this component. It holds nothing that the database does not."""

    def __init__(self, app: App, providers: Providers) -> None:
        self.app = app
        self.providers = providers
        self.versions = Versions()
        self.types = Types(providers)
        self.links = Links(app)
        # A question for figures takes half a second of a thread at worst. One at a time leaves the others to shorter scans.
        self.figures_turn = asyncio.Lock()
        self.figures_places = Places("figures", 8)
