"""A sandbox in the hands of its supervisor, and the processes that start both, with an isolation that only takes notes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.sandbox import forkserver, launcher, probe, registry, sandbox, starter
from penstock.sandbox.disk import Disk
from penstock.sandbox.launcher import Launcher
from penstock.sandbox.runtime import Offer, Runtime, RuntimeRefused
from penstock.sandbox.sandbox import AnswerTooLong, Broken, LimitExceeded, Sandbox, TimeOver
from penstock.sandbox.specification import Folder, Layout, Limits, Listener, Network, Specification
from penstock.sandbox.starter import NotStarted, Starter

SPECIFICATION = Specification(
    runtime="r",
    program="/bin/r",
    subject="build",
    directory="/d",
    user=5,
    folders=(Folder(path="/a", inside="/b"), Folder(path="/c", inside="/e", writable=True)),
    layout=Layout(hidden=("/h",), exposed=("/x", "/y")),
    limits=Limits(memory=1, cpus=1.5, processes=2, disk=3, seconds=4.5),
    network=Network(
        mode="egress",
        target_host="h",
        target_port=5,
        listeners=(Listener(name="endpoint", address="127.0.0.1", port=6), Listener(name="egress", address="::1")),
        private=("10.0.0.0/8",),
        hosts=("n",),
        token="s3cret",
    ),
)


def descriptors_open() -> set[int]:
    """Of this process."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}


def test_a_specification_comes_through_as_it_is():
    given = json.loads(json.dumps(SPECIFICATION.to_json()))
    assert Specification.from_json(given) == SPECIFICATION
    assert SPECIFICATION.writable == ["/c"]
    assert "s3cret" not in repr(SPECIFICATION)


# --- the process that starts programs ---------------------------------------------------------------------------------


class Isolation:
    """Takes notes; `fails` is raised by one step."""

    def __init__(self, fails: str = "") -> None:
        self.steps: list[Any] = []
        self.fails = fails
        self.stands = True

    def approach(self, namespaces: list[int]) -> None:
        if self.fails == "approach":
            raise OSError(1, "Operation not permitted")
        self.steps.append(("approach", len(namespaces)))

    def confine(self) -> None:
        """In the child."""

    def standing(self) -> bool:
        return self.stands

    def kill(self) -> None:
        self.steps.append("kill")

    def let_go(self) -> None:
        self.steps.append("let go")


def answers(monkeypatch: pytest.MonkeyPatch, isolation: Any, orders: list[Any], *, groups: Any = lambda: None) -> Any:
    """What the starter answers to orders, each with its descriptors, and which of those it still holds."""
    hidden: list[str] = []
    monkeypatch.setattr(starter, "kernel", SimpleNamespace(hide_memory=lambda: hidden.append("memory")))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for order, descriptors in orders:
            socket.send_fds(ours, [json.dumps(order).encode()], descriptors)
        ours.shutdown(socket.SHUT_WR)
        before = descriptors_open()
        starter._serve(theirs, isolation, groups)
        held = descriptors_open() - before
        for descriptor in held:
            os.close(descriptor)
        return [json.loads(ours.recv(65536)) for _ in orders], len(held), hidden


ENTER = ({"argv": [], "numbers": []}, [0, 0])


def order(script: str, *descriptors: int, numbers: tuple[int, ...] = ()) -> Any:
    return {"argv": ["sh", "-c", script], "numbers": list(numbers)}, list(descriptors)


def test_programs_are_started_inside_and_their_ends_told(monkeypatch):
    isolation = Isolation()
    with open(os.devnull, "wb") as null:
        output, more = null.fileno(), os.memfd_create("more")
        told, held, hidden = answers(
            monkeypatch,
            isolation,
            [
                ENTER,
                order("exit 3", output),
                order("echo $PATH >&5; pwd >&6", output, more, more, numbers=(5, 6)),
                order("kill -9 $$", output),
            ],
        )
    assert told == [{"code": 0}, {"code": 3}, {"code": 0}, {"code": -9}]
    assert (isolation.steps, hidden, held) == ([("approach", 2)], ["memory"], 2)  # the namespaces only
    assert os.pread(more, 200, 0).decode() == f"{starter.PATH}\n/\n"
    os.close(more)


def test_no_program_starts_where_the_limits_or_the_sandbox_cannot_be_entered(monkeypatch):
    def groups() -> None:
        raise OSError(16, "Device or resource busy")

    isolation = Isolation()
    told, _, hidden = answers(monkeypatch, isolation, [ENTER, order("exit 3", 2)], groups=groups)
    assert told == [{"error": "it cannot be put under its limits: Device or resource busy"}] * 2
    assert (isolation.steps, hidden) == ([], [])
    told, _, _ = answers(monkeypatch, Isolation("approach"), [ENTER, order("exit 3", 2)])
    assert told == [{"error": "its sandbox cannot be entered: Operation not permitted"}] * 2


def starting(answer: bytes | None) -> Any:
    """A starter whose process answers this, or has gone."""
    made = object.__new__(Starter)
    made._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if answer is None:
        theirs.close()
    else:
        theirs.send(answer)
    return made, theirs


@pytest.mark.parametrize(
    ("answer", "came"),
    [
        (b'{"code": -9}', -9),
        (b'{"error": "no"}', "no"),
        (None, "the process that starts its programs was killed, or memory ran out"),
    ],
)
def test_how_a_program_ended(answer, came):
    made, theirs = starting(answer)
    made.start(["true"], output=1, descriptors={})  # to one that has gone as well: what waits is told
    with made._ours, theirs:
        if isinstance(came, int):
            assert made.ended() == came
            return
        with pytest.raises(NotStarted, match=f"^{came}$"):
            made.ended()


def test_orders_are_sent_with_their_descriptors():
    made, theirs = starting(b'{"code": 0}')
    with made._ours, theirs:
        made.open([0, 1])
        made.start(["a", "b"], output=2, descriptors={5: 0, 7: 1})
        assert made.fileno() == made._ours.fileno()
        for said, number in (({"argv": [], "numbers": []}, 2), ({"argv": ["a", "b"], "numbers": [5, 7]}, 3)):
            data, descriptors, _, _ = socket.recv_fds(theirs, 65536, 16)
            assert (json.loads(data), len(descriptors)) == (said, number)
            for descriptor in descriptors:
                os.close(descriptor)


# --- the sandbox ------------------------------------------------------------------------------------------------------


class Programs:
    """A starter whose programs answer, print and end at once, as it is told."""

    def __init__(self, code: int | str = 0, printed: bytes = b"", answered: bytes = b"") -> None:
        self.code, self.printed, self.answered = code, printed, answered
        self.asked: list[Any] = []
        self._reading, self._writing = os.pipe()

    def start(self, argv: list[str], *, output: int, descriptors: dict[int, int]) -> None:
        self.asked.append((argv, list(descriptors)))
        os.write(output, self.printed)
        for descriptor in descriptors.values():
            os.write(descriptor, self.answered)
        os.write(self._writing, b"!")

    def fileno(self) -> int:
        return self._reading

    def ended(self) -> int:
        if isinstance(self.code, str):
            raise NotStarted(self.code)
        return self.code


@pytest.fixture
def boxed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`boxed(programs)`: a sandbox that is open."""
    monkeypatch.setattr(sandbox, "reap", lambda: True)

    def make(programs: Any = None) -> Any:
        box = object.__new__(Sandbox)
        box.specification = SPECIFICATION
        box.printed = []
        box.signals = []
        box._on_signal = lambda: box.signals.append("signal")
        box._on_output = box.printed.append
        box._groups = SimpleNamespace(exceeded=lambda: box.excess)
        box.excess = ""
        box._isolation = Isolation()
        box._deadline = time.monotonic() + 60
        box._wake_r, box._wake_w = os.pipe2(os.O_NONBLOCK)
        box._output, box._output_w = os.pipe()
        os.set_blocking(box._output, False)
        box._starter = programs or Programs()
        box.verdicts = []
        box._disk = SimpleNamespace(
            descriptors=[], pause=lambda: 0.02, folders=[], verdict=lambda _pid: box.verdicts.pop(0) if box.verdicts else ""
        )  # fmt: skip
        return box

    return make


@pytest.mark.parametrize(("code", "shown"), [(0, 0), (7, 7), (-9, 137), (-15, 143)])
def test_an_exit_code_is_what_a_shell_makes_of_it(boxed, code, shown):
    box = boxed(Programs(code, b"printed", b"answered"))
    assert box.run(["a", "b"]) == (shown, b"")
    assert b"".join(box.printed) == b"printed"
    assert box.run(["c"], answer_limit=8) == (shown, b"answered")
    assert box._starter.asked == [(["a", "b"], []), (["c"], [5])]
    with pytest.raises(AnswerTooLong):
        box.run(["c"], answer_limit=7)


def test_more_than_a_pipe_holds_is_taken_while_a_program_runs(boxed):
    class Talking(Programs):
        """Prints and answers 300,000 bytes each; what is not taken holds it up."""

        def start(self, argv: list[str], *, output: int, descriptors: dict[int, int]) -> None:
            [answer] = descriptors.values()
            script = f"head -c 300000 /dev/zero; head -c 300000 /dev/zero >&{answer}"
            self.child = subprocess.Popen(["bash", "-c", script], stdout=output, pass_fds=[answer])
            self._reading = os.pidfd_open(self.child.pid)

        def ended(self) -> int:
            os.close(self._reading)
            return self.child.wait()

    box = boxed(Talking())
    box._deadline = time.monotonic() + 20
    try:
        code, answered = box.run(["a"], answer_limit=300_000)
    finally:
        box._starter.child.kill()
        box._starter.child.wait()
    assert (code, len(answered), len(b"".join(box.printed))) == (0, 300_000, 300_000)


def test_a_program_that_runs_leaves_no_descriptor_open(boxed):
    box = boxed()
    before = descriptors_open()
    box.run(["a"], answer_limit=1)
    assert descriptors_open() == before


@pytest.mark.parametrize(
    ("code", "stands", "excess", "error", "said"),
    [
        ("it was killed", True, "", Broken, "it was killed"),
        ("it was killed", True, "the build used more", LimitExceeded, "The build used more"),
        (0, False, "", Broken, "its first process was killed, or memory ran out"),
        (0, False, "the build used more", LimitExceeded, "The build used more"),
    ],
)
def test_why_a_sandbox_broke(boxed, code, stands, excess, error, said):
    box = boxed(Programs(code, b"last words"))
    box._isolation.stands = stands
    box.excess = excess
    with pytest.raises(error, match=f"^{said}$"):
        box.run(["a"])
    assert b"".join(box.printed) == b"last words"
    box.excess = "kept"
    assert box.exceeded() == "kept"


def test_time_that_is_over_ends_a_wait(boxed):
    box = boxed()
    box._deadline = time.monotonic() - 0.001
    with pytest.raises(TimeOver):
        box.run(["a"])
    box._deadline = time.monotonic() + 0.05
    reading, _ = os.pipe()
    with pytest.raises(TimeOver):
        box.read(reading)


def test_a_signal_is_heard_once_and_a_wait_goes_on(boxed):
    box = boxed()
    reading, writing = os.pipe()
    os.write(box._wake_w, b"xx")
    assert reading not in box._wait([reading])
    assert box.signals == ["signal"]
    assert box._wait([]) == []
    assert box.signals == ["signal"]
    os.write(writing, b"data")
    assert box.read(reading) == b"data"
    os.close(writing)
    assert box.read(reading) == b""


def test_a_sandbox_that_fills_the_disk_ends_and_its_space_is_free(boxed, tmp_path):
    box = boxed()
    folder, file = tmp_path / "folder", tmp_path / "file"
    (folder / "inner").mkdir(parents=True)
    file.touch()
    box._disk.folders = [str(folder), str(file), str(tmp_path / "gone")]
    box.verdicts = ["", "The build filled the disk"]
    reading, _ = os.pipe()
    with pytest.raises(LimitExceeded, match="^The build filled the disk$"):
        box.read(reading)
    assert box._isolation.steps == ["kill", "let go"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("seconds", "reads"), [(0.0, 256), (0.3, 4)])  # that each costs
def test_output_without_end_does_not_keep_a_stop_waiting(boxed, monkeypatch, seconds, reads):
    box = boxed()
    read = []

    def endless(_descriptor: int, size: int) -> bytes:
        read.append(size)
        return b"x"

    monkeypatch.setattr(sandbox.os, "read", endless)
    monkeypatch.setattr(sandbox, "time", SimpleNamespace(monotonic=lambda: len(read) * seconds))
    assert box._drain(until=1.0) is True
    assert read == [256 * 1024] * reads


def test_what_processes_still_had_to_say_is_passed_on(boxed, monkeypatch):
    box = boxed()
    ended: list[Any] = []
    monkeypatch.setattr(sandbox, "end_groups", lambda directory: ended.append((directory, list(box._isolation.steps))))
    os.write(box._output_w, b"last")
    output = box._output
    box.kill()
    assert box.printed == [b"last"]
    assert ended == [("/d", ["kill"])]
    for descriptor in (output, box._output_w):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_an_output_that_somebody_else_holds_is_waited_for_five_seconds(boxed, monkeypatch):
    box = boxed()
    held = os.dup(box._output_w)
    now = [0.0]

    def select(*_: object) -> Any:
        now[0] += 0.5
        return [], [], []

    monkeypatch.setattr(sandbox, "end_groups", lambda _directory: None)
    monkeypatch.setattr(sandbox, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sandbox, "select", SimpleNamespace(select=select))
    box.kill()
    assert now == [5.0]
    os.close(held)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_listener_is_handed_over_with_its_name_and_its_port(address):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        port = sandbox._listen(Listener(name="egress", address=address), ours)
        name, [descriptor], _, _ = socket.recv_fds(theirs, 64, 1)
        with socket.socket(fileno=descriptor) as listener, socket.create_connection((address, port), 60):
            assert (name, listener.getsockname()[:2]) == (b"egress", (address, port))
            assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)  # else its port may be another's
            assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_who_asks_for_a_certain_port_listens_first(monkeypatch, boxed):
    box = boxed()
    box._isolation, box._groups = SimpleNamespace(prepare=lambda: None), SimpleNamespace(enter=None)
    listeners = [Listener(name="a", address="::1"), Listener(name="b", address="::1", port=5)]
    box.specification = SimpleNamespace(network=SimpleNamespace(listeners=listeners))
    monkeypatch.setattr(box, "_fork_relay", lambda: None)
    monkeypatch.setattr(sandbox, "Starter", lambda *_: None)
    monkeypatch.setattr(sandbox, "_listen", lambda one, _channel: one.port or 6)
    assert list(box.prepare().items()) == [("b", 5), ("a", 6)]


def test_a_sandbox_is_opened_step_by_step(monkeypatch, boxed):
    box = boxed()
    steps: list[Any] = []
    box._isolation = SimpleNamespace(
        hand_over=lambda: steps.append("hand over"),
        begin=lambda _output: steps.append("begin") or [3, 4],
        written=lambda: (["/w"], ["/m"]),
    )
    box._starter = SimpleNamespace(open=lambda found: steps.append(found))
    monkeypatch.setattr(sandbox, "kernel", SimpleNamespace(hide_memory=lambda: steps.append("hide")))
    box.open(files=["/f"])
    assert steps == ["hand over", "begin", "hide", [3, 4]]
    assert isinstance(box._disk, Disk)
    assert (box._disk.folders, box._disk._skipped, box._disk._limit) == (["/w", "/f"], {"/m"}, 3)
    assert os.get_blocking(box._output) is False

    def refuse(_found: object) -> None:
        raise NotStarted("it cannot be entered")

    box._starter = SimpleNamespace(open=refuse)
    with pytest.raises(Broken, match="^it cannot be entered$"):
        box.open()


# --- what starts supervisors ------------------------------------------------------------------------------------------


def test_a_program_is_forked_for_each_argument():
    """In a child, whose standard input is the channel."""

    def main(argument: str) -> int:
        if argument == "raises":
            raise ValueError
        if argument == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if argument == "input":
            return 0 if os.read(0, 1) == b"" and os.path.samestat(os.fstat(0), os.stat(os.devnull)) else 1
        return int(argument)

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        try:
            ours.close()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(theirs.fileno(), 0)
            for descriptor in (1, 2):
                os.dup2(null, descriptor)
            theirs.close()
            os._exit(forkserver._serve(main))
        finally:
            os._exit(99)
    theirs.close()
    ours.settimeout(60)
    with ours:
        for argument, answer in (("7", 7), ("raises", 4), ("dies", 4), ("input", 0), ("0", 0)):
            ours.send(argument.encode())
            assert ours.recv(10) == bytes([answer])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Forks:
    """A launcher's process that answers as it is told; None: it died."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.loaded = 0
        self.ended: list[str] = []
        self.asked: list[bytes] = []
        self.launcher = Launcher("module")
        monkeypatch.setattr(self.launcher, "_load", self.load)

    def load(self) -> None:
        self.loaded += 1
        made: Any = self.launcher
        made._owner = os.getpid()
        made._channel = SimpleNamespace(send=self.asked.append, recv=self.recv, close=lambda: None)
        made._process = SimpleNamespace(
            kill=lambda: self.ended.append("kill"), wait=lambda: self.ended.append("wait"), pid=1
        )

    def recv(self, size: int) -> bytes:
        assert size == 1
        answer = self.answers.pop(0)
        if answer is None:
            raise ConnectionResetError
        if answer == b"silent":
            raise TimeoutError
        return answer


def test_one_that_died_meanwhile_is_replaced_once(monkeypatch, tmp_path):
    forks = Forks(monkeypatch, b"\x03", None, b"\x00", b"", None, b"\x05")
    assert forks.launcher.start(tmp_path) == 3
    assert forks.launcher.start(tmp_path) == 0
    assert (forks.loaded, forks.ended) == (2, ["kill", "wait"])
    assert forks.launcher.start(tmp_path) == 4
    assert (forks.loaded, forks.answers) == (3, [b"\x05"])
    assert forks.launcher.start(Path("relative")) == 5
    assert forks.asked[-1] == os.fsencode(Path("relative").absolute())


def test_one_that_is_silent_is_ended_and_a_fork_has_its_own(monkeypatch, tmp_path):
    forks = Forks(monkeypatch, b"silent", b"\x00", b"\x00")
    with pytest.raises(TimeoutError):
        forks.launcher.start(tmp_path)
    assert forks.ended == ["kill", "wait"]
    forks.launcher.start(tmp_path)
    forks.launcher._owner += 1  # as in a fork of the server
    forks.launcher.close()
    assert forks.ended == ["kill", "wait"]
    forks.launcher.start(tmp_path)
    assert forks.loaded == 3
    forks.launcher.close()
    assert forks.ended == ["kill", "wait", "wait"]
    assert forks.launcher._channel is None


def test_a_supervisor_knows_nothing_of_the_server(monkeypatch):
    started: list[Any] = []
    monkeypatch.setattr(launcher.subprocess, "Popen", lambda argv, **more: started.append((argv, more)))
    made = Launcher("some.module")
    made._load()
    [(argv, more)] = started
    assert argv[1:] == ["-I", "-S", str(launcher.FORKSERVER), "some.module"]
    assert (more["env"], more["cwd"], more["start_new_session"]) == ({}, "/", True)
    assert made._channel is not None
    assert (made._channel.gettimeout(), made._channel.type) == (60, socket.SOCK_SEQPACKET)
    made.close()


# --- which runtime ----------------------------------------------------------------------------------------------------


def runtime(name: str, preference: int, usable: bool, *networks: str) -> Runtime:
    offer = Offer(usable=usable, message=f"{name} says so")
    made = SimpleNamespace(name=name, preference=preference, networks=networks, probed=[])

    def probe_it(**asked: Any) -> Offer:
        made.probed.append((asked["network"], asked["allow_unisolated"]))
        return offer

    made.probe = probe_it
    return cast("Runtime", made)


@pytest.mark.parametrize(
    ("wanted", "network", "chosen", "probed"),
    [
        ("auto", "", ("b", "egress"), [("egress", False)]),
        ("auto", "host", ("b", "host"), [("host", False)]),
        ("b", "host", ("b", "host"), [("host", False)]),
        ("c", "", ("c", "host"), []),
        ("auto", "endpoint", "a: a says so; b: it has no network mode 'endpoint', only egress, host; c: it has no network mode 'endpoint', only host", []),
        ("a", "", "a: a says so", []),
        ("z", "", "There is no runtime 'z'. It is one of auto, a, b, c.", []),
    ],
)  # fmt: skip
def test_the_best_runtime_that_works_is_taken_and_nothing_less_than_was_asked_for(
    monkeypatch, wanted, network, chosen, probed
):
    a, b = runtime("a", 1, False, "endpoint"), runtime("b", 2, True, "egress", "host")
    every = (a, b, runtime("c", 3, True, "host"))
    monkeypatch.setattr(registry, "every", lambda: every)
    asked = {"wanted": wanted, "network": network, "allow_unisolated": False, "layout": Layout()}
    if isinstance(chosen, str):
        with pytest.raises(RuntimeRefused) as refused:
            registry.choose(**asked)
        assert str(refused.value) == chosen
    else:
        choice = registry.choose(**asked)
        assert (choice.name, choice.network, choice.offer.usable) == (*chosen, True)
    assert cast("Any", b).probed == probed
    assert registry.networks() == ["endpoint", "egress", "host"]


def test_without_any_runtime_the_reasons_are_given(monkeypatch):
    monkeypatch.setattr(registry, "every", lambda: (runtime("a", 1, False, "x"), runtime("b", 2, False, "y")))
    choice = registry.choose(wanted="auto", network="", allow_unisolated=True, layout=Layout())
    assert (choice.runtime, choice.name, choice.network) == (None, "", "")
    assert choice.offer == Offer(usable=False, message="a: a says so; b: b says so")


def test_runtimes_stand_in_the_order_of_their_preference():
    preferences = [one.preference for one in registry.every()]
    assert preferences == sorted(preferences)
    assert registry.runtime_named(registry.names()[0]) is registry.every()[0]


# --- the search before foreign code is trusted ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said", "found"),
    [
        (0, "a warning", probe.Found("")),
        (9, "x\n/opt/data of the server shows in the sandbox\n", probe.Found("/opt/data of the server shows in the sandbox", shows=True)),
        (1, "first\nlast\n", probe.Found("last")),
        (4, " \n", probe.Found("exit status 4")),
    ],
)  # fmt: skip
def test_what_the_search_comes_to(monkeypatch, code, said, found):
    asked: list[Any] = []

    def run(argv: list[str], **more: Any) -> Any:
        asked.append((argv, more))
        return SimpleNamespace(returncode=code, stderr=said)

    monkeypatch.setattr(probe.subprocess, "run", run)
    layout = Layout(hidden=("/opt/data",))
    assert probe.search("r", program="/bin/r", network="egress", layout=layout) == found
    [(argv, more)] = asked
    assert (argv[1:3], argv[4], more["timeout"]) == (["-I", "-S"], "penstock.sandbox.probe", 30)
    given = Specification.from_json(json.loads(argv[5]))
    assert (given.runtime, given.program, given.user, given.layout) == ("r", "/bin/r", 0, layout)
    assert given.network == Network(mode="egress")
    assert given.limits == Limits(memory=1 << 30, cpus=1, processes=100, disk=1 << 30, seconds=30)
    assert [(folder.inside, folder.writable) for folder in given.folders] == [("/sandbox", True)]
    assert not Path(given.directory).exists()


@pytest.mark.parametrize(
    ("shows", "code"),
    [("nothing", 0), ("empty", 0), ("file", 9), ("folder", 9), ("hidden", 9), ("blank", 0), ("blank name", 9)],
)
def test_whatever_is_there_and_not_empty_shows(tmp_path, shows, code):
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder" / "x").mkdir(parents=True)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".x").touch()
    (tmp_path / "file").write_text("x")
    (tmp_path / "blank").touch()
    (tmp_path / "blank name").write_text("x")
    names = [str(tmp_path / name) for name in ("nothing", shows, "empty")]
    done = subprocess.run(
        ["/bin/sh", "-c", probe._SEARCH, "search", *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stderr == (f"{tmp_path}/{shows} of the server shows in the sandbox\n" if code else "")


def test_the_search_is_made_as_a_build_is(monkeypatch, tmp_path):
    steps: list[Any] = []

    class Enclosed:
        def prepare(self) -> None:
            steps.append("prepare")

        def begin(self, output: int) -> list[int]:
            steps.append(("begin", output))
            return [3]

        def kill(self) -> None:
            steps.append("kill")

    class Started:
        def __init__(self, isolation: object, _groups: object) -> None:
            steps.append("starter")

        def open(self, namespaces: list[int]) -> None:
            steps.append(namespaces)

        def start(self, argv: list[str], *, output: int, descriptors: dict[int, int]) -> None:
            steps.append((argv[:2], argv[3:], output, descriptors))

        def ended(self) -> int:
            return 9

    one = SimpleNamespace(isolation=lambda _specification: Enclosed())
    monkeypatch.setattr(probe, "runtime_named", lambda name: one if name == "r" else None)
    monkeypatch.setattr(probe, "Starter", Started)
    folder = tmp_path / "own" / "inner"
    document = SPECIFICATION.to_json() | {"folders": [{"path": str(folder), "inside": "/x", "writable": True}]}
    assert probe.main(json.dumps(document)) == 9
    assert steps == [
        "starter", "prepare", ("begin", 2), [3], (["/bin/sh", "-c"], ["search", "/h"], 2, {}), "kill",
    ]  # fmt: skip
    assert folder.is_dir()
