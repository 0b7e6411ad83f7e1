"""Filter patterns: AWS's documented examples row by row, properties against a naive matcher, what is refused and where, and hostile ones."""

from __future__ import annotations

import json
import string
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.logfiles.patterns import BadPattern, compile_pattern
from penstock.logfiles.patterns.terms import first_of
from penstock.logfiles.reading import _events
from penstock.logfiles.streams import EVENT


def matches(pattern: str, event: Any) -> bool:
    text = event if isinstance(event, str) else json.dumps(event)
    return compile_pattern(pattern).matches(text.encode("utf-8", "replace"))


# --- terms and regular expressions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        (" ", "anything", True),
        ('" "', "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "UNERRORED", True),
        ("ERROR", "an error here", False),
        ("ERROR timeout", "timeout after ERROR", True),
        ("ERROR timeout", "ERROR", False),
        ("ERROR or timeout", "ERROR timeout", False),
        ('"exit status 1"', "exit status 1", True),
        ('"exit status 1"', "exit 1 status", False),
        ("?ERROR ?WARN", "a WARN", True),
        ("?ERROR ?WARN", "fine", False),
        ('?"a b" ?WARN', "xa by", True),
        ("ERROR ?WARN", "ERROR", True),  # ?terms are ignored beside plain ones
        ("?WARN ERROR", "WARN", False),
        ("ERROR -timeout", "ERROR timeout", False),
        ("ERROR -timeout", "ERROR", True),
        ('-"a b"', "a b", False),
        ('-"a b"', "ab", True),
        (r'"a \"b\""', 'a "b"', True),
        ("grün", "ist grün", True),
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", True),
        ("%AUTHORIZED%", "[SUCCESS 200] AUTHOR", False),
        ("%^[hc]at%", "hat", True),
        ("%^[hc]at%", "that", False),
        ("%[hc]at$%", "that", True),
        ("%[hc]at$%", "hats", False),
        ("%colou?r%", "color", True),
        ("%gray|grey%", "a grey one", True),
        (r"%10\.10\.0\.1%", "10.10.0.1", True),
        (r"%10\.10\.0\.1%", "10110x0.1", False),
        (r"%\d{3}%", "x 404", True),
        (r"%^\d{3}$%", "4044", False),
        (r"%\x28\w+\x29%", "f(x)", True),
        (r"%[^a-z\s]%", "a b", False),
        ("%a.{0,2}b%", "a-b", True),
    ],
)
def test_terms_and_regular_expressions(pattern: str, message: str, expected: bool):
    assert matches(pattern, message) is expected


# --- JSON -------------------------------------------------------------------------------------------------------------

TRAIL = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": None,
    "cluster.name": "c",
    "detail-type": "x/y",
    "n": 1500,
    "ratio": 0.25,
    "text": "150",
    "on": True,
    "off": False,
}
USERS = {
    "user": {"id": 1, "email": "John.Stiles@example.com"},
    "users": [{"id": 2, "email": "John.Doe@example.com"}, {"id": 3, "email": "Jane.Doe@example.com"}],
    "actions": ["GET", "PUT", "DELETE"],
    "coordinates": [[0, 1, 2], [4, 5, 6], [7, 8, 9]],
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{$.eventType="UpdateTrail"}', True),
        ('{ $.eventType = "update*" }', False),
        ('{ $.eventType = "Upd*rail" }', True),
        ('{ $.eventType = "*Trail*" }', True),
        (r'{ $.eventType = "Update\*" }', False),
        ('{ $.eventType != "DeleteTrail" }', True),
        ('{ $.missing != "x" }', False),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ("{ $.sourceIPAddress = 111.111.* }", True),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[2] = "value" }', False),
        ('{ $.arrayKey = "value" }', False),  # arrays and objects never match
        ("{ $.arrayKey != x }", False),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.objectList[*].id = 2 }", True),
        ("{ $.objectList[*].id = 3 }", False),
        (r"{ $.* = %111\.111\.111\.1[0-9]{1,2}% }", True),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.eventType IS NULL }", False),
        ("{ $.SomeObject = * }", False),
        ("{ $.on IS TRUE && $.off IS FALSE }", True),
        ("{ $.off IS TRUE || $.missing IS FALSE }", False),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.SomeObject NOT EXISTS }", False),
        ("{ $.['cluster.name'] = c }", True),
        ('{ $.detail-type = "x/y" }', True),
        ("{ $.n >= 1.5e3 }", True),
        ("{ $.n > 1.5E+3 }", False),
        ("{ $.n = 1500 }", True),
        ("{ $.n = 15* }", True),
        ("{ $.n = * }", True),
        ('{ $.n = "1500" }', True),
        ("{ $.n != 1500 }", False),
        ("{ $.ratio < .3 }", True),
        ("{ $.ratio = 2.5e-1 }", True),
        ("{ $.text > 100 }", True),  # it reads as a number
        ("{ $.eventType > 1 }", False),
        ("{ $.on > 0 }", False),
        ("{ $.eventType = %Trail% }", True),
        ("{ $.eventType != %Trail% }", False),
        ("{ $.n = %^15% }", True),
        ('{ ($.eventType = "UpdateTrail") && ($.n > 1 && ($.z NOT EXISTS)) }', True),
    ],
)  # fmt: skip
def test_json(pattern: str, expected: bool):
    assert matches(pattern, TRAIL) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }', True),
        ('{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch" && $.actions[2] = "nonmatch" }', True),
        ('{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch") && $.actions[2] = "nonmatch" }', False),
        ('{ ($.user.id = 2 && $.users[0].email = "nonmatch") || $.actions[2] = "GET" }', False),
    ],
)  # fmt: skip
def test_and_comes_before_or(pattern: str, expected: bool):
    assert matches(pattern, USERS) is expected


@pytest.mark.parametrize("event", ["", "x", "[1]", '"a"', "{", "null", "[" * 100_000, '{"a": 1} x'])
def test_what_is_no_object_never_matches_a_pattern_of_json(event: str):
    assert not matches("{ $.a NOT EXISTS }", event)


# --- space-delimited ----------------------------------------------------------------------------------------------------

LINE = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("[ip, user, username, timestamp, request, status_code, bytes]", LINE, True),
        ("[ip, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", LINE, True),
        ("[..., request =*.html*, status_code = 4*, bytes]", LINE, True),
        ("[..., status_code = 4*]", LINE, False),
        ("[ip, ..., bytes > 1533]", LINE, True),
        ("[ip, ..., bytes > 1534]", LINE, False),
        ("[..., status_code = 404 || status_code = 410, bytes]", LINE, True),
        ("[..., (status_code = 400 || status_code = 404) && status_code != 4*, bytes]", LINE, False),
        ('[, , , , request = "GET *", , ]', LINE, True),
        ("[ip, user]", LINE, False),
        ("[ip, user, username, timestamp, request, status_code, bytes, more]", LINE, False),
        ("[..., timestamp = %2000%, request, status_code, bytes]", LINE, True),
        ("[...]", LINE, True),
        ("[]", LINE, True),
        ("[w1=ERROR, w2]", "ERROR now", True),
        ("[w1=ERROR, w2]", "ERROR now and", False),
        ("[w1=ERROR || W1=WARNING, w2]", "WARNING now", True),
        ("[w1!=ERROR && w1!=WARNING, w2]", "WARNING now", False),
        ("[w1!=ERROR && w1!=WARNING, w2]", "fine now", True),
        ("[a, b]", '"one two" [three', True),
        ("[a, b]", "x  y\n", True),
        (r'[a = "say \"hi\" now", b]', r'"say \"hi\" now" x', True),
        (r'[a = "C:\\temp*", b]', r'"C:\temp\new" x', True),
        (r'[a = "x\\yz", b]', r'"x\yz" x', True),
        ("[a = xyz, b]", r'"x\yz" x', False),
        ("[...]", "", True),
        ("[a]", "", False),
    ],
)  # fmt: skip
def test_fields(pattern: str, message: str, expected: bool):
    assert matches(pattern, message) is expected


def test_what_a_pattern_names_is_extracted():
    def extracted(pattern: str, event: Any) -> Any:
        return compile_pattern(pattern).extracted((event if isinstance(event, str) else json.dumps(event)).encode())

    assert extracted("[ip, ..., status_code, bytes]", LINE) == {
        "$ip": "127.0.0.1", "$2": "Prod", "$3": "frank", "$4": "10/Oct/2000:13:25:15 -0700", "$5": "GET /index.html HTTP/1.0",
        "$status_code": "404", "$bytes": "1534",
    }  # fmt: skip
    found = extracted("{ $.eventType = * && $.n > 1 && $.on IS TRUE && $.objectList NOT EXISTS || $.ratio = * }", TRAIL)
    assert found == {"$.eventType": "UpdateTrail", "$.n": "1500", "$.on": "true", "$.ratio": "0.25"}
    assert extracted("UpdateTrail", TRAIL) == extracted("%Trail%", TRAIL) == {}


# --- refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a=b", "Invalid character(s) in term '=' at character 2"),
        ("-~", "Invalid character(s) in term '~' at character 2"),
        ('"a"b', "Expected a space between two terms at character 4"),
        ("?Status: x", "Invalid character(s) in term ':' at character 8"),
        ("(x)", "Invalid character(s) in term '(' at character 1"),
        ("a *", "Invalid character(s) in term '*' at character 3"),
        ('"a":[]', "Invalid character(s) in term ':[]' at character 4"),
        ('a "open', "Invalid filter pattern. The quotation mark at character 3 has no other one"),
        ("{ $.a = 1", "If a filter pattern starts with '{' it must end with '}'"),
        ("[a", "If a filter pattern starts with '[' it must end with ']'"),
        ("{", "If a filter pattern starts with '{' it must end with '}'"),
        ('{ $."sc-status" = 5* }', "Invalid character(s) in term '$.\"' at character 3"),
        ('{ status = "401" }', "Invalid filter pattern. Expected a property selector such as $.name"),
        ("{ }", "Invalid filter pattern. It ends where a property selector"),
        ("{ $.a }", "Invalid filter pattern. It ends where one of = != < > <= >= is expected"),
        ("{ $.a = }", "Invalid filter pattern. It ends where a number"),
        ("{ $.a = 1 $.b = 2 }", "Invalid character(s) in term '$.' at character 11; expected && or ||"),
        ("{ ($.a = 1 }", "It ends where ')' is expected"),
        ("{ $.a > x }", "Expected a number behind > at character 9"),
        ("{ $.a > 4* }", "Expected a number behind > at character 9"),
        ("{ $.a IS NOT NULL }", "Expected NULL, TRUE or FALSE at character 10"),
        ("{ $.a EXISTS }", "Expected one of = != < > <= >= at character 7"),
        ("{ $.*.b.* = 1 }", "The property selector at character 3 has more than one wildcard"),
        ("{ $.a[*] = 1 && $.* = 2 && $.b[*] = 3 && $.c[*] = 4 }", "More than 3 of its property selectors have a wildcard"),
        ("{ $.a = %x% || $.a = %y% || $.a = %z% }", "It has 3 regular expressions; a pattern has 2 at most"),
        ("[a = %x%, b = %y%, c = %z%]", "It has 3 regular expressions"),
        ("[a, ..., b, ...]", "It has another '...' at character 13"),
        ("[status = 4* && bytes > 1000]", "The name 'bytes' at character 17 is not that of its field, which is 'status'"),
        ("[a = 1 b]", "Expected a comma or the end of a field at character 8"),
        ("%something!%", "Invalid character(s) in term '!%' at character 11"),
        ("%(a|b)%", "Invalid character(s) in term '(' at character 2"),
        ("%a b%", "Invalid filter pattern. Expected an operator of regular expressions at character 3"),
        ("%ü%", "Expected an operator of regular expressions at character 2"),
        ("%[unclosed%", "The regular expression at character 2 cannot be read: missing ]"),
        ("%a", "The regular expression that begins with '%' at character 1 has no other '%' at its end"),
        ("%%", "expected an expression between '%' and '%'"),
        ("%a{9999}%", "The regular expression at character 2 cannot be read"),
        ("%a{0,500}a{0,500}%", "The regular expression at character 2 cannot be read: it repeats more than"),
        ("%a% b", "Expected nothing behind a regular expression at character 5"),
        ("{" + "(" * 60 + "$.a = 1" + ")" * 60 + "}", "At most 50 parentheses may stand within each other"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(pattern: str, text: str):
    with pytest.raises(BadPattern) as refused:
        compile_pattern(pattern)
    assert text in str(refused.value)


_SYNTAX = st.text(st.sampled_from([*'{}[]()%$."*=!<>&|?-\\, \n', *"ab01", "é"]), max_size=40)


@given(st.one_of(_SYNTAX, _SYNTAX.map(lambda s: "{$.a" + s + "}"), _SYNTAX.map(lambda s: f"[a{s}]")), _SYNTAX)
@settings(max_examples=examples(300), deadline=None)
def test_any_pattern_is_compiled_or_refused(pattern: str, message: str):
    try:
        compiled = compile_pattern(pattern)
    except BadPattern:
        return
    event = message.encode()
    assert compiled.matches(event) in (True, False)
    if compiled.matches(event):
        assert all(name.startswith("$") for name in compiled.extracted(event))


# --- against naive matchers ---------------------------------------------------------------------------------------------

_WORDS = st.text(st.sampled_from("aAb1_"), min_size=1, max_size=3)
_SCALARS = st.one_of(
    _WORDS, st.integers(-3, 3), st.sampled_from([0.5, 1.0, True, False, None, "1", "b*", "\u2028", 'q"'])
)
_DOCUMENTS = st.dictionaries(
    st.sampled_from("xyz"), st.one_of(_SCALARS, st.lists(_SCALARS, max_size=2), st.dictionaries(st.just("x"), _SCALARS))
)


@given(st.lists(st.tuples(st.sampled_from(["", "?", "-"]), _WORDS), min_size=1, max_size=4), st.text(string.printable))
@settings(max_examples=examples(200), deadline=None)
def test_terms_are_found_as_by_looking_for_each(terms, message):
    pattern = " ".join(mark + word for mark, word in terms)
    by = {mark: [word in message for m, word in terms if m == mark] for mark in ("", "?", "-")}
    expected = all(by[""]) and not any(by["-"]) and (bool(by[""]) or not by["?"] or any(by["?"]))
    assert matches(pattern, message) is expected


def naive(tree: Any, document: Any) -> bool:
    match tree:
        case ("&&" | "||" as joint, left, right):
            return (all if joint == "&&" else any)([naive(left, document), naive(right, document)])
        case (path, "NOT EXISTS", _):
            return naive_value(path, document) is ...
        case (path, op, operand):
            value = naive_value(path, document)
            if value is ... or value is None or isinstance(value, list | dict):
                return False
            text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
            number = None if isinstance(value, bool) else as_number(text)
            if op in ("<", ">="):
                return number is not None and ((number < operand) if op == "<" else (number >= operand))
            same = text == str(operand) or (isinstance(operand, int) and number == operand)
            return same is (op == "=")
    raise AssertionError


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def naive_value(path: tuple[Any, ...], document: Any) -> Any:
    for step in path:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return ...
        if isinstance(step, int) and isinstance(document, str) and len(document) == 1:
            return ... if not isinstance(document, list) else document
    return document


def written(tree: Any) -> str:
    match tree:
        case ("&&" | "||" as joint, left, right):
            return f"({written(left)} {joint} {written(right)})"
        case (path, "NOT EXISTS", _):
            return f"{selector(path)} NOT EXISTS"
        case (path, op, operand):
            return f"{selector(path)} {op} " + (f'"{operand}"' if isinstance(operand, str) else str(operand))
    raise AssertionError


def selector(path: tuple[Any, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


_PATHS = st.sampled_from([("x",), ("y",), ("z",), ("x", "x"), ("y", "x")])
_LEAVES = st.one_of(
    st.tuples(_PATHS, st.sampled_from(["=", "!="]), st.one_of(_WORDS, st.integers(-3, 3))),
    st.tuples(_PATHS, st.sampled_from(["<", ">="]), st.integers(-3, 3)),
    st.tuples(_PATHS, st.just("NOT EXISTS"), st.none()),
)
_TREES = st.recursive(_LEAVES, lambda inner: st.tuples(st.sampled_from(["&&", "||"]), inner, inner), max_leaves=6)


@given(_TREES, _DOCUMENTS)
@settings(max_examples=examples(300), deadline=None)
def test_expressions_hold_as_by_looking_at_each_condition(tree, document):
    assert matches("{ " + written(tree) + " }", document) is naive(tree, document)


_PATTERNS = [
    "", "a", "a b", "?a ?b", "a -b", '"a b"', "%a.b%", "%^a%", "%b$%", "%a|1%", '{ $.x = "ab" }', '{ $.x = "a" || $.y = "b" }', "{ $.x = a* && $.y != 1 }",
    "{ $.x > 1 }", "{ $.x NOT EXISTS }", "[a = abc, ...]", '{ $.x = "é" }', "[a = ab, b]", "[..., b = *ab*]", '[a = "a b", ...]', "[a > 1, ...]", '[a = "q\\"a", ...]',
]  # fmt: skip
_EVENTS = st.one_of(
    st.text("ab 1\"'[]\\", max_size=8),
    st.sampled_from(['{"x": "ab"}', '{"x": "\\u0061b"}', '{"x":"é"}', '{"x":"\\u00e9"}', '{"y":"b","x":2}', "a b", '"a b" c', '"q\\"a" x', '"a\\bc" x', '{"x":"a"}{']),
)  # fmt: skip


@given(st.sampled_from(_PATTERNS), st.lists(_EVENTS, max_size=6))
@settings(max_examples=examples(400), deadline=None)
def test_what_is_passed_over_in_a_file_does_not_match(pattern, events):
    """The quick search for bytes finds each event that looking at every event finds."""
    compiled = compile_pattern(pattern)
    texts = [event.encode() for event in events]
    data = b"".join(EVENT.pack(1, 1, len(text)) + text for text in texts)
    may = compiled.after(data, 0)
    found = [] if may < 0 else [event.message.encode() for event in _events(data, 0, compiled, may)]
    assert found == [text for text in texts if compiled.matches(text)]


# --- hostile ones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "unit"),
    [
        ("[..., a = x]", "[ "),
        ("[..., a = x]", '"\\" '),
        ("[..., a = x]", "a "),
        ("[a, ...]", '"'),
        ('{ $.x = "*a*b*a*b*a*b*c" }', "ab"),
        ("%[a-b]*[a-b]*[a-b]*[a-b]*c%", "ab"),
        ("%[ab]*a[ab]{30}c%", "ab"),
        ("a b -c", "ab"),
    ],
)
def test_the_time_of_a_pattern_grows_with_the_event_only(pattern: str, unit: str):
    compiled = compile_pattern(pattern)

    def took(size: int) -> float:
        text = unit * (size // len(unit))
        event = (json.dumps({"x": text}) if pattern.startswith("{") else text).encode()
        best = float("inf")
        for _ in range(2):
            began = time.thread_time()
            compiled.matches(event)
            compiled.after(event, 0)
            best = min(best, time.thread_time() - began)
        return best

    small, large = took(5_000), took(40_000)
    assert large < 40 * small + 0.02  # eight times as much; 64 times as long if it were quadratic


class _Looked(bytes):
    """Bytes that count how many of them were looked through."""

    looked = 0

    def find(self, sub: Any, start: Any = None, end: Any = None, /) -> int:
        found = super().find(sub, start, end)
        until = min(len(self), len(self) if end is None else end) if found < 0 else found + len(sub)
        self.looked += until - (start or 0)
        return found


@pytest.mark.parametrize("pattern", ['{ $.level = "error" }', "?error ?absent", "error"])
def test_a_text_that_is_nowhere_is_not_looked_for_anew_at_every_event(pattern: str):
    event = json.dumps({"level": "error"}).encode()
    data = _Looked((EVENT.pack(1, 1, len(event)) + event) * 4_000)
    assert list(_events(data, 0, compile_pattern(pattern), 0))
    assert data.looked < 100 * len(data)  # 4,000 times half of it when each event looks up to the end


@given(
    st.lists(st.binary(max_size=3), max_size=4),
    st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 700)), max_size=5),
    st.integers(0, 1_000),
)
def test_the_first_of_texts_is_found_where_looking_for_each_finds_it(needles, runs, at):
    data = b"".join(part * times for part, times in runs)
    at = min(at, len(data))
    assert first_of(needles, data, at) == min(
        (place for needle in needles if (place := data.find(needle, at)) >= 0), default=-1
    )
