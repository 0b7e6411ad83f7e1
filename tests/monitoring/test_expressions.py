"""Metric math: AWS's examples, every function against a naive evaluator over grids of values, errors with their places, and bounds."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.monitoring import labels, searching
from penstock.monitoring.errors import ValidationError
from penstock.monitoring.expression_syntax import ExpressionError
from penstock.monitoring.expressions import (
    FUNCTIONS,
    Budget,
    Scope,
    Series,
    Span,
    TooMuch,
    compute,
    kind_of,
    needs_of,
    parse,
)
from penstock.monitoring.queries import Calculation, Plan, read
from penstock.monitoring.series import Metric

SLOTS = 5
SPAN = Span(start=0, end=300, period=60)


def series(values):
    return Series(points={60 * slot: float(value) for slot, value in enumerate(values) if value is not None})


def grid(value):
    if isinstance(value, float):
        return value
    if isinstance(value, tuple):
        return [grid(one) for one in value]
    assert list(value.points) == sorted(value.points)
    return [value.points.get(60 * slot) for slot in range(SLOTS)]


def _known(known, name):
    if name not in known:
        raise ExpressionError("unknown")
    return known[name]


def computed(text, budget=100_000, **values):
    known = {name: series(one) for name, one in values.items()}
    return compute(
        parse(text),
        Scope(
            span=SPAN,
            value=lambda name: _known(known, name),
            metrics=lambda part: tuple(one for name, one in known.items() if part in name),
            is_metric=lambda name: name in known,
            found=lambda _search: (),
            budget=Budget(budget),
        ),
    )


_ = None


EXAMPLES = [
    # AWS: "Metric math syntax and functions", "Using IF expressions"
    ("m1 < m2", [0, 0, 1, 0, _]),
    ("m1 >= 30", [1, 0, 0, 0, _]),
    ("m1 > 15 AND m2 > 15", [1, 0, 0, 0, _]),
    ("IF(c, a, b)", [30, 0, 20, _, _]),
    ("IF(c, 5, b)", [5, 5, 20, _, _]),
    ("IF(c, a, 5)", [30, 0, 5, 5, _]),
    ("IF(0, a, b)", [0, 0, 20, _, 20]),
    ("IF(m1 < 25, m1)", [_, 20, 0, 0, _]),
    ("IF(0, a)", [_] * 5),
    ("m1 / m2", [1.5, _, 0, _, _]),
    ("FILL(m2, 7)", [20, 7, 20, 7, 7]),
    ("FILL(m2, REPEAT)", [20, 20, 20, 20, 20]),
    ("FILL(a, LINEAR)", [30, 15, 0, 0, 30]),
    ("FILL([m2], LINEAR)", [[20, 20, 20, _, _]]),
    ("FILL(m2, m1)", [20, 20, 20, 0, _]),
    ("-m1^2 + 1e3", [100, 600, 1000, 1000, _]),
    ("2^3^2", 512.0),
    ("1 - 2 - 3 * 4 / 6", -3.0),
    ("1 OR 0 AND 0", 1.0),
    ("--3 - -2", 5.0),
    ("m1 - MIN(m1)", [30, 20, 0, 0, _]),
    ("TIME_SERIES(AVG(m1))", [10] * 5),  # missing values are 0
    ("TIME_SERIES(SUM(m1) / DATAPOINT_COUNT(m1))", [12.5] * 5),
    ("TIME_SERIES(1/0)", [_] * 5),
    ("m1 / PERIOD(m1) * 60", [30, 20, 0, 0, _]),
    ("DIFF(m2)", [_, _, 0, _, _]),
    ("RATE(m1) * 60", [_, -10, -20, 0, _]),
    ("DIFF_TIME(m2)", [_, _, 120, _, _]),
    ("RUNNING_SUM(c)", [1, 2, 2, 2, _]),
    ("LOG10(m1 * 100 / 3)", [3, pytest.approx(2.8239, abs=1e-4), _, _, _]),
    ("CEIL(m1 / 7)", [5, 3, 0, 0, _]),
    ("FLOOR(-m1 / 7)", [-5, -3, 0, 0, _]),
    ('SUM(METRICS("m"))', [50, 20, 20, 0, _]),
    ("AVG([m1, m2])", [25, 10, 10, 0, _]),
    ("MAX([m1, m2])", [30, 20, 20, 0, _]),
    ("SUM(100 / [m1, m2])", [pytest.approx(8.3333, abs=1e-4), 5, 5, _, _]),
    ("STDDEV([m1, m2])", [5, 0, 10, 0, _]),
    ("m1 * METRIC_COUNT(METRICS())", [150, 100, 0, 0, _]),
    ("SORT([m1, m2], SUM, ASC)", [[20, _, 20, _, _], [30, 20, 0, 0, _]]),
    ("SORT([m1, m2], MAX, DESC, 1)", [[30, 20, 0, 0, _]]),
    ("SLICE([m1, m2, c], 1, 2)", [[20, _, 20, _, _]]),
    ("SLICE([m1, m2], 1)", [[20, _, 20, _, _]]),
    ("FIRST([m1, m2])", [30, 20, 0, 0, _]),
    ("LAST([m1, m2])", [20, _, 20, _, _]),
    ("FIRST(REMOVE_EMPTY([m1 / 0, m2]))", [20, _, 20, _, _]),
    ("FIRST(SLICE([m1], 1))", [_] * 5),
    ("MINUTE(m2)", [0, 1, 2, 3, 4]),
    ("IF(DAY(m1) == 4 && YEAR(m1) == 1970 && MONTH(m1) == 1 && DATE(m1) == 1 && HOUR(m1) == 0 || 0, EPOCH(m1))", [0, 60, 120, 180, 240]),
]  # fmt: skip


def test_aws_examples():
    for text, expected in EXAMPLES:
        values = {
            "m1": [30, 20, 0, 0],
            "m2": [20, _, 20, _],
            "c": [1, 1, 0, 0, _],
            "a": [30, _, 0, 0, 30],
            "b": [0, 0, 20, _, 20],
        }
        assert grid(computed(text, **values)) == expected, text


ERRORS = [
    ("", "Invalid syntax: unexpected end at char 1"),
    ("m1 +", "Invalid syntax: unexpected end at char 5"),
    ("(m1", "Invalid syntax: unexpected end at char 4"),
    ("m1)", "Invalid syntax: unexpected ')' at char 3"),
    ("m1 m1", "Invalid syntax: unexpected 'm1' at char 4"),
    ("m1 AND", "Invalid syntax: unexpected end at char 7"),
    ("AND", "Invalid syntax: unexpected 'AND' at char 1"),
    ("m1 + $x", "Invalid syntax: unexpected character '$' at char 6"),
    ("[m1, ]", "Invalid syntax: unexpected ']' at char 6"),
    ("1e999", "Invalid syntax: the number at char 1 is too large"),
    ("avg(m1)", "Function 'avg' not found at char 1"),
    ("1 + NOPE(m1)", "Function 'NOPE' not found at char 5"),
    ("ANOMALY_DETECTION_BAND(m1)", "Function 'ANOMALY_DETECTION_BAND' is not served by this version of Penstock"),
    ("SELECT AVG(x) FROM y", "queries of Metrics Insights (SELECT) are not served by this version of Penstock"),
    ("SUM(1)", "Function 'SUM' does not take arguments of the type Scalar at char 1"),
    ("SUM(m1, m1)", "Function 'SUM' takes 1 argument at char 1"),
    ("METRIC_COUNT(m1)", "Function 'METRIC_COUNT' does not take arguments of the type TimeSeries at char 1"),
    ("TIME_SERIES(m1)", "Function 'TIME_SERIES' does not take arguments of the type TimeSeries at char 1"),
    ("IF([m1], 1, 2)", "Function 'IF' does not take arguments of the type Array[TimeSeries] at char 1"),
    ("IF(m1)", "Function 'IF' takes 2 or 3 arguments at char 1"),
    ("FILL(m1)", "Function 'FILL' takes 2 arguments at char 1"),
    ("FILL(1, 2)", "Function 'FILL' does not take arguments of the type Scalar at char 1"),
    ("FILL(m1, [m1])", "Function 'FILL' does not fill with an Array[TimeSeries] at char 1"),
    ("PERIOD(m1 + 1)", "Function 'PERIOD' takes the id of a metric at char 1"),
    ("SORT([m1], UP, ASC)", "Function 'SORT' takes an array, one of AVG, MAX, MIN, STDDEV and SUM, ASC or DESC, and a limit at char 1"),
    ("SLICE([m1])", "Function 'SLICE' takes 2 or 3 arguments at char 1"),
    ("SLICE([m1], m1)", "Function 'SLICE' does not take arguments of the type TimeSeries at char 1"),
    ("[m1, 1]", "an array has time series, and no numbers"),
    ("[m1] / [m1]", "Unsupported operand type(s) for /: '[Array[TimeSeries], Array[TimeSeries]]'"),
    ("[m1] < m1", "Unsupported operand type(s) for <: '[Array[TimeSeries], TimeSeries]'"),
    ("m1 + REPEAT", "Invalid syntax: unexpected 'REPEAT' at char 6"),
    ("m1 + 'x'", "a text in quotation marks is an argument of METRICS and SEARCH only"),
    ("METRICS(m1)", "METRICS takes nothing, or one text in quotation marks"),
    ("SEARCH('x')", "SEARCH takes a query and a statistic, both in quotation marks, and a period in seconds"),
    ("(" * 41 + "1" + ")" * 41, "Invalid syntax: more than 40 levels within each other at char 42"),
    ("2" + "^2" * 50, "Invalid syntax: more than 40 levels within each other at char 83"),
]  # fmt: skip


def test_errors_say_why_and_where():
    for text, message in ERRORS:
        with pytest.raises(ExpressionError) as refused:
            computed(text, m1=[1])
        assert str(refused.value) == message


# --- a naive evaluator ------------------------------------------------------------------------------------------------

values = st.lists(st.one_of(st.none(), st.integers(-4, 4)), min_size=SLOTS, max_size=SLOTS)
leaves = st.sampled_from(["m1", "m2", "3", "0.5", "0"])
OPERATORS = ["+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "AND", "OR"]
SERIES_WISE = ["ABS", "CEIL", "FLOOR", "LOG", "DIFF", "RATE", "RUNNING_SUM"]


def _larger(inner):
    pair = st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda one: ("op", *one))
    applied = st.tuples(st.sampled_from(SERIES_WISE), inner).map(lambda one: ("each", *one))
    summed = st.tuples(st.sampled_from(["SUM", "MIN", "MAX", "AVG", "DATAPOINT_COUNT"]), inner).map(
        lambda one: ("all", *one)
    )
    filled = st.tuples(inner, st.sampled_from(["2", "REPEAT", "LINEAR"])).map(lambda one: ("fill", *one))
    chosen = st.tuples(inner, inner, inner).map(lambda one: ("if", *one))
    return st.one_of(pair, applied, summed, filled, chosen)


trees = st.recursive(leaves, _larger, max_leaves=8)


def written(tree):
    match tree:
        case str():
            return tree
        case ("op", one, sign, other):
            return f"({written(one)} {sign} {written(other)})"
        case ("each" | "all", name, inner):
            return f"{name}(TIME_SERIES(0) + {written(inner)})" if name == "AVG" else f"{name}({written(inner)})"
        case ("fill", inner, how):
            return f"FILL({written(inner)}, {how})"
        case ("if", *inner):
            return f"IF({', '.join(written(one) for one in inner)})"


class Unfit(Exception):
    pass


def naive(tree, known):
    """A number (NaN: none), or a list with a number or None for each slot."""
    match tree:
        case str():
            return list(known[tree]) if tree in known else float(tree)
        case ("op", one, sign, other):
            return _both(sign, naive(one, known), naive(other, known))
        case ("each", name, inner):
            return _each(name, naive(inner, known))
        case ("all", name, inner):
            value = naive(inner, known)
            if name == "AVG":
                value = _both("+", [0.0] * SLOTS, value)
            if isinstance(value, float):
                raise Unfit
            there = [one for one in value if one is not None]
            if name in ("MIN", "MAX") and not there:
                return math.nan
            sums = {
                "SUM": math.fsum,
                "MIN": min,
                "MAX": max,
                "AVG": lambda all: math.fsum(all) / SLOTS,
                "DATAPOINT_COUNT": len,
            }
            return float(sums[name](there))
        case ("fill", inner, how):
            return _fill(naive(inner, known), how)
        case ("if", *inner):
            return _choose(*(naive(one, known) for one in inner))


def _number(sign, one, other):
    if math.isnan(one) or math.isnan(other):
        return math.nan
    try:
        return float({
            "+": lambda: one + other, "-": lambda: one - other, "*": lambda: one * other, "/": lambda: one / other,
            "==": lambda: one == other, "!=": lambda: one != other, "<": lambda: one < other, "<=": lambda: one <= other,
            ">": lambda: one > other, ">=": lambda: one >= other, "AND": lambda: one != 0 and other != 0, "OR": lambda: one != 0 or other != 0,
        }[sign]())  # fmt: skip
    except (ZeroDivisionError, OverflowError):
        return math.nan


def _drop(value):
    return None if value is None or not math.isfinite(value) else value


def _both(sign, one, other):
    if isinstance(one, float) and isinstance(other, float):
        return _number(sign, one, other)
    found = []
    for slot in range(SLOTS):
        left = one if isinstance(one, float) else one[slot]
        right = other if isinstance(other, float) else other[slot]
        nothing = (left is None or isinstance(one, float)) and (right is None or isinstance(other, float))
        found.append(
            None
            if nothing
            else _drop(
                _number(sign, left or 0.0 if left == 0 or left is None else left, 0.0 if right is None else right)
            )
        )
    return found


def _each(name, value):
    simple = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor, "LOG": lambda x: math.log(x) if x > 0 else math.nan}
    if isinstance(value, float):
        if name not in simple:
            raise Unfit
        return value if math.isnan(value) else float(simple[name](value))
    found, last, total = [], None, 0.0
    for slot, one in enumerate(value):
        if one is None:
            found.append(None)
            continue
        total += one
        if name in simple:
            found.append(_drop(float(simple[name](one))))
        elif name == "RUNNING_SUM":
            found.append(_drop(total))
        else:
            change = None if last is None else (one - last[1]) / (60 * (slot - last[0]) if name == "RATE" else 1)
            found.append(_drop(change))
        last = (slot, one)
    return found


def _fill(value, how):
    if isinstance(value, float):
        raise Unfit
    found = list(value)
    for slot in range(SLOTS):
        if value[slot] is not None:
            continue
        before = [at for at in range(slot) if value[at] is not None]
        behind = [at for at in range(slot, SLOTS) if value[at] is not None]
        if how == "2":
            found[slot] = 2.0
        elif how == "REPEAT" and before:
            found[slot] = value[before[-1]]
        elif how == "LINEAR" and before and behind:
            left, right = before[-1], behind[0]
            found[slot] = value[left] + (value[right] - value[left]) * (slot - left) / (right - left)
    return found


def _choose(condition, yes, no):
    def at(value, slot, missing):
        if isinstance(value, float):
            return _drop(value)
        return missing if value[slot] is None else value[slot]

    if isinstance(condition, list):
        return [
            None if one is None else at(yes, slot, 0.0) if one else at(no, slot, None)
            for slot, one in enumerate(condition)
        ]
    picked = math.nan if math.isnan(condition) else yes if condition else no
    if isinstance(picked, float) and (isinstance(yes, list) or isinstance(no, list)):
        return [_drop(picked)] * SLOTS
    return picked


@given(trees, values, values)
def test_expressions_are_computed_as_a_naive_evaluator_does(tree, m1, m2):
    known = {
        "m1": [None if one is None else float(one) for one in m1],
        "m2": [None if one is None else float(one) for one in m2],
    }
    try:
        expected = naive(tree, known)
    except Unfit:
        with pytest.raises(ExpressionError):
            computed(written(tree), m1=m1, m2=m2)
        return
    found = grid(computed(written(tree), m1=m1, m2=m2))
    if isinstance(expected, float):
        assert found == pytest.approx(expected, nan_ok=True)
    else:
        assert [one is None for one in found] == [one is None for one in expected], written(tree)
        assert [one for one in found if one is not None] == pytest.approx([one for one in expected if one is not None])


@given(st.text(alphabet="m12.+-*/^()[],<>=!&|'\" ABSUMIF", max_size=examples(60)))
def test_no_text_is_more_than_refused_and_types_do_not_depend_on_data(text):
    kinds = []
    for values in ([1, 2, None, 0], []):
        try:
            kinds.append(kind_of(computed(text, m1=values, m2=values)))
        except ExpressionError as refused:
            kinds.append(str(refused))
    assert kinds[0] == kinds[1]


def test_long_expressions_are_cheap_and_costly_ones_refused():
    began = time.thread_time()
    computed("1" + "+1" * 1_000)
    computed("[" + ",".join(["m1"] * 600) + "]", m1=[1])
    assert time.thread_time() - began < 1
    with pytest.raises(TooMuch):
        computed("SUM([" + ",".join(["METRICS()"] * 200) + "])", budget=1_000, **{f"m{n}": [1] for n in range(100)})


def test_every_function_is_tried_here():
    tried = str([*EXAMPLES, *ERRORS]) + "ABS( LOG("
    assert [name for name in FUNCTIONS if f"{name}(" not in tried] == []


# --- queries that need each other -------------------------------------------------------------------------------------


def stat(id, period=60, **more):
    metric = {"Namespace": "N", "MetricName": id, "Dimensions": []}
    return {"Id": id, "MetricStat": {"Metric": metric, "Stat": "Sum", "Period": period}, **more}


def planned(*queries):
    return Plan(read(queries, "Metrics", "111111111111", allowed=lambda period: period % 60 == 0))


def test_queries_are_computed_after_what_they_need_by_the_longest_period():
    chain = [{"Id": f"e{n}", "Expression": f"e{n - 1} + 1"} for n in range(400, 0, -1)]
    plan = planned(
        *chain,
        {"Id": "e0", "Expression": "SUM(METRICS('m'))"},
        stat("m1"),
        stat("m2", period=300),
        stat("x", period=900),
    )
    assert plan.order.index("e0") < plan.order.index("e1") < plan.order.index("e400")
    assert {plan.periods["e0"], plan.periods["e400"]} == {300}
    assert plan.kinds["e400"] == "TimeSeries"
    alone = planned({"Id": "e", "Expression": "TIME_SERIES(1)", "Period": 120})
    assert (alone.periods["e"], planned({"Id": "e", "Expression": "TIME_SERIES(1)"}).periods["e"]) == (120, 300)


UNFIT = [
    ([{"Id": "a", "Expression": "b"}, {"Id": "b", "Expression": "a"}], "Error in expression 'a': the expression is computed from itself."),
    ([{"Id": "a", "Expression": "a + 1"}], "Error in expression 'a': the expression is computed from itself."),
    ([{"Id": "a", "Expression": "b"}], "Error in expression 'a': there is no metric or expression with the Id 'b'."),
    ([{"Id": "a", "Expression": "SUM(1)"}], "Error in expression 'a': Function 'SUM' does not take arguments of the type Scalar at char 1"),
    ([stat("a"), stat("a")], "The values for parameter id in Metrics are not unique: a."),
    ([{"Id": "a"}], "The parameter Metrics.member.1.MetricStat is required.\n"),
    ([stat("a") | {"Expression": "1"}], "The parameters Metrics.member.1.Expression and Metrics.member.1.MetricStat are mutually exclusive and you"
     " have specified both."),
    ([stat("A")], "The value A for parameter Metrics.member.1.Id is invalid: it begins with a small letter, and has letters, digits and underscores"
     " only."),
    ([stat("a", Label="${NOPE}")], "The parameter Metrics.member.1.Label has a dynamic value that does not exist: ${NOPE}."),
    ([{"Id": "a", "Expression": "1" * 2000}] * 101, "The expressions of a request can have 200,000 characters altogether. Ask for some of them in"
     " another request."),
]  # fmt: skip


def test_times_at_the_ends_of_the_calendar_are_left_out():
    first, last = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999
    for at, zone in ((first, "-0100"), (last, "+0100"), (first - 1, "+0000"), (last + 1, "+0000")):
        subject = labels.Subject(default="", points={at: 1.0}, properties={}, now=0, zone=labels.zone_of(zone))
        assert labels.filled("${FIRST_TIME} ${LAST}", subject) == "- 1"
    plan = planned({"Id": "e", "Expression": "YEAR(TIME_SERIES(1))"})
    for start, years in ((first - 60, [1.0]), (last - 59, [9999.0])):
        value = Calculation(plan, Budget(100), read=None, found=None).value(
            "e", Span(start=start, end=start + 120, period=60)
        )
        assert list(value.points.values()) == years


def test_queries_that_do_not_fit_are_refused():
    for queries, message in UNFIT:
        with pytest.raises(ValidationError) as refused:
            planned(*queries)
        assert str(refused.value) == message


# --- searches and labels ----------------------------------------------------------------------------------------------

CPU = Metric("AWS/EC2", "CPUUtilization", (("InstanceId", "i-12ab"),))
COUNT = Metric("MyNamespace", "CustomCount1", ())
BUCKET = Metric("AWS/S3", "BucketSizeBytes", (("BucketName", "logs"), ("StorageType", "StandardStorage")))


SEARCHES = [
    ("{AWS/EC2,InstanceId}", [CPU]),
    ("{AWS/EC2}", [CPU]),
    ("{AWS/S3,BucketName}", []),
    ('{"AWS/S3", "StorageType", BucketName} MetricName="BucketSizeBytes"', [BUCKET]),
    ("count", [COUNT]),
    ("COUNT", [COUNT]),
    ("couNT", []),
    ("CustomCount", [COUNT]),
    ("customcount", []),
    ('"CustomCount1"', [COUNT]),
    ('"customcount1"', []),
    ("MetricName=(count OR size) NOT Namespace=MyNamespace", [BUCKET]),
    ("utilization OR NOT (aws)", [CPU, COUNT]),
    ("BucketName=logs AND standard", [BUCKET]),
    ("BucketName=standard", []),
    ("InstanceId", [CPU]),
]  # fmt: skip


def test_what_searches_find():
    for query, found in SEARCHES:
        asked = searching.parse(query)
        assert [metric for metric in (CPU, COUNT, BUCKET) if asked.finds(metric)] == found, query


def test_searches_that_are_not_valid_are_refused():
    for query in ["", "{}", "(a", "a)", "a OR", '"a', "=", "{N,} x", "(" * 30 + "a" + ")" * 30, "x" * 1025]:
        with pytest.raises(ExpressionError):
            searching.parse(query)


def test_a_search_is_found_in_its_expression():
    needs = needs_of(parse("SUM(SEARCH('{A,B} MetricName=\"x\"', 'Average', 60)) + m1"))
    (search,) = needs.searches
    assert (search.query, search.statistic, search.period, needs.names) == (
        '{A,B} MetricName="x"',
        "Average",
        60,
        ("m1",),
    )


def test_labels_have_values_of_their_series():
    points = {0: 4.0, 60: 1.0, 180: 2.5}
    subject = labels.Subject(
        default="Errors", points=points, properties={"Dim.Host": "a"}, now=200, zone=labels.zone_of("+0130")
    )
    filled = {
        "${LABEL} ${MAX}/${MIN} ${PROP('Dim.Host')}": "Errors 4/1 a",
        "${AVG} ${SUM} ${FIRST} ${LAST} ${DATAPOINT_COUNT}": "2.5 7.5 4 2.5 3",
        "${MAX_TIME} ${MIN_TIME_RELATIVE}": "1970-01-01 01:30:00 2m 20s",
        "${FIRST_LAST_TIME_RANGE} ${MIN_MAX_RANGE} ${FIRST_LAST_RANGE}": "3m 3 -1.5",
    }
    assert {label: labels.filled(label, subject) for label in filled} == filled
    empty = labels.Subject(default="x", points={}, properties={}, now=0, zone=labels.zone_of("-0000"))
    assert labels.filled("${AVG} ${DATAPOINT_COUNT}", empty) == "- 0"
    for label in ("${LABEL}${LABEL}", "${AVG}" * 6):
        with pytest.raises(ValidationError):
            labels.check(label, "Label")
    for zone in ("0130", "+2500", "+01", "+0160"):
        with pytest.raises(ValidationError):
            labels.zone_of(zone)


def test_an_expression_with_many_texts_of_metrics_needs_each_metric_once():
    """Thousands of texts that hundreds of ids have made millions of needs."""
    common = "abcdefghijklmnopqrstuvwxyz"
    texts = sorted({common[at:end] for at in range(20) for end in range(at + 1, 26)})
    metric = {"Metric": {"Namespace": "N", "MetricName": "M"}, "Stat": "Sum", "Period": 60}
    given = [{"Id": f"m{number}_{common}", "MetricStat": metric} for number in range(20)]
    summed = "+".join(f"SUM(METRICS('{text}'))" for text in texts)
    plan = planned({"Id": "e", "Expression": summed}, *given)
    assert len(plan._direct(plan.queries["e"])) == len(given)
