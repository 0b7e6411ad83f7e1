"""Labels of versions: names that are moved from one to another."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.parameters import records
from penstock.parameters.engine import MAX_LABELS
from penstock.parameters.errors import (
    ParameterNotFound,
    ParameterVersionLabelLimitExceeded,
    ParameterVersionNotFound,
)
from penstock.parameters.names import Named, is_label
from penstock.parameters.operations import of_name, own, place, ssm
from penstock.wire.call import Input, Output


@ssm("LabelParameterVersion", resource=of_name)
async def label_parameter_version(app: App, call: Call, input: Input) -> Output:
    """Give a version labels; those that another one has move to it."""
    asked, given = own(call, input["Name"]), list(dict.fromkeys(input["Labels"]))
    valid = [label for label in given if is_label(label)]

    def tx(conn: sa.Connection) -> int:
        row, labels = _locked(conn, call, asked)
        number = _number(row, labels, input.get("ParameterVersion", row.version))
        added = [*labels[number], *(label for label in valid if label not in labels[number])]
        if len(added) > MAX_LABELS:
            raise ParameterVersionLabelLimitExceeded(limit=MAX_LABELS)
        for other, had in labels.items():
            if other != number and not set(valid).isdisjoint(had):
                kept = [label for label in had if label not in valid]
                records.set_labels(conn, place(call), row.path, other, kept)
        records.set_labels(conn, place(call), row.path, number, added)
        return number

    number = await app.store.write(tx)
    return {"InvalidLabels": [label for label in given if label not in valid], "ParameterVersion": number}


@ssm("UnlabelParameterVersion", resource=of_name)
async def unlabel_parameter_version(app: App, call: Call, input: Input) -> Output:
    """Take labels from a version; those that it does not have are answered."""
    asked, given = own(call, input["Name"]), list(dict.fromkeys(input["Labels"]))

    def tx(conn: sa.Connection) -> list[str]:
        row, labels = _locked(conn, call, asked)
        had = labels[_number(row, labels, input["ParameterVersion"])]
        kept = [label for label in had if label not in given]
        records.set_labels(conn, place(call), row.path, input["ParameterVersion"], kept)
        return [label for label in given if label in had]

    removed = await app.store.write(tx)
    return {"RemovedLabels": removed, "InvalidLabels": [label for label in given if label not in removed]}


def _locked(conn: sa.Connection, call: Call, asked: Named) -> tuple[Any, dict[int, list[str]]]:
    row = records.locked(conn, place(call), asked.path)
    if row is None or not asked.stands_for(row.name):
        raise ParameterNotFound
    return row, records.labels(conn, place(call), asked.path)


def _number(row: Any, labels: dict[int, list[str]], number: int) -> int:
    if number not in labels:
        raise ParameterVersionNotFound(version=number, name=row.name)
    return number
