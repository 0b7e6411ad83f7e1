"""What patterns are refused for, with AWS's texts and places (recorded from AWS, or the engine that it uses), and what they are read as."""

import contextlib
import json
import time

import pytest

from penstock.events.conditions import Block, Condition, Kind, Range
from penstock.events.patterns import MAX_BRANCHES, parse
from penstock.events.reading import PatternError


def refusal(text: str) -> str:
    with pytest.raises(PatternError) as caught:
        parse(text)
    return str(caught.value)


def at(text: str, *columns: int) -> str:
    """The place of a message, as often as it is said."""
    return "".join(f'\n at [Source: (String)"{text}"; line: 1, column: {column}]' for column in columns)


JSON_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


@pytest.mark.parametrize(
    ("text", "reason", "columns"),
    [
        # Recorded from AWS.
        ('{"int": 42}', '"int" must be an object or an array', (11,)),
        ('{"string": "my-value"}', '"string" must be an object or an array', (13,)),
        ('{"resources": []}', "Empty arrays are not allowed", (17,)),
        ('{"detail": {"equal": [{"NUMERIC": ["=", 5]}]}}', "Unrecognized match type NUMERIC", (36,)),
        ('{"my_key": [{"EXISTS": true}]}', "Unrecognized match type EXISTS", (28,)),
        ('{"detail": {"c-count": [{"numeric": [">", 0, ">", 0]}]}}', "Bad numeric range operator: >", (49,)),
        ('{"detail": {"c-count": [{"numeric": [">", 0, "<"]}]}}', "Value of < must be numeric", (50,)),
        (
            '{"detail": {"state": [{"anything-but": {"equals-ignore-case": 123}}]}}',
            "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
            (66,),
        ),
        (
            '{"detail": {"state": [{"anything-but": {"equals-ignore-case": [123, 456]}}]}}',
            "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
            (67, 67),
        ),
        (
            '{"detail": {"FileName": [{"anything-but": {"suffix": [123, ".txt"]}}]}}',
            "prefix/suffix match pattern must be a string",
            (58, 58),
        ),
        (
            '{"detail": {"state": [{"anything-but": {"prefix": 123}}]}}',
            "prefix/suffix match pattern must be a string",
            (54,),
        ),
        ('{"time": [{"prefix": ["2022-07-13"]}]}', "prefix match pattern must be a string", (23,)),
        ('{"FileName": [{"suffix": 123}]}', "suffix match pattern must be a string", (29,)),
        ('{"EventBusArn": [{"wildcard": 123}]}', "wildcard match pattern must be a string", (34,)),
        (
            '{"detail-type": [{"equals-ignore-case": {"prefix": "ec2"}}]}',
            "equals-ignore-case match pattern must be a string",
            (42,),
        ),
        (
            '{"detail": {"FileName": [{"anything-but": {"prefix": {"equals-ignore-case": "file"}}}]}}',
            "Value of anything-but must be an array or single string/number value.",
            (55,),
        ),
        ("this is valid json but not a dict", f"Unrecognized token 'this': was expecting {JSON_VALUES}", (5,)),
        (
            "{'bad': 'quotation'}",
            "Unexpected character (''' (code 39)): was expecting double-quote to start field name",
            (2,),
        ),
        ('{"not": closed mark"', f"Unrecognized token 'closed': was expecting {JSON_VALUES}", (15,)),
        ('["not", "a", "dict"]', "Filter is not an object", (2,)),
        # By the engine's program.
        ("", "Filter is not an object", (1,)),
        ("{}", "Empty objects are not allowed", (3,)),
        ('{"a": {}}', "Empty objects are not allowed", (9,)),
        ('{"a": [[1]]}', "Match value must be String, number, true, false, or null", (9,)),
        ('{"a": [{}]}', "Match expression name not found", (10,)),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key allowed in match expression", (35,)),
        ('{"a": [1], "a": [2]}', "Path `a` cannot be allowed multiple times", (20,)),
        ('{"a.b": [1], "a": {"b": [2]}}', "Path `a.b` cannot be allowed multiple times", (28,)),
        ('{"a": [{"exactly": 1}]}', "exact match pattern must be a string", (21,)),
        ('{"a": [{"prefix": {}}]}', "Prefix expression name not found", (21,)),
        ('{"a": [{"suffix": {"x": "y"}}]}', "Unsupported suffix pattern: x", (26,)),
        ('{"a": [{"numeric": 1}]}', "Value of numeric must be an array.", (21,)),
        ('{"a": [{"numeric": [1]}]}', "Invalid member in numeric match: 1", (22,)),
        ('{"a": [{"numeric": ["=", "1"]}]}', "Value of equals must be numeric", (27,)),
        ('{"a": [{"numeric": [">=", "1"]}]}', "Value of >= must be numeric", (28,)),
        ('{"a": [{"numeric": ["!", 1]}]}', "Unrecognized numeric range operator: !", (27,)),
        ('{"a": [{"numeric": ["<", 9, ">", 1]}]}', "Too many elements in numeric expression", (30,)),
        ('{"a": [{"numeric": [">", 1, 2]}]}', "Bad value in numeric range: 2", (30,)),
        ('{"a": [{"numeric": [">", 1, "<", 2, 3]}]}', "Too many terms in numeric range expression", (38,)),
        ('{"a": [{"numeric": [">", 2, "<", 1]}]}', "Bottom must be less than top", (36,)),
        ('{"a": [{"numeric": ["=", 1e400]}]}', "Cannot compare number : 1e400", (32,)),
        ('{"a": [{"numeric": ["=", 0.12345678901234567890]}]}', "Cannot compare number : 0.12345678901234567890", (49,)),
        ('{"a": [{"anything-but": null}]}', "Value of anything-but must be an array or single string/number value.", (29,)),
        ('{"a": [{"anything-but": {}}]}', "Anything-But expression name not found", (27,)),
        ('{"a": [{"anything-but": {"numeric": 1}}]}', "Unsupported anything-but pattern: numeric", (38,)),
        (
            '{"a": [{"anything-but": [null]}]}',
            "Inside anything but list, start|null|boolean is not supported.",
            (30, 30),
        ),
        (
            '{"a": [{"anything-but": [1, "x"]}]}',
            "Inside anything but list, either all values are number or string, mixed type is not supported",
            (33,),
        ),
        (
            '{"a": [{"anything-but": []}]}',
            "Inside anything but list, either all values are number or string, mixed type is not supported",
            (27,),
        ),
        ('{"a": [{"anything-but": {"prefix": ""}}]}', "Null prefix/suffix not allowed", (38,)),
        ('{"a": [{"exists": "x"}]}', "exists match pattern must be either true or false.", (20,)),
        ('{"a": [{"cidr": 1}]}', "prefix match pattern must be a string", (18,)),
        ('{"a": [{"wildcard": "x**"}]}', "Consecutive wildcard characters at pos 2", (26,)),
        ('{"a": [{"anything-but": {"wildcard": ["x**"]}}]}', "Consecutive wildcard characters at pos 2", (45,)),
        ('{"$or": {}}', "It must be an Array followed with $or.", (10,)),
        ('{"$or": [1]}', "Only JSON object is allowed in array of $or relationship.", (11,)),
        ('{"$or": [{"a": [1]}]}', "There must have at least 2 Objects in $or relationship.", (21,)),
        ('{"$or": [{"prefix": [1]}, {"a": [1]}]}', "prefix is Ruler reserved fieldName which cannot be used inside $or.", (22,)),
        ('{"a": [1] "b": [2]}', "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries", (11,)),
        ('{"a" [1]}', "Unexpected character ('[' (code 91)): was expecting a colon to separate field name and value", (6,)),
        ('{"a": [01]}', "Invalid numeric value: Leading zeroes not allowed", (9,)),
        ('{"a": ["\\x"]}', "Unrecognized character escape 'x' (code 120)", (11,)),
        ('{"a": ["x', "Unexpected end-of-input: was expecting closing quote for a string value", (10,)),
    ],
)  # fmt: skip
def test_a_refusal_says_the_reason_and_the_place(text, reason, columns):
    assert refusal(text) == reason + at(text, *columns)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("10.0.0.0", "Malformed CIDR, one '/' required"),
        ("10.0.0.0/8/8", "Malformed CIDR, one '/' required"),
        ("10.0.0.0/", "Malformed CIDR, one '/' required"),
        ("10.0.0.0/x", "Malformed CIDR, mask bits must be an integer"),
        ("10.0.0.0/-1", "Malformed CIDR, mask bits must not be negative"),
        ("10.0.0.0/32", "IPv4 mask bits must be < 32"),
        ("2001:db8::/128", "IPv6 mask bits must be < 128"),
        ("xx.11.xx/8", "Nonstandard IP address: xx.11.xx"),
        ("300.1.1.1/8", "Invalid IP address: 300.1.1.1"),
    ],
)
def test_a_block_of_addresses_is_refused_without_a_place(argument, reason):
    assert refusal(json.dumps({"a": [{"cidr": argument}]})) == reason


def test_a_name_with_dots_is_as_deep_as_objects():
    assert len(parse(json.dumps({".".join(["a"] * 100): [1]}))) == 1
    for pattern in ({".".join(["a"] * 101): [1]}, {"a.a": {".".join(["a"] * 99): [1]}}):
        assert refusal(json.dumps(pattern)).startswith("A pattern has at most 100 objects within each other")


def test_places_in_other_lines_and_of_long_patterns():
    assert refusal('{\n  "a": 1\n}').endswith("; line: 2, column: 9]")
    long = '{"a": ["' + "x" * 600 + '"], "b": 1}'
    assert refusal(long).endswith(f'{long[:500]}"[truncated {len(long) - 500} chars]; line: 1, column: 619]')
    cut = '{"a": [1'
    inner = f'Array (start marker at [Source: (String)"{cut}"; line: 1, column: 7])'
    assert refusal(cut) == f"Unexpected end-of-input: expected close marker for {inner}" + at(cut, 9)


def test_what_a_pattern_is_read_as():
    text = '{"a": ["x", 300, 3.5, null, true, {"numeric": [">", 0, "<=", 5]}, {"cidr": "10.1.2.3/24"}]}'
    block = Block(4, 0x0A010200, 0x0A0102FF)
    literals = [Condition(Kind.LITERAL, value) for value in ("x", 300, 3.5, None, True)]
    others = [Condition(Kind.NUMERIC, Range(0.0, 5.0, above_low=True)), Condition(Kind.CIDR, block)]
    assert parse(text) == [{"a": [*literals, *others]}]
    assert parse(r'{"a": [{"wildcard": "x\\*y*\\\\"}, {"suffix": {"equals-ignore-case": "Z\u00e9"}}]}') == [
        {"a": [Condition(Kind.WILDCARD, ("x*y", "\\")), Condition(Kind.SUFFIX_ANY_CASE, "zé")]}
    ]


def test_or_makes_a_branch_for_each_combination():
    text = json.dumps({"s": ["x"], "d": {"$or": [{"a": [1]}, {"b": [2]}]}, "$or": [{"e": [3]}, {"f": [4]}]})
    found = sorted(sorted(branch) for branch in parse(text))
    assert found == [["d.a", "e", "s"], ["d.a", "f", "s"], ["d.b", "e", "s"], ["d.b", "f", "s"]]
    ten = {f"k{place}": {"$or": [{"a": [1]}, {"b": [1]}]} for place in range(10)}
    assert refusal(json.dumps(ten)) == f"Rule is too complex - its $or make more than {MAX_BRANCHES} combinations"


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 800,
        '{"a":[' * 600,
        '{"$or":[' * 500,
        "[" * 4096,
        '{"a":["' + "\\u00e9" * 600 + '"]}',
        '{"a":[' + "1," * 2040 + "1]}",
        '{"a":[{"anything-but":[' + "1," * 2020 + "1]}]}",
        '{"a":[' + "9" * 4000 + "]}",
        '{"a":[{"numeric":["=",' + "9" * 4000 + "]}]}",
        '{"a":[{"numeric":["=",1e99999999999999999999]}]}',
        '{"a":[{"cidr":"' + ":" * 4000 + '/8"}]}',
        '{"a":["\\ud800"]}',
        "{" + ",".join(f'"{n}":[1]' for n in range(400)) + "}",
    ],
)
def test_no_pattern_of_4096_characters_takes_long(text):
    began = time.thread_time()
    with contextlib.suppress(PatternError):
        parse(text)
    assert time.thread_time() - began < 0.5
