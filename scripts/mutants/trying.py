"""One process after another that has all foreign packages imported, breaks the program in a copy, and runs the chosen tests."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from breaking import ROOT, Mutation

# Most of what a test process imports, and none of it ours.
_FOREIGN = (
    "hypothesis.stateful", "pytest", "boto3.session", "botocore.httpsession",
    "botocore.signers", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "psycopg", "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl", "uvloop", "httpx", "alembic", "yaml", "jinja2", "starlette.applications", "orjson", "msgspec",
    "cryptography.x509", "prometheus_client", "re2", "concurrent.futures.thread", "multiprocessing.connection", "sqlite3",
)  # fmt: skip
_MEMORY = 4 << 30

Place = tuple[str, Mutation, list[str]]  # the package, what is changed, the tests


@dataclass(frozen=True)
class Verdict:
    """What the tests made of a change: `noticed` with the first test that failed, `survived`, `too long` or `no test`."""

    word: str
    test: str = ""


class Copy:
    """A copy of everything that Git knows, in a folder of its own, where one place at a time is broken."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "penstock"
        self._clock = int(time.time()) - 1_000_000
        for name in ("breaking", *_FOREIGN):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.path / name)

    def attempt(self, mutation: Mutation, tests: Sequence[str], limit: float) -> Verdict:
        """Break a place, run the tests, mend it."""
        target = self.path / mutation.path
        source = target.read_bytes()
        self._replace(target, source[: mutation.start] + mutation.text.encode() + source[mutation.end :])
        try:
            return self.run(tests, limit)
        finally:
            self._replace(target, source)

    def _replace(self, target: Path, content: bytes) -> None:
        """Bytecode is known by its source's size and full second of change: every content has a second of its own."""
        self._clock += 1
        target.write_bytes(content)
        os.utime(target, (self._clock, self._clock))

    def run(self, tests: Sequence[str], limit: float, *, stop: bool = True) -> Verdict:
        """Run tests in a fork of this process; with `stop` to the first failure, else `test` names all, one a line."""
        if not tests:
            return Verdict("no test")
        report = self.path.parent / "report"
        report.write_text("")
        pid = os.fork()
        if pid == 0:
            self._test(tests, limit, report, stop=stop)
        code = self._wait(pid, limit)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        failed = report.read_text().strip()
        if code is None or code < 0:
            return Verdict("too long", failed)
        if code == 0:
            return Verdict("survived")
        return Verdict("noticed", failed or f"pytest ended with {code}")

    @staticmethod
    def _wait(pid: int, limit: float) -> int | None:
        """The exit code; None when it took longer than `limit` seconds."""
        descriptor = os.pidfd_open(pid)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        ended = poller.poll(limit * 1000)
        os.close(descriptor)
        if not ended:
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) if ended else None

    def _test(self, tests: Sequence[str], limit: float, report: Path, *, stop: bool) -> None:
        """The fork: never returns."""
        code = 70
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 5))
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            out = os.open(self.path.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            for descriptor in (1, 2):
                os.dup2(out, descriptor)
            folders = [str(self.path / folder) for folder in ("src", "agent/src")]
            sys.path[:0] = folders
            os.environ["PYTHONPATH"] = os.pathsep.join(folders)
            os.environ.pop("PENSTOCK_REQUIRE", None)
            os.chdir(self.path)

            class Reporter:
                def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
                    self._note(report)

                def pytest_collectreport(self, report: pytest.CollectReport) -> None:
                    self._note(report)

                def _note(self, each: pytest.TestReport | pytest.CollectReport) -> None:
                    if each.failed:
                        with report.open("a") as file:
                            file.write(f"{each.nodeid}\n")

            chosen = {name: number for number, name in enumerate(tests)}

            class Chosen:
                """Runs the chosen tests in their order, whatever their names hold that a command line would misread."""

                def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
                    files = {item.nodeid: item.nodeid.partition("::")[0] for item in items}
                    items[:] = [item for item in items if item.nodeid in chosen or files[item.nodeid] in chosen]
                    items.sort(key=lambda item: chosen.get(item.nodeid, len(chosen)))

            options = [
                "-q",
                "-m",
                "not prove",
                "-W",
                "ignore::pytest.PytestAssertRewriteWarning",
                "--no-header",
                "--tb=short",
                *(["-x"] if stop else []),
            ]
            code = int(
                pytest.main(
                    [*options, *dict.fromkeys(name.partition("::")[0] for name in tests)],
                    plugins=[Reporter(), Chosen()],
                )
            )
        except BaseException as error:  # noqa: BLE001 -- whatever ends a fork must not go on as a second parent
            print(json.dumps(repr(error)), flush=True)
        finally:
            os._exit(code)


def try_all(places: list[Place], budget: float) -> list[tuple[str, Mutation, Verdict]]:
    """Try each place in a copy of this process's own."""
    tried: list[tuple[str, Mutation, Verdict]] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied = Copy(Path(folder))
        for package, mutation, tests in places:
            began = time.monotonic()
            verdict = copied.attempt(mutation, tests, 4 * budget + 30)
            tried.append((package, mutation, verdict))
            seconds = f"{time.monotonic() - began:.0f} s, {len(tests)} tests"
            print(f"  {package}: {verdict.word}  {mutation}  [{verdict.test or seconds}]", flush=True)
        noticing = sorted({verdict.test for *_, verdict in tried if verdict.word == "noticed" and "::" in verdict.test})
        unsure = copied.run(noticing, 3600, stop=False)
    if unsure.word not in ("no test", "survived"):
        failing = set(unsure.test.splitlines())
        print("fails without a change too:", *sorted(failing), sep="\n  ", flush=True)
        tried = [each for each in tried if each[2].test not in failing]
    return tried
