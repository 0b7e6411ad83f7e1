"""Actions that job workers outside of this installation run: custom types of accounts, and types of partners.

Their types are not here but in the database, by account (`pipelines.types`), so this is no provider of the registry.
AWS: actions-create-custom-action.
"""

from __future__ import annotations

from penstock.pipelines.actions.provider import Action, Offered, Outcome, Provider


class JobWorkers(Provider):
    """Starts nothing: a worker asks for the job."""

    types = ()

    async def start(self, action: Action) -> Outcome:  # noqa: ARG002 - the contract's
        """A worker does it."""
        return Offered()


JOB_WORKERS = JobWorkers()
