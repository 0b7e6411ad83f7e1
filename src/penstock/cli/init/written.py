"""The files that `penstock init` writes. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from penstock.cli.init.projects import PORT, Project

PIPELINE, BUILDSPEC, APPSPEC, SCRIPTS = "pipeline.yaml", "buildspec.yml", "appspec.yml", "deploy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a project is delivered: an account and region of a server, and what stands there."""

    account: str
    region: str
    partition: str
    branch: str
    to_hosts: bool  # else a static site goes to a bucket, and other projects are only built

    def role(self, project: Project, of: str) -> str:
        """The ARN of a role of the project."""
        return f"arn:{self.partition}:iam::{self.account}:role/{project.name}-{of}"

    def bucket(self, project: Project, of: str) -> str:
        """The name of a bucket of the project: names of buckets are those of all accounts."""
        return f"{project.name}-{of}-{self.account}"


def files_of(project: Project, place: Place) -> Mapping[str, str]:
    """Paths below the project's folder, and what is written there. Scripts are executable."""
    found = {PIPELINE: _pipeline(project, place), BUILDSPEC: _buildspec(project, place)}
    if place.to_hosts:
        found[APPSPEC] = _appspec(project)
        found |= {f"{SCRIPTS}/{name}.sh": text for name, text in _scripts(project).items()}
    return found


def _pipeline(project: Project, place: Place) -> str:
    stages = [
        _stage("Source", "Source", "CodeCommit", {"RepositoryName": project.name, "BranchName": place.branch}, made="Source"),
        _stage("Build", "Build", "CodeBuild", {"ProjectName": project.name}, takes="Source", made="Release"),
    ]  # fmt: skip
    if place.to_hosts:
        group = {"ApplicationName": project.name, "DeploymentGroupName": "production"}
        stages.append(_stage("Deploy", "Deploy", "CodeDeploy", group, takes="Release"))
    elif project.is_static:
        bucket = {"BucketName": place.bucket(project, "site"), "Extract": "true"}
        stages.append(_stage("Deploy", "Deploy", "S3", bucket, takes="Release"))
    document = {
        "pipeline": {
            "name": project.name,
            "roleArn": place.role(project, "pipeline"),
            "artifactStore": {"type": "S3", "location": place.bucket(project, "artifacts")},
            "pipelineType": "V2",
            "stages": stages,
        }
    }
    return _yaml(
        document,
        "How this project is delivered. After a change: penstock plan pipeline.yaml, then penstock apply -f pipeline.yaml",
    )


def _stage(
    name: str, category: str, provider: str, configuration: Mapping[str, str], *, takes: str = "", made: str = ""
) -> dict[str, Any]:
    action: dict[str, Any] = {
        "name": name,
        "actionTypeId": {"category": category, "owner": "AWS", "provider": provider, "version": "1"},
        "configuration": dict(configuration),
    }
    if takes:
        action["inputArtifacts"] = [{"name": takes}]
    if made:
        action["outputArtifacts"] = [{"name": made}]
    return {"name": name, "actions": [action]}


def _buildspec(project: Project, place: Place) -> str:
    phases: dict[str, Any] = {}
    if project.install:
        phases["install"] = {"commands": list(project.install)}
    commands = [*project.test, *project.build]
    phases["build"] = {"commands": commands or [f"echo 'nothing to build in {project.name}'"]}
    artifacts: dict[str, Any]
    if place.to_hosts:
        files = list(dict.fromkeys((*project.files, *_needed(project), APPSPEC, f"{SCRIPTS}/**/*")))
        artifacts = {"files": ["**/*"] if "**/*" in files else files}
    elif project.is_static and project.site != ".":
        artifacts = {"base-directory": project.site, "files": ["**/*"]}
    else:
        artifacts = {"files": [*project.files, *_needed(project)]}
    if "**/*" in artifacts["files"]:
        artifacts["exclude-paths"] = [BUILDSPEC, PIPELINE, ".gitignore"]
    return _yaml(
        {"version": 0.2, "phases": phases, "artifacts": artifacts},
        "What a build does: install what is needed, test, build, and name the files of the release.",
    )


def _needed(project: Project) -> list[str]:
    return ["vendor/**/*"] if any("--target vendor" in one for one in project.install) else []


def _appspec(project: Project) -> str:
    hooks = {
        event: [{"location": f"{SCRIPTS}/{name}.sh", "timeout": 60}]
        for event, name in (("ApplicationStop", "stop"), ("ApplicationStart", "start"), ("ValidateService", "check"))
        if name in _scripts(project)
    }
    source = project.site if project.site not in ("", ".") else "/"
    document: dict[str, Any] = {
        "version": 0.0,
        "os": "linux",
        "files": [{"source": source, "destination": f"/srv/{project.name}"}],
        "file_exists_behavior": "OVERWRITE",
    }
    return _yaml(
        document | ({"hooks": hooks} if hooks else {}),
        "What a host does with a release: files, and the scripts around it.",
    )


def _scripts(project: Project) -> Mapping[str, str]:
    """The scripts by name; none for what is not started."""
    if not project.start:
        return {}
    if project.stop:
        started = f'cd "${{PENSTOCK_INSTALL_ROOT:-}}/srv/{project.name}"\n{project.start}\n'
        return {"stop": _script("Ends the release that runs.", f"{project.stop}\n"), "start": _script("Starts the release.", started)}  # fmt: skip
    values = {"name": project.name, "start": shlex.quote(f"exec {project.start}"), "port": PORT}
    return {
        "stop": _script("Ends the release that runs, if one does.", _STOP.format(**values)),
        "start": _script("Starts the release in the background.", _START.format(**values)),
        "check": _script("The release is good when it still runs after two seconds.", _CHECK.format(**values)),
    }


def _script(says: str, body: str) -> str:
    return f"#!/bin/sh\n# {says} An agent's install_root, if it has one, is the root of the host.\nset -eu\n{body}"


_START = """root=${{PENSTOCK_INSTALL_ROOT:-}}
mkdir -p "$root/run" "$root/var/log"
cd "$root/srv/{name}"
export PORT="${{PORT:-{port}}}"
setsid sh -c {start} >>"$root/var/log/{name}.log" 2>&1 </dev/null &
echo $! >"$root/run/{name}.pid"
echo "started process $!; it logs to $root/var/log/{name}.log"
"""
_STOP = """pid_file="${{PENSTOCK_INSTALL_ROOT:-}}/run/{name}.pid"
[ -f "$pid_file" ] || {{ echo "nothing runs yet"; exit 0; }}
pid=$(cat "$pid_file")
kill -s TERM -- "-$pid" 2>/dev/null || true
tries=0
while kill -s 0 -- "-$pid" 2>/dev/null; do
  tries=$((tries + 1))
  [ "$tries" -lt 300 ] || {{ kill -s KILL -- "-$pid"; break; }}
  sleep 0.1
done
rm -f "$pid_file"
echo "stopped process $pid"
"""
_CHECK = """root=${{PENSTOCK_INSTALL_ROOT:-}}
pid=$(cat "$root/run/{name}.pid")
tries=0
while [ "$tries" -lt 20 ]; do
  kill -0 "$pid" 2>/dev/null || {{ echo "the release has ended; the last lines of its log:"; tail -n 20 "$root/var/log/{name}.log"; exit 1; }}
  tries=$((tries + 1))
  sleep 0.1
done
echo "process $pid runs"
"""


def _yaml(document: Any, says: str) -> str:
    return f"# {says}\n{yaml.safe_dump(document, sort_keys=False, width=1_000, allow_unicode=True)}"
