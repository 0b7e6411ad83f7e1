"""`penstock validate`: everything that is wrong with files that declare pipelines, builds and deployments, without a server."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from penstock import __version__
from penstock.cli import arguments
from penstock.cli.declared_files import KINDS, Checked, Finding, check_file
from penstock.cli.exits import Exit
from penstock.cli.terminal import complain, harmless, paint, say

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `validate`."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="a pipeline (JSON or YAML), buildspec or appspec"
    )
    parser.add_argument("--kind", choices=KINDS, default="", help="what the files are; default: recognised")
    add_region(parser)
    parser.add_argument("--format", choices=("text", "json", "sarif"), default="text", help="default: text")


def add_region(parser: argparse.ArgumentParser) -> None:
    """The option that says where a pipeline is meant to be."""
    parser.add_argument(
        "--region",
        type=arguments.region,
        default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        metavar="NAME",
        help="of the pipelines; default: AWS_REGION, or us-east-1",
    )


def run(options: argparse.Namespace) -> int:
    """Check the files and print the findings; FAILED when one of them is an error."""
    checked = []
    for path in options.files:
        try:
            checked.append(check_file(path, region=options.region, kind=options.kind))
        except OSError as error:
            complain(f"penstock validate: {harmless(str(path))}: {error.strerror}")
            return Exit.USAGE
    if options.format == "text":
        for one in checked:
            print_findings(one)
            if not one.findings:
                say(f"{harmless(str(one.path))}: the {one.kind} is in order")
    else:
        say(json.dumps(_plain(checked) if options.format == "json" else _sarif(checked), indent=2, ensure_ascii=False))
    return Exit.DONE if all(one.sound for one in checked) else Exit.FAILED


def print_findings(checked: Checked, write: Callable[[str], None] = say) -> None:
    """A line for each finding, as compilers print them."""
    name = harmless(str(checked.path))
    for one in checked.findings:
        where = f"{name}:{one.line}:{one.column}:"
        colour = "red" if one.level == "error" else "amber"
        write(f"{where} {paint(one.level, colour)}: {harmless(_sentence(one))} [{one.rule}]")


def _sentence(finding: Finding) -> str:
    message = " ".join(finding.message.split("\n"))
    if not finding.fix:
        return message
    return f"{message}{'' if message.endswith(('.', '?', ')')) else '.'} {finding.fix}"


def _plain(checked: Iterable[Checked]) -> list[dict[str, Any]]:
    return [
        {
            "file": str(one.path),
            "kind": one.kind or None,
            "findings": [
                {
                    "level": found.level,
                    "rule": found.rule,
                    "line": found.line,
                    "column": found.column,
                    "message": found.message,
                    "fix": found.fix or None,
                }
                for found in one.findings
            ],
        }
        for one in checked
    ]


def _sarif(checked: Iterable[Checked]) -> dict[str, Any]:
    """SARIF 2.1.0, which code hosts show beside the lines."""
    results = [
        {
            "ruleId": found.rule,
            "level": found.level,
            "message": {"text": _sentence(found)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": one.path.as_posix()},
                        "region": {"startLine": found.line, "startColumn": found.column},
                    }
                }
            ],
        }
        for one in checked
        for found in one.findings
    ]
    rules = [{"id": rule} for rule in sorted({str(result["ruleId"]) for result in results})]
    driver = {"name": "penstock validate", "version": __version__, "rules": rules}
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
