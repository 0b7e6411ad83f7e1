"""What an alarm is, and what it is given to decide on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class StateValue(StrEnum):
    """The state of an alarm."""

    OK = "OK"  # the metric is within its threshold
    ALARM = "ALARM"  # it is beyond
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"  # nobody knows


class SuppressedBy(StrEnum):
    """Why a composite alarm runs no actions."""

    WAIT = "WaitPeriod"
    EXTENSION = "ExtensionPeriod"
    ALARM = "Alarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitioned:
    """Note and publish another state, and run the actions of it."""

    value: StateValue  # before
    reason: str
    reason_data: str
    updated: int
    held: bool = False  # its actions are suppressed


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """An alarm. Times are ms since the epoch."""

    config: Mapping[str, Any] = field(
        default_factory=dict
    )  # as PutMetricAlarm or PutCompositeAlarm takes it, without tags
    configured: int = 0  # when its configuration was last written; 0: it is being made
    value: StateValue = StateValue.INSUFFICIENT_DATA
    reason: str = ""
    reason_data: str = ""  # JSON
    updated: int = 0  # when the state was last written
    transitioned: int = 0  # when it last became another one
    # Of a composite alarm whose actions another alarm suppresses:
    suppressed_by: str = ""  # WaitPeriod ExtensionPeriod Alarm
    suppressed_until: int = 0  # when the period ends
    held: Transitioned | None = None  # the transition whose actions are suppressed

    @property
    def composite(self) -> bool:
        """Whether its state follows from those of other alarms."""
        return "AlarmRule" in self.config


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """PutMetricAlarm."""

    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionsSwitched:
    """EnableAlarmActions or DisableAlarmActions."""

    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Its metric was looked at, or somebody has set its state (`by_hand`)."""

    value: StateValue
    reason: str
    reason_data: str = ""
    by_hand: bool = False
    suppressing: bool = False  # the alarm that suppresses its actions is in ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressing:
    """The alarm that suppresses the actions of a composite alarm was looked at, or a period has ended."""

    active: bool  # it is in ALARM


Input = Configured | ActionsSwitched | Found | Suppressing


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationChanged:
    """Note and publish another configuration. `previous` is empty for an alarm that is new."""

    previous: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Run the actions of its state that were suppressed."""

    before: Transitioned


Effect = ConfigurationChanged | Transitioned | Released
