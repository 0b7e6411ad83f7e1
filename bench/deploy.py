"""One host with our own agent: CreateDeployment → first hook, and the whole deployment of two files and three tiny hooks."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.installation import BUCKET, Agent, bundle, role, until
from bench.run import Row
from bench.served import served

RUNS = 15


def measure() -> list[Row]:
    first: list[float] = []
    durations: list[float] = []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, served() as server:
        folder = Path(name)
        client = server.clients()
        client("s3").create_bucket(Bucket=BUCKET)
        client("codedeploy").create_application(applicationName="bench", computePlatform="Server")
        with Agent(client, folder / "host", "host-1", server.url) as agent:
            client("codedeploy").create_deployment_group(
                applicationName="bench",
                deploymentGroupName="bench",
                onPremisesInstanceTagFilters=[{"Key": "bench", "Value": "host-1", "Type": "KEY_AND_VALUE"}],
                serviceRoleArn=role(client, "codedeploy"),
            )
            time.sleep(3)  # it polls, and is idle
            memory = agent.rss_mb()
            for number in range(RUNS + 1):
                began, started, ended = _deployment(client, folder, number)
                if number:  # the first has nothing to stop
                    first.append((started - began) * 1000)
                    durations.append(ended - began)
                time.sleep(0.2)
    hook, all_ = statistics.median(first), statistics.median(durations)
    return [
        Row(
            what=f"idle host → first hook started after CreateDeployment, {RUNS} runs",
            measured=f"p50 {hook:.0f} ms, max {max(first):.0f}",
            bar="≤ 100 ms",
            met=hook <= 100,
        ),
        Row(
            what="whole deployment: 1 host, 2 files, 3 hooks, own agent (AWS's Ruby agent, run by hand once: 6.1 s as shipped, 0.18 s tuned)",
            measured=f"p50 {all_:.2f} s, max {max(durations):.2f}",
            bar="≤ 0.35 s",
            met=all_ <= 0.35,
        ),
        Row(what="idle memory of the agent", measured=f"{memory:.1f} MB", bar="≤ 20 MB", met=memory <= 20),
    ]


def _deployment(client: object, folder: Path, number: int) -> tuple[float, float, float]:
    """When it was asked for, when its first hook began, when the server had its end; seconds since the epoch."""
    codedeploy, s3 = client("codedeploy"), client("s3")  # type: ignore[operator]
    key = f"{number}.zip"
    s3.put_object(Bucket=BUCKET, Key=key, Body=bundle(str(number), folder))
    (folder / "ApplicationStop").unlink(missing_ok=True)
    time.sleep(0.3)
    began = time.time()
    location = {"bucket": BUCKET, "key": key, "bundleType": "zip"}
    id_ = codedeploy.create_deployment(
        applicationName="bench", deploymentGroupName="bench", revision={"revisionType": "S3", "s3Location": location}
    )["deploymentId"]

    def ended() -> dict | None:
        info = codedeploy.get_deployment(deploymentId=id_)["deploymentInfo"]
        return info if "completeTime" in info else None

    info = until(ended, every=0.02, what="the deployment")
    if info["status"] != "Succeeded":
        raise RuntimeError(f"the deployment ended as {info['status']}: {info.get('errorInformation')}")
    noted = folder / ("ApplicationStop" if number else "AfterInstall")
    return began, int(noted.read_text()) / 1e9, info["completeTime"].timestamp()
