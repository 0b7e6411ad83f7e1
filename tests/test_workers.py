"""Tests that run in several processes are reported as those that run in one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import penstock_workers

_CONFTEST = """
@pytest.fixture(scope="session", autouse=True)
def whole():
    yield
    with open("ended", "a") as ended:
        ended.write(f"{os.getpid()}\\n")

@pytest.fixture(scope="module", autouse=True)
def module(request):
    with open("ran", "a") as ran:
        ran.write(f"{request.node.name} {os.getpid()}\\n")
    yield
"""
_MODULES = {
    "test_mixed": """
        def test_passes(tmp_path): (tmp_path / "x").touch(); assert tmp_path.parts[-2].startswith("worker-")
        def test_fails(): print("what it wrote"); assert [1] == [2]
        @pytest.mark.skip(reason="no reason")
        def test_skipped(): pass
        @pytest.mark.xfail(strict=True)
        def test_expected(): assert False
        @pytest.fixture
        def broken(): yield; raise RuntimeError("torn")
        def test_torn(broken): pass
        def test_warns(): warnings.warn("be warned")
    """,
    "test_dies": """
        def test_before(): pass
        def test_dies(): os._exit(3)
        def test_after(): pass
    """,
    "test_written_a": """
        def test_a(capfd): os.write(1, b"a" * 9999); assert set(capfd.readouterr().out) == {"a"}
    """,
    "test_written_b": """
        def test_b(capfd): os.write(1, b"b" * 9999); assert set(capfd.readouterr().out) == {"b"}
    """,
}


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in {"conftest": _CONFTEST, **_MODULES}.items():
        (folder / f"{name}.py").write_text(f"import os, warnings, pytest\n{textwrap.dedent(text)}")
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-p", "penstock_workers", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(Path(penstock_workers.__file__).parent), "COLUMNS": "80"}
    return subprocess.run(
        [*command, "-p", "no:asyncio", "-p", "no:hypothesispytest", f"--basetemp={folder}/base", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_every_outcome_is_reported_and_a_worker_that_dies_is_replaced(tmp_path):
    done = _run(tmp_path, "--workers", "2", "-rfEs")
    assert done.returncode == 1, done.stderr
    said = done.stdout
    assert re.search(r"^=+ 2 failed, 7 passed, 1 skipped, 1 xfailed, 1 warning, 1 error in ", said, re.MULTILINE), said
    for line in (
        "E   assert [1] == [2]",
        "what it wrote",
        "E   RuntimeError: torn",
        "ERROR test_mixed.py::test_torn - RuntimeError: torn",
        "SKIPPED [1] test_mixed.py:5: no reason",
    ):
        assert line in said.splitlines(), (line, said)
    assert re.search(r"^FAILED test_dies.py::test_dies - worker-[01] ended with 3 in this test$", said, re.MULTILINE)
    assert re.search(r"test_mixed.py:12: UserWarning: .*be warned$", said, re.MULTILINE)
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    processes = {name: {pid for each, pid in ran if each == name} for name, _ in ran}
    assert {name: len(pids) for name, pids in processes.items()} == {
        "test_dies.py": 2,  # the rest of it in the process that came instead
        "test_mixed.py": 1,
        "test_written_a.py": 1,
        "test_written_b.py": 1,
    }
    # Each process that came to its end took its fixtures down once.
    ended = (tmp_path / "ended").read_text().split()
    assert len(ended) == len(set(ended)) == len({pid for _, pid in ran}) - 1


def test_the_first_failure_can_end_a_run(tmp_path):
    done = _run(tmp_path, "--workers", "1", "-x", "--deselect", "test_dies.py")
    assert done.returncode == 1, done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "stopping after 1 failures" in done.stdout
