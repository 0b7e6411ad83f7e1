"""Which events patterns take: the tables of AWS's documentation and recordings, and a comparison with a matcher that tries everything."""

import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.events.finding import Rules
from penstock.events.matching import MAX_DEPTH, is_deeper, takes
from penstock.events.patterns import parse

NOTHING = object()


def value_taken(alternatives: list, value: object = NOTHING) -> bool:
    return takes(json.dumps({"d": {"x": alternatives}}), {"d": {} if value is NOTHING else {"x": value}})


@pytest.mark.parametrize(
    ("alternative", "taken", "refused"),
    [
        ("x", ["x", ["y", "x"], [["x"]]], ["X", "xx", 1, None, {"x": "x"}, [], NOTHING]),
        (300, [300, 300.0, 3.0e2], ["300", 301, True]),
        (1, [1, 1.0], [True, "1"]),
        (True, [True], [1, "true", False]),
        (None, [None, [None]], ["null", "", 0, False, [], NOTHING]),
        (123456789012345678, [123456789012345678], [123456789012345679]),
        ({"exactly": "x"}, ["x"], ["X", 1]),
        ({"prefix": "ab"}, ["ab", "abc"], ["xab", "AB", 1, None]),
        ({"prefix": ""}, ["", "x"], [1, None, NOTHING]),
        ({"prefix": {"equals-ignore-case": "aB"}}, ["Abc", "abx"], ["xab"]),
        ({"suffix": ".png"}, ["a.png", ".png"], [".pngx", ".PNG"]),
        ({"suffix": {"equals-ignore-case": ".PnG"}}, ["a.png", "A.PNG"], ["png"]),
        ({"equals-ignore-case": "Straße"}, ["STRAßE", "straße"], ["strasse"]),
        ({"equals-ignore-case": ""}, [""], ["x", None, NOTHING]),
        ({"wildcard": "a*c"}, ["ac", "abc", "a*c", "acc"], ["a", "acx", "xac", 1]),
        ({"wildcard": "*a*a*"}, ["aa", "xaxax"], ["a", "xax"]),
        ({"wildcard": "ab*ba"}, ["abba", "abxba"], ["aba", "ab"]),
        ({"wildcard": r"a\*b\\"}, ["a*b\\"], ["axb\\"]),
        ({"wildcard": ""}, [""], ["x"]),
        ({"anything-but": "x"}, ["y", 1, None, True, ["x", "y"]], ["x", ["x", "x"], [], {"x": 1}, NOTHING]),
        ({"anything-but": 5}, [6, "5", None], [5, 5.0, NOTHING]),
        ({"anything-but": ["a", "b"]}, ["c", 1], ["a", "b", NOTHING]),
        ({"anything-but": {"prefix": "a"}}, ["b", 1, None], ["a", "ab", NOTHING]),
        ({"anything-but": {"suffix": ["a", "b"]}}, ["ac", None], ["xa", "xb"]),
        ({"anything-but": {"equals-ignore-case": ["a"]}}, ["b", 1], ["A", "a"]),
        ({"anything-but": {"wildcard": "*/x/*"}}, ["a/y/b", 1], ["a/x/b"]),
        ({"numeric": [">", 0, "<=", 5]}, [0.1, 5, 5.0], [0, 5.01, "3", None, True]),
        ({"numeric": ["=", 3.018e2]}, [301.8], [301.81]),
        ({"numeric": [">=", -1]}, [-1, 10**30], [-1.5]),
        ({"numeric": ["<", 0]}, [-0.1], [0, -0.0]),
        ({"cidr": "10.0.0.0/24"}, ["10.0.0.0", "10.0.0.255"], ["10.0.1.0", "x", "10.0.0", "::1", 1]),
        ({"cidr": "2001:db8::/31"}, ["2001:db8::1", "2001:DB9::"], ["2001:dba::", "10.0.0.1"]),
        ({"exists": True}, ["x", None, False, [1]], [{"a": 1}, [], [{"a": 1}], NOTHING]),
        ({"exists": False}, [{"a": 1}, [], NOTHING], ["x", None, [1]]),
    ],
)
def test_an_operator(alternative, taken, refused):
    assert [value for value in taken if not value_taken([alternative], value)] == []
    assert [value for value in refused if value_taken([alternative], value)] == []


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        ({"x": ["a", {"prefix": "b"}]}, [{"x": "a"}, {"x": "bc"}], [{"x": "c"}]),
        ({"x": [{"exists": False}, "a"]}, [{}, {"x": "a"}, {"x": {}}], [{"x": "b"}]),
        ({"a": {"b": [{"exists": False}]}}, [{}, {"a": 1}, {"a": []}, {"a": {"b": {"c": 1}}}], [{"a": {"b": None}}]),
        # All of one element, as AWS's engine has it.
        (
            {"a": {"n": [1], "m": [2]}},
            [{"a": [{"n": 1, "m": 2}]}, {"a": [[{"n": 0}], [{"m": [3, 2], "n": 1}]]}],
            [{"a": [{"n": 1}, {"m": 2}]}, {"a": [1, 2]}],
        ),
        # A field that must be absent is asked for before or after an element is settled on, by the order of the names.
        ({"a": {"b": [{"exists": False}], "c": [1]}}, [{"a": [{"c": 1}]}], [{"a": [{"b": 1}, {"c": 1}]}]),
        ({"a": {"b": [1], "c": [{"exists": False}]}}, [{"a": [{"b": 1}, {"c": 1}]}], [{"a": [{"b": 1, "c": 1}]}]),
        ({"a": {"b": [{"exists": False}]}}, [{"a": [{"c": 1}, {"c": 2}]}], [{"a": [{"b": 1}, {"c": 1}]}]),
        ({"a.b": [1]}, [{"a": {"b": 1}}, {"a.b": 1}], [{"a": 1}]),
        ({"a": {"b": [1], "c": [2]}}, [{"a.b": 1, "a": {"c": 2}}, {"a": {"c": 2}, "a.b": [0, 1]}], [{"a.b": 1}]),
        ({"a": [1], "a.b": [2]}, [{"a": [1, {"b": 2}]}], [{"a": 1}, {"a": {"b": 2}}]),
        (
            {"d": {"$or": [{"x": {"p": [1]}}, {"y": [2]}], "x": {"q": [3]}}},
            [{"d": {"x": [{"p": 1, "q": 3}]}}, {"d": {"x": {"q": 3}, "y": 2}}],
            [{"d": {"x": [{"p": 1}, {"q": 3}]}}],
        ),
        ({"detail": {"x": ["a"]}}, [], [{"detail": '{"x": "a"}'}]),
    ],
)
def test_a_pattern(pattern, taken, refused):
    text = json.dumps(pattern)
    assert [event for event in taken if not takes(text, event)] == []
    assert [event for event in refused if takes(text, event)] == []


# --- a matcher that tries everything -----------------------------------------------------------------------------------


def fields_of(value, path=(), membership=()):
    """(path, scalar, {array: place}) of everything in an event. An array is known by where its text would begin."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from fields_of(inner, (*path, *name.split(".")), membership)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            within = {**dict(membership), id(value): place} if isinstance(inner, dict | list) else dict(membership)
            yield from fields_of(inner, path, tuple(within.items()))
    else:
        yield ".".join(path), value, dict(membership)


def scalar_taken(alternative, value):
    if not isinstance(alternative, dict):
        return type(alternative) is type(value) and alternative == value
    ((kind, wanted),) = alternative.items()
    match kind:
        case "prefix":
            return isinstance(value, str) and value[: len(wanted)] == wanted
        case "suffix":
            return isinstance(value, str) and value[len(value) - len(wanted) :] == wanted
        case "anything-but":
            return not any(scalar_taken(one, value) for one in wanted)
        case "numeric":
            return type(value) is int and value > wanted[1]
        case "wildcard":
            cuts = range(len(value) + 1) if isinstance(value, str) else ()
            head, tail = wanted.split("*")
            return any(value[:a] == head and value[b:] == tail for a, b in itertools.product(cuts, cuts) if a <= b)
        case "exists":
            return wanted
    raise AssertionError(kind)


def goes_together(one, other):
    return all(other.get(array, place) == place for array, place in one.items())


def tries(pattern, event):
    fields = list(fields_of(event))

    def leaves(node, path=()):
        for name, inner in node.items():
            if isinstance(inner, dict):
                yield from leaves(inner, (*path, name))
            else:
                yield ".".join((*path, name)), inner

    wanted = sorted(leaves(pattern))

    def settle(place, membership):
        if place == len(wanted):
            return True
        path, alternatives = wanted[place]
        here = [(value, where) for name, value, where in fields if name == path and goes_together(membership, where)]
        if {"exists": False} in alternatives and not here and settle(place + 1, membership):
            return True
        return any(
            any(scalar_taken(one, value) for one in alternatives if one != {"exists": False})
            and settle(place + 1, membership | where)
            for value, where in here
        )

    return settle(0, {})


scalars = st.sampled_from(["", "a", "ab", "b", "aba", 1, 2, None, True])
names = st.sampled_from(["a", "b", "c"])
events = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
alternative = st.one_of(
    scalars,
    st.builds(
        lambda kind, text: {kind: text}, st.sampled_from(["prefix", "suffix"]), st.sampled_from(["a", "ab", "b"])
    ),
    st.lists(st.sampled_from(["a", "ab", ""]), min_size=1, max_size=2).map(lambda found: {"anything-but": found}),
    st.sampled_from([{"numeric": [">", 1]}, {"wildcard": "a*b"}, {"wildcard": "a*a"}, {"exists": True}]),
)
leaf = st.lists(alternative, min_size=1, max_size=2) | st.just([{"exists": False}])
pattern = st.dictionaries(
    names,
    st.recursive(leaf, lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3), max_leaves=5),
    min_size=1,
    max_size=3,
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(pattern, min_size=1, max_size=4), st.dictionaries(names, events, max_size=3))
def test_the_rules_that_want_an_event_are_those_that_trying_everything_finds(patterns, event):
    rules = Rules([(place, parse(json.dumps(one))) for place, one in enumerate(patterns)])
    expected = [place for place, one in enumerate(patterns) if tries(one, event)]
    assert sorted(rules.wanting(event)) == expected
    assert [place for place, one in enumerate(patterns) if takes(json.dumps(one), event)] == expected


def test_many_rules_are_found_by_their_values():
    """Rules that share values, so that indexes lie within each other."""
    patterns = [
        {"source": ["s"], "kind": ["k", f"k{place % 7}"], "d": {"n": [place % 40], "p": [{"prefix": f"p{place}"}]}}
        for place in range(300)
    ]
    patterns += [{"source": ["s"], "d": {"p": [{"suffix": f"{place}"}]}} for place in range(60)]
    patterns += [{"source": ["s"], "d": {"p": [{"exists": place % 2 == 0}]}} for place in range(60)]
    rules = Rules([(place, parse(json.dumps(one))) for place, one in enumerate(patterns)])
    for n in range(0, 300, 60):
        event = {"source": "s", "kind": ["x", "k"], "d": {"n": n % 40, "p": f"p{n}"}}
        assert sorted(rules.wanting(event)) == [place for place, one in enumerate(patterns) if tries(one, event)]


def test_large_and_deep_events_cost_what_they_are_long():
    rules = Rules([(n, parse(json.dumps({"a": ["x", n], "b": [{"prefix": f"{n}"}]}))) for n in range(300)])
    many = {"a": ["x"] * 100_000, "b": "no"}
    began = time.thread_time()
    assert rules.wanting(many) == []
    assert time.thread_time() - began < 2
    deep: dict = {"a.b": 1}
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    assert not is_deeper(deep, MAX_DEPTH)
    assert is_deeper({"a": deep}, MAX_DEPTH)
    assert rules.wanting(deep) == []
    lists: list = []
    for _ in range(5_000):
        lists = [lists]
    assert is_deeper({"a": lists}, MAX_DEPTH)


def test_names_with_many_dots_cost_what_they_are_long():
    rules = Rules([(0, parse('{"a": {"29999": [1], "b": {"c": [2]}}}'))])
    wide = {f"a.{n}": 1 for n in range(30_000)}
    began = time.thread_time()
    assert rules.wanting(wide | {"a.b.c": 2}) == [0]
    assert rules.wanting(wide | {"a": {"b.c": 2}, "a.b": 3}) == [0]
    assert time.thread_time() - began < 2
    deep = ".".join(["a"] * 5_000)
    assert rules.wanting({deep: 1, f"{deep}.b": 2}) == []
