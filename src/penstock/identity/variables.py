"""Policy variables: `${aws:username}` in a resource or a condition value, filled in from the request. Pure.

`${key, 'text'}` has a default; `${*}`, `${?}` and `${$}` are the characters themselves. What a variable stands for is text: a star in it
is a star and matches nothing else. (AWS: IAM User Guide, "IAM policy elements: Variables and tags".)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Value = str | tuple[str, ...]  # of a key with several values
Context = Mapping[str, Value]  # lower-case key → value
NOTHING: Context = {}

_VARIABLE = re.compile(r"\$\{([^${}']*)(?:,\s*'([^']*)')?\s*\}|\$\{([*?$])\}")
# What stands for a star and a question mark that are no wildcards. Half surrogates are in no text that was decoded from bytes.
_LITERALS = str.maketrans({"*": "\ud800", "?": "\ud801"})


@dataclass(frozen=True, slots=True)
class _Variable:
    key: str  # lower case
    default: str | None


@dataclass(frozen=True, slots=True)
class Template:
    """A text with variables."""

    parts: tuple[str | _Variable, ...]  # literal text may hold wildcards; what `${*}` gave has been translated

    @property
    def keys(self) -> frozenset[str]:
        """The keys of its variables, in lower case."""
        return frozenset(part.key for part in self.parts if not isinstance(part, str))

    def text(self, context: Context) -> str | None:
        """The text for a request; None when it has no value for one of the variables."""
        found = self.pattern(context)
        return None if found is None else found.replace("\ud800", "*").replace("\ud801", "?")

    def pattern(self, context: Context) -> str | None:
        """The same for wildcards, to be compared with what `literal` makes of a text."""
        texts = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            value = context.get(part.key)
            value = value if isinstance(value, str) else part.default  # keys with several values are no variables
            if value is None:
                return None
            texts.append(value.translate(_LITERALS))
        return "".join(texts)

    def compare(self, make: Callable[[str], Callable[[str], bool]], text: str, context: Context) -> bool:
        """Whether a text matches the template as a pattern of wildcards; `make` makes the predicate."""
        pattern = self.pattern(context)
        return pattern is not None and make(pattern)(text.translate(_LITERALS))


def keys_as_written(text: str) -> list[str]:
    """The keys of a text's variables, as the text spells them."""
    found = _VARIABLE.finditer(text)
    return [one[1].strip() for one in found if one[3] is None and one[1] not in ("*", "?", "$")]


def template(text: str) -> Template | None:
    """The template of a text, or None for one without variables."""
    if "${" not in text:
        return None
    parts: list[str | _Variable] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        parts.append(text[at : found.start()])
        if found[3] is not None or found[1] in ("*", "?", "$"):
            parts.append((found[3] or found[1]).translate(_LITERALS))
        else:
            parts.append(_Variable(found[1].strip().lower(), found[2]))
        at = found.end()
    parts.append(text[at:])
    return Template(tuple(part for part in parts if part != "")) if at else None
