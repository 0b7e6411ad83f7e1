"""Pipelines: declarations, the engine that runs them, what triggers them and the actions they take (CodePipeline)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.pipelines.actions import Providers
    from penstock.room import App

# Runs are numbered per pipeline, an addition that clients without this model do not see.
_NUMBERED = {"members": {"executionNumber": {"shape": "PipelineVersion"}}}
_PATCH = {
    "shapes": {
        # The live service takes configuration values of up to 50,000 characters where its model says 1,000.
        "ActionConfigurationValue": {"max": 50_000},
        "PipelineExecution": _NUMBERED,
        "PipelineExecutionSummary": _NUMBERED,
    }
}


def register(app: App, providers: Providers | None = None) -> None:
    """Hand over the operations, jobs and events of pipelines; `providers` stands in for those in `actions/`."""
    # Imported here so that the pure modules can be used without the store and the wire.
    from penstock.pipelines.actions import built_in  # noqa: PLC0415
    from penstock.pipelines.aggregate import Aggregates  # noqa: PLC0415
    from penstock.pipelines.history import find_journal  # noqa: PLC0415
    from penstock.pipelines.operations import descriptions, table  # noqa: PLC0415
    from penstock.pipelines.retention import register_retention  # noqa: PLC0415
    from penstock.pipelines.work import register_work  # noqa: PLC0415
    from penstock.wire.profiles import ErrorProfile  # noqa: PLC0415
    from penstock.wire.services import Service  # noqa: PLC0415

    aggregates = Aggregates(app, providers or built_in())
    app.services.add(Service("codepipeline", patch=_PATCH, profile=ErrorProfile(prints_values=False)))
    app.registry.add(table(aggregates))
    app.registry.add(descriptions.table(aggregates))
    register_work(app, aggregates)
    app.journals.append(find_journal)
    register_retention(app)
