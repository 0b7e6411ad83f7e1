"""One build under its supervisor: phases and their commands, exported variables, and artifacts."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from typing import Any

from penstock.builds.phases import COMMAND_PHASES, ENDING, PhaseType, Status, next_phase
from penstock.builds.supervisor.artifacts import filled, pack_artifact, packed_name
from penstock.builds.supervisor.journal import Journal
from penstock.builds.supervisor.shell import is_variable, question, script_arguments, write, write_scripts
from penstock.sandbox.relay import credentials_file
from penstock.sandbox.sandbox import AnswerTooLong, Broken, LimitExceeded, Sandbox, TimeOver
from penstock.sandbox.specification import Specification

QUESTION = "question"  # the name of the script that asks for variables; those of commands begin with a phase
_ANSWER_LIMIT = 1 << 20  # bytes of all the variables and names that are asked for


class Ended(Exception):
    """The build ends early, with this status and message."""

    def __init__(self, status: Status, message: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """What ends a sandbox ends the build, with one of CodeBuild's statuses."""
    try:
        yield
    except LimitExceeded as exceeded:
        raise Ended(Status.FAILED, str(exceeded), "COMMAND_EXECUTION_ERROR") from None
    except TimeOver:
        raise Ended(Status.TIMED_OUT, ENDING[Status.TIMED_OUT]) from None
    except AnswerTooLong:
        raise Ended(Status.FAULT, "Exported variables are larger than this build may have") from None
    except Broken as broken:
        raise Ended(Status.FAULT, f"The build's sandbox ended by itself: {broken}") from None


def supervise(job: dict[str, Any], directory: str) -> int:
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
        session=credentials_file(directory),
    )
    try:
        build = Build(job, directory, journal)
        build.run()
    except Ended as ended:
        journal.report("ended", durable=True, status=ended.status, message=ended.message)
    except BaseException as fault:  # noqa: BLE001 - whatever it is, the build must end with a reason
        traceback.print_exc()
        journal.log.say(f"The build's supervisor failed: {fault}")
        journal.report("ended", durable=True, status=Status.FAULT, message=f"The build's supervisor failed: {fault}")
    else:
        journal.log.sync()
        journal.report("ended", durable=True, status="", message="")
    return 0


class Build:
    """The commands of one build and the sandbox they run in."""

    def __init__(self, job: dict[str, Any], directory: str, journal: Journal) -> None:
        self.job = job
        self.directory = directory
        self.journal = journal
        self.sandbox = Sandbox(
            Specification.from_json(job["sandbox"]), on_signal=self._signalled, on_output=journal.log.output
        )
        self.scripts, self.output = self.sandbox.specification.folders
        self.succeeding = True

    def run(self) -> None:
        """Everything between the sandbox's first process and the death of its last."""
        phase = COMMAND_PHASES[0]
        try:
            self._open()
        except OSError as error:
            raise Ended(
                Status.FAULT, f"The {self.sandbox.specification.runtime} runtime could not start: {error.strerror}"
            ) from error
        try:
            self._mark_started()
            while phase in COMMAND_PHASES:
                status, on_failure = self._phase(phase)
                phase = next_phase(phase, status, on_failure)
            answers = self._ask() if phase == PhaseType.UPLOAD_ARTIFACTS else {}
        finally:
            self._close()
        if phase == PhaseType.UPLOAD_ARTIFACTS:
            self._pack(answers)

    # --- the sandbox -------------------------------------------------------------------------------------------

    def _open(self) -> None:
        ports = self.sandbox.prepare()
        environment: dict[str, str] = self.job["environment"]
        for variable in self.job["ports_in"]:
            for name, port in ports.items():
                environment[variable] = environment[variable].replace(f"{{{name}_port}}", str(port))
        write_scripts(
            scripts=self.scripts.path,
            state=os.path.join(self.output.path, "tmp"),
            inside={
                "scripts": self.scripts.inside,
                "state": os.path.join(self.output.inside, "tmp"),
                "source": self.job["source"],
            },
            carries=self.job["version"] != "0.1",
            env=environment,
        )
        for name, body in self._bodies():
            write(os.path.join(self.scripts.path, name), body + "\n")
        try:
            self.sandbox.open(
                files=[os.path.join(self.directory, packed_name(index)) for index in range(len(self.job["artifacts"]))]
            )
        except Broken as error:
            raise Ended(Status.FAULT, f"The build could not start: {error}") from error
        self.journal.log.disk_full = self._check_disk
        for controller, reason in self.sandbox.unlimited.items():
            self.journal.log.say(f"Not limited by a control group: {controller} ({reason})")

    def _bodies(self) -> Iterator[tuple[str, str]]:
        for phase in self.job["phases"]:
            for kind in ("commands", "finally"):
                for index, command in enumerate(phase[kind]):
                    yield f"{phase['name']}-{kind}-{index}", command
        variables, arguments = self._questions()
        yield QUESTION, question(variables, arguments)

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
        self.sandbox.kill()
        self.journal.log.flush()

    # --- commands ----------------------------------------------------------------------------------------------

    def _phase(self, name: PhaseType) -> tuple[Status, str]:
        """Run one phase; its status and its on-failure."""
        spec = next((one for one in self.job["phases"] if one["name"] == name), None)
        self.journal.log.say(f"Entering phase {name}")
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
            code = ended.code or ("" if ended.status != Status.FAULT else "INTERNAL_ERROR")
            self._phase_ended(name, ended.status, code, ended.message, "ABORT")
            raise
        status = Status.FAILED if failure else Status.SUCCEEDED
        if failure:
            self.succeeding = False
        on_failure = spec["on_failure"] if spec else ""
        exported = (
            self._exported()
            if name == PhaseType.POST_BUILD
            or (failure and next_phase(name, status, on_failure) != PhaseType.POST_BUILD)
            else None
        )
        if exported is not None:
            self.journal.report("exported", variables=exported)
        self._phase_ended(name, status, "COMMAND_EXECUTION_ERROR" if failure else "", failure, on_failure)
        return status, on_failure

    def _phase_ended(self, name: PhaseType, status: Status, code: str, message: str, on_failure: str) -> None:
        self.journal.log.say(f"Phase complete: {name} State: {status}")
        self.journal.log.say(f"Phase context status code: {code} Message: {message}")
        self.journal.report("phase_ended", phase=name, status=status, code=code, message=message, on_failure=on_failure)

    def _commands(self, spec: dict[str, Any], kind: str) -> str:
        """Run commands until one fails; the message of that failure, or ""."""
        for index, command in enumerate(spec[kind]):
            self.journal.log.say(f"Running command {command}")
            code = self._step(f"{spec['name']}-{kind}-{index}", spec["user"])
            if code:
                self.journal.log.say(f"Command did not exit successfully {command} exit status {code}")
                exceeded = self.sandbox.exceeded()
                reason = f"exit status {code}" + (f": {exceeded}" if exceeded else "")
                return f"Error while executing command: {command}. Reason: {reason}"
        return ""

    def _step(self, name: str, user: str) -> int:
        """Run a script in the sandbox; its exit code. Raises Ended."""
        argv = script_arguments(
            scripts=self.scripts.inside,
            name=name,
            shell=self.job["shell"],
            user=user,
            succeeding=self.succeeding,
        )
        with _ending():
            code, self.answer = self.sandbox.run(argv, answer_limit=_ANSWER_LIMIT if name == QUESTION else 0)
        self.journal.log.flush()
        return code

    def _check_disk(self) -> None:
        """End the build that uses more than it may, before a word of it is written down. Raises Ended."""
        with _ending():
            self.sandbox.check_disk()

    def _signalled(self) -> None:
        """A child ended, or the worker has something to say. Raises Ended."""
        try:
            with open(os.path.join(self.directory, "control"), encoding="ascii") as file:
                status = file.read().strip()
        except OSError:
            return
        ending = Status.TIMED_OUT if status == Status.TIMED_OUT else Status.STOPPED
        raise Ended(ending, ENDING[ending])

    # --- variables and artifacts --------------------------------------------------------------------------------

    def _questions(self) -> tuple[list[str], list[str]]:
        wanted = dict.fromkeys([*self.job["exported"], *self.job["references"]])
        variables = [name for name in wanted if is_variable(name)]
        return variables, [spec["name"] for spec in self.job["artifacts"] if spec["name"]]

    def _ask(self) -> dict[str, Any]:
        """What the carried environment holds now: the variables asked for, and the artifacts' evaluated names."""
        variables, arguments = self._questions()
        if not variables and not arguments:
            return {"variables": {}, "names": []}
        self._step(QUESTION, "")
        parts = self.answer.decode("utf-8", "replace").split("\0")
        found = {name: parts[2 * i + 1] for i, name in enumerate(variables) if parts[2 * i : 2 * i + 1] == ["set"]}
        return {"variables": found, "names": parts[2 * len(variables) : 2 * len(variables) + len(arguments)]}

    def _exported(self) -> dict[str, str] | None:
        if not self.job["exported"]:
            return None
        found = self._ask()["variables"]
        return {name: found[name] for name in self.job["exported"] if name in found}

    def _pack(self, answers: dict[str, Any]) -> None:
        self.journal.log.say(f"Entering phase {PhaseType.UPLOAD_ARTIFACTS}")
        self.journal.report("phase_started", phase=PhaseType.UPLOAD_ARTIFACTS)
        names = iter(answers["names"])
        for index, spec in enumerate(self.job["artifacts"]):
            evaluated = next(names, "") if spec["name"] else ""
            path = os.path.join(self.directory, packed_name(index))
            failure = pack_artifact(
                filled(spec, answers["variables"]),
                path,
                source=self.job["source"],
                compress=self.job["compress"],
                enter=self.sandbox.enter,
                read=self._read,
                say=self.journal.log.say,
            )
            if failure:
                self.journal.report("packing_failed", message=failure)
                return
            self.journal.report("packed", identifier=spec["identifier"], file=os.path.basename(path), name=evaluated)
        self.journal.report("packing_done")

    def _read(self, descriptor: int) -> bytes:
        """Wait for bytes; b"" at the end. Raises Ended: packing can take longer than a build may."""
        with _ending():
            return self.sandbox.read(descriptor)
