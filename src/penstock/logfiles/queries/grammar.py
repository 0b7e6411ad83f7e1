"""What a query says (AWS: CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax"). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.logfiles.queries.functions import ARITHMETIC, FUNCTIONS, PERIOD, period_ms

MAX_LIMIT = 100_000
_DEPTH = 40  # of parentheses
_OPERATORS = 200  # of a command: expressions are evaluated one within the other
_MOST = 200  # commands, and items of a list
_MEMORY = 8 << 20  # bytes that RE2 takes for one expression
_LARGEST = 5_000  # instructions that one becomes
AGGREGATES = {
    "count": (0, 1), "count_distinct": (1, 1), "sum": (1, 1), "avg": (1, 1), "min": (1, 1), "max": (1, 1), "pct": (2, 2),
    "stddev": (1, 1), "earliest": (1, 1), "latest": (1, 1),
}  # fmt: skip
"""Name → the least and the most arguments."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      |(?P<period>\d+(?:ms|s|m|h|d|w|mo|q|y)\b)
      |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      |(?P<quoted>`[^`]+`)
      |(?P<name>@?[A-Za-z_][\w]*(?:\.[\w@-]*\w)*)
      |(?P<sign>!=|<=|>=|=~|[=<>|,()\[\]+\-*/%^])""",
    re.VERBOSE,
)
_REGEX = re.compile(r"/((?:[^/\\\n]|\\.)+)/")
_WORDS = {"and", "or", "not", "like", "in", "as", "by", "asc", "desc"}
_GROUP = re.compile(r"\(\?P?<([A-Za-z_]\w*)>")


class BadQuery(Exception):
    """The query cannot be read; where (characters, from 0), and why in a sentence."""

    def __init__(self, message: str, begins: int, ends: int) -> None:
        super().__init__(message)
        self.begins = begins
        self.ends = ends


@dataclass(frozen=True, slots=True)
class Name:
    """A field."""

    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """A constant: text, number, or a period in milliseconds."""

    value: str | float | int


@dataclass(frozen=True, slots=True)
class Applied:
    """A function of values."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """Arithmetic, a comparison, `and`, `or`, or `not` of the first operand."""

    sign: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """Whether a text has a part, or a regular expression is found in it."""

    value: Expression
    part: str
    regex: Any = field(compare=False)  # compiled; None for a part


Expression = Name | Value | Applied | Operation | Matches


@dataclass(frozen=True, slots=True)
class Fields:
    """`fields` and `display`: expressions with the names that they get."""

    items: tuple[tuple[str, Expression], ...]
    only: bool  # nothing else is shown


@dataclass(frozen=True, slots=True)
class Filter:
    """What an expression does not hold of is left out."""

    holds: Expression


@dataclass(frozen=True, slots=True)
class Parse:
    """Fields out of a text, by a regular expression with groups."""

    value: Expression
    regex: Any = field(compare=False)
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """Aggregates, for each combination of groups."""

    items: tuple[tuple[str, Expression], ...]
    by: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Sort:
    """Expressions, and whether the largest comes first."""

    keys: tuple[tuple[Expression, bool], ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """So many at most."""

    most: int


@dataclass(frozen=True, slots=True)
class Dedup:
    """One of those that are alike in these fields."""

    keys: tuple[Expression, ...]


Command = Fields | Filter | Parse | Stats | Sort | Limit | Dedup


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    begins: int
    ends: int


def read(query: str) -> tuple[Command, ...]:
    """The commands of a query. Raises BadQuery."""
    return _Reader(query).commands()


def has_aggregate(expression: Expression) -> bool:
    """Whether an aggregate is somewhere in it."""
    match expression:
        case Applied(function=name, arguments=arguments):
            return name in AGGREGATES or any(map(has_aggregate, arguments))
        case Operation(operands=operands):
            return any(map(has_aggregate, operands))
        case Matches(value=value):
            return has_aggregate(value)
        case _:
            return False


class _Reader:
    def __init__(self, query: str) -> None:
        self._query = query
        self._at = 0
        self._depth = 0
        self._operators = 0
        self._aggregates = False  # whether they may stand here
        self._token = self._next()

    # --- tokens -----------------------------------------------------------------------------------------------------

    def _next(self) -> _Token:
        while self._at < len(self._query):
            found = _TOKEN.match(self._query, self._at)
            if found is None:
                return _Token("sign", self._query[self._at], self._at, self._at + 1)
            if found.lastgroup != "space":
                return _Token(found.lastgroup or "", found[0], found.start(), found.end())
            self._at = found.end()
        return _Token("end", "", len(self._query), len(self._query))

    def _take(self) -> _Token:
        token = self._token
        self._at = token.ends
        self._token = self._next()
        return token

    def _refused(self, why: str, token: _Token | None = None) -> BadQuery:
        token = token or self._token
        line = self._query.count("\n", 0, token.begins) + 1
        column = token.begins - (self._query.rfind("\n", 0, token.begins) + 1) + 1
        found = repr(token.text[:50]) if token.kind != "end" else "the end of the query"
        return BadQuery(f"unexpected {found} at line {line} and position {column}: {why}", token.begins, token.ends)

    def _sign(self, sign: str) -> bool:
        if self._token.kind == "sign" and self._token.text == sign:
            self._take()
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._sign(sign):
            raise self._refused(f"'{sign}' is expected")

    def _word(self, word: str) -> bool:
        if self._token.kind == "name" and self._token.text.lower() == word:
            self._take()
            return True
        return False

    def _named(self) -> str:
        token = self._token
        if token.kind == "quoted":
            return self._take().text[1:-1]
        if token.kind != "name" or token.text.lower() in _WORDS:
            raise self._refused("the name of a field is expected")
        return self._take().text

    def _regex(self) -> tuple[Any, str] | None:
        """The regular expression that begins here, compiled and as it is written."""
        if not (self._token.kind == "sign" and self._token.text == "/"):
            return None
        found = _REGEX.match(self._query, self._token.begins)
        if found is None:
            raise self._refused("a regular expression ends with '/'")
        token = _Token("regex", found[0], found.start(), found.end())
        text = found[1].replace("\\/", "/")
        try:
            compiled = compiled_regex(text)
        except ValueError as bad:
            raise self._refused(f"the regular expression cannot be read: {bad}", token) from None
        self._at = found.end()
        self._token = self._next()
        return compiled, text

    def _listed(self, item: Callable[[], Any]) -> tuple[Any, ...]:
        items = [item()]
        while self._sign(","):
            if len(items) == _MOST:
                raise self._refused(f"a list has {_MOST} items at most")
            items.append(item())
        return tuple(items)

    # --- commands ---------------------------------------------------------------------------------------------------

    def commands(self) -> tuple[Command, ...]:
        found: list[Command] = []
        while True:
            if self._sign("|"):  # a query may begin with one
                continue
            if self._token.kind == "end":
                break
            if len(found) == _MOST:
                raise self._refused(f"a query has {_MOST} commands at most")
            found.append(self._command())
            if self._token.kind != "end" and self._token.text != "|":
                raise self._refused("'|' or the end of the query is expected")
        return tuple(found)

    def _command(self) -> Command:
        token = self._token
        name = token.text.lower() if token.kind == "name" else ""
        commands: dict[str, Callable[[], Command]] = {
            "fields": lambda: Fields(self._listed(self._item), only=False),
            "display": lambda: Fields(self._listed(self._item), only=True),
            "filter": lambda: Filter(self._expression()),
            "parse": self._parse,
            "stats": self._stats,
            "sort": lambda: Sort(self._listed(self._key)),
            "limit": self._limit,
            "dedup": lambda: Dedup(self._listed(lambda: Name(self._named()))),
        }
        if name not in commands:
            raise self._refused(f"a command is expected: one of {', '.join(commands)}. Others are not served")
        self._take()
        self._operators = 0
        return commands[name]()

    def _item(self) -> tuple[str, Expression]:
        begins = self._token.begins
        expression = self._expression()
        name = " ".join(self._query[begins : self._ended()].split())
        if self._word("as"):
            return self._named(), expression
        return (expression.name, expression) if isinstance(expression, Name) else (name, expression)

    def _ended(self) -> int:
        return len(self._query[: self._token.begins].rstrip())

    def _key(self) -> tuple[Expression, bool]:
        expression = self._expression()
        if self._word("desc"):
            return expression, True
        self._word("asc")
        return expression, False

    def _limit(self) -> Limit:
        token = self._token
        if token.kind != "number" or not token.text.isdigit() or not 1 <= int(token.text[:9]) <= MAX_LIMIT:
            raise self._refused(f"a limit is a number from 1 to {MAX_LIMIT:,}")
        self._take()
        return Limit(int(token.text))

    def _stats(self) -> Stats:
        self._aggregates = True
        begins = self._token
        items = self._listed(self._item)
        self._aggregates = False
        for _, expression in items:
            if not has_aggregate(expression):
                raise self._refused(f"each item of stats has an aggregate: one of {', '.join(AGGREGATES)}", begins)
            if not _of_aggregates(expression):
                raise self._refused(
                    "fields stand within aggregates only, which take part in arithmetic and functions", begins
                )
        return Stats(items, self._listed(self._item) if self._word("by") else ())

    def _parse(self) -> Parse:
        value: Expression = Name("@message")
        if self._token.kind in ("name", "quoted"):
            value = self._value()
        if (regex := self._regex()) is not None:
            compiled, text = regex
            names = tuple(_GROUP.findall(text))
            if self._word("as"):
                names = self._listed(self._named)
            if not names or compiled.groups != len(names):
                raise self._refused("each group of the regular expression has a name, as (?<name>…) or behind as")
            return Parse(value, compiled, names)
        if self._token.kind != "text":
            raise self._refused("a glob in quotation marks, or a regular expression between '/' is expected")
        token = self._take()
        parts = _unquoted(token.text).split("*")
        if not self._word("as"):
            raise self._refused("'as' is expected, with a name for each '*'")
        names = self._listed(self._named)
        if len(names) != len(parts) - 1:
            raise self._refused(f"the glob has {len(parts) - 1} '*', and {len(names)} names are given", token)
        return Parse(value, compiled_regex(_glob(parts)), names)

    # --- expressions ------------------------------------------------------------------------------------------------

    def _operation(self, sign: str, left: Expression, right: Expression) -> Operation:
        self._operators += 1
        if self._operators > _OPERATORS:
            raise self._refused(f"a command has {_OPERATORS} operators at most")
        return Operation(sign, (left, right))

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._refused(f"expressions are nested {_DEPTH} deep at most")
        found = self._and()
        while self._word("or"):
            found = self._operation("or", found, self._and())
        self._depth -= 1
        return found

    def _and(self) -> Expression:
        found = self._not()
        while self._word("and"):
            found = self._operation("and", found, self._not())
        return found

    def _not(self) -> Expression:
        negated = False
        while self._word("not"):
            negated = not negated
        found = self._comparison()
        return Operation("not", (found,)) if negated else found

    def _comparison(self) -> Expression:
        left = self._sum()
        negated = self._word("not")
        if self._word("like") or (not negated and self._sign("=~")):
            found: Expression = self._like(left)
        elif self._word("in"):
            self._expect("[")
            values = self._listed(self._sum)
            self._expect("]")
            found = Operation("in", (left, *values))
        elif negated:
            raise self._refused("'like' or 'in' is expected")
        else:
            for sign in ("=", "!=", "<=", ">=", "<", ">"):
                if self._sign(sign):
                    return Operation(sign, (left, self._sum()))
            return left
        return Operation("not", (found,)) if negated else found

    def _like(self, value: Expression) -> Expression:
        if (regex := self._regex()) is not None:
            return Matches(value, regex[1], regex[0])
        if self._token.kind != "text":
            raise self._refused("a text in quotation marks, or a regular expression between '/' is expected")
        return Matches(value, _unquoted(self._take().text), None)

    def _sum(self) -> Expression:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/", "%"), self._power))

    def _chain(self, signs: Sequence[str], operand: Callable[[], Expression]) -> Expression:
        found = operand()
        while self._token.kind == "sign" and self._token.text in signs:
            sign = self._take().text
            found = self._operation(sign, found, operand())
        return found

    def _power(self) -> Expression:
        negative = False
        while self._sign("-"):
            negative = not negative
        found = self._value()
        if self._sign("^"):
            found = Operation("^", (found, self._value()))
        return Operation("-", (Value(0), found)) if negative else found

    def _value(self) -> Expression:
        token = self._token
        if token.kind == "text":
            return Value(_unquoted(self._take().text))
        if token.kind == "number":
            text = self._take().text
            return Value(int(text) if text.isdigit() and len(text) < 16 else float(text))
        if token.kind == "period":
            return Value(self._period())
        if self._sign("("):
            found = self._expression()
            self._expect(")")
            return found
        if token.kind == "name" and token.text.lower() in ("true", "false"):
            return Value(self._take().text.lower())
        name = self._named()
        return self._applied(token, name) if token.kind == "name" and self._sign("(") else Name(name)

    def _period(self) -> int:
        found = PERIOD.fullmatch(self._token.text)
        if found is None or (period := period_ms(found)) is None:
            raise self._refused("a period is a number from 1 of ms, s, m, h, d or w")
        self._take()
        return period

    def _applied(self, token: _Token, name: str) -> Expression:
        lower = name.lower()
        if lower in AGGREGATES:
            if not self._aggregates:
                raise self._refused(f"{name} is an aggregate, which stands in stats only", token)
            least, most = AGGREGATES[lower]
        elif lower in FUNCTIONS:
            least, most = FUNCTIONS[lower].least, FUNCTIONS[lower].most
        else:
            raise self._refused("there is no function of this name", token)
        arguments: tuple[Expression, ...] = ()
        inside, self._aggregates = self._aggregates, self._aggregates and lower not in AGGREGATES
        if lower == "count" and self._sign("*"):
            pass
        elif self._token.text != ")":
            arguments = self._listed(self._expression)
        self._aggregates = inside
        self._expect(")")
        if not least <= len(arguments) <= most:
            many = str(least) if least == most else f"{least} to {most}"
            raise self._refused(f"{name} takes {many} argument{'' if most == 1 else 's'}", token)
        if lower == "pct" and arguments:
            percentile = arguments[-1]
            if not (
                isinstance(percentile, Value)
                and isinstance(percentile.value, int | float)
                and 0 <= percentile.value <= 100
            ):
                raise self._refused("the second argument of pct is a number from 0 to 100", token)
        return Applied(lower, arguments)


def _of_aggregates(expression: Expression) -> bool:
    """Whether an item of stats is made of aggregates and constants only, by arithmetic and functions."""
    match expression:
        case Value():
            return True
        case Applied(function=name, arguments=arguments):
            return name in AGGREGATES or (name != "bin" and all(map(_of_aggregates, arguments)))
        case Operation(sign=sign, operands=operands):
            return sign in ARITHMETIC and all(map(_of_aggregates, operands))
        case _:
            return False


def compiled_regex(text: str) -> Any:
    """A regular expression of RE2, whose time is linear in what it searches. Raises ValueError."""
    import re2  # noqa: PLC0415 - readers of other queries start without it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        compiled = re2.compile(_GROUP.sub(r"(?P<\1>", text).encode(), options)
    except re2.error as error:
        reason = error.args[0]
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None
    if compiled.programsize > _LARGEST:
        raise ValueError("it repeats more than can be searched in a short time")
    return compiled


def _glob(parts: Sequence[str]) -> str:
    """Of the texts between `*`, each of which stands for as little as it can, the last for all that follows."""
    quoted = [re.sub(r"([^\w\s])", r"\\\1", part, flags=re.ASCII) for part in parts]
    quoted = [re.sub(r"\\([^\x00-\x7f])", r"\1", part) for part in quoted]
    last = "(.*)" if len(parts) > 1 and not parts[-1] else "(.*?)"
    return "(?s)" + "".join(
        quoted[at] + ("" if at == len(parts) - 1 else last if at == len(parts) - 2 else "(.*?)")
        for at in range(len(parts))
    )


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text[1:-1], flags=re.DOTALL)
