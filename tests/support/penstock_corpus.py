"""Public buildspecs, AppSpec files and pipeline declarations: where they lie, and what our parsers make of each.

python tests/support/penstock_corpus.py    write tests/golden/corpus.json anew; its difference is what a change means for users' files

The files are other people's and no part of this repository: they lie in `shared/corpus` beside the checkout, or where PENSTOCK_CORPUS says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from penstock.builds import buildspec
from penstock.pipelines.actions import built_in
from penstock.pipelines.declaration import check, normalise
from penstock.pipelines.model import Plan
from penstock.pipelines.plan import plan_of
from penstock.wire.errors import ServiceError
from penstock_agent import appspec
from penstock_agent.failures import AppSpecInvalid

_TEMPLATE = b"AWS::CodePipeline::Pipeline"
_TESTS = Path(__file__).resolve().parents[1]
CORPUS = Path(os.environ.get("PENSTOCK_CORPUS") or _TESTS.parents[1] / "shared" / "corpus")
GOLDEN = _TESTS / "golden" / "corpus.json"


@dataclass(frozen=True)
class Parse:
    """What became of a file. A file of another `source` has changed itself; else our reading of it has."""

    source: str  # digest of the file
    summary: str  # counts, or the sentence of the refusal
    parsed: str  # digest of all that was read; "" when it was refused


def golden() -> dict[str, Parse]:
    """The recorded parses by `kind path`."""
    return {key: Parse(**recorded) for key, recorded in json.loads(GOLDEN.read_text()).items()}


def found() -> Iterator[tuple[str, Path]]:
    """Every file that one of our parsers reads, with the kind of its content."""
    for path in sorted(CORPUS.rglob("*")):
        name = path.name.lower()
        if not path.is_file():
            continue
        if path.suffix == ".json" and "pipeline" in name and _declaration(path) is not None:
            yield "pipeline", path
        elif path.suffix in (".yml", ".yaml", ".json", ".template") and _TEMPLATE in path.read_bytes():
            if _declared_in(path):
                yield "template", path
        elif path.suffix in (".yml", ".yaml", ".json", ".txt"):
            for kind in ("buildspec", "appspec"):
                if kind in name:
                    yield kind, path


def key_of(kind: str, path: Path) -> str:
    """What a file is recorded under."""
    return f"{kind} {path.relative_to(CORPUS).as_posix()}"


def parse(kind: str, path: Path) -> Parse:
    """What our parser makes of a file."""
    content = path.read_bytes()
    try:
        value, summary = _READERS[kind](path, content)
    except (buildspec.BuildspecError, AppSpecInvalid, ServiceError) as refused:
        return Parse(_digest(content), f"refused: {refused}", "")
    return Parse(_digest(content), summary, _digest(json.dumps(_plain(value), sort_keys=True).encode()))


def plans_of(kind: str, path: Path) -> list[Plan]:
    """The plans of a file's pipelines; none of one that is refused."""
    try:
        made = _READERS[kind](path, path.read_bytes())[0]
    except ServiceError:
        return []
    return made if isinstance(made, list) else [made]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """A value as JSON has it. Fields that hold nothing are left out, so that a new one changes only what uses it."""
    if is_dataclass(value) or hasattr(value, "_fields"):
        names = [field.name for field in fields(value)] if is_dataclass(value) else value._fields
        return {
            name: _plain(getattr(value, name))
            for name in names
            if getattr(value, name) not in (None, "", (), {}, False)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


# --- the kinds --------------------------------------------------------------------------------------------------


def _declaration(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return None
    if isinstance(document, dict):
        document = document.get("pipeline", document)
    return document if isinstance(document, dict) and isinstance(document.get("stages"), list) else None


def _pipeline(path: Path, _content: bytes) -> tuple[Plan, str]:
    declaration = _declaration(path)
    assert declaration is not None
    return _plan_of(declaration)


def _plan_of(declaration: Mapping[str, Any]) -> tuple[Plan, str]:
    types = built_in().type
    check(declaration, types, region="us-east-1")
    plan = plan_of(normalise(declaration, 1), 1, types)
    stages = ", ".join(f"{stage.name} {'+'.join(str(len(group)) for group in stage.groups)}" for stage in plan.stages)
    return plan, f"{plan.mode}: {stages}"


class _Loader(yaml.SafeLoader):
    """YAML of templates: `!Ref x` is {"Ref": x}."""


def _intrinsic(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def _declared_in(path: Path) -> list[dict[str, Any]]:
    """The pipelines of a CloudFormation template as CreatePipeline takes them; what is known later only is what it is made of, or a parameter's default."""
    try:
        template = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError:
        return []  # a template of a template
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        return []
    defaults = {name: str(one.get("Default", "x")) for name, one in template.get("Parameters", {}).items()}
    found = []
    for name, resource in template["Resources"].items():
        if isinstance(resource, dict) and resource.get("Type") == "AWS::CodePipeline::Pipeline":
            declared = _api(_resolved(resource["Properties"], defaults))
            stores = declared.pop("artifactStores", None)
            if stores:
                declared["artifactStores"] = {one["region"]: one["artifactStore"] for one in stores}
            found.append({"name": name, "roleArn": "x", **declared})
    return found


_GONE = object()
_OTHER = re.compile(r"[^A-Za-z0-9]+")


def _resolved(value: Any, defaults: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [one for one in (_resolved(item, defaults) for item in value) if one is not _GONE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (name, inner), *_ = value.items()
        if name == "Ref":
            return (
                _GONE
                if inner == "AWS::NoValue"
                else "us-east-1"
                if inner == "AWS::Region"
                else defaults.get(inner, inner)
            )
        if name == "Fn::If":
            return _resolved(inner[1], defaults)
        if name == "Fn::Sub":
            text = inner if isinstance(inner, str) else inner[0]
            return re.sub(r"\$\{([^}]*)\}", lambda found: _OTHER.sub("-", found[1]), text)
        if name.startswith("Fn::"):
            return _OTHER.sub("-", json.dumps(inner))[:40]
    resolved = {key: _resolved(item, defaults) for key, item in value.items()}
    return {key: item for key, item in resolved.items() if item is not _GONE}


def _api(value: Any) -> Any:
    """Properties of a template under the names of the API."""
    if isinstance(value, list):
        return [_api(item) for item in value]
    if not isinstance(value, dict):
        return value
    answer = {}
    for key, item in value.items():
        if key == "Configuration":
            texts = {name: item[name] if isinstance(item[name], str) else json.dumps(item[name]) for name in item}
            if "NotificationArn" in texts:
                texts["NotificationArn"] = "arn:aws:sns:us-east-1:111111111111:x"
            answer["configuration"] = texts
        else:
            answer[key[:1].lower() + key[1:]] = str(item) if key == "Version" else _api(item)
    return answer


def _template(path: Path, _content: bytes) -> tuple[list[Plan], str]:
    read = [_plan_of(declaration) for declaration in _declared_in(path)]
    return [plan for plan, _ in read], "; ".join(summary for _, summary in read)


def _buildspec(_path: Path, content: bytes) -> tuple[buildspec.Buildspec, str]:
    spec = buildspec.parse(content.decode())
    counts = [f"{phase.name} {len(phase.commands)}" for phase in spec.phases]
    artifacts = len(spec.secondary_artifacts) + (spec.artifacts is not None)
    variables = len(spec.variables) + len(spec.parameter_store) + len(spec.secrets_manager)
    counts += [
        f"{artifacts} artifacts",
        f"{variables} variables",
        f"{len(spec.unserved)} unserved",
        f"{len(spec.warnings)} warnings",
    ]
    return spec, f"version {spec.version}: {', '.join(counts)}"


def _appspec(_path: Path, content: bytes) -> tuple[appspec.AppSpec, str]:
    spec = appspec.parse(content)
    hooks = ", ".join(f"{name} {len(scripts)}" for name, scripts in spec.hooks.items())
    return spec, f"{len(spec.files)} files, {len(spec.permissions)} permissions, hooks: {hooks or 'none'}"


_READERS: dict[str, Callable[[Path, bytes], tuple[Any, str]]] = {
    "pipeline": _pipeline,
    "template": _template,
    "buildspec": _buildspec,
    "appspec": _appspec,
}


def main() -> None:
    """Record what our parsers make of every file today."""
    recorded = {key_of(kind, path): asdict(parse(kind, path)) for kind, path in found()}
    if not recorded:
        raise SystemExit(f"there is no corpus in {CORPUS}; PENSTOCK_CORPUS names another folder")
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(recorded, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    print(f"{GOLDEN}: {len(recorded)} files")


if __name__ == "__main__":
    main()
