"""`penstock doctor --histories`: every pipeline's journal is replayed, and compared with what must hold and with what is stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.cli.terminal import complain
from penstock.pipelines import records
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.histories import Broken, History
from penstock.pipelines.model import aggregate_name
from penstock.pipelines.replay import Replay, journalled
from penstock.pipelines.state import Execution
from penstock.store.codec import UnknownForm
from penstock.store.records import journal
from penstock.webpages.wording import plural
from penstock.wire.errors import ServiceError

_SHOWN = 20  # findings
_AT_ONCE = 500  # entries in memory
_TOLD = 100  # pipelines between two lines that say how far it is
_MEND = "report it with the journal of the pipeline: penstock journal NAME --json"


def histories(installation: Installation) -> Iterator[Finding]:
    """Does every history keep to the rules of the engine, and lead to what is stored?"""
    pipelines = entries = bad = begun_later = 0
    with installation.engine.connect() as conn:
        known = conn.execute(
            sa.select(records.pipelines.c.id, records.pipelines.c.account, records.pipelines.c.name).order_by(
                records.pipelines.c.account, records.pipelines.c.name
            )
        ).all()
    for number, row in enumerate(known, 1):
        if number % _TOLD == 0 and sys.stderr.isatty():
            complain(f"{number} of {len(known)} pipelines, {entries:,} decisions")
        checked = _Pipeline(row.id)
        # A snapshot for each pipeline: what is compared belongs together, and a server beside this is held up by none.
        with installation.engine.connect() as conn:
            if conn.dialect.name == "postgresql":
                conn.execution_options(isolation_level="REPEATABLE READ")
            else:
                conn.exec_driver_sql("BEGIN")  # which Python's driver leaves out before a SELECT
            found = list(checked.run(conn))
        if checked.begins_later:
            begun_later += 1
            continue
        pipelines, entries = pipelines + 1, entries + checked.entries
        for broken in found:
            bad += 1
            if bad <= _SHOWN:
                about = f", run {broken.execution}" if broken.execution else ""
                message = f"{broken.rule}: pipeline {row.name} of account {row.account}{about}: {broken.text}"
                yield Finding(Verdict.FAIL, "histories", message, _MEND)
    if bad > _SHOWN:
        yield Finding(Verdict.FAIL, "histories", f"and {bad - _SHOWN} more", _MEND)
    if not bad:
        later = f"; {plural(begun_later, 'pipeline')} with older entries than are kept" if begun_later else ""
        yield Finding(
            Verdict.OK,
            "histories",
            f"{plural(pipelines, 'pipeline')} with {plural(entries, 'decision')} keep to every rule and lead to what is stored{later}",
        )


class _Pipeline:
    """One pipeline's journal."""

    def __init__(self, id: str) -> None:
        self._id = id
        self.entries = 0
        self.begins_later = False  # the first entries are over their time, so that nothing can be replayed

    def run(self, conn: sa.Connection) -> Iterator[Broken]:
        """What is wrong with it, all of one snapshot."""
        pipeline = conn.execute(sa.select(records.pipelines).where(records.pipelines.c.id == self._id)).first()
        if pipeline is None:  # deleted meanwhile
            return
        j = journal.c
        query = (
            sa.select(j.sequence, j.at, j.seed, j.input, j.effects)
            .where(j.aggregate == aggregate_name(self._id), j.account == pipeline.account, j.region == pipeline.region)
            .order_by(j.sequence)
        )
        replay, history = Replay(), History()
        with conn.execution_options(yield_per=_AT_ONCE).execute(query) as rows:
            for row in rows:
                self.entries += 1
                if row.sequence != self.entries:
                    self.begins_later = self.entries == 1
                    if not self.begins_later:
                        yield Broken(rule="no-entry-is-lost", text=f"entry {self.entries} of the journal is missing")
                    return
                try:
                    yield from self._entry(row, replay, history)
                except (UnknownForm, ServiceError, KeyError) as error:
                    text = f"entry {row.sequence} cannot be replayed: {type(error).__name__}: {error}"
                    yield Broken(rule="the-journal-replays", text=text)
                    return
        if self.entries != pipeline.sequence:
            text = f"the pipeline has {pipeline.sequence} decisions, its journal {self.entries}"
            yield Broken(rule="no-entry-is-lost", text=text)
            return
        yield from self._stored(conn, pipeline, replay)

    @staticmethod
    def _entry(row: Any, replay: Replay, history: History) -> Iterator[Broken]:
        input = PipelineAggregate.inputs.load(row.input)
        effects = tuple(PipelineAggregate.effects.load(document) for document in row.effects)
        for broken in history.step(input, effects):
            yield Broken(rule=broken.rule, text=f"{broken.text} (entry {row.sequence})", execution=broken.execution)
        again = tuple(journalled(effect, input) for effect in replay.step(input, row.at, row.seed))
        if again != tuple(journalled(effect, input) for effect in effects):
            yield Broken(rule="the-journal-replays", text=f"entry {row.sequence} is decided otherwise today")

    def _stored(self, conn: sa.Connection, pipeline: Any, replay: Replay) -> Iterator[Broken]:
        slots = records.STATE.load(pipeline.state).slots
        if (pipeline.version, slots) != (replay.state.version, replay.state.slots):
            yield Broken(rule="what-is-stored-was-decided", text="locks and queues are other than its journal leads to")
        e = records.executions.c
        query = sa.select(e.id, e.live, e.state).where(e.pipeline_id == self._id)
        there: set[str] = set()
        for row in conn.execution_options(yield_per=_AT_ONCE).execute(query):
            there.add(row.id)
            stored: Execution = records.EXECUTION_STATE.load(row.state)
            if stored != replay.executions.get(row.id) or row.live != stored.live:
                text = "the run is stored otherwise than its journal leads to"
                yield Broken(rule="what-is-stored-was-decided", text=text, execution=row.id)
        for id, execution in replay.executions.items():
            if execution.live and id not in there:  # those that ended are removed after their time
                yield Broken(rule="no-run-is-lost", text="the run has not ended, and is not stored", execution=id)
