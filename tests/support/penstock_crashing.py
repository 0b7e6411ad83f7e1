"""A server of its own that dies at a crash point, and one that takes its data over."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.config
from penstock_live import boto_session
from penstock_starter import PENSTOCK, start
from penstock_waiting import until


class Crashing:
    """A server below a folder. Servers of one folder have the same data, key and log."""

    def __init__(self, folder: Path, crash: str = "", *options: str) -> None:
        """`crash` names the crash point, with `:N` for the Nth time that it is reached."""
        self.data = folder / "data"
        self.log = folder / "log"
        (self.data / "server.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = start(
                PENSTOCK, "up", "--data-dir", str(self.data), "--port", "0",
                "--master-key-file", str(folder / "keys" / "master.key"), "--builds", "0", "--egress-network", "127.0.0.0/8", *options,
                env={**os.environ, "PENSTOCK_CRASH_POINT": crash}, stdout=log, stderr=log,
            )  # fmt: skip

    def client(self, service: str, *, attempts: int = 1) -> Any:
        """A client, once the server listens. Raises FileNotFoundError for one that died before it did."""
        until(lambda: self._listens() or self.process.poll() is not None, why=lambda: self.log.read_text()[-2_000:])
        facts = json.loads((self.data / "server.json").read_text())
        lines = (self.data / "credentials").read_text().splitlines()
        keys = dict(line.split(" = ") for line in lines if " = " in line)
        return boto_session().client(
            service, endpoint_url=facts["url"], region_name="us-east-1",
            config=botocore.config.Config(retries={"total_max_attempts": attempts}, connect_timeout=10),
            aws_access_key_id=keys["aws_access_key_id"], aws_secret_access_key=keys["aws_secret_access_key"],
        )  # fmt: skip

    def _listens(self) -> bool:
        """Its address is known a moment before."""
        try:
            address = urlsplit(json.loads((self.data / "server.json").read_text())["url"])
            socket.create_connection((str(address.hostname), int(address.port or 80)), timeout=10).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def end(self) -> None:
        """Kill it, if it is not dead yet."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
