"""The buildspec: what is read, what is refused and with which message, and that nothing hostile runs away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.builds.buildspec import BuildspecError, OnFailure, is_inline, parse

COMPLETE = """
version: 0.2
run-as: ubuntu
env:
  shell: bash
  variables: {PORT: 08, RATIO: 1.10, EMPTY: }
  exported-variables: [TAG, "URL"]
phases:
  install:
    runtime-versions: {python: 3.11, nodejs: "latest"}
  pre_build:
    run-as: root
    on-failure: ABORT
    commands: echo one
  build:
    on-failure: CONTINUE
    commands:
      - make
      - |
        two
        lines
    finally: [clean]
artifacts:
  files: "**/*"
  name: app-$(date +%F)
  base-directory: dist
  discard-paths: yes
  exclude-paths: ["**/*.map"]
  type: zip
  secondary-artifacts:
    docs: {files: [a, b], enable-symlinks: "yes"}
reports: {unit: {files: "*"}}
"""


def test_a_build_has_up_to_twelve_secondary_artifacts():
    def of(count: int) -> str:
        return yaml.safe_dump(
            {
                "version": "0.2",
                "phases": {"build": {"commands": ["make"]}},
                "artifacts": {
                    "files": "a",
                    "secondary-artifacts": {f"a{number}": {"files": "b"} for number in range(count)},
                },
            }
        )

    assert len(parse(of(12)).secondary_artifacts) == 12
    with pytest.raises(BuildspecError, match="^A build has at most 12 secondary artifacts$"):
        parse(of(13))


def test_reads_all_that_a_build_needs():
    spec = parse(COMPLETE)
    assert spec.version == "0.2"
    assert (spec.shell, spec.run_as) == ("/bin/bash", "ubuntu")
    assert spec.variables == {"PORT": "08", "RATIO": "1.10", "EMPTY": ""}
    assert spec.exported_variables == ("TAG", "URL")
    assert [phase.name for phase in spec.phases] == ["install", "pre_build", "build"]
    assert spec.phase("install").runtime_versions == {"python": "3.11", "nodejs": "latest"}
    assert spec.phase("pre_build").commands == ("echo one",)
    assert (spec.user("pre_build"), spec.phase("pre_build").on_failure) == ("", OnFailure.ABORT)
    assert spec.user("build") == spec.user("install") == "ubuntu"
    assert spec.phase("build").commands == ("make", "two\nlines\n")
    assert spec.phase("build").finally_ == ("clean",)
    assert spec.phase("build").on_failure is OnFailure.CONTINUE
    assert spec.phase("post_build").commands == ()
    assert spec.artifacts is not None
    assert spec.artifacts.files == ("**/*",)
    assert spec.artifacts.discard_paths
    assert spec.artifacts.exclude_paths == ("**/*.map",)
    assert spec.secondary_artifacts[0].identifier == "docs"
    assert spec.secondary_artifacts[0].enable_symlinks
    assert spec.unserved == ("reports",)
    assert spec.warnings == ("Line 29: type is not a key of artifacts, and is ignored",)


def test_version_0_1_has_its_own_section_names():
    spec = parse("version: 0.1\nenvironment_variables:\n  plaintext:\n    A: b\nphases:\n  build:\n    commands: [x]\n")
    assert (spec.version, spec.variables) == ("0.1", {"A": "b"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version: 0.2\nphases:\n  build:\n    commands: a: b", "mapping values are not allowed in this context at line 4. Quote a value that holds a colon and a space; a key needs a space after its colon"),
        (
            "version: 0.2\nphases:\n  build:\n    commands:\n      - echo a: b",
            "Expected Commands[0] to be of string type: found subkeys instead at line 5, "
            "value of the key tag on line 4 might be empty. Quote a command that holds a colon and a space, or begins with a bracket",
        ),
        ("version: 0.3\nphases: {build: {commands: [x]}}", "Invalid version: 0.3. Supported versions are 0.1 and 0.2"),
        ("phases: {build: {commands: [x]}}", "Missing version in buildspec"),
        ("version: 0.2", "Missing phases"),
        ("version: 0.2\nphases: {build: }\n", None),
        ("version: 0.2\nphases: {build: {commands: }}", "Phase build has no commands"),
        ("version: 0.2\nenv: {shell: zsh}\nphases: {build: {commands: [x]}}", "Unsupported shell: zsh. Supported shells are bash and /bin/sh"),
        ("version: 0.2\nphases: {build: {commands: [x], on-failure: RETRY-3}}", "on-failure RETRY-3 of phase build is not served: use ABORT or CONTINUE"),
        ("- a", "The buildspec must be a mapping with the keys version and phases"),
        ("version: 0.2\nphases: {build: {commands: [x]}}\nartifacts: {files: [{a: b}]}", "Expected artifacts.files to be of string type: found subkeys instead at line 3"),
        ("version: 0.2\nphases: {build: {commands: [x], run-as: 'a;b'}}", "Invalid run-as user: a;b"),
        ("version: 0.2\nphases:\n  prebuild: {commands: [x]}", "Invalid buildspec phase name: prebuild. Expecting: build,install,post_build,pre_build at line 3. Did you mean pre_build?"),
        ("version: 0.2\nphases:\n  Build: {commands: [x]}", "Invalid buildspec phase name: Build. Expecting: build,install,post_build,pre_build at line 3. Did you mean build?"),
        ("version: 0.2\nphases:\n  build: {commands: [x]}\n  test:", "Invalid buildspec phase name: test. Expecting: build,install,post_build,pre_build at line 4"),
        ("version: 0.2\nphases:\n  prebuild: {commands: [x]}\n  test:", "Invalid buildspec phase name: prebuild. Expecting: build,install,post_build,pre_build at line 3. Did you mean pre_build? Also invalid: test at line 4"),
        ("version: 0.1\nphases:\n  build: {commands: [x]}\n  artifacts: {files: x}", "Invalid buildspec phase name: artifacts. Expecting: build,install,post_build,pre_build at line 4. It belongs at the top level"),
        ("version: 0.2\nphases:\n  commands: [x]", "Invalid buildspec phase name: commands. Expecting: build,install,post_build,pre_build at line 3. It belongs to a phase, such as phases.build"),
        ("version: 0.2\nphases:\n  build:\n    steps: [x]", 'unsupported field "steps" in phase build at line 4: GitHub Actions do not run here, use commands'),
        ("version: 0.2\nenv: FOO=1\nphases: {build: {commands: [x]}}", "Expected env to be a mapping at line 2"),
        ("version: 0.2\nartifacts: [x]\nphases: {build: {commands: [x]}}", "Expected artifacts to be a mapping at line 2"),
        ("version: 0.2\nenv: {exported-variables: [a-b]}\nphases: {build: {commands: [x]}}", "Invalid name in exported-variables: a-b. It is a list of names of letters, digits and underscores"),
    ],
)  # fmt: skip
def test_refuses_with_the_messages_of_codebuild(text: str, sentence: str | None):
    if sentence is None:
        assert parse(text).phases == ()
        return
    with pytest.raises(BuildspecError) as refused:
        parse(text)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("artefacts: {files: x}", "Line 5: artefacts is not a key of the top level, and is ignored. Did you mean artifacts?"),
        ("variables: {A: b}", "Line 5: variables is not a key of the top level, and is ignored. It belongs to env"),
        ("runtime-versions: {python: 3}", "Line 5: runtime-versions is not a key of the top level, and is ignored. It belongs to phases.install"),
        ("env: {FOO: bar}", "Line 5: FOO is not a key of env, and is ignored. Variables belong to env.variables"),
        ("environment_variables: {plaintext: {A: b}}", "Line 5: environment_variables is not a key of the top level, and is ignored. It is a key of version 0.1"),
        ("finally: [x]", "Line 5: finally is not a key of the top level, and is ignored. It belongs to a phase, such as phases.build"),
        ("env: {git_credential_helper: yes}", "Line 5: git_credential_helper is not a key of env, and is ignored. Did you mean git-credential-helper?"),
        ("artifacts: {files: x, type: zip}", "Line 5: type is not a key of artifacts, and is ignored"),
        ("artifacts: {files: x, secondary-artifacts: {a: {file: x, files: y}}}", "Line 5: file is not a key of artifacts.secondary-artifacts.a, and is ignored. Did you mean files?"),
        ("cache: {path: [x]}", "Line 5: path is not a key of cache, and is ignored. Did you mean paths?"),
        ("reports: {unit: {files: x, fileformat: y}}", "Line 5: fileformat is not a key of reports.unit, and is ignored. Did you mean file-format?"),
        ("batch: {fastfail: yes}", "Line 5: fastfail is not a key of batch, and is ignored. Did you mean fast-fail?"),
        ("proxy: {log: yes}", "Line 5: log is not a key of proxy, and is ignored. Did you mean logs?"),
        ("version: 0.2", "Line 5: version was given in line 1 already, in the top level: the last one counts"),
    ],
)  # fmt: skip
def test_keys_that_mean_nothing_are_reported_with_their_line(text: str, warning: str):
    assert parse("version: 0.2\nphases:\n  build:\n    commands: x\n" + text).warnings == (warning,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 0.2\nphase:\n  build: {commands: [x]}", "Missing phases. Line 2: phase is not a key of the top level, and is ignored. Did you mean phases?"),
        ("Version: 0.2\nphases:\n  build: {commands: [x]}", "Missing version in buildspec. Line 1: Version is not a key of the top level, and is ignored. Did you mean version?"),
        ("version: 0.2\nphases:\nbuild:\n  commands: [x]", "Missing phases. Line 3: build is not a key of the top level, and is ignored. It belongs to phases"),
        ("version: 0.2\nphases:\n  build:\n    command: [x]", "Phase build has no commands. Line 4: command is not a key of phases.build, and is ignored. Did you mean commands?"),
        ("version: 0.2\nphases:\n  install: {runtime-versions: [{python: 3}]}", "Expected runtime-versions to be a mapping at line 3"),
        ("version: 0.2\nphases:\n  build: {on-failure: [ABORT], commands: [x]}", "Expected on-failure to be of string type: found subkeys instead at line 3"),
        ("version: 0.2\nphases:\n\tbuild: x", "found character that cannot start any token at line 3. The line is indented by a tab: YAML is indented by spaces only"),
        ("version: 0.2\nphases:\n  build:\n    commands:\n      - @x", "found character that cannot start any token at line 5. Quote a value that begins with @"),
        ("version: 0.2\nartifacts:\n  files:\n    - **/*", "did not find expected alphabetic or numeric character at line 4. Quote a value that begins with *"),
        ("version: 0.2\n---\nversion: 0.2", "but found another document at line 2. A file holds one document: remove the line --- and what follows, or merge the two"),
        ("version: 0.2\nphases: \x1b", "The document holds the character #x001b at line 2, which YAML does not allow"),
        ("version: 0.2\nphases: \udce9", "The document holds the character #xdce9 at line 2, which YAML does not allow"),
        ("# nothing\n", "The buildspec is empty: it must be a mapping with the keys version and phases"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_was_probably_meant(text: str, message: str):
    with pytest.raises(BuildspecError) as refused:
        parse(text)
    assert str(refused.value) == message


def test_keys_of_a_phase_that_mean_nothing_are_reported():
    text = "version: 0.2\nphases:\n  build:\n    commands: [x]\n    finaly: [y]\n    runtime-versions: {python: 3}\n    commands: [z]\n"
    spec = parse(text)
    assert spec.warnings == (
        "Line 5: finaly is not a key of phases.build, and is ignored. Did you mean finally?",
        "Line 6: runtime-versions is not a key of phases.build, and is ignored. It belongs to phases.install",
        "Line 7: commands was given in line 4 already, in phases.build: the last one counts",
    )
    assert spec.phase("build").commands == ("z",)


def test_warnings_are_few_however_many_keys_are_wrong():
    text = "version: 0.2\nphases: {build: {commands: x}}\nenv:\n" + "".join(f"  K{i}: v\n" for i in range(5000))
    started = time.thread_time()
    assert len(parse(text).warnings) == 51
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_line_ends_of_windows_are_line_ends(ends: str):
    spec = parse(
        ends.join(
            [
                "version: 0.2",
                "phases:",
                "  build:",
                "    commands:",
                "      - a",
                "      - |",
                "        b",
                "        c",
                "",
            ]
        )
    )
    assert spec.phase("build").commands == ("a", "b\nc\n")


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 5000 + "]" * 5000,
        "a: &a [*a]\nversion: 0.2",
        "x: &x [a,a,a,a,a,a,a,a,a]\n" + "".join(f"y{i}: &y{i} [*{'x' if i == 0 else f'y{i - 1}'}{f', *y{i - 1}' * 8 if i else ''}]\n" for i in range(12)),
        "version: 0.2\nphases:\n" + "\n".join(f"  p{i}: {{}}" for i in range(30_000)),
        "x" * 600_000,
        'version: 0.2\nphases: {build: {commands: ["a\0b"]}}',
        "a: !!python/object/apply:os.system ['true']\nversion: 0.2",
        "\t- \x00",
    ],
)  # fmt: skip
def test_hostile_documents_are_refused_quickly(text: str):
    started = time.thread_time()
    with pytest.raises(BuildspecError):
        parse(text)
    assert time.thread_time() - started < 5


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str):
    for candidate in (
        text,
        "version: 0.2\nphases: " + text,
        "version: 0.2\nphases:\n  build:\n    commands:\n      - " + text,
    ):
        try:
            parse(candidate)
        except BuildspecError as refused:
            sentence = str(refused)
            assert sentence  # noqa: PT017
        is_inline(candidate)


_SCALARS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=20)


@given(commands=st.lists(_SCALARS, min_size=1, max_size=5), last=st.lists(_SCALARS, max_size=3))
@settings(max_examples=examples(200), deadline=None)
def test_commands_come_back_as_they_were_written(commands: list[str], last: list[str]):
    text = yaml.safe_dump({"version": "0.2", "phases": {"build": {"commands": commands, "finally": last}}})
    phase = parse(text).phase("build")
    assert (list(phase.commands), list(phase.finally_)) == (commands, last)


@pytest.mark.parametrize(
    ("text", "inline"),
    [("buildspec.yml", False), ("ci/a.yml", False), ("a\nb", True), ('{"version": "0.2"}', True), ("version: 0.2", True), ("arn:aws:s3:::b/k", False), ("arn:aws:s3:::", False), ("s3://b/k", False), ("ci/a.yml\n", False)],
)  # fmt: skip
def test_distinguishes_documents_from_paths(text: str, inline: bool):
    assert is_inline(text) is inline


CORPUS = os.environ.get("PENSTOCK_CORPUS", "")
# Public files that are templates, fragments, or batch files, and say so.
_NO_BUILDSPECS = (
    "Missing phases",
    "batch section",
    "Unsupported shell: shell-tag",
    "did not find expected '-'",
    "has no commands",
)


@pytest.mark.skipif(not CORPUS, reason="PENSTOCK_CORPUS names no folder of public files")
def test_reads_the_public_buildspecs():
    files = [path for path in Path(CORPUS).rglob("*uildspec*.y*ml") if path.is_file()]
    assert len(files) > 50
    refused = {}
    for path in files:
        try:
            parse(path.read_text())
        except BuildspecError as error:
            if not any(sentence in str(error) for sentence in _NO_BUILDSPECS):
                refused[str(path)] = str(error)
    assert not refused
