"""Pipelines, buildspecs and AppSpec files as files: what they declare, and everything that is wrong with them, with line and column.

A pipeline is judged by the checks of the server itself: the model of CreatePipeline first, then the structure. A buildspec is read as a
build reads it, and an AppSpec file by the agent, in a process of its own since both share no code.
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from penstock.builds import buildspec
from penstock.builds.documents import MAX_BYTES, Document, DocumentError, read_document
from penstock.pipelines import service_of
from penstock.pipelines.actions import built_in
from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.declaration import faults
from penstock.pipelines.plan import type_of
from penstock.wire.profiles import Violation
from penstock.wire.services import Service
from penstock.wire.shapes import Shape

ERROR, WARNING = "error", "warning"
KINDS = ("pipeline", "buildspec", "appspec")
MAX_FINDINGS = 200  # of one file

# Kinds of violations that leave a declaration in a form whose structure can be judged.
_SHAPED = {"min_length", "max_length", "min_value", "max_value", "pattern"}
_OUTPUT_ONLY = {"metadata", "ResponseMetadata"}  # what GetPipeline answers beside the declaration
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LINE = re.compile(r"\b[Ll]ine ([0-9]{1,9})\b")
_PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
_AGENT_SECONDS = 30

Path_ = tuple[str | int, ...]  # members and positions from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say about a file."""

    rule: str  # the error's code, or a word for what the file itself lacks
    message: str  # sentences: what is wrong
    fix: str = ""  # what to do, where that is not in the message
    level: str = ERROR
    line: int = 1  # counted from 1
    column: int = 1


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was read of a file."""

    path: Path
    kind: str  # one of KINDS; "" when nobody can say
    findings: Sequence[Finding]
    pipeline: Mapping[str, Any] = field(default_factory=dict)  # the shape `PipelineDeclaration`
    tags: Sequence[Mapping[str, str]] | None = None  # beside it, as CreatePipeline takes them

    @property
    def sound(self) -> bool:
        """Whether nothing in it is an error."""
        return not any(finding.level == ERROR for finding in self.findings)


def check_file(path: Path, *, region: str, kind: str = "") -> Checked:
    """Read and check a file; `kind` is recognised when it is not given. Raises OSError."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return _alone(path, kind, "file-too-large", f"The file is larger than {MAX_BYTES // 1024} KiB.")
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return _alone(path, kind, "not-text", "The file is not UTF-8 text.", line=line)
    try:
        document = read_document(_PAIR.sub(_paired, text) if text.lstrip().startswith("{") else text)
    except DocumentError as error:
        message = str(error).rstrip(".")
        return _alone(path, kind, "not-yaml", f"{message}.", line=_line_in(message))
    kind = kind or kind_of(document, path.name)
    if kind == "buildspec":
        return Checked(path=path, kind=kind, findings=_buildspec(text))
    if kind == "appspec":
        return Checked(path=path, kind=kind, findings=_appspec(path))
    if kind != "pipeline":
        message = "It cannot be said what the file is: a pipeline has 'stages', a buildspec has 'phases', and an AppSpec file 'os' or 'hooks'."
        return _alone(path, "", "unknown-kind", message, fix="Say what it is with --kind.")
    return _pipeline(path, document, strict=text.lstrip().startswith("{"), region=region)


def kind_of(document: Document, name: str) -> str:
    """What a document declares, by its keys and then by the file's name; "" when neither says it."""
    if document.get("stages").present or document.get("pipeline").is_mapping():
        return "pipeline"
    if document.get("phases").present or document.get("batch").present:
        return "buildspec"
    if document.get("os").present or document.get("hooks").present or document.get("Resources").present:
        return "appspec"
    return next((kind for kind in KINDS if kind in name.lower()), "")


def _alone(path: Path, kind: str, rule: str, message: str, *, line: int = 1, fix: str = "") -> Checked:
    return Checked(path=path, kind=kind, findings=[Finding(rule=rule, message=message, line=line, fix=fix)])


def _line_in(message: str) -> int:
    found = _LINE.search(message)
    return int(found[1]) if found else 1


def _paired(match: re.Match[str]) -> str:
    """A character beyond the first plane that JSON writes as two escapes, which YAML does not know."""
    return (bytes.fromhex(match[1]) + bytes.fromhex(match[2])).decode("utf-16-be")


# --- buildspecs and AppSpec files -------------------------------------------------------------------------------------


def _buildspec(text: str) -> list[Finding]:
    try:
        warnings = buildspec.parse(text).warnings
    except buildspec.BuildspecError as error:
        return [Finding(rule="buildspec", message=str(error), line=_line_in(str(error)))]
    return [Finding(rule="buildspec", message=one, level=WARNING, line=_line_in(one)) for one in warnings]


def _appspec(path: Path) -> list[Finding]:
    command = [sys.executable, "-m", "penstock_agent", "check-appspec", "--json", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_AGENT_SECONDS, check=False)
        found = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        message = "AppSpec files are checked by the agent, which is not installed beside this program."
        return [
            Finding(
                rule="no-agent", message=message, fix="Install penstock-agent, or run penstock-agent check-appspec."
            )
        ]
    return [
        Finding(rule="appspec", message=one["message"], level=one["level"], line=_line_in(one["message"]))
        for one in found
    ]


# --- pipelines ---------------------------------------------------------------------------------------------------------------------


def _pipeline(path: Path, document: Document, *, strict: bool, region: str) -> Checked:
    reader = _Reader(strict=strict)
    shape = _create().shape
    if document.get("pipeline").is_mapping():
        value = reader.read(document, shape, (), ignore=_OUTPUT_ONLY)
    else:
        value = {"pipeline": reader.read(document, shape.members["pipeline"], ("pipeline",))}
    if not any(finding.rule == "wrong-type" for finding in reader.findings):
        reader.findings += _judged(value, reader, region)
    findings = sorted(reader.findings, key=lambda one: (one.line, one.column))
    return Checked(
        path=path, kind="pipeline", findings=findings[:MAX_FINDINGS], pipeline=value["pipeline"], tags=value.get("tags")
    )


@dataclass(frozen=True)
class _Create:
    """CreatePipeline as the server has it."""

    service: Service
    shape: Shape


@cache
def _create() -> _Create:
    service = service_of(built_in())
    operation = service.operation("CreatePipeline")
    assert operation is not None
    assert operation.input is not None
    return _Create(service, operation.input)


class _Reader:
    """A document as the input of an operation, by the model's shapes; it keeps where everything stands."""

    def __init__(self, *, strict: bool) -> None:
        """`strict`: a JSON document, whose strings have quotes. In YAML `false` may stand where a string is wanted."""
        self.findings: list[Finding] = []
        self._strict = strict
        self._places: dict[Path_, tuple[int, int]] = {}

    def place(self, path: Path_) -> tuple[int, int]:
        """Line and column of a member, or of the nearest one around it that is there."""
        while path not in self._places and path:
            path = path[:-1]
        return self._places.get(path, (1, 1))

    def read(
        self, node: Document, shape: Shape, path: Path_, *, ignore: frozenset[str] | set[str] = frozenset()
    ) -> Any:
        """The value of a node; what does not fit becomes a finding."""
        self._places.setdefault(path, (node.line or 1, node.column or 1))
        match shape.type:
            case "structure":
                return self._structure(node, shape, path, ignore)
            case "map":
                return self._map(node, shape, path)
            case "list":
                return self._list(node, shape, path)
            case _:
                return self._scalar(node, shape, path)

    def _structure(
        self, node: Document, shape: Shape, path: Path_, ignore: frozenset[str] | set[str]
    ) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, at, child in self._entries(node, path):
            if key in ignore:
                continue
            known = shape.members.get(key)
            if known is None:
                near = difflib.get_close_matches(key, shape.members, n=1, cutoff=0.6)
                fix = f"Did you mean '{near[0]}'?" if near else f"Known are {', '.join(shape.members)}."
                self._say("unknown-member", f"'{_short(key)}' is not a member of {_named(path)}.", at, fix=fix)
            elif child.present:
                self._places[(*path, key)] = at
                read[key] = self.read(child, known, (*path, key))
        return read

    def _map(self, node: Document, shape: Shape, path: Path_) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, at, child in self._entries(node, path):
            self._places[(*path, key)] = at
            read[key] = self.read(child, shape.value, (*path, key))
        return read

    def _entries(self, node: Document, path: Path_) -> Iterator[tuple[str, tuple[int, int], Document]]:
        if not node.is_mapping():
            if node.present:
                self._say(
                    "wrong-type", f"{_named(path)} must be a mapping of keys to values.", (node.line, node.column)
                )
            return
        seen: dict[str, tuple[int, int]] = {}
        for key, at, child in node.entries():
            if key in seen:
                self._say(
                    "duplicate-key", f"'{_short(key)}' is given a second time; the first is at line {seen[key][0]}.", at
                )
                continue
            seen[key] = at
            yield key, at, child

    def _list(self, node: Document, shape: Shape, path: Path_) -> list[Any]:
        if not node.is_sequence():
            if node.present:
                self._say("wrong-type", f"{_named(path)} must be a list.", (node.line, node.column))
            return []
        return [self.read(child, shape.member, (*path, i)) for i, child in enumerate(node.items())]

    def _scalar(self, node: Document, shape: Shape, path: Path_) -> Any:
        at = (node.line, node.column)
        if not node.is_scalar():
            self._say("wrong-type", f"{_named(path)} must be a single value.", at)
            return ""
        text = node.text(default="")
        if shape.type in ("integer", "long"):
            if node.plain and re.fullmatch(r"-?[0-9]{1,18}", text):
                return int(text)
            self._say("wrong-type", f"{_named(path)} must be a whole number.", at)
            return 1
        if self._strict and node.plain and node.present:
            self._say("wrong-type", f"{_named(path)} must be a string.", at, fix="Put it between double quotes.")
        return text

    def _say(self, rule: str, message: str, at: tuple[int, int], *, fix: str = "") -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(rule=rule, message=message, fix=fix, line=at[0] or 1, column=at[1] or 1))


def _judged(value: dict[str, Any], reader: _Reader, region: str) -> list[Finding]:
    """What the server would say of the model's constraints, and of the structure."""
    create = _create()
    violations: list[Violation] = []
    create.service.validators.of(create.shape)(value, (), violations)
    found = [_violated(one, reader) for one in violations[:MAX_FINDINGS]]
    if any(violation.kind not in _SHAPED for violation in violations):
        return found
    for fault in faults(value["pipeline"], built_in().type, region=region):
        line, column = reader.place(("pipeline", *fault.path))
        level, fix = _remedy(value["pipeline"], fault.path, fault.error.message)
        found.append(
            Finding(
                rule=fault.error.wire_code, message=fault.error.message, fix=fix, level=level, line=line, column=column
            )
        )
    return found + _not_run(value["pipeline"], reader)


def _not_run(declaration: Mapping[str, Any], reader: _Reader) -> list[Finding]:
    """Actions that may be declared and fail when they should run."""
    providers, found = built_in(), []
    for i, stage in enumerate(declaration["stages"]):
        for j, action in enumerate(stage["actions"]):
            runs = providers.find(type_of(action))
            if runs is not None and isinstance(runs[0], NotRun):
                line, column = reader.place(("pipeline", "stages", i, "actions", j, "actionTypeId"))
                message = f"The action '{action['name']}' fails when it should run: {runs[0].why}"
                found.append(Finding(rule="not-run", message=message, level=WARNING, line=line, column=column))
    return found


def _violated(violation: Violation, reader: _Reader) -> Finding:
    path: list[str | int] = []
    for part in violation.path:
        if part == "member" and path and isinstance(path[-1], int):
            continue
        path.append(int(part) - 1 if part.isdecimal() and part.isascii() else part)
    line, column = reader.place(tuple(path))
    message = f"'{_named(tuple(path))}' failed to satisfy constraint: {violation.constraint}."
    return Finding(rule="ValidationException", message=message, line=line, column=column)


_REMEDIES = (
    ("There should be a minimum of 2 stages", "Add a stage with an action after the source stage."),
    ("There can only be up to", "Split the pipeline into two."),
    ("only contains source actions", "Move other actions of the first stage into a stage after it."),
    ("only be included in the first stage", "Move the source action into the first stage."),
    ("whose category is not Source", "Add an action to the second stage."),
    ("is used more than once", "Give one of them another name."),
    ("has been used more than once", "Give one of them another name."),
    ("can only be used with V2 pipelines", "Write pipelineType: V2."),
    ("is already in use", "Give one of the variables another name."),
    ("must reference a", "Name a source action of the first stage that uses a connection."),
    ("missing required configuration", "Add the key below 'configuration' of the action."),
    ("which is less than the minimum count", "Name more artifacts."),
    ("which is more than the maximum count", "Name fewer artifacts."),
    (
        "not declared as the output of any preceding",
        "Name an output of an action in an earlier stage, or with a smaller runOrder.",
    ),
    ("referencing a namespace that does not exist", "Give an earlier action that namespace, or name that of one."),
    ("haven't been declared", "Declare the variable below 'variables' of the pipeline."),
    ("cannot be used in source actions", "Write the value itself."),
    ("non-empty commands field", "Add 'commands' to the action, a list of lines."),
    ("exactly one of 'artifactStore'", "Keep 'artifactStore', unless actions run in several regions."),
)


def _remedy(declaration: Mapping[str, Any], path: Path_, message: str) -> tuple[str, str]:
    """How grave a fault is, and what to do about it."""
    if path[:1] == ("stages",) and len(path) > 3:
        action = declaration["stages"][path[1]]["actions"][path[3]]
        named = type_of(action)
        known = built_in().type(named)
        if known is None and named.owner != "AWS":
            return WARNING, "Only the server knows whether the account has this action type."
        if known is None:
            names = {one.id.provider for one in built_in().types() if one.id.category == named.category}
            near = difflib.get_close_matches(named.provider, names, n=1, cutoff=0.4)
            offered = f"Did you mean '{near[0]}'? " if near else ""
            return ERROR, f"{offered}Providers of category {named.category}: {', '.join(sorted(names))}."
        if "unknown configuration" in message:
            keys = [one.name for one in known.properties]
            near = difflib.get_close_matches(str(path[-1]), keys, n=1, cutoff=0.5)
            return ERROR, f"Did you mean '{near[0]}'?" if near else f"Known are {', '.join(keys) or 'no keys'}."
    return ERROR, next((remedy for part, remedy in _REMEDIES if part in message), "")


def _named(path: Path_) -> str:
    """A path as people write it: stages[1].actions[0].name."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_short(part)}" if text else _short(part)
    return text or "the document"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
