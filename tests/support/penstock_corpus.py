"""Public buildspecs, AppSpec files and pipeline declarations: where they lie, and what our parsers make of each.

python tests/support/penstock_corpus.py    write tests/golden/corpus.json anew; its difference is what a change means for users' files

The files are other people's and no part of this repository: they lie in `shared/corpus` beside the checkout, or where PENSTOCK_CORPUS says.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from penstock.builds import buildspec
from penstock.pipelines.actions import built_in
from penstock.pipelines.declaration import check, normalise
from penstock.pipelines.model import Plan
from penstock.pipelines.plan import plan_of
from penstock.wire.errors import ServiceError
from penstock_agent import appspec
from penstock_agent.failures import AppSpecInvalid

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


# --- the three kinds --------------------------------------------------------------------------------------------------


def _declaration(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return None
    if isinstance(document, dict):
        document = document.get("pipeline", document)
    return document if isinstance(document, dict) and isinstance(document.get("stages"), list) else None


def _pipeline(path: Path, _content: bytes) -> tuple[Plan, str]:
    declaration, types = _declaration(path), built_in().type
    assert declaration is not None
    check(declaration, types, region="us-east-1")
    plan = plan_of(normalise(declaration, 1), 1, types)
    stages = ", ".join(f"{stage.name} {'+'.join(str(len(group)) for group in stage.groups)}" for stage in plan.stages)
    return plan, f"{plan.mode}: {stages}"


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
