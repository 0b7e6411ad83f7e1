"""The buildspec: what a project's build runs and keeps (AWS: "Build specification reference for CodeBuild").

`parse` turns a document from outside into a `Buildspec` or raises BuildspecError, whose text is what CodeBuild shows as the
message of a YAML_FILE_ERROR. Pure: no file, clock or environment is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.builds.documents import Document, DocumentError, read_document
from penstock.builds.grammar import check_keys

PHASES = ("install", "pre_build", "build", "post_build")
SHELLS = ("sh", "/bin/sh", "bash", "/bin/bash")
MAX_SECONDARY = 12
_LISTED_WARNINGS = 5  # warnings beside the message of a refusal

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_]{1,127}\Z")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\Z")


class BuildspecError(Exception):
    """The document is no buildspec. Its text is the message of the YAML_FILE_ERROR."""


class OnFailure(StrEnum):
    """What a failed phase does to the build."""

    DEFAULT = ""  # the table of phases: INSTALL and PRE_BUILD end the build, BUILD continues to POST_BUILD
    ABORT = "ABORT"  # nothing more runs
    CONTINUE = "CONTINUE"  # the next phase runs; the build fails all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSpec:
    """One of the four phases that run commands."""

    name: str  # install | pre_build | build | post_build
    commands: tuple[str, ...] = ()
    finally_: tuple[str, ...] = ()  # run after the commands, whatever their result
    run_as: str = ""  # user; "" = the document's
    on_failure: OnFailure = OnFailure.DEFAULT
    runtime_versions: Mapping[str, str] = field(default_factory=dict)  # advisory here


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSpec:
    """What one output artifact consists of."""

    identifier: str = ""  # "" is the primary one
    files: tuple[str, ...] = ()  # globs below base_directory
    base_directory: str = ""  # may be a glob and hold $VARIABLES; "" = the primary source's directory
    discard_paths: bool = False
    exclude_paths: tuple[str, ...] = ()
    name: str = ""  # evaluated by the shell; counts only when the project says overrideArtifactName
    enable_symlinks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildspec:
    """A complete document, checked."""

    version: str = "0.2"  # "0.1" or "0.2"
    shell: str = "/bin/sh"
    run_as: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    parameter_store: Mapping[str, str] = field(default_factory=dict)  # variable → parameter name
    secrets_manager: Mapping[str, str] = field(default_factory=dict)  # variable → reference
    exported_variables: tuple[str, ...] = ()
    phases: tuple[PhaseSpec, ...] = ()  # those present, in running order
    artifacts: ArtifactSpec | None = None
    secondary_artifacts: tuple[ArtifactSpec, ...] = ()
    git_credential_helper: bool = False
    unserved: tuple[str, ...] = ()  # sections without effect: cache, reports …
    warnings: tuple[str, ...] = ()  # lines for the build's log about keys that are ignored

    def phase(self, name: str) -> PhaseSpec:
        """The phase of that name; an empty one when the document has none."""
        return next((phase for phase in self.phases if phase.name == name), PhaseSpec(name=name))

    def user(self, phase: str) -> str:
        """Who runs the commands of a phase; "" is root."""
        user = self.phase(phase).run_as or self.run_as
        return "" if user == "root" else user


def is_inline(text: str) -> bool:
    """Whether a project's `buildspec` member is the document itself rather than a path or an S3 ARN."""
    text = text.strip()
    if text.startswith(("arn:", "s3://")):
        return False
    if "\n" in text or text.startswith(("{", "version:")):
        return True
    try:
        return read_document(text).is_mapping()
    except DocumentError:
        return False


def parse(text: str) -> Buildspec:
    """Read and check a buildspec. Raises BuildspecError."""
    try:
        document = read_document(text)
        if not document.present:
            raise BuildspecError("The buildspec is empty: it must be a mapping with the keys version and phases")
        if not document.is_mapping():
            raise BuildspecError("The buildspec must be a mapping with the keys version and phases")
        version = document.get("version").text(default="")
        warnings = check_keys(document, version=version)
    except DocumentError as error:
        raise BuildspecError(str(error)) from None
    try:
        return _buildspec(document, version, warnings)
    except (BuildspecError, DocumentError) as error:
        # A key that is missing is often there, misspelt or in another place.
        raise BuildspecError(". ".join((str(error), *warnings[:_LISTED_WARNINGS]))) from None


def _buildspec(document: Document, version: str, warnings: list[str]) -> Buildspec:
    if version not in ("0.1", "0.2"):
        raise BuildspecError(
            f"Invalid version: {version}. Supported versions are 0.1 and 0.2"
            if version
            else "Missing version in buildspec"
        )
    old = version == "0.1"
    env = document.get("env")
    plain = document.get("environment_variables").get("plaintext") if old else env.get("variables")
    if not document.get("phases").present:
        raise BuildspecError(
            "A buildspec with only a batch section needs a batch build"
            if document.get("batch").present
            else "Missing phases"
        )
    artifacts = document.get("artifacts")
    return Buildspec(
        version=version,
        shell=_shell(env.get("shell")),
        run_as=_user(document.get("run-as")),
        variables=_variables(plain, "environment_variables.plaintext" if old else "env.variables"),
        parameter_store={} if old else _variables(env.get("parameter-store"), "env.parameter-store"),
        secrets_manager={} if old else _variables(env.get("secrets-manager"), "env.secrets-manager"),
        exported_variables=() if old else tuple(_exported(env.get("exported-variables"))),
        phases=tuple(_phases(document.get("phases"), old=old)),
        artifacts=_artifact(artifacts) if artifacts.present and artifacts.get("files").present else None,
        secondary_artifacts=() if old else tuple(_secondary(artifacts.get("secondary-artifacts"))),
        git_credential_helper=env.get("git-credential-helper").truth(),
        unserved=tuple(key for key in ("batch", "cache", "reports", "proxy") if document.get(key).present),
        warnings=tuple(warnings),
    )


def _phases(phases: Document, *, old: bool) -> Iterator[PhaseSpec]:
    phases.expect_mapping("phases")
    for name in PHASES:
        phase = phases.get(name)
        if not phase.present:
            continue
        phase.expect_mapping(f"phases.{name}")
        commands = tuple(_commands(phase.get("commands"), "Commands"))
        if not commands and name != "install":
            raise BuildspecError(f"Phase {name} has no commands")
        yield PhaseSpec(
            name=name,
            commands=commands,
            finally_=() if old else tuple(_commands(phase.get("finally"), "Finally")),
            run_as=_user(phase.get("run-as")),
            on_failure=_on_failure(phase.get("on-failure"), name),
            runtime_versions=_variables(phase.get("runtime-versions"), "runtime-versions") if name == "install" else {},
        )


def _commands(commands: Document, what: str) -> Iterator[str]:
    for index, command in enumerate(commands.items()):
        if not command.is_scalar():
            line = command.line
            raise BuildspecError(
                f"Expected {what}[{index}] to be of string type: found subkeys instead at line {line}, "
                f"value of the key tag on line {line - 1} might be empty. Quote a command that holds a colon and a space, "
                "or begins with a bracket"
            )
        text = command.text(default="")
        if "\0" in text:
            raise BuildspecError(f"{what}[{index}] holds a NUL character at line {command.line}")
        yield text


def _on_failure(value: Document, phase: str) -> OnFailure:
    text = value.text(default="").strip()
    if text.upper() in ("ABORT", "CONTINUE", ""):
        return OnFailure(text.upper())
    if text.upper().startswith("RETRY"):
        raise BuildspecError(f"on-failure {text} of phase {phase} is not served: use ABORT or CONTINUE")
    raise BuildspecError(f"Invalid on-failure value {text} in phase {phase}: expected ABORT or CONTINUE")


def _shell(value: Document) -> str:
    text = value.text(default="") or "sh"
    if text not in SHELLS:
        raise BuildspecError(f"Unsupported shell: {text}. Supported shells are bash and /bin/sh")
    return "/bin/bash" if text.endswith("bash") else "/bin/sh"


def _user(value: Document) -> str:
    text = value.text(default="")
    if text and not _USER.match(text):
        raise BuildspecError(f"Invalid run-as user: {text[:64]}")
    return text


def _variables(section: Document, where: str) -> dict[str, str]:
    if not section.present:
        return {}
    section.expect_mapping(where)
    found: dict[str, str] = {}
    for key, value in section.pairs():
        if not value.is_scalar():
            raise BuildspecError(f"Expected {key} to be of string type: found subkeys instead at line {value.line}")
        text = value.text(default="")
        if "\0" in key + text or "=" in key or not key:
            raise BuildspecError(f"Invalid variable name or value at line {value.line}")
        found[key] = text
    return found


def _exported(section: Document) -> Iterator[str]:
    for name in section.items():
        text = name.text(default="")
        if not _NAME.match(text):
            raise BuildspecError(
                f"Invalid name in exported-variables: {text[:64]}. It is a list of names of letters, digits and underscores"
            )
        yield text


def _artifact(section: Document, identifier: str = "") -> ArtifactSpec:
    where = f"secondary-artifacts.{identifier}" if identifier else "artifacts"
    section.expect_mapping(where)
    files = tuple(_texts(section.get("files"), f"{where}.files"))
    if not files:
        raise BuildspecError(f"{where} has no files")
    return ArtifactSpec(
        identifier=identifier,
        files=files,
        base_directory=section.get("base-directory").text(default=""),
        discard_paths=section.get("discard-paths").truth(),
        exclude_paths=tuple(_texts(section.get("exclude-paths"), f"{where}.exclude-paths")),
        name=section.get("name").text(default=""),
        enable_symlinks=section.get("enable-symlinks").truth(),
    )


def _texts(section: Document, where: str) -> Iterator[str]:
    for item in section.items():
        if not item.is_scalar():
            raise BuildspecError(f"Expected {where} to be of string type: found subkeys instead at line {item.line}")
        text = item.text(default="")
        if "\0" in text or len(text) > 4096:
            raise BuildspecError(f"Invalid pattern in {where} at line {item.line}")
        if text:
            yield text


def _secondary(section: Document) -> Iterator[ArtifactSpec]:
    if not section.present:
        return
    section.expect_mapping("artifacts.secondary-artifacts")
    pairs = list(section.pairs())
    if len(pairs) > MAX_SECONDARY:
        raise BuildspecError(f"A build has at most {MAX_SECONDARY} secondary artifacts")
    for identifier, value in pairs:
        if not _IDENTIFIER.match(identifier):
            raise BuildspecError(f"Invalid artifact identifier: {identifier[:64]}")
        yield _artifact(value, identifier)
