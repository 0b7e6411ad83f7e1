"""Alarms as aggregates: what a decision writes, publishes and has done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from penstock.monitoring import alarm_records
from penstock.monitoring.engine import decide
from penstock.monitoring.evaluation import Watch
from penstock.monitoring.events import CONFIGURATION_CHANGED, STATE_CHANGED
from penstock.monitoring.messages import alarm_message, configuration_detail, history_data, state_detail
from penstock.monitoring.model import (
    ActionsSwitched,
    AlarmState,
    ConfigurationChanged,
    Configured,
    Effect,
    Found,
    Input,
    Released,
    StateValue,
    Suppressing,
    Transitioned,
)
from penstock.monitoring.queries import measured_by, period_of
from penstock.monitoring.rules import children, parse
from penstock.monitoring.series import metric_of
from penstock.store.aggregate import RowAggregate
from penstock.store.codec import Codec
from penstock.store.ids import ordered_uuid
from penstock.wire.call import partition_of

METRIC_ALARM = "MetricAlarm"
COMPOSITE_ALARM = "CompositeAlarm"
NEVER = 1 << 53
"""When an alarm is due that is evaluated only when something has happened (ms)."""
ACTION = "monitoring.action"
"""The kind of the jobs that run an action of an alarm."""

ACTIONS = {
    StateValue.OK: "OKActions",
    StateValue.ALARM: "AlarmActions",
    StateValue.INSUFFICIENT_DATA: "InsufficientDataActions",
}


def arn_of(account: str, region: str, name: str) -> str:
    """The ARN of an alarm."""
    return f"arn:{partition_of(region)}:cloudwatch:{region}:{account}:alarm:{name}"


def watch_of(account: str, region: str, config: Mapping[str, Any]) -> Watch:
    """What a configuration asks of its metric, or of its metrics."""
    given = config.get("Metrics")
    measured = (
        {
            "metric": "",
            "namespace": "",
            "unit": "",
            "statistic": "",
            "period": period_of(given),
            "queries": json.dumps(given),
            "adds_up": any(one.statistic in ("Sum", "SampleCount") for one in measured_by(given)),
        }
        if given
        else {
            "metric": metric_of(config).id(account, region),
            "namespace": config["Namespace"],
            "unit": config.get("Unit", ""),
            "statistic": config.get("Statistic") or config["ExtendedStatistic"],
            "period": config["Period"],
        }
    )
    return Watch(
        **measured,
        periods=config["EvaluationPeriods"],
        breaching=config.get("DatapointsToAlarm", config["EvaluationPeriods"]),
        threshold=config["Threshold"],
        operator=config["ComparisonOperator"],
        missing=config.get("TreatMissingData", "missing"),
        ignores_low_counts=config.get("EvaluateLowSampleCountPercentile") == "ignore",
    )


def name_of(account: str, region: str, given: str) -> str | None:
    """The name of an alarm of an account and region by its name or ARN; None when the ARN is of another place."""
    if not given.startswith("arn:"):
        return given
    prefix = arn_of(account, region, "")
    return given.removeprefix(prefix) if given.startswith(prefix) else None


def names_of(account: str, region: str, rule: str) -> dict[str, str]:
    """The names of the alarms of a rule, by how the rule names them. Raises RuleError."""
    named = ((given, name_of(account, region, given)) for given in children(parse(rule)))
    return {given: given if name is None else name for given, name in named}


def suppressor_of(account: str, region: str, config: Mapping[str, Any]) -> str:
    """The name of the alarm that suppresses the actions of a composite alarm; "" when there is none."""
    given = config.get("ActionsSuppressor", "")
    return name_of(account, region, given) or given


def sources_of(account: str, region: str, config: Mapping[str, Any]) -> list[str]:
    """What an alarm of a configuration looks at."""
    if "AlarmRule" in config:
        found = [f"alarm/{name}" for name in names_of(account, region, config["AlarmRule"]).values()]
        suppressor = suppressor_of(account, region, config)
        return [*dict.fromkeys(found), *([f"suppressor/{suppressor}"] if suppressor else [])]
    metrics = [one.metric for one in measured_by(config["Metrics"])] if config.get("Metrics") else [metric_of(config)]
    return list(dict.fromkeys(f"metric/{metric.id(account, region)}" for metric in metrics))


class Alarm(RowAggregate[AlarmState, Input, Effect]):
    """An alarm whose row is locked."""

    kind, service = "alarm", "cloudwatch"
    table, engine = alarm_records.alarms, staticmethod(decide)
    states = Codec("the state of an alarm", AlarmState)
    inputs = Codec("an input of an alarm", Configured, ActionsSwitched, Found, Suppressing)
    effects = Codec("an effect of an alarm", ConfigurationChanged, Transitioned, Released)

    def __init__(self, conn: sa.Connection, row: Any) -> None:
        super().__init__(conn, row)
        self._reconfigured = False

    @classmethod
    def columns(cls, state: AlarmState) -> dict[str, Any]:  # noqa: ARG003 - a new alarm's, before its first input
        """Those of a new one."""
        return {"kind": METRIC_ALARM, "value": StateValue.INSUFFICIENT_DATA.value, "due": 0, "watch": {}, "tags": {}}

    def save(self) -> None:
        """Write the row; an alarm with another configuration is evaluated at once."""
        values: dict[str, Any] = {
            "state": self.states.dump(self.state),
            "sequence": self.sequence,
            "value": self.state.value.value,
        }
        if self.state.composite:
            # One that is due already stays so: an alarm of its rule is in another state.
            waits = sa.case(
                (self.table.c.due <= self.now, self.table.c.due), else_=self.state.suppressed_until or NEVER
            )
            values |= {"kind": COMPOSITE_ALARM, "due": 0 if self._reconfigured else waits}
        elif self._reconfigured:
            values |= {"watch": asdict(watch_of(self.account, self.region, self.state.config)), "due": 0}
        self.conn.execute(self.table.update().where(self._at(self.account, self.region, self.id)).values(**values))

    @property
    def alarm_kind(self) -> str:
        """Its kind, as clients know it."""
        return COMPOSITE_ALARM if self.state.composite else METRIC_ALARM

    @property
    def arn(self) -> str:
        """What others know it by."""
        return arn_of(self.account, self.region, self.id)

    def perform(self, effect: Effect) -> None:
        """Note it in the history, publish it, and enqueue actions."""
        match effect:
            case ConfigurationChanged(previous=previous):
                self._configure(previous)
            case Transitioned():
                self._transition(effect)
            case Released(before=before):
                self._act(before)

    def _configure(self, previous: Mapping[str, Any]) -> None:
        self._reconfigured = True
        place = (self.account, self.region)
        alarm_records.set_sources(self.conn, place, self.id, sources_of(*place, self.state.config))
        said = "updated" if previous else "created"
        data = {"version": "1.0", "type": "Update" if previous else "Create", f"{said}Alarm": dict(self.state.config)}
        self.note("ConfigurationUpdate", f'Alarm "{self.id}" {said}', data)
        detail = configuration_detail(self.id, self.state, previous, operation=said.removesuffix("d"))
        self.emit(CONFIGURATION_CHANGED, detail, correlation=self.arn, actor=self.actor, cause=self.cause)

    def _transition(self, before: Transitioned) -> None:
        state = self.state
        old = {"stateValue": before.value, "stateReason": before.reason}
        new: dict[str, Any] = {"stateValue": state.value, "stateReason": state.reason}
        for said, data in ((old, before.reason_data), (new, state.reason_data)):
            if data:
                said["stateReasonData"] = data
        summary = f"Alarm updated from {before.value} to {state.value}"
        self.note("StateUpdate", summary, {"version": "1.0", "oldState": old, "newState": new})
        self.emit(
            STATE_CHANGED,
            state_detail(self.id, state, before),
            correlation=self.arn,
            actor=self.actor,
            cause=self.cause,
        )
        alarm_records.hasten_parents(self.conn, (self.account, self.region), self.id, self.now)
        if not before.held:
            self._act(before)

    def _act(self, before: Transitioned) -> None:
        """Run the actions of its state."""
        state = self.state
        if not state.config["ActionsEnabled"]:
            return
        for action in dict.fromkeys(state.config.get(ACTIONS[state.value], ())):
            self.enqueue(
                ACTION,
                {
                    "alarm": self.id,
                    "kind": self.alarm_kind,
                    "action": action,
                    "at": self.now,
                    "value": state.value,
                    "message": alarm_message(self.arn, state, before),
                },
                dedup=f"{self.arn}|{self.sequence}|{action}",
            )

    def note(self, item: str, summary: str, data: Mapping[str, Any]) -> None:
        """Add an item to its history, at the time of the present decision."""
        alarm_records.note(
            self.conn,
            (self.account, self.region),
            self.id,
            self.now,
            ordered_uuid(),
            kind=self.alarm_kind,
            item=item,
            summary=summary[:255],
            data=history_data(data),
        )


def removed(conn: sa.Connection, alarm: Alarm, *, now: int, actor: str, cause: str) -> None:
    """Forget an alarm; that is in its history, and published."""
    alarm.now = now
    data = {"version": "1.0", "type": "Delete", "deletedAlarm": dict(alarm.state.config)}
    alarm.note("ConfigurationUpdate", f'Alarm "{alarm.id}" deleted', data)
    detail = configuration_detail(alarm.id, alarm.state, {}, operation="delete")
    alarm.emit(CONFIGURATION_CHANGED, detail, correlation=alarm.arn, actor=actor, cause=cause)
    alarm_records.hasten_parents(conn, (alarm.account, alarm.region), alarm.id, now)
    alarm_records.delete(conn, (alarm.account, alarm.region), alarm.id)
