"""What services ask of a resource's policy before they keep it: what it speaks of, and whether it lets everybody in. Pure.

Identity has checked and evaluates it. (AWS: S3 User Guide, "The meaning of public".)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# Conditions that tie "everybody" to somebody.
_TIES = {
    "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount", "aws:sourcearn",
    "aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:userid", "s3:dataaccesspointaccount", "s3:dataaccesspointarn",
}  # fmt: skip


def is_public(document: str) -> bool:
    """Whether a policy allows something to everybody, tied to nobody."""
    for statement in statements(document):
        principal = statement.get("Principal")
        anyone = principal == "*" or (isinstance(principal, dict) and "*" in listed(principal.get("AWS", ())))
        if statement["Effect"] != "Allow" or not (anyone or "NotPrincipal" in statement):
            continue
        keys = {key.lower() for keys in statement.get("Condition", {}).values() for key in keys}
        if not keys & _TIES:
            return True
    return False


def statements(document: str) -> Iterator[dict[str, Any]]:
    """The statements of a policy that identity has taken."""
    found = json.loads(document)["Statement"]
    yield from (found if isinstance(found, list) else [found])


def listed(value: Any) -> list[str]:
    """The values of an element that may be one or several."""
    return [value] if isinstance(value, str) else list(value)
