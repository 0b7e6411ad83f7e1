"""Shipping a build's log: every line once and in order, whatever fails on the way and whoever continues."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock import builds
from penstock.builds.logship import LogsDenied, LogShipper
from penstock.builds.workspace import Workspace
from penstock.logfiles.reading import forward
from penstock.logfiles.streams import START, StreamFiles
from penstock.store.errors import StoreUnavailable
from penstock.wire.errors import AccessDenied, Throttled, error_class

NAMES = {"groupName": "/aws/codebuild/p", "streamName": "s"}


class Logs:
    """CloudWatch Logs as a build's role sees it, failing as a script says."""

    def __init__(self, folder: Path) -> None:
        self.stream: StreamFiles | None = StreamFiles(folder / "stream.log")
        self.script: list[str] = []
        self.calls: list[str] = []
        self.sizes: list[int] = []  # how many lines each batch had
        self.app: Any = SimpleNamespace(invoke=self.invoke)

    async def invoke(self, session: Any, service: str, operation: str, input: dict[str, Any], *, region: str) -> Any:
        self.calls.append(operation)
        fate = self.script.pop(0) if self.script else ""
        if fate == "before":
            raise StoreUnavailable("the database is restarting")
        if fate == "throttled":
            raise Throttled
        if fate == "denied":
            raise AccessDenied(f"not authorized to perform: logs:{operation}")
        if fate == "there":
            raise error_class("ResourceAlreadyExistsException")("there")
        if fate == "full":
            raise error_class("LimitExceededException")("too many")
        if fate == "gone":
            raise error_class("ResourceNotFoundException")("gone")
        if operation == "PutLogEvents":
            assert self.stream is not None
            self.sizes.append(len(input["logEvents"]))
            self.stream.append([(e["timestamp"], e["message"]) for e in input["logEvents"]], 0, input["sequenceToken"])
        if fate == "after":
            raise StoreUnavailable("the database is restarting")

    def messages(self) -> list[str]:
        assert self.stream is not None
        return [read.event.message for read in forward(self.stream, START, 0, None) if read.event is not None]


@pytest.mark.parametrize(
    ("script", "calls", "outcome"),
    [
        ([], ["CreateLogStream"], None),
        (["there"], ["CreateLogStream"], None),
        (["gone"], ["CreateLogStream", "CreateLogGroup", "CreateLogStream"], None),
        (["gone", "there", "there"], ["CreateLogStream", "CreateLogGroup", "CreateLogStream"], None),
        (["full"], ["CreateLogStream"], "too many"),
        (["gone", "full"], ["CreateLogStream", "CreateLogGroup"], "too many"),
    ],
)
async def test_group_and_stream_are_made_unless_they_are_there(tmp_path: Path, script, calls, outcome):
    logs = Logs(tmp_path)
    logs.script = script
    shipper = LogShipper(logs.app, space(tmp_path, 0), logs=NAMES, region="r")
    if outcome:
        with pytest.raises(LogsDenied, match=f"^{outcome}$"):
            await shipper.open("session")  # type: ignore[arg-type]
    else:
        await shipper.open("session")  # type: ignore[arg-type]
    assert (logs.calls, logs.script) == (calls, [])


def space(folder: Path, lines: int) -> Workspace:
    (folder / "log").write_text("".join(f"1000 line {number}\n" for number in range(lines)))
    found = Workspace(folder, folder / "tree")
    found.resume_log()
    return found


@given(
    st.lists(st.sampled_from(["", "before", "after", "throttled", "another worker"]), max_size=12), st.integers(0, 2500)
)
@settings(max_examples=examples(100), deadline=None)
def test_every_line_arrives_once_whatever_fails(tmp_path_factory, script: list[str], lines: int):
    folder = tmp_path_factory.mktemp("build")
    logs = Logs(folder)
    workspace = space(folder, lines)
    shipper = LogShipper(logs.app, workspace, logs=NAMES, region="us-east-1")

    async def send() -> None:
        nonlocal shipper
        for fate in script:
            if fate == "another worker":
                workspace = Workspace(folder, folder / "tree")
                workspace.resume_log()
                shipper = LogShipper(logs.app, workspace, logs=NAMES, region="us-east-1")
                continue
            logs.script = [fate]
            try:
                await shipper.ship(None)  # type: ignore[arg-type]
            except (StoreUnavailable, Throttled):
                with (folder / "log").open("a") as file:
                    file.write("2000 and more\n")
            logs.script = []
        await shipper.ship(None)  # type: ignore[arg-type]

    asyncio.run(send())
    written = [line.partition(" ")[2] for line in (folder / "log").read_text().splitlines()]
    assert logs.messages() == written


@pytest.mark.parametrize(
    ("lines", "batches"),
    [
        # Each letter outside of ASCII may weigh four bytes, and each line 26 more: the first three are 900,000.
        (["\u00e9" * 100_000] * 2 + ["x" * 99_922, "end"], [3, 1]),
        (["\u00e9" * 230_000, "end"], [1, 1]),
    ],
)
def test_lines_that_are_too_long_for_one_batch_go_in_as_few_as_hold_them(tmp_path: Path, lines, batches):
    logs = Logs(tmp_path)
    workspace = space(tmp_path, 0)
    (tmp_path / "log").write_text("".join(f"1000 {line}\n" for line in lines))
    asyncio.run(LogShipper(logs.app, workspace, logs=NAMES, region="r").ship(None))  # type: ignore[arg-type]
    assert logs.sizes == batches
    assert logs.messages() == lines


def test_a_deleted_stream_is_made_again_and_a_lost_right_ends_the_shipping(tmp_path: Path):
    logs = Logs(tmp_path)
    shipper = LogShipper(logs.app, space(tmp_path, 3), logs=NAMES, region="us-east-1")
    logs.script = ["gone", "gone"]
    asyncio.run(shipper.ship(None))  # type: ignore[arg-type]
    assert logs.calls == ["PutLogEvents", "CreateLogStream", "CreateLogGroup", "CreateLogStream", "PutLogEvents"]
    assert logs.messages() == ["line 0", "line 1", "line 2"]
    with (tmp_path / "log").open("a") as file:
        file.write("2000 more\n")
    logs.script = ["denied"]
    asyncio.run(shipper.ship(None))  # type: ignore[arg-type]
    assert shipper.refusal == "not authorized to perform: logs:PutLogEvents"
    logs.calls.clear()
    asyncio.run(shipper.ship(None))  # type: ignore[arg-type]
    assert logs.calls == []


@pytest.mark.parametrize("script", [["denied"], ["gone", "denied"], ["gone", "", "denied"]])
def test_a_log_that_may_not_be_made_is_refused(tmp_path: Path, script: list[str]):
    logs = Logs(tmp_path)
    logs.script = script
    shipper = LogShipper(logs.app, space(tmp_path, 0), logs=NAMES, region="us-east-1")
    with pytest.raises(LogsDenied, match="not authorized"):
        asyncio.run(shipper.open(None))  # type: ignore[arg-type]


def test_a_log_that_cannot_be_made_yet_is_tried_again_by_the_job(tmp_path: Path):
    logs = Logs(tmp_path)
    logs.script = ["throttled", "before"]
    shipper = LogShipper(logs.app, space(tmp_path, 0), logs=NAMES, region="us-east-1")
    with pytest.raises(Throttled):
        asyncio.run(shipper.open(None))  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        asyncio.run(shipper.open(None))  # type: ignore[arg-type]
    assert shipper.refusal == ""


def test_lines_of_the_worker_are_stamped_masked_and_not_forged(tmp_path: Path):
    """The worker writes as the supervisor does: what Git or an error says can look like a line of the agent's, or hold a secret."""
    app: Any = SimpleNamespace(clock=SimpleNamespace(now=lambda: 1_700_000_000_123))
    workspace = Workspace(tmp_path, tmp_path / "tree")
    workspace.write_session(b'{"SecretAccessKey": "the-secret-key", "Token": "the-token"}')
    shipper = LogShipper(app, workspace, logs=NAMES, region="us-east-1")
    shipper.say(
        "fatal: the-secret-key of the-token\n[Container] 2023/11/14 00:00:00.000000 Phase complete: BUILD State: SUCCEEDED"
    )
    workspace.resume_log()
    assert workspace.lines()[0] == [
        (1_700_000_000_123, "[Container] 2023/11/14 22:13:20.123000 fatal: *** of ***"),
        (1_700_000_000_123, "| [Container] 2023/11/14 00:00:00.000000 Phase complete: BUILD State: SUCCEEDED"),
    ]
    assert shipper.written.is_set()


def test_one_module_writes_the_agents_lines():
    source = Path(builds.__file__).parent
    assert [path.name for path in source.rglob("*.py") if "[Container]" in path.read_text()] == ["log.py"]
