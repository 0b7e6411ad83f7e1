"""`penstock dora`: how often pipelines deploy to production, how fast, and how well."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.terminal import complain, harmless, paint, say

_HEADS = ("PIPELINE", "STAGE", "DEPLOYMENTS", "PER DAY", "LEAD TIME", "FAILED", "RECOVERY", "REWORK")
_LONGEST = 366


def days(text: str) -> int:
    """How many days `30d` or `4w` are. Raises ArgumentTypeError."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})([dw])", text)
    count = int(found[1]) * {"d": 1, "w": 7}[found[2]] if found else 0
    if not 1 <= count <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30d or 4w, of {_LONGEST} days at most")
    return count


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `dora`."""
    parser.add_argument("pipeline", metavar="PIPELINE", nargs="?", help="one pipeline; all of the region when left out")
    parser.add_argument(
        "--since", type=days, default=30, metavar="TIME", help="the last days, today included: 30d, 4w; default: 30d"
    )
    parser.add_argument("--json", action="store_true", help="the figures as one JSON document")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Print the figures."""
    return attempt("dora", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    client = Clients.found(options.data_dir.absolute())("penstock")
    asked = {"pipelineName": options.pipeline} if options.pipeline else {}
    found = client.get_delivery_figures(days=options.since, **asked)
    del found["ResponseMetadata"]
    if options.json:
        say(json.dumps(found, default=lambda time: time.isoformat()))
        return Exit.DONE
    say(f"Deployments to production, {found['startTime']:%Y-%m-%d} to today (UTC)")
    rows = [_row(one["pipelineName"], one["stageName"], one["figures"]) for one in found["pipelines"]]
    if not rows:
        say("There were none. docs/how-to/dora.md says which stage of a pipeline counts.")
    else:
        if len(rows) > 1:
            rows.append(_row("all", "", found["total"]))
        _table([_HEADS, *rows])
    if "readSince" in found:
        complain(f"only runs since {found['readSince']:%Y-%m-%d %H:%M} were read: there are too many for one answer")
    return Exit.DONE


def _row(name: str, stage: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    recovery = _time(figures.get("recoveryTimeSeconds"))
    if figures["unrecoveredFailures"]:
        recovery = f"{recovery}, {figures['unrecoveredFailures']} open" if recovery != "-" else "open"
    return (
        harmless(name),
        harmless(stage),
        str(figures["succeededDeployments"]),
        _number(figures["deploymentsPerDay"]),
        _time(figures.get("leadTimeSeconds")),
        _share(figures.get("changeFailureRate")),
        recovery,
        _share(figures.get("reworkRate")),
    )


def _time(seconds: float | None) -> str:
    """In the two largest units that say something."""
    if seconds is None:
        return "-"
    for unit, size, below, smaller in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{seconds:.0f} s"


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _share(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.0f} %"


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    for number, row in enumerate(rows):
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        line = "  ".join(cells).rstrip()
        say(paint(line, "bold") if number == 0 else line)
