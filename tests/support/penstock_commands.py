"""Stubs for commands that run in process: services that answer what a test says, and a clock that moves when somebody sleeps."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.exceptions
import pytest
import sqlalchemy as sa

from penstock.cli.checks.findings import Installation

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
GIB = 1 << 30


class Missing(Exception):
    """What a service says when there is no such thing."""


class Service:
    """Operations that answer from lists, the last answer for ever; what they were asked is kept."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name: answer if isinstance(answer, list) else [answer] for name, answer in answers.items()}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.exceptions = SimpleNamespace(
            ResourceNotFoundException=Missing, DeploymentNotStartedException=Missing, PipelineNotFoundException=Missing,
            JobNotFoundException=Missing, EntityAlreadyExistsException=Missing,
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            raise AttributeError(name)

        def run(**input: Any) -> Any:
            self.asked.append((name, input))
            waiting = self.answers[name]
            answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return run

    def get_paginator(self, name: str) -> Any:
        def paginate(**input: Any) -> list[Any]:
            self.asked.append((name, input))
            return self.answers[name]

        return SimpleNamespace(paginate=paginate)


def client(operation: str, code: str = "Denied", message: str = "You may not.") -> botocore.exceptions.ClientError:
    """What a client raises when an operation is refused."""
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, operation)


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def options(**values: Any) -> argparse.Namespace:
    """What a command is called with."""
    return argparse.Namespace(**{"data_dir": Path("/nowhere"), "json": False, "master_key_command": ""} | values)


def found(monkeypatch: pytest.MonkeyPatch, module: Any, **services: Service) -> None:
    """Let the clients of a command be these services."""
    made = SimpleNamespace(found=lambda _dir: services.__getitem__, administrator=lambda _dir: services.__getitem__)
    monkeypatch.setattr(module, "Clients", made)


def page(token: str, *messages: str) -> dict[str, Any]:
    """One page of a log."""
    return {"events": [{"message": message} for message in messages], "nextForwardToken": token}


def host(name: str, *events: tuple[str, str], status: str = "InProgress") -> dict[str, Any]:
    """A target of a deployment with its lifecycle events."""
    listed = [{"lifecycleEventName": event, "status": state} for event, state in events]
    return {"targetId": name, "status": status, "lifecycleEvents": listed}


def stage(name: str, **more: Any) -> dict[str, Any]:
    """A stage as GetPipelineState shows it."""
    return {"stageName": name, "actionStates": []} | more


@contextlib.contextmanager
def answering(code: int, body: bytes = b"", **headers: str):
    """An address that answers each request so."""
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return headers.get("date", super().date_time_string(timestamp))

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        served.server_close()
        thread.join()


def server_of(folder: Path, **facts: str) -> Path:
    """A data dir as a server leaves it."""
    (folder / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "region": "eu-west-1"} | facts))
    (folder / "credentials").write_text("aws_access_key_id=A\naws_secret_access_key=s\n")
    return folder


def insert(installation: Installation, table: sa.Table, **values: object) -> None:
    """Add a row, of which only some columns matter."""
    row = {column.name: 0 if column.type.python_type is int else "x" for column in table.c if not column.nullable}
    for column in table.c:
        if column.type.__class__.__name__ == "Json" and not column.nullable:
            row[column.name] = {}
    with installation.engine.begin() as conn:
        conn.execute(table.insert().values({**row, **values}))
