"""The places where a program can be broken, and how."""

from __future__ import annotations

import ast
import copy
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {
    "agent": "agent/src/penstock_agent",
    "penstock": "src/penstock",  # the modules beside the packages
    **{path.parent.name: str(path.parent.relative_to(ROOT)) for path in ROOT.glob("src/penstock/*/__init__.py")},
}
SKIPPED = ("_vendor", "migrations", "__main__.py", "failpoints.py", "metrics.py", "demo")
QUIET = re.compile(
    r"^(await )?(log|logger|_log|metrics|warnings|point|failpoint)\b|\.(inc|observe|labels|set_name)\(|^[A-Z_]+\.set\b"  # a gauge
)

# The keywords that say what a correct program never does, or save memory: nobody sees them changed.
ASSERTIONS = {"zip": ("strict",), "dataclass": ("frozen", "slots", "kw_only")}

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

    def broken(self, source: bytes) -> bytes:
        """The file's content with this change in it, every other line where it was."""
        lost = "\n" * self.before.count("\n")  # what replaces it is one line
        text = f"{self.text[:-1]}{lost})" if self.text.endswith(")") else f"{self.text}{lost}"
        return source[: self.start] + text.encode() + source[self.end :]

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
        for child in (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body):
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
        called = ast.unparse(node.func)
        if not QUIET.search(called):
            unseen = ASSERTIONS.get(called, ())
            for child in (node.func, *node.args, *(each.value for each in node.keywords if each.arg not in unseen)):
                self.visit(child)

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
        if node.value is not None and ast.unparse(node.value) not in {"None", "False", "True", "{}"}:
            self.add(node, "return", "return None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.add(node, "statement", "pass")
        if isinstance(node.exc, ast.Call):
            for text in node.exc.args[:1]:
                if isinstance(text, (ast.Constant, ast.JoinedStr, ast.BinOp)) and " " in ast.unparse(text):
                    self.add(text, "message", '""')

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
    folder = ROOT / PACKAGES[package]
    for path in sorted(folder.glob("*.py") if package == "penstock" else folder.rglob("*.py")):
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
