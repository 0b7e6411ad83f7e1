"""Statistics of a period, and how exactly a bounded sketch of its values answers them."""

import math
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.monitoring.sketches import MAX_CLASSES, MAX_VALUES, Sketch
from penstock.monitoring.statistics import Summary, UnknownStatistic, statistic


def summary(*values):
    made = Summary()
    for value in values:
        made.add(value)
    return made


def test_each_statistic_of_ten_values():
    ten = summary(*map(float, range(1, 11)))
    said = {
        "SampleCount": 10, "Sum": 55, "Average": 5.5, "Minimum": 1, "Maximum": 10,
        "p0": 1, "p10": 1, "p50": 5, "p90": 9, "p99.9": 10, "p100": 10,
        "tm90": 5, "TM(10%:90%)": 5.5, "TM(:50%)": 3, "TM(50%:)": 8, "TM(3:7)": 5.5, "IQM": 5.5,
        "tc50": 5, "TC(2:5)": 3, "ts50": 15, "TS(80%:)": 19, "PR(:3)": 30, "PR(3:)": 70,
        "wm80": 5.2, "WM(10%:90%)": 5.5,
    }  # fmt: skip
    assert {name: statistic(name)(ten) for name in said} == pytest.approx(said)


@pytest.mark.parametrize(
    "name",
    ["", "avg", "p", "p101", "p-1", "px", "TM", "TM(:)", "TM(90%:10%)", "TM(5:10%)", "PR(1%:2%)", "TM(%:5%)", "p1e3",
     "IQM(1:2)", "TM(1:2", "p" + "9" * 200, "TM(10%:101%)"],
)  # fmt: skip
def test_what_names_no_statistic(name):
    with pytest.raises(UnknownStatistic):
        statistic(name)


def test_a_statistics_set_has_no_percentiles_unless_its_values_are_known():
    """AWS: GetMetricStatistics, on percentiles of statistic sets."""
    median = statistic("p50")
    assert median(Summary.of_set(3, 6, 1, 3)) is None
    assert median(Summary.of_set(1, 6, 6, 6)) == 6
    assert median(Summary.of_set(4, 8, 2, 2)) == 2
    mixed = summary(1.0)
    mixed.merge(Summary.of_set(3, 6, 1, 3))
    assert (mixed.count, mixed.sum, median(mixed)) == (4, 7, None)
    assert Summary.load(orjson.loads(orjson.dumps(mixed.stored()))) == mixed


finite = st.floats(min_value=-(2.0**360), max_value=2.0**360, allow_nan=False)


@given(st.lists(st.lists(finite, min_size=1, max_size=40), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merging_in_any_order_says_the_same_as_counting_all(parts, chance):
    everything = summary(*(value for part in parts for value in part))
    chance.shuffle(parts)
    merged = Summary()
    for part in parts:
        stored = orjson.dumps(summary(*part).stored())  # as it lies in a row
        merged.merge(Summary.load(orjson.loads(stored)))
    assert (merged.count, merged.minimum, merged.maximum) == (everything.count, everything.minimum, everything.maximum)
    assert merged.sketch is not None
    assert everything.sketch is not None
    # What came together sooner may have been joined further, never less, and each value counts once.
    assert merged.sketch.level >= everything.sketch.level or merged.sketch.level == 0
    assert sum(weight for _, weight in merged.sketch.values()) == everything.count


@pytest.mark.parametrize(("spread", "error"), [(12, 0.01), (150, 0.02), (23_000, 0.04)])
def test_how_exact_a_full_sketch_is(spread, error):
    chance = random.Random(spread)
    values = [3.0 * spread ** chance.random() for _ in range(4_000)]
    made = summary(*values)
    assert made.sketch is not None
    assert len(made.sketch.weights) <= MAX_CLASSES
    values.sort()
    for share in (0.01, 0.1, 0.5, 0.9, 0.99, 0.999):
        exact = values[math.ceil(share * len(values)) - 1]
        assert statistic(f"p{share * 100:g}")(made) == pytest.approx(exact, rel=error)


@given(st.lists(finite, max_size=examples(400)))
def test_a_sketch_is_bounded_whatever_comes(values):
    made = Sketch()
    for value in values:
        made.add(value, 1.0)
    assert len(made.weights) <= (MAX_VALUES if made.level == 0 else MAX_CLASSES)
    assert all(math.isfinite(value) for value, _ in made.values())
    assert sum(weight for _, weight in made.values()) == len(values)
