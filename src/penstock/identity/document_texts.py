"""Policy documents as texts: what one is known by, how long it is, and where its statements stand. Pure; nothing here is checked."""

from __future__ import annotations

import bisect
import hashlib
import json
import re

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]')
_COLON = re.compile(r"\s*:")

Place = tuple[int, int]
"""A line and a column of a document, both from 1 on."""


def statement_places(document: str) -> list[tuple[Place, Place]]:
    """Where each statement of a document begins and ends, as AWS's simulator says it: by what its parser has read.

    In a list a statement begins where what is before it ends; one without a list begins behind its brace. It ends behind its brace.
    """
    depth, key, listed, begun = 0, "", False, 0
    spans: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(document):
        text, end = token[0], token.end()
        if text[0] == '"':
            if depth == 1 and _COLON.match(document, end):
                key = json.loads(text)
        elif text in "{[":
            depth += 1
            if depth == 2 and key == "Statement":
                listed, begun = text == "[", end
        else:
            depth -= 1
            if text == "}" and key == "Statement" and depth == (2 if listed else 1):
                spans.append((begun, end))
                begun = end
    ends = [found.end() for found in re.finditer("\n", document)]

    def place(offset: int) -> Place:
        line = bisect.bisect_right(ends, offset)
        return line + 1, offset - (ends[line - 1] if line else 0) + 1

    return [(place(start), place(end)) for start, end in spans]


def size(document: str) -> int:
    """The characters that IAM's quotas count: all but white space."""
    return sum(not c.isspace() for c in document)


def digest(document: str) -> str:
    """What a policy is found again by: 16 hexadecimal digits that are its document's alone."""
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:16]
