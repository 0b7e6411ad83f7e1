"""The story of the demo: a first release, and the encore of a bad one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Self

from penstock.cli.clients import Clients
from penstock.cli.demo import resources
from penstock.cli.demo.processes import HOSTS, DemoError, Processes, fetch
from penstock.cli.exits import Exit
from penstock.cli.follow import Approval, Follower
from penstock.cli.terminal import lasted, paint, program, say, step


class Story:
    """Plays on the demo's processes, which have started."""

    def __init__(self, demo_processes: Processes, *, example: Path, approves: bool, timeout: float) -> None:
        self._processes = demo_processes
        self._example = example
        self._approves = approves
        self._timeout = timeout
        self._work = demo_processes.folder / "hello-web"

    def release_first(self) -> None:
        """Set everything up, push a commit, and see it run on three hosts."""
        admin = Clients.administrator(self._processes.data_dir)
        resources.make_all(self._processes, admin)
        for host in self._processes.hosts:
            config = resources.agent_config(self._processes, host.name, self._url, self._ca_file)
            self._processes.start_agent(host, config)
        step(f"started three agents: {', '.join(host.name for host in self._processes.hosts)}")
        self._say_where()
        self._check_out()
        ended = self._release("1.0.0", "The first release of hello-web")
        if ended is not Exit.DONE:
            raise DemoError(f"the run did not succeed; the logs are in {self._processes.folder}")
        self._check_hosts("1.0.0")

    def release_broken(self) -> None:
        """Push a version whose check fails: it stops at the first host and is rolled back, the others serve on."""
        (self._work / "BROKEN").write_text("The health check of this version fails.\n")
        before = self._newest_deployment()
        with Requests([host.url for host in self._processes.hosts]) as requests:
            ended = self._release("2.0.0", "A release that fails its check")
            if ended is not Exit.FAILED:
                raise DemoError("the broken release was not stopped")
            failed, rollback = self._rollback(before)
        attempted = self._attempted(failed["deploymentId"])
        others = [host for host in self._processes.hosts if host.name not in attempted]
        sent = sum(requests.sent[host.url] for host in others)
        lost = sum(requests.failed[host.url] for host in others)
        say()
        step(
            f"deployment {failed['deploymentId']} {paint('failed', 'red')} on {len(attempted)} of {len(HOSTS)} hosts: {', '.join(attempted)}"
        )
        step(f"deployment {rollback['deploymentId']} rolled back: {rollback['rollbackInfo']['rollbackMessage']}")
        step(f"{sent} requests to {' and '.join(host.name for host in others)} meanwhile, {lost} failed")
        (self._work / "BROKEN").unlink()
        self._check_hosts("1.0.0")
        if lost or not sent:
            raise DemoError(f"{lost} of {sent} requests failed: {requests.last}")

    @property
    def _url(self) -> str:
        return self._processes.recall("url")

    @property
    def _ca_file(self) -> str:
        return ""

    def _developer(self) -> Clients:
        key = self._processes.keys[resources.DEVELOPER]
        return Clients.with_key(
            url=self._url, region="us-east-1", access_key_id=key["id"], secret=key["secret"], ca_file=self._ca_file
        )

    def _say_where(self) -> None:
        say()
        say(f"  console   {paint(self._url + '/console/', 'bold')}")
        say(
            f"            account {resources.ACCOUNT}, user {resources.DEVELOPER}, password {self._processes.keys[resources.DEVELOPER]['password']}"
        )
        say(f"  AWS CLI   {self._env_line()}")
        say()

    def _env_line(self) -> str:
        return f'eval "$({program("penstock")} env --data-dir {shlex.quote(str(self._processes.data_dir))})"'

    def _check_out(self) -> None:
        shutil.copytree(self._example, self._work)
        key = self._processes.keys[resources.DEVELOPER]
        where = urllib.parse.urlsplit(self._url)
        quoted = f"{urllib.parse.quote(key['id'], safe='')}:{urllib.parse.quote(key['secret'], safe='')}"
        store = self._processes.folder / "git-credentials"
        descriptor = os.open(store, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{where.scheme}://{quoted}@{where.netloc}\n")
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("config", "credential.helper", f"store --file={shlex.quote(str(store))}")
        self._git("config", "user.name", "Demo Developer")
        self._git("config", "user.email", "developer@example.com")
        self._git("remote", "add", "origin", f"{self._url}/v1/repos/{resources.REPOSITORY}")

    def _release(self, version: str, message: str) -> Exit:
        (self._work / "VERSION").write_text(version + "\n")
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        follower = Follower(self._developer(), resources.PIPELINE)
        before = follower.newest()
        began = time.monotonic()
        step(f"git push: {message!r}")
        self._git("push", "--quiet", "origin", "main")
        execution = self._run_after(follower, before)
        ended = follower.until_end(execution, timeout=self._timeout, approve=self._approve)
        step(f"from push to the end of the run: {lasted(time.monotonic() - began)}")
        return ended

    def _run_after(self, follower: Follower, before: str) -> str:
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            if (newest := follower.newest()) != before:
                return newest
            time.sleep(0.05)
        raise DemoError("the push started no run within 30 s")

    def _approve(self, approval: Approval) -> bool:
        if self._approves:
            self._developer()("codepipeline").put_approval_result(
                pipelineName=approval.pipeline,
                stageName=approval.stage,
                actionName=approval.action,
                token=approval.token,
                result={"status": "Approved", "summary": "approved by make demo ARGS=--yes"},
            )
            step(f"{approval.stage:<10} approved by --yes")
            return True
        say()
        say(paint("  The run waits for your approval.", "violet"))
        say(f"  In the console: {self._url}/console/pipelines/{resources.PIPELINE}")
        say("  Or in another shell:")
        say(f"    {self._env_line()}")
        command = approval.command("Approved").replace("summary=TEXT", "summary=ok")
        say(f"    {program('aws')}{command.removeprefix('aws')}")
        say()
        return True

    def _check_hosts(self, version: str) -> None:
        say()
        for host in self._processes.hosts:
            status, page = fetch(host.url)
            if status != 200 or f"version {version}" not in page or host.name not in page:
                raise DemoError(f"{host.name} at {host.url} does not serve version {version}: {status} {page[:200]}")
            step(f"{host.name} serves version {version} at {paint(host.url, 'bold')}")

    def _newest_deployment(self) -> str:
        listed = self._developer()("codedeploy").list_deployments(
            applicationName=resources.APPLICATION, deploymentGroupName=resources.GROUP
        )
        return listed["deployments"][0]

    def _rollback(self, before: str) -> tuple[dict[str, Any], dict[str, Any]]:
        codedeploy = self._developer()("codedeploy")
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            newest = codedeploy.get_deployment(deploymentId=self._newest_deployment())["deploymentInfo"]
            trigger = newest.get("rollbackInfo", {}).get("rollbackTriggeringDeploymentId")
            if trigger and trigger != before and newest["status"] in ("Succeeded", "Failed", "Stopped"):
                if newest["status"] != "Succeeded":
                    raise DemoError(f"the rollback {newest['deploymentId']} ended {newest['status']}")
                return codedeploy.get_deployment(deploymentId=trigger)["deploymentInfo"], newest
            time.sleep(0.2)
        raise DemoError("no rollback ended within 120 s")

    def _attempted(self, deployment: str) -> list[str]:
        """Names of the hosts that a deployment touched: which one is first is its own choice."""
        codedeploy = self._developer()("codedeploy")
        ids = codedeploy.list_deployment_targets(deploymentId=deployment)["targetIds"]
        found = codedeploy.batch_get_deployment_targets(deploymentId=deployment, targetIds=ids)["deploymentTargets"]
        return sorted(
            one["instanceTarget"]["targetId"] for one in found if one["instanceTarget"]["status"] != "Skipped"
        )

    def _git(self, *arguments: str) -> None:
        subprocess.run(
            ["git", *arguments],
            cwd=self._work,
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )


class Requests:
    """Asks pages over and over in a thread, and counts."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.sent = dict.fromkeys(urls, 0)
        self.failed = dict.fromkeys(urls, 0)
        self.last = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._end.wait(0.02):
            for url in self._urls:
                status, text = fetch(url)
                self.sent[url] += 1
                if status != 200:
                    self.failed[url] += 1
                    self.last = f"{url}: {status} {text[:200]}"
