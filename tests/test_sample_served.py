"""The sample component in the product: one line of `COMPONENTS` is all that it takes outside of its own folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from penstock_browser import Sight, browser  # noqa: F401 - the fixture
from penstock_console import Visitor, allow, user
from penstock_sample import client

import penstock

LINE = '    "sample_counters",\n'
LAST = '    "penstock.console",\n'


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The program with the one line more."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(Path(penstock.__file__).parent, folder / "penstock")
    app = folder / "penstock" / "app.py"
    before = app.read_text()
    assert before.count(LAST) == 1
    app.write_text(before.replace(LAST, LAST + LINE))
    return folder


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request):
    """Options that name an empty database; none for SQLite's, which is made in the data dir."""
    if request.param == "sqlite":
        yield []
        return
    server = request.getfixturevalue("postgresql")
    name = server.create()
    yield ["--database", server.url(name)]
    server.drop(name)


@pytest.fixture(scope="module")
def served(source, database, tmp_path_factory):
    """`penstock up` of that program on an empty database."""
    folder = tmp_path_factory.mktemp("served")
    options = [
        "--port",
        "0",
        "--data-dir",
        f"{folder}/data",
        "--master-key-file",
        f"{folder}/key",
        "--largest-amount",
        "6",
    ]
    options += ["--allow-unisolated-builds", *database]
    path = os.pathsep.join([str(source), str(Path(__file__).parent / "support")])
    command = [sys.executable, "-m", "penstock.cli.main", "up", *options]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=log) as running,
    ):
        try:
            line = running.stdout.readline().decode()
            assert line.startswith("penstock ready "), (folder / "log").read_text()
            url = line.split()[2]
            keys = folder / "data" / "credentials"
            yield SimpleNamespace(url=url, client=lambda service: client(url, keys, service))
        finally:
            running.terminate()
            running.wait(60)


def test_it_counts_and_keeps_to_its_option(served):
    counters = served.client("counters-cbor")
    assert counters.add(name="visits", amount=2)["value"] == 2
    assert served.client("counters-query").add(name="visits", amount=3)["value"] == 5
    with pytest.raises(ClientError, match="The amount is larger than 6.*--largest-amount"):
        counters.add(name="visits", amount=7)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_its_page_is_opened_in_a_browser_and_is_live(served, browser):  # noqa: F811
    user(served, "jonas.lind", allow("*"))
    user(served, "stranger", allow("codepipeline:*"))
    counters = served.client("counters-json10")
    counters.add(name="clicks", amount=4)
    sight = Sight(browser, served.url)
    page = sight.sign_in().page
    page.get_by_role("link", name="Counters").click()
    page.get_by_role("heading", name="Counters").wait_for()
    row = page.get_by_role("row", name="clicks")
    row.get_by_role("cell", name="4", exact=True).wait_for()
    counters.add(name="clicks", amount=5)  # by somebody else
    row.get_by_role("cell", name="9", exact=True).wait_for()
    assert sight.wrong == []
    sight.context.close()
    stranger = Visitor(served, "stranger")
    assert "Counters" not in stranger.get("pipelines").visible_text
    assert stranger.get("counters").status == 403
