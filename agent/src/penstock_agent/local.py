"""`deploy-local`: a deployment on this machine without a server, event after event, as codedeploy-local does it."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, Dict, List
from urllib.parse import parse_qs, unquote, urlsplit

from penstock_agent.config import DEFAULT_ROOT, Config, Limits, read_config
from penstock_agent.events import ALL, Events, Work, plan_of
from penstock_agent.failures import CommandFailure, ConfigInvalid
from penstock_agent.layout import Deployment, Layout
from penstock_agent.specification import Specification, parse_specification

_SUFFIXES = {".zip": "zip", ".tar": "tar", ".tgz": "tgz", ".tar.gz": "tgz"}


def _config(options: Any) -> Config:
    if options.config:
        config = read_config(options.config, local=True)
    else:
        root = DEFAULT_ROOT
        if os.geteuid() != 0 and not os.access(DEFAULT_ROOT, os.W_OK):
            state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
            root = os.path.join(state, "penstock-agent")
        config = Config(
            path="", endpoint="", s3_endpoint="", s3_addressing="path", region="", host_identifier="local",
            access_key_id="", secret_access_key="", credentials_file="", root_dir=root, install_root="", ca_file="",
            signer_certificate="", log_level="info", max_revisions=5, max_commands=1, stop_timeout_s=60,
            strict=False, hook_environment={}, limits=Limits(),
        )  # fmt: skip
    if options.root_dir:
        config = config._replace(root_dir=os.path.abspath(options.root_dir))
    if options.install_root:
        config = config._replace(install_root=os.path.abspath(options.install_root))
    return config


def _revision(location: str, kind: str) -> Dict[str, Any]:
    if not kind:
        path = urlsplit(location).path
        kind = next((value for suffix, value in _SUFFIXES.items() if path.endswith(suffix)), "directory")
    parts = urlsplit(location)
    if parts.scheme == "s3":
        if kind == "directory":
            raise ConfigInvalid("--type: a revision in S3 is a tar, tgz or zip file")
        query = parse_qs(parts.query)
        revision = {"Bucket": parts.netloc, "Key": unquote(parts.path.lstrip("/")), "BundleType": kind}
        for name, member in (("versionId", "Version"), ("etag", "ETag")):
            if query.get(name):
                revision[member] = query[name][0]
        return {"RevisionType": "S3", "S3Revision": revision}
    if parts.scheme in ("http", "https"):
        raise ConfigInvalid("--bundle: %s: bundles come from a path, file:// or s3://" % location)
    path = os.path.abspath(unquote(parts.path) if parts.scheme == "file" else location)
    if not os.path.exists(path):
        raise ConfigInvalid("--bundle: there is no %s" % path)
    if os.path.isdir(path) != (kind == "directory"):
        raise ConfigInvalid("--type: %s is %s" % (path, "a directory" if os.path.isdir(path) else "not a directory"))
    source = "Local Directory" if kind == "directory" else "Local File"
    return {"RevisionType": source, "LocalRevision": {"Location": path, "BundleType": kind}}


def _events(text: str) -> List[str]:
    if not text:
        return list(ALL)
    names = [name.strip() for name in text.split(",") if name.strip()]
    plan = plan_of(names)
    if plan.index("DownloadBundle") > plan.index("Install"):
        raise ConfigInvalid("--events: DownloadBundle comes before Install")
    for name in ("BeforeInstall",):
        if name in names and "Install" in names and names.index(name) > names.index("Install"):
            raise ConfigInvalid("--events: BeforeInstall comes before Install")
    return plan


def deploy(options: Any) -> int:
    """Run the deployment; 0 when every event succeeded, 2 when one failed."""
    import json

    config = _config(options)
    layout = Layout(config.root_dir)
    layout.prepare()
    events = _events(options.events)
    deployment_id = "d-%s-local" % os.urandom(5).hex().upper()[:9]
    document = {
        "DeploymentId": deployment_id,
        "DeploymentGroupId": options.deployment_group,
        "DeploymentGroupName": options.deployment_group_name,
        "ApplicationName": options.application_name or options.bundle,
        "AppSpecFilename": options.appspec_filename,
        "Revision": _revision(options.bundle, options.type or ""),
        "AgentActionOverrides": {"AgentOverrides": {"FileExistsBehavior": options.file_exists_behavior}},
    }
    stopping = threading.Event()
    try:
        specification = parse_specification(json.dumps(document).encode("utf-8"))
        runner = Events(config, layout, _fetch(config, stopping), stopping)
        extra = tuple(name for name in events if name not in ALL)
        for name in events:
            try:
                outcome = runner.run(Work(name, specification, extra), lambda _script, _tail: None)
                for warning in outcome.warnings:
                    _say("warning: " + warning)
            except CommandFailure as failure:
                _say("%s failed: %s" % (name, failure.message))
                output = getattr(failure, "log", "")
                if output:
                    sys.stderr.write(output)
                return 2
    except CommandFailure as failure:
        _say(failure.message)
        return 2
    except KeyboardInterrupt:
        stopping.set()
        _say("stopped")
        return 2
    sys.stdout.write("Local deployment %s successful\n" % deployment_id)
    return 0


def _say(text: str) -> None:
    sys.stderr.write("penstock-agent: %s\n" % text)


def _fetch(config: Config, stopping: threading.Event) -> Any:
    def fetch(specification: Specification, deployment: Deployment) -> str:
        from penstock_agent.agent import credentials_of, open_objects
        from penstock_agent.commands import s3_fetch
        from penstock_agent.connection import tls_context
        from penstock_agent.service import Signer

        if not config.region or not (config.access_key_id or config.credentials_file or config.joined):
            raise CommandFailure("A bundle in S3 needs --config with a region and the host's keys.")
        secure = config.endpoint.startswith("https:") or config.s3_endpoint.startswith("https:")
        context = tls_context(config.ca_file) if secure else None
        objects = open_objects(config, Signer(credentials_of(config, context), config.region), None, context)
        return s3_fetch(objects, config.limits.bundle_bytes, stopping)(specification, deployment)

    return fetch
