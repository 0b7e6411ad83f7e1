"""Which state periods of data lead to: AWS's tables row by row, every combination against a plain model, and the sentences."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.monitoring.engine import INITIAL, decide
from penstock.monitoring.evaluation import BEYOND, Point, Watch, find, number
from penstock.monitoring.model import (
    ActionsSwitched,
    AlarmState,
    ConfigurationChanged,
    Configured,
    Found,
    StateValue,
    Transitioned,
)

OK, ALARM, UNKNOWN = StateValue.OK, StateValue.ALARM, StateValue.INSUFFICIENT_DATA
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
NOW = 1_570_036_200  # 2019-10-02T17:10:00Z


def watch(n=3, m=3, **more):
    asked = {
        "metric": "id", "namespace": "Shop", "unit": "", "statistic": "Average", "period": 60, "periods": n, "breaching": m,
        "threshold": 1.0, "operator": "GreaterThanThreshold",
    }  # fmt: skip
    return Watch(**{**asked, **more})


def points(text, breaching=2.0, count=1.0):
    """`0 - X`, the newest last: within the threshold, without data, beyond it."""
    found = []
    for index, mark in enumerate(reversed(text.split())):
        value = {"0": 0.0, "X": breaching, "-": None}[mark]
        found.append(None if value is None else Point(at=NOW - 60 * (index + 1), value=value, count=count))
    return found


def state(text, value, m, treatment, n=3, **more):
    found = find(watch(n, m, missing=treatment, **more), points(text), value, NOW)
    return "keeps" if found is None else str(found.value)


# AWS: CloudWatch User Guide, "How alarm state is evaluated when data is missing".
TABLE_1 = [
    ("0 - X - X", "OK", "OK", "OK", "OK"),
    ("- - - - 0", "OK", "OK", "OK", "OK"),
    ("- - - - -", "INSUFFICIENT_DATA", "keeps", "ALARM", "OK"),
    ("0 X X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("- - X - -", "ALARM", "keeps", "ALARM", "OK"),
]
TABLE_2 = [
    ("0 - X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0 0 X 0 X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0 - X - -", "OK", "OK", "ALARM", "OK"),
    ("- - - - 0", "OK", "OK", "ALARM", "OK"),
    ("- - - X -", "ALARM", "keeps", "ALARM", "OK"),
]


@pytest.mark.parametrize(("m", "row"), [*((3, row) for row in TABLE_1), *((2, row) for row in TABLE_2)])
def test_the_tables_of_the_documentation(m, row):
    text, *expected = row
    for value in StateValue:
        assert [state(text, value, m, treatment) for treatment in TREATMENTS] == expected


def plainly(marks, n, m, treatment):
    """The same rule over marks, the newest first."""
    real = [mark for mark in marks if mark != "-"]
    newest = real[:n]
    bad, holes = newest.count("X"), n - len(newest)
    if not holes:
        return "ALARM" if bad >= m else "OK"
    if treatment == "breaching":
        return "ALARM" if bad + holes >= m else "OK"
    if treatment == "notBreaching":
        return "ALARM" if bad >= m else "OK"
    if not newest:
        return "INSUFFICIENT_DATA" if treatment == "missing" else "keeps"
    if bad >= m:
        return "ALARM"
    if "0" in newest:
        return "OK"
    first = len(marks) - marks[::-1].index("X")
    return "ALARM" if treatment == "missing" and first >= m else "keeps"


def test_every_combination_of_up_to_three_periods():
    for n in (1, 2, 3):
        for m, treatment in itertools.product(range(1, n + 1), TREATMENTS):
            for marks in itertools.product("0X-", repeat=n + BEYOND):
                said = state(" ".join(reversed(marks)), OK, m, treatment, n)
                assert said == plainly(list(marks), n, m, treatment), (n, m, treatment, marks)


@given(st.data())
def test_longer_ranges(data):
    n = data.draw(st.integers(1, 12))
    m, treatment = data.draw(st.integers(1, n)), data.draw(st.sampled_from(TREATMENTS))
    marks = data.draw(st.lists(st.sampled_from("0X-"), min_size=n + BEYOND, max_size=n + BEYOND))
    assert state(" ".join(reversed(marks)), ALARM, m, treatment, n) == plainly(marks, n, m, treatment)


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        ("GreaterThanThreshold", (False, False, True)),
        ("GreaterThanOrEqualToThreshold", (False, True, True)),
        ("LessThanThreshold", (True, False, False)),
        ("LessThanOrEqualToThreshold", (True, True, False)),
    ],
)
def test_each_comparison(operator, values):
    for value, alarmed in zip((0.5, 1.0, 1.5), values, strict=True):
        found = find(watch(1, 1, operator=operator), [Point(at=NOW, value=value, count=1.0)], OK, NOW)
        assert found is not None
        assert (found.value is ALARM) is alarmed


def test_metrics_of_dynamodb_ignore_missing_data():
    for treatment in TREATMENTS:
        assert state("- - - - -", ALARM, 3, treatment, namespace="AWS/DynamoDB") == "keeps"


@pytest.mark.parametrize(
    ("statistic", "enough"), [("p99", 1000), ("p50", 20), ("p10", 100), ("p100", 0), ("Average", 0)]
)
def test_percentiles_of_few_samples_change_nothing_where_the_alarm_says_so(statistic, enough):
    for count in (enough - 1, enough + 1e-6):
        asked = watch(1, 1, statistic=statistic, ignores_low_counts=True)
        found = find(asked, points("- - X", count=count), OK, NOW)
        assert (found is None) is (count < enough)
        assert find(watch(1, 1, statistic=statistic), points("- - X", count=count), OK, NOW) is not None


def reason(text, n=1, m=1, value=OK, **more):
    found = find(watch(n, m, **more), points(text, 45628.0), value, NOW)
    assert found is not None
    return found.reason


def test_reasons():
    assert reason("- - X", threshold=10000.0) == (
        "Threshold Crossed: 1 out of the last 1 datapoints [45628.0 (02/10/19 17:09:00)] was greater than the threshold (10000.0)"
        " (minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert reason("- - 0 X X", 3, 2, operator="GreaterThanOrEqualToThreshold") == (
        "Threshold Crossed: 2 out of the last 3 datapoints [45628.0 (02/10/19 17:09:00), 45628.0 (02/10/19 17:08:00)] were greater than or"
        " equal to the threshold (1.0) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    assert reason("- - 0", value=ALARM) == (
        "Threshold Crossed: 1 out of the last 1 datapoints [0.0 (02/10/19 17:09:00)] was not greater than the threshold (1.0)"
        " (minimum 1 datapoint for ALARM -> OK transition)."
    )
    assert reason("- - - -", 2, 2, missing="breaching") == (
        "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching]."
    )
    assert reason("- - - - X", 3, 3, missing="breaching") == (
        "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching]."
    )
    assert reason("- - -", missing="notBreaching") == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [NonBreaching]."
    )
    assert reason("- - -") == "Insufficient Data: 1 datapoint was unknown."
    assert reason("- - - - -", 3, 3) == "Insufficient Data: 3 datapoints were unknown."


def test_the_data_of_a_reason():
    found = find(watch(2, 1, unit="Count"), points("0 X"), OK, NOW)
    assert found is not None
    assert json.loads(found.reason_data) == {
        "version": "1.0",
        "queryDate": "2019-10-02T17:10:00.000+0000",
        "startDate": "2019-10-02T17:08:00.000+0000",
        "unit": "Count",
        "statistic": "Average",
        "period": 60,
        "recentDatapoints": [0.0, 2.0],
        "threshold": 1.0,
        "evaluatedDatapoints": [
            {"timestamp": "2019-10-02T17:09:00.000+0000", "sampleCount": 1.0, "value": 2.0},
            {"timestamp": "2019-10-02T17:08:00.000+0000", "sampleCount": 1.0, "value": 0.0},
        ],
    }


def test_reasons_are_bounded():
    many = [Point(at=NOW - 60 * index, value=-1.2345678901234567e-300, count=123456.789) for index in range(1440)]
    for operator in ("LessThanThreshold", "GreaterThanThreshold"):
        found = find(watch(1440, 1440, operator=operator, threshold=1.2345678901234567e300), many, OK, NOW)
        assert found is not None
        assert len(found.reason) <= 1023
        assert len(found.reason_data) <= 4000


def test_numbers_as_java_prints_them():
    assert [number(value) for value in (21.5, 4, 1e20, 1.5e-7, -3.0)] == ["21.5", "4.0", "1.0E20", "1.5E-7", "-3.0"]


# --- the engine -------------------------------------------------------------------------------------------------------

CONFIG = {"ActionsEnabled": True, "Threshold": 1.0}


def made():
    alarm, _ = decide(AlarmState(), Configured(config=CONFIG), 1_000, 0)
    return alarm


def test_a_new_alarm_is_unchecked_and_another_configuration_keeps_the_state():
    alarm = made()
    assert (alarm.value, alarm.reason, alarm.updated, alarm.transitioned) == (UNKNOWN, INITIAL, 1_000, 1_000)
    alarmed, _ = decide(alarm, Found(value=ALARM, reason="r"), 2_000, 0)
    changed, effects = decide(alarmed, Configured(config={**CONFIG, "Threshold": 2.0}), 3_000, 0)
    assert effects == (ConfigurationChanged(previous=CONFIG),)
    assert (changed.value, changed.reason, changed.updated, changed.configured) == (ALARM, "r", 2_000, 3_000)


def test_only_another_state_is_a_transition():
    alarm = made()
    assert decide(alarm, Found(value=UNKNOWN, reason="again"), 2_000, 0) == (alarm, ())
    by_hand, effects = decide(alarm, Found(value=UNKNOWN, reason="said", by_hand=True), 2_000, 0)
    assert (by_hand.reason, by_hand.updated, by_hand.transitioned, effects) == ("said", 2_000, 1_000, ())
    after, effects = decide(by_hand, Found(value=ALARM, reason="r", reason_data="{}"), 3_000, 0)
    assert (after.value, after.reason, after.reason_data, after.updated, after.transitioned) == (
        ALARM,
        "r",
        "{}",
        3_000,
        3_000,
    )
    assert effects == (Transitioned(value=UNKNOWN, reason="said", reason_data="", updated=2_000),)


def test_switching_actions_is_another_configuration():
    alarm = made()
    assert decide(alarm, ActionsSwitched(enabled=True), 2_000, 0) == (alarm, ())
    off, effects = decide(alarm, ActionsSwitched(enabled=False), 2_000, 0)
    assert (off.config["ActionsEnabled"], off.configured, len(effects)) == (False, 2_000, 1)
