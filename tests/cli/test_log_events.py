"""The vocabulary of the logs: what is written is described, what is described is written, and no field hides what a line is about."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from penstock.cli import log_events
from penstock.cli.log_events import EVENTS, FIELDS, Undescribed, written
from penstock.cli.logs import _JsonLines

RESERVED = {"at", "level", "logger", "event", "trace"}


def test_what_is_logged_is_described_and_the_other_way_round():
    found = written()
    assert found.keys() == EVENTS.keys()
    assert {name for one in found.values() for name in one.fields} == FIELDS.keys()
    for name, sentence in EVENTS.items():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
        assert re.fullmatch(r"[A-Z`].*\.", sentence), name
        assert len(found[name].levels) == 1, name


def test_no_field_hides_what_a_line_says_of_itself():
    assert RESERVED.isdisjoint(FIELDS)
    record = logging.makeLogRecord({"msg": "work.dead", "levelname": "ERROR", "name": "penstock.work", "job": "j"})
    line = json.loads(_JsonLines().format(record))
    assert line.keys() == {"at", "level", "logger", "event", "job"}
    assert (line["event"], line["job"]) == ("work.dead", "j")
    # These are the names that Python's own records have, which `extra` cannot take.
    assert FIELDS.keys().isdisjoint(vars(logging.makeLogRecord({})))


@pytest.mark.parametrize(
    ("logs", "why"),
    [
        ('log.info("made.up")', "made.up"),
        ('log.info("work.dead %s", 5)', "work.dead %s"),
        ('_log.warning(f"work.{1}")', "work."),
        ('_log.error("work.dead", extra={"weight": 5})', "weight"),
        ('log.exception("work.dead", extra=more)', "None"),
    ],
)
def test_what_is_not_described_is_refused_with_its_place(tmp_path: Path, logs, why):
    (tmp_path / "some.py").write_text(f"import logging\nlog = _log = logging.getLogger()\n{logs}\n")
    with pytest.raises(Undescribed) as refused:
        written(tmp_path)
    assert (str(refused.value).startswith("some.py:3 logs"), why in str(refused.value)) == (True, True), refused.value


def test_what_others_call_log_is_none_of_ours(tmp_path: Path):
    (tmp_path / "some.py").write_text(
        "import logging\nlogging.getLogger()\nmath.log('x')\nself.error('y')\nlogs.info('z')\n"
    )
    assert written(tmp_path) == {}
    assert log_events._SOURCE.name == "penstock"
