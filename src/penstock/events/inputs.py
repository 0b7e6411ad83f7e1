"""What a target is given of an event: all of it, a constant, a part, or a text made from parts. Pure.

AWS: "Amazon EventBridge input transformation", and recordings of what targets were given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

_STEP = re.compile(r"\.([A-Za-z_][\w-]*|\d+)|\[(\d+)\]|\['([^']+)'\]|\[\"([^\"]+)\"\]")
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.\-]{1,256})>")
_RESERVED = frozenset(
    {
        "aws.events.rule-arn",
        "aws.events.rule-name",
        "aws.events.event.ingestion-time",
        "aws.events.event",
        "aws.events.event.json",
    }
)
MISSING: Any = object()


class NotDelivered(Exception):
    """The template makes nothing of this event that a target could be given."""


def steps(path: str) -> list[str | int] | None:
    """A path such as `$.detail.state`; None for what is none."""
    if not path.startswith("$"):
        return None
    found: list[str | int] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        name = step[1] or step[3] or step[4]
        found.append(int(step[2]) if name is None else name)
        at = step.end()
    return found


def value_at(event: Any, path: str) -> Any:
    """What a path finds; MISSING for nothing."""
    value = event
    for step in steps(path) or ():
        match value:
            case list() if isinstance(step, int) and step < len(value):
                value = value[step]
            case dict() if step in value:
                value = value[step]
            case _:
                return MISSING
    return value


def placeholders(template: str) -> list[str]:
    """The names in a template."""
    return _PLACEHOLDER.findall(template)


def unknown_placeholder(template: str, names: Mapping[str, str]) -> str:
    """The first name in a template that is neither mapped nor reserved; "" without one."""
    return next((name for name in placeholders(template) if name not in names and name not in _RESERVED), "")


def given(target: Mapping[str, Any], event: dict[str, Any], *, rule: str, rule_arn: str, came: str) -> str:
    """The text that a target is given of an event. Raises NotDelivered."""
    if "Input" in target:
        return target["Input"]
    if "InputPath" in target:
        found = value_at(event, target["InputPath"])
        return "" if found is MISSING else orjson.dumps(found).decode()
    if "InputTransformer" not in target:
        return orjson.dumps(event).decode()
    transformer = target["InputTransformer"]
    values = {name: value_at(event, path) for name, path in transformer.get("InputPathsMap", {}).items()}
    about = {name.replace("detail-type", "detailType"): value for name, value in event.items() if name != "detail"}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule,
        "aws.events.event.ingestion-time": came,
        "aws.events.event": about,
        "aws.events.event.json": event,
    }
    return _made(transformer["InputTemplate"], values)


def _made(template: str, values: Mapping[str, Any]) -> str:
    """A template with its values. Within quotes a text stands as it is; elsewhere stands the value's JSON."""
    is_text = template.lstrip().startswith('"')
    parts: list[str] = []
    quoted, at = False, 0
    while at < len(template):
        found = template[at]
        if found == "\\" and quoted:
            parts.append(template[at : at + 2])
            at += 2
            continue
        if found == '"':
            quoted = not quoted
        placeholder = _PLACEHOLDER.match(template, at) if found == "<" else None
        if placeholder is None or placeholder[1] not in values:
            parts.append(found)
            at += 1
            continue
        value = values[placeholder[1]]
        parts.append(_quoted(value, is_text=is_text) if quoted else _plain(value))
        at = placeholder.end()
    made = "".join(parts)
    if is_text:
        return made
    try:
        orjson.loads(made)
    except orjson.JSONDecodeError:
        raise NotDelivered(
            "The input template makes no JSON of this event. Quote texts, and put objects where no quotes are."
        ) from None
    return made


def _plain(value: Any) -> str:
    return '""' if value is MISSING else orjson.dumps(value).decode()


def _quoted(value: Any, *, is_text: bool) -> str:
    if value is MISSING:
        return ""
    if isinstance(value, str):
        # Nothing is escaped, as on AWS; whoever caused the event must not write members of the target's input that way.
        if not is_text and ('"' in value or "\\" in value):
            raise NotDelivered(
                "The input template puts a text with quotation marks or backslashes between quotation marks. Put it where no quotes are."
            )
        return value
    text = orjson.dumps(value).decode()
    if not isinstance(value, dict | list):
        return text
    if not is_text:
        raise NotDelivered("The input template puts an object or a list into a quoted text of an object.")
    return text.replace('"', "")
