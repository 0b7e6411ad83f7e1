"""What is read of a document, a buildspec and a project at their exact bounds."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.builds.buildspec import BuildspecError, OnFailure, is_inline, parse
from penstock.builds.compute import limits_of
from penstock.builds.documents import DocumentError, read_document
from penstock.builds.environment import Place, build_environment
from penstock.builds.phases import ORDER, PhaseType, Status, build_status, next_phase

# --- documents --------------------------------------------------------------------------------------------------------


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "more", "reason"),
    [
        ("a: " + "x" * (512 * 1024 - 3), "a: " + "x" * (512 * 1024 - 2), "The document is larger than 512 KiB"),
        (nested(40), "\n\n" + nested(41), "The document is nested deeper than 40 levels at line 3"),
        # The stream, the document and the list begin before the items, and end behind them.
        ("[" + "a," * 19_995 + "]", "[" + "a," * 19_996 + "]", "The document has more than 20000 nodes"),
        ("[&a x," + "*a," * 200 + "]", "[&a x," + "*a," * 201 + "]", "The document has more than 200 aliases"),
        (
            "[&a [" + "x," * 98 + "]," + "*a," * 199 + "x," * 199 + "]",
            "[&a [" + "x," * 98 + "]," + "*a," * 199 + "x," * 200 + "]",
            "The document's aliases unfold into too much",
        ),
    ],
    ids=["size", "depth", "nodes", "aliases", "unfolded"],
)
def test_documents_are_read_up_to_their_bounds(text: str, more: str, reason: str):
    assert read_document(text).present
    with pytest.raises(DocumentError) as refused:
        read_document(more)
    assert str(refused.value) == reason


def test_depth_is_that_of_one_branch_and_aliases_add_to_it():
    assert read_document("[" + "[[]]," * 100 + "]").present
    deep = "[&a {}, {}*a{}]"
    assert read_document(deep.format(nested(20), "[" * 20, "]" * 20)).present
    with pytest.raises(DocumentError, match="unfold into too much"):
        read_document(deep.format(nested(20), "[" * 21, "]" * 21))
    assert read_document("[&a [x], *a, *a]").present  # the same thing beside itself is not within itself


def test_what_a_document_answers():
    document = read_document(
        "a: 1.10\nb: [x, {c: d}]\nn: ~\nempty:\nquoted: 'null'\na: 2\n<<: {m: 1}\n? [x]\n: y\nend: x\n"
    )
    assert document.get("a").text(default="") == "2"
    assert [name for name, _ in document.keyed()] == ["m", "a", "b", "n", "empty", "quoted", "a", "end"]
    assert dict(document.keyed())["end"] == 10
    assert [document.get(name).present for name in ("n", "empty", "quoted", "none", "m")] == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert [item.is_scalar() for item in document.get("b").items()] == [True, False]
    assert [item.text(default="") for item in document.get("a").items()] == ["2"]
    assert list(document.get("none").items()) == []
    assert (document.get("b").line, document.get("end").line, document.get("none").line) == (2, 10, 0)
    assert document.get("none").text(default="d") == "d"
    assert not document.get("a").get("x").present
    assert not read_document("").present
    with pytest.raises(DocumentError, match="^Expected b to be of string type: found subkeys instead at line 2$"):
        document.get("b").text(default="")
    with pytest.raises(DocumentError, match="^Expected it to be a mapping at line 2$"):
        document.get("b").expect_mapping("it")
    for text, truth in (
        ("yes", 1),
        ("On", 1),
        ("'true'", 1),
        ("1", 1),
        ("y", 1),
        ("no", 0),
        ("2", 0),
        ("", 0),
        ("oui", 0),
    ):
        assert read_document(f"a: {text}").get("a").truth() is bool(truth)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 'x", "found unexpected end of stream at line 1. A quote is not closed"),
        ('a: "\\d"', "found unknown escape character at line 1. Double the backslash, or use single quotes"),
        ("a: *b", "found undefined alias at line 1. Quote a value that begins with *"),
        ("a: %x", "found character that cannot start any token at line 1. Quote a value that begins with %"),
        ("a:\n  - x\n  b: c", "did not find expected '-' indicator at line 3. The line is not indented like the items above, or text follows a closing quote"),
        ("a: b\n c: d\n e", "mapping values are not allowed in this context at line 2. Quote a value that holds a colon and a space; a key needs a space after its colon"),
        ("a:\n\x07", "The document holds the character #x0007 at line 2, which YAML does not allow"),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_line_and_a_remedy(text: str, reason: str):
    with pytest.raises(DocumentError) as refused:
        read_document(text)
    assert str(refused.value) == reason


# --- buildspecs -------------------------------------------------------------------------------------------------------

PHASES = "\nphases: {build: {commands: [x]}}\n"


def spec(text: str, version: str = "0.2") -> Any:
    return parse(f"version: {version}{PHASES}{text}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("artifacts: {files: x, secondary-artifacts: [x]}", "Expected artifacts.secondary-artifacts to be a mapping at line 3"),
        ("artifacts: {files: x, secondary-artifacts: {a-b: {files: x}}}", "Invalid artifact identifier: a-b"),
        ("artifacts: {files: x, secondary-artifacts: {a: {name: x}}}", "secondary-artifacts.a has no files"),
        ("artifacts: {files: []}", "artifacts has no files"),
        ("artifacts: {files: x, exclude-paths: [[x]]}", "Expected artifacts.exclude-paths to be of string type: found subkeys instead at line 3"),
        (f"artifacts: {{files: {'x' * 4097}}}", "Invalid pattern in artifacts.files at line 3"),
        ("env: {variables: {A: [x]}}", "Expected A to be of string type: found subkeys instead at line 3"),
        ("env: {variables: {A=B: x}}", "Invalid variable name or value at line 3"),
        ("env: {variables: {'': x}}", "Invalid variable name or value at line 3"),
        ("env: {variables: [x]}", "Expected env.variables to be a mapping at line 3"),
        ('env: {variables: {A: "\\0"}}', "Invalid variable name or value at line 3"),
        ('env: {variables: {"A\\0": x}}', "Invalid variable name or value at line 3"),
        ("env: {exported-variables: [1A]}", "Invalid name in exported-variables: 1A. It is a list of names of letters, digits and underscores"),
        ("run-as: " + "u" * 33, "Invalid run-as user: " + "u" * 33),
        ("batch: {fast-fail: yes}\nphases:", "A buildspec with only a batch section needs a batch build. Line 4: phases was given in line 2 already, in the top level: the last one counts"),
    ],
)  # fmt: skip
def test_values_that_a_buildspec_cannot_have(text: str, reason: str):
    with pytest.raises(BuildspecError) as refused:
        spec(text)
    assert str(refused.value) == reason


def test_values_of_a_buildspec_at_their_bounds():
    assert spec(f"artifacts: {{files: {'x' * 4096}}}").artifacts.files == ("x" * 4096,)
    assert spec("artifacts: {files: ['', x, ]}").artifacts.files == ("x",)
    assert spec("artifacts: {name: x}").artifacts is None
    assert spec("run-as: " + "u" * 32).run_as == "u" * 32
    plain = spec("artifacts: {files: x}")
    assert (plain.artifacts.discard_paths, plain.artifacts.enable_symlinks, plain.git_credential_helper) == (
        False,
        False,
        False,
    )
    assert (plain.shell, plain.run_as, plain.user("build"), plain.exported_variables) == ("/bin/sh", "", "", ())
    assert spec("env: {git-credential-helper: yes}").git_credential_helper
    assert [spec(f"env: {{shell: {shell}}}").shell for shell in ("sh", "/bin/sh", "bash", "/bin/bash")] == [
        "/bin/sh", "/bin/sh", "/bin/bash", "/bin/bash",
    ]  # fmt: skip
    references = spec("env: {parameter-store: {A: /a}, secrets-manager: {B: b}}")
    assert (references.parameter_store, references.secrets_manager) == ({"A": "/a"}, {"B": "b"})
    assert spec("batch: {}\ncache: {}\nreports: {}\nproxy: {}").unserved == ("batch", "cache", "reports", "proxy")
    for value, meant in (("abort", OnFailure.ABORT), ("Continue", OnFailure.CONTINUE), ("''", OnFailure.DEFAULT)):
        found = parse(f"version: 0.2\nphases: {{build: {{commands: [x], on-failure: {value}}}}}")
        assert found.phase("build").on_failure is meant
    identifier = "a" * 127
    secondary = "artifacts: {files: x, secondary-artifacts: {%s: {files: y}}}"
    assert spec(secondary % identifier).secondary_artifacts[0].identifier == identifier
    with pytest.raises(BuildspecError, match="Invalid artifact identifier"):
        spec(secondary % (identifier + "a"))


def test_version_0_1_knows_none_of_what_came_later():
    old = parse(
        "version: 0.1\nenv: {variables: {A: b}, parameter-store: {A: b}, secrets-manager: {A: b}, exported-variables: [A]}\n"
        "phases: {build: {commands: [x], finally: [y]}}\nartifacts: {files: x, secondary-artifacts: {a: {files: x}}}"
    )
    assert (old.variables, old.parameter_store, old.secrets_manager, old.exported_variables) == ({}, {}, {}, ())
    assert (old.phase("build").finally_, old.secondary_artifacts, old.artifacts.files) == ((), (), ("x",))  # type: ignore[union-attr]
    assert parse(f"version: 0.2{PHASES}environment_variables: {{plaintext: {{A: b}}}}").variables == {}


def test_a_refusal_lists_five_warnings():
    with pytest.raises(BuildspecError) as refused:
        parse("version: 0.2\n" + "".join(f"odd{number}: x\n" for number in range(6)))
    assert str(refused.value).count(" is not a key of the top level") == 5


def test_commands_and_phases_are_strings_without_nul():
    with pytest.raises(BuildspecError, match=r"^Commands\[1\] holds a NUL character at line 5$"):
        parse('version: 0.2\nphases:\n  build:\n    commands: [x,\n      "a\\0"]')
    with pytest.raises(BuildspecError, match=r"^Expected Finally\[0\] to be of string type"):
        parse("version: 0.2\nphases: {build: {commands: [x], finally: [{a: b}]}}")
    with pytest.raises(BuildspecError, match="Expected phases.build to be a mapping"):
        parse("version: 0.2\nphases: {build: [x]}")
    assert parse("version: 0.2\nphases: {install: {run-as: u}}").phase("install").run_as == "u"
    assert [is_inline(text) for text in ("{a: b}", "s3://b\nx", "a: b", "", "[a")] == [True, False, True, False, False]


# --- machines, phases, variables --------------------------------------------------------------------------------------


def test_what_a_build_may_use_of_its_machine():
    gb = 1 << 30

    def of(memory: int = 1000 * gb, **environment: Any) -> tuple[int, float, int]:
        found = limits_of(environment, seconds=7, memory=memory)
        assert (found.seconds, found.processes) == (7, 4096)
        return found.memory, found.cpus, found.disk

    types = {
        "BUILD_GENERAL1_SMALL": (4, 2, 64), "BUILD_GENERAL1_MEDIUM": (8, 4, 128), "BUILD_GENERAL1_LARGE": (16, 8, 128),
        "BUILD_GENERAL1_XLARGE": (72, 36, 256), "BUILD_GENERAL1_2XLARGE": (145, 72, 824), "BUILD_LAMBDA_1GB": (1, 1, 10),
        "BUILD_LAMBDA_2GB": (2, 2, 10), "BUILD_LAMBDA_4GB": (4, 3, 10), "BUILD_LAMBDA_8GB": (8, 5, 10), "BUILD_LAMBDA_10GB": (10, 6, 10),
    }  # fmt: skip
    for name, (ram, cpus, disk) in types.items():
        assert of(computeType=name) == (ram * gb, cpus, disk * gb)
    assert of() == of(computeType="odd") == (4 * gb, 2, 64 * gb)
    own = {"computeType": "ATTRIBUTE_BASED_COMPUTE"}
    assert of(**own) == of(**own, computeConfiguration={"memory": 0}) == (4 * gb, 2, 64 * gb)
    assert of(**own, computeConfiguration={"memory": 3, "vCpu": 5, "disk": 7}) == (3 * gb, 5, 7 * gb)
    assert of(computeType="BUILD_LAMBDA_1GB", computeConfiguration={"memory": 3}) == (gb, 1, 10 * gb)
    assert of(memory=1000)[0] == 900
    assert 0 < limits_of({}, seconds=7).memory <= 4 * gb


@pytest.mark.parametrize("phase", ORDER)
def test_what_follows_a_phase(phase: PhaseType):
    after = ORDER[min(ORDER.index(phase) + 1, len(ORDER) - 1)]
    name = phase.value
    end = (
        PhaseType.COMPLETED
        if name in ("SUBMITTED", "QUEUED", "PROVISIONING", "FINALIZING", "COMPLETED")
        else PhaseType.FINALIZING
    )
    assert next_phase(phase, Status.SUCCEEDED) is after
    for status in (Status.FAULT, Status.TIMED_OUT, Status.STOPPED):
        assert [next_phase(phase, status, policy) for policy in ("", "CONTINUE")] == [end, end]
    goes_on = {"": ("BUILD", "POST_BUILD"), "CONTINUE": ("INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"), "ABORT": ()}
    for policy, phases in goes_on.items():
        expected = after if name in (*phases, "UPLOAD_ARTIFACTS") else end
        assert next_phase(phase, Status.FAILED, policy) is expected


def test_the_gravest_status_is_the_builds():
    gravest = [Status.FAULT, Status.TIMED_OUT, Status.STOPPED, Status.FAILED]
    for number, status in enumerate(gravest):
        assert build_status([Status.SUCCEEDED, *reversed(gravest[number:])]) is status
    assert build_status([]) is build_status([Status.SUCCEEDED, Status.NONE]) is Status.SUCCEEDED


BUILD = {
    "arn": "arn:b", "id": "p:1", "buildNumber": 3, "initiator": "me", "source": {"location": "s3/a"},
    "environment": {"image": "i", "environmentVariables": [{"name": "B", "value": "project"}, {"name": "CODEBUILD_X", "value": "no"}]},
}  # fmt: skip


def variables(
    place: dict[str, Any] | None = None, sources: dict[str, str] | None = None, **members: Any
) -> dict[str, str]:
    where = {"region": "r", "endpoint": "https://h:1", "network": "endpoint", "secret": "t", "home": "/root"} | (
        place or {}
    )
    return build_environment(
        build=BUILD | members, spec_variables={"A": "spec", "B": "spec", "CI": "no", "CODEBUILD_Y": "no"},
        referenced=members.pop("referenced", {}), sources={"": "/src"} | (sources or {}), place=Place(**where), start_ms=5, log_path="g/s",
    )  # fmt: skip


def test_the_variables_of_a_build():
    plain = variables()
    assert plain == {
        "A": "spec", "B": "project", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "CI": "true",
        "AWS_DEFAULT_REGION": "r", "AWS_REGION": "r", "AWS_ENDPOINT_URL": "https://h:1",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:{credentials_port}/", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t",
        "CODEBUILD_CI": "true", "CODEBUILD_BUILD_ARN": "arn:b", "CODEBUILD_BUILD_ID": "p:1", "CODEBUILD_BUILD_IMAGE": "i",
        "CODEBUILD_BUILD_NUMBER": "3", "CODEBUILD_BUILD_SUCCEEDING": "1", "CODEBUILD_INITIATOR": "me", "CODEBUILD_LOG_PATH": "g/s",
        "CODEBUILD_KMS_KEY_ID": "", "CODEBUILD_SRC_DIR": "/src", "CODEBUILD_START_TIME": "5", "CODEBUILD_SOURCE_REPO_URL": "s3/a",
    }  # fmt: skip

    def more(**given: Any) -> dict[str, str]:
        return dict(variables(**given).items() - plain.items())

    assert more(sourceVersion="v", resolvedSourceVersion="w", encryptionKey="k") == {
        "CODEBUILD_SOURCE_VERSION": "v", "CODEBUILD_RESOLVED_SOURCE_VERSION": "w", "CODEBUILD_KMS_KEY_ID": "k",
    }  # fmt: skip
    secondary = {"sourceIdentifier": "lib", "sourceVersion": "v", "location": "l"}
    assert more(sources={"lib": "/lib"}, secondarySources=[secondary], secondarySourceVersions=[secondary]) == {
        "CODEBUILD_SRC_DIR_lib": "/lib", "CODEBUILD_SOURCE_VERSION_lib": "v", "CODEBUILD_SOURCE_REPO_URL_lib": "l",
    }  # fmt: skip
    assert more(referenced={"A": "kept elsewhere", "B": "too"}) == {"A": "kept elsewhere", "B": "too"}
    assert more(place={"more_path": "/x"})["PATH"].endswith(":/bin:/x")
    assert more(place={"ca_file": "/ca"}) == {
        "AWS_CA_BUNDLE": "/ca", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.https://h:1/.sslCAInfo", "GIT_CONFIG_VALUE_0": "/ca",
    }  # fmt: skip
    assert more(place={"credential_helper": "/a b"}) == {
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_0": "credential.https://h:1.helper", "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": "credential.https://h:1.helper", "GIT_CONFIG_VALUE_1": "!python3 -I '/a b'",
        "GIT_CONFIG_KEY_2": "credential.https://h:1.useHttpPath", "GIT_CONFIG_VALUE_2": "true",
    }  # fmt: skip
    proxies = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:{egress_port}"
    )
    assert more(place={"network": "egress"}) == proxies | dict.fromkeys(
        ("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1,h,.h"
    )
    assert more(place={"network": "host"}) == {}
