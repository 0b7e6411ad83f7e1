"""Alarms are evaluated: when their metric gets data, and each minute (those of shorter periods each period).

A batch of those that are due is locked, looked at and put off in one transaction. So a process that dies has done all of a batch or nothing,
and of two processes each looks at other alarms: an alarm changes its state once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.loops import Loop
from penstock.monitoring import alarm_records, records, series
from penstock.monitoring.alarms import COMPOSITE_ALARM, NEVER, Alarm
from penstock.monitoring.composites import look
from penstock.monitoring.evaluation import BEYOND, Point, Points, Watch, find
from penstock.monitoring.expressions import Budget, Series, Span
from penstock.monitoring.model import Found, StateValue
from penstock.monitoring.queries import STEPS, Calculation, Measured, plan_of, watched
from penstock.monitoring.records import Place, Rows
from penstock.monitoring.statistics import Summary, statistic
from penstock.store.failpoints import failpoint

_BATCH = 50  # alarms of a transaction, which keep others from writing for some milliseconds
_LOOK_EVERY = 1.0  # seconds; between two looks for alarms that are due, when nothing wakes them
_SPREAD = 8  # seconds after a period's end over which alarms are evaluated


class Evaluator:
    """Evaluates alarms, for as long as it is started."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop: Loop | None = None

    async def start(self) -> None:
        """Begin, in a process that works."""
        if self._app.settings.works:
            wakeup = self._app.store.wakeup(alarm_records.DUE)
            loops = self._app.store.loops
            self._loop = loops.start("monitoring.evaluate", self.turn, lambda: wakeup.wait(_LOOK_EVERY))

    async def stop(self) -> None:
        """End."""
        await self._app.store.loops.stop(self._loop)

    async def turn(self) -> None:
        """Evaluate every alarm that is due."""
        app = self._app
        while await app.store.read(alarm_records.any_due, app.clock.now()):
            await app.store.write(self._evaluate)
            failpoint("monitoring.evaluated")

    def _evaluate(self, conn: sa.Connection) -> None:
        app, now = self._app, self._app.clock.now()
        due: list[tuple[Any, Alarm | Watch]] = []
        put_off: list[dict[str, Any]] = []
        for row in alarm_records.due(conn, now, _BATCH):
            place = {"account": row.account, "region": row.region, "id": row.id}
            if row.kind == COMPOSITE_ALARM:
                composite = Alarm.find(conn, **place)
                assert composite is not None
                due.append((row, composite))
                until = composite.state.suppressed_until
                put_off.append({**place, "due": until if until > now else NEVER})
            else:
                watch = Watch(**row.watch)
                due.append((row, watch))
                put_off.append({**place, "due": _next(row.id, watch, now // 1000)})
        # First of all: what becomes of one of these may have another one of them evaluated once more.
        alarm_records.set_due(conn, put_off)
        for row, watch in due:
            if isinstance(watch, Alarm):
                look(conn, watch, now, app.ids.seed())
                continue
            found = evaluate(conn, watch, StateValue(row.value), now // 1000, place=(row.account, row.region))
            if found is not None and found.value != row.value:
                alarm = Alarm.find(conn, row.account, row.region, row.id)
                assert alarm is not None
                with alarm:
                    alarm.apply(found, now=now, seed=app.ids.seed())


def _next(name: str, watch: Watch, now: int) -> int:
    """When an alarm is looked at next (ms): some time after its next step, each at another."""
    end = now - now % watch.grid + watch.grid
    spread = min(_SPREAD, watch.grid // 5) * 1000
    return (end * 1000) + 500 + zlib.crc32(name.encode()) % spread


def evaluate(conn: sa.Connection, watch: Watch, value: StateValue, now: int, *, place: Place) -> Found | None:
    """The state that an alarm of a place is in by its data; None when it keeps the one that it has. `now` is in seconds.

    Windows end at the end of the present step when it has data already, so that an alarm does not wait for the step's end. But a sum that
    is too small now may be larger in the end, so sums are taken so only where they are too large already.
    """
    if watch.queries:
        return _evaluate_expression(conn, watch, value, now, place)
    floor = now - now % watch.grid
    end = floor + watch.grid
    length = watch.period * (watch.periods + BEYOND)
    rows = records.rows(conn, watch.metric, start=floor - length, end=end, period=watch.grid, unit=watch.unit or None)
    steps = series.by_periods(rows, start=floor - length, end=end, period=watch.grid)
    if floor in steps and not (watch.grows and watch.wants_little):
        early = find(watch, _points(watch, steps, end), value, now)
        if not watch.grows or (early is not None and early.value is StateValue.ALARM):
            return early
    return find(watch, _points(watch, steps, floor), value, now)


def _evaluate_expression(conn: sa.Connection, watch: Watch, value: StateValue, now: int, place: Place) -> Found | None:
    """The same for an alarm on an expression: the step that is not over counts as soon as one of its metrics has data in it."""
    plan = plan_of(watch.queries)
    floor = now - now % watch.grid
    end = floor + watch.grid
    length = watch.period * (watch.periods + BEYOND)
    span = Span(start=floor - length, end=end, period=watch.grid)
    rows = {
        (query.measured.metric, query.measured.unit): records.rows(
            conn,
            query.measured.metric.id(*place),
            start=span.start,
            end=end,
            period=watch.grid,
            unit=query.measured.unit or None,
        )
        for query in plan.needed(watched(plan))
        if query.measured is not None
    }
    if not (watch.grows and watch.wants_little) and any(
        series.has(found, floor, end, watch.grid) for found in rows.values()
    ):
        early = find(watch, _computed(watch, rows, end), value, now)
        if not watch.grows or (early is not None and early.value is StateValue.ALARM):
            return early
    return find(watch, _computed(watch, rows, floor), value, now)


def _computed(watch: Watch, rows: Mapping[tuple[series.Metric, str], Rows], end: int) -> Points:
    """The windows of an expression that end at a time, the newest first."""
    count = watch.periods + BEYOND
    span = Span(start=end - count * watch.period, end=end, period=watch.period)

    def read(measured: Measured, period: int) -> Series:
        compute = statistic(measured.statistic)
        summaries = series.by_periods(rows[measured.metric, measured.unit], start=span.start, end=end, period=period)
        values = {at: compute(summaries[at]) for at in sorted(summaries)}
        return Series(points={at: value for at, value in values.items() if value is not None}, period=period)

    plan = plan_of(watch.queries)
    found = Calculation(plan, Budget(STEPS), read=read, found=lambda _search, _period: ()).value(watched(plan), span)
    assert isinstance(found, Series)
    known = found.points
    times = [end - (index + 1) * watch.period for index in range(count)]
    return [Point(at=at, value=known[at], count=0.0) if at in known else None for at in times]


def _points(watch: Watch, steps: series.Points, end: int) -> Points:
    """The windows that end at a time, the newest first."""
    compute = statistic(watch.statistic)
    windows: list[Summary | None] = [None] * (watch.periods + BEYOND)
    for at, summary in steps.items():
        index = (end - 1 - at) // watch.period
        if not 0 <= index < len(windows):
            continue
        known = windows[index]
        if watch.period == watch.grid:
            windows[index] = summary
        elif known is None:
            windows[index] = merged = Summary()
            merged.merge(summary)
        else:
            known.merge(summary)
    points: list[Point | None] = []
    for index, summary in enumerate(windows):
        measured = None if summary is None else compute(summary)
        at = end - (index + 1) * watch.period
        points.append(
            None if summary is None or measured is None else Point(at=at, value=measured, count=summary.count)
        )
    return points
