"""Filter patterns of log events, in full (AWS: CloudWatch Logs User Guide, "Filter pattern syntax"). Pure.

A pattern is of one kind: terms, a regular expression, `[fields]` of a line, or `{ conditions }` on JSON. Each looks at the UTF-8 of an event as its
file has it, and says from where on in a piece of a file an event can match at all, so that most events are never looked at.
"""

from __future__ import annotations

from functools import lru_cache

from penstock.logfiles.patterns import delimited, json_events, terms
from penstock.logfiles.patterns.kinds import EVERYTHING, BadPattern, Pattern

__all__ = ["EVERYTHING", "BadPattern", "Pattern", "compile_pattern"]


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Pattern:
    """The pattern in a text, which is as long as the model lets it be (1,024 characters). Raises BadPattern."""
    text = pattern.strip()
    if not text:
        return EVERYTHING
    first = pattern.index(text)
    for opens, closes, read in (("{", "}", json_events.read), ("[", "]", delimited.read)):
        if text.startswith(opens):
            if len(text) == 1 or not text.endswith(closes):
                raise BadPattern(f"If a filter pattern starts with '{opens}' it must end with '{closes}'")
            return read(pattern, first + 1, first + len(text) - 1)
    return terms.read(pattern, first, first + len(text))
