"""A live server for tests: the real application on a real port, in a thread of its own, with real clients beside it.

    def test_something(live):
        live.client("codepipeline").list_pipelines()
        live.aws("codepipeline", "list-pipelines")

`live` is shared by a module's tests (a start costs a second); `live_tls` speaks https; `live_factory(**settings)` starts a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import botocore.session
import pytest
import uvloop
from penstock_starter import AWS, run

from penstock import MODELS
from penstock.application import Settings

if TYPE_CHECKING:
    from penstock.app import Running


_making_clients = threading.Lock()  # boto3's sessions are not for several threads; its clients are


@functools.cache
def boto_session() -> boto3.session.Session:
    """The session of all clients: it keeps the services' models, and reading one takes ten times as long as the rest of a client."""
    session = boto3.session.Session()
    session._loader.search_paths.append(str(MODELS))
    return session


@dataclass
class Live:
    """A running server and clients for it."""

    running_app: Running
    loop: asyncio.AbstractEventLoop
    data_dir: Path

    @property
    def url(self) -> str:
        return self.running_app.url

    @property
    def app(self):
        return self.running_app.app

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 60) -> Any:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def keys(self) -> dict[str, str]:
        """The administrator's key, as boto3 takes it."""
        lines = self.running_app.credentials_file.read_text().splitlines()
        values = dict(line.split(" = ", 1) if " = " in line else line.split("=", 1) for line in lines if "=" in line)
        return {
            "aws_access_key_id": values["aws_access_key_id"].strip(),
            "aws_secret_access_key": values["aws_secret_access_key"].strip(),
        }

    def client(
        self, service: str, *, keys: dict[str, str] | None = None, region: str = "us-east-1", **config: Any
    ) -> Any:
        """A boto3 client; no retries, so that an error is an error, and no `stream-` in front of the address."""
        with _making_clients:
            return boto_session().client(
                service,
                region_name=region,
                endpoint_url=self.url,
                verify=str(self.running_app.ca_file) if self.running_app.ca_file else None,
                config=botocore.config.Config(
                    retries={"total_max_attempts": 1}, **{"inject_host_prefix": False, **config}
                ),
                **(keys or self.keys()),
            )

    def environment(self, keys: dict[str, str] | None = None) -> dict[str, str]:
        """An environment for child processes that points the AWS CLI here."""
        chosen = keys or self.keys()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": chosen["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": chosen["aws_secret_access_key"],
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_PAGER": "",
            "AWS_MAX_ATTEMPTS": "1",
        }
        if "aws_session_token" in chosen:
            environment["AWS_SESSION_TOKEN"] = chosen["aws_session_token"]
        if self.running_app.ca_file:
            environment["AWS_CA_BUNDLE"] = str(self.running_app.ca_file)
        return environment

    def aws(
        self, *arguments: str, keys: dict[str, str] | None = None, check: bool = True, cwd: Path | None = None
    ) -> Any:
        """Run the AWS CLI; its JSON when it prints any, else the text. With check=False the finished process."""
        done = run(AWS, *arguments, env=self.environment(keys), timeout=90, cwd=cwd)
        if not check:
            return done
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout


@contextlib.contextmanager
def live_server(data_dir: Path, **settings: Any) -> Iterator[Live]:
    """A server of its own, in a thread of its own."""
    from penstock.app import running
    from penstock.builds.settings import BuildSettings

    components = settings.pop("components", ())
    if not any(isinstance(one, BuildSettings) for one in components):
        components = (*components, BuildSettings(allow_unisolated=True))
    chosen = Settings(
        components=components,
        **(
            {
                "data_dir": data_dir,
                "port": 0,
                "master_key_file": data_dir.parent / f"{data_dir.name}-master.key",
            }
            | settings
        ),
    )
    ready: threading.Event = threading.Event()
    state: dict[str, Any] = {}

    async def serve() -> None:
        stop = asyncio.Event()
        try:
            async with running(chosen) as running_app:
                state.update(running_app=running_app, loop=asyncio.get_running_loop(), stop=stop)
                ready.set()
                await stop.wait()
        except BaseException as error:
            state["error"] = error
            raise
        finally:
            ready.set()

    def main() -> None:
        with contextlib.suppress(BaseException):
            uvloop.run(serve())  # the loop of `penstock up`: asyncio's own waits for a child in another way

    thread = threading.Thread(target=main, name="penstock-live")
    thread.start()
    assert ready.wait(60), "the server did not start within 60 s"
    if "error" in state:
        thread.join()
        raise state["error"]
    try:
        yield Live(running_app=state["running_app"], loop=state["loop"], data_dir=data_dir)
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(60)
        assert not thread.is_alive(), "the server did not stop within 60 s"
        left = [loop.name for loop in state["running_app"].app.store.loops._running]
        assert not left, f"of the server go on: {left}"
        if "error" in state:
            raise state["error"]
    histories_hold(data_dir, chosen.database)


def histories_hold(data_dir: Path, database: str = "") -> None:
    """What the pipelines of a database went through keeps to the rules of the engine (`penstock doctor --histories`)."""
    from penstock.cli.checks.findings import Installation, Verdict
    from penstock.cli.checks.histories import histories
    from penstock.cli.doctor import database_of

    engine = database_of(data_dir, database)
    try:
        looked_at = Installation(data_dir=data_dir, database=database, master_key_file=data_dir, engine=engine)
        broken = [found.message for found in histories(looked_at) if found.verdict is Verdict.FAIL]
    finally:
        engine.dispose()
    assert not broken, broken


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(tmp_path_factory.mktemp("live") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def live_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(tmp_path_factory.mktemp("live-tls") / "data", tls=True, host="127.0.0.1") as server:
        yield server


@pytest.fixture
def live_factory(tmp_path: Path) -> Iterator[Any]:
    """`live_factory(**settings)`: fresh servers for one test; the same `name` gives the same data again."""
    with contextlib.ExitStack() as stack:

        def start(name: str = "data", **settings: Any) -> contextlib.AbstractContextManager[Live]:
            return live_server(tmp_path / name, **settings)

        yield start
        stack.close()
