"""Search expressions: which metrics a query of SEARCH finds. Pure.

AWS: CloudWatch User Guide, "CloudWatch search expression syntax".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.monitoring.expression_syntax import ExpressionError
from penstock.monitoring.series import Metric

_LONGEST = 1024  # characters of a query
_NESTED = 20

Test = Callable[[Metric], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a query finds."""

    namespace: str | None  # of its schema
    finds: Test
    words: int  # that each metric may be compared with


_SCHEMA = re.compile(r"\s*\{([^}]*)\}\s*,?")
_TOKEN = re.compile(r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<sign>[()=])|(?P<word>[^\s()="]+))""")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")


def parse(text: str) -> Query:
    """The query of a text. Raises ExpressionError."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"the query of SEARCH has more than {_LONGEST} characters")
    schema = _SCHEMA.match(text)
    tests: list[Test] = []
    namespace = None
    if schema is not None:
        names = [
            one[1:-1] if one[:1] == one[-1:] == '"' else one for one in (part.strip() for part in schema[1].split(","))
        ]
        if not all(names):
            raise ExpressionError("the metric schema of SEARCH has a namespace, and names of dimensions")
        namespace, dimensions = names[0], sorted(names[1:])
        tests.append(
            lambda metric: (
                metric.namespace == namespace
                and (not dimensions or dimensions == [name for name, _ in metric.dimensions])
            )
        )
        text = text[schema.end() :]
    read = _Terms(text)
    terms = read.parse()
    if terms is not None:
        tests.append(terms)
    if not tests:
        raise ExpressionError("SEARCH needs a metric schema or a term to search for")
    return Query(namespace=namespace, finds=lambda metric: all(test(metric) for test in tests), words=1 + read.words)


class _Terms:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, length = 0, len(text.rstrip())
        while at < length:
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise ExpressionError("the query of SEARCH has a quotation mark that nothing ends")
            group = found.lastgroup
            self._tokens.append(
                (group, re.sub(r"\\(.)", r"\1", found[group][1:-1]) if group == "quoted" else found[group].strip(","))
            )
            at = found.end()
        self._tokens = [token for token in self._tokens if token[0] == "quoted" or token[1]]
        self.words = sum(kind != "sign" for kind, _ in self._tokens)
        self._next = self._depth = 0

    def parse(self) -> Test | None:
        if not self._tokens:
            return None
        test = self._any("")
        if self._next != len(self._tokens):
            raise ExpressionError(f"the query of SEARCH has an unexpected '{self._tokens[self._next][1]}'")
        return test

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self._next + ahead
        return self._tokens[place] if place < len(self._tokens) else ("end", "")

    def _any(self, property: str) -> Test:
        tests = [self._all(property)]
        while self._peek() == ("word", "OR"):
            self._next += 1
            tests.append(self._all(property))
        return tests[0] if len(tests) == 1 else lambda metric: any(test(metric) for test in tests)

    def _all(self, property: str) -> Test:
        tests = [self._one(property)]
        while self._peek()[0] != "end" and self._peek() not in (("word", "OR"), ("sign", ")")):
            if self._peek() == ("word", "AND"):
                self._next += 1
            tests.append(self._one(property))
        return tests[0] if len(tests) == 1 else lambda metric: all(test(metric) for test in tests)

    def _one(self, property: str) -> Test:
        negated = False
        while self._peek() == ("word", "NOT"):
            self._next += 1
            negated = not negated
        test = self._term(property)
        return (lambda metric: not test(metric)) if negated else test

    def _term(self, property: str) -> Test:
        kind, text = self._peek()
        self._next += 1
        if (kind, text) == ("sign", "("):
            return self._group(property)
        if kind not in ("word", "quoted") or text in ("AND", "OR"):
            raise ExpressionError(
                f"the query of SEARCH has an unexpected '{text}'" if text else "the query of SEARCH ends too early"
            )
        if self._peek() == ("sign", "=") and not property:
            self._next += 1
            return self._term(text)
        return _exact(property, text) if kind == "quoted" else _partial(property, text)

    def _group(self, property: str) -> Test:
        self._depth += 1
        if self._depth > _NESTED:
            raise ExpressionError(f"the query of SEARCH has more than {_NESTED} parentheses within each other")
        test = self._any(property)
        self._depth -= 1
        if self._peek() != ("sign", ")"):
            raise ExpressionError("the query of SEARCH has a parenthesis that nothing ends")
        self._next += 1
        return test


def _texts(metric: Metric, property: str) -> Sequence[str]:
    """What a term is compared with: all names and values of a metric, or those of a property."""
    match property:
        case "":
            return [metric.namespace, metric.name, *(text for pair in metric.dimensions for text in pair)]
        case "MetricName":
            return [metric.name]
        case "Namespace":
            return [metric.namespace]
    return [value for name, value in metric.dimensions if name == property]


def _exact(property: str, text: str) -> Test:
    return lambda metric: text in _texts(metric, property)


def _partial(property: str, term: str) -> Test:
    """One token is found in any spelling; several, which are next to each other, as they are written."""
    wanted = _PART.findall(term)
    if not wanted:
        return _exact(property, term)
    if len(wanted) == 1:
        word = wanted[0].lower()

        def has(text: str) -> bool:
            found = [part.lower() for part in _PART.findall(text)]
            return word in found or "".join(found) == word

        return lambda metric: any(has(text) for text in _texts(metric, property))

    def follows(text: str) -> bool:
        found = _PART.findall(text)
        return any(found[at : at + len(wanted)] == wanted for at in range(len(found) - len(wanted) + 1))

    return lambda metric: any(follows(text) for text in _texts(metric, property))
