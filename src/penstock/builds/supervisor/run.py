"""One build under its supervisor: sandbox, phases, artifacts, and the end of every process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time

import kernel  # pyright: ignore[reportMissingImports]
from artifacts import filled, pack_artifact, packed_name  # pyright: ignore[reportMissingImports]
from disk import Disk  # pyright: ignore[reportMissingImports]
from groups import Groups, end_groups  # pyright: ignore[reportMissingImports]
from journal import Journal  # pyright: ignore[reportMissingImports]
from launch import Started, reap  # pyright: ignore[reportMissingImports]
from phases import (  # pyright: ignore[reportMissingImports]
    COMMAND_PHASES,
    FAILED,
    FAULT,
    POST_BUILD,
    STOPPED,
    SUCCEEDED,
    TIMED_OUT,
    UPLOAD_ARTIFACTS,
    next_phase,
)
from shell import (  # pyright: ignore[reportMissingImports]
    is_variable,
    question,
    script_arguments,
    write,
    write_scripts,
)
from steps import NotStarted, Starter  # pyright: ignore[reportMissingImports]

QUESTION = "question"  # the name of the script that asks for variables; those of commands begin with a phase
_VARIABLE_LIMIT = 64 * 1024


class Ended(Exception):
    """The build ends early, with this status and these words."""

    def __init__(self, status: str, message: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def supervise(job: dict, directory: str) -> int:
    """Run the build of `job` to its end; every outcome is in the journal."""
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    errors = os.open(os.path.join(directory, "errors"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(errors, 2)
    journal = Journal(
        directory,
        log_limit=int(job["log_limit"]),
        masked=job.get("masked", []),
        session=os.path.join(directory, "credentials.json"),
    )
    try:
        build = Build(job, directory, journal)
        build.run()
    except Ended as ended:
        journal.report("ended", durable=True, status=ended.status, message=ended.message)
    except BaseException as fault:  # noqa: BLE001 - whatever it is, the build must end in words
        import traceback  # noqa: PLC0415 - of use in one run of a million

        traceback.print_exc()
        journal.say(f"The build's supervisor failed: {fault}")
        journal.report("ended", durable=True, status=FAULT, message=f"The build's supervisor failed: {fault}")
    else:
        journal.sync()
        journal.report("ended", durable=True, status="", message="")
    return 0


class Build:
    """The commands of one build and the sandbox they run in."""

    def __init__(self, job: dict, directory: str, journal: Journal) -> None:
        self.job = job
        self.directory = directory
        self.journal = journal
        self.groups = Groups(directory, job["limits"])
        self.deadline = time.monotonic() + float(job["timeout_s"])
        self.runtime = __import__(job["runtime"]).Run(job, directory)
        self.succeeding = True
        self.pending = b""
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def run(self) -> None:
        """Everything between the sandbox's first process and the death of its last."""
        phase = COMMAND_PHASES[0]
        try:
            self._open()
        except OSError as error:
            raise Ended(FAULT, f"The {self.job['runtime']} runtime could not start: {error.strerror}") from error
        try:
            self._mark_started()
            while phase in COMMAND_PHASES:
                status, on_failure = self._phase(phase)
                phase = next_phase(phase, status, on_failure)
            answers = self._ask() if phase == UPLOAD_ARTIFACTS else {}
        finally:
            self._close()
        if phase == UPLOAD_ARTIFACTS:
            self._pack(answers)

    # --- the sandbox -------------------------------------------------------------------------------------------

    def _open(self) -> None:
        channel = self._fork_relay()
        self.starter = Starter(self.runtime, self.groups.enter)
        self.runtime.prepare()
        for name, family, address in self.job["network"].get("listeners", []):
            listener = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], int(address[1])))
            listener.listen(128)
            for variable in self.job["ports_in"]:
                self.job["environment"][variable] = self.job["environment"][variable].replace(
                    f"{{{name}_port}}", str(listener.getsockname()[1])
                )
            socket.send_fds(channel, [name.encode()], [listener.fileno()])
            listener.close()
        self._channel = channel
        scripts, state = self.runtime.scripts, self.runtime.state
        write_scripts(
            scripts=scripts,
            state=state,
            inside=self.runtime.inside,
            carries=self.job["version"] != "0.1",
            env=self.job["environment"],
        )
        for name, body in self._bodies():
            write(os.path.join(scripts, name), body + "\n")
        self.runtime.hand_over()
        self.out, self.out_w = os.pipe()
        namespaces = self.runtime.begin(self.out_w)
        kernel.hide_memory()
        try:
            self.starter.open(namespaces)
        except NotStarted as error:
            raise Ended(FAULT, f"The build could not start: {error}") from error
        os.set_blocking(self.out, False)
        folders, skipped = self.runtime.folders()
        folders += [os.path.join(self.directory, packed_name(index)) for index in range(len(self.job["artifacts"]))]
        self.disk = Disk(folders, skipped=skipped, limit=int(self.job["limits"]["disk"]))
        self.journal.disk_full = self._check_disk
        for controller, reason in self.groups.missing.items():
            self.journal.say(f"Not limited by a control group: {controller} ({reason})")

    def _bodies(self):  # noqa: ANN202
        for phase in self.job["phases"]:
            for kind in ("commands", "finally"):
                for index, command in enumerate(phase[kind]):
                    yield f"{phase['name']}-{kind}-{index}", command
        variables, words = self._questions()
        yield QUESTION, question(variables, words)

    def _fork_relay(self) -> socket.socket:
        """The relay's process: forked before any namespace is left, so that it stays in the host's network."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            Started(pid)  # which ends with all others
            theirs.close()
            return ours
        try:
            ours.close()
            import relay  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            kernel.die_with_parent(signal.SIGKILL)
            relay.serve(theirs, relay.Doors(self.job["network"], self.directory, self.job["secret"]))
        finally:
            os._exit(0)

    def _mark_started(self) -> None:
        self.journal.report("started")
        marker = os.open(os.path.join(self.directory, "started"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fsync(marker)
        os.close(marker)
        folder = os.open(self.directory, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _close(self) -> None:
        """End every process of the build, and keep what they still had to say."""
        self.runtime.kill()
        end_groups(self.directory)
        os.close(self.out_w)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.out], [], [], 0.2)
            if ready and not self._drain():
                break
        self.journal.flush()
        os.close(self.out)

    # --- commands ----------------------------------------------------------------------------------------------

    def _phase(self, name: str) -> tuple[str, str]:
        """Run one phase; its status and its on-failure."""
        spec = next((one for one in self.job["phases"] if one["name"] == name), None)
        self.journal.say(f"Entering phase {name}")
        self.journal.report("phase_started", phase=name)
        failure = ""
        try:
            if spec is not None:
                failure = self._commands(spec, "commands")
                if failure:
                    self.succeeding = False
                last = self._commands(spec, "finally")
                failure = failure or last
        except Ended as ended:
            code = ended.code or ("" if ended.status != FAULT else "INTERNAL_ERROR")
            self._phase_ended(name, ended.status, code, ended.message, "ABORT")
            raise
        status = FAILED if failure else SUCCEEDED
        if failure:
            self.succeeding = False
        on_failure = spec["on_failure"] if spec else ""
        exported = (
            self._exported()
            if name == POST_BUILD or (failure and next_phase(name, status, on_failure) != POST_BUILD)
            else None
        )
        if exported is not None:
            self.journal.report("exported", variables=exported)
        self._phase_ended(name, status, "COMMAND_EXECUTION_ERROR" if failure else "", failure, on_failure)
        return status, on_failure

    def _phase_ended(self, name: str, status: str, code: str, message: str, on_failure: str) -> None:
        self.journal.say(f"Phase complete: {name} State: {status}")
        self.journal.say(f"Phase context status code: {code} Message: {message}")
        self.journal.report("phase_ended", phase=name, status=status, code=code, message=message, on_failure=on_failure)

    def _commands(self, spec: dict, kind: str) -> str:
        """Run commands until one fails; the message of that failure, or ""."""
        for index, command in enumerate(spec[kind]):
            self.journal.say(f"Running command {command}")
            code = self._step(f"{spec['name']}-{kind}-{index}", spec["user"])
            if code:
                self.journal.say(f"Command did not exit successfully {command} exit status {code}")
                exceeded = self.groups.exceeded()
                reason = f"exit status {code}" + (f": {exceeded}" if exceeded else "")
                return f"Error while executing command: {command}. Reason: {reason}"
        return ""

    def _step(self, name: str, user: str) -> int:
        """Run a script in the sandbox; its exit code. Raises Ended."""
        answer, answering = os.pipe()
        argv = script_arguments(
            scripts=self.runtime.inside["scripts"],
            name=name,
            shell=self.job["shell"],
            user=user,
            succeeding=self.succeeding,
        )
        self.starter.start(argv, output=self.out_w, descriptors={5: answering} if name == QUESTION else {})
        os.close(answering)
        answered = bytearray()
        os.set_blocking(answer, False)
        ending = self.starter.fileno()
        watched = [self.out, answer, ending]
        ready: list[int] = []
        code, failure = 0, ""
        try:
            while ending not in ready:
                ready = self._wait(watched)
                if self.out in ready:
                    self._drain()
                if answer in ready and not self._answered(answer, answered):
                    watched.remove(answer)
            if answer in watched:
                self._answered(answer, answered)
            code = self.starter.ended()
        except NotStarted as error:
            failure = str(error)
        finally:
            os.close(answer)
        self._drain()
        self.journal.flush()
        if not self.runtime.standing():
            failure = "its first process was killed, or memory ran out"
        if failure:
            exceeded = self.groups.exceeded()
            if exceeded:
                raise Ended(FAILED, exceeded[0].upper() + exceeded[1:], "COMMAND_EXECUTION_ERROR")
            raise Ended(FAULT, f"The build's sandbox ended by itself: {failure}")
        self.answer = bytes(answered)
        return code if code >= 0 else 128 - code

    def _wait(self, descriptors: list[int]) -> list[int]:
        """Wait until one can be read or a child ended; which can. Raises Ended."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Ended(TIMED_OUT, "Build timed out")
        watched = [*descriptors, self._wake_r, *self.disk.descriptors]
        ready, _, _ = select.select(watched, [], [], min(left, self.disk.pause()))
        if self._wake_r in ready:
            self._woken()
        self._check_disk()
        return ready

    def _check_disk(self) -> None:
        """End the build that uses more than it may, and give its space back before a word of it is written down. Raises Ended."""
        reason = self.disk.verdict(os.getpid())
        if reason:
            from pathlib import Path  # noqa: PLC0415

            from removal import remove_tree  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

            self.runtime.kill()
            self.runtime.let_go()
            for path in map(Path, self.disk.folders):
                with contextlib.suppress(OSError):
                    if path.is_dir():
                        remove_tree(path)
                    else:
                        path.unlink()
            raise Ended(FAILED, reason, "COMMAND_EXECUTION_ERROR")

    def _answered(self, answer: int, answered: bytearray) -> bool:
        """Take what a question's script printed; False at its end. Raises Ended when it is too much."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(answer, 65536):
                answered += chunk
                if len(answered) > 16 * _VARIABLE_LIMIT:
                    raise Ended(FAULT, "Exported variables are larger than this build may have")
            return False
        return True

    def _drain(self) -> bool:
        """Take all output there is now; False at its end."""
        try:
            for _ in range(256):  # a command that never stops printing must not keep a stop waiting
                data = os.read(self.out, 256 * 1024)
                if not data:
                    return False
                self.journal.output(data)
        except BlockingIOError:
            pass
        return True

    def _woken(self) -> None:
        """A child ended, or the worker has something to say. Raises Ended."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_r, 4096)
        reap()
        try:
            with open(os.path.join(self.directory, "control"), encoding="ascii") as file:
                status = file.read().strip()
        except OSError:
            return
        raise Ended(
            TIMED_OUT if status == TIMED_OUT else STOPPED,
            "Build timed out" if status == TIMED_OUT else "Build was stopped",
        )

    # --- variables and artifacts --------------------------------------------------------------------------------

    def _questions(self) -> tuple[list[str], list[str]]:
        wanted = dict.fromkeys([*self.job["exported"], *self.job["references"]])
        variables = [name for name in wanted if is_variable(name)]
        return variables, [spec["name"] for spec in self.job["artifacts"] if spec["name"]]

    def _ask(self) -> dict:
        """What the carried environment holds now: the variables asked for, and the artifacts' evaluated names."""
        variables, words = self._questions()
        if not variables and not words:
            return {"variables": {}, "names": []}
        self._step(QUESTION, "")
        parts = self.answer.decode("utf-8", "replace").split("\0")
        found = {name: parts[2 * i + 1] for i, name in enumerate(variables) if parts[2 * i : 2 * i + 1] == ["set"]}
        return {"variables": found, "names": parts[2 * len(variables) : 2 * len(variables) + len(words)]}

    def _exported(self) -> dict | None:
        if not self.job["exported"]:
            return None
        found = self._ask()["variables"]
        return {name: found[name] for name in self.job["exported"] if name in found}

    def _pack(self, answers: dict) -> None:
        self.journal.say(f"Entering phase {UPLOAD_ARTIFACTS}")
        self.journal.report("phase_started", phase=UPLOAD_ARTIFACTS)
        names = iter(answers["names"])
        for index, spec in enumerate(self.job["artifacts"]):
            evaluated = next(names, "") if spec["name"] else ""
            path = os.path.join(self.directory, packed_name(index))
            failure = pack_artifact(
                filled(spec, answers["variables"]),
                path,
                source=self.job["source"],
                compress=self.job["compress"],
                enter=self.runtime.enter,
                read=self._read,
                say=self.journal.say,
            )
            if failure:
                self.journal.report("packing_failed", message=failure)
                return
            self.journal.report("packed", identifier=spec["identifier"], file=os.path.basename(path), name=evaluated)
        self.journal.report("packing_done")

    def _read(self, descriptor: int) -> bytes:
        """Wait for bytes; b"" at the end. Raises Ended: packing can take longer than a build may."""
        while descriptor not in self._wait([descriptor]):
            pass
        return os.read(descriptor, 65536)
