"""The wire layer names no service: what sets one apart is declared with it, in its component."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import botocore
import pytest

import penstock.wire

FOLDER = Path(penstock.wire.__file__).parent
NAMES = {path.name.replace("-", "") for path in (Path(botocore.__file__).parent / "data").iterdir() if path.is_dir()}
# Words of a language that services are called after, and what only one service has.
ORDINARY = {"account", "budgets", "config", "connect", "deadline", "detective", "discovery", "events", "health", "logs", "notifications",
            "outposts", "pipes", "polly", "proton", "resiliencehub", "scheduler", "schemas", "signer", "support", "textract", "translate",
            "location", "batch", "shield", "swf", "transfer", "appconfig", "lambda", "signin", "artifact", "signer", "tnb", "invoicing",
            "billing", "freetier", "trustedadvisor", "inspector", "macie", "glue", "mq", "ram", "bedrock"}  # fmt: skip
# Literals that stay, with the reason.
KEPT = {
    "S3ComputedContentSHA256": "an element that the error of a wrong payload hash bears on the wire",
    "&amp;": "an entity of XML",
    "IAMUser": "a kind of caller, as records of calls name it",
}
SERVICE_NAMES = (NAMES - ORDINARY) | {"bucket", "buckets", "codestar", "monitoring"}


def _parts(text: str) -> set[str]:
    """The parts of an identifier or a text: `_is_s3`, `S3Codec`, `iam:PassRole`."""
    parts = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])", text)
    return {part.lower() for part in parts} | {text.lower().replace("-", "").replace("_", "")}


def _named(source: str) -> set[str]:
    """Identifiers and literals; docstrings and comments, which name sources, are left out."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docs:
                found.add(text)
            case ast.Constant(value=bytes(raw)):
                found.add(raw.decode("latin-1"))
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.alias(name=name)
            ):
                found.add(name)
    return found


@pytest.mark.parametrize("module", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_no_service_is_named(module):
    named = {
        text: pieces & SERVICE_NAMES
        for text in _named(module.read_text()) - KEPT.keys()
        if (pieces := _parts(text)) & SERVICE_NAMES
    }
    assert not named
    if module.stem != "__init__":
        assert not _parts(module.stem) & SERVICE_NAMES


def test_the_search_sees_what_it_looks_for():
    source = 'def _is_s3(bucket): return {"iam", "codebuild"} | Kind.S3 | "s3:GetObject"'
    seen = {word for text in _named(source) for word in _parts(text)} & SERVICE_NAMES
    assert seen == {"s3", "bucket", "iam", "codebuild"}
