"""Decisions of builds that depend on one word, each by itself: overrides, what a pipeline gives, names, leftovers and walks."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds import buildspec, pipeline
from penstock.builds import job as jobs
from penstock.builds.download import Download
from penstock.builds.errors import InvalidInputException, PhaseFailed
from penstock.builds.projects import check_project, with_overrides
from penstock.builds.supervisor import packing
from penstock.builds.supervisor.shell import is_variable
from penstock.builds.workspace import Workspace, _complete_lines

# --- what a build is made of ------------------------------------------------------------------------------------------

PROJECT = {
    "source": {"type": "S3", "location": "b/k", "buildspec": "a.yml"},
    "environment": {"image": "one", "type": "LINUX_CONTAINER", "environmentVariables": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
    "serviceRole": "arn:one",
}  # fmt: skip


@pytest.mark.parametrize(
    ("start", "member", "made"),
    [
        ({}, "source", PROJECT["source"]),
        ({"serviceRoleOverride": "arn:two"}, "serviceRole", "arn:two"),
        ({"buildspecOverride": "b.yml"}, "source", {"type": "S3", "location": "b/k", "buildspec": "b.yml"}),
        ({"imageOverride": "two"}, "environment", PROJECT["environment"] | {"image": "two"}),  # type: ignore[operator]
        ({"sourceTypeOverride": "NO_SOURCE"}, "source", {"type": "NO_SOURCE", "buildspec": "a.yml"}),
        ({"sourceTypeOverride": "CODEPIPELINE"}, "source", {"type": "CODEPIPELINE", "buildspec": "a.yml"}),
        ({"sourceTypeOverride": "GITHUB"}, "source", {"type": "GITHUB", "location": "b/k", "buildspec": "a.yml"}),
        ({"sourceTypeOverride": "NO_SOURCE", "sourceLocationOverride": "x"}, "source", {"type": "NO_SOURCE", "location": "x", "buildspec": "a.yml"}),
        (
            {"environmentVariablesOverride": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}, "environment",
            PROJECT["environment"] | {"environmentVariables": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},  # type: ignore[operator]
        ),
    ],
)  # fmt: skip
def test_what_a_start_overrides(monkeypatch, start, member, made):
    checked: list[Any] = []
    monkeypatch.setitem(with_overrides.__globals__, "check_project", checked.append)
    found = with_overrides(PROJECT, start)
    assert found[member] == made
    assert {name: value for name, value in found.items() if name != member} == {
        name: value for name, value in PROJECT.items() if name != member
    }
    assert checked == [found]


WHOLE = PROJECT | {"artifacts": {"type": "NO_ARTIFACTS"}, "serviceRole": "arn:aws:iam::111111111111:role/builds"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"source": {"type": "FTP"}}, "Invalid source type: FTP"),
    ({"source": {"type": "GITHUB", "location": "x"}}, "Sources of type GITHUB are not served yet: use CODECOMMIT, S3, CODEPIPELINE or NO_SOURCE"),
    ({"source": {"type": "CODECOMMIT"}}, "Project source location is required for source type CODECOMMIT"),
    ({"source": {"type": "S3", "location": "bucket"}}, "Invalid project source: location must be a valid S3 source (bucket/key)"),
    ({"source": {"type": "S3", "location": "arn:aws:s3:::bucket"}}, "Invalid project source: location must be a valid S3 source (bucket/key)"),
    ({"source": {"type": "NO_SOURCE", "location": "x"}}, "Source location must not be given for source type NO_SOURCE"),
    ({"source": {"type": "NO_SOURCE", "buildspec": "a.yml"}}, "Invalid project source: source type NO_SOURCE needs its buildspec inline: there is no file to read"),
    ({"source": {"type": "S3", "location": "b/k", "reportBuildStatus": True}}, "Source type S3 does not support reporting of build status"),
    ({"artifacts": {"type": "FTP"}}, "Invalid artifacts type: FTP"),
    ({"artifacts": {"type": "S3"}}, "Invalid artifacts: location must be a bucket for artifacts type S3"),
    ({"artifacts": {"type": "S3", "location": "b", "path": "a/../b"}}, "Invalid artifacts: path and name must not contain '..'"),
    ({"artifacts": {"type": "S3", "location": "b", "name": ".."}}, "Invalid artifacts: path and name must not contain '..'"),
    ({"artifacts": {"type": "CODEPIPELINE"}}, "Project source and artifacts types must both be CODEPIPELINE, or neither: source is S3, artifacts are CODEPIPELINE"),
    ({"secondarySources": [{"type": "CODEPIPELINE", "sourceIdentifier": "a"}]}, "Secondary sources cannot be of type CODEPIPELINE"),
    ({"secondarySources": [{"type": "S3", "location": "b/k", "sourceIdentifier": "a"}] * 2}, "Secondary sources must have distinct identifiers: a"),
    ({"secondarySources": [{"type": "S3", "location": "b/k", "sourceIdentifier": "a-b"}]}, "sourceIdentifier of secondary sources must be letters, digits and underscores: 'a-b'"),
    ({"secondaryArtifacts": [{"type": "S3", "artifactIdentifier": "a"}]}, "Invalid artifacts: location must be a bucket for artifacts type S3"),
    ({"secondaryArtifacts": [{"type": "S3", "artifactIdentifier": str(n)} for n in range(13)]}, "A project has at most 12 secondary artifacts"),
    ({"secondarySourceVersions": [{"sourceIdentifier": "a"}]}, "There is no secondary source a"),
    ({"environment": {"type": "WINDOWS_CONTAINER"}}, "Environments of type WINDOWS_CONTAINER are not served: builds run on Linux"),
    *[
        ({"environment": {"type": "LINUX_CONTAINER", "environmentVariables": variables}}, said)
        for variables, said in (
            ([{"name": "", "value": ""}], "Invalid environment variable name: ''"),
            ([{"name": "a=b", "value": ""}], "Invalid environment variable name: 'a=b'"),
            ([{"name": "A", "value": "\0"}], "Invalid environment variable name: 'A'"),
            ([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "Duplicate environment variable: A"),
            ([{"name": "CODEBUILD_X", "value": ""}], "Environment variable names starting with CODEBUILD_ are reserved: CODEBUILD_X"),
        )
    ],
    ({"serviceRole": "builds"}, "Invalid service role: builds is not the ARN of a role"),
    ({"badgeEnabled": True}, "Build badges are not served: leave badgeEnabled out, or set it to false"),
    ({"autoRetryLimit": -1}, "autoRetryLimit must be at least 0"),
    ({"concurrentBuildLimit": 0}, "concurrentBuildLimit must be at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), REFUSED)
def test_why_a_project_is_refused(changes, said):
    with pytest.raises(InvalidInputException) as refused:
        check_project(WHOLE | changes)
    assert refused.value.message == said


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"source": {"type": "S3", "location": "arn:aws:s3:::b/k"}}, {"source": {"type": "NO_SOURCE", "buildspec": "version: 0.2\n"}},
        {"source": {"type": "NO_SOURCE", "buildspec": "arn:aws:s3:::b/k"}}, {"autoRetryLimit": 0, "concurrentBuildLimit": 1, "badgeEnabled": False},
        {"source": {"type": "CODEPIPELINE"}, "artifacts": {"type": "CODEPIPELINE"}},
        {"secondarySources": [{"type": "NO_SOURCE", "sourceIdentifier": str(n)} for n in range(12)], "secondarySourceVersions": [{"sourceIdentifier": "11"}]},
    ],
)  # fmt: skip
def test_a_project_that_is_taken(changes):
    check_project(WHOLE | changes)


def job(*names: str, primary: str = "", key: str = "") -> dict[str, Any]:
    def artifact(name: str) -> dict[str, Any]:
        place = {"bucketName": "b", "objectKey": f"k/{name}", "versionId": "v"}
        return {"name": name, "location": {"type": "S3", "s3Location": place}, "revision": "r"}

    configuration = {"ProjectName": "p"} | ({"PrimarySource": primary} if primary else {})
    data = {
        "actionConfiguration": {"configuration": configuration},
        "pipelineContext": {"pipelineName": "pipe", "pipelineExecutionId": "e"},
        "inputArtifacts": [artifact(name) for name in names],
        "outputArtifacts": [{name: value for name, value in artifact("out").items() if name != "revision"}],
    }
    return {"id": "action", "data": data | ({"encryptionKey": {"id": key}} if key else {})}


async def context(monkeypatch: pytest.MonkeyPatch, given: Any) -> dict[str, Any]:
    async def calling_job(_call: Any, arn: str, wanted: Any) -> Any:
        assert (arn, wanted) == ("arn:p", {"ProjectName": "p"})
        return given

    monkeypatch.setattr(pipeline, "calling_job", calling_job)
    return await pipeline.context_of(None, {"projectName": "p"}, "arn:p")  # type: ignore[arg-type]


async def test_what_a_pipeline_says_of_a_build(monkeypatch):
    found = await context(monkeypatch, job("one", "two"))
    assert found == {
        "pipelineName": "pipe",
        "executionId": "e",
        "actionExecutionId": "action",
        "inputArtifacts": [
            {"name": name, "location": {"bucket": "b", "key": f"k/{name}", "versionId": "v"}, "revision": "r"}
            for name in ("one", "two")
        ],
        "outputArtifacts": [{"name": "out", "location": {"bucket": "b", "key": "k/out", "versionId": "v"}}],
        "primarySource": "one",
    }
    assert (await context(monkeypatch, job("one", "two", primary="two")))["primarySource"] == "two"
    assert (await context(monkeypatch, job("one", key="k")))["encryptionKey"] == "k"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "Build of a project with source type CODEPIPELINE can only be started by a pipeline"),
        (job("one", primary="two"), "The primary source two is not among the input artifacts"),
    ],
)
async def test_a_pipeline_has_to_give_the_source(monkeypatch, given, said):
    with pytest.raises(InvalidInputException) as refused:
        await context(monkeypatch, given)
    assert refused.value.message == said


@pytest.mark.parametrize(
    ("source", "steps", "resolved"),
    [
        ({"type": "NO_SOURCE"}, [], ""),
        ({"type": "S3", "location": "b/k"}, [("bundle", "b", "k", "v")], "bundled"),
        ({"type": "S3", "location": "b/k/"}, [("folder", "b", "k/")], ""),
        ({"type": "S3", "location": "b/"}, [("folder", "b", "")], ""),
        ({"type": "CODECOMMIT", "location": "u"}, [("repository", "u", "v", 0)], "cloned"),
        ({"type": "CODECOMMIT", "location": "u", "gitCloneDepth": 3}, [("repository", "u", "v", 3)], "cloned"),
    ],
)
async def test_what_is_fetched_for_a_source(tmp_path: Path, source, steps, resolved):
    done: list[Any] = []

    class Fetched:
        async def folder(self, bucket: str, key: str, target: Path) -> None:
            done.append(("folder", bucket, key))
            assert target == tmp_path

        async def bundle(self, place: Any, target: Path) -> str:
            done.append(("bundle", place.bucket, place.key, place.version))
            assert target == tmp_path
            return "bundled"

        async def repository(self, location: str, version: str, depth: int, target: Path) -> str:
            done.append(("repository", location, version, depth))
            assert target == tmp_path
            return "cloned"

    one: Any = object.__new__(Download)
    one._fetch = Fetched()
    assert await one._source(source, "v", tmp_path) == resolved
    assert done == steps
    with pytest.raises(PhaseFailed, match="Sources of type GITHUB are not served yet"):
        await one._source({"type": "GITHUB"}, "v", tmp_path)


# --- on the machine ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "held"),
    [("A", True), ("_", True), ("a_1", True), ("", False), ("1a", False), ("a-b", False), ("ab ", False), ("a\n", False), ("é", False), ("a²", False)],
)  # fmt: skip
def test_what_a_shell_can_hold(name, held):
    assert is_variable(name) is held


@pytest.mark.parametrize(
    ("started", "supervisor", "cleared", "under_way"),
    [(True, None, True, True), (True, 7, False, True), (False, None, False, False), (False, 7, False, True)],
)
def test_what_a_killed_supervisor_left_is_ended(monkeypatch, tmp_path: Path, started, supervisor, cleared, under_way):
    steps: list[str] = []
    workspace = Workspace(tmp_path, tmp_path / "tree")
    monkeypatch.setattr(workspace, "supervisor", lambda: supervisor)
    monkeypatch.setattr(workspace, "end_processes", lambda: steps.append("end"))
    monkeypatch.setattr(workspace, "clear", lambda: steps.append("clear"))
    if started:
        (tmp_path / "started").touch()
    workspace.clear_orphan()
    assert steps == (["end", "clear"] if cleared else [])
    assert workspace.is_under_way() is under_way


@pytest.mark.parametrize(
    ("pattern", "walked", "found"),
    [
        ("*", [""], ["top"]),
        ("*/*", ["", "a", "b"], ["a/file"]),
        ("a/*", ["a"], ["a/file"]),
        ("a/*/*", ["a", "a/deep"], ["a/deep/file"]),
        ("**/*", ["", "a", "a/deep", "a/deep/deeper", "b"], ["a/deep/deeper/file", "a/deep/file", "a/file", "top"]),
        ("c/*", ["c"], []),
    ],
)
def test_no_folder_is_read_that_no_match_can_be_in(monkeypatch, tmp_path: Path, pattern, walked, found):
    (tmp_path / "a" / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    for name in ("top", "a/file", "a/deep/file", "a/deep/deeper/file"):
        (tmp_path / name).touch()
    read: list[str] = []

    def scan(folder: str) -> Any:
        read.append(os.path.relpath(folder, tmp_path).removeprefix("."))
        return os.scandir(folder)

    monkeypatch.setattr(packing, "os", SimpleNamespace(**vars(os) | {"scandir": scan}))
    assert sorted(name for name, _ in packing._walk(str(tmp_path), pattern, folders=False)) == found
    assert sorted(read) == walked


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", b""), (b"abc", b""), (b"abc\nd", b"abc\n"), (b"abcdefghij\nrest\n", b"abcdefghij\n"),
        (b"a\nb\nabcdefghij\n", b"a\nb\n"), (b"a\n\0\n", b"a\n"), (b"ab\0defghij\n", b""),
    ],
)  # fmt: skip
def test_lines_are_read_four_bytes_at_a_time_and_whole(tmp_path: Path, content, lines):
    path = tmp_path / "log"
    path.write_bytes(b"before\n" + content)
    assert _complete_lines(path, 7, 4) == (lines, 7 + len(lines))
    assert _complete_lines(tmp_path / "none", 7, 4) == (b"", 7)


def test_lines_of_a_log_keep_their_order_when_the_clock_is_set_back(tmp_path: Path):
    workspace = Workspace(tmp_path, tmp_path / "tree")
    assert (workspace.lines(), workspace.steps()) == (([], 0), [])
    (tmp_path / "log").write_bytes(b"5 one\n5 two\n3 three words\n7 \xff\n9 hal")
    assert workspace.lines() == ([(5, "one"), (5, "two"), (5, "three words"), (7, "\N{REPLACEMENT CHARACTER}")], 30)


# --- what a build finds of its surroundings ---------------------------------------------------------------------------


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("git", [True, False])
def test_files_that_the_environment_names_are_laid_down(tmp_path: Path, moves: bool, tls: bool, git: bool):
    for folder in ("tls", "tree/readonly", "output"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tls" / "ca.pem").write_text("authority")
    (tmp_path / "tls" / "ca.pem").chmod(0o600)
    request: Any = SimpleNamespace(
        workspace=SimpleNamespace(tree=tmp_path / "tree", output=tmp_path / "output"),
        moves_folders=moves, inside="/b", key=SimpleNamespace(region="r"),
    )  # fmt: skip
    made = jobs.Job(
        app=SimpleNamespace(settings=SimpleNamespace(data_dir=tmp_path, tls=tls)),  # type: ignore[arg-type]
        request=request, role=None, sources=None, spec=SimpleNamespace(git_credential_helper=git),  # type: ignore[arg-type]
        referenced={}, layout=None, seconds=1,  # type: ignore[arg-type]
    )  # fmt: skip
    place = made._place("https://h:1", SimpleNamespace(mode="none", token="t"))  # type: ignore[arg-type]
    readonly = tmp_path / "tree" / "readonly"
    laid = {path.name: path.stat().st_mode & 0o777 for path in readonly.iterdir()}
    assert laid == {name: 0o644 for name, there in (("ca.pem", tls), ("git-credential-helper.py", git)) if there}
    assert not tls or (readonly / "ca.pem").read_text() == "authority"
    assert (place.region, place.endpoint, place.network, place.secret) == ("r", "https://h:1", "none", "t")
    assert place.ca_file == ("/b/readonly/ca.pem" if tls else "")
    assert place.credential_helper == ("/b/readonly/git-credential-helper.py" if git else "")
    home = tmp_path / "output" / "home"
    assert (place.home, home.exists()) == (("/root", False) if moves else ("/b/output/home", True))
    assert moves or home.stat().st_mode & 0o777 == 0o755


def test_what_a_build_says_of_its_buildspec_before_it_begins(monkeypatch):
    monkeypatch.setattr(jobs, "without_effect", lambda *_: ["The project has a cache, which has no effect"])
    spec = buildspec.parse(
        "version: 0.2\nrun-as: nobody\nodd: 1\ncache: {paths: [x]}\nphases:\n  install: {runtime-versions: {python: '3'}, commands: []}\n"
        "  build: {commands: [a, b]}\n"
    )
    said: list[str] = []
    able: Any = SimpleNamespace(choice=SimpleNamespace(offer=SimpleNamespace(runs_as=True)), document={}, private={})
    sources: Any = SimpleNamespace(directories={"": "/src"})
    jobs.check(able, spec, sources, said.append)
    assert [line for line in said if "key without effect" not in line] == [
        "Processing environment variables",
        "The project has a cache, which has no effect",
        "The section cache of the buildspec has no effect: it is not served yet",
        "Skipping install of runtimes. Runtime version selection is not supported by this build image",
        "Moving to directory /src",
        "Phases found in YAML: 2",
        " INSTALL: 0 commands",
        " BUILD: 2 commands",
    ]
    assert [line for line in said if "key without effect" in line and "odd" in line]
    able.choice.offer.runs_as = False
    with pytest.raises(PhaseFailed, match="^run-as needs the .* runtime of a server that runs as root$") as refused:
        jobs.check(able, spec, sources, said.append)
    assert refused.value.code == "INVALID_INPUT"
