"""Break the program at random places, one at a time, and count how often the tests nearest to the place notice.

The places are drawn by `--seed`, the same number in every package and evenly over the kinds of change. The program is broken in
a copy, never in the working tree. A package's tests must pass unbroken first; that run also says how long they may take.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "agent": ("agent/src/penstock_agent", ["tests/agent"]),
    "builds": ("src/penstock/builds", ["tests/builds"]),
    "console": ("src/penstock/console", ["tests/console"]),
    "deployments": ("src/penstock/deployments", ["tests/deployments"]),
    "identity": ("src/penstock/identity", ["tests/identity"]),
    "logfiles": ("src/penstock/logfiles", ["tests/logfiles", "tests/monitoring"]),
    "monitoring": ("src/penstock/monitoring", ["tests/monitoring"]),
    "objects": ("src/penstock/objects", ["tests/objects"]),
    "pipelines": ("src/penstock/pipelines", ["tests/pipelines"]),
    "repositories": ("src/penstock/repositories", ["tests/repositories"]),
    "sandbox": ("src/penstock/sandbox", ["tests/sandbox", "tests/builds"]),
    "store": ("src/penstock/store", ["tests/store"]),
    "wire": ("src/penstock/wire", ["tests/wire"]),
}
SKIPPED = ("_vendor", "migrations", "__main__.py", "failpoints.py", "metrics.py")
SLOW = ("crashes", "browser", "soak", "runtimes", "escapes", "hostile", "limits", "survival")
QUIET = re.compile(r"^(await )?(log|logger|_log|metrics|warnings|point|failpoint)\b|\.(inc|observe|labels|set_name)\(")

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One change: the bytes of a file from `start` to `end` become `text`."""

    path: Path
    line: int
    kind: str
    start: int
    end: int
    before: str
    text: str
    function: str

    def __str__(self) -> str:
        shorten = [" ".join(text.split())[:70] for text in (self.before, self.text)]
        return f"{self.path}:{self.line} {self.kind}: {shorten[0]} → {shorten[1]}"


class Finder(ast.NodeVisitor):
    """Collects every mutation of one file."""

    def __init__(self, path: Path, source: bytes) -> None:
        self.path = path
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.functions: list[str] = []
        self.found: list[Mutation] = []

    def add(self, node: ast.expr | ast.stmt, kind: str, text: str) -> None:
        start = self.starts[node.lineno - 1] + node.col_offset
        end = self.starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before = self.source[start:end].decode()
        function = self.functions[-1] if self.functions else ""
        self.found.append(Mutation(self.path, node.lineno, kind, start, end, before, text, function))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.functions.append(node.name)
        for child in node.body:
            self.visit(child)
        self.functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """What an assertion says is not changed."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Positions within an f-string are not exact before Python 3.12."""

    def visit_Call(self, node: ast.Call) -> None:
        if not QUIET.search(ast.unparse(node.func)):
            self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        changed = copy.deepcopy(node)
        changed.ops[0] = COMPARISONS[type(node.ops[0])]()
        kind = "boundary" if isinstance(node.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) else "comparison"
        self.add(node, kind, f"({ast.unparse(changed)})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self.add(node, "and/or", f"({ast.unparse(changed)})")
        self.generic_visit(node)

    def visit_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if not isinstance(node.test, ast.Constant):
            self.add(node.test, "condition", f"(not ({ast.unparse(node.test)}))")
        self.generic_visit(node)

    visit_While = visit_If  # noqa: N815
    visit_IfExp = visit_If  # noqa: N815

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.add(node, "constant", str(not node.value))
        elif isinstance(node.value, int):
            self.add(node, "constant", str(node.value + 1))

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and ast.unparse(node.value) not in {"None", "False", "True"}:
            self.add(node, "return", "return None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.add(node, "statement", "pass")

    def visit_Expr(self, node: ast.Expr) -> None:
        text = ast.unparse(node.value)
        if isinstance(node.value, ast.Await):
            self.add(node, "await", "pass")
        elif isinstance(node.value, ast.Call) and not QUIET.search(text):
            self.add(node, "fsync" if "sync(" in text else "statement", "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)


def mutations(package: str) -> Iterator[Mutation]:
    """Every mutation of a package that still is a program."""
    for path in sorted((ROOT / PACKAGES[package][0]).rglob("*.py")):
        relative = path.relative_to(ROOT)
        if any(part in SKIPPED for part in relative.parts):
            continue
        source = path.read_bytes()
        finder = Finder(relative, source)
        finder.visit(ast.parse(source))
        yield from finder.found


def draw(package: str, count: int, seed: int) -> list[Mutation]:
    """`count` mutations, the kinds in turn."""
    rng = random.Random(f"{seed} {package}")  # noqa: S311 -- a sample that can be drawn again, not a secret
    kinds: dict[str, list[Mutation]] = {}
    for mutation in mutations(package):
        kinds.setdefault(mutation.kind, []).append(mutation)
    for found in kinds.values():
        rng.shuffle(found)
    drawn: list[Mutation] = []
    while len(drawn) < count and any(kinds.values()):
        drawn += [found.pop() for _, found in sorted(kinds.items()) if found]
    return drawn[:count]


def nearest(package: str, mutation: Mutation, count: int) -> list[str]:
    """The package's test files that speak most of the changed function and module, those that start servers last."""
    stem = mutation.path.stem.strip("_")

    def distance(path: Path) -> tuple[int, str]:
        text = path.read_text()
        near = 3 * bool(mutation.function and re.search(rf"\b{re.escape(mutation.function)}\b", text))
        near += 3 * bool(re.search(rf"import.*\b{re.escape(stem)}\b|\.{re.escape(stem)} import", text))
        near += 2 * (stem in path.stem)
        near -= any(word in path.stem for word in SLOW)
        return (-near, path.name)

    files = [path for folder in PACKAGES[package][1] for path in (ROOT / folder).rglob("test_*.py")]
    return [str(path.relative_to(ROOT)) for path in sorted(files, key=distance)[:count]]


def run(copied: Path, files: Sequence[str], limit: float) -> tuple[int | None, str]:
    """The exit code of pytest in the copy (None: it took too long), and the first failed test or its last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not prove", "--no-header", "--tb=no", "-rfE", *files]
    paths = os.pathsep.join(str(copied / folder) for folder in ("src", "agent/src"))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PENSTOCK_REQUIRE", None)
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(
            command, cwd=copied, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()
            return None, "took too long"
        out.seek(0)
        lines = out.read().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return code, (failed or lines[-1:] or [""])[0][:150]


def copy_of_program(folder: str) -> Path:
    """Everything that Git knows, in a folder of its own."""
    copied = Path(folder) / "penstock"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (copied / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copied / name)
    return copied


def try_package(package: str, chosen: Sequence[Mutation], files: int, count: Counter) -> bool:
    """Try each mutation; False when the tests fail without one."""
    tests = {mutation: nearest(package, mutation, files) for mutation in chosen}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied = copy_of_program(folder)
        began = time.monotonic()
        code, summary = run(copied, sorted({file for each in tests.values() for file in each}), 3600)
        limit = 2 * (time.monotonic() - began) + 60
        print(f"{package}: unbroken {'passes' if code == 0 else 'FAILS: ' + summary}, limit {limit:.0f} s", flush=True)
        if code != 0:
            return False
        for mutation in chosen:
            target = copied / mutation.path
            source = target.read_bytes()
            target.write_bytes(source[: mutation.start] + mutation.text.encode() + source[mutation.end :])
            code, summary = run(copied, tests[mutation], limit)
            target.write_bytes(source)
            verdict = "survived" if code == 0 else "too long" if code is None else "noticed"
            count[verdict] += 1
            print(f"  {verdict}  {mutation}" + (f"  [{summary}]" if verdict == "noticed" else ""), flush=True)
    return True


def main() -> int:
    """Draw, try, print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=150, help="how many in all (150)")
    parser.add_argument("--package", action="append", choices=sorted(PACKAGES), help="only this one; may be repeated")
    parser.add_argument("--files", type=int, default=8, help="how many of the nearest test files are run for each (8)")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--at", metavar="PATH[:LINE]", help="every mutation of a file or line instead of a sample")
    parser.add_argument("--list", action="store_true", help="say what would be tried")
    arguments = parser.parse_args()
    packages = arguments.package or sorted(PACKAGES)
    share = -(-arguments.places // len(packages))
    counts: dict[str, Counter] = {package: Counter() for package in packages}
    green = True
    for package in packages:
        if arguments.at:
            path, _, line = arguments.at.partition(":")
            chosen = [each for each in mutations(package) if str(each.path) == path and line in ("", str(each.line))]
        else:
            chosen = draw(package, share, arguments.seed)
        if arguments.list:
            print(*chosen, sep="\n")
        elif chosen:
            green &= try_package(package, chosen, arguments.files, counts[package])
    total = sum(counts.values(), Counter())
    if not total:
        return not green
    for package, count in (*counts.items(), ("all", total)):
        if tried := count.total():
            noticed = tried - count["survived"]
            print(
                f"{package:13} {noticed:3} of {tried:3} noticed, {noticed / tried:4.0%} ({count['too long']} by taking too long)"
            )
    return not green


if __name__ == "__main__":
    sys.exit(main())
