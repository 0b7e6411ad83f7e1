"""What a check is given and what it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa

_SKEW_SECONDS = 60  # signatures allow five minutes; a clock that is off by one will soon be off by five


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"  # works today
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `mend` says what to do."""

    verdict: Verdict
    what: str
    message: str
    mend: str = ""


Check = Callable[["Installation"], Iterator[Finding]]


@dataclass(slots=True)
class Installation:
    """The installation that is looked at."""

    data_dir: Path
    database: str
    master_key_file: Path
    engine: sa.Engine
    master_key_command: str = ""
    rotation_commands: tuple[str, ...] = ()


def clock(whose: str, there: float) -> Iterator[Finding]:
    """Does a clock agree with this machine's?"""
    off = there - time.time()
    if abs(off) > _SKEW_SECONDS:
        yield Finding(
            Verdict.FAIL,
            "clock",
            f"{whose}'s clock is off by {off:.0f} s",
            "let a time service keep both clocks: signatures of requests expire",
        )
    else:
        yield Finding(Verdict.OK, "clock", f"{whose}'s clock agrees with this machine's")
