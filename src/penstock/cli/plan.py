"""`penstock plan` and `penstock apply`: a pipeline that is kept as a file beside the code that it delivers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.declared_files import Checked, check_file
from penstock.cli.exits import Exit
from penstock.cli.terminal import complain, harmless, paint, say
from penstock.cli.validate import print_findings
from penstock.pipelines.actions import built_in
from penstock.pipelines.custom_types import MASK
from penstock.pipelines.declaration import normalise
from penstock.pipelines.plan import type_of

_LISTED = 20  # runs
_COLOURS = {"+": "green", "-": "red", "~": "amber"}
_HIDDEN = "(not shown)"
_TOP = ("roleArn", "artifactStore", "artifactStores", "executionMode", "pipelineType", "variables", "triggers")


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """The options of both."""
    if command == "plan":
        parser.add_argument("file", metavar="FILE", type=Path, help="the pipeline, JSON or YAML")
    else:
        parser.add_argument("-f", "--file", metavar="FILE", type=Path, required=True, help="the pipeline, JSON or YAML")
        parser.add_argument(
            "--force",
            action="store_true",
            help="update even without a difference, such as for secrets, which cannot be compared",
        )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Show what differs, or do away with it."""
    return attempt(options.command, lambda: _run(options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `sign` is + (new), - (gone) or ~ (other)."""

    sign: str
    what: str
    before: Any = None
    after: Any = None

    @property
    def line(self) -> str:
        """For people."""
        if self.before is None and self.after is None:
            return f"{self.sign} {self.what}"
        return f"{self.sign} {self.what}: {_brief(self.before)} → {_brief(self.after)}"


def _run(options: argparse.Namespace) -> int:
    clients = Clients.found(options.data_dir.absolute())
    try:
        checked = check_file(options.file, region=clients.region, kind="pipeline")
    except OSError as error:
        complain(f"penstock {options.command}: {harmless(str(options.file))}: {error.strerror}")
        return Exit.USAGE
    print_findings(checked, complain)
    if not checked.sound:
        return Exit.FAILED
    client = clients("codepipeline")
    current = _current(client, checked.pipeline["name"])
    found = list(changes(current, checked.pipeline))
    return (
        _plan(options, client, checked, current, found)
        if options.command == "plan"
        else _apply(options, client, checked, current, found)
    )


def _current(client: Any, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.get_pipeline(name=name)["pipeline"]
    except client.exceptions.PipelineNotFoundException:
        return None
    return found


def changes(current: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> Iterator[Change]:
    """What a file changes of a pipeline, or all of one that is not there. Values behind `****` cannot be compared."""
    if current is None:
        yield Change(sign="+", what=f"pipeline {wanted['name']}")
    new = normalise(wanted, 1)
    old: Mapping[str, Any] = current or {"stages": []}
    if current is not None:
        for member in _TOP:
            if old.get(member) != new.get(member):
                yield Change(sign="~", what=member, before=old.get(member, "-"), after=new.get(member, "-"))
    before = {stage["name"]: stage for stage in old["stages"]}
    after = {stage["name"]: stage for stage in new["stages"]}
    for name, stage in after.items():
        if name in before:
            yield from _stage_changes(before[name], stage)
        else:
            yield Change(sign="+", what=f"stage {name} ({_count(stage['actions'])})")
    for name in before:
        if name not in after:
            yield Change(sign="-", what=f"stage {name}")
    kept = [name for name in before if name in after]
    if kept != [name for name in after if name in before]:
        yield Change(sign="~", what="order of stages", before=list(before), after=list(after))


def _stage_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    name = new["name"]
    before = {action["name"]: action for action in old["actions"]}
    after = {action["name"]: action for action in new["actions"]}
    for action, wanted in after.items():
        if action not in before:
            yield Change(sign="+", what=f"stage {name}: action {action}")
            continue
        for member in sorted({*before[action], *wanted} - {"name", "configuration"}):
            one, other = before[action].get(member), wanted.get(member)
            if one != other:
                yield Change(
                    sign="~", what=f"stage {name}: action {action}: {member}", before=one or "-", after=other or "-"
                )
        yield from _configuration_changes(f"stage {name}: action {action}", before[action], wanted)
    for action in before:
        if action not in after:
            yield Change(sign="-", what=f"stage {name}: action {action}")
    if [one for one in before if one in after] != [one for one in after if one in before]:
        yield Change(sign="~", what=f"stage {name}: order of actions", before=list(before), after=list(after))
    for member in sorted({*old, *new} - {"name", "actions"}):
        if old.get(member) != new.get(member):
            yield Change(
                sign="~", what=f"stage {name}: {member}", before=old.get(member, "-"), after=new.get(member, "-")
            )


def _configuration_changes(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    one, other = old["configuration"], new["configuration"]
    known = built_in().type(type_of(new))
    secrets = {declared.name for declared in known.properties if declared.masked} if known else set()
    secrets |= {key for key, value in one.items() if value == MASK}
    for key in sorted({*one, *other}):
        if key in one and key in other and (one[key] == other[key] or key in secrets):
            continue
        yield Change(
            sign="~" if key in one and key in other else "+" if key in other else "-",
            what=f"{what}: {key}",
            before=_HIDDEN if key in secrets and key in one else one.get(key, "-"),
            after=_HIDDEN if key in secrets and key in other else other.get(key, "-"),
        )


def _count(listed: Sequence[Any]) -> str:
    return f"{len(listed)} action{'' if len(listed) == 1 else 's'}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _running(client: Any, current: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The runs that have not ended, the newest first."""
    pages = client.get_paginator("list_pipeline_executions").paginate(
        pipelineName=current["name"], PaginationConfig={"PageSize": 100, "MaxItems": 1000}
    )
    return [
        one
        for page in pages
        for one in page["pipelineExecutionSummaries"]
        if one["status"] in ("InProgress", "Stopping")
    ]


def _fate(current: Mapping[str, Any]) -> str:
    """What an update does to a run. AWS: "concepts-how-it-works", execution modes."""
    if current.get("executionMode") == "PARALLEL":
        return "continues with the version that it began with"
    return "is cancelled when its actions in progress have ended; an open approval is void"


def _plan(
    options: argparse.Namespace, client: Any, checked: Checked, current: dict[str, Any] | None, found: list[Change]
) -> int:
    running = _running(client, current) if current is not None and found else []
    name = checked.pipeline["name"]
    if options.json:
        document = {
            "pipeline": name,
            "version": current["version"] if current else None,
            "changes": [
                {"sign": one.sign, "what": one.what, "before": one.before, "after": one.after} for one in found
            ],
            "runs": [one["pipelineExecutionId"] for one in running],
        }
        say(json.dumps(document, ensure_ascii=False, indent=2, default=str))
        return Exit.DONE
    if not found and current is not None:
        say(f"{name} is as the file says (version {current['version']})")
        return Exit.DONE
    for one in found:
        say(paint(harmless(one.line), _COLOURS[one.sign]))
    if current is None:
        say("Its first run starts at once.")
    elif not running:
        say("No run is under way.")
    else:
        for run in running[:_LISTED]:
            say(f"run {run['pipelineExecutionId']} {_fate(current)}")
        if len(running) > _LISTED:
            say(f"and {len(running) - _LISTED} more runs")
    return Exit.DONE


def _apply(
    options: argparse.Namespace, client: Any, checked: Checked, current: dict[str, Any] | None, found: list[Change]
) -> int:
    name = checked.pipeline["name"]
    if current is None:
        more = {"tags": list(checked.tags)} if checked.tags else {}
        version, done = (
            client.create_pipeline(pipeline=dict(checked.pipeline), **more)["pipeline"]["version"],
            "created",
        )
    elif found or options.force:
        version, done = client.update_pipeline(pipeline=dict(checked.pipeline))["pipeline"]["version"], "updated"
    else:
        version, done = current["version"], "unchanged"
    tagged = current is not None and _tag(client, name, checked.tags)
    if options.json:
        say(json.dumps({"pipeline": name, "version": version, "result": done, "tagged": tagged}))
    else:
        for one in found if current is not None else ():
            say(paint(harmless(one.line), _COLOURS[one.sign]))
        say(f"{name} {done} (version {version}){', with other tags' if tagged else ''}")
    return Exit.DONE


def _tag(client: Any, name: str, tags: Sequence[Mapping[str, str]] | None) -> bool:
    """Give a pipeline the file's tags; others stay. Whether one was new or other."""
    if not tags:
        return False
    arn = client.get_pipeline(name=name)["metadata"]["pipelineArn"]
    listed = client.get_paginator("list_tags_for_resource").paginate(resourceArn=arn)
    has = {one["key"]: one["value"] for page in listed for one in page["tags"]}
    new = [dict(one) for one in tags if has.get(one["key"]) != one["value"]]
    if new:
        client.tag_resource(resourceArn=arn, tags=new)
    return bool(new)
