"""Runs the tests in several processes at once: `pytest --workers 4`.

The tests are collected once, and each worker is a fork that has them, so neither the program nor a test module is imported twice. A worker
asks for a module of tests when it comes to the last test of the one before, runs it as pytest does, and reports each test in one message:
what passed in a few bytes, anything else as pytest has it. A worker that dies fails the test that it ran, and another one takes the rest.

pytest-xdist imports everything in every worker and sends six messages for a test, which took an eleventh of the suite's processor time.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import itertools
import mmap
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

import pytest
from _pytest.tmpdir import TempPathFactory

_Module = list[int]  # the places of its tests in the list of all


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the option."""
    parser.addoption(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="run the tests in N processes, each test module in one of them",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run what was collected in as many workers as the option says."""
    count, option = session.config.option.workers, session.config.option
    if (
        not count
        or option.collectonly
        or option.usepdb
        or (session.testsfailed and not option.continue_on_collection_errors)
    ):
        return None
    _Controller(session, count).run()
    return True


@dataclass
class _Worker:
    """A process that runs tests, as the one that handed them out sees it."""

    name: str
    pid: int
    channel: Connection
    left: _Module  # what it has been given and not reported
    finished: bool = False


class _Controller:
    """Hands modules out to workers, and reports what comes back as if the tests had run here."""

    def __init__(self, session: pytest.Session, count: int) -> None:
        self._session, self._hook = session, session.config.hook
        modules = itertools.groupby(range(len(session.items)), lambda at: session.items[at].nodeid.partition("::")[0])
        self._modules = collections.deque(list(group) for _, group in modules)
        self._count = min(count, len(self._modules))
        self._names = (f"worker-{number}" for number in itertools.count())
        self._workers: dict[Connection, _Worker] = {}
        self._stop = mmap.mmap(-1, 1)  # shared by all: whether to run no further test

    def run(self) -> None:
        """Have every test run, or as many as there are until the run is to stop."""
        assert threading.active_count() == 1, f"collecting started threads: {threading.enumerate()}"
        session = self._session
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # each worker has a folder in it
        try:
            for _ in range(self._count):
                self._fork()
            while self._workers:
                for channel in wait(list(self._workers)):
                    assert isinstance(channel, Connection)
                    self._listen(self._workers[channel])
                    if session.shouldfail or session.shouldstop:
                        self._stop[0] = 1
        finally:
            for worker in self._workers.values():  # after Ctrl-C
                os.kill(worker.pid, signal.SIGTERM)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _fork(self) -> None:
        ours, theirs = Pipe()
        name = next(self._names)
        pid = os.fork()
        if pid == 0:
            ours.close()
            for worker in self._workers.values():
                worker.channel.close()
            _become_worker(self._session, name, theirs, self._stop)
        theirs.close()
        self._workers[ours] = _Worker(name, pid, ours, [])

    def _listen(self, worker: _Worker) -> None:
        """Take one message; or none, when the worker has ended."""
        try:
            kind, *values = worker.channel.recv()
        except (EOFError, ConnectionResetError):
            self._ended(worker)
            return
        match kind:
            case "next":
                module = self._modules.popleft() if self._modules and not self._stop[0] else None
                worker.left.extend(module or ())
                worker.channel.send(module)
            case "ran":
                self._ran(worker, *values)
            case "warning":
                self._hook.pytest_warning_recorded.call_historic(kwargs=values[0])
            case "finished":
                worker.finished = True

    def _ran(self, worker: _Worker, at: int, seconds: float, reports: list[dict[str, Any]] | None) -> None:
        item, config = self._session.items[at], self._session.config
        worker.left.remove(at)
        if reports is None:
            self._hook.pytest_runtest_logreport(
                report=pytest.TestReport(item.nodeid, item.location, {}, "passed", None, "call", duration=seconds)
            )
        for data in reports or ():
            self._hook.pytest_runtest_logreport(
                report=self._hook.pytest_report_from_serializable(config=config, data=data)
            )
        self._hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _ended(self, worker: _Worker) -> None:
        del self._workers[worker.channel]
        worker.channel.close()
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if worker.finished and not code:
            return
        said = f"{worker.name} ended with {code}"
        if not worker.left:  # after its last test; its standard error says why
            self._session.shouldfail = said
            return
        at, *rest = worker.left
        item = self._session.items[at]
        self._hook.pytest_runtest_logreport(
            report=pytest.TestReport(item.nodeid, item.location, {}, "failed", f"{said} in this test", "call")
        )
        if rest:
            self._modules.appendleft(rest)
            self._fork()


# --- the worker -------------------------------------------------------------------------------------------------------


class _Reporting:
    """Sends what pytest reports of a test."""

    def __init__(self, session: pytest.Session, channel: Connection) -> None:
        self._config, self._channel = session.config, channel
        self._reports: list[pytest.TestReport] = []
        self._replayed = True  # what was recorded before this fork is repeated when this is registered
        session.config.pluginmanager.register(self)
        self._replayed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it until the test is over."""
        self._reports.append(report)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """Send its text: what it was made from may not be of a kind that can be sent."""
        if self._replayed:
            return
        said = f"{warning_message.category.__name__}: {warning_message.message}"
        place = (warning_message.filename, warning_message.lineno)
        made = warnings.WarningMessage(UserWarning(said), UserWarning, *place)
        where = {"when": when, "nodeid": nodeid, "location": location}
        self._channel.send(("warning", {"warning_message": made, **where}))

    def send(self, at: int) -> None:
        """Send what there is of a test."""
        reports, self._reports = self._reports, []
        plain = len(reports) == 3 and all(each.passed and not hasattr(each, "wasxfail") for each in reports)
        written = None if plain else [self._written(each) for each in reports]
        self._channel.send(("ran", at, sum(each.duration for each in reports), written))

    def _written(self, report: pytest.TestReport) -> Any:
        return self._config.hook.pytest_report_to_serializable(config=self._config, report=report)


def _become_worker(session: pytest.Session, name: str, channel: Connection, stop: mmap.mmap) -> NoReturn:
    """Run what is handed out, end as a run of pytest does, and then the process."""
    code = 1
    try:
        _be_alone(session, name)
        reporting = _Reporting(session, channel)
        for at, after in _pairs(_handed_out(channel)):
            item, following = session.items[at], None if after is None else session.items[after]
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            reporting.send(at)
            if stop[0] or session.shouldfail or session.shouldstop:
                break
        session.config.pluginmanager.unregister(reporting)
        session.config.hook.pytest_sessionfinish(session=session, exitstatus=pytest.ExitCode.OK)
        session.config._ensure_unconfigure()
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
        atexit._run_exitfuncs()
        channel.send(("finished",))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not run on as a copy of the first
        with contextlib.suppress(Exception):
            session.config.pluginmanager.getplugin("capturemanager").suspend_global_capture()
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _be_alone(session: pytest.Session, name: str) -> None:
    """Share nothing with the other workers that one of them writes."""
    random.seed()
    config = session.config
    reporter = config.pluginmanager.getplugin("terminalreporter")
    config.pluginmanager.unregister(reporter)
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()  # what it writes into is one file, with one place for all
    capture.start_global_capturing()
    given = config._tmp_path_factory.getbasetemp() / name  # type: ignore[attr-defined]
    given.mkdir(mode=0o700)
    factory = TempPathFactory.from_config(config, _ispytest=True)
    factory._basetemp = given
    config._tmp_path_factory = factory  # type: ignore[attr-defined]


def _handed_out(channel: Connection) -> Iterator[int]:
    """The places of the tests to run. The next module is asked for when the last test of one is asked for after another."""
    while True:
        channel.send(("next",))
        module: _Module | None = channel.recv()
        if module is None:
            return
        yield from module


def _pairs(places: Iterator[int]) -> Iterator[tuple[int, int | None]]:
    """Each with the one after it, None after the last."""
    for at, after in itertools.pairwise(itertools.chain(places, [None])):
        assert at is not None
        yield at, after
