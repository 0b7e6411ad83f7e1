"""Carrying out one lifecycle event of a deployment on this machine; knows nothing of the command service."""

from __future__ import annotations

import os
import threading
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from penstock_agent import appspec as appspecs
from penstock_agent import log
from penstock_agent.appspec import AppSpec, Script
from penstock_agent.config import Config
from penstock_agent.failpoints import failpoint
from penstock_agent.failures import (
    BECAUSE,
    SCRIPT_TIMED_OUT,
    AppSpecInvalid,
    BundleRefused,
    CommandFailure,
    InstallFailed,
    reason,
)
from penstock_agent.layout import Deployment, Group, Layout, read_text, remove_tree, sync_folder, write_durably
from penstock_agent.specification import Specification
from penstock_agent.spelling import SCRIPTED

BLOCK_TRAFFIC = ("BeforeBlockTraffic", "AfterBlockTraffic")
ALLOW_TRAFFIC = ("BeforeAllowTraffic", "AfterAllowTraffic")
HOOKS = SCRIPTED
ALL = (
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
)


class Outcome(NamedTuple):
    """A success: a note for the message, the end of what scripts said, and what the AppSpec file says in vain."""

    note: str = ""
    log: str = ""
    warnings: Tuple[str, ...] = ()


class Work(NamedTuple):
    """One event of one deployment. `extra` are names of events beyond ALL that may run (deploy-local)."""

    event: str
    specification: Specification
    extra: Tuple[str, ...] = ()


Fetch = Callable[[Specification, Deployment], str]
Progress = Callable[[str, Callable[[], Tuple[str, int]]], None]


class Events:
    """Runs events. `fetch` brings the bundle of an S3 revision to the deployment's `bundle` and returns its ETag."""

    def __init__(self, config: Config, layout: Layout, fetch: Fetch, stopping: threading.Event) -> None:
        self._config = config
        self._layout = layout
        self._fetch = fetch
        self._stopping = stopping
        self._drain: Optional[object] = None
        self._parsed: Dict[str, Tuple[Tuple[int, int, int], AppSpec]] = {}
        self._locks: Dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def is_noop(self, work: Work) -> bool:
        """Whether the event has nothing to do. Raises AppSpecInvalid."""
        if work.event in ("DownloadBundle", "Install"):
            return False
        if work.event not in HOOKS and work.event not in work.extra:
            return True
        _, scripts = self._scripts(work)
        return not scripts

    def run(self, work: Work, progress: Progress) -> Outcome:
        """Carry out the event. Raises CommandFailure; the failure's `log` attribute is the end of the output."""
        try:
            return self._run(work, progress)
        except OSError as error:
            raise CommandFailure(
                "The agent could not carry out %s with its directory %s: %s."
                % (work.event, self._config.root_dir, reason(error))
            ) from error

    def _run(self, work: Work, progress: Progress) -> Outcome:
        group = self._layout.group(work.specification.group_id)
        with self._lock:
            lock = self._locks.setdefault(group.directory, threading.Lock())
        with lock:
            if work.event == "DownloadBundle":
                return self._download(work, group)
            if work.event == "Install":
                return self._install(work.specification, group)
            if work.event in HOOKS or work.event in work.extra:
                return self._hook(work, progress)
        raise CommandFailure("Unsupported command type: %s." % work.event)

    # --- DownloadBundle ---------------------------------------------------------------------------------------------

    def _download(self, work: Work, group: Group) -> Outcome:
        specification = work.specification
        deployment = self._deployment(specification)
        if specification.revision.kind == "GitHub":
            raise BundleRefused(
                "This agent does not fetch revisions from GitHub. Put the bundle into S3 (for example with a pipeline's source"
                " action) and deploy it from there."
            )
        deployment.make()
        try:
            note = self._unpack(specification, deployment)
        finally:
            # Also after a failure: every try leaves a directory, and nobody has room for bundles that were refused.
            remove_tree(deployment.bundle)
            remove_tree(deployment.unpacking)
            group.retain(deployment, self._config.max_revisions)
        group.set_most_recent(deployment)
        warnings = self._warnings(work, deployment)
        lines = ["[warning]" + text for text in warnings]
        if warnings:
            note = " ".join([note and note + ".", "Warning:", *warnings]).strip()
        return Outcome(note, "".join(line + "\n" for line in lines), tuple(warnings))

    def _warnings(self, work: Work, deployment: Deployment) -> List[str]:
        """What the AppSpec file says in vain. Raises AppSpecInvalid for it when the host or the group is strict."""
        specification = work.specification
        try:
            appspec = self._appspec(deployment, specification)
        except AppSpecInvalid:
            return []  # the next event reports it
        known = (*work.extra, *(specification.possible_events or ()))
        found = [text for name, text in appspec.unknown_hooks.items() if name not in known]
        found += appspec.unread
        if found and (self._config.strict or specification.strict):
            raise AppSpecInvalid(
                BECAUSE + "%s (this host or its deployment group is strict about it)" % " ".join(found)
            )
        for text in found:
            log.warning("appspec.warning", deployment=specification.deployment_id, reason=text)
        return found

    def _unpack(self, specification: Specification, deployment: Deployment) -> str:
        """Bring the revision to the deployment's archive; a note on where it came from, or ""."""
        from penstock_agent import archive

        remove_tree(deployment.unpacking)
        revision, limits = specification.revision, self._config.limits
        note = ""
        earlier = (
            self._layout.deployment(specification.group_id, specification.reuse_from)
            if specification.reuse_from
            else None
        )
        if earlier is not None and os.path.isdir(earlier.archive):
            root = archive.copy_directory(earlier.archive, deployment.unpacking, limits)
            note = "archive-reuse"
        elif revision.kind == "Local Directory":
            root = archive.copy_directory(revision.location, deployment.unpacking, limits)
        else:
            bundle = revision.location
            if revision.kind == "S3":
                bundle = deployment.bundle
                etag = self._fetch(specification, deployment)
                write_durably(os.path.join(deployment.directory, ".bundle-etag"), etag.encode("utf-8", "replace"))
            failpoint("download.before_unpack")
            root = archive.unpack(bundle, revision.bundle_type, deployment.unpacking, limits)
        remove_tree(deployment.archive)
        os.rename(root, deployment.archive)
        sync_folder(deployment.directory)
        return note

    def _deployment(self, specification: Specification) -> Deployment:
        return self._layout.deployment(specification.group_id, specification.deployment_id)

    # --- Install ----------------------------------------------------------------------------------------------------

    def _install(self, specification: Specification, group: Group) -> Outcome:
        from penstock_agent import install, switch

        deployment = self._deployment(specification)
        switch.recover(group)
        appspec = self._appspec(deployment, specification)
        if specification.possible_events is not None:
            unknown = [name for name in appspec.hooks if name not in specification.possible_events]
            if unknown:
                raise InstallFailed("appspec.yml file contains unknown lifecycle events: %s" % unknown)
        plan = install.make_plan(
            appspec,
            deployment.archive,
            install_root=self._config.install_root,
            behavior=appspec.file_exists_behavior or specification.file_exists_behavior,
            previous=group.installed(),
        )
        switch.install(plan, group, deployment, os.urandom(6).hex())
        return Outcome()

    # --- hooks ------------------------------------------------------------------------------------------------------

    def _revision_of(self, work: Work) -> Optional[Deployment]:
        """The deployment whose scripts run; None when an earlier one is meant and there was none."""
        specification = work.specification
        current = self._deployment(specification)
        rollback = specification.deployment_type == "BLUE_GREEN" and specification.creator == "codeDeployRollback"
        earlier = (
            work.event == "ApplicationStop" or work.event in BLOCK_TRAFFIC or (rollback and work.event in ALLOW_TRAFFIC)
        )
        if not earlier or os.path.isdir(current.archive):
            return current
        group = self._layout.group(specification.group_id)
        return group.most_recent() if rollback and work.event in BLOCK_TRAFFIC else group.last_successful()

    def _scripts(self, work: Work) -> Tuple[Optional[Deployment], Sequence[Script]]:
        deployment = self._revision_of(work)
        if deployment is None:
            return None, ()
        if work.event in work.extra and not os.path.isdir(deployment.archive):
            return None, ()
        return deployment, self._appspec(deployment, work.specification).hooks.get(work.event, ())

    def _appspec(self, deployment: Deployment, specification: Specification) -> AppSpec:
        path = appspecs.find(deployment.archive, specification.appspec_name)
        found = os.stat(path)
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._parsed.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, appspecs.read(path))
            if len(self._parsed) >= 8:
                self._parsed.clear()
            self._parsed[path] = known
        return known[1]

    def _hook(self, work: Work, progress: Progress) -> Outcome:
        deployment, scripts = self._scripts(work)
        if deployment is None or not scripts:
            return Outcome()
        from penstock_agent import hooks
        from penstock_agent.output import Drain, Output

        if self._drain is None:
            self._drain = Drain()
        environment = self.environment(work)
        output = Output(self._deployment(work.specification).script_log, self._config.limits.script_log_bytes)
        output.write(["LifecycleEvent - " + work.event])
        layout = self._layout
        runner = hooks.Runner(output, self._drain, self._stopping, layout.marks, layout.reach)  # type: ignore[arg-type]
        allowed = self._config.limits.hook_event_seconds
        deadline = time.monotonic() + allowed
        try:
            for script in scripts:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CommandFailure(
                        "Script at specified location: %s was not started: the scripts of %s took %d seconds, all that an event has"
                        % (script.location, work.event, allowed),
                        code=SCRIPT_TIMED_OUT,
                        script=script.location,
                    )
                path = os.path.join(deployment.archive, script.location.lstrip("/"))
                if not _inside(path, deployment.archive):
                    raise CommandFailure(
                        "The script %s lies outside the revision." % script.location, script=script.location
                    )
                runner.run(
                    script,
                    path,
                    directory=deployment.archive,
                    environment=environment,
                    timeout_s=min(script.timeout_s, left),
                    changed=lambda script=script: progress(script.location, output.tail),
                )
            return Outcome(log=output.tail()[0])
        except CommandFailure as failure:
            output.write([failure.message])
            failure.log = output.tail()[0]  # type: ignore[attr-defined]
            raise
        finally:
            output.close()

    def environment(self, work: Work) -> Dict[str, str]:
        """What a hook sees: the agent's environment without AWS and Penstock variables or keys, and the deployment's."""
        config, specification = self._config, work.specification
        secrets = [secret for secret in (config.secret_access_key,) if secret]
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "PENSTOCK_")) and not any(secret in value for secret in secrets)
        }
        environment.update(config.hook_environment)
        environment.update(
            LIFECYCLE_EVENT=work.event,
            DEPLOYMENT_ID=specification.deployment_id,
            APPLICATION_NAME=specification.application_name,
            DEPLOYMENT_GROUP_NAME=specification.group_name,
            DEPLOYMENT_GROUP_ID=specification.group_id,
        )
        if config.install_root:
            environment["PENSTOCK_INSTALL_ROOT"] = config.install_root
        revision = specification.revision
        if revision.kind == "S3":
            deployment = self._deployment(specification)
            etag = revision.etag or read_text(os.path.join(deployment.directory, ".bundle-etag"))
            fields = {"BUCKET": revision.bucket, "KEY": revision.key, "VERSION": revision.version, "ETAG": etag}
            environment.update({"BUNDLE_" + name: value for name, value in fields.items() if value})
        elif revision.kind == "GitHub" and revision.version:
            environment["BUNDLE_COMMIT"] = revision.version
        return {name: value for name, value in environment.items() if "\0" not in value}


def _inside(path: str, directory: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(directory) + os.sep)


def plan_of(names: Sequence[str]) -> List[str]:
    """The events of a local deployment: `names`, with DownloadBundle first and Install right after it when they are missing."""
    plan = [*([] if "DownloadBundle" in names else ["DownloadBundle"]), *names]
    if "Install" not in plan:
        plan.insert(plan.index("DownloadBundle") + 1, "Install")
    return plan
