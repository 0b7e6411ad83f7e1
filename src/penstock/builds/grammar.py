"""The keys that a buildspec may have, and what becomes of a key that is misspelt or in the wrong place. Pure.

CodeBuild refuses a build whose `phases` hold a name that is not one of its four phases. Everywhere else it ignores a key that it does not
know, without saying so; a build here ignores it too, with a line in its log (AWS: "Build specification reference for CodeBuild").
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.builds.documents import Document, DocumentError

MAX_WARNINGS = 50

_Keys = Mapping[str, Any]
"""Legal keys: `None` for a key whose value is looked at elsewhere, a mapping for a section with keys of its own. ANY stands
for names that the writer chooses."""

ANY = "*"

_FILES: _Keys = {"files": None, "base-directory": None, "discard-paths": None, "exclude-paths": None}
_ARTIFACT: _Keys = {**_FILES, "name": None, "enable-symlinks": None, "s3-prefix": None}
_PHASE: _Keys = {"run-as": None, "on-failure": None, "commands": None, "finally": None}
_BATCH_ENV: _Keys = {
    "compute-type": None,
    "fleet": None,
    "image": None,
    "privileged-mode": None,
    "type": None,
    "variables": None,
}

_CURRENT: _Keys = {
    "version": None,
    "run-as": None,
    "env": {
        "shell": None,
        "variables": None,
        "parameter-store": None,
        "secrets-manager": None,
        "exported-variables": None,
        "git-credential-helper": None,
    },
    "proxy": {"upload-artifacts": None, "logs": None},
    "batch": {
        "fast-fail": None,
        "build-list": None,
        "build-graph": None,
        "build-fanout": {"parallelism": None, "ignore-failure": None},
        "build-matrix": {
            "static": {"ignore-failure": None, "env": _BATCH_ENV},
            "dynamic": {"buildspec": None, "env": _BATCH_ENV},
        },
    },
    "phases": {
        "install": {**_PHASE, "runtime-versions": None},
        "pre_build": _PHASE,
        "build": _PHASE,
        "post_build": _PHASE,
    },
    "reports": {ANY: {"files": None, "base-directory": None, "discard-paths": None, "file-format": None}},
    "artifacts": {**_ARTIFACT, "secondary-artifacts": {ANY: _ARTIFACT}},
    "cache": {"key": None, "fallback-keys": None, "action": None, "paths": None},
}

_FIRST: _Keys = {
    "version": None,
    "environment_variables": {"plaintext": None},
    "phases": {name: {"commands": None} for name in ("install", "pre_build", "build", "post_build")},
    "artifacts": {"type": None, "files": None, "base-directory": None, "discard-paths": None},
}
"""Version 0.1."""


def check_keys(document: Document, *, version: str) -> list[str]:
    """A line for each key that means nothing where it stands. Raises DocumentError where CodeBuild refuses the document."""
    _check_phases(document.get("phases"))
    found: list[str] = []
    for line in _misplaced(document, _FIRST if version == "0.1" else _CURRENT, ()):
        if len(found) == MAX_WARNINGS:
            found.append("More keys of the buildspec are ignored: only the first are listed")
            break
        found.append(line)
    return found


def _check_phases(phases: Document) -> None:
    legal = _CURRENT["phases"]
    wrong = [(name, line) for name, line in phases.keyed() if name not in legal]
    if wrong:
        (name, line), *others = wrong
        also = ", ".join(f"{other[:64]} at line {at}" for other, at in others[:10])
        raise DocumentError(
            f"Invalid buildspec phase name: {name[:64]}. Expecting: {','.join(sorted(legal))} "
            f"at line {line}{_hint(name, ('phases',), legal)}" + (f" Also invalid: {also}" if also else "")
        )
    for name, phase in phases.pairs():
        for key, line in phase.keyed():
            if key == "steps":
                raise DocumentError(
                    f'unsupported field "steps" in phase {name} at line {line}: GitHub Actions do not run here, '
                    "use commands"
                )


def _misplaced(section: Document, legal: _Keys, path: tuple[str, ...]) -> Iterator[str]:
    where = ".".join(path) or "the top level"
    if path and section.present:
        section.expect_mapping(where)
    lines: dict[str, int] = {}
    for name, line in section.keyed():
        if name in lines:
            yield f"Line {line}: {name[:64]} was given in line {lines[name]} already, in {where}: the last one counts"
        elif name not in legal and ANY not in legal:
            yield f"Line {line}: {name[:64]} is not a key of {where}, and is ignored{_hint(name, path, legal)}"
        lines[name] = line
    for name, value in section.pairs():
        below = legal.get(name, legal.get(ANY))
        if below is not None:
            yield from _misplaced(value, below, (*path, name))


def _hint(name: str, path: tuple[str, ...], legal: _Keys) -> str:
    """What was probably meant: a key like it, or the place where it belongs."""
    spelt = name.strip().lower()
    hyphened = spelt.replace("_", "-")
    if hyphened not in legal:
        for candidate in (spelt, hyphened):
            places = [place for place in _places(candidate, _CURRENT, ()) if place != path]
            if len(places) > 1 and places[0][0] == "phases":
                return ". It belongs to a phase, such as phases.build"
            if places:
                return f". It belongs {'to ' + '.'.join(places[0]) if places[0] else 'at the top level'}"
    close = difflib.get_close_matches(spelt[:64], [key for key in legal if key != ANY], n=1, cutoff=0.7)
    if close:
        return f". Did you mean {close[0]}?"
    if path == ("env",):
        return ". Variables belong to env.variables"
    for version, keys in (("0.1", _FIRST), ("0.2", _CURRENT)):
        if not path and legal is not keys and name in keys:
            return f". It is a key of version {version}"
    return ""


def _places(name: str, legal: _Keys, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if name in legal:
        yield path
    for key, below in legal.items():
        if below is not None and key not in ("batch", ANY):
            yield from _places(name, below, (*path, key))
