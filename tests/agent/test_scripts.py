"""One script at a time: why it does not start, how it is ended with everything that it started, and who may read it."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from penstock_agent import hooks, processes
from penstock_agent.appspec import Script
from penstock_agent.failures import CommandFailure, ConfigInvalid
from penstock_agent.layout import Layout
from penstock_agent.output import Drain, Output
from penstock_agent.scripts import why_not_started as why


class Stage:
    """A revision and what runs its scripts."""

    def __init__(self, path):
        self.layout = Layout(str(path / "state"))
        self.layout.prepare()
        self.deployment = self.layout.deployment("g", "d-1")
        self.deployment.make()
        self.archive = Path(self.deployment.archive)
        self.archive.mkdir()
        self.archive.chmod(0o755)
        self.output = Output(self.deployment.script_log, 1 << 20)
        self.stopping = threading.Event()
        self.runner = hooks.Runner(self.output, Drain(), self.stopping, self.layout.marks, self.layout.reach)

    def write(self, content, mode=0o755, name="hook"):
        path = self.archive / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def run(self, content=None, mode=0o755, timeout=30, runas=""):
        path = self.archive / "hook" if content is None else self.write(content, mode)
        self.runner.run(
            Script("hook", timeout, runas, False),
            str(path),
            directory=str(self.archive),
            environment={"PATH": os.environ["PATH"]},
            timeout_s=timeout,
            changed=lambda: None,
        )
        return self.output.tail()[0]

    def fails(self, *arguments, **more):
        with pytest.raises(CommandFailure) as caught:
            self.run(*arguments, **more)
        return caught.value.message


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    yield made
    made.output.close()


CRLF = "the lines of the script end in CR LF, as on Windows.*dos2unix"
NOT_STARTED = {
    "crlf": (b"#!/bin/bash\r\necho hi\r\n", r'could not be started: .*interpreter "/bin/bash\\r", which does not exist: ' + CRLF),
    "crlf-option": (b"#!/bin/bash\r\n", r'interpreter "/bin/bash\\r"'),
    "crlf-env": (b"#!/usr/bin/env bash\r\necho hi\r\n", "failed with exit code 127. Perhaps: " + CRLF),
    "crlf-argument": (b"#!/bin/sh -e\r\nexit 3\r\n", CRLF),
    "crlf-bare": (b"true\r\nfalse\r\nexit 4\r\n", CRLF),
    "interpreter": (b"#!/no/such/shell\n", 'interpreter "/no/such/shell", which does not exist on this machine'),
    "interpreter-file": (b"#!/etc/passwd/x\n", 'interpreter "/etc/passwd/x", which does not exist'),
    "interpreter-mode": (b"#!/etc/passwd\n", 'interpreter "/etc/passwd", which is not executable'),
    "mark": (b"\xef\xbb\xbf#!/bin/bash\nexit 2\n", "begins with a byte order mark"),
    "killed": (b"#!/bin/sh\nkill -9 $$\n", r"failed with signal 9 \(SIGKILL\): .*memory ran out"),
    "aborted": (b"#!/bin/sh\nkill -ABRT $$\n", r"failed with signal 6 \(SIGABRT\)\Z"),
    "machine": (b"\x7fELF\x01\x01\x01" + b"\0" * 60, "it is no program for this machine"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_STARTED)
def test_why_a_script_does_not_run(stage, name):
    content, expected = NOT_STARTED[name]
    message = stage.fails(content)
    assert re.search(expected, message), message
    assert message.startswith("Script at specified location: hook ")


def test_a_script_that_is_still_open_for_writing(stage):
    path = stage.write("#!/bin/sh\n")
    with path.open("ab"):
        assert "could not be started: the file is still open for writing" in stage.fails()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_script_on_a_noexec_mount(stage):
    stage.write("#!/bin/sh\n")
    code = f"""
import os, subprocess, sys
sys.path[:0] = {sys.path!r}
subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", {str(stage.archive)!r}], check=True)
open({str(stage.archive)!r} + "/hook", "w").write("#!/bin/sh\\n")
os.chmod({str(stage.archive)!r} + "/hook", 0o755)
from penstock_agent.scripts import why_not_started
try:
    subprocess.run([{str(stage.archive)!r} + "/hook"])
except OSError as error:
    print(why_not_started(error, {str(stage.archive)!r} + "/hook", {str(stage.archive)!r}, ""))
"""
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    if "unshare" in done.stderr:
        pytest.skip("no mount namespaces here: " + done.stderr.strip())
    assert "it lies on a file system mounted with noexec" in done.stdout, done.stderr


def test_every_errno_of_a_start_is_said_in_a_sentence(stage, monkeypatch):
    stage.write("#!/bin/sh\n")
    for number in sorted(errno.errorcode):

        def refuse(*_, number=number, **__):
            raise OSError(number, os.strerror(number), "x")

        monkeypatch.setattr(subprocess, "Popen", refuse)
        message = stage.fails()
        assert "could not be started: " in message
        assert not re.search(r"Errno|Error\b|None\b|\[", message), message


@pytest.mark.parametrize(
    ("number", "head", "user", "said"),
    [
        (errno.EACCES, b"#!/bin/sh\n", "web", "the user web may not reach or execute it"),
        (errno.EACCES, b"#!/bin/sh\n", "", "the agent's user has no permission for it"),
        (errno.ENOENT, b"\x7fELF", "", "it is a program whose loader does not exist on this machine (built for another C library or system)"),
        (errno.ENOENT, b"echo", "", "it does not exist"),
        (errno.ELOOP, b"#!/bin/sh\n", "", "it is no program for this machine, or its interpreter is not one"),
        (errno.ELOOP, b"echo", "", "a symbolic link is in its place, or links lead in a circle"),
        (errno.ENOTDIR, b"#! /etc/passwd/x -e\n", "", 'its first line asks for the interpreter "/etc/passwd/x", which does not exist on this machine'),
    ],
)  # fmt: skip
def test_why_a_script_did_not_start(tmp_path, number, head, user, said):
    (tmp_path / "hook").write_bytes(head)
    assert why(OSError(number, "x"), str(tmp_path / "hook"), str(tmp_path), user) == said
    gone = why(OSError(errno.ENOENT, "x"), str(tmp_path / "hook"), str(tmp_path / "gone"), user)
    assert gone == f"its revision is gone from {tmp_path}/gone"


def test_a_script_that_is_missing_is_named_with_its_place(stage):
    assert stage.fails() == f"Script does not exist at specified location: {stage.archive}/hook"


@pytest.mark.parametrize(("code", "said"), [(1, "failed with exit code 1"), (255, "failed with exit code 255")])
def test_a_script_that_fails_says_its_code(stage, code, said):
    assert stage.fails(f"#!/bin/sh\nexit {code}\n").endswith(said)


# --- the end ----------------------------------------------------------------------------------------------------------


def alive(path):
    """The processes whose numbers a script wrote into a file."""
    found = []
    for word in Path(path).read_text().split():
        try:
            state = Path(f"/proc/{word}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(int(word))
    return found


OUTLIVING = {
    "ignores": "(trap '' TERM; sh -c 'echo $PPID >> pids'; while :; do sleep 0.1; done) & sleep 0.3; wait",
    "leader obeys": "trap 'exit 0' TERM; (trap '' TERM; sh -c 'echo $PPID >> pids'; exec >/dev/null 2>&1;"
    " while :; do sleep 0.1; done) & while :; do sleep 0.1; done",
    "own session": "setsid sh -c 'trap \"\" TERM; echo $$ >> pids; exec >/dev/null 2>&1; while :; do sleep 0.1; done' &"
    " while :; do sleep 0.1; done",
    "no environment": "env -i sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 0.1; done' & while :; do sleep 0.1; done",
}


@pytest.mark.parametrize("name", OUTLIVING)
@pytest.mark.parametrize("way", ["timeout", "stopped"])
def test_nothing_that_a_script_started_outlives_its_end(stage, name, way, monkeypatch):
    monkeypatch.setattr(processes, "TERM_GRACE_S", 0.5)
    if way == "stopped":
        threading.Timer(1.0, stage.stopping.set).start()
    message = stage.fails(f"#!/bin/sh\n{OUTLIVING[name]}\n", timeout=1 if way == "timeout" else 30)
    assert ("failed to complete in 1 seconds" if way == "timeout" else "the agent was stopped") in message
    assert alive(stage.archive / "pids") == []
    assert os.listdir(os.path.join(stage.layout.root, "running")) == []


def test_a_script_has_time_to_clean_up_after_term(stage):
    stage.fails(
        "#!/bin/sh\ntrap 'sleep 0.5; echo clean > cleaned; exit 0' TERM\nwhile :; do sleep 0.1; done\n", timeout=1
    )
    assert (stage.archive / "cleaned").read_text() == "clean\n"


def test_a_child_of_a_script_that_obeys_has_time_to_clean_up_too(stage):
    child = (
        "sh -c 'trap \"sleep 1.5; echo clean > cleaned; exit 0\" TERM; while :; do sleep 0.1; done' >/dev/null 2>&1 &"
    )
    stage.fails(f"#!/bin/sh\ntrap 'exit 0' TERM\n{child}\nwhile :; do sleep 0.1; done\n", timeout=1)
    assert (stage.archive / "cleaned").read_text() == "clean\n"


def test_what_a_finished_script_left_running_goes_on(stage):
    stage.run("#!/bin/sh\nsetsid sleep 100 >/dev/null 2>&1 &\necho $! > pids\n")
    (left,) = alive(stage.archive / "pids")
    stage.layout.marks.end_orphans()
    assert alive(stage.archive / "pids") == [left]
    os.kill(left, signal.SIGKILL)


def test_the_scripts_of_a_dead_agent_are_ended_and_those_of_a_living_one_are_not(stage, monkeypatch):
    monkeypatch.setattr(processes, "TERM_GRACE_S", 0.5)
    code = (
        "import sys, pathlib\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "import test_scripts\n"
        f"stage = test_scripts.Stage(pathlib.Path({str(stage.archive)!r}) / sys.argv[1])\n"
        f"stage.layout.marks._directory = {os.path.join(stage.layout.root, 'running')!r}\n"
        "stage.run(\"#!/bin/sh\\ntrap '' TERM; setsid sleep 1000 & echo $$ $! > pids; wait; sleep 1000\\n\")\n"
    )
    agents, files = [], []
    for name in ("dead", "living"):
        agents.append(subprocess.Popen([sys.executable, "-c", code, name]))
        files.append(stage.archive / name / "state/g/d-1/deployment-archive/pids")
        until = time.monotonic() + 60
        while not (files[-1].exists() and len(files[-1].read_text().split()) == 2):
            assert time.monotonic() < until
            time.sleep(0.02)
    agents[0].kill()
    agents[0].wait()
    assert [len(alive(file)) for file in files] == [2, 2]
    stage.layout.marks.end_orphans()
    assert [len(alive(file)) for file in files] == [0, 2]
    agents[1].kill()
    agents[1].wait()
    stage.layout.marks.end_orphans()
    assert [len(alive(file)) for file in files] == [0, 0]


# --- who may read and write -------------------------------------------------------------------------------------------


def test_the_agents_directory_is_closed_to_others(tmp_path):
    root = tmp_path / "state"
    root.mkdir()
    root.chmod(0o777)
    stage = Stage(tmp_path)
    mode = {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("", "spool", "running", "g/d-1/logs")}
    assert set(mode.values()) == {0o700}
    assert stat.S_IMODE(os.stat(stage.deployment.script_log).st_mode) == 0o600
    stage.output.close()


def test_a_shared_directory_is_not_taken_for_the_agents(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(ConfigInvalid, match="root_dir: .* is shared"):
        Layout(str(shared)).prepare()
    if os.geteuid() == 0:
        os.chmod(shared, 0o755)
        os.chown(shared, 12345, 12345)
        with pytest.raises(ConfigInvalid, match="root_dir: .* belongs to user id 12345"):
            Layout(str(shared)).prepare()
        assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_a_script_that_others_could_write_is_closed_before_it_runs(stage):
    stage.run("#!/bin/sh\ntrue\n", mode=0o777)
    assert stat.S_IMODE((stage.archive / "hook").stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")
def test_a_script_of_another_user_reaches_its_revision_and_nobody_else_does(stage, tmp_path):
    for path in (tmp_path, *tmp_path.parents):
        if str(path).startswith("/tmp/"):
            path.chmod(0o755)
    stage.write("text\n", 0o644, "data")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    said = []
    text = f'#!/bin/sh\ncat "{stage.archive}/data"\nls "{stage.layout.root}" || echo closed\ncat {fifo}\n'
    thread = threading.Thread(target=lambda: said.append(stage.run(text, runas="nobody")))
    thread.start()
    with fifo.open("w") as opened:  # the script is at its last line
        other = subprocess.run(
            ["cat", str(stage.archive / "data")],
            user=12345,
            group=12345,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        opened.write("end\n")
    thread.join()
    assert "[stdout]text" in said[0]
    assert "[stdout]closed" in said[0]
    assert other.returncode != 0
    assert stat.S_IMODE(os.stat(stage.layout.root).st_mode) == 0o700
    assert os.listxattr(stage.layout.root) == []
