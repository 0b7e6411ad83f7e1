"""What traces tell of builds: the build and its phases."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.builds import records
from penstock.builds.phases import Status
from penstock.tracing import Span, Tracer


def _find(conn: sa.Connection, account: str, region: str, id: str) -> Span | None:
    row = records.find_build(conn, account, region, id) if ":" in id else None
    if row is None:
        return None
    state = records.state_of(row)
    end = state.ended or state.started
    return Span(
        key=f"build/{id}",
        name=f"build {row.project}",
        start=state.started,
        end=end,
        failed=state.complete and state.status is not Status.SUCCEEDED,
        attributes={"penstock.build.id": id, "penstock.build.status": str(state.status)},
        children=[
            Span(
                key=f"build/{id}/{place}",
                name=f"phase {phase.type}",
                start=phase.start,
                end=end if phase.end is None else phase.end,
                failed=phase.status not in (Status.NONE, Status.SUCCEEDED),
                attributes={"error.type": phase.code},
            )
            for place, phase in enumerate(state.phases)
        ],
    )


TRACER = Tracer(find=_find)
