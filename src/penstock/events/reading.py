"""The text of an event pattern, a token at a time, with the places that AWS's messages name.

AWS reads patterns by Jackson, whose messages end with the place where its reader stood. A string is read to its end only when its value is
asked for, so that a complaint about its kind stands behind its opening quote, and the value of a member is read with its name.
(Recorded from AWS: `column: 13` for the value of `{"string": "my-value"}`, `column: 11` for that of `{"int": 42}`.)
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NoReturn

_WHITE = " \t\n\r"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[\w$]+")
_STRING = re.compile(r'[^"\\\x00-\x1f]*')
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SHOWN = 500  # characters of the source in a message
_WANTED = "was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


class Token(StrEnum):
    """What stands at a place of the text."""

    OBJECT = "{"
    OBJECT_END = "}"
    ARRAY = "["
    ARRAY_END = "]"
    NAME = "name"
    STRING = "string"
    NUMBER = "number"
    TRUE = "true"
    FALSE = "false"
    NULL = "null"
    END = "end"  # of the text


class PatternError(Exception):
    """A pattern that AWS refuses, with its text."""


class Reader:
    """Reads the tokens of a text. Raises PatternError for what is not JSON."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._row = 0  # where the present line begins
        self._line = 1
        self._open: list[tuple[str, str]] = []  # of each object and array around: its bracket, and where it began
        self._fresh = True  # nothing stands yet in the innermost one
        self._named: Token | None = None  # the value of the name that was read last
        self._unread = False  # a string whose end was not looked for
        self._start = 0  # of the token
        self.name = ""  # of the last member

    def next(self) -> Token:
        """The next token."""
        if self._named is not None:
            token, self._named = self._named, None
            return token
        if self._unread:
            self.text()
        found = self._skip()
        if not found:
            return self._end()
        if found in "]}":
            return self._close(found)
        if self._open and not self._fresh:
            if found != ",":
                kind = "Object" if self._open[-1][0] == "{" else "Array"
                self._unexpected(found, f"was expecting comma to separate {kind} entries")
            found = self._skip() or self._cut_off()
        self._fresh = False
        if not self._open or self._open[-1][0] == "[":
            return self._value(found)
        if found != '"':
            self._unexpected(found, "was expecting double-quote to start field name")
        self.name = self._string("name")
        found = self._skip() or self._cut_off()
        if found != ":":
            self._unexpected(found, "was expecting a colon to separate field name and value")
        self._named = self._value(self._skip() or self._cut_off())
        return Token.NAME

    def text(self) -> str:
        """The value of a string, or what a number or word looks like."""
        if self._unread:
            self._unread = False
            return self._string("string value")
        return self._source[self._start : self._at]

    @property
    def depth(self) -> int:
        """How many objects and arrays are open."""
        return len(self._open)

    def refuse(self, message: str) -> NoReturn:
        """Raise PatternError with the place where the reader stands."""
        raise PatternError(f"{message}\n at {self._place()}")

    def _place(self) -> str:
        source, cut = self._source[:_SHOWN], len(self._source) - _SHOWN
        more = f"[truncated {cut} chars]" if cut > 0 else ""
        return f'[Source: (String)"{source}"{more}; line: {self._line}, column: {self._at - self._row + 1}]'

    def _skip(self) -> str:
        """Go behind the next character that is not white; "" at the end."""
        source = self._source
        while self._at < len(source):
            found = source[self._at]
            self._at += 1
            if found not in _WHITE:
                return found
            if found == "\n" or (found == "\r" and source[self._at : self._at + 1] != "\n"):
                self._line += 1
                self._row = self._at
        return ""

    def _end(self) -> Token:
        if self._open:
            self._cut_off()
        return Token.END

    def _cut_off(self) -> NoReturn:
        bracket, where = self._open[-1]
        kind = "Object" if bracket == "{" else "Array"
        self.refuse(f"Unexpected end-of-input: expected close marker for {kind} (start marker at {where})")

    def _close(self, found: str) -> Token:
        wanted = {"{": "}", "[": "]"}
        if not self._open:
            self._unexpected(found, "expected a value")
        bracket, where = self._open[-1]
        if wanted[bracket] != found:
            kind = "Object" if bracket == "{" else "Array"
            self.refuse(
                f"Unexpected close marker '{found}': expected '{wanted[bracket]}' (for {kind} starting at {where})"
            )
        self._open.pop()
        self._fresh = False
        return Token(found)

    def _value(self, found: str) -> Token:
        self._start = self._at - 1
        if found in "{[":
            self._at -= 1
            self._open.append((found, self._place()))
            self._at += 1
            self._fresh = True
            return Token(found)
        if found == '"':
            self._unread = True
            return Token.STRING
        if found == "-" or found.isdecimal():
            return self._number()
        word = _WORD.match(self._source, self._start)
        if word is None:
            self._unexpected(
                found, "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
            )
        self._at = word.end()
        if word[0] not in (Token.TRUE, Token.FALSE, Token.NULL):
            self.refuse(f"Unrecognized token '{word[0]}': {_WANTED}")
        return Token(word[0])

    def _number(self) -> Token:
        number = _NUMBER.match(self._source, self._start)
        if number is None:
            self.refuse("Invalid numeric value: a number has digits behind its sign")
        self._at = number.end()
        following = self._source[self._at : self._at + 1]
        if following.isdecimal():
            self.refuse("Invalid numeric value: Leading zeroes not allowed")
        if following and following not in _WHITE + ",]}":
            self._at += 1
            self._unexpected(following, "expected a number to end")
        return Token.NUMBER

    def _string(self, what: str) -> str:
        """What stands up to the closing quote, behind the opening one."""
        source, parts = self._source, []
        while True:
            run = _STRING.match(source, self._at)
            assert run is not None
            parts.append(run[0])
            self._at = run.end() + 1
            ending = source[run.end() : self._at]
            if not ending:
                self._at -= 1
                self.refuse(f"Unexpected end-of-input: was expecting closing quote for a {what}")
            if ending == '"':
                return _paired("".join(parts))
            if ending != "\\":
                self.refuse(
                    f"Illegal unquoted character ({_described(ending)}): has to be escaped using backslash to be included in {what}"
                )
            parts.append(self._escaped())

    def _escaped(self) -> str:
        found = self._source[self._at : self._at + 1]
        self._at += 1
        if found == "u":
            digits = _HEX.match(self._source, self._at)
            if digits is None:
                self.refuse(
                    "Unexpected character in a character escape: expected a hex-digit for character escape sequence"
                )
            self._at = digits.end()
            return chr(int(digits[0], 16))
        if found not in _ESCAPES or not found:
            self.refuse(f"Unrecognized character escape {_described(found)}")
        return _ESCAPES[found]

    def _unexpected(self, found: str, wanted: str) -> NoReturn:
        self._at -= 1  # the place is that of the character itself
        self.refuse(f"Unexpected character ({_described(found)}): {wanted}")


def _paired(text: str) -> str:
    """Text whose two halves of a character were escaped one by one; a half alone becomes a question mark, as in Java's UTF-8."""
    if not any("\ud800" <= found <= "\udfff" for found in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\ufffd", "?")


def _described(found: str) -> str:
    code = ord(found) if found else 0
    if code < 32 or 127 <= code < 160:
        return f"(CTRL-CHAR, code {code})"
    return f"'{found}' (code {code} / 0x{code:x})" if code > 255 else f"'{found}' (code {code})"
