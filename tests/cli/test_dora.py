"""`penstock dora`: its table, its JSON, and what it answers to mistakes; the AWS CLI has the same operation."""

from __future__ import annotations

import argparse
import json

import pytest
from penstock_live import live  # noqa: F401 - the fixture

from penstock.cli import dora
from penstock.cli.exits import Exit


@pytest.mark.parametrize(("text", "days"), [("1d", 1), ("30d", 30), ("4w", 28), ("366d", 366), ("52w", 364)])
def test_a_time_is_days_or_weeks(text, days):
    assert dora.days(text) == days


@pytest.mark.parametrize("text", ["", "30", "0d", "-1d", "367d", "53w", "30 d", "30D", "١d", "1.5d", "9999w"])  # noqa: RUF001
def test_other_times_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a time such as 30d or 4w, of 366 days at most"):
        dora.days(text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"), (0.2, "0 s"), (59.4, "59 s"), (60, "1 min"), (61.9, "1 min 1 s"), (3_600, "1 h"), (5_430, "1 h 30 min"),
        (86_400, "1 d"), (93_600, "1 d 2 h"),
    ],
)  # fmt: skip
def test_times_are_told_in_two_units(seconds, said):
    assert dora._time(seconds) == said


def test_a_row_says_what_is_known():
    nothing = {"succeededDeployments": 0, "failedDeployments": 1, "deploymentsPerDay": 0.0, "unrecoveredFailures": 1}
    assert dora._row("a\x1bb", "Live", nothing) == ("a\\x1bb", "Live", "0", "0", "-", "-", "open", "-")
    more = nothing | {
        "succeededDeployments": 45,
        "deploymentsPerDay": 1.5,
        "leadTimeSeconds": 5_400.0,
        "changeFailureRate": 0.125,
        "recoveryTimeSeconds": 90.0,
        "unrecoveredFailures": 2,
        "reworkRate": 0.5,
    }
    assert dora._row("a", "B", more) == ("a", "B", "45", "1.5", "1 h 30 min", "12 %", "1 min 30 s, 2 open", "50 %")
    assert dora._row("a", "B", more | {"deploymentsPerDay": 1 / 30})[3] == "0.033"


def test_the_table_is_aligned(capsys):
    figures = {"succeededDeployments": 45, "failedDeployments": 0, "deploymentsPerDay": 1.5, "unrecoveredFailures": 0}
    dora._table([dora._HEADS, dora._row("shop", "Production", figures), dora._row("all", "", figures)])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("PIPELINE  STAGE       DEPLOYMENTS")
    assert [row.index("45") for row in rows] == [head.index("DEPLOYMENTS") + len("DEPLOYMENTS") - 2] * 2


def test_a_server_without_deployments(live, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(dora.Clients, "found", lambda _data_dir: live.client)

    def said(*arguments: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        dora.add_arguments(parser, "dora")
        code = dora.run(parser.parse_args(arguments))
        return code, *capsys.readouterr()

    code, out, err = said()
    assert (code, err) == (Exit.DONE, "")
    assert out.splitlines()[1] == "There were none. docs/how-to/dora.md says which stage of a pipeline counts."
    answer = json.loads(said("--since", "7d", "--json")[1])
    assert (len(answer["days"]), answer["pipelines"], answer["total"]["deploymentsPerDay"]) == (7, [], 0.0)
    code, _, err = said("gone")
    assert (code, "does not have a pipeline with name 'gone'" in err) == (Exit.USAGE, True), err
    client = live.client("penstock")
    with pytest.raises(client.exceptions.ClientError, match="days"):
        client._make_api_call("GetDeliveryFigures", {"days": 367})
    assert len(client.get_delivery_figures()["days"]) == 30
