"""Composite alarms are evaluated: when an alarm of their rule is in another state, and when a period of suppression ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from penstock.monitoring import alarm_records
from penstock.monitoring.alarms import Alarm, arn_of, names_of, suppressor_of
from penstock.monitoring.engine import INITIAL
from penstock.monitoring.evaluation import stamp
from penstock.monitoring.model import AlarmState, Found, StateValue, Suppressing
from penstock.monitoring.records import Place
from penstock.monitoring.rules import holds, parse

_DATA = 3_900  # characters of a reason's data (AWS: 4,000)
_FOLLOWED = 2_000  # alarms that are followed in search of a cycle


def look(conn: sa.Connection, alarm: Alarm, now: int, seed: int) -> None:
    """Give a composite alarm, which is locked, the state of its rule, and the state of the alarm that suppresses its actions."""
    place, config = (alarm.account, alarm.region), alarm.state.config
    suppressing = is_suppressed(conn, place, config)
    found = None if _in_cycle(conn, place, alarm.id) else _judged(conn, alarm, suppressing=suppressing)
    with alarm:
        if found is not None and found.value != alarm.state.value:
            alarm.apply(found, now=now, seed=seed)
        if suppressing or alarm.state.suppressed_by:
            alarm.apply(Suppressing(active=suppressing), now=now, seed=seed)


def is_suppressed(conn: sa.Connection, place: Place, config: Mapping[str, Any]) -> bool:
    """Whether the alarm that suppresses the actions of a configuration is in ALARM."""
    suppressor = suppressor_of(*place, config)
    row = alarm_records.alarm(conn, place, suppressor) if suppressor else None
    return row is not None and row.value == StateValue.ALARM


def _judged(conn: sa.Connection, alarm: Alarm, *, suppressing: bool) -> Found:
    place, state = (alarm.account, alarm.region), alarm.state
    named = names_of(*place, state.config["AlarmRule"])
    rows = {row.id: row for row in alarm_records.states(conn, place, sorted(set(named.values())))}
    values = {given: rows[name].value for given, name in named.items() if name in rows}
    value = StateValue.ALARM if holds(parse(state.config["AlarmRule"]), values) else StateValue.OK
    known: list[tuple[str, AlarmState]] = [
        (arn_of(*place, name), Alarm.states.load(row.state)) for name, row in rows.items()
    ]
    # The one that led here is the last that has become another.
    last = max(known, key=lambda one: one[1].transitioned, default=None)
    if state.reason == INITIAL or last is None or last[1].transitioned <= state.configured:
        said = "created" if state.reason == INITIAL else "updated"
        reason = f"{alarm.arn} was {said} and its alarm rule evaluates to {value}"
    else:
        at = datetime.fromtimestamp(last[1].transitioned // 1000, tz=UTC)
        reason = f"{last[0]} transitioned to {last[1].value} at {at:%A %d %B, %Y %H:%M:%S} UTC"
        known = [last]
    return Found(value=value, reason=reason[:1023], reason_data=_data(known), suppressing=suppressing)


def _data(triggering: Sequence[tuple[str, AlarmState]]) -> str:
    """Alarms with their states as JSON: as many as there is space for."""
    listed: list[dict[str, Any]] = []
    length = 0
    for arn, state in triggering:
        one = {"arn": arn, "state": {"value": state.value.value, "timestamp": stamp(state.transitioned)}}
        length += len(json.dumps(one)) + 1
        if length > _DATA:
            break
        listed.append(one)
    return json.dumps({"triggeringAlarms": listed}, separators=(",", ":"))


def _in_cycle(conn: sa.Connection, place: Place, name: str) -> bool:
    """Whether a composite alarm depends on itself, which would change its state for ever (AWS: it is not evaluated then)."""
    seen: set[str] = set()
    level = [name]
    while level and len(seen) <= _FOLLOWED:
        found = alarm_records.sources_of(conn, place, level)
        names = {source.removeprefix("alarm/") for source in found if source.startswith("alarm/")}
        if name in names:
            return True
        level = sorted(names - seen)
        seen |= names
    return bool(level)
