"""A supervisor's build step by step, in this process: its sandbox does what a test says, and its journal is read back."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds.phases import PhaseType, Status
from penstock.builds.supervisor import artifacts, log, main, run, shell
from penstock.builds.supervisor.run import Build, Ended, supervise
from penstock.sandbox.sandbox import AnswerTooLong, Broken, LimitExceeded, TimeOver
from penstock.sandbox.specification import Folder


class Sandbox:
    """Runs no program: each script has an exit code or raises, and answers what it is given."""

    made: Sandbox

    def __init__(self, specification: Any, *, on_signal: Any, on_output: Any) -> None:
        Sandbox.made = self
        self.specification, self.on_signal, self.on_output = specification, on_signal, on_output
        self.steps: list[Any] = []
        self.unlimited = {"cpu": "no cpu here"}

    def prepare(self) -> dict[str, int]:
        if isinstance(PLAN.get("prepare"), Exception):
            raise PLAN["prepare"]
        return {"credentials": 4711, "egress": 4712}

    def open(self, *, files: list[str]) -> None:
        self.steps.append(("open", [os.path.basename(file) for file in files]))
        if isinstance(PLAN.get("open"), Exception):
            raise PLAN["open"]

    def run(self, argv: list[str], *, answer_limit: int) -> tuple[int, bytes]:
        name, succeeding = argv[-2:]
        self.steps.append((name, succeeding, answer_limit, argv[0]))
        planned = PLAN.get(name, 0)
        if isinstance(planned, Exception):
            raise planned
        self.on_output(b"half a line")
        return (0, planned) if isinstance(planned, bytes) else (planned, b"")

    def exceeded(self) -> str:
        return PLAN.get("exceeded", "")

    def kill(self) -> None:
        self.steps.append("kill")
        self.on_output(b"\nlast words")

    def check_disk(self) -> None:
        if "disk" in PLAN:
            raise PLAN["disk"]

    def read(self, descriptor: int) -> bytes:
        if "read" in PLAN:
            raise PLAN["read"]
        return os.read(descriptor, 100)

    def enter(self) -> None:
        """Nothing."""


PLAN: dict[str, Any] = {}


class Supervised:
    """A build's directory, and what its supervisor leaves there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.packed: list[Any] = []
        PLAN.clear()
        for name in ("readonly", "output/tmp"):
            (folder / name).mkdir(parents=True)
        os.mkfifo(folder / "wakeup")
        specification = SimpleNamespace(
            runtime="process",
            folders=(
                Folder(path=str(folder / "readonly"), inside="/codebuild/readonly"),
                Folder(path=str(folder / "output"), inside="/codebuild/output", writable=True),
            ),
        )
        monkeypatch.setattr(run, "Sandbox", Sandbox)
        monkeypatch.setattr(run.Specification, "from_json", lambda _document: specification)
        monkeypatch.setattr(run, "pack_artifact", self.pack)
        monkeypatch.setattr(run.os, "dup2", lambda *_: None)  # the outputs of this process are the test's
        monkeypatch.setattr(run.os, "umask", lambda _mask: 0)
        self.job: dict[str, Any] = {
            "sandbox": {}, "source": "/codebuild/output/src", "masked": [], "environment": {"AT": "http://{egress_port}", "B": "{egress_port}"},
            "ports_in": ["AT"], "version": "0.2", "shell": "/bin/sh", "log_limit": 1_000_000, "phases": [], "exported": [], "references": [],
            "artifacts": [], "compress": True,
        }  # fmt: skip

    def pack(self, spec: dict[str, Any], path: str, **more: Any) -> str:
        self.packed.append(
            (spec["identifier"], spec["base_directory"], os.path.basename(path), more["source"], more["compress"])
        )
        if spec["identifier"] in PLAN.get("unpackable", ()):
            return "no matching artifact paths found"
        return ""

    def phase(
        self, name: str, *commands: str, last: tuple[str, ...] = (), on_failure: str = "", user: str = ""
    ) -> None:
        self.job["phases"].append(
            {"name": name, "commands": list(commands), "finally": list(last), "user": user, "on_failure": on_failure}
        )

    def go(self) -> list[dict[str, Any]]:
        """The progress of the build, without its times."""
        assert supervise(self.job, str(self.folder)) == 0
        lines = (self.folder / "progress").read_text().splitlines()
        return [{name: value for name, value in json.loads(line).items() if name != "at"} for line in lines]

    def log(self) -> list[str]:
        lines = [line.partition(" ")[2] for line in (self.folder / "log").read_text().splitlines()]
        return [
            line[len("[Container] 2006/01/02 15:04:05.000000 ") :] if line.startswith("[Container]") else line
            for line in lines
        ]

    def statuses(self, found: list[dict[str, Any]]) -> dict[str, tuple[str, str, str]]:
        ended = [step for step in found if step["event"] == "phase_ended"]
        return {step["phase"]: (step["status"], step["code"], step["message"]) for step in ended}


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervised:
    return Supervised(tmp_path, monkeypatch)


FINE = ("SUCCEEDED", "", "")
END = {"event": "ended", "status": "", "message": ""}


def test_a_build_that_goes_well(supervised: Supervised):
    supervised.phase("BUILD", "one", "two", last=("three",))
    found = supervised.go()
    names = ["INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"]
    steps = [
        step
        for name in names
        for step in (
            {"event": "phase_started", "phase": name},
            {"event": "phase_ended", "phase": name, "status": "SUCCEEDED", "code": "", "message": "", "on_failure": ""},
        )
    ]
    assert found == [
        {"event": "started"}, *steps, {"event": "phase_started", "phase": "UPLOAD_ARTIFACTS"}, {"event": "packing_done"}, END,
    ]  # fmt: skip
    assert Sandbox.made.steps == [
        ("open", []),
        ("BUILD-commands-0", "1", 0, "/bin/sh"),
        ("BUILD-commands-1", "1", 0, "/bin/sh"),
        ("BUILD-finally-0", "1", 0, "/bin/sh"),
        "kill",
    ]
    assert (supervised.folder / "started").exists()
    assert supervised.log() == [
        "Not limited by a control group: cpu (no cpu here)",
        *(line for name in names[:2] for line in said(name)),
        "Entering phase BUILD",
        "Running command one", "half a line", "Running command two", "half a line", "Running command three", "half a line",
        *said("BUILD")[1:], *said("POST_BUILD"), "", "last words", "Entering phase UPLOAD_ARTIFACTS",
    ]  # fmt: skip


def said(name: str) -> list[str]:
    return [
        f"Entering phase {name}",
        f"Phase complete: {name} State: SUCCEEDED",
        "Phase context status code:  Message: ",
    ]


def test_what_a_build_finds_when_it_begins(supervised: Supervised):
    supervised.phase("BUILD", "echo one", last=("echo two",))
    supervised.job["exported"] = ["A", "0bad"]
    supervised.go()
    readonly = supervised.folder / "readonly"
    assert (readonly / "BUILD-commands-0").read_text() == "echo one\n"
    assert (readonly / "BUILD-finally-0").read_text() == "echo two\n"
    assert (readonly / "question").read_text().rstrip("\n") == shell.question(["A"], []).rstrip("\n")
    assert "/codebuild/output/tmp" in (readonly / "run.sh").read_text()
    state = supervised.folder / "output" / "tmp"
    assert (state / "env.sh").read_text() == "export AT='http://4712'\nexport B='{egress_port}'\n"
    assert (state / "dir.txt").read_text() == "/codebuild/output/src\n"
    assert [path.stat().st_mode & 0o777 for path in (state, state / "env.sh", state / "dir.txt")] == [
        0o777,
        0o666,
        0o666,
    ]


@pytest.mark.parametrize(("on_failure", "goes_on"), [("", True), ("CONTINUE", True), ("ABORT", False)])
def test_a_command_that_fails(supervised: Supervised, on_failure: str, goes_on: bool):
    PLAN.update({"BUILD-commands-0": 3, "exceeded": "the build used more than its 64 MB of memory"})
    supervised.phase("BUILD", "one", "never", last=("three",), on_failure=on_failure)
    supervised.phase("POST_BUILD", "four")
    found = supervised.go()
    failed = "Error while executing command: one. Reason: exit status 3: the build used more than its 64 MB of memory"
    expected = {"INSTALL": FINE, "PRE_BUILD": FINE, "BUILD": ("FAILED", "COMMAND_EXECUTION_ERROR", failed)}
    assert supervised.statuses(found) == expected | ({"POST_BUILD": FINE} if goes_on else {})
    ran = [step[:2] for step in Sandbox.made.steps if isinstance(step, tuple) and step[0] != "open"]
    assert ran == [
        ("BUILD-commands-0", "1"),
        ("BUILD-finally-0", "0"),
        *([("POST_BUILD-commands-0", "0")] if goes_on else []),
    ]
    assert "Command did not exit successfully one exit status 3" in supervised.log()
    assert ({"event": "packing_done"} in found) is goes_on
    assert found[-1] == END


@pytest.mark.parametrize(("first", "second", "message"), [(0, 4, "three"), (3, 4, "one")])
def test_the_first_failure_of_a_phase_is_its_message(supervised: Supervised, first: int, second: int, message: str):
    PLAN.update({"INSTALL-commands-0": first, "INSTALL-finally-0": second})
    supervised.phase("INSTALL", "one", last=("three",))
    found = supervised.go()
    code = second if message == "three" else first
    assert supervised.statuses(found) == {
        "INSTALL": (
            "FAILED",
            "COMMAND_EXECUTION_ERROR",
            f"Error while executing command: {message}. Reason: exit status {code}",
        )
    }
    assert {"event": "phase_started", "phase": "UPLOAD_ARTIFACTS"} not in found


@pytest.mark.parametrize(
    ("raised", "status", "code", "message"),
    [
        (LimitExceeded("The build used more"), "FAILED", "COMMAND_EXECUTION_ERROR", "The build used more"),
        (TimeOver(), "TIMED_OUT", "", "Build timed out"),
        (AnswerTooLong(), "FAULT", "INTERNAL_ERROR", "Exported variables are larger than this build may have"),
        (Broken("it was killed"), "FAULT", "INTERNAL_ERROR", "The build's sandbox ended by itself: it was killed"),
    ],
)
def test_what_ends_a_build_early(supervised: Supervised, raised: Exception, status: str, code: str, message: str):
    PLAN["BUILD-commands-0"] = raised
    supervised.phase("BUILD", "one", last=("never",))
    found = supervised.go()
    assert supervised.statuses(found)["BUILD"] == (status, code, message)
    assert found[-2]["on_failure"] == "ABORT"
    assert found[-1] == {"event": "ended", "status": status, "message": message}
    assert Sandbox.made.steps[-1] == "kill"


@pytest.mark.parametrize(
    ("step", "raised", "status", "message"),
    [
        (
            "prepare",
            OSError(1, "Operation not permitted"),
            "FAULT",
            "The process runtime could not start: Operation not permitted",
        ),
        ("open", Broken("it cannot be entered"), "FAULT", "The build could not start: it cannot be entered"),
        ("open", ValueError("odd"), "FAULT", "The build's supervisor failed: odd"),
    ],
)
def test_a_build_that_does_not_begin(supervised: Supervised, step: str, raised: Exception, status: str, message: str):
    PLAN[step] = raised
    supervised.phase("BUILD", "never")
    assert supervised.go() == [{"event": "ended", "status": status, "message": message}]
    assert not (supervised.folder / "started").exists()
    assert ("The build's supervisor failed: odd" in supervised.log()) is isinstance(raised, ValueError)


@pytest.mark.parametrize(
    ("control", "status", "message"),
    [("STOPPED", "STOPPED", "Build was stopped"), ("TIMED_OUT\n", "TIMED_OUT", "Build timed out"), ("odd", "STOPPED", "Build was stopped"), (None, "", "")],
)  # fmt: skip
def test_what_a_signal_means_is_in_a_file(supervised: Supervised, control: str | None, status: str, message: str):
    build: Any = object.__new__(Build)
    build.directory = str(supervised.folder)
    if control is None:
        build._signalled()
        return
    (supervised.folder / "control").write_text(control)
    with pytest.raises(Ended) as ended:
        build._signalled()
    assert (ended.value.status, ended.value.message, ended.value.code) == (status, message, "")


def test_a_disk_that_is_full_ends_the_build_before_a_word_is_written(supervised: Supervised):
    supervised.phase("BUILD", "one")
    supervised.go()
    build: Any = object.__new__(Build)
    build.sandbox = Sandbox.made
    build._check_disk()
    PLAN["disk"] = LimitExceeded("The build filled the disk")
    with pytest.raises(Ended) as ended:
        build._check_disk()
    assert (ended.value.status, ended.value.code) == (Status.FAILED, "COMMAND_EXECUTION_ERROR")


# --- variables and artifacts ------------------------------------------------------------------------------------------

SET_A = b"set\0one\0\0\0"  # of A and B, where B is not set


def artifact(identifier: str, name: str = "", base: str = "") -> dict[str, Any]:
    return {"identifier": identifier, "name": name, "base_directory": base, "files": ["*"], "exclude_paths": []}


def test_variables_are_asked_for_once_after_the_last_phase_and_once_for_the_artifacts(supervised: Supervised):
    PLAN["question"] = SET_A
    supervised.job["exported"] = ["A", "B", "1"]
    found = supervised.go()
    assert [step for step in found if step["event"] == "exported"] == [{"event": "exported", "variables": {"A": "one"}}]
    assert (
        found.index({"event": "exported", "variables": {"A": "one"}})
        == found.index({"event": "phase_started", "phase": "POST_BUILD"}) + 1
    )
    assert [step for step in Sandbox.made.steps if step[0] == "question"] == [("question", "1", 1 << 20, "/bin/sh")] * 2


@pytest.mark.parametrize(("phase", "asked"), [("INSTALL", True), ("PRE_BUILD", True), ("BUILD", False)])
def test_variables_of_a_build_that_fails_are_exported(supervised: Supervised, phase: str, asked: bool):
    """Where no further phase of commands comes, they are asked for at once."""
    PLAN.update({"question": SET_A, f"{phase}-commands-0": 1})
    supervised.job["exported"] = ["A", "B"]
    supervised.phase(phase, "one")
    found = supervised.go()
    started = [step["phase"] for step in found if step["event"] == "phase_started"]
    exported = [at for at, step in enumerate(found) if step["event"] == "exported"]
    assert len(exported) == 1
    assert found[exported[0] + 1]["phase"] == (phase if asked else "POST_BUILD")
    assert ("POST_BUILD" in started) is not asked


def test_nothing_is_asked_for_that_nobody_wants(supervised: Supervised):
    found = supervised.go()
    assert not [step for step in found if step["event"] == "exported"]
    assert not [step for step in Sandbox.made.steps if step[0] == "question"]


def test_artifacts_are_packed_with_what_the_shell_made_of_their_names(supervised: Supervised):
    PLAN["question"] = b"set\0dist\0" + b"first-name\0" + b"third-name\0"
    supervised.job |= {
        "references": ["OUT"],
        "artifacts": [artifact("", "n-$X", "$OUT/a"), artifact("two", base="${OUT}"), artifact("three", "m", "$NONE")],
    }
    found = supervised.go()
    assert supervised.packed == [
        ("", "dist/a", "packed-0.zip", "/codebuild/output/src", True),
        ("two", "dist", "packed-1.zip", "/codebuild/output/src", True),
        ("three", "", "packed-2.zip", "/codebuild/output/src", True),
    ]
    assert [step for step in found if step["event"] == "packed"] == [
        {"event": "packed", "identifier": "", "file": "packed-0.zip", "name": "first-name"},
        {"event": "packed", "identifier": "two", "file": "packed-1.zip", "name": ""},
        {"event": "packed", "identifier": "three", "file": "packed-2.zip", "name": "third-name"},
    ]
    assert Sandbox.made.steps[0] == ("open", ["packed-0.zip", "packed-1.zip", "packed-2.zip"])
    assert found[-2:] == [{"event": "packing_done"}, END]


def test_packing_ends_with_the_first_artifact_that_cannot_be_packed(supervised: Supervised):
    PLAN["unpackable"] = ("two",)
    supervised.job["artifacts"] = [artifact(""), artifact("two"), artifact("three")]
    found = supervised.go()
    assert [identifier for identifier, *_ in supervised.packed] == ["", "two"]
    assert found[-3:] == [
        {"event": "packed", "identifier": "", "file": "packed-0.zip", "name": ""},
        {"event": "packing_failed", "message": "no matching artifact paths found"},
        END,
    ]


# --- the child that packs ---------------------------------------------------------------------------------------------


def packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Any, *, read: Any = None) -> tuple[str, list[str]]:
    """Why packing failed, and what was said; `pack` runs in the child."""
    said: list[str] = []
    monkeypatch.setattr(artifacts.packing, "pack", pack)
    monkeypatch.setattr(artifacts.kernel, "die_with_parent", lambda _signal: None)
    why = artifacts.pack_artifact(
        {"files": ["*"]}, str(tmp_path / "packed"), source="/src", compress=True, enter=lambda: None,
        read=read or (lambda descriptor: os.read(descriptor, 7)), say=said.append,
    )  # fmt: skip
    return why, said


def test_a_child_packs_and_says_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def pack(target: Any, spec: Any, *, source: str, compress: bool, say: Any) -> None:
        assert (spec, source, compress) == ({"files": ["*"]}, "/src", True)
        say("Found 1 file(s)")
        say("and\nmore")
        target.write(b"zip")
        monkeypatch.setattr(os, "fsync", lambda descriptor: say(f"synced {os.fstat(descriptor).st_size} bytes"))

    assert packing(tmp_path, monkeypatch, pack) == ("", ["Found 1 file(s)", "and\nmore", "synced 3 bytes"])
    assert (tmp_path / "packed").read_bytes() == b"zip"
    assert (tmp_path / "packed").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (artifacts.packing.PackingFailed("no matching artifact paths found"), "no matching artifact paths found"),
        (OSError(28, "No space left on device"), "the artifacts could not be packed: No space left on device"),
        (ValueError("odd"), "the artifacts could not be packed: odd"),
        (SystemExit(1), "the artifacts could not be packed: see the log of the server"),
    ],
)
def test_why_a_child_could_not_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, why: str):
    def pack(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(artifacts.traceback, "print_exc", lambda: None)
    assert packing(tmp_path, monkeypatch, pack) == (why, [])


def test_a_child_that_packs_for_ever_ends_with_its_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    children: list[Any] = []
    real = artifacts.Started
    monkeypatch.setattr(artifacts, "Started", lambda pid: children.append(real(pid)) or children[0])
    before = {name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}

    def over(_descriptor: int) -> bytes:
        raise Ended(Status.TIMED_OUT)

    with pytest.raises(Ended):
        packing(tmp_path, monkeypatch, lambda *_, **__: time.sleep(60), read=over)
    assert children[0].code == -9
    assert {name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")} == before


# --- becoming a supervisor --------------------------------------------------------------------------------------------


def test_a_directory_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "job.json").write_text("{}")
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main.main(str(tmp_path)) == 3
    (tmp_path / "started").touch()
    assert main.main(str(tmp_path)) == 3


@pytest.mark.parametrize("lives", [True, False])
def test_a_supervisor_is_a_session_of_its_own_and_known_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: bool
):
    (tmp_path / "job.json").write_text('{"a": 1}')

    def supervise(job: Any, directory: str) -> int:
        (tmp_path / "seen").write_text(json.dumps([job, directory, os.getsid(0) == os.getpid()]))
        os._exit(0)

    monkeypatch.setattr(main, "supervise", supervise)
    if not lives:
        monkeypatch.setattr(main.os, "replace", lambda *_: os._exit(1))
    forked: list[int] = []
    real = os.fork

    def fork() -> int:
        forked.append(real())
        return forked[-1]

    monkeypatch.setattr(main.os, "fork", fork)
    assert main.main(os.path.relpath(tmp_path)) == (0 if lives else 4)
    [pid] = forked
    os.waitpid(pid, 0)
    if lives:
        known = json.loads((tmp_path / "supervisor.json").read_text())
        assert known["pid"] == pid
        assert known["start"].isdecimal()
        assert json.loads((tmp_path / "seen").read_text()) == [{"a": 1}, str(tmp_path), True]


def test_the_phases_of_commands_are_in_order():
    assert [phase.value for phase in run.COMMAND_PHASES] == ["INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"]
    assert PhaseType.UPLOAD_ARTIFACTS not in run.COMMAND_PHASES


@pytest.mark.parametrize(
    ("faults", "raised", "pauses"),
    [
        ([errno.ENOSPC, errno.EDQUOT], None, 2),
        ([errno.EIO], errno.EIO, 0),
        ([errno.ENOSPC] * 2_000, errno.ENOSPC, 1_000),
    ],
)
def test_a_full_disk_has_twenty_seconds_to_become_less_so(tmp_path: Path, monkeypatch, faults, raised, pauses):
    slept: list[float] = []
    full: list[int] = []

    def write(_descriptor: int, data: bytes) -> int:
        if faults:
            raise OSError(faults.pop(0), "no")
        return len(data)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(log.time, "sleep", slept.append)
    with pytest.raises(OSError, match="no") if raised else contextlib.nullcontext() as caught:
        log.append(0, b"line\n", lambda: full.append(1))
    monkeypatch.undo()
    assert (caught.value.errno if caught else None) == raised
    assert len(full) == len(slept)
    assert (sum(slept), len(slept)) == (
        pytest.approx(pauses * 0.02, abs=0.021),
        pytest.approx(pauses, abs=1 if pauses > 2 else 0),
    )


def test_the_log_is_on_the_disk_before_the_end_is(supervised: Supervised, monkeypatch: pytest.MonkeyPatch):
    synced: list[tuple[str, bool]] = []

    def sync(descriptor: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((name, b'"ended"' in (supervised.folder / "progress").read_bytes()))

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "fdatasync", sync)
    supervised.phase("BUILD", "one")
    assert supervised.go()[-1] == END
    assert ("log", False) in synced
    assert synced[-1] == ("progress", True)
