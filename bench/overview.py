"""The console's list of pipelines with 1,000 pipelines, each with a run that waits for an approval.

python bench/overview.py [--pipelines 1000]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.burst import declaration, prepared
from bench.installation import ACCOUNT
from bench.run import Row
from bench.served import Served, served
from penstock.cli.clients import Clients

_REQUESTS = 60
_BAR_MS = 80
_REST = 0.03  # seconds of processor in a second
_REST_TRIES = 120
_PASSWORD = "a-long-enough-Password-1"


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Milliseconds per look, and processor milliseconds of the server."""

    p50: float
    p95: float
    processor: float


def _signed_in(url: str, clients: Clients) -> httpx.Client:
    iam = clients("iam")
    iam.create_user(UserName="reader")
    iam.create_login_profile(UserName="reader", Password=_PASSWORD)
    iam.put_user_policy(
        UserName="reader",
        PolicyName="all",
        PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
    )
    browser = httpx.Client(base_url=url, follow_redirects=True, headers={"origin": url})
    form = {"account": ACCOUNT, "user": "reader", "password": _PASSWORD}
    browser.post("/console/login", data=form).raise_for_status()
    return browser


def _until_at_rest(server: Served) -> None:
    for _ in range(_REST_TRIES):
        before = server.cpu_seconds()
        time.sleep(1)
        if server.cpu_seconds() - before < _REST:
            return
    raise RuntimeError("the server is still at work with the runs of the new pipelines")


def measured(pipelines: int) -> Overview:
    """Make the pipelines, then look."""
    with served() as server:
        clients = server.clients()
        codepipeline, service_role = clients("codepipeline"), prepared(clients)

        def make(number: int) -> None:
            made = declaration(number, service_role)
            made["executionMode"] = "SUPERSEDED"
            made["stages"][0]["actions"] = made["stages"][0]["actions"][:1]
            codepipeline.create_pipeline(pipeline=made)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(make, range(pipelines)))
        _until_at_rest(server)  # every run waits for its approval
        with contextlib.closing(_signed_in(server.url, clients)) as browser:
            page = "/console/pipelines"
            before, took = server.cpu_seconds(), []
            for _ in range(_REQUESTS):
                began = time.perf_counter()
                answer = browser.get(page)
                took.append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200 or "burst-" not in answer.text:
                    raise RuntimeError(f"the list was not shown: {answer.status_code} {answer.url}")
            processor = (server.cpu_seconds() - before) / _REQUESTS * 1000
    return Overview(p50=statistics.median(took), p95=statistics.quantiles(took, n=20)[18], processor=processor)


def measure(pipelines: int = 1_000) -> list[Row]:
    """The row of `make bench`."""
    found = measured(pipelines)
    return [
        Row(
            what=f"the console's list of pipelines, {pipelines} pipelines",
            measured=f"p50 {found.p50:.0f} ms, p95 {found.p95:.0f} ({found.processor:.0f} ms of processor)",
            bar=f"p50 ≤ {_BAR_MS} ms",
            met=found.p50 <= _BAR_MS,
        )
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipelines", type=int, default=1_000)
    print(measured(parser.parse_args().pipelines))
