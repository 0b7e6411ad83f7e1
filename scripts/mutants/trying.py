"""Breaks the program in a copy, place by place, each in a fork of a process that has imported what the fork needs.

That is the foreign packages alone for what runs on import, and else the program and its tests as well. The file is broken in either case:
programs that a test starts are broken too.
"""

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, MappingProxyType

import pytest
from breaking import ROOT, Mutation
from exchanging import broken_functions, exchange

# Most of what a test process imports, and none of it ours.
_FOREIGN = (
    "hypothesis.stateful", "pytest", "boto3.session", "botocore.httpsession",
    "botocore.signers", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "psycopg", "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl", "uvloop", "httpx", "alembic", "yaml", "jinja2", "starlette.applications", "orjson", "msgspec",
    "cryptography.x509", "prometheus_client", "re2", "concurrent.futures.thread", "multiprocessing.connection", "sqlite3",
)  # fmt: skip
_MEMORY = 4 << 30
_OPTIONS = ("-m", "not prove", "-W", "ignore::pytest.PytestAssertRewriteWarning")
_LEFT_OUT = 70


@dataclass(frozen=True)
class Place:
    """A change in a package, the tests that shall notice it with the seconds of each, and whether it runs on import."""

    package: str
    mutation: Mutation
    tests: Mapping[str, float]
    on_import: bool

    @property
    def limit(self) -> float:
        """Seconds after which the tests hang; a busy machine takes several times as long as was recorded."""
        return 20 + 5 * sum(self.tests.values())


@dataclass(frozen=True)
class Verdict:
    """What the tests made of a change: `noticed` with the first test that failed, `survived`, `too long` or `no test`.

    `left out` is what could not be tried: no function has the code, or the chosen tests are not there with it.
    """

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
        folders = [str(self.path / folder) for folder in ("src", "agent/src")]
        sys.path[:0] = folders
        os.environ["PYTHONPATH"] = os.pathsep.join(folders)
        os.environ.pop("PENSTOCK_REQUIRE", None)
        os.chdir(self.path)

    def import_all(self, files: Sequence[str]) -> None:
        """Import the program and these files of tests into this process, for all forks from now on."""
        code = pytest.main([*_OPTIONS, "-p", "no:terminal", "--collect-only", *files])
        if code != 0:
            raise SystemExit(f"The tests could not be imported (pytest: {code}): {' '.join(files)}")

    def exchanged(self, place: Place) -> dict[CodeType, CodeType] | None:
        """What a fork puts into the functions that have been imported; None when the place runs on import."""
        target = self.path / place.mutation.path
        source = target.read_bytes()
        return None if place.on_import else broken_functions(target, source, place.mutation.broken(source))

    def attempt(self, place: Place, codes: Mapping[CodeType, CodeType]) -> Verdict:
        """Break a place, run its tests, mend it."""
        target = self.path / place.mutation.path
        source = target.read_bytes()
        self._replace(target, place.mutation.broken(source))
        try:
            return self.run([*place.tests], place.limit, target, codes)
        finally:
            self._replace(target, source)

    def _replace(self, target: Path, content: bytes) -> None:
        """Bytecode is known by its source's size and full second of change: every content has a second of its own."""
        self._clock += 1
        target.write_bytes(content)
        os.utime(target, (self._clock, self._clock))

    def run(
        self,
        tests: Sequence[str],
        limit: float,
        target: Path | None = None,
        codes: Mapping[CodeType, CodeType] = MappingProxyType({}),
        *,
        stop: bool = True,
    ) -> Verdict:
        """Run tests in a fork of this process; with `stop` to the first failure, else `test` names all, one a line.

        With `codes`, functions of `target` get other codes beforehand.
        """
        if not tests:
            return Verdict("no test")
        report = self.path.parent / "report"
        report.write_text("")
        pid = os.fork()
        if pid == 0:
            self._test(tests, limit, report, target, codes, stop=stop)
        code = self._wait(pid, limit)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        failed = report.read_text().strip()
        if code is None or code < 0:
            return Verdict("too long", failed)
        if code == 0:
            return Verdict("survived")
        if code in (_LEFT_OUT, pytest.ExitCode.NO_TESTS_COLLECTED):
            return Verdict("left out")
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

    def _test(
        self,
        tests: Sequence[str],
        limit: float,
        report: Path,
        target: Path | None,
        codes: Mapping[CodeType, CodeType],
        *,
        stop: bool,
    ) -> None:
        """The fork: never returns."""
        code = _LEFT_OUT
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 5))
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            out = os.open(self.path.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            for descriptor in (1, 2):
                os.dup2(out, descriptor)
            if target is not None:
                exchange(target, codes)

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

            options = ["-q", *_OPTIONS, "--no-header", "--tb=short", *(["-x"] if stop else [])]
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


def try_all(places: Sequence[Place]) -> list[tuple[Place, Verdict]]:
    """Try each place in a copy of this process's own: those that run on import first, while nothing is imported yet."""
    tried: list[tuple[Place, Verdict]] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied = Copy(Path(folder))
        exchanged = [(place, copied.exchanged(place)) for place in places]
        imported = False
        for place, codes in sorted(exchanged, key=lambda each: each[1] is not None):
            if codes is not None and not imported:
                files = [
                    name.partition("::")[0] for each, codes in exchanged if codes is not None for name in each.tests
                ]
                copied.import_all([*dict.fromkeys(files)])
                imported = True
            began = time.monotonic()
            verdict = copied.attempt(place, codes or {})
            tried.append((place, verdict))
            said = f"{time.monotonic() - began:.1f} s, {verdict.test or f'{len(place.tests)} tests'}"
            print(f"  {place.package}: {verdict.word}  {place.mutation}  [{said}]", flush=True)
        noticing = sorted({verdict.test for _, verdict in tried if verdict.word == "noticed" and "::" in verdict.test})
        unsure = copied.run(noticing, 3600, stop=False)
    if unsure.word not in ("no test", "survived"):
        failing = set(unsure.test.splitlines())
        print("fails without a change too:", *sorted(failing), sep="\n  ", flush=True)
        tried = [each for each in tried if each[1].test not in failing]
    return tried
