"""What a server leaves in its data dir for our other commands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
import orjson

LOOPBACK = "127.0.0.1,localhost,::1"  # as variables name what is reached without a proxy


class NoServer(Exception):
    """The address of the server is unknown. The text says what to do."""


def server_facts(data_dir: Path) -> dict[str, Any]:
    """`url`, `region` and `ca_file` ("" without) of the server that last started on a data dir. Raises NoServer with a reason."""
    path = data_dir / "server.json"
    try:
        facts = orjson.loads(path.read_bytes())
        return {"url": facts["url"], "region": facts["region"], "ca_file": facts.get("ca_file", "")}
    except (FileNotFoundError, NotADirectoryError):
        raise NoServer(never_started(data_dir)) from None
    except OSError as error:
        raise NoServer(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NoServer(f"{path} is damaged; a server that starts on {data_dir} writes it anew") from None


def never_started(data_dir: Path) -> str:
    """What to do about a folder that is not the data dir of a server."""
    return (
        f"no server has started on {data_dir}. Name the data dir of one that runs with --data-dir, "
        f"or start one: penstock up --data-dir {shlex.quote(str(data_dir))}"
    )


def on_this_machine(url: str) -> bool:
    """Whether an address is a loopback one, which no proxy can reach."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def administrator_key(data_dir: Path) -> tuple[str, str]:
    """Access key and secret of the first account's administrator. Raises NoServer with a reason."""
    path = data_dir / "credentials"
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise NoServer(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        lines = []
    keys = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    try:
        return keys["aws_access_key_id"], keys["aws_secret_access_key"]
    except KeyError:
        raise NoServer(f"{path} holds no access key") from None


def said(error: Exception) -> str:
    """What went wrong, for people: the service's sentence without botocore's frame around it, or what the shell lacks."""
    if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.ProfileNotFound):
        return f'{error}. This sets the address and a key: eval "$(penstock env --data-dir DIR)"'
    if isinstance(error, botocore.exceptions.EndpointConnectionError | botocore.exceptions.ConnectTimeoutError):
        return f"{str(error).rstrip('.')}. Is the server running? `penstock up` starts it."
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    found = answer.get("Error", {})
    message, code = found.get("Message", ""), found.get("Code", "")
    return (message or code) if answer else str(error)
