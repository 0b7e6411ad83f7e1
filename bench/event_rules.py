"""How many events a second are compared with the 300 rules that a bus may have, on one core."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.run import Row
from penstock.events.finding import Rules
from penstock.events.patterns import parse

RULES, EVENTS, ROUNDS = 300, 2_000, 5
_BAR = 20_000


def _pattern(number: int) -> dict[str, Any]:
    """Of six kinds, as people write them."""
    of_pipelines = {
        "source": ["aws.codepipeline"],
        "detail-type": ["CodePipeline Pipeline Execution State Change"],
    }
    match number % 6:
        case 0:
            return of_pipelines | {"detail": {"pipeline": [f"p-{number}"], "state": ["FAILED"]}}
        case 1:
            return of_pipelines | {"detail": {"pipeline": [{"prefix": f"p-{number}"}]}}
        case 2:
            return of_pipelines | {"detail": {"pipeline": [{"anything-but": [f"p-{number}"]}], "state": ["STOPPED"]}}
        case 3:
            return of_pipelines | {"detail": {"version": [{"numeric": [">", number]}]}}
        case 4:
            return {"source": ["aws.s3"], "detail": {"object": {"key": [{"wildcard": f"team-{number}/*/*.zip"}]}}}
        case _:
            return {
                "source": [f"app.{number}"],
                "detail": {"$or": [{"level": ["high"]}, {"retry": [{"exists": True}]}]},
            }


def _event(number: int) -> dict[str, Any]:
    return {
        "version": "0",
        "id": f"3f5b1e0c-6a0f-4d34-9d3b-{number:012d}",
        "detail-type": "CodePipeline Pipeline Execution State Change",
        "source": "aws.codepipeline",
        "account": "111111111111",
        "time": "2026-11-30T20:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:codepipeline:us-east-1:111111111111:p-{number % RULES}"],
        "detail": {
            "pipeline": f"p-{number % RULES}",
            "execution-id": "3f5b1e0c-6a0f-4d34-9d3b-6f3c4bb1a2d7",
            "start-time": "2026-11-30T20:00:00.000Z",
            "state": "FAILED" if number % 2 else "STARTED",
            "version": 6.0,
            "pipeline-execution-attempt": 1.0,
        },
    }


def measure() -> list[Row]:
    """The row of `make bench`: the best round, in processor time."""
    rules = Rules([(number, parse(json.dumps(_pattern(number)))) for number in range(RULES)])
    events = [_event(number) for number in range(EVENTS)]
    best = 0.0
    for _ in range(ROUNDS):
        began = time.thread_time()
        for event in events:
            rules.wanting(event)
        best = max(best, EVENTS / (time.thread_time() - began))
    what = f"events compared with {RULES} rules, a second on one core"
    return [Row(what=what, measured=f"{best:,.0f}", bar=f"≥ {_BAR:,}", met=best >= _BAR)]


if __name__ == "__main__":
    for row in measure():
        print(row.what, row.measured, sep=": ")
