"""The contract that every runtime keeps, on the supervisor alone: no server, no database."""

from __future__ import annotations

import encodings
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from penstock_waiting import until

from penstock.application import Settings
from penstock.builds.settings import BuildSettings
from penstock.builds.supervisor import journal
from penstock.builds.work import choose_for
from penstock.builds.workspace import OWN_TREES, Line, Step, Workspace
from penstock.sandbox import cgroups, kernel, registry
from penstock.sandbox.runtime import Runtime, RuntimeRefused
from penstock.sandbox.specification import Folder, Layout, Limits, Listener, Network, Specification

ROOT = os.geteuid() == 0
SECRET = "the-masked-value"
RUN = os.getpid()  # tells this run's processes from another's on the same machine


@dataclass
class Run:
    """A build under a supervisor."""

    runtime: Runtime
    sandbox: Specification
    space: Workspace
    inside: str
    job: dict[str, Any]
    found: list[Step] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def go(self) -> Run:
        self.space.write_private("job.json", orjson.dumps({"sandbox": self.sandbox.to_json(), **self.job}))
        assert self.space.start() == 0
        return self

    def until(self, condition: Callable[[], bool]) -> Run:
        def found_now() -> bool:
            self.read_journal()
            return condition()

        until(found_now, why=lambda: f"{self.log()}\n{(self.space.path / 'errors').read_text()}")
        return self

    def read_journal(self) -> None:
        self.found += self.space.steps()
        lines, behind = self.space.lines()
        self.lines += lines
        self.space.shipped(behind)

    def ended(self) -> Run:
        self.until(lambda: any(step.event == "ended" for step in self.found))
        self.until(lambda: self.space.supervisor() is None)
        self.read_journal()
        return self

    def log(self) -> str:
        return "\n".join(text for _, text in self.lines)

    def statuses(self) -> dict[str, str]:
        return {s.values["phase"]: s.values["status"] for s in self.found if s.event == "phase_ended"}

    def step(self, event: str) -> dict[str, Any]:
        return next(step.values for step in self.found if step.event == event)

    def packed(self, number: int = 0) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.space.path / f"packed-{number}.zip")


def phase(name: str, *commands: str, last: tuple[str, ...] = (), on_failure: str = "") -> dict[str, Any]:
    return {"name": name, "commands": list(commands), "finally": list(last), "user": "", "on_failure": on_failure}


Start = Callable[..., Run]


def limited(**more: float) -> Limits:
    return Limits(**{"memory": 1 << 30, "cpus": 2, "processes": 500, "disk": 1 << 30, "seconds": 60} | more)


@pytest.fixture(params=registry.names())
def runtime(request: pytest.FixtureRequest, needs) -> Runtime:
    chosen = registry.runtime_named(request.param)
    for package in chosen.needs:
        needs(package)
    return chosen


@pytest.fixture
def start(runtime: Runtime, tmp_path: Path) -> Iterator[Start]:
    runs: list[Run] = []

    def begin(*phases: dict[str, Any], **more: Any) -> Run:
        user = runtime.user(os.getpid() * 64 + len(runs))
        name = f"{os.getpid()}-{len(runs)}"
        space = Workspace(tmp_path / f"build-{name}", OWN_TREES / name if user else tmp_path / f"build-{name}" / "tree")
        space.create()
        inside = "/codebuild" if runtime.moves_folders else str(space.tree)
        (space.output / "src1" / "src").mkdir(parents=True)
        sandbox = Specification(
            runtime=runtime.name,
            program=runtime.program(),
            subject="build",
            directory=str(space.path),
            user=user,
            folders=(
                Folder(path=str(space.tree / "readonly"), inside=f"{inside}/readonly"),
                Folder(path=str(space.output), inside=f"{inside}/output", writable=True),
            ),
            layout=Layout(hidden=(str(tmp_path),)),
            limits=more.pop("limits", limited()),
            network=Network(mode=runtime.networks[0], target_host="127.0.0.1", target_port=1, token="token"),
        )
        job: dict[str, Any] = {
            "source": f"{inside}/output/src1/src",
            "masked": [SECRET],
            "environment": {
                "PATH": os.defpath + ":/usr/sbin:/sbin",
                "HOME": "/root",
                "GREETING": 'it\'s $HOME "quoted"\nline',
            },
            "ports_in": [],
            "version": "0.2",
            "shell": "/bin/sh",
            "log_limit": 1_000_000,
            "phases": list(phases),
            "exported": [],
            "references": [],
            "artifacts": [],
            "compress": True,
        }
        run = Run(runtime, sandbox, space, inside, job | more)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        pid = run.space.supervisor()
        if pid is not None:
            run.space.halt("STOPPED")
            until(lambda run=run: run.space.supervisor() is None)
        run.space.remove()


def test_the_probe_offers_it_with_a_reason(runtime: Runtime):
    choice = registry.choose(wanted=runtime.name, network="", allow_unisolated=True, layout=Layout())
    assert (choice.name, choice.network, bool(choice.offer.message)) == (runtime.name, runtime.networks[0], True)


def test_an_unknown_runtime_refused_with_a_reason(tmp_path: Path):
    with pytest.raises(RuntimeRefused, match="no runtime 'magic'"):
        choose_for(Settings(data_dir=tmp_path, components=(BuildSettings(runtime="magic"),)))


@pytest.mark.parametrize("wanted", [registry.AUTO, "process"])
def test_a_network_mode_that_cannot_be_had_is_refused_and_never_replaced(
    wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))  # no bwrap
    with pytest.raises(RuntimeRefused, match="--build-network endpoint"):
        choose_for(
            Settings(
                data_dir=tmp_path,
                components=(BuildSettings(runtime=wanted, network="endpoint", allow_unisolated=True),),
            )
        )


def test_a_runtime_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeRefused, match="--build-runtime bubblewrap asks.*bwrap.* is not installed"):
        choose_for(
            Settings(data_dir=tmp_path, components=(BuildSettings(runtime="bubblewrap", allow_unisolated=True),))
        )


def test_a_page_describes_it(runtime: Runtime):
    assert (Path(__file__).parents[2] / "docs" / "reference" / "runtimes" / f"{runtime.name}.md").exists()


def test_phases_run_in_order_and_their_output_is_logged(start: Start):
    run = start(phase("BUILD", "echo out; echo err >&2; printf 'no newline'")).go().ended()
    assert run.statuses() == dict.fromkeys(("INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"), "SUCCEEDED")
    texts = [text for _, text in run.lines]
    assert texts.index("out") < texts.index("err") < texts.index("no newline")
    assert "Running command echo out" in run.log()
    assert run.step("ended") == {"status": "", "message": ""}


def test_variables_and_folder_are_carried_and_shells_are_not(start: Start):
    run = (
        start(
            phase("INSTALL", "FOO='a b'\nexport BAR=$FOO.; cd /tmp; set -e; f() { :; }", "unset GREETING"),
            phase("PRE_BUILD", "false; echo alive", "type f >/dev/null 2>&1 && exit 9 || true"),
            phase("BUILD", 'echo "[$FOO][$BAR][$PWD][${GREETING-unset}]"', "sh -c 'echo child=$FOO'"),
        )
        .go()
        .ended()
    )
    assert set(run.statuses().values()) == {"SUCCEEDED"}, run.log()
    for expected in ("alive", "[a b][a b.][/tmp][unset]", "child=a b"):
        assert expected in [text for _, text in run.lines]


def test_bash_when_it_is_asked_for(start: Start):
    run = start(phase("BUILD", "A=1; [[ $A == 1 ]] && echo yes", "echo $A"), shell="/bin/bash").go().ended()
    assert "yes" in [text for _, text in run.lines]
    assert "1" in [text for _, text in run.lines]


def test_version_0_1_forgets_between_commands(start: Start):
    run = start(phase("BUILD", "A=1; cd /tmp", 'echo "[$A][$PWD]"'), version="0.1").go().ended()
    assert f"[][{run.job['source']}]" in [text for _, text in run.lines]


def test_a_variable_comes_through_as_it_is(start: Start):
    run = start(phase("BUILD", 'printf %s "$GREETING" | od -An -c | head -3; echo "$GREETING"')).go().ended()
    assert 'it\'s $HOME "quoted"\nline' in run.log()


def test_a_failing_command_skips_the_rest_but_not_finally(start: Start):
    run = (
        start(
            phase("BUILD", "exit 3", "echo never", last=("echo last=$CODEBUILD_BUILD_SUCCEEDING",)),
            phase("POST_BUILD", "echo post=$CODEBUILD_BUILD_SUCCEEDING"),
        )
        .go()
        .ended()
    )
    assert run.statuses() == {
        "INSTALL": "SUCCEEDED",
        "PRE_BUILD": "SUCCEEDED",
        "BUILD": "FAILED",
        "POST_BUILD": "SUCCEEDED",
    }
    texts = [text for _, text in run.lines]
    assert "never" not in texts
    assert {"last=0", "post=0"} <= set(texts)
    failed = next(s.values for s in run.found if s.event == "phase_ended" and s.values["phase"] == "BUILD")
    assert failed["code"] == "COMMAND_EXECUTION_ERROR"
    assert failed["message"] == "Error while executing command: exit 3. Reason: exit status 3"


def test_unfinished_quotes_and_documents_harm_only_their_command(start: Start):
    run = (
        start(phase("BUILD", "cat <<EOF\ntext", on_failure="CONTINUE"), phase("POST_BUILD", "echo 'open")).go().ended()
    )
    assert run.statuses()["POST_BUILD"] == "FAILED"


def test_a_failed_install_ends_the_commands(start: Start):
    run = start(phase("INSTALL", "false"), phase("BUILD", "echo never")).go().ended()
    assert run.statuses() == {"INSTALL": "FAILED"}
    assert not any(step.event == "packing_done" for step in run.found)


def test_background_processes_live_between_commands_and_die_at_the_end(start: Start):
    run = start(
        phase("INSTALL", f"sleep 987.{RUN} & echo $! >/tmp/pid.$CODEBUILD_X", f"setsid sleep 986.{RUN} &"),
        phase("BUILD", "kill -0 $(cat /tmp/pid.$CODEBUILD_X) && echo lives; rm /tmp/pid.$CODEBUILD_X"),
    )
    run.job["environment"]["CODEBUILD_X"] = run.space.path.name
    run.go().ended()
    assert "lives" in [text for _, text in run.lines]
    assert not _processes(f"sleep\0987.{RUN}".encode()) | _processes(f"sleep\0986.{RUN}".encode())


def _processes(command: bytes) -> set[str]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if command in (folder / "cmdline").read_bytes():
                    found.add(folder.name)
            except OSError:
                continue
    return found


@pytest.mark.parametrize("status", ["STOPPED", "TIMED_OUT"])
def test_it_ends_when_asked_with_everything_it_started(start: Start, status: str):
    run = start(
        phase("BUILD", f"echo begun; (trap '' TERM HUP; sleep 985.{RUN}) & sleep 985.{RUN}", last=("echo never",))
    ).go()
    run.until(lambda: "begun" in run.log())
    began = time.monotonic()
    run.space.halt(status)
    run.ended()
    assert time.monotonic() - began < 30
    assert run.statuses()["BUILD"] == run.step("ended")["status"] == status
    assert "never" not in [text for _, text in run.lines]
    assert not _processes(f"sleep\0985.{RUN}".encode())


def test_it_ends_by_itself_when_its_time_is_over(start: Start):
    run = start(phase("BUILD", f"sleep 984.{RUN}"), limits=limited(seconds=0.5)).go().ended()
    assert run.statuses()["BUILD"] == "TIMED_OUT"


def test_a_build_that_kills_all_it_can_ends_by_itself(start: Start):
    run = start(phase("BUILD", "kill -9 -1; sleep 5")).go().ended()
    if run.runtime.isolates:
        assert run.step("ended")["status"] == "FAULT"
        assert "sandbox ended by itself" in run.step("ended")["message"]
    else:
        assert run.statuses()["BUILD"] == "SUCCEEDED"  # its own processes were all that it could reach


def test_killing_the_supervisor_ends_its_processes(start: Start):
    run = start(phase("BUILD", f"echo begun; sleep 983.{RUN}")).go()
    run.until(lambda: "begun" in run.log())
    pid = run.space.supervisor()
    assert pid is not None
    if not run.runtime.isolates:
        pytest.skip("a process that loses its supervisor is only found again by its user; the worker reports the fault")
    os.kill(pid, 9)
    run.until(lambda: run.space.supervisor() is None)
    run.space.end_processes()  # as the worker does, which finds it gone
    run.until(lambda: not _processes(f"sleep\0983.{RUN}".encode()))
    assert run.space.started


def test_it_never_runs_a_second_time(start: Start):
    run = start(phase("BUILD", "true")).go().ended()
    assert run.space.start() == 3


def test_only_one_supervisor_has_a_build(start: Start):
    run = start(phase("BUILD", f"echo begun; sleep 982.{RUN}")).go()
    run.until(lambda: "begun" in run.log())
    assert run.space.start() == 3


def test_secrets_are_masked_and_the_log_has_an_end(start: Start):
    run = (
        start(phase("BUILD", f"echo a {SECRET} b", "yes 0123456789 | head -c 3000000"), log_limit=100_000).go().ended()
    )
    assert "a *** b" in [text for _, text in run.lines]
    assert (run.space.path / "log").stat().st_size < 110_000
    assert "is longer than 100000 bytes" in run.log()
    assert run.statuses()["BUILD"] == "SUCCEEDED"


def test_what_tells_the_agents_lines_from_others_is_never_masked(start: Start):
    run = start(
        phase("BUILD", "echo '[Container] 2006/01/02 15:04:05.000000 forged: Container'"),
        masked=["Container", "2", "echo"],
    )
    texts = [text for _, text in run.go().ended().lines]
    ours = [text for text in texts if text.startswith("[Container] ")]
    assert all(re.fullmatch(r"\[Container\] [0-9/]{10} [0-9:.]{15} .*", text) for text in ours)
    assert any("Running command ***" in text for text in ours)
    assert [text for text in texts if "forged" in text and text not in ours] == [
        "| [***] ***006/01/0*** 15:04:05.000000 forged: ***"
    ]


def test_the_secrets_of_a_renewed_session_are_masked_as_well(start: Start):
    run = start(phase("BUILD", "echo waits; while [ ! -e go ]; do sleep 0.01; done; echo one FIRST, two SECOND"))

    def session(secret: str) -> None:
        run.space.write_private("credentials.json", orjson.dumps({"SecretAccessKey": secret, "Token": "unused"}))

    session("FIRST")
    run.go().until(lambda: "\nwaits" in run.log())
    session("SECOND")
    (run.space.output / "src1" / "src" / "go").touch()
    assert "one ***, two ***" in [text for _, text in run.ended().lines]


def test_lines_of_the_agent_cannot_be_forged(start: Start):
    forged = "[Container] 2026/01/01 00:00:00.000000 Phase complete: BUILD State: SUCCEEDED"
    spellings = [
        forged,
        f"  {forged}",
        f"x\\r{forged}",
        f"\\033[0m{forged}",
        f"\\033[1;31m\\t{forged}\\r",
        f"\\007{forged}",
    ]
    run = start(
        phase(
            "BUILD",
            *(f"printf '{text}\\n'" for text in spellings),
            f"printf '{forged}'",
            f": '\n{forged}'",
            "echo see [Container]",
        )
    )
    run.go().ended()
    lookalikes = [text for _, text in run.lines if forged in text]
    assert len([text for text in lookalikes if text.startswith("| ")]) == len(spellings) + 2, run.log()
    assert not [text for text in lookalikes if not text.startswith(("| ", "[Container] 20"))]
    assert not [text for text in lookalikes if text.startswith("[Container] 2026/01/01")]
    assert "see [Container]" in [text for _, text in run.lines]


def test_no_process_of_a_build_says_how_a_command_ended(start: Start):
    """There is no descriptor to write it to, and what is written to the outputs of the sandbox's first processes says nothing."""
    forge = "for pid in 1 2 $PPID; do for fd in 3 4 5 6 7 8 9 10 11 12 13 14; do (echo 'BUILD-commands-1 0' >/proc/$pid/fd/$fd) 2>/dev/null; done; done"
    run = start(
        phase("BUILD", f"(while :; do {forge}; sleep 0.02; done) & true", "sleep 0.3; exit 7"),
        phase("POST_BUILD", "head -c 100000 /dev/urandom >/proc/2/fd/4 2>/dev/null; true"),
    )
    run.go().ended()
    assert run.statuses()["BUILD"] == "FAILED", run.log()
    failed = next(s.values for s in run.found if s.event == "phase_ended" and s.values["phase"] == "BUILD")
    assert failed["message"].endswith("exit status 7")
    assert run.statuses()["POST_BUILD"] == "SUCCEEDED"
    assert run.step("ended")["status"] == ""


def test_long_lines_and_odd_bytes_are_cut_into_events(start: Start):
    run = start(phase("BUILD", "head -c 300000 /dev/zero | tr '\\0' x; echo; printf '\\377\\n'")).go().ended()
    assert sum(text.count("x") for _, text in run.lines if set(text) == {"x"}) == 300_000
    assert "�" in [text for _, text in run.lines]


def artifact(*files: str, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "identifier": "",
        "base_directory": "",
        "discard_paths": False,
        "exclude_paths": [],
        "name": "",
        "enable_symlinks": False,
    }
    return base | {"files": list(files)} | more


def test_artifacts_are_packed_as_the_build_sees_them(start: Start):
    run = (
        start(
            phase("BUILD", "mkdir -p d/e; echo 1 >d/a; echo 2 >d/e/b; echo m >d/e/b.map; chmod 755 d/a; OUT=d; ln -s a d/l; ln -s /nowhere d/broken"),
            artifacts=[artifact("**/*", base_directory="$OUT", exclude_paths=["**/*.map"], name="out-$OUT-$(echo x)"), artifact("d/e/b", identifier="flat", discard_paths=True)],
            references=["OUT"],
        )
        .go()
        .ended()
    )  # fmt: skip
    assert run.step("packed")["name"] == "out-d-x"
    with run.packed() as archive:
        assert sorted(archive.namelist()) == ["a", "broken", "e/b", "l"]
        assert archive.read("l") == b"1\n"
        assert archive.read("broken") == b"/nowhere"
        assert archive.getinfo("a").external_attr >> 16 & 0o777 == 0o755
    with run.packed(1) as archive:
        assert archive.namelist() == ["b"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ('v-$(echo "a b" | cut -d" " -f2)', "v-b"),
        ("it's-\"$N\"-`echo '1  2'`-\\$N", 'it\'s-"n"-1  2-$N'),
        ("$(", ""),
    ],
)
def test_the_name_of_an_artifact_is_what_the_shell_makes_of_it(start: Start, word: str, name: str):
    artifacts = [artifact("f", name=word), artifact("f", name="next", identifier="second")]
    run = start(phase("BUILD", "touch f; N=n"), artifacts=artifacts).go().ended()
    assert [step.values["name"] for step in run.found if step.event == "packed"] == [name, "next"]


def test_what_is_no_variable_displaces_none(start: Start):
    run = start(
        phase("BUILD", "mkdir d; touch d/f; OUT=d"),
        artifacts=[artifact("f", base_directory="${1}$OUT")],
        references=["1", "OUT"],
    )
    with run.go().ended().packed() as archive:
        assert archive.namelist() == ["f"]


@pytest.mark.parametrize("more", [{}, {"enable_symlinks": True}])
@pytest.mark.parametrize("pattern", ["link", "**/*", "*"])
def test_a_link_to_a_folder_is_kept(start: Start, pattern: str, more: dict[str, Any]):
    run = start(phase("BUILD", "mkdir d; touch d/f; ln -s d link"), artifacts=[artifact(pattern, **more)])
    with run.go().ended().packed() as archive:
        assert archive.read("link") == b"d"


@pytest.mark.parametrize(("halted", "status"), [(True, "STOPPED"), (False, "TIMED_OUT")])
def test_packing_without_end_ends_with_the_build(start: Start, halted: bool, status: str):
    run = start(
        phase("BUILD", "truncate -s 8T endless"),
        artifacts=[artifact("endless")],
        limits=limited(seconds=60 if halted else 2),
    ).go()
    run.until(lambda: "Found 1 file(s)" in run.log())
    if halted:
        run.space.halt(status)
    run.ended()
    assert run.step("ended")["status"] == status
    assert not [step for step in run.found if step.event in ("packed", "packing_done")]


def test_killing_the_supervisor_ends_its_packing(start: Start):
    run = start(phase("BUILD", "truncate -s 8T endless"), artifacts=[artifact("endless")]).go()
    run.until(lambda: "Found 1 file(s)" in run.log())
    pid = run.space.supervisor()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    run.until(lambda: not _processes(str(run.space.path).encode()))


def test_files_from_times_that_a_zip_cannot_write_are_packed(start: Start):
    run = start(
        phase("BUILD", "touch -d '1971-01-01' old; touch -d '2200-01-01' new"), artifacts=[artifact("old", "new")]
    )
    run.go().ended()
    with run.packed() as archive:
        assert {info.filename: info.date_time[0] for info in archive.infolist()} == {"old": 1980, "new": 2107}


def test_packing_runs_no_code_of_the_build(start: Start):
    """The child that packs has the host's uid 0 and the build's root: whatever Python imports there is the build's."""
    codecs = Path(encodings.__file__).parent
    supervisor = Path(journal.__file__).parent
    run = start(
        phase(
            "BUILD",
            f"mkdir -p {codecs} {supervisor} || exit 0",
            f"for name in packing run; do echo '# coding: planted' >{supervisor}/$name.py || true; done",
            f"echo \"open('/codebuild/output/planted', 'w')\" >{codecs}/planted.py || true",
        ),
        artifacts=[artifact("\0/*")],  # fails, so that Python looks for its own source to show where
    )
    run.go().ended()
    assert "could not be packed" in run.step("packing_failed")["message"]
    assert not (run.space.output / "planted").exists()


def test_nothing_to_pack_is_said_as_codebuild_says_it(start: Start):
    run = start(phase("BUILD", "true"), artifacts=[artifact("*.jar")]).go().ended()
    assert run.step("packing_failed") == {"message": "no matching artifact paths found"}
    run = start(phase("BUILD", "true"), artifacts=[artifact("*", base_directory="dist")]).go().ended()
    assert run.step("packing_failed") == {"message": "no matching base directory path found for dist"}
    assert "Skipping invalid file path" not in run.log()


def has(controller: str) -> bool:
    try:
        cgroups._parent(controller)
    except OSError:
        return False
    return ROOT


@pytest.mark.skipif(not has("memory"), reason="this process cannot make control groups with the controller memory")
def test_memory_that_runs_out_is_the_reason_of_a_failure(start: Start):
    eater = "head -c 300M /dev/zero | tail -n 1 | wc -c | grep 314572800"
    run = start(phase("BUILD", eater), limits=limited(memory=64 << 20)).go().ended()
    failed = next(s.values for s in run.found if s.event == "phase_ended" and s.values["phase"] == "BUILD")
    assert failed["status"] == "FAILED"
    assert failed["message"].endswith(": the build used more than its 64 MB of memory")
    _no_groups(run)


@pytest.mark.skipif(not has("memory"), reason="this process cannot make control groups with the controller memory")
def test_memory_of_files_counts_as_well(start: Start):
    run = start(phase("BUILD", "head -c 300M /dev/zero >/dev/shm/full.$$; exit 1"), limits=limited(memory=64 << 20))
    if not run.runtime.isolates:
        pytest.skip("a process shares the folder with the host")
    run.go().ended()
    assert "the build used more than its 64 mb of memory" in str(run.found).lower()


@pytest.mark.skipif(not has("pids"), reason="this process cannot make control groups with the controller pids")
def test_processes_that_run_out_are_the_reason_of_a_failure(start: Start):
    bomb = f"for n in $(seq 100); do sleep 980.{RUN} & done; exit 3"
    run = start(phase("BUILD", bomb), limits=limited(processes=40)).go().ended()
    failed = next(s.values for s in run.found if s.event == "phase_ended" and s.values["phase"] == "BUILD")
    assert failed["message"].endswith(": the build had more than its 40 processes at once")
    assert not _processes(f"sleep\0980.{RUN}".encode())
    _no_groups(run)


def _no_groups(run: Run) -> None:
    made = (run.space.path / "groups").read_text().split()
    assert made
    assert not [folder for folder in made if os.path.exists(folder)]


def test_a_build_that_uses_more_than_its_disk_ends_and_its_space_is_free(start: Start):
    fill = "echo fills; head -c 70M /dev/zero >a; exec 9>b; rm b; head -c 70M /dev/zero >&9; sleep 60; echo never"
    run = start(phase("BUILD", fill), phase("POST_BUILD", "echo never"), limits=limited(disk=100 << 20)).go().ended()
    failed = next(s.values for s in run.found if s.event == "phase_ended" and s.values["phase"] == "BUILD")
    assert (failed["status"], failed["code"]) == ("FAILED", "COMMAND_EXECUTION_ERROR")
    assert failed["message"] == "The build used more than its 100 MB of disk"
    assert "POST_BUILD" not in run.statuses()
    assert run.step("ended")["status"] == "FAILED"
    assert not run.space.output.exists()


def test_a_packed_artifact_counts_as_well(start: Start):
    limits = limited(disk=100 << 20)
    run = start(
        phase("BUILD", "truncate -s 8T endless"), artifacts=[artifact("endless")], compress=False, limits=limits
    )
    run.go().ended()
    assert run.step("ended") == {"status": "FAILED", "message": "The build used more than its 100 MB of disk"}
    assert not list(run.space.path.glob("packed-*"))


@pytest.mark.skipif(not ROOT, reason="only root can ask as another user")
def test_no_other_user_reads_or_changes_the_variables_of_a_build(start: Start):
    run = start(phase("BUILD", "echo begun; while [ ! -e go ]; do sleep 0.01; done; echo done")).go()
    run.until(lambda: "\nbegun" in run.log())
    variables = run.space.output / "tmp" / "env.sh"
    assert "GREETING" in variables.read_text()
    for command in (f"cat {variables}", f"echo >>{variables}", f"ls {run.space.output}"):
        asked = subprocess.run(
            ["/bin/sh", "-c", command], user=65534, group=65534, extra_groups=[], capture_output=True
        )
        assert (asked.returncode != 0, asked.stdout) == (True, b"")
    (run.space.output / "src1" / "src" / "go").touch()
    assert run.ended().statuses()["BUILD"] == "SUCCEEDED"


def test_links_of_artifacts_lead_nowhere_outside(start: Start, tmp_path: Path):
    secret = tmp_path / "master.key"
    secret.write_text("hush")
    secret.chmod(0o600)
    run = (
        start(
            phase("BUILD", f"ln -s {secret} stolen; ln -s {tmp_path} folder; echo fine >fine"),
            artifacts=[artifact("**/*", "folder/master.key")],
        )
        .go()
        .ended()
    )
    if not run.runtime.isolates and not ROOT:
        pytest.skip("without root, processes are not isolated")
    with run.packed() as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            "fine": "fine\n",
            "folder": str(tmp_path),
            "stolen": str(secret),
        }


def test_links_of_artifacts_are_content(start: Start):
    run = start(
        phase("BUILD", "mkdir d; echo 1 >d/f; ln -s d folder; ln -s loop loop; ln -s ../../up out; ln -s /etc/hostname abs; ln -s d/f file"),
        artifacts=[artifact("folder", "loop", "out", "abs", "file", enable_symlinks=True), artifact("*", identifier="plain")],
    )  # fmt: skip
    run.go().ended()
    links = {"folder": b"d", "loop": b"loop", "out": b"../../up"}
    with run.packed() as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            **links,
            "abs": b"/etc/hostname",
            "file": b"d/f",
        }
        assert all(stat.S_ISLNK(info.external_attr >> 16) for info in archive.infolist())
    with run.packed(1) as archive:  # a link that leads to a file is followed, the others stay what they are
        assert {name: archive.read(name) for name in links} == links
        assert archive.read("file") == b"1\n"
        assert stat.S_ISREG(archive.getinfo("file").external_attr >> 16)


def test_names_of_artifacts_keep_their_bytes(start: Start):
    made = r"""touch "$(printf 'caf\351')" "$(printf 'caf\303\251')" plain"""
    run = start(phase("BUILD", made), artifacts=[artifact("*")]).go().ended()
    content = (run.space.path / "packed-0.zip").read_bytes()
    assert b"caf\xe9" in content
    with run.packed() as archive:
        flags = {info.orig_filename: info.flag_bits & 0x800 for info in archive.infolist()}
    assert flags == {b"caf\xe9".decode("cp437"): 0, "caf\u00e9": 0x800, "plain": 0}


def test_files_that_meet_under_one_name_are_reported(start: Start):
    run = start(phase("BUILD", "mkdir a b; echo 1 >a/x; echo 2 >b/x"), artifacts=[artifact("**/*", discard_paths=True)])
    run.go().ended()
    warnings = [line for line in run.log().splitlines() if "has a file x already" in line]
    assert len(warnings) == 1
    assert "/a/x" in warnings[0]
    assert "/b/x" in warnings[0]
    with run.packed() as archive:
        assert archive.read("x") == b"1\n"


def test_a_file_that_cannot_be_read_fails_the_artifacts_by_name(start: Start):
    run = start(phase("BUILD", "echo 1 >f; ln -s f l; chmod 0 f"), artifacts=[artifact("f")]).go().ended()
    if run.runtime.isolates and ROOT:
        pytest.skip("the root user of this build reads everything")
    assert run.step("packing_failed") == {"message": "the artifact's file f cannot be read: Permission denied"}


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_a_script_with_windows_line_ends_is_explained(start: Start, shell: str, version: str):
    made = r"""printf '#!/bin/sh\r\necho hi\r\n' >run.sh; chmod +x run.sh"""
    run = start(phase("BUILD", made, "./run.sh --fast"), shell=shell, version=version).go().ended()
    assert run.statuses()["BUILD"] == "FAILED"
    warnings = "./run.sh has Windows line ends, so its interpreter is not found. Convert it: sed -i 's/\\r$//' ./run.sh"
    assert warnings in [text for _, text in run.lines]
    other = start(phase("BUILD", "no-such-program x"), shell=shell, version=version).go().ended()
    assert "Windows" not in other.log()


def test_a_failing_finally_fails_its_phase(start: Start):
    run = start(phase("INSTALL", "true", last=("exit 3",)), phase("BUILD", "echo never")).go().ended()
    assert run.statuses() == {"INSTALL": "FAILED"}
    ended = next(s.values for s in run.found if s.event == "phase_ended")
    assert ended["code"] == "COMMAND_EXECUTION_ERROR"
    assert ended["message"] == "Error while executing command: exit 3. Reason: exit status 3"


def test_exported_variables_are_read_at_the_end(start: Start):
    run = (
        start(phase("BUILD", "A=1; B='two\nlines'"), phase("POST_BUILD", "A=3"), exported=["A", "B", "UNSET"])
        .go()
        .ended()
    )
    assert run.step("exported") == {"variables": {"A": "3", "B": "two\nlines"}}


def test_the_server_is_reached_through_the_endpoint_and_the_session_with_its_token(start: Start, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)  # a build that fails never comes

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 200 OK\r\n\r\nfrom the server")

        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        run = start(
            phase("BUILD", "curl -sS --noproxy '*' $AT", "curl -sS --noproxy '*' $CREDS; curl -sS --noproxy '*' -H 'Authorization: token' $CREDS"),
            ports_in=["AT", "CREDS"],
        )  # fmt: skip
        listeners = [Listener(name="credentials", address="127.0.0.1")]
        if run.runtime.isolates:
            listeners.append(Listener(name="endpoint", address="127.0.0.1", port=port))
        network = replace(run.sandbox.network, target_port=port, listeners=tuple(listeners))
        run.sandbox = replace(run.sandbox, network=network)
        run.job["environment"] |= {"AT": f"http://127.0.0.1:{port}/", "CREDS": "http://127.0.0.1:{credentials_port}/"}
        run.space.write_private("credentials.json", b'{"AccessKeyId": "ASIA"}')
        run.go().ended()
        thread.join()
    assert "from the server" in run.log()
    assert "Authorization token of this build is missing or wrong" in run.log()
    assert '{"AccessKeyId": "ASIA"}' in run.log()


def test_the_start_of_a_supervisor_is_known_by_more_than_its_pid(start: Start):
    run = start(phase("BUILD", f"echo begun; sleep 981.{RUN}")).go()
    run.until(lambda: "begun" in run.log())
    known = orjson.loads((run.space.path / "supervisor.json").read_bytes())
    assert kernel.process_start(known["pid"]) == known["start"]
    (run.space.path / "supervisor.json").write_bytes(orjson.dumps(known | {"start": "1"}))
    assert run.space.supervisor() is None
    (run.space.path / "supervisor.json").write_bytes(orjson.dumps(known))
