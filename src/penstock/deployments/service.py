"""What the deployments of one process share: who polls, what is signed, which reports wait for a transaction."""

from __future__ import annotations

from penstock.application import App
from penstock.deployments.hostcommands import offers
from penstock.deployments.hostcommands.identities import Identities
from penstock.deployments.hostcommands.presence import Presence
from penstock.deployments.hostcommands.reports import Reports
from penstock.deployments.hostcommands.signer import Signer
from penstock.deployments.server.model import Timeouts
from penstock.deployments.settings import DeploymentSettings


class Deployments:
    """The state of the component."""

    def __init__(self, app: App, timeouts: Timeouts) -> None:
        self.app = app
        self.timeouts = timeouts  # of groups whose tags say nothing else
        self.long_poll_seconds = app.settings.of(DeploymentSettings).long_poll_seconds
        self.signer = Signer(app)
        self.presence = Presence(app.store, app.clock)
        self.identities = Identities(app.store)
        self.reports = Reports(app.store)
        self.offers = offers.together(app.store)
        self.due: set[str] = set()  # topics of hosts that have just reported: there is most likely something to offer
