"""Filter policies: what they take, and what is refused in AWS's words."""

import json
import time

import pytest

from penstock.topics.filters import ATTRIBUTES, BODY, BadFilter, compiled, takes


def text(value):
    return {"DataType": "String", "StringValue": value}


def number(value):
    return {"DataType": "Number", "StringValue": value}


def listed(*values):
    return {"DataType": "String.Array", "StringValue": json.dumps(values)}


NONE = {}
BINARY = {"DataType": "Binary", "BinaryValue": "AAA="}
CASES = [
    (["a"], [text("a"), listed("b", "a"), {"DataType": "String.word", "StringValue": "a"}], [text("A"), text("b"), NONE, BINARY, listed(), number("1")]),
    ([300], [number("300"), number("300.0"), number("3e2"), listed(300)], [number("301"), text("300"), NONE]),
    ([True, None], [listed(True), listed(None)], [text("true"), listed("null"), number("1")]),
    ([{"prefix": "ab"}], [text("abc"), text("ab"), listed("x", "abd")], [text("a"), text("ABC"), number("1"), NONE]),
    ([{"prefix": {"equals-ignore-case": "aB"}}], [text("Abc")], [text("ba")]),
    ([{"suffix": "bc"}], [text("abc"), text("bc")], [text("abcd"), NONE]),
    ([{"equals-ignore-case": "Ab"}], [text("aB")], [text("abc"), NONE]),
    ([{"anything-but": "a"}], [text("b"), number("1"), listed("a", "b")], [text("a"), NONE, listed("a")]),
    ([{"anything-but": ["a", "b"]}], [text("c")], [text("a"), text("b"), NONE]),
    ([{"anything-but": [1, 2]}], [number("3"), text("1")], [number("1"), number("2.0"), NONE]),
    ([{"anything-but": {"prefix": "a"}}], [text("b"), number("1")], [text("ab"), NONE]),
    ([{"numeric": ["=", 5]}], [number("5"), number("5.0"), number("+5"), number("05"), number("5.")], [number("6"), text("5"), NONE]),
    ([{"numeric": [">", 0, "<=", 10]}], [number("10"), number("0.1"), number(".1")], [number("0"), number("10.1"), NONE]),
    ([{"numeric": ["<", 3]}, {"numeric": [">=", 7]}], [number("2"), number("7")], [number("3"), number("6.9")]),
    ([{"exists": True}], [text("x"), number("0")], [NONE]),
    ([{"exists": False}], [NONE], [text("x")]),
    ([{"cidr": "10.0.0.0/8"}], [text("10.9.9.9")], [text("11.0.0.1"), text("x"), text("::1"), NONE]),
    ([{"cidr": "2001:db8::/32"}], [text("2001:db8::1")], [text("2001:db9::1"), text("10.0.0.1")]),
    ([{"wildcard": "a*c*e"}], [text("abcde"), text("ace"), text("accee")], [text("abde"), text("xace"), text("acex"), NONE]),
    ([{"wildcard": r"a\*\\*"}], [text("a*\\x")], [text("ab\\x"), text("a*x")]),
    ([{"wildcard": ""}], [text("")], [text("a")]),
    (["a", {"numeric": [">", 5]}, {"exists": False}], [text("a"), number("6"), NONE], [text("b"), number("5")]),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "those", "others"), CASES, ids=[json.dumps(case[0])[:40] for case in CASES])
def test_what_attributes_a_policy_takes(wanted, those, others):
    policy = json.dumps({"k": wanted})
    for attribute in those:
        assert takes(policy, ATTRIBUTES, "", {"k": attribute} if attribute else {}), attribute
    for attribute in others:
        assert not takes(policy, ATTRIBUTES, "", {"k": attribute} if attribute else {}), attribute


@pytest.mark.parametrize(
    ("policy", "those", "others"),
    [
        ({"a": {"b": ["c"]}}, [{"a": {"b": "c"}}, {"a": [{"b": "x"}, {"b": ["d", "c"]}]}], [{"a": "c"}, {"b": "c"}, {"a": {"b": {"c": 1}}}, [], "x", 1]),
        # One element of a list must satisfy all of it.
        ({"a": {"b": [1], "c": [2]}}, [{"a": [{"b": 1, "c": 2}]}], [{"a": [{"b": 1}, {"c": 2}]}]),
        ({"a": {"b": [{"exists": False}]}}, [{}, {"a": {}}, {"a": 1}], [{"a": {"b": 1}}]),
        ({"a": [None]}, [{"a": None}, {"a": [None]}], [{"a": "null"}, {}, {"a": []}]),
        ({"$or": [{"a": ["x"]}, {"b": [{"numeric": [">", 1]}]}], "c": ["y"]}, [{"a": "x", "c": "y"}, {"b": 2, "c": "y"}], [{"a": "x"}, {"c": "y"}, {"b": 1, "c": "y"}]),
        ({"$or": ["x"]}, [{"$or": "x"}], [{}]),
    ],
)  # fmt: skip
def test_what_bodies_a_policy_takes(policy, those, others):
    for body in those:
        assert takes(json.dumps(policy), BODY, json.dumps(body), {}), body
    for body in others:
        assert not takes(json.dumps(policy), BODY, json.dumps(body), {}), body
    for other in ("", "{", "[" * 100_000):
        assert not takes(json.dumps(policy), BODY, other, {})


def test_without_a_policy_everything_is_taken():
    assert takes("", ATTRIBUTES, "x", {})


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("{", "failed to parse JSON."),
        ("[" * 100_000, "failed to parse JSON."),
        ("[]", "Filter is not an object"),
        ('{"a":"b"}', '"a" must be an object or an array'),
        ('{"a":[]}', "Empty arrays are not allowed"),
        ('{"a":{}}', "Empty objects are not allowed"),
        ('{"a":[["b"]]}', "Match value must be String, number, true, false, or null"),
        ('{"a":[{}]}', "Match expression name not found"),
        ('{"a":[{"prefix":"b","suffix":"c"}]}', "Only one key allowed in match expression"),
        ('{"a":[{"like":"b"}]}', "Unrecognized match type like"),
        ('{"a":[{"prefix":1}]}', "prefix match pattern must be a string"),
        ('{"a":[{"prefix":{"suffix":"b"}}]}', "Unsupported prefix pattern: suffix"),
        ('{"a":[{"suffix":1}]}', "suffix match pattern must be a string"),
        ('{"a":[{"equals-ignore-case":1}]}', "equals-ignore-case match pattern must be a string"),
        ('{"a":[{"exists":1}]}', "exists match pattern must be either true or false."),
        ('{"a":[{"anything-but":{}}]}', "Anything-But expression name not found"),
        ('{"a":[{"anything-but":{"suffix":"x"}}]}', "Unsupported anything-but pattern: suffix"),
        ('{"a":[{"anything-but":{"prefix":1}}]}', "prefix/suffix match pattern must be a string"),
        ('{"a":[{"anything-but":{"prefix":""}}]}', "Null prefix/suffix not allowed"),
        ('{"a":[{"anything-but":null}]}', "Value of anything-but must be an array or single string/number value."),
        ('{"a":[{"anything-but":[true]}]}', "Inside anything but list, start|null|boolean is not supported."),
        ('{"a":[{"anything-but":["a",1]}]}', "Inside anything but list, either all values are number or string, mixed type is not supported"),
        ('{"a":[{"anything-but":[]}]}', "Empty arrays are not allowed"),
        ('{"a":[{"numeric":1}]}', "Value of numeric must be an array."),
        ('{"a":[{"numeric":[]}]}', "Invalid member in numeric match: ]"),
        ('{"a":[{"numeric":[1]}]}', "Invalid member in numeric match: 1"),
        ('{"a":[{"numeric":["!",1]}]}', "Unrecognized numeric range operator: !"),
        ('{"a":[{"numeric":["=","1"]}]}', "Value of equals must be numeric"),
        ('{"a":[{"numeric":[">"]}]}', "Value of > must be numeric"),
        ('{"a":[{"numeric":["=",1,"<",2]}]}', "Too many elements in numeric expression"),
        ('{"a":[{"numeric":[">",1,">",2]}]}', "Bad numeric range operator: >"),
        ('{"a":[{"numeric":["<",9,">",1]}]}', "Bad numeric range operator: <"),
        ('{"a":[{"numeric":[">",2,"<",2]}]}', "Bottom must be less than top"),
        ('{"a":[{"numeric":[">",1,"<",2,"=",3]}]}', "Too many terms in numeric range expression"),
        ('{"a":[{"cidr":"10.0.0.0"}]}', "Malformed CIDR, one '/' required"),
        ('{"a":[{"cidr":"10.0.0.0/x"}]}', "Malformed CIDR, mask bits must be an integer"),
        ('{"a":[{"cidr":"10.0.0.0/-1"}]}', "Malformed CIDR, mask bits must not be negative"),
        ('{"a":[{"cidr":"10.0.0.0/32"}]}', "IPv4 mask bits must be < 32"),
        ('{"a":[{"cidr":"::/128"}]}', "IPv6 mask bits must be < 128"),
        ('{"a":[{"cidr":"10.0.0/8"}]}', "Nonstandard IP address: 10.0.0"),
        ('{"a":[{"cidr":1}]}', "prefix match pattern must be a string"),
        ('{"a":[{"wildcard":"a**b"}]}', "Consecutive wildcard characters at pos 3"),
        (r'{"a":[{"wildcard":"a\\b"}]}', "Invalid escape character at pos 2"),
        ('{"$or":[{"a":["b"]}]}', "There must have at least 2 Objects in $or relationship."),
        (json.dumps({str(n): ["x"] for n in range(6)}), "Filter policy can not have more than 5 keys"),
        (json.dumps({"a": ["x"] * 151}), "Filter policy is too complex"),
        (json.dumps({"a": ["x"] * 13, "b": ["x"] * 12}), "Filter policy is too complex"),
        (json.dumps({"$or": [{"a": ["x"] * 76}, {"b": ["x"] * 75}]}), "Filter policy is too complex"),
        ('{"a":' * 40 + '["x"]' + "}" * 40, "Filter policy is too complex"),
    ],
)  # fmt: skip
def test_what_is_no_policy(policy, said):
    with pytest.raises(BadFilter) as caught:
        compiled(policy, BODY)
    assert str(caught.value) == said


def test_a_policy_of_attributes_is_flat():
    with pytest.raises(BadFilter, match="Filter policy scope MessageAttributes does not support nested filter policy"):
        compiled('{"a":{"b":["c"]}}', ATTRIBUTES)


def test_what_is_just_not_too_complex():
    compiled(json.dumps({"a": ["x"] * 15, "b": ["x"] * 10}), ATTRIBUTES)
    compiled(json.dumps({"$or": [{"a": ["x"] * 75}, {"b": ["x"] * 75}]}), ATTRIBUTES)


def test_no_pattern_takes_long():
    policy = json.dumps({"a": [{"wildcard": "*a" * 30 + "*b"}] * 150})
    compiled(policy, BODY)
    body = json.dumps({"a": "a" * 20_000})
    began = time.thread_time()
    takes(policy, BODY, body, {})
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        ([f"wanted {n}" for n in range(150)], ["no"] * 150_000),
        ([{"cidr": f"10.{n}.0.0/16"} for n in range(150)], [f"no address {n}" for n in range(10_000)]),
    ],
)
def test_many_values_are_looked_at_once(wanted, values):
    policy = json.dumps({"a": wanted})
    compiled(policy, BODY)
    body = json.dumps({"a": values})
    began = time.thread_time()
    assert not takes(policy, BODY, body, {})
    assert time.thread_time() - began < 1


def test_policies_that_are_long_are_not_remembered():
    long = json.dumps({"a": ["x" * 200_000]})
    assert compiled(long, BODY) is not compiled(long, BODY)
    assert compiled('{"a":["x"]}', BODY) is compiled('{"a":["x"]}', BODY)
