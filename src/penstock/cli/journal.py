"""`penstock journal`: what a build, a deployment, a pipeline or one of its executions was given to decide on, and what it decided."""

from __future__ import annotations

import argparse
import json
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.terminal import complain, harmless, paint, say

_LONG = 60  # characters of a value that are shown


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `journal`."""
    parser.add_argument(
        "id",
        metavar="ID",
        help="id of a build (project:…), a deployment (d-…) or an execution, application/group of a deployment group, or name "
        "of a pipeline",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document for each entry")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Print the entries in order."""
    return attempt("journal", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    client = Clients.found(options.data_dir.absolute())("penstock")
    noted = False
    for page in client.get_paginator("get_journal").paginate(id=options.id):
        if (deleted := page.get("deleted")) and not noted:
            noted = True
            complain(
                f"{options.id} was deleted at {deleted:%Y-%m-%d %H:%M:%S}; this is the journal of the newest that had this name"
            )
        for entry in page["entries"]:
            say(_as_json(entry) if options.json else _as_text(entry))


def _as_json(entry: dict[str, Any]) -> str:
    documents = {"input": json.loads(entry["input"]), "effects": [json.loads(text) for text in entry["effects"]]}
    return json.dumps({**entry, **documents, "time": entry["time"].isoformat()})


def _as_text(entry: dict[str, Any]) -> str:
    who = f"  by {harmless(entry['actor'])}" if entry.get("actor") else ""
    head = f"{entry['sequence']:>5}  {entry['time']:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    lines = [f"{head}  {_describe(json.loads(entry['input']), bold=True)}{paint(who, 'dim')}"]
    lines += [f"         → {_describe(json.loads(text))}" for text in entry["effects"]]
    return "\n".join(lines)


def _describe(document: dict[str, Any], *, bold: bool = False) -> str:
    """`PhaseEnded phase=BUILD status=FAILED` of a document."""
    members = {name: value for name, value in document.items() if name not in ("v", "type")}
    name = document.get("type", "")
    return " ".join(
        filter(None, [paint(name, "bold") if bold else name, *(f"{k}={_short(v)}" for k, v in members.items())])
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = harmless(" ".join(text.split()))
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
