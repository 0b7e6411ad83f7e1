"""Which tests run which lines: recorded once per test file, and looked up for every broken place.

As a plugin of pytest (`-p covering`, with MUTANTS_RECORD naming a file) it records; `Map` records what is missing and looks up.
A line is known by its function and its distance from the function's first line, so that the record outlives changes elsewhere
in the file. Programs that tests start note for themselves what they run (`noting.py`), and so do forks of tests; one that is killed has not.
"""

from __future__ import annotations

import ast
import functools
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage
import pytest
from breaking import ROOT, Mutation
from noting import note

FORMAT = 2
SOURCES = ("src", "agent/src")
SHARED = "clients"  # whose tests go through every component
SYNCS = "test_durability.py"  # the order of syncs in all packages
NEAR = {
    "cli": ("docs",),  # what `penstock docs` writes
    "logfiles": ("logs",),
    "sandbox": ("builds",),
    "store": ("test_sample_component.py",),  # the shell around aggregates
    "webpages": ("console",),
}  # whose tests also are a package's own
BOTH_DATABASES = (
    "store",
)  # whose tests on PostgreSQL run code of their own; elsewhere they notice what those on SQLite do
# What starts servers and browsers is not recorded: it takes most of the time, and its work is done in child processes.
SLOW = (
    "crashes",
    "browser",
    "soak",
    "runtimes",
    "escapes",
    "hostile",
    "limits",
    "survival",
    "/e2e/",
    "packaging",
    "power_failure",
    "parents",
)
# What compares declarations (tables, operations, settings) with something else.
DECLARED = (
    "tests/store/test_migrations.py::test_the_revisions_make_what_the_components_declare",
    "tests/test_components.py",
)
_FEW = 15
_POSTGRESQL = 3.0  # seconds that a process's first test on PostgreSQL takes for the server


@dataclass(frozen=True)
class Test:
    """A test, how long it took with its fixtures in seconds, and how many lines it ran."""

    name: str
    seconds: float
    breadth: int

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]

    @property
    def function(self) -> str:
        return self.name.partition("[")[0]


@functools.cache
def functions(path: Path) -> list[tuple[int, int, str]]:
    """First line, last line and full name of every function of a file, outer ones first."""
    found: list[tuple[int, int, str]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{prefix}.{child.name}"
                if not isinstance(child, ast.ClassDef):
                    found.append((child.lineno, child.end_lineno or 0, name))
            visit(child, name)

    visit(ast.parse(path.read_bytes()), "")
    return sorted(found)


def place(path: Path, line: int) -> tuple[str, int]:
    """The innermost function around a line ("" for none) and the line's distance from its first line."""
    known = functions(path)
    for first, last, name in reversed(known[: bisect_right(known, (line, 1 << 30, ""))]):
        if first <= line <= last:
            return name, line - first
    return "", line


class Map:
    """The recorded test files, kept in `.mutants` beside the sources."""

    def __init__(self) -> None:
        self.folder = ROOT / ".mutants"
        self.tests: dict[str, Test] = {}
        self._lines: dict[str, dict[str, dict[int, list[str]]]] = {}  # path, function, distance → tests
        self._imported: dict[str, set[str]] = {}  # path → the functions that run on import

    def open(self, packages: Iterable[str], *, wide: bool = False) -> None:
        """Record what has changed among the test files of these packages' own folders, and read all that is recorded.

        `wide` also records those that go through every component; without them, what only they would notice is missed.
        """
        files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if not _slow(path)]
        own = {folder for package in packages for folder in (package, *NEAR.get(package, ()))}
        missing: dict[str, list[Path]] = {}
        for path in files:
            folder = path.relative_to(ROOT / "tests").parts[0]
            if not self._kept(path).exists() and (
                folder in own or folder == SYNCS or (wide and (folder == SHARED or folder.endswith(".py")))
            ):
                missing.setdefault(folder if folder in own else "", []).append(path)
        for folder, paths in missing.items():
            self._record(folder or "tests", paths)
        for path in files:
            if self._kept(path).exists():
                self._read(self._kept(path))

    def _kept(self, path: Path) -> Path:
        digest = hashlib.sha256(path.read_bytes() + bytes([FORMAT])).hexdigest()[:12]
        return self.folder / f"{'.'.join(path.relative_to(ROOT / 'tests').with_suffix('').parts)}-{digest}.json.gz"

    def _record(self, name: str, paths: list[Path]) -> None:
        began = time.monotonic()
        self.folder.mkdir(exist_ok=True)
        kept = {str(path.relative_to(ROOT)): str(self._kept(path)) for path in paths}
        environment = {
            **os.environ,
            "MUTANTS_RECORD": json.dumps(kept),
            "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, *(ROOT / each for each in SOURCES)))),
        }
        environment.pop("PENSTOCK_REQUIRE", None)
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not prove", "--tb=no", "-p", "covering", *kept]
        if name not in BOTH_DATABASES:
            command += ["-k", "not postgresql"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        summary = (done.stdout.splitlines() or ["nothing"])[-1]
        print(f"{name}: recorded in {time.monotonic() - began:.0f} s: {summary}", flush=True)

    def _read(self, kept: Path) -> None:
        recorded = json.loads(gzip.decompress(kept.read_bytes()))
        names = list(recorded["tests"])
        for name, (seconds, breadth) in recorded["tests"].items():
            self.tests[name] = Test(name, seconds, breadth)
        for path, by_function in recorded["lines"].items():
            known = self._lines.setdefault(path, {})
            for function, by_line in by_function.items():
                lines = known.setdefault(function, {})
                for line, bits in by_line.items():
                    lines.setdefault(int(line), []).extend(_named(names, int(bits, 16)))
        for path, named in recorded["imported"].items():
            self._imported.setdefault(path, set()).update(named)

    def runs_on_import(self, mutation: Mutation) -> bool:
        """Whether the function of a place has run by the time that the program is imported."""
        return place(ROOT / mutation.path, mutation.line)[0] in self._imported.get(str(mutation.path), ())

    def covering(self, mutation: Mutation) -> list[Test]:
        """The recorded tests that run a place. A module's constant and a class's body are run where the name is read, by tests too."""
        path = ROOT / mutation.path
        names = set(self._running(path, mutation.line))
        if not place(path, mutation.line)[0] and (constant := _constant(path, mutation.line)):
            word = re.compile(rf"\b{re.escape(constant)}\b")
            for reader in [path] if constant.startswith("_") else path.parent.rglob("*.py"):
                for number, text in enumerate(reader.read_text().splitlines(), start=1):
                    if word.search(text):
                        names.update(self._running(reader, number))
            naming = {file for file in {test.file for test in self.tests.values()} if word.search(_text(file))}
            names.update(test.name for test in self.tests.values() if test.file in naming)
        return [self.tests[name] for name in names if name in self.tests]

    def _running(self, path: Path, line: int) -> Iterable[str]:
        function, distance = place(path, line)
        lines = self._lines.get(str(path.relative_to(ROOT)), {}).get(function, {}) if function else {}
        near = [each for each in lines if each <= distance] or sorted(lines)[:1]  # a default runs with its function
        return lines[max(near)] if near else ()

    def choose(self, package: str, mutation: Mutation, budget: float) -> dict[str, float]:
        """Tests worth `budget` seconds, or all where few run the place, with the seconds that each takes.

        The package's own come first, by how near their file is and how short they are, then those of others.
        """
        rank = {file: number for number, file in enumerate(nearest(package, mutation))}
        covering = sorted(self.covering(mutation), key=lambda test: (rank.get(test.file, 1000), _cost(test)))
        seen: Counter[str] = Counter()
        again: dict[str, bool] = {}  # of one function's parameters the first two, before others' ones
        for test in covering:
            seen[test.function] += 1
            again[test.name] = seen[test.function] > 2
        covering.sort(key=lambda test: again[test.name])
        quick = sorted(covering, key=_cost)
        if len(covering) <= _FEW:
            budget *= 5
        chosen: dict[str, float] = {}
        for tests, share in ((quick, 0.3), (covering, 1.0)):
            for test in tests:
                if test.name not in chosen and sum(chosen.values()) + _cost(test) <= budget * share:
                    chosen[test.name] = _cost(test)
        if not place(ROOT / mutation.path, mutation.line)[0]:
            chosen = dict.fromkeys(DECLARED, 2.0) | chosen
        first = {name.partition("::")[0]: number for number, name in reversed(list(enumerate(chosen)))}
        return {name: chosen[name] for name in sorted(chosen, key=lambda name: first[name.partition("::")[0]])}


@functools.cache
def _text(file: str) -> str:
    return (ROOT / file).read_text()


@functools.cache
def _assigned(path: Path) -> list[tuple[int, int, str]]:
    """First line, last line and name of every constant and class of a module."""
    found: list[tuple[int, int, str]] = []
    for node in ast.parse(path.read_bytes()).body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.ClassDef):
            found.append((node.lineno, node.end_lineno or 0, node.name))
        found += [(node.lineno, node.end_lineno or 0, each.id) for each in targets if isinstance(each, ast.Name)]
    return found


def _constant(path: Path, line: int) -> str:
    return next((name for first, last, name in _assigned(path) if first <= line <= last), "")


def _cost(test: Test) -> float:
    return test.seconds + 0.02 + (_POSTGRESQL if "postgresql" in test.name and test.seconds < _POSTGRESQL else 0)


def _slow(path: Path) -> bool:
    return any(word in str(path.relative_to(ROOT)) for word in SLOW)


def _named(names: list[str], bits: int) -> Iterator[str]:
    while bits:
        low = bits & -bits
        yield names[low.bit_length() - 1]
        bits ^= low


def nearest(package: str, mutation: Mutation) -> list[str]:
    """The package's test files, those first that speak most of the changed function and module; those that start servers last."""
    stem = mutation.path.stem.strip("_")

    def distance(path: Path) -> tuple[int, str]:
        text = path.read_text()
        near = 3 * bool(mutation.function and re.search(rf"\b{re.escape(mutation.function)}\b", text))
        near += 3 * bool(re.search(rf"import.*\b{re.escape(stem)}\b|\.{re.escape(stem)} import", text))
        near += 2 * (stem in path.stem)
        near -= _slow(path)
        return (-near, path.name)

    folders = (package, *NEAR.get(package, ()))
    found = (ROOT / "tests" / folder for folder in folders)
    files = [path for each in found for path in ([each] if each.is_file() else each.rglob("test_*.py"))]
    files += (ROOT / "tests").glob("test_*.py") if package == "penstock" else ()
    return [str(path.relative_to(ROOT)) for path in sorted(files, key=distance)]


# --- the plugin -------------------------------------------------------------------------------------------------------


class Recorder:
    """Notes the lines that every passing test runs in this process, and writes them per test file at the end."""

    def __init__(self, kept: dict[str, str]) -> None:
        self._kept = kept
        sources = [str(ROOT / folder) for folder in SOURCES]
        self._coverage = coverage.Coverage(data_file=None, source=sources, config_file=False, check_preimported=False)
        self._coverage.start()
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        self._children = tempfile.TemporaryDirectory(prefix="mutants-")
        Path(self._children.name, "test").write_text("")
        os.environ |= {"MUTANTS_CHILDREN": self._children.name, "MUTANTS_SOURCES": os.pathsep.join(sources)}
        os.register_at_fork(after_in_child=lambda: self._begin_anew(sources))

    def _begin_anew(self, sources: list[str]) -> None:
        """A fork of a test notes for itself what it runs, as the programs do that tests start."""
        self._coverage.stop()
        note(self._children.name, sources)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        Path(self._children.name, "test").write_text(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0) + report.duration
        if report.outcome != "passed":
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        by_file: dict[str, dict[str, int]] = {}
        for name in self._seconds.keys() - self._failed:
            by_file.setdefault(name.partition("::")[0], {})
        for name in sorted(self._seconds.keys() - self._failed):
            numbers = by_file[name.partition("::")[0]]
            numbers[name] = len(numbers)
        lines: dict[str, dict[str, Any]] = {file: {} for file in by_file}
        breadth: dict[str, int] = dict.fromkeys(self._seconds, 0)
        imported: dict[str, set[str]] = {}
        for path, contexts_by_line in self._contexts().items():
            for line, contexts in contexts_by_line.items():
                function, distance = place(path, line)
                if "" in contexts:  # before the first test
                    imported.setdefault(str(path.relative_to(ROOT)), set()).add(function)
                for context in contexts:
                    file = context.partition("::")[0]
                    number = by_file.get(file, {}).get(context)
                    if number is None or not function:
                        continue
                    breadth[context] += 1
                    each = lines[file].setdefault(str(path.relative_to(ROOT)), {}).setdefault(function, {})
                    each[distance] = each.get(distance, 0) | 1 << number
        for file, kept in self._kept.items():
            recorded = {
                "tests": {name: (round(self._seconds[name], 3), breadth[name]) for name in by_file.get(file, {})},
                "lines": {
                    path: {name: {line: f"{bits:x}" for line, bits in each.items()} for name, each in found.items()}
                    for path, found in lines.get(file, {}).items()
                },
                "imported": {path: sorted(named) for path, named in imported.items()},
            }
            Path(kept).write_bytes(gzip.compress(json.dumps(recorded).encode()))

    def _contexts(self) -> dict[Path, dict[int, set[str]]]:
        """By file and line the tests that ran it, here or in what they started; "" for what ran before the first test."""
        data = self._coverage.get_data()
        found: dict[str, dict[int, set[str]]] = {}
        for measured in data.measured_files():
            found[measured] = {line: set(tests) for line, tests in data.contexts_by_lineno(measured).items()}
        for written in Path(self._children.name).glob("*.json"):
            test, lines = json.loads(written.read_text())
            for measured, numbers in lines.items():
                by_line = found.setdefault(measured, {})
                for line in numbers:
                    by_line.setdefault(line, set()).add(test)
        self._children.cleanup()
        paths = {Path(name): by_line for name, by_line in found.items()}
        return {path: by_line for path, by_line in paths.items() if path.suffix == ".py" and path.exists()}


def pytest_configure(config: pytest.Config) -> None:
    """Record when this process was started for it; its children begin with `sitecustomize.py`."""
    if kept := os.environ.pop("MUTANTS_RECORD", None):
        config.pluginmanager.register(Recorder(json.loads(kept)), "mutants-recorder")
