"""A pipeline's journal, read back and replayed decision by decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.pipelines.effects import Effect
from penstock.pipelines.happenings import Happening, from_payload
from penstock.pipelines.plan import plan_from_payload
from penstock.pipelines.replay import replay
from penstock.pipelines.state import Pipeline, new_pipeline
from penstock.store.journal import Entry


def replayed(entries: Sequence[Entry]) -> Iterator[tuple[Happening, Pipeline, tuple[Effect, ...]]]:
    """Every decision after the pipeline was made: what happened, the state after it, and its effects.

    `entries` is the whole journal of a pipeline; its first entry made it.
    """
    first = new_pipeline(plan_from_payload(entries[0].input["plan"]))
    return replay(first, ((entry.at, entry.seed, from_payload(entry.input)) for entry in entries[1:]))
