"""`make mutants` breaks what it says: the function of a place in the fork, each kind of it, and nothing that a fork could not see broken."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = b"""\
import functools
from dataclasses import dataclass

MOST = 5

def plain(count, most=7):
    if count > most:
        raise ValueError(
            "too many"
        )
    return count

@functools.cache
def remembered(count):
    return count < 10

def outer(most):
    def inner(count):
        return count < most
    return inner

made = outer(3)
shortest = lambda one, other: one if one < other else other

@dataclass(frozen=False, slots=False, order=True)
class Kept:
    size = 9

    @property
    def full(self):
        return self.size >= 9

    @staticmethod
    async def left(count):
        return [each for each, _ in zip(range(count), range(count), strict=True) if each < 2]
"""


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of scripts/mutants that take places apart."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "scripts/mutants")
    yield importlib.import_module("breaking"), importlib.import_module("exchanging")
    for name in ("breaking", "exchanging"):
        del sys.modules[name]


@pytest.fixture
def program(tmp_path: Path) -> ModuleType:
    """A module that has been imported."""
    path = tmp_path / "program.py"
    path.write_bytes(SOURCE)
    spec = importlib.util.spec_from_file_location("program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(coroutine: Any) -> object:
    with pytest.raises(StopIteration) as ending:
        coroutine.send(None)
    return ending.value.value


CHANGED = {
    "count > most": (lambda program: program.plain(7), 7, ValueError),
    "count < 10": (lambda program: program.remembered(10), False, True),
    "count < most": (lambda program: (program.made(3), program.outer(4)(4)), (False, False), (True, True)),
    "self.size >= 9": (lambda program: program.Kept().full, True, False),
    "each < 2": (lambda program: _run(program.Kept.left(3)), [0, 1], [0, 1, 2]),
}
# A constant, a default, an argument and the body of a class; then what functions have.
CONSTANTS = {
    "5": False,
    "7": False,
    "3": False,
    "size = 9": False,
    "10": True,
    "self.size >= 9": True,
    "2": True,
    "order=True": False,
}


def _mutations(mutants: Any, program: ModuleType, kinds: set[str]) -> list[Any]:
    finder = mutants[0].Finder(Path(program.__file__ or ""), SOURCE)
    finder.visit(mutants[0].ast.parse(SOURCE))
    return [each for each in finder.found if each.kind in kinds]


@pytest.mark.parametrize("place", CHANGED)
def test_a_function_is_broken_where_it_is(mutants: Any, program: ModuleType, place: str) -> None:
    ask, before, after = CHANGED[place]
    [mutation] = [each for each in _mutations(mutants, program, {"boundary"}) if each.before == place]
    codes = mutants[1].broken_functions(mutation.path, SOURCE, mutation.broken(SOURCE))
    assert ask(program) == before
    program.remembered.cache_clear()  # a fork has not called it yet
    mutants[1].exchange(mutation.path, codes)
    if isinstance(after, type):
        with pytest.raises(after):
            ask(program)
    else:
        assert ask(program) == after


def test_what_runs_on_import_is_for_a_process_that_has_not_imported_it(mutants: Any, program: ModuleType) -> None:
    lines = SOURCE.decode().splitlines()
    found = _mutations(mutants, program, {"constant"})
    assert len(found) == len(CONSTANTS)
    for mutation in found:
        [able] = [
            able for text, able in CONSTANTS.items() if mutation.before in text and text in lines[mutation.line - 1]
        ]
        codes = mutants[1].broken_functions(mutation.path, SOURCE, mutation.broken(SOURCE))
        assert (codes is not None) is able, str(mutation)


def test_lines_behind_a_change_stay_where_they_are(mutants: Any, program: ModuleType) -> None:
    """What is recorded of a line, and what a traceback says, is true of the broken file as well."""
    for mutation in _mutations(mutants, program, {"statement", "message", "boundary", "return", "condition"}):
        broken = mutation.broken(SOURCE)
        assert broken != SOURCE
        compile(broken, mutation.path, "exec")
        assert broken.count(b"\n") == SOURCE.count(b"\n")
        assert broken.splitlines()[-1] == SOURCE.splitlines()[-1] or mutation.line == SOURCE.count(b"\n")


def test_a_function_that_nobody_has_is_said(mutants: Any, program: ModuleType) -> None:
    [mutation] = [each for each in _mutations(mutants, program, {"boundary"}) if each.before == "count > most"]
    codes = mutants[1].broken_functions(mutation.path, SOURCE, mutation.broken(SOURCE))
    vars(program).pop("plain")
    with pytest.raises(LookupError):
        mutants[1].exchange(mutation.path, codes)
