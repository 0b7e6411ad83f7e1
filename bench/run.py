"""`make bench`: every row of the design's table that the end-to-end scenario touches, measured side by side in one run.

    make bench                      all rows
    make bench ARGS="start moto"    some of them
    make bench ARGS=--list          their names

Nothing here asserts: a row prints what was measured, the bar, and whether it was met. Absolute times are this machine's; ratios are what to
compare. Rows that need a component that cannot be had say so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ROWS = {
    "start": "bench.start",
    "transitions": "bench.pipeline_transitions",
    "many": "bench.many_pipelines",
    "burst": "bench.burst",
    "overview": "bench.overview",
    "soak": "bench.soak",
    "events": "bench.events",
    "rules": "bench.event_rules",
    "targets": "bench.event_delivery",
    "alarms": "bench.alarms",
    "schedules": "bench.schedules",
    "webhooks": "bench.webhooks",
    "requests": "bench.requests_vs_moto",
    "build": "bench.build_vs_buildbot",
    "overhead": "bench.build_overhead",
    "polls": "bench.polls",
    "deploy": "bench.deploy",
    "fleet": "bench.fleet",
    "push": "bench.push_to_log",
    "objects": "bench.objects",
    "logs": "bench.logs",
    "kms": "bench.kms",
    "policy": "bench.policy",
    "audit": "bench.audit",
    "lag": "bench.lag",
    "floods": "bench.floods",
    "retention": "bench.retention",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    bar: str
    met: bool | None  # None: nothing to compare with


class Unavailable(Exception):
    """A row cannot be measured here; says why."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--list", action="store_true", help="list the rows and end")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    if options.list:
        print("\n".join(ROWS))
        return 0
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    load = os.getloadavg()[0]
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} at the start\n",
        flush=True,
    )
    measured: list[Row] = []
    for name in options.rows or ROWS:
        began = time.monotonic()
        try:
            rows = importlib.import_module(ROWS[name]).measure()
        except Unavailable as reason:
            rows = [Row(what=name, measured=f"not measured: {reason}", bar="", met=None)]
        except Exception:
            traceback.print_exc()
            rows = [Row(what=name, measured="failed, see above", bar="", met=False)]
        for row in rows:
            mark = {True: "met ", False: "MISS", None: "    "}[row.met]
            print(f"{mark}  {row.what}: {row.measured}{f'  (bar: {row.bar})' if row.bar else ''}", flush=True)
        print(f"      … {name} took {time.monotonic() - began:.0f} s", flush=True)
        measured += rows
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in measured], indent=2))
    return 0


if __name__ == "__main__":
    from bench import run  # the module that the rows import: its Unavailable is theirs

    sys.exit(run.main())
