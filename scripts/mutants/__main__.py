"""Break the program at random places, one at a time, and count how often the tests that run the place notice.

The places are drawn by `--seed`, the same number in every package and evenly over the kinds of change. The program is broken in
copies, never in the working tree, and runs in namespaces of its own (`apart.py`). Which tests run which lines is recorded once, in
`.mutants`, and again for test files that have changed. A test that noticed a change and then fails without one is named, and its places
are not counted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from apart import go_apart
from breaking import PACKAGES, Mutation, draw, mutations
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
    parser.add_argument(
        "--own",
        action="store_true",
        help="record only the tests in each package's own folder; the share is a lower bound",
    )
    parser.add_argument("--list", action="store_true", help="say what would be tried, with the tests of each")
    arguments = parser.parse_args()
    packages = arguments.package or sorted(PACKAGES)
    share = -(-arguments.places // len(packages))
    known = Map()
    known.open(packages, only_own=arguments.own)
    places: list[Place] = []
    for package in packages:
        chosen = draw(package, share, arguments.seed)
        if arguments.at:
            path, _, line = arguments.at.partition(":")
            chosen = [each for each in mutations(package) if str(each.path) == path and line in ("", str(each.line))]
        places += [(package, mutation, known.choose(package, mutation, arguments.budget)) for mutation in chosen]
    if arguments.list:
        for _, mutation, tests in places:
            print(mutation, *tests, sep="\n    ")
        return 0
    go_apart()
    del known
    count = max(1, min(arguments.processes, len(places)))
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        halves = pool.map(try_all, [places[number::count] for number in range(count)], [arguments.budget] * count)
        tried = [each for half in halves for each in half]
    report(tried, packages)
    return 0


def report(tried: list[tuple[str, Mutation, Verdict]], packages: list[str]) -> None:
    """What survived, and the shares."""
    counts = {package: Counter(verdict.word for each, _, verdict in tried if each == package) for package in packages}
    for package, mutation, verdict in tried:
        if verdict.word in ("survived", "no test"):
            print(f"{package}: {verdict.word}  {mutation}")
    for package, count in (*counts.items(), ("all", sum(counts.values(), Counter()))):
        if total := count.total():
            noticed = count["noticed"] + count["too long"]
            print(
                f"{package:13} {noticed:3} of {total:3} noticed, {noticed / total:4.0%} ({count['too long']} by time)"
            )


if __name__ == "__main__":
    sys.exit(main())
