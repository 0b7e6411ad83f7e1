"""`penstock jobs`: what was given up after too many failures, and how it is made to run again."""

from __future__ import annotations

import argparse
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.installation import said
from penstock.cli.terminal import complain, say


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `jobs`."""
    parser.add_argument("--revive", action="append", default=[], metavar="ID", help="let it run again; may be repeated")
    parser.add_argument("--revive-all", action="store_true", help="let all of them run again")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """List, or revive. 2 when a job could not be revived."""
    return attempt("jobs", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    client = Clients.found(options.data_dir.absolute())("penstock")
    named = options.revive or (options.revive_all and [job["jobId"] for job in _dead(client)])
    return _revive(client, named) if named else _list(client)


def _dead(client: Any) -> list[dict[str, Any]]:
    return [job for page in client.get_paginator("list_dead_jobs").paginate() for job in page.get("jobs", [])]


def _list(client: Any) -> int:
    found = _dead(client)
    for job in found:
        say(
            f"{job['jobId']}  {job['kind']}  given up {job['endTime']:%Y-%m-%d %H:%M:%S} after {job['failures']} failures"
        )
        say(f"  {job.get('error') or 'it said nothing'}")
    say("`penstock jobs --revive ID` lets one run again." if found else "No job was given up.")
    return Exit.DONE


def _revive(client: Any, ids: list[str]) -> int:
    worst = Exit.DONE
    for id_ in ids:
        try:
            client.revive_job(jobId=id_)
            say(f"{id_} runs again")
        except client.exceptions.JobNotFoundException as error:
            complain(f"penstock jobs: {said(error)}")
            worst = Exit.FAILED
    return worst
