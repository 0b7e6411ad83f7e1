"""Secret values in what programs print: found however it is quoted, and covered.

Used where a build's commands run as well, so it loads the standard library only.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from typing import Any

COVER = b"***"
REACH = 16 << 10  # bytes that are enough to see a piece of a secret, however it is spelled
_SHORTEST = 3  # characters of a value that is hidden: "1" stands everywhere
_SHORTEST_LINE = 8  # characters of a line of a value of several lines
_SHORTEST_BASE64 = 6  # bytes of a text whose base64 is hidden
_ROWS = (64, 76)  # characters of a line of base64, as OpenSSL and coreutils write it
_PIECE = 256  # characters that are looked for at once: what a line costs is bounded, and a longer secret is known by a part of it
_PIECE_BASE64 = 4096  # of what has hardly anything but characters that are spelled in one way
_GRAM = 3  # bytes; what has no so many word characters in a row is looked for by its pattern alone
_MANY = 100  # texts, from which on it pays to see first which beginnings there are at all
_SHARED = 10  # texts that are looked for by the same word, when they have others
_MOST_WITHOUT_WORDS = 100  # of such texts in every spelling; more of them are found as they are

_WORDS = re.compile(rb"[A-Za-z0-9_]+")
_TOKENS = re.compile(r"[A-Za-z0-9_]+|\\+|[\"']+|.", re.DOTALL)
# What a member of a document is that says nothing secret: hidden it would make any log unreadable.
_NO_SECRETS = frozenset({"true", "false", "null", "none", "yes", "off"})
_SLASH = rb"(?:\\|%(?:25){0,3}5[cC])"
_SLASHES = (
    _SLASH + b"{0,15}"
)  # before a character that JSON, Python or a shell escapes: JSON in JSON in JSON in JSON has 15
_ESCAPE = _SLASH + b"{1,15}"
_LETTERS = {
    "\0": b"0",
    "\a": b"a",
    "\b": b"b",
    "\t": b"t",
    "\n": b"n",
    "\v": b"v",
    "\f": b"f",
    "\r": b"r",
    "\x1b": b"[eE]",
}
_BASE64_IN_URLS = {"+": b"|-", "/": b"|_"}
_NAMES = {'"': b"quot", "'": b"apos", "&": b"amp", "<": b"lt", ">": b"gt"}  # of XML


def texts(values: Iterable[str]) -> list[str]:
    """The texts that show something of secret values: the values, their lines, and the texts and numbers in those that are JSON.

    What is so short that it stands everywhere is left out. Pure.
    """
    found: dict[str, None] = {}
    for value in values:
        for text in _members(value):
            lines = [line.strip() for line in text.splitlines()]
            found |= dict.fromkeys(one for one in (text.strip(),) if len(one) >= _SHORTEST)
            found |= dict.fromkeys(line for line in lines if len(line) >= _SHORTEST_LINE)
    return list(found)


def _members(value: str) -> Iterator[str]:
    """A value, the texts and long numbers in it if it is JSON, and those in texts of it that are."""
    pending = [value]
    while pending:
        match pending.pop():
            case dict() as found:
                pending += found.values()
            case list() as found:
                pending += found
            case _Number() as found if len(found) <= _SHORTEST:
                pass
            case str() as found if found is not value and found.strip().lower() in _NO_SECRETS:
                pass
            case str() as found:
                yield found
                pending += _parsed(found)
            case _:
                pass


def _parsed(text: str) -> list[Any]:
    """The document that a text is, if it is one; numbers as they are written."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return []
    try:
        return [json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)]
    except (ValueError, RecursionError):
        return []


class _Number(str):
    """A number of a JSON document, as it is written."""

    __slots__ = ()


class Mask:
    """Covers texts, in every spelling that programs commonly print them in.

    These are: as they stand, as JSON, Python, JavaScript and C escape them, as shells quote them (`set -x`, `export -p`, `printf %q`), percent-encoded,
    as XML has them, several of these in each other, and base64 of them alone or of something that they are in.
    """

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        self._known: set[bytes] = set()
        self._by_word: list[Suspect] = []
        self._uses: Counter[bytes] = Counter()  # how many are looked for by a word
        self._by_pattern: list[Suspect] = []
        self.add(hidden)

    def add(self, hidden: Iterable[str]) -> None:
        """Cover more texts."""
        for text in hidden:
            for suspect in _of(text) if text else ():
                if suspect.piece not in self._known:
                    self._known.add(suspect.piece)
                    self._keep(suspect)

    def _keep(self, suspect: Suspect) -> None:
        if len(suspect.word) >= _GRAM:
            # A line with a word that all have would be searched for each of them.
            if self._uses[suspect.word] >= _SHARED:
                suspect.word = min(suspect.words, key=self._uses.__getitem__)
            self._uses[suspect.word] += 1
            self._by_word.append(suspect)
            return
        if len(self._by_pattern) >= _MOST_WITHOUT_WORDS:
            suspect.word, suspect.exact = suspect.piece, True
        self._by_pattern.append(suspect)

    def suspects(self, data: bytes) -> list[Suspect]:
        """The texts that may stand in bytes: the little that `covered` has to look for in each line of them."""
        known = self._by_word
        if len(known) > _MANY:
            grams = {data[at : at + _GRAM] for at in range(len(data) - _GRAM + 1)}
            known = [suspect for suspect in known if suspect.word[:_GRAM] in grams]
        found = [suspect for suspect in known if suspect.word in data]
        if self._by_pattern:
            found += [suspect for suspect in self._by_pattern if suspect.word in data and any(suspect.spans(data))]
        return found

    def covered(self, data: bytes, suspects: Iterable[Suspect] | None = None, *, cover: bytes = COVER) -> bytes:
        """The bytes with each text replaced, and what overlaps as one. `suspects` are those of bytes that these are a part of."""
        shown = []
        at = 0
        for begin, end in self._spans(data, suspects):
            shown += [data[at:begin], cover]
            at = end
        return b"".join((*shown, data[at:])) if shown else data

    def cut(self, data: bytes, at: int) -> int:
        """Where to cut bytes, at most `REACH` before their end, so that no text is cut: `at`, or near it."""
        for begin, end in self._spans(data, None):
            if begin < at < end:
                return begin or end
        return at

    def _spans(self, data: bytes, suspects: Iterable[Suspect] | None) -> list[tuple[int, int]]:
        """From where to where texts stand, in order; those that touch are one."""
        found: list[tuple[int, int]] = []
        for suspect in self.suspects(data) if suspects is None else suspects:
            if suspect.word in data:
                found += suspect.spans(data)
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(found):
            if merged and begin <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], end)
            else:
                merged.append((begin, end))
        return merged


class Suspect:
    """A piece of a text that is looked for. `word` stands in each spelling of it."""

    def __init__(self, piece: bytes, *, base64: bool) -> None:
        self.piece = piece
        self._base64 = base64
        words = sorted(_WORDS.findall(piece), key=len, reverse=True)
        self.word: bytes = words[0] if words else b""
        self.words = [word for word in words if len(word) >= _GRAM]  # those that are as good
        self.exact = self.word == piece

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        # What spellings allow for could keep the text itself from being found, such as one with "%25" in it.
        exact = re.escape(self.piece)
        return re.compile(exact if self.exact else b"%s|%s" % (exact, _spelled(self.piece, base64=self._base64)))

    @cached_property
    def _first(self) -> re.Pattern[bytes]:
        """What any spelling of it begins with, which is found much sooner than the pattern."""
        first = re.escape(self.piece[:1])
        return re.compile(
            first if self.exact or _WORDS.match(self.piece) else rb"[%s\\%%&+%s\"']" % (first, rb"\-_" * self._base64)
        )

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where it stands, also where it overlaps itself."""
        for first in self._first.finditer(data):
            if found := self._pattern.match(data, first.start()):
                yield found.span()


def _of(text: str) -> Iterator[Suspect]:
    """What is looked for of a text and of its base64."""
    for piece in _pieces(text, _PIECE):
        yield Suspect(piece, base64=False)
    raw = text.encode("utf-8", "replace")
    if len(raw) < _SHORTEST_BASE64:
        return
    for before in range(3):
        # Characters at both ends have bits of what stands beside the text.
        whole = base64.b64encode(bytes(before) + raw)[(8 * before + 5) // 6 : 8 * (before + len(raw)) // 6].decode()
        rows = [whole]
        if not before and "\n" in text:  # a key or a document, which is written in lines
            rows = [whole[at : at + row] for row in _ROWS for at in range(0, len(whole), row)]
        for row in rows:
            if len(row) >= _SHORTEST_BASE64:
                yield from (Suspect(piece, base64=True) for piece in _pieces(row, _PIECE_BASE64))


def _pieces(text: str, size: int) -> Iterator[bytes]:
    """A text in pieces, none of which is so short that it stands everywhere."""
    at = 0
    while len(text) - at >= size + _SHORTEST_LINE:
        yield text[at : at + size].encode("utf-8", "replace")
        at += size
    yield text[at:].encode("utf-8", "replace")


def _spelled(piece: bytes, *, base64: bool) -> bytes:
    """A pattern of every spelling of a text. It never has two ways to go on over more than a few bytes, so it cannot be made slow."""
    found = []
    before = (
        _SLASHES,
        _ESCAPE,
    )  # a character that may be, and that is escaped; behind backslashes those have matched already
    for token in _TOKENS.findall(piece.decode("utf-8", "replace")):
        if token[0] == "\\":
            found.append(b"(?:%s|%s){%d,%d}" % (_SLASH, _coded("\\"), len(token), 16 * len(token)))
            before = b"", b""
            continue
        if token[0] in "\"'":
            # Shells write 'a'\''b' and 'a'"'"'b', SQL and CSV double them.
            kinds = b"|".join(_kinds(one, *before) for one in "\"'")
            found.append(b"(?:%s){%d,%d}" % (kinds, len(token), 6 * len(token)))
        elif _WORDS.match(token.encode()):
            found.append(token.encode())
        else:
            in_url = _BASE64_IN_URLS.get(token, b"") if base64 else b""
            found.append(b"(?:%s)" % (_kinds(token, *before) + in_url))
        before = _SLASHES, _ESCAPE
    return b"".join(found)


@cache
def _kinds(one: str, slashes: bytes, escape: bytes) -> bytes:
    """The spellings of a character, but for backslashes and what no spelling changes."""
    in_bytes = re.escape(one.encode("utf-8", "replace"))
    kinds = [slashes + b"(?:%s|%s)" % (in_bytes, _coded(one)), escape + _number(one)]
    if one in _LETTERS:
        kinds.append(escape + _LETTERS[one])
    if one == " ":
        kinds.append(rb"\+")
    return b"|".join(kinds)


@cache
def _number(one: str) -> bytes:
    """A character behind a backslash as JSON, Python, JavaScript, C and shells write it."""
    units = one.encode("utf-16-be", "replace")
    in_bytes = one.encode("utf-8", "replace")
    kinds = [
        _ESCAPE.join(b"u%s" % units[at : at + 2].hex().encode() for at in range(0, len(units), 2)),
        b"u%08x" % ord(one),
        rb"u\{0{0,6}%x\}" % ord(one),
        _ESCAPE.join(b"x%02x" % byte for byte in in_bytes),
        _ESCAPE.join(b"%03o" % byte for byte in in_bytes),
    ]
    if 0x80 <= ord(one) < 0x100:
        kinds.append(b"x%02x" % ord(one))
    return b"(?i:%s)" % b"|".join(kinds)


@cache
def _coded(one: str) -> bytes:
    """A character as URLs and XML have it."""
    in_url = b"".join(b"%%(?:25){0,3}%02x" % byte for byte in one.encode("utf-8", "replace"))
    name = b"|" + _NAMES[one] if one in _NAMES else b""
    return b"(?i:%s|&(?:amp;){0,3}(?:#0{0,6}%d|#x0{0,6}%x%s);)" % (in_url, ord(one), ord(one), name)
