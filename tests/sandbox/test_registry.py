"""A runtime is one file: the rest of the program knows what runtimes there are from the registry only."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import penstock
from penstock.cli import serve
from penstock.sandbox import registry, runtimes
from penstock.sandbox.launcher import FORKSERVER
from penstock.sandbox.runtime import Offer, Runtime, RuntimeRefused
from penstock.sandbox.specification import Layout

SOURCE = Path(penstock.__file__).parent
FOLDER = Path(runtimes.__file__).parent
ROOT = Path(__file__).parents[2]
PYTHON = sorted(
    path
    for top in (SOURCE, ROOT / "bench", ROOT / "agent" / "src")
    for path in top.rglob("*.py")
    if not path.is_relative_to(FOLDER)
)


def _mentions(path: Path, names: set[str]) -> Iterator[str]:
    """Where a file has the name of a runtime as a string, or imports its module."""
    for node in ast.walk(ast.parse(path.read_text())):
        found: list[str] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = [node.value]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(runtimes.__name__):
            found = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.startswith(runtimes.__name__)]
        for text in found:
            if text in names or text.rpartition(".")[2] in names and text.startswith(runtimes.__name__):
                yield f"{path.name}:{getattr(node, 'lineno', 0)}"


def test_no_runtime_is_named_outside_of_its_folder():
    names = set(registry.names()) | {package for runtime in registry.every() for package in runtime.needs}
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(registry.names())
    assert not [where for path in PYTHON for where in _mentions(path, names)]
    # Names that are not English words stand nowhere, in comments and messages neither.
    odd = names - {"process"}
    odd |= {Path(runtime.program()).name for runtime in registry.every() if runtime.program()}
    texts = {path: path.read_text().lower() for path in PYTHON}
    assert not [(path, word) for path, text in texts.items() for word in odd if word in text]


class Another:
    """A runtime that is added."""

    name = "another"
    preference = 1
    summary = "runs nothing"
    needs = ("a-package",)
    networks = ("nowhere", "host")
    isolates = True
    moves_folders = True

    def probe(self, **_asked: object) -> Offer:
        return Offer(usable=False, message="it is only a test")


def test_a_runtime_that_is_added_is_offered_and_probed(monkeypatch: pytest.MonkeyPatch):
    added = cast("Runtime", Another())
    others = registry.every()
    monkeypatch.setattr(registry, "every", lambda: (added, *others))
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, "up")
    exposed = " ".join(parser.format_help().split())
    assert "--build-runtime {auto,another," in exposed
    assert "another: runs nothing" in exposed
    assert "nowhere with another" in exposed
    assert parser.parse_args(["--build-network", "nowhere"]).network == "nowhere"
    choice = registry.choose(wanted=registry.AUTO, network="", allow_unisolated=True, layout=Layout())
    assert choice.name in [runtime.name for runtime in others]
    with pytest.raises(RuntimeRefused, match="another: it is only a test"):
        registry.choose(wanted="another", network="", allow_unisolated=True, layout=Layout())


def test_a_supervisor_has_no_package_of_the_server():
    """Whatever its modules import, nothing but the standard library and the sandbox is loaded beside foreign code."""
    script = (
        "import runpy, sys; sys.argv = ['', 'penstock.builds.supervisor.main', '/nowhere'];"
        f"\ntry: runpy.run_path({str(FORKSERVER)!r}, run_name='__main__')\nexcept FileNotFoundError: pass\n"
        "print(*sorted(sys.modules)); print(*sys.path)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    modules, path = done.stdout.splitlines()
    ours = {name for name in modules.split() if name.startswith("penstock")}
    assert "penstock.sandbox.sandbox" in ours
    assert not [
        name
        for name in ours
        if not name.startswith(("penstock.sandbox", "penstock.builds.supervisor"))
        and name
        not in (
            "penstock",
            "penstock.durable",
            "penstock.masking",
            "penstock.reachable",
            "penstock.builds",
            "penstock.builds.phases",
        )
    ]
    others = {name.partition(".")[0] for name in modules.split()} - {"penstock", "__main__", "__mp_main__"}
    assert others <= sys.stdlib_module_names, others - sys.stdlib_module_names
    assert "site-packages" not in path
