"""Break the program at random places, one at a time, and count how often the tests that run the place notice.

The places are drawn by `--seed`, the same number in every package and evenly over the kinds of change. The program is broken in
copies, never in the working tree, and runs in namespaces of its own (`apart.py`). Which tests of the packages' own folders run which
lines is recorded once, in `.mutants`, and again for files of tests that have changed. A test that noticed a change and then fails without
one is named, and its places are not counted; neither is a place that could not be tried (`left out`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from apart import go_apart
from breaking import PACKAGES, draw, mutations
from covering import Map
from trying import Place, Verdict, try_all


def main() -> int:
    """Draw, try, print the shares."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--places", type=int, default=150, help="how many in all (150)")
    parser.add_argument("--package", action="append", choices=sorted(PACKAGES), help="only this one; may be repeated")
    parser.add_argument("--budget", type=float, default=12, help="seconds of tests for each place (12)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--at", metavar="PATH[:LINE]", help="every mutation of a file or line instead of a sample")
    parser.add_argument("--wide", action="store_true", help="record the tests that go through every component too")
    parser.add_argument("--list", action="store_true", help="say what would be tried, with the tests of each")
    arguments = parser.parse_args()
    packages = arguments.package or sorted(PACKAGES)
    share = -(-arguments.places // len(packages))
    known = Map()
    known.open(packages, wide=arguments.wide)
    places: list[Place] = []
    for package in packages:
        chosen = draw(package, share, arguments.seed)
        if arguments.at:
            path, _, line = arguments.at.partition(":")
            chosen = [each for each in mutations(package) if str(each.path) == path and line in ("", str(each.line))]
        places += [
            Place(package, mutation, known.choose(package, mutation, arguments.budget), known.runs_on_import(mutation))
            for mutation in chosen
        ]
    if arguments.list:
        for place in places:
            print(place.mutation, *place.tests, sep="\n    ")
        return 0
    go_apart()
    del known
    parts = [part for package in packages for part in _parts(package, places, -(-arguments.processes // len(packages)))]
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        tried = [each for part in pool.map(try_all, parts) for each in part]
    report(tried, packages)
    return 0


def _parts(package: str, places: list[Place], count: int) -> list[list[Place]]:
    """A package's places for several processes."""
    own = [place for place in places if place.package == package]
    return [part for number in range(count) if (part := own[number::count])]


def report(tried: list[tuple[Place, Verdict]], packages: list[str]) -> None:
    """What survived, and the shares."""
    counts = {
        package: Counter(verdict.word for place, verdict in tried if place.package == package) for package in packages
    }
    for place, verdict in tried:
        if verdict.word in ("survived", "no test", "left out"):
            print(f"{place.package}: {verdict.word}  {place.mutation}")
    for package, count in (*counts.items(), ("all", sum(counts.values(), Counter()))):
        if total := count.total() - count["left out"]:
            noticed = count["noticed"] + count["too long"]
            print(
                f"{package:13} {noticed:3} of {total:3} noticed, {noticed / total:4.0%} ({count['too long']} by time)"
            )


if __name__ == "__main__":
    sys.exit(main())
